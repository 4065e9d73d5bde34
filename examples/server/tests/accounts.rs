use super::*;

async fn change(server: &Server, token: &str, old: &str, new: &str) -> (StatusCode, Value) {
    server.post_json("/password", token, &json!({ "old": old, "new": new })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_kills_every_older_token_and_the_caller_goes_on() {
    let (server, _data) = Server::start().await;
    let (phone, laptop) = (server.alice("phone").await, server.alice("laptop").await);
    let next = Tokens::from(change(&server, &phone.access, "wonderland", "looking glass").await);
    for old in [&phone, &laptop] {
        assert_eq!(server.me(&old.access).await, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(server.labels("/sessions", &next.access).await, ["phone*"]);
    let old = server.log_in("alice", "wonderland", "").await;
    assert_eq!(old.0, StatusCode::UNAUTHORIZED);
    let new = Tokens::from(server.log_in("alice", "looking glass", "").await);
    assert_eq!(server.me(&new.access).await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_refused_revokes_nothing() {
    let (server, _data) = Server::start().await;
    let alice = server.alice("").await;
    let long = "x".repeat(1_025);
    for (old, new, wanted) in [
        ("guess", "looking glass", StatusCode::FORBIDDEN),
        ("", "looking glass", StatusCode::FORBIDDEN),
        ("wonderland", "", StatusCode::BAD_REQUEST),
        ("wonderland", &long, StatusCode::BAD_REQUEST),
    ] {
        let (status, problem) = change(&server, &alice.access, old, new).await;
        assert_eq!((status, &problem["status"]), (wanted, &json!(wanted.as_u16())), "{problem}");
    }
    let (status, _) = server.post_json("/password", &alice.access, &json!({ "old": 1 })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(server.me(&alice.access).await, StatusCode::OK);
    server.alice("").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_changes_at_once_one_wins() {
    let data = tempfile::tempdir().unwrap();
    let (one, two) = tokio::join!(Server::start_in(data.path()), Server::start_in(data.path()));
    let (phone, laptop) = (one.alice("phone").await, two.alice("laptop").await);
    let (phone, laptop) = tokio::join!(
        change(&one, &phone.access, "wonderland", "first"),
        change(&two, &laptop.access, "wonderland", "second"),
    );
    // The other one had read the old hash, or the new, or was stopped by the revocation.
    let (winner, loser, password) = match phone.0 {
        StatusCode::OK => (phone, laptop, "first"),
        _ => (laptop, phone, "second"),
    };
    let refused = [StatusCode::CONFLICT, StatusCode::FORBIDDEN, StatusCode::UNAUTHORIZED];
    assert!(refused.contains(&loser.0), "{loser:?}");
    let winner = Tokens::from(winner);
    one.until("/me", &winner.access, StatusCode::OK).await;
    two.until("/me", &winner.access, StatusCode::OK).await;
    assert_eq!(one.log_in("alice", password, "").await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_needs_a_login_that_is_not_long_ago() {
    let data = tempfile::tempdir().unwrap();
    let config = Config { recent_login: Duration::from_secs(2), ..config(data.path()) };
    let server = Server::start_with(&config).await;
    let alice = server.alice("").await;
    let (status, transfer) = server.get("/transfer", &alice.access).await;
    assert_eq!((status, &transfer["sub"]), (StatusCode::OK, &json!("alice")));

    server.until("/transfer", &alice.access, StatusCode::UNAUTHORIZED).await;
    // A new token of the same login is no new login.
    let refreshed = Tokens::from(server.refresh(&alice.refresh).await);
    let answer = server.request(Method::GET, "/transfer", &refreshed.access).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let challenge = header(&answer, "www-authenticate");
    assert!(challenge.contains("error=\"insufficient_user_authentication\""), "{challenge}");
    assert!(challenge.contains("max_age=\"2\""), "{challenge}");
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["demand"], "login");
    assert_eq!(server.me(&refreshed.access).await, StatusCode::OK);
    let again = server.alice("").await;
    assert_eq!(server.get("/transfer", &again.access).await.0, StatusCode::OK);
}
