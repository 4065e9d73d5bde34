//! How much of the truth about a session is in its token: the three strategies, side by side on one
//! session logic.

use axum::{Router, http::StatusCode, routing::get};
use reqwest::Client;
use tower_revocation::{
    Demand, EpochStore, Id, RevocationLayer, Scope, Verified,
    layer::{Confirmations, Renewal, Strategy},
};

use crate::{
    common::{
        instance::{Instance, grant},
        place::{Place, PlainSql},
    },
    service::Service,
};

const OK: StatusCode = StatusCode::OK;
const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;

const ROUTES: [&str; 3] = ["/token", "/refresh", "/session"];

/// A route for each strategy.
struct Strategies {
    instance: Instance,
    service: Service,
}

impl Strategies {
    async fn start(place: &Place) -> Self {
        let instance = Instance::start(place.path()).await;
        let claims = async |user: Id| Ok(grant(user.as_str(), &[]));
        let renewal = Renewal::new(instance.issuer.renewing(claims));
        let confirmations = Confirmations::new(instance.store.clone());
        let layer = RevocationLayer::new(instance.verifier.clone());
        let route = |path: &str, strategy: Strategy| {
            let handler = get(async |caller: Verified| caller.subject().to_owned());
            Router::new()
                .route(path, handler)
                .route_layer(layer.clone().strategy(strategy).unwrap())
        };
        let app = route("/token", Strategy::token())
            .merge(route("/refresh", Strategy::refresh(renewal.clone())))
            .merge(route("/session", Strategy::session(confirmations).with_renewal(renewal)));
        Self { service: Service::start(app).await, instance }
    }

    async fn ask(&self, path: &str, token: &str) -> (StatusCode, Option<String>) {
        let request = Client::new().get(self.service.url(path)).bearer_auth(token);
        let answer = request.send().await.unwrap();
        let next = answer.headers().get("x-jwt").map(|next| next.to_str().unwrap().to_owned());
        (answer.status(), next)
    }

    async fn statuses(&self, token: &str) -> [StatusCode; 3] {
        let mut statuses = [OK; 3];
        for (status, path) in statuses.iter_mut().zip(ROUTES) {
            *status = self.ask(path, token).await.0;
        }
        statuses
    }

    /// How many statements requests and renewals have sent.
    fn statements(&self) -> u64 {
        let counts = self.instance.store.statements();
        counts.request + counts.session
    }

    /// How many statements a request to each route costs.
    async fn costs(&self, token: &str) -> [u64; 3] {
        let mut costs = [0; 3];
        for (cost, path) in costs.iter_mut().zip(ROUTES) {
            let before = self.statements();
            assert_eq!(self.ask(path, token).await.0, OK, "{path}");
            *cost = self.statements() - before;
        }
        costs
    }
}

#[tokio::test]
async fn c03_three_strategies_on_one_session_logic() {
    let place = Place::new().await;
    let service = Strategies::start(&place).await;
    let token = service.instance.login("alice", &[]).await.unwrap();
    // Only the third asks, on each request.
    for _ in 0..3 {
        let costs = service.costs(token.as_str()).await;
        assert!(matches!(costs, [0, 0, 2 | 3]), "{costs:?}");
    }
    // All of them end with the session.
    let session = Scope::Session(token.session().clone());
    let receipt = service.instance.revoke(session, Demand::Login).await;
    service.instance.epochs.wait_for(&receipt).await;
    assert_eq!(service.statuses(token.as_str()).await, [UNAUTHORIZED; 3]);

    // What has expired is renewed where that was asked for.
    let token = service.instance.login("alice", &[]).await.unwrap();
    service
        .instance
        .clock
        .advance(token.expires_in() + service.instance.epochs.lifetimes().leeway());
    service.instance.synced().await;
    assert_eq!(service.statuses(token.as_str()).await, [UNAUTHORIZED, OK, OK]);

    // A token without a session is for the first, and for the second until it expires.
    let ticket = service.instance.issuer.ticket().await.unwrap();
    let token = service.instance.issuer.issue(ticket, grant("alice", &[])).await.unwrap();
    assert_eq!(service.statuses(token.as_str()).await, [OK, OK, UNAUTHORIZED]);
    // It is revoked like any other.
    let receipt = service.instance.revoke(Scope::user("alice").unwrap(), Demand::Login).await;
    service.instance.epochs.wait_for(&receipt).await;
    assert_eq!(service.statuses(token.as_str()).await, [UNAUTHORIZED; 3]);
}

#[tokio::test]
async fn c28_a_session_checked_on_each_request_ends_at_once_though_memory_knows_nothing() {
    let place = Place::new().await;
    let mut service = Strategies::start(&place).await;
    let elsewhere = Instance::start(place.path()).await;
    let (ended, alive) = (
        elsewhere.login("alice", &[]).await.unwrap(),
        elsewhere.login("alice", &[]).await.unwrap(),
    );
    assert_eq!(service.statuses(ended.as_str()).await, [OK; 3]);
    // This instance hears of nothing any more. For `max_staleness` the others have to believe it.
    service.instance.sync = None;
    elsewhere.revoke(Scope::Session(ended.session().clone()), Demand::Login).await;
    assert_eq!(service.statuses(ended.as_str()).await, [OK, OK, UNAUTHORIZED]);
    assert_eq!(service.statuses(alive.as_str()).await, [OK; 3]);
    // Nor does it need them to be fresh.
    service.instance.clock.advance(service.instance.epochs.max_staleness() * 2);
    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    assert_eq!(service.statuses(ended.as_str()).await, [unavailable, unavailable, UNAUTHORIZED]);
    assert_eq!(service.statuses(alive.as_str()).await, [unavailable, unavailable, OK]);
}

#[tokio::test]
async fn c28_a_successor_from_before_is_no_way_round_the_store() {
    let place = Place::new().await;
    let mut service = Strategies::start(&place).await;
    let token = service.instance.login("alice", &[]).await.unwrap();
    service
        .instance
        .clock
        .advance(token.expires_in() + service.instance.epochs.lifetimes().leeway());
    service.instance.synced().await;
    // The successor is remembered, and handed out with the same token again.
    let (status, successor) = service.ask("/session", token.as_str()).await;
    assert_eq!((status, successor.is_some()), (OK, true));
    assert_eq!(service.ask("/session", token.as_str()).await, (OK, successor));
    service.instance.sync = None;
    service.instance.revoke(Scope::Session(token.session().clone()), Demand::Login).await;
    assert_eq!(service.ask("/session", token.as_str()).await, (UNAUTHORIZED, None));
}

#[tokio::test]
async fn c32_only_sessions_that_the_store_knows_are_accepted() {
    let place = Place::new().await;
    let service = Strategies::start(&place).await;
    let token = service.instance.login("alice", &[]).await.unwrap();
    let other = service.instance.login("bob", &[]).await.unwrap();
    assert_eq!(service.statuses(token.as_str()).await, [OK; 3]);
    // Gone without a trace: no cut-off covers it.
    let mut database = PlainSql::connect(place.path(), "test.db").await;
    let sql = format!("DELETE FROM revocation_sessions WHERE id = '{}'", token.session().as_str());
    database.run([&*sql, &*sql, &*sql]).await;
    assert_eq!(service.statuses(token.as_str()).await, [OK, OK, UNAUTHORIZED]);
    assert_eq!(service.statuses(other.as_str()).await, [OK; 3]);
}
