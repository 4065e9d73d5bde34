use super::*;

async fn put_groups(
    server: &Server,
    token: &Tokens,
    name: &str,
    groups: &Value,
) -> (StatusCode, Value) {
    let path = format!("/admin/users/{name}/groups");
    read(server.request(Method::PUT, &path, &token.access).json(groups)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_user_is_refused_at_once_and_the_other_is_not() {
    let (server, _data) = Server::start().await;
    let (alice, bob) = (server.alice("").await, server.bob().await);
    let order = json!({ "scope": "user", "subject": "alice", "demand": "login" });
    let (status, receipt) = server.post_json("/admin/revoke", &bob.access, &order).await;
    assert_eq!(status, StatusCode::OK);
    assert!(receipt["revoked_before"].is_u64());
    assert_eq!(receipt["revoked_before"], receipt["seq"]);

    let (status, problem) = server.get("/me", &alice.access).await;
    assert_eq!((status, &problem["demand"]), (StatusCode::UNAUTHORIZED, &json!("login")));
    assert_eq!(server.me(&bob.access).await, StatusCode::OK);
    let again = server.alice("").await;
    assert_eq!(server.me(&again.access).await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_that_is_waited_for_says_by_whom_it_is_enforced() {
    let (one, data) = Server::start().await;
    let other = Server::start_in(data.path()).await;
    let (alice, bob) = (one.alice("").await, one.bob().await);
    assert_eq!(other.me(&alice.access).await, StatusCode::OK);
    let order = json!({ "scope": "user", "subject": "alice", "demand": "login" });
    let (status, done) = one.post_json("/admin/revoke?wait=20", &bob.access, &order).await;
    assert_eq!((status, &done["enforced_everywhere"]), (StatusCode::OK, &json!(true)), "{done}");
    // At once, on the other too.
    assert_eq!(other.me(&alice.access).await, StatusCode::UNAUTHORIZED);
    let instances = done["instances"].as_array().unwrap();
    assert_eq!(instances.len(), 2);
    for instance in instances {
        assert_eq!(instance["enforced"], "acknowledged", "{instance}");
        assert_eq!(instance["applied"], done["revoked_before"]);
        assert_eq!(instance["bound_ms"], 10_000);
        assert!(instance["lag_ms"].is_u64());
    }

    let (status, instances) = one.get("/admin/instances", &bob.access).await;
    assert_eq!((status, instances.as_array().unwrap().len()), (StatusCode::OK, 2));
    for instance in instances.as_array().unwrap() {
        assert_eq!(instance["up_to_date"], true, "{instance}");
        assert!(instance["silent_ms"].as_u64().unwrap() < 10_000, "{instance}");
        assert_eq!(instance["name"], "127.0.0.1:0");
    }
    let (status, done) = one.post_json("/admin/revoke?wait=0", &bob.access, &order).await;
    assert_eq!(
        (status, done["instances"].as_array().unwrap().len()),
        (StatusCode::OK, 2),
        "{done}"
    );
    for wait in ["-1", "121", "NaN", "soon"] {
        let path = format!("/admin/revoke?wait={wait}");
        let refused = one.post_json(&path, &bob.access, &order).await;
        assert_eq!(refused.0, StatusCode::BAD_REQUEST, "{wait}: {}", refused.1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_administrators_administer_and_nonsense_is_malformed() {
    let (server, _data) = Server::start().await;
    let (alice, bob) = (server.alice("").await, server.bob().await);
    for path in ["/admin/instances", "/admin/online", "/admin/users/alice/sessions"] {
        assert_eq!(server.get(path, &alice.access).await.0, StatusCode::FORBIDDEN, "{path}");
    }
    for path in ["/admin/revoke", "/admin/users/bob/suspend", "/admin/users/bob/reinstate"] {
        let request = server.request(Method::POST, path, &alice.access);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{path}");
        let challenge = "Bearer realm=\"demo\", error=\"insufficient_scope\"";
        assert!(header(&answer, "www-authenticate").starts_with(challenge));
        assert_eq!(header(&answer, "content-type"), "application/problem+json");
    }
    let refused = put_groups(&server, &alice, "alice", &json!(["admin"])).await;
    assert_eq!(refused.0, StatusCode::FORBIDDEN);

    for order in [
        json!({ "scope": "planet", "demand": "login" }),
        json!({ "scope": "user", "demand": "login" }),
        json!({ "scope": "everyone", "subject": "alice", "demand": "login" }),
        json!({ "scope": "user", "subject": "a", "demand": "x" }),
    ] {
        let (status, _) = server.post_json("/admin/revoke", &bob.access, &order).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{order}");
    }
    for groups in [json!("admin"), json!([1]), json!([""]), json!(["a\u{0}"]), json!(["e\u{301}"])]
    {
        let (status, _) = put_groups(&server, &bob, "alice", &groups).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{groups}");
    }
    assert_eq!(put_groups(&server, &bob, "nobody", &json!([])).await.0, StatusCode::NOT_FOUND);
    for path in ["/admin/users/nobody/suspend", "/admin/users/nobody/reinstate"] {
        assert_eq!(server.post(path, &bob.access).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    let unknown = server.get("/admin/users/nobody/sessions", &bob.access).await;
    assert_eq!(unknown.0, StatusCode::NOT_FOUND);
    assert_eq!(server.me(&alice.access).await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_groups_are_fetched_by_who_holds_old_tokens() {
    let (server, _data) = Server::start().await;
    let (alice, bob) = (server.alice("").await, server.bob().await);
    let done = put_groups(&server, &bob, "alice", &json!(["staff", "admin", "staff"])).await;
    assert_eq!(done.0, StatusCode::NO_CONTENT);
    let (status, problem) = server.get("/me", &alice.access).await;
    assert_eq!((status, &problem["demand"]), (StatusCode::UNAUTHORIZED, &json!("refresh")));
    let next = server.alice("").await;
    let (_, me) = server.get("/me", &next.access).await;
    assert_eq!(me["groups"], json!(["staff", "admin"]));
    // Their session went on.
    assert_eq!(server.labels("/sessions", &next.access).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_user_is_out_until_reinstated() {
    let (server, _data) = Server::start().await;
    let (alice, bob) = (server.alice("").await, server.bob().await);
    let suspended = server.post("/admin/users/alice/suspend", &bob.access).await;
    assert_eq!(suspended.0, StatusCode::NO_CONTENT);
    let (status, problem) = server.get("/me", &alice.access).await;
    assert_eq!((status, &problem["demand"]), (StatusCode::UNAUTHORIZED, &json!("login")));
    let (status, problem) = server.log_in("alice", "wonderland", "").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(problem["type"].as_str().unwrap().ends_with("/account-suspended"), "{problem}");
    // Who does not know the password learns nothing.
    assert_eq!(server.log_in("alice", "guess", "").await.0, StatusCode::UNAUTHORIZED);

    let reinstated = server.post("/admin/users/alice/reinstate", &bob.access).await;
    assert_eq!(reinstated.0, StatusCode::NO_CONTENT);
    assert_eq!(server.me(&alice.access).await, StatusCode::UNAUTHORIZED);
    let again = server.alice("").await;
    assert_eq!(server.me(&again.access).await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_see_the_sessions_of_others_and_who_is_online() {
    let (server, _data) = Server::start().await;
    let bob = server.bob().await;
    server.alice("phone").await;
    assert_eq!(server.labels("/admin/users/alice/sessions", &bob.access).await, ["phone"]);
    assert_eq!(server.labels("/admin/users/bob/sessions", &bob.access).await, ["-*"]);
    let (status, online) = server.get("/admin/online", &bob.access).await;
    assert_eq!(status, StatusCode::OK);
    let mut users: Vec<_> =
        online.as_array().unwrap().iter().filter_map(|session| session["user"].as_str()).collect();
    users.sort_unstable();
    assert_eq!(users, ["alice", "bob"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_more_groups_than_fit_into_a_token() {
    let (server, _data) = Server::start().await;
    let bob = server.bob().await;
    let groups = |count: usize| {
        let groups = (0..count).map(|index| format!("group-{index:04}"));
        json!(groups.chain(["admin".to_owned()]).collect::<Vec<_>>())
    };
    let (status, _) = put_groups(&server, &bob, "bob", &groups(257)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(server.me(&bob.access).await, StatusCode::OK);
    let (status, _) = put_groups(&server, &bob, "bob", &groups(70)).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let bob = server.bob().await;
    assert_eq!(server.me(&bob.access).await, StatusCode::OK);
}
