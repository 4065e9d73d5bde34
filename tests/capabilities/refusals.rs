//! What a refused client is told.

use axum::{Router, routing::get};
use bytes::Bytes;
use http::{HeaderValue, header};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tower_revocation::{
    Epochs, Follower, Rejection, RevocationLayer, Verified, Verifier,
    store::MemoryStore,
    token::{Algorithm, IssuerRules, KeySet, VerifyingKey},
};

use crate::service::Service;

async fn verifier() -> (Verifier, tower_revocation::SyncHandle) {
    let epochs = Epochs::new();
    let sync = Follower::new(MemoryStore::new(), epochs.clone()).start().unwrap();
    epochs.ready().await;
    let key = VerifyingKey::hmac(Algorithm::HS256, &[1; 32]).unwrap();
    let rules = IssuerRules::new("https://one.test", KeySet::new([key]).unwrap()).audience("api");
    (Verifier::builder(epochs).issuer(rules).build().unwrap(), sync)
}

#[tokio::test]
async fn c51_a_service_writes_its_own_error_bodies() {
    let (verifier, _sync) = verifier().await;
    let layer = RevocationLayer::new(verifier).realm("shop").unwrap().on_rejection(|refusal| {
        // The challenge of the standard answer stays, the body is ours.
        let mut answer = refusal.to_response();
        let body = json!({
            "code": refusal.rejection().reason(),
            "log_in": matches!(refusal.rejection(), Rejection::Missing),
        });
        let json = HeaderValue::from_static("application/vnd.shop+json");
        answer.headers_mut().insert(header::CONTENT_TYPE, json);
        answer.headers_mut().remove(header::CONTENT_LENGTH);
        *answer.body_mut() = Bytes::from(body.to_string());
        answer
    });
    let me = async |caller: Verified| caller.subject().to_owned();
    let service = Service::start(Router::new().route("/me", get(me)).route_layer(layer)).await;

    let answer = Client::new().get(service.url("/me")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(answer.headers()["www-authenticate"], "Bearer realm=\"shop\"");
    assert_eq!(answer.headers()["content-type"], "application/vnd.shop+json");
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body, json!({ "code": "missing", "log_in": true }));

    let answer = service.me("a.b.c").await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body, json!({ "code": "malformed", "log_in": false }));
}
