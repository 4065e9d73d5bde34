//! A copy of the revocations of fixed size, over sockets.

use std::path::Path;

use reqwest::StatusCode;

use crate::{
    common::place::Place,
    fleet::{Server, claims},
};

const OK: StatusCode = StatusCode::OK;
const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;

/// A server whose copy has a single bucket: whoever is revoked, everybody is in doubt.
async fn in_a_bucket(data: &Path) -> Server {
    Server::start_with(data, &[("BUCKETS", "1")]).await
}

#[tokio::test]
async fn c33_who_shares_a_bucket_with_the_revoked_is_confirmed_once_and_stamped_anew() {
    let data = Place::new().await;
    let server = in_a_bucket(data.path()).await;
    let (alice, bob) = (server.alice().await, server.bob().await);
    // Nobody was revoked: everybody is trusted.
    let before = server.asked().await;
    for token in [&alice, &bob, &alice] {
        assert_eq!(server.me(token).await, OK);
    }
    assert_eq!(server.asked().await, before);

    server.revoke(&bob, "user", "bob", "login").await;
    server.until("/me", &bob, UNAUTHORIZED).await;
    // Alice is asked about. She is let in, and has a new token for the next time.
    let before = server.asked().await;
    let answer = server.answer("/me", &alice).await;
    assert_eq!(answer.status(), OK);
    let stamped = answer.headers()["x-jwt"].to_str().unwrap().to_owned();
    assert!(server.asked().await > before);
    assert!(claims(&stamped)["rvs"].as_u64() > claims(&alice)["rvs"].as_u64());
    // That is above all that was revoked, and nobody has to be asked. The old one is remembered.
    let before = server.asked().await;
    for token in [&stamped, &alice, &stamped, &alice] {
        assert_eq!(server.me(token).await, OK);
    }
    assert_eq!(server.asked().await, before);
}

#[tokio::test]
async fn c33_no_revoked_token_is_confirmed_or_stamped_anew() {
    let data = Place::new().await;
    let (server, exact) = (in_a_bucket(data.path()).await, Server::start(data.path()).await);
    let bob = server.bob().await;
    let alice = server.alice_on("phone").await;
    // By her token, her session and her name; others are revoked in between.
    let claimed = claims(&alice.access);
    for (kind, name) in [("token", "jti"), ("session", "sid"), ("user", "sub")] {
        let fresh = server.alice().await;
        let subject = if kind == "user" { claims(&fresh) } else { claimed.clone() };
        let subject = subject[name].as_str().unwrap().to_owned();
        exact.revoke(&bob, kind, &subject, "login").await;
        exact.revoke(&bob, "user", "somebody else", "login").await;
        let revoked = if kind == "user" { &fresh } else { &alice.access };
        server.until("/me", revoked, UNAUTHORIZED).await;
        for _ in 0..10 {
            let answer = server.answer("/me", revoked).await;
            assert_eq!(answer.status(), UNAUTHORIZED, "{kind}");
            assert!(!answer.headers().contains_key("x-jwt"), "{kind}");
        }
        // The exact one says the same of everybody.
        for token in [&alice.access, &fresh, &bob] {
            assert_eq!(server.me(token).await, exact.me(token).await, "{kind}");
        }
    }
    // Whoever logs in after all of that is let in.
    assert_eq!(server.me(&server.alice().await).await, OK);
}

#[tokio::test]
async fn c33_an_instance_that_starts_asks_about_what_was_revoked_before() {
    let data = Place::new().await;
    let exact = Server::start(data.path()).await;
    let (alice, bob) = (exact.alice().await, exact.bob().await);
    exact.revoke(&bob, "user", "alice", "login").await;
    exact.revoke(&bob, "user", "somebody else", "login").await;
    let server = in_a_bucket(data.path()).await;
    assert_eq!((server.me(&alice).await, server.me(&bob).await), (UNAUTHORIZED, OK));
}
