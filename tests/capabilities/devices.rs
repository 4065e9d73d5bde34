//! A service of the tests' own whose clock they drive: logins, the token endpoint, lists.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path as UrlPath, State},
    http::StatusCode,
    routing::{get, post},
};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tower_revocation::{
    AnyStore, Id, Issuer, RevocationLayer, Verified,
    lifetimes::Lifetimes,
    routes::TokenEndpoint,
    session::{Reuse, TokenPair},
    store::{Device, Session},
};

use crate::{
    common::instance::{Instance, grant},
    fleet::Pair,
    service::Service,
};

pub(crate) struct Devices {
    pub(crate) instance: Instance,
    /// The reuses that the hook was told of.
    pub(crate) reuses: Arc<Mutex<Vec<Reuse>>>,
    service: Service,
    client: Client,
}

impl Devices {
    pub(crate) async fn start(data: &Path) -> Self {
        Self::start_with(data, Lifetimes::default()).await
    }

    pub(crate) async fn start_with(data: &Path, lifetimes: Lifetimes) -> Self {
        Self::start_layered(data, lifetimes, |_, layer| layer).await
    }

    /// With more in front of its routes.
    pub(crate) async fn start_layered(
        data: &Path,
        lifetimes: Lifetimes,
        layered: impl FnOnce(&Instance, RevocationLayer) -> RevocationLayer,
    ) -> Self {
        let reuses = Arc::new(Mutex::new(Vec::new()));
        let told = reuses.clone();
        let instance = Instance::start_with(data, lifetimes, |issuer| {
            issuer.on_reuse(move |reuse| told.lock().unwrap().push(reuse.clone()))
        })
        .await;
        let claims = async |user: Id| Ok(grant(user.as_str(), &[]));
        let layer = layered(&instance, RevocationLayer::new(instance.verifier.clone()));
        let endpoint = TokenEndpoint::new(instance.issuer.clone(), claims);
        let app = Router::new()
            .route("/me", get(async |caller: Verified| caller.subject().to_owned()))
            .route("/sessions", get(sessions))
            .route_layer(layer)
            .route("/login/{user}", post(login))
            .route("/online/{seconds}", get(online))
            .route_service("/oauth/token", endpoint)
            .with_state(instance.issuer.clone());
        let service = Service::start(app).await;
        Self { instance, reuses, service, client: Client::new() }
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.instance.clock.advance(time);
    }

    pub(crate) async fn login(&self, user: &str) -> Pair {
        let url = self.service.url(&format!("/login/{user}"));
        Pair::of(&self.client.post(url).send().await.unwrap().json().await.unwrap())
    }

    pub(crate) async fn refresh(&self, refresh_token: &str) -> (StatusCode, Value) {
        let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
        let request = self.client.post(self.service.url("/oauth/token")).form(&form);
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    pub(crate) async fn renewed(&self, refresh_token: &str) -> Pair {
        let (status, answer) = self.refresh(refresh_token).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        Pair::of(&answer)
    }

    pub(crate) async fn assert_refused(&self, refresh_token: &str) {
        let (status, answer) = self.refresh(refresh_token).await;
        assert_eq!((status, &answer["error"]), (StatusCode::BAD_REQUEST, &json!("invalid_grant")));
    }

    /// The status of `/me`, once the sync has taken in the time as it is now.
    pub(crate) async fn me(&self, access_token: &str) -> StatusCode {
        self.synced().await;
        self.service.me(access_token).await.status()
    }

    /// `/me`, once the sync has taken in the time as it is now, with these headers.
    pub(crate) async fn ask(&self, access_token: &str, headers: &[(&str, &str)]) -> Response {
        self.synced().await;
        let mut request = self.client.get(self.service.url("/me")).bearer_auth(access_token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }

    /// The ids of the caller's sessions.
    pub(crate) async fn sessions(&self, access_token: &str) -> Vec<String> {
        self.synced().await;
        let request = self.client.get(self.service.url("/sessions")).bearer_auth(access_token);
        request.send().await.unwrap().json().await.unwrap()
    }

    /// The users with a session that was refreshed within this time.
    pub(crate) async fn online(&self, time: Duration) -> Vec<String> {
        let url = self.service.url(&format!("/online/{}", time.as_secs()));
        self.client.get(url).send().await.unwrap().json().await.unwrap()
    }

    /// `/me`, as things are, in a task of its own.
    pub(crate) fn ask_at_once(&self, access_token: &str) -> JoinHandle<Response> {
        let request = self.client.get(self.service.url("/me")).bearer_auth(access_token);
        tokio::spawn(async move { request.send().await.unwrap() })
    }

    pub(crate) async fn login_from(&self, user: &str, ip: &str, user_agent: &str) -> Pair {
        let device = Device::new().with_ip(ip.parse().unwrap()).with_user_agent(user_agent);
        let issuer = &self.instance.issuer;
        let ticket = issuer.ticket().await.unwrap();
        let pair = issuer.login(ticket, grant(user, &[]).device(device)).await.unwrap();
        Pair::of(&serde_json::to_value(pair).unwrap())
    }

    pub(crate) async fn synced(&self) {
        self.instance.synced().await;
    }
}

type App = State<Issuer<AnyStore>>;

async fn login(State(issuer): App, UrlPath(user): UrlPath<String>) -> Json<TokenPair> {
    let ticket = issuer.ticket().await.unwrap();
    let grant = grant(&user, &[]).device(Device::new().with_label("tests"));
    Json(issuer.login(ticket, grant).await.unwrap())
}

async fn sessions(State(issuer): App, caller: Verified) -> Json<Vec<String>> {
    let user = Id::new(caller.subject()).unwrap();
    let sessions = issuer.sessions(&user).await.unwrap();
    Json(sessions.iter().map(|session| session.id.to_string()).collect())
}

async fn online(State(issuer): App, UrlPath(seconds): UrlPath<u64>) -> Json<Vec<String>> {
    let sessions: Vec<Session> = issuer.online(Duration::from_secs(seconds)).await.unwrap();
    Json(sessions.iter().map(|session| session.user.to_string()).collect())
}
