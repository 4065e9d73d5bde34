//! Revocations by plain SQL, from a service that knows nothing of this crate.

use reqwest::StatusCode;

use crate::{
    common::place::{Place, PlainSql},
    fleet::Server,
};

const OK: StatusCode = StatusCode::OK;
const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;

/// What another service sends: one statement, in the words of SQLite, PostgreSQL and MySQL.
fn revoke(scope: &str, subject: &str, demand: &str) -> [String; 3] {
    let insert = format!(
        "INSERT INTO revocation_requests (scope, subject, demand) \
         VALUES ('{scope}', '{subject}', '{demand}')"
    );
    let select = format!("SELECT revocation_revoke('{scope}', '{subject}', '{demand}')");
    let call = format!("CALL revocation_revoke('{scope}', '{subject}', '{demand}', @cut_off)");
    [insert, select, call]
}

#[tokio::test]
async fn c58_another_service_revokes_with_one_statement_of_plain_sql() {
    let data = Place::new().await;
    let (one, other) = (Server::start(data.path()).await, Server::start(data.path()).await);
    let mut sql = PlainSql::connect(data.path(), "server.db").await;
    let bob = one.bob_on("office").await;

    let alice = one.alice_on("phone").await;
    sql.run(revoke("user", "alice", "login").each_ref().map(String::as_str)).await;
    for server in [&one, &other] {
        server.assert_ended(&alice).await;
        assert_eq!(server.me(&bob.access).await, OK);
    }

    // A login after it is good everywhere, at once.
    let alice = one.alice_on("phone").await;
    assert_eq!((one.me(&alice.access).await, other.me(&alice.access).await), (OK, OK));

    // The demand is told, and with *refresh* the session lives.
    sql.run(revoke("group", "admin", "refresh").each_ref().map(String::as_str)).await;
    other.until("/me", &bob.access, UNAUTHORIZED).await;
    let (_, problem) = other.get("/me", &bob.access).await;
    assert_eq!(problem["demand"], "refresh");
    let bob = one.renewed(&bob.refresh).await;
    assert_eq!(other.me(&bob.access).await, OK);
    assert_eq!(other.me(&alice.access).await, OK);

    // Decomposed, as some keyboards write it; in tokens it is composed.
    let order = serde_json::json!({ "scope": "user", "subject": "jos\u{e9}", "demand": "login" });
    sql.run(revoke("user", "jose\u{301}", "login").each_ref().map(String::as_str)).await;
    let cut_offs = "SELECT count(*) FROM revocations WHERE scope = 'user'";
    let sealed = async {
        while sql.numbers(cut_offs).await != [2] {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), sealed).await.unwrap();
    // The same subject: it stays at two.
    assert_eq!(one.post("/admin/revoke", &bob.access, &order).await.0, OK);
    assert_eq!(sql.numbers(cut_offs).await, [2]);
}
