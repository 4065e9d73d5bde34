//! Servers in processes of their own: the demonstration server, started as a user starts it.

use std::{path::Path, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::{common::place, program::Program};

/// A running server, killed when dropped.
pub(crate) struct Server {
    base: String,
    client: Client,
    program: Program,
}

impl Server {
    /// Starts a server on the database and the keys in `data`, and waits until it is ready.
    pub(crate) async fn start(data: &Path) -> Self {
        Self::start_with(data, &[]).await
    }

    pub(crate) async fn start_with(data: &Path, settings: &[(&str, &str)]) -> Self {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let url = place::url(data).map(|url| ("DATABASE_URL".to_owned(), url));
        let own = [("DATA_DIR", data.to_str().unwrap())].map(owned);
        let all = own.into_iter().chain(url).chain(settings.iter().copied().map(owned));
        let program = Program::start(all).await;
        let client = Client::builder().user_agent("capabilities").build().unwrap();
        let server = Self { base: program.base.clone(), client, program };
        server.until("/readyz", "", StatusCode::OK).await;
        server
    }

    /// Its process stands still.
    pub(crate) fn stop(&self) {
        self.program.stop();
    }

    /// Its process goes on.
    pub(crate) fn go_on(&self) {
        self.program.go_on();
    }

    pub(crate) async fn login(&self, username: &str, password: &str) -> String {
        self.log_in(username, password, "").await.access
    }

    /// A session on a device with this label.
    pub(crate) async fn log_in(&self, username: &str, password: &str, label: &str) -> Pair {
        let label = Some(label).filter(|label| !label.is_empty());
        let credentials = json!({ "username": username, "password": password, "label": label });
        let (status, answer) = self.post("/login", "", &credentials).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        Pair::of(&answer)
    }

    /// What `/login` says.
    pub(crate) async fn try_login(&self, username: &str, password: &str) -> (StatusCode, Value) {
        let credentials = json!({ "username": username, "password": password });
        self.post("/login", "", &credentials).await
    }

    /// Alice's session on a device with this label.
    pub(crate) async fn alice_on(&self, label: &str) -> Pair {
        self.log_in("alice", "wonderland", label).await
    }

    /// Bob's session, who is an administrator.
    pub(crate) async fn bob_on(&self, label: &str) -> Pair {
        self.log_in("bob", "builder", label).await
    }

    /// What the token endpoint says to this refresh token.
    pub(crate) async fn refresh(&self, refresh_token: &str) -> (StatusCode, Value) {
        let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
        read(self.client.post(format!("{}/oauth/token", self.base)).form(&form)).await
    }

    /// The next pair.
    pub(crate) async fn renewed(&self, refresh_token: &str) -> Pair {
        let (status, answer) = self.refresh(refresh_token).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        Pair::of(&answer)
    }

    /// The session of `pair` is over: its access token soon, its refresh token at once.
    pub(crate) async fn assert_ended(&self, pair: &Pair) {
        let (status, answer) = self.refresh(&pair.refresh).await;
        assert_eq!((status, &answer["error"]), (StatusCode::BAD_REQUEST, &json!("invalid_grant")));
        self.until("/me", &pair.access, StatusCode::UNAUTHORIZED).await;
    }

    /// Both tokens of `pair` are good. Spends the refresh token.
    pub(crate) async fn assert_alive(&self, pair: &Pair) {
        assert_eq!(self.me(&pair.access).await, StatusCode::OK);
        let next = self.renewed(&pair.refresh).await;
        assert_eq!(self.me(&next.access).await, StatusCode::OK);
    }

    /// The labels that `GET /sessions` tells, sorted.
    pub(crate) async fn labels(&self, token: &str) -> Vec<String> {
        let (status, sessions) = self.get("/sessions", token).await;
        assert_eq!(status, StatusCode::OK, "{sessions}");
        let label = |session: &Value| session["label"].as_str().unwrap_or_default().to_owned();
        let mut labels: Vec<String> = sessions.as_array().unwrap().iter().map(label).collect();
        labels.sort();
        labels
    }

    pub(crate) async fn alice(&self) -> String {
        self.login("alice", "wonderland").await
    }

    pub(crate) async fn bob(&self) -> String {
        self.login("bob", "builder").await
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> (StatusCode, Value) {
        let request = self.client.get(format!("{}{path}", self.base));
        read(if token.is_empty() { request } else { request.bearer_auth(token) }).await
    }

    pub(crate) async fn post(&self, path: &str, token: &str, body: &Value) -> (StatusCode, Value) {
        let request = self.client.post(format!("{}{path}", self.base)).json(body);
        read(if token.is_empty() { request } else { request.bearer_auth(token) }).await
    }

    pub(crate) async fn put(&self, path: &str, token: &str, body: &Value) -> (StatusCode, Value) {
        read(self.client.put(format!("{}{path}", self.base)).json(body).bearer_auth(token)).await
    }

    pub(crate) async fn delete(&self, path: &str, token: &str) -> StatusCode {
        read(self.client.delete(format!("{}{path}", self.base)).bearer_auth(token)).await.0
    }

    /// The whole answer to a request with a token.
    pub(crate) async fn answer(&self, path: &str, token: &str) -> reqwest::Response {
        let request = self.client.get(format!("{}{path}", self.base));
        request.bearer_auth(token).send().await.unwrap()
    }

    /// How many statements were sent for requests.
    pub(crate) async fn asked(&self) -> u64 {
        self.metric("tower_revocation_store_statements_total{path=\"request\"}").await
    }

    pub(crate) async fn me(&self, token: &str) -> StatusCode {
        self.get("/me", token).await.0
    }

    /// Revokes as `admin`, and returns the cut-off.
    pub(crate) async fn revoke(
        &self,
        admin: &str,
        scope: &str,
        subject: &str,
        demand: &str,
    ) -> u64 {
        let order = json!({ "scope": scope, "subject": subject, "demand": demand });
        let (status, receipt) = self.post("/admin/revoke", admin, &order).await;
        assert_eq!(status, StatusCode::OK, "{receipt}");
        receipt["revoked_before"].as_u64().unwrap()
    }

    /// Asks until the answer has this status.
    pub(crate) async fn until(&self, path: &str, token: &str, wanted: StatusCode) {
        let answered = async {
            while self.get(path, token).await.0 != wanted {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), answered)
            .await
            .unwrap_or_else(|_| panic!("{path} never answered {wanted}"));
    }

    /// The value of a line of `/metrics`.
    pub(crate) async fn metric(&self, line: &str) -> u64 {
        let text = self.client.get(format!("{}/metrics", self.base)).send().await.unwrap();
        let text = text.text().await.unwrap();
        let value = text.lines().find_map(|each| each.strip_prefix(line)?.trim().parse().ok());
        value.unwrap_or_else(|| panic!("{line} is missing from:\n{text}"))
    }
}

async fn read(request: reqwest::RequestBuilder) -> (StatusCode, Value) {
    let answer = request.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap_or_default())
}

/// What a login or a refresh returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) access: String,
    pub(crate) refresh: String,
    /// In seconds.
    pub(crate) expires_in: u64,
}

impl Pair {
    pub(crate) fn of(answer: &Value) -> Self {
        let text = |member: &str| answer[member].as_str().unwrap().to_owned();
        assert_eq!(answer["token_type"], "Bearer");
        let expires_in = answer["expires_in"].as_u64().unwrap();
        Self { access: text("access_token"), refresh: text("refresh_token"), expires_in }
    }

    pub(crate) fn sid(&self) -> String {
        claims(&self.access)["sid"].as_str().unwrap().to_owned()
    }
}

/// The claims of a token, as its bearer may read them.
pub(crate) fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}
