//! Routes that ask for more than a good token, or for less.

use std::{path::Path, time::Duration};

use axum::{Router, routing::get};
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;
use tower_revocation::{
    Demand, Grant, Id, RevocationLayer, Scope, Verified, lifetimes::Lifetimes, session::TokenPair,
};

use crate::{
    common::{
        instance::{Instance, grant},
        place::Place,
    },
    service::Service,
};

const OK: StatusCode = StatusCode::OK;
const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;
const FORBIDDEN: StatusCode = StatusCode::FORBIDDEN;

const FIVE_MINUTES: Duration = Duration::from_secs(300);

/// An instance, and a service whose routes ask for different things.
struct App {
    instance: Instance,
    service: Service,
}

impl App {
    async fn start(data: &Path) -> Self {
        // Tokens that outlive the five minutes of a login.
        let (hour, day) = (Duration::from_secs(3_600), Duration::from_secs(86_400));
        let lifetimes = Lifetimes::new(hour, day, Duration::from_secs(5)).unwrap();
        let instance = Instance::start_with(data, lifetimes, |issuer| issuer).await;
        let layer = RevocationLayer::new(instance.verifier.clone());
        let admin = Id::new("admin").unwrap();
        let routes = [
            ("/me", layer.clone()),
            ("/transfer", layer.clone().max_auth_age(FIVE_MINUTES).unwrap()),
            ("/vault", layer.clone().require_acr(["mfa"]).unwrap()),
            ("/write", layer.clone().require_permission("write").unwrap()),
            ("/admin", layer.clone().require_group(admin)),
            ("/front-page", layer.optional()),
        ];
        let who = async |caller: Option<Verified>| {
            caller.map_or_else(|| "nobody".to_owned(), |caller| caller.subject().to_owned())
        };
        let app = routes.into_iter().fold(Router::new(), |app, (path, layer)| {
            app.merge(Router::new().route(path, get(who)).route_layer(layer))
        });
        Self { service: Service::start(app).await, instance }
    }

    async fn login(&self, grant: Grant) -> TokenPair {
        let ticket = self.instance.issuer.ticket().await.unwrap();
        self.instance.issuer.login(ticket, grant).await.unwrap()
    }

    async fn get(&self, path: &str, tokens: &TokenPair) -> Response {
        self.synced().await;
        let request = Client::new().get(self.service.url(path));
        request.bearer_auth(tokens.access().as_str()).send().await.unwrap()
    }

    async fn status(&self, path: &str, tokens: &TokenPair) -> StatusCode {
        self.get(path, tokens).await.status()
    }

    /// The hands move at once, while a poll comes each second.
    async fn synced(&self) {
        let epochs = &self.instance.epochs;
        let fresh = async {
            while epochs.freshness(epochs.clock().now()).age() != Some(Duration::ZERO) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), fresh).await.unwrap();
    }
}

fn challenge(answer: &Response) -> &str {
    answer.headers()["www-authenticate"].to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn c40_a_sensitive_route_asks_for_a_recent_login() {
    let data = Place::new().await;
    let app = App::start(data.path()).await;
    let alice = app.login(grant("alice", &[])).await;
    assert_eq!(app.status("/transfer", &alice).await, OK);

    // The session is as good as ever, and too old for this.
    app.instance.clock.advance(FIVE_MINUTES + Duration::from_secs(1));
    assert_eq!(app.status("/me", &alice).await, OK);
    let answer = app.get("/transfer", &alice).await;
    assert_eq!(answer.status(), UNAUTHORIZED);
    let told = challenge(&answer);
    assert!(told.contains("error=\"insufficient_user_authentication\""), "{told}");
    assert!(told.contains("max_age=\"300\""), "{told}");
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["demand"], "login");

    // A refresh is no login, and a login is.
    let claims = async |user: Id| Ok(grant(user.as_str(), &[]));
    let refreshed = app.instance.issuer.refresh(alice.refresh().as_str(), claims).await.unwrap();
    assert_eq!(app.status("/me", &refreshed).await, OK);
    assert_eq!(app.status("/transfer", &refreshed).await, UNAUTHORIZED);
    let again = app.login(grant("alice", &[])).await;
    assert_eq!(app.status("/transfer", &again).await, OK);

    // And one of another kind, where that is asked for.
    let answer = app.get("/vault", &again).await;
    assert_eq!(answer.status(), UNAUTHORIZED);
    assert!(challenge(&answer).contains("acr_values=\"mfa\""), "{}", challenge(&answer));
    let strong = app.login(grant("alice", &[]).acr("mfa")).await;
    assert_eq!(app.status("/vault", &strong).await, OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn c48_a_route_serves_strangers_too_and_still_refuses_a_bad_token() {
    let data = Place::new().await;
    let app = App::start(data.path()).await;
    let alice = app.login(grant("alice", &[])).await;
    let front_page = || Client::new().get(app.service.url("/front-page"));
    let stranger = async || front_page().send().await.unwrap().text().await.unwrap();
    assert_eq!(stranger().await, "nobody");
    assert_eq!(app.get("/front-page", &alice).await.text().await.unwrap(), "alice");
    // On other routes they are refused, in this very service.
    let me = Client::new().get(app.service.url("/me")).send().await.unwrap();
    assert_eq!(me.status(), UNAUTHORIZED);

    for (header, status) in [
        ("Bearer a.b.c", UNAUTHORIZED),
        ("Bearer ", StatusCode::BAD_REQUEST),
        ("Bearer", StatusCode::BAD_REQUEST),
    ] {
        let answer = front_page().header("authorization", header).send().await.unwrap();
        assert_eq!(answer.status(), status, "{header}");
    }
    let user = Scope::user("alice").unwrap();
    let receipt = app.instance.revoke(user, Demand::Login).await;
    app.instance.epochs.wait_for(&receipt).await;
    let answer = app.get("/front-page", &alice).await;
    assert_eq!(answer.status(), UNAUTHORIZED);
    assert!(challenge(&answer).contains("error=\"invalid_token\""));
    assert_eq!(stranger().await, "nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn c57_routes_ask_for_scopes_and_roles() {
    let data = Place::new().await;
    let app = App::start(data.path()).await;
    let reader = app.login(grant("alice", &["staff"]).permissions("read")).await;
    let writer = app.login(grant("bob", &["staff"]).permissions("read write")).await;
    let admin = app.login(grant("carol", &["staff", "admin"])).await;
    for (tokens, write, administer) in
        [(&reader, FORBIDDEN, FORBIDDEN), (&writer, OK, FORBIDDEN), (&admin, FORBIDDEN, OK)]
    {
        assert_eq!(app.status("/me", tokens).await, OK);
        assert_eq!(app.status("/write", tokens).await, write);
        assert_eq!(app.status("/admin", tokens).await, administer);
    }
    let answer = app.get("/write", &reader).await;
    let told = challenge(&answer);
    assert!(told.contains("error=\"insufficient_scope\""), "{told}");
    assert!(told.contains("scope=\"write\""), "{told}");
    // Nobody without a token is forbidden anything: they have to log in first.
    let stranger = Client::new().get(app.service.url("/admin")).send().await.unwrap();
    assert_eq!(stranger.status(), UNAUTHORIZED);
}
