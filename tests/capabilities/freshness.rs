//! What happens on an instance that cannot follow its database, route by route.

use std::time::Duration;

use axum::{Router, routing::get};
use reqwest::{Client, StatusCode};
use serde_json::Value;
use tower_revocation::{
    Demand, RevocationLayer, Scope, Verified, layer::Confirmations, store::EpochStore,
};

use crate::{
    common::{
        instance::Instance,
        place::{self, Place},
    },
    service::Service,
};

const OK: StatusCode = StatusCode::OK;
const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;
const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

/// One service whose routes differ in what they do while the copy is stale.
async fn service(instance: &Instance) -> Service {
    let me = async |caller: Verified| caller.subject().to_owned();
    let layer = RevocationLayer::new(instance.verifier.clone());
    let confirmations = Confirmations::new(instance.store.clone());
    let confirming = layer.clone().confirm_while_stale(confirmations);
    let trusting = layer.clone().dangerous_trust_while_stale(Duration::from_secs(20)).unwrap();
    let within = Duration::from_secs(2);
    let routes = [
        ("/payment", layer.clone().require_fresh(within).unwrap()),
        ("/password", confirming.clone().require_fresh(within).unwrap()),
        ("/refuse", layer),
        ("/confirm", confirming),
        ("/trust", trusting),
    ];
    let app = routes.into_iter().fold(Router::new(), |app, (path, layer)| {
        app.merge(Router::new().route(path, get(me)).route_layer(layer))
    });
    Service::start(app).await
}

async fn status(service: &Service, path: &str, token: &str) -> StatusCode {
    let answer = Client::new().get(service.url(path)).bearer_auth(token).send().await.unwrap();
    let status = answer.status();
    assert_eq!(answer.headers().contains_key("retry-after"), status == UNAVAILABLE, "{path}");
    status
}

async fn everywhere(service: &Service, token: &str) -> [StatusCode; 5] {
    [
        status(service, "/refuse", token).await,
        status(service, "/confirm", token).await,
        status(service, "/trust", token).await,
        status(service, "/payment", token).await,
        status(service, "/password", token).await,
    ]
}

#[tokio::test]
async fn c36_a_copy_on_each_instance_and_a_choice_per_route_when_it_is_stale() {
    let data = Place::new().await;
    let mut instance = Instance::start(data.path()).await;
    let service = service(&instance).await;
    let (alice, bob) =
        (instance.login("alice", &[]).await.unwrap(), instance.login("bob", &[]).await.unwrap());
    let (alice, bob) = (alice.as_str(), bob.as_str());
    let asked = || instance.store.statements().request;
    let passes = |seconds| instance.clock.advance(Duration::from_secs(seconds));

    // A local copy, and no question to the database.
    assert_eq!(everywhere(&service, alice).await, [OK; 5]);
    assert_eq!(asked(), 0);

    // The instance is cut off, and somebody else revokes.
    instance.sync.take();
    settled(&instance).await;
    instance.revoke(Scope::user("alice").unwrap(), Demand::Login).await;

    // Three seconds later: fresh for most, too old for two routes, one of which asks.
    passes(3);
    assert_eq!(everywhere(&service, alice).await, [OK, OK, OK, UNAVAILABLE, UNAUTHORIZED]);
    assert_eq!(everywhere(&service, bob).await, [OK, OK, OK, UNAVAILABLE, OK]);
    assert_eq!(asked(), 2);

    // Stale: each as it was told.
    passes(8);
    assert_eq!(
        everywhere(&service, alice).await,
        [UNAVAILABLE, UNAUTHORIZED, OK, UNAVAILABLE, UNAUTHORIZED]
    );
    assert_eq!(everywhere(&service, bob).await, [UNAVAILABLE, OK, OK, UNAVAILABLE, OK]);
    assert_eq!(asked(), 6);
    let answer = Client::new().get(service.url("/confirm")).bearer_auth(alice).send().await;
    let problem: Value = answer.unwrap().json().await.unwrap();
    assert_eq!(problem["demand"], "login");

    // Trust is bounded.
    passes(20);
    assert_eq!(everywhere(&service, bob).await, [UNAVAILABLE, OK, UNAVAILABLE, UNAVAILABLE, OK]);

    // A token from after the revocation is confirmed though no poll has told of it.
    let again = instance.login("alice", &[]).await.unwrap();
    assert_eq!(status(&service, "/confirm", again.as_str()).await, OK);

    // The database is gone, too: 503 and never 401, whoever it is. (Servers: `tests/faults/`.)
    if place::url(data.path()).is_some() {
        return;
    }
    std::fs::rename(data.path().join("test.db"), data.path().join("gone.db")).unwrap();
    for token in [alice, bob, again.as_str()] {
        assert_eq!(everywhere(&service, token).await, [UNAVAILABLE; 5]);
    }
}

/// Waits until a sync that was told to end has ended.
async fn settled(instance: &Instance) {
    let mut before = instance.store.statements().sync;
    loop {
        tokio::time::sleep(Duration::from_millis(120)).await;
        let now = instance.store.statements().sync;
        if now == before {
            return;
        }
        before = now;
    }
}
