//! Passwords, roles and suspension: what changes an account, and what its clients are told.

use reqwest::StatusCode;
use serde_json::json;

use crate::{
    common::place::Place,
    fleet::{Pair, Server, claims},
};

const OK: StatusCode = StatusCode::OK;
const BAD_REQUEST: StatusCode = StatusCode::BAD_REQUEST;
const FORBIDDEN: StatusCode = StatusCode::FORBIDDEN;
const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;
const NO_CONTENT: StatusCode = StatusCode::NO_CONTENT;

#[tokio::test]
async fn c07_a_password_change_revokes_every_token_and_the_caller_stays() {
    let data = Place::new().await;
    let (one, other) = (Server::start(data.path()).await, Server::start(data.path()).await);
    let (phone, laptop) = (one.alice_on("phone").await, other.alice_on("laptop").await);
    let wrong = json!({ "old": "guess", "new": "looking glass" });
    let (status, problem) = one.post("/password", &phone.access, &wrong).await;
    assert_eq!(status, FORBIDDEN, "{problem}");
    // The refused change has revoked nothing.
    assert_eq!((one.me(&phone.access).await, other.me(&laptop.access).await), (OK, OK));

    let change = json!({ "old": "wonderland", "new": "looking glass" });
    let (status, answer) = one.post("/password", &phone.access, &change).await;
    assert_eq!(status, OK, "{answer}");
    let fresh = Pair::of(&answer);
    for server in [&one, &other] {
        server.assert_ended(&laptop).await;
        server.assert_ended(&phone).await;
        assert_eq!(server.me(&fresh.access).await, OK);
        let old = json!({ "username": "alice", "password": "wonderland" });
        assert_eq!(server.post("/login", "", &old).await.0, UNAUTHORIZED);
    }
    assert_eq!(fresh.sid(), phone.sid());
    other.assert_alive(&fresh).await;
    other.assert_alive(&one.log_in("alice", "looking glass", "new").await).await;
}

#[tokio::test]
async fn c23_a_changed_role_reaches_tokens_by_a_refresh() {
    let data = Place::new().await;
    let (one, other) = (Server::start(data.path()).await, Server::start(data.path()).await);
    let (alice, bob) = (one.alice_on("phone").await, one.bob_on("office").await);
    let online =
        async |server: &Server, pair: &Pair| server.get("/admin/online", &pair.access).await.0;
    assert_eq!(online(&one, &alice).await, FORBIDDEN);
    let groups = json!(["admin", "staff"]);
    let (status, _) = one.put("/admin/users/alice/groups", &bob.access, &groups).await;
    assert_eq!(status, NO_CONTENT);
    // The old token is refused, with the demand to refresh; the session lives.
    let (status, problem) = one.get("/me", &alice.access).await;
    assert_eq!((status, &problem["demand"]), (UNAUTHORIZED, &json!("refresh")));
    other.until("/me", &alice.access, UNAUTHORIZED).await;
    let promoted = other.renewed(&alice.refresh).await;
    assert_eq!(claims(&promoted.access)["groups"], groups);
    assert_eq!((online(&one, &promoted).await, online(&other, &promoted).await), (OK, OK));
    // And down again: the token that was good a moment ago opens nothing.
    let (status, _) = other.put("/admin/users/alice/groups", &bob.access, &json!([])).await;
    assert_eq!(status, NO_CONTENT);
    assert_eq!(online(&other, &promoted).await, UNAUTHORIZED);
    let demoted = one.renewed(&promoted.refresh).await;
    assert_eq!(claims(&demoted.access)["groups"], json!([]));
    assert_eq!(online(&one, &demoted).await, FORBIDDEN);
    one.assert_alive(&bob).await;
}

#[tokio::test]
async fn c26_the_client_is_told_to_refresh_or_to_log_in_and_of_a_suspended_account() {
    let data = Place::new().await;
    let server = Server::start(data.path()).await;
    let bob = server.bob_on("office").await;
    let mut alice = server.alice_on("phone").await;
    server.revoke(&bob.access, "user", "alice", "refresh").await;
    let (status, problem) = server.get("/me", &alice.access).await;
    assert_eq!((status, &problem["demand"]), (UNAUTHORIZED, &json!("refresh")));
    alice = server.renewed(&alice.refresh).await;
    assert_eq!(server.me(&alice.access).await, OK);

    server.revoke(&bob.access, "user", "alice", "login").await;
    let (status, problem) = server.get("/me", &alice.access).await;
    assert_eq!((status, &problem["demand"]), (UNAUTHORIZED, &json!("login")));
    server.assert_ended(&alice).await;
    alice = server.alice_on("phone").await;
    assert_eq!(server.me(&alice.access).await, OK);

    let suspend = server.post("/admin/users/alice/suspend", &bob.access, &json!(null)).await;
    assert_eq!(suspend.0, NO_CONTENT);
    let credentials = json!({ "username": "alice", "password": "wonderland" });
    let (status, problem) = server.post("/login", "", &credentials).await;
    let kind = problem["type"].as_str().unwrap();
    assert!(status == FORBIDDEN && kind.ends_with("/account-suspended"), "{problem}");
    // To whoever does not know the password it is no news.
    let guess = json!({ "username": "alice", "password": "guess" });
    assert_eq!(server.post("/login", "", &guess).await.0, UNAUTHORIZED);
}

#[tokio::test]
async fn c30_a_suspended_user_is_refused_at_refresh_until_reinstated() {
    let data = Place::new().await;
    let (one, other) = (Server::start(data.path()).await, Server::start(data.path()).await);
    let (alice, bob) = (one.alice_on("phone").await, one.bob_on("office").await);
    let order = async |server: &Server, order: &str, caller: &Pair| {
        server.post(&format!("/admin/users/alice/{order}"), &caller.access, &json!(null)).await.0
    };
    assert_eq!(order(&one, "suspend", &alice).await, FORBIDDEN);
    assert_eq!(order(&one, "suspend", &bob).await, NO_CONTENT);
    for server in [&one, &other] {
        let (status, answer) = server.refresh(&alice.refresh).await;
        assert_eq!((status, &answer["error"]), (BAD_REQUEST, &json!("invalid_grant")));
        assert!(answer["error_description"].as_str().unwrap().contains("account"), "{answer}");
        server.until("/me", &alice.access, UNAUTHORIZED).await;
        let credentials = json!({ "username": "alice", "password": "wonderland" });
        assert_eq!(server.post("/login", "", &credentials).await.0, FORBIDDEN);
    }
    // Through a restart: it is kept where the account is.
    let third = Server::start(data.path()).await;
    assert_eq!(third.refresh(&alice.refresh).await.0, BAD_REQUEST);
    assert_eq!(order(&third, "reinstate", &bob).await, NO_CONTENT);
    // What was revoked stays so; a login is good again.
    assert_eq!(one.me(&alice.access).await, UNAUTHORIZED);
    other.assert_alive(&one.alice_on("phone").await).await;
    one.assert_alive(&bob).await;
}
