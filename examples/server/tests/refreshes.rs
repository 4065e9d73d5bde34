use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_goes_on_with_the_session_and_tells_where_from() {
    let (server, _data) = Server::start().await;
    let alice = server.alice("phone").await;
    let sid = server.sid(&alice.access).await;
    let next = Tokens::from(server.refresh(&alice.refresh).await);
    assert_ne!(next.refresh, alice.refresh);
    assert_eq!(server.sid(&next.access).await, sid);
    assert_eq!(server.labels("/sessions", &next.access).await, ["phone*"]);
    assert_eq!(server.get("/sessions", &next.access).await.1[0]["ip"], "127.0.0.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn new_groups_arrive_with_the_next_refresh() {
    let (server, _data) = Server::start().await;
    let (alice, bob) = (server.alice("").await, server.bob().await);
    let path = "/admin/users/alice/groups";
    let put = server.request(Method::PUT, path, &bob.access).json(&["staff"]);
    assert_eq!(read(put).await.0, StatusCode::NO_CONTENT);
    assert_eq!(server.me(&alice.access).await, StatusCode::UNAUTHORIZED);
    let next = Tokens::from(server.refresh(&alice.refresh).await);
    assert_eq!(server.get("/me", &next.access).await.1["groups"], json!(["staff"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_ends_a_session_ends_its_refresh_tokens() {
    let (server, _data) = Server::start().await;
    let bob = server.bob().await;
    for path in ["/logout", "/logout/everywhere", "/logout/others", "/password", "suspend"] {
        let (alice, other) = (server.alice("").await, server.alice("").await);
        let (by, path) = match path {
            "suspend" => (&bob, "/admin/users/alice/suspend"),
            path => (&alice, path),
        };
        let change = json!({ "old": "wonderland", "new": "wonderland" });
        let (status, answer) = server.post_json(path, &by.access, &change).await;
        assert!(status.is_success(), "{path}: {answer}");
        let refused = (StatusCode::BAD_REQUEST, json!("invalid_grant"));
        let ended = if path == "/logout" { vec![&alice] } else { vec![&alice, &other] };
        for tokens in ended {
            let (status, problem) = server.refresh(&tokens.refresh).await;
            assert_eq!((status, problem["error"].clone()), refused, "{path}");
        }
        if status == StatusCode::OK {
            let next = Tokens::from((status, answer));
            assert_eq!(server.refresh(&next.refresh).await.0, StatusCode::OK);
        }
    }
}
