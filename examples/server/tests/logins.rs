use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_login_takes_json_or_a_form_and_no_cache_keeps_its_answer() {
    let (server, _data) = Server::start().await;
    let credentials = [("username", "bob"), ("password", "builder")];
    let form = server.request(Method::POST, "/login", "").form(&credentials);
    let answer = form.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(header(&answer, "cache-control"), "no-store");
    let bob = Tokens::from((answer.status(), answer.json().await.unwrap()));
    let (status, me) = server.get("/me", &bob.access).await;
    assert_eq!(
        (status, &me["sub"], &me["groups"]),
        (StatusCode::OK, &json!("bob"), &json!(["admin"]))
    );
    let alice = server.alice("").await;
    assert_eq!(server.get("/me", &alice.access).await.1["groups"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_an_unknown_user_get_the_same_answer() {
    let (server, _data) = Server::start().await;
    let mut answers = Vec::new();
    for username in ["alice", "nobody", "", "\u{0}"] {
        let guess = json!({ "username": username, "password": "guess" });
        let request = server.request(Method::POST, "/login", "").json(&guess);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(header(&answer, "content-type"), "application/problem+json");
        assert_eq!(header(&answer, "www-authenticate"), "Bearer realm=\"demo\"");
        answers.push(answer.text().await.unwrap());
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_no_login_is_malformed() {
    let (server, _data) = Server::start().await;
    for body in ["", "{", "{}", "[]", "{\"username\":1,\"password\":2}"] {
        let request = server.request(Method::POST, "/login", "");
        let request = request.header("content-type", "application/json").body(body);
        let (status, problem) = read(request).await;
        assert_eq!((status, &problem["status"]), (StatusCode::BAD_REQUEST, &json!(400)), "{body}");
    }
    assert_eq!(server.me("nonsense").await, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_start_at_once_share_the_users() {
    let data = tempfile::tempdir().unwrap();
    let start = || Server::start_in(data.path());
    let (one, two, three) = tokio::join!(start(), start(), start());
    for (here, there) in [(&one, &two), (&two, &three), (&three, &one)] {
        let alice = here.alice("").await;
        assert_eq!(there.me(&alice.access).await, StatusCode::OK);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_users_nobody_is_logged_out() {
    let (server, data) = Server::start().await;
    let alice = server.alice("").await;
    let path = data.path().join("server.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut database = sqlx::ConnectOptions::connect(&options).await.unwrap();
    sqlx::query("DROP TABLE users").execute(&mut database).await.unwrap();

    let credentials = json!({ "username": "alice", "password": "wonderland" });
    let login = server.request(Method::POST, "/login", "").json(&credentials);
    let others = server.request(Method::POST, "/logout/others", &alice.access);
    for request in [login, others] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(header(&answer, "retry-after"), "1");
        assert_eq!(header(&answer, "content-type"), "application/problem+json");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_one_however_its_type_is_spelled_and_no_answer_is_cached() {
    let (server, _data) = Server::start().await;
    for kind in
        ["application/x-www-form-urlencoded", "Application/X-WWW-Form-Urlencoded; charset=UTF-8"]
    {
        let request = server.request(Method::POST, "/login", "").header("content-type", kind);
        let answer = request.body("username=alice&password=wonderland").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{kind}");
    }
    let alice = server.alice("").await;
    for (path, token) in [("/me", &*alice.access), ("/sessions", &alice.access), ("/me", "")] {
        let answer = server.request(Method::GET, path, token).send().await.unwrap();
        assert_eq!(answer.headers()["cache-control"], "no-store", "{path}");
    }
}
