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
        tokio::spawn(async { serve(listener, app).await.map_err(|error| error.to_string()) });
        Self { base, _sync: sync, _data: data }
    }

    async fn send(&self, method: Method, path: &str, token: Option<&str>) -> Response {
        let mut request = Client::new().request(method, format!("{}{path}", self.base));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        request.send().await.unwrap()
    }

    async fn login(&self) -> String {
        let answer = self.send(Method::POST, "/login", None).await;
        assert_eq!(answer.status(), StatusCode::OK);
        answer.text().await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_is_let_in_and_nobody_is_not() {
    let server = Server::start().await;
    let token = server.login().await;
    let answer = server.send(Method::GET, "/me", Some(&token)).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.text().await.unwrap(), "alice");

    let answer = server.send(Method::GET, "/me", None).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(answer.headers()["www-authenticate"], "Bearer realm=\"api\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_ends_its_session_alone() {
    let server = Server::start().await;
    let (phone, laptop) = (server.login().await, server.login().await);
    let answer = server.send(Method::POST, "/logout", Some(&phone)).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    let answer = server.send(Method::GET, "/me", Some(&phone)).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
    assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    let answer = server.send(Method::GET, "/me", Some(&laptop)).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let again = server.login().await;
    assert_eq!(server.send(Method::GET, "/me", Some(&again)).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_paths_are_behind_the_layer_too() {
    let server = Server::start().await;
    let token = server.login().await;
    for (method, path) in [(Method::GET, "/nowhere"), (Method::GET, "/login")] {
        let nobody = server.send(method.clone(), path, None).await;
        assert_eq!(nobody.status(), StatusCode::UNAUTHORIZED, "{path}");
        let alice = server.send(method, path, Some(&token)).await;
        assert_eq!(alice.status(), StatusCode::NOT_FOUND, "{path}");
    }
}
