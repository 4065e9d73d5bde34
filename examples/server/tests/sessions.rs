use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_list_tells_the_devices_apart() {
    let (server, _data) = Server::start().await;
    let phone = server.alice("phone").await;
    server.alice("").await;
    server.bob().await;
    assert_eq!(server.labels("/sessions", &phone.access).await, ["-", "phone*"]);

    let (_, me) = server.get("/me", &phone.access).await;
    let (_, sessions) = server.get("/sessions", &phone.access).await;
    let session =
        sessions.as_array().unwrap().iter().find(|session| session["id"] == me["sid"]).unwrap();
    assert_eq!(
        session,
        &json!({
            "id": me["sid"],
            "label": "phone",
            "ip": "127.0.0.1",
            "user_agent": "tests/1",
            "created_at": me["auth_time"],
            "last_refresh_at": me["iat"],
            "current": true,
        })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_ends_sessions_of_their_own_and_an_administrator_any() {
    let (server, _data) = Server::start().await;
    let (phone, laptop) = (server.alice("phone").await, server.alice("laptop").await);
    let bob = server.bob().await;
    let end = async |token: &Tokens, id: &str| {
        read(server.request(Method::DELETE, &format!("/sessions/{id}"), &token.access)).await
    };
    let (phone_id, laptop_id) = (server.sid(&phone.access).await, server.sid(&laptop.access).await);
    let bobs_id = server.sid(&bob.access).await;

    assert_eq!(end(&phone, &laptop_id).await.0, StatusCode::NO_CONTENT);
    assert_eq!(server.me(&laptop.access).await, StatusCode::UNAUTHORIZED);
    assert_eq!(server.labels("/sessions", &phone.access).await, ["phone*"]);
    for id in [&laptop_id, &bobs_id, "nothing", "%00", "%ff"] {
        let (status, problem) = end(&phone, id).await;
        let wanted = if id == "%ff" { StatusCode::BAD_REQUEST } else { StatusCode::NOT_FOUND };
        assert_eq!((status, &problem["status"]), (wanted, &json!(wanted.as_u16())), "{id}");
    }
    assert_eq!(server.me(&bob.access).await, StatusCode::OK);

    assert_eq!(end(&bob, &phone_id).await.0, StatusCode::NO_CONTENT);
    assert_eq!(server.me(&phone.access).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_ends_one_session_and_everywhere_ends_all() {
    let (server, _data) = Server::start().await;
    let (phone, laptop) = (server.alice("phone").await, server.alice("laptop").await);
    let desktop = server.alice("desktop").await;
    assert_eq!(server.post("/logout", &phone.access).await.0, StatusCode::NO_CONTENT);
    assert_eq!(server.me(&phone.access).await, StatusCode::UNAUTHORIZED);
    assert_eq!(server.me(&laptop.access).await, StatusCode::OK);
    let everywhere = server.post("/logout/everywhere", &laptop.access).await;
    assert_eq!(everywhere.0, StatusCode::NO_CONTENT);
    for token in [&laptop, &desktop] {
        assert_eq!(server.me(&token.access).await, StatusCode::UNAUTHORIZED);
    }
    let again = server.alice("again").await;
    assert_eq!(server.labels("/sessions", &again.access).await, ["again*"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_of_the_others_leaves_the_caller_with_new_tokens() {
    let (server, _data) = Server::start().await;
    let (phone, laptop) = (server.alice("phone").await, server.alice("laptop").await);
    let bob = server.bob().await;
    let sid = server.sid(&phone.access).await;
    let request = server.request(Method::POST, "/logout/others", &phone.access);
    let answer = request.send().await.unwrap();
    assert_eq!(header(&answer, "cache-control"), "no-store");
    let next = Tokens::from((answer.status(), answer.json().await.unwrap()));

    for old in [&phone, &laptop] {
        assert_eq!(server.me(&old.access).await, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(server.sid(&next.access).await, sid);
    assert_eq!(server.labels("/sessions", &next.access).await, ["phone*"]);
    assert_eq!(server.me(&bob.access).await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_has_ended_elsewhere_is_not_reissued() {
    let data = tempfile::tempdir().unwrap();
    let (one, two) = tokio::join!(Server::start_in(data.path()), Server::start_in(data.path()));
    let alice = one.alice("").await;
    assert_eq!(two.me(&alice.access).await, StatusCode::OK);
    assert_eq!(one.post("/logout", &alice.access).await.0, StatusCode::NO_CONTENT);
    // Whether or not the other instance knows yet.
    let (status, problem) = two.post("/logout/others", &alice.access).await;
    assert_eq!((status, &problem["demand"]), (StatusCode::UNAUTHORIZED, &json!("login")));
}
