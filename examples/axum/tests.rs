use reqwest::{Client, Response};

use super::*;

struct Server {
    base: String,
    _sync: SyncHandle,
    _data: tempfile::TempDir,
}

impl Server {
    async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let (app, sync) = app(data.path()).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { base, _sync: sync, _data: data }
    }

    async fn send(&self, method: &str, path: &str, token: Option<&str>) -> Response {
        let url = format!("{}{path}", self.base);
        let mut request = Client::new().request(method.parse().unwrap(), url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        request.send().await.unwrap()
    }

    async fn get(&self, path: &str, token: Option<&str>) -> (StatusCode, String) {
        let answer = self.send("GET", path, token).await;
        (answer.status(), answer.text().await.unwrap())
    }

    async fn ask_login(&self, username: &str, password: &str) -> Response {
        let form = [("username", username), ("password", password)];
        Client::new().post(format!("{}/login", self.base)).form(&form).send().await.unwrap()
    }

    async fn login(&self, username: &str, password: &str) -> String {
        let answer: Value = self.ask_login(username, password).await.json().await.unwrap();
        answer["access_token"].as_str().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_get_the_claims_of_the_service() {
    let server = Server::start().await;
    for (username, password, plan) in [("alice", "wonderland", "free"), ("bob", "builder", "pro")] {
        let token = server.login(username, password).await;
        let (status, me) = server.get("/me", Some(&token)).await;
        assert_eq!(status, StatusCode::OK);
        let me: Value = serde_json::from_str(&me).unwrap();
        assert_eq!(me, json!({ "user": username, "plan": plan }));
    }
    assert_eq!(server.ask_login("alice", "builder").await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_back_office_is_for_the_staff() {
    let server = Server::start().await;
    let alice = server.login("alice", "wonderland").await;
    let bob = server.login("bob", "builder").await;
    assert_eq!(server.get("/staff", Some(&alice)).await.0, StatusCode::FORBIDDEN);
    assert_eq!(server.get("/staff", Some(&bob)).await.0, StatusCode::OK);
    assert_eq!(server.get("/staff", None).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_greeted_and_a_bad_token_is_not() {
    let server = Server::start().await;
    let alice = server.login("alice", "wonderland").await;
    let greeting = |name: &str| (StatusCode::OK, format!("Hello, {name}!"));
    assert_eq!(server.get("/hello", None).await, greeting("stranger"));
    assert_eq!(server.get("/hello", Some(&alice)).await, greeting("alice"));
    assert_eq!(server.get("/hello", Some("nonsense")).await.0, StatusCode::UNAUTHORIZED);
    server.send("POST", "/logout", Some(&alice)).await;
    assert_eq!(server.get("/hello", Some(&alice)).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(server.get("/nowhere", None).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_brings_the_claims_along() {
    let server = Server::start().await;
    let pair: Value = server.ask_login("bob", "builder").await.json().await.unwrap();
    let refresh_token = pair["refresh_token"].as_str().unwrap();
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
    let request = Client::new().post(format!("{}/oauth/token", server.base)).form(&form);
    let next: Value = request.send().await.unwrap().json().await.unwrap();
    let (status, me) = server.get("/me", next["access_token"].as_str()).await;
    assert_eq!(status, StatusCode::OK);
    let me: Value = serde_json::from_str(&me).unwrap();
    assert_eq!(me, json!({ "user": "bob", "plan": "pro" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_logout_the_service_refuses_in_its_own_words() {
    let server = Server::start().await;
    let alice = server.login("alice", "wonderland").await;
    let logout = server.send("POST", "/logout", Some(&alice)).await;
    assert_eq!(logout.status(), StatusCode::NO_CONTENT);
    for (token, challenge, error) in
        [(None, "Bearer realm=\"api\"", "missing"), (Some(&*alice), "invalid_token", "revoked")]
    {
        let answer = server.send("GET", "/me", token).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(answer.headers()["content-type"], "application/json");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let told = answer.headers()["www-authenticate"].to_str().unwrap();
        assert!(told.contains(challenge), "{told}");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body, json!({ "error": error, "then": "login" }));
    }
    let again = server.login("alice", "wonderland").await;
    assert_eq!(server.get("/me", Some(&again)).await.0, StatusCode::OK);
}
