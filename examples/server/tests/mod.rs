//! The service over sockets, as its clients see it.

mod accounts;
mod admin;
mod logins;
mod probes;
mod refreshes;
mod renewals;
mod sessions;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::{
    app::app,
    background::Background,
    config::{Config, sqlite_in},
};

/// A server in this process, gone when dropped.
struct Server {
    address: SocketAddr,
    client: Client,
    _background: Background,
}

/// What a login or refresh returns.
struct Tokens {
    access: String,
    refresh: String,
}

fn config(data: &Path) -> Config {
    Config {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        data_dir: data.to_owned(),
        database_url: sqlite_in(data).unwrap(),
        issuer: "http://127.0.0.1:3000".to_owned(),
        audience: "demo".to_owned(),
        access_ttl: Duration::from_secs(900),
        idle_ttl: Duration::from_secs(3_600),
        max_ttl: Duration::from_secs(86_400),
        max_staleness: Duration::from_secs(10),
        poll: Duration::from_secs(1),
        buckets: None,
        recent_login: Duration::from_secs(300),
        max_sessions: None,
    }
}

impl Server {
    /// A server with a database of its own.
    async fn start() -> (Self, TempDir) {
        let data = tempfile::tempdir().unwrap();
        (Self::start_in(data.path()).await, data)
    }

    async fn start_in(data: &Path) -> Self {
        Self::start_with(&config(data)).await
    }

    async fn start_with(config: &Config) -> Self {
        let listener = TcpListener::bind(config.address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (app, background) = app(config).await.unwrap();
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, app).await });
        let client = Client::builder().user_agent("tests/1").build().unwrap();
        let server = Self { address, client, _background: background };
        server.until("/readyz", "", StatusCode::OK).await;
        server
    }

    fn request(&self, method: Method, path: &str, token: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("http://{}{path}", self.address));
        if token.is_empty() { request } else { request.bearer_auth(token) }
    }

    async fn get(&self, path: &str, token: &str) -> (StatusCode, Value) {
        read(self.request(Method::GET, path, token)).await
    }

    async fn post(&self, path: &str, token: &str) -> (StatusCode, Value) {
        read(self.request(Method::POST, path, token)).await
    }

    async fn post_json(&self, path: &str, token: &str, body: &Value) -> (StatusCode, Value) {
        read(self.request(Method::POST, path, token).json(body)).await
    }

    async fn me(&self, token: &str) -> StatusCode {
        self.get("/me", token).await.0
    }

    async fn log_in(&self, username: &str, password: &str, label: &str) -> (StatusCode, Value) {
        let body = json!({ "username": username, "password": password, "label": label });
        self.post_json("/login", "", &body).await
    }

    async fn alice(&self, label: &str) -> Tokens {
        Tokens::from(self.log_in("alice", "wonderland", label).await)
    }

    async fn bob(&self) -> Tokens {
        Tokens::from(self.log_in("bob", "builder", "").await)
    }

    async fn refresh(&self, refresh_token: &str) -> (StatusCode, Value) {
        let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
        read(self.request(Method::POST, "/oauth/token", "").form(&form)).await
    }

    /// The labels of a list of sessions, sorted, with `*` after the caller's.
    async fn labels(&self, path: &str, token: &str) -> Vec<String> {
        let (status, sessions) = self.get(path, token).await;
        assert_eq!(status, StatusCode::OK, "{sessions}");
        let label = |session: &Value| {
            let label = session["label"].as_str().unwrap_or("-");
            format!("{label}{}", if session["current"] == true { "*" } else { "" })
        };
        let mut labels: Vec<String> = sessions.as_array().unwrap().iter().map(label).collect();
        labels.sort();
        labels
    }

    /// The id of the session of `token`.
    async fn sid(&self, token: &str) -> String {
        let (status, me) = self.get("/me", token).await;
        assert_eq!(status, StatusCode::OK, "{me}");
        me["sid"].as_str().unwrap().to_owned()
    }

    /// Asks until the answer has this status.
    async fn until(&self, path: &str, token: &str, wanted: StatusCode) {
        let answered = async {
            while self.get(path, token).await.0 != wanted {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), answered)
            .await
            .unwrap_or_else(|_| panic!("{path} never answered {wanted}"));
    }
}

impl From<(StatusCode, Value)> for Tokens {
    fn from((status, body): (StatusCode, Value)) -> Self {
        assert_eq!(status, StatusCode::OK, "{body}");
        assert_eq!(body["token_type"], "Bearer");
        // Up to a tenth less, at random.
        assert!((810..=900).contains(&body["expires_in"].as_u64().unwrap()), "{body}");
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        Self { access: text("access_token"), refresh: text("refresh_token") }
    }
}

async fn read(request: RequestBuilder) -> (StatusCode, Value) {
    let answer = request.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap_or_default())
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
}
