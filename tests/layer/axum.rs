//! The extractor of axum.

use axum::{Router, routing::get};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde::Deserialize;
use tower::ServiceExt;
use tower_revocation::{Verified, layer::RevocationLayer};

use crate::{gate::Gate, problem, with_token};

#[derive(Deserialize)]
struct Plan {
    plan: String,
}

async fn plan(caller: Verified<Plan>) -> String {
    format!("{} has {}", caller.subject(), caller.claims().plan)
}

async fn who(caller: Option<Verified<Plan>>) -> String {
    caller.map_or_else(|| "nobody".to_owned(), |caller| caller.subject().to_owned())
}

fn app() -> Router {
    let layer = RevocationLayer::new(Gate::open().verifier).claims::<Plan>();
    Router::new()
        .route("/plan", get(plan))
        .route("/who", get(who))
        .route_layer(layer)
        .route("/open/who", get(who))
        .route("/open/plan", get(plan))
}

async fn answer(uri: &str, token: bool) -> (StatusCode, String) {
    let request = if token { with_token().uri(uri) } else { Request::get(uri) };
    let request = request.body(axum::body::Body::empty()).unwrap();
    let response = app().oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn the_axum_extractor_hands_out_the_proof() {
    assert_eq!(answer("/plan", true).await, (StatusCode::OK, "alice has gold".to_owned()));
    assert_eq!(answer("/who", true).await, (StatusCode::OK, "alice".to_owned()));
    for uri in ["/plan", "/who"] {
        assert_eq!(answer(uri, false).await.0, StatusCode::UNAUTHORIZED, "{uri}");
    }
    // `route_layer` leaves other paths alone.
    assert_eq!(answer("/nowhere", false).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_axum_extractor_without_the_layer_is_a_loud_500() {
    for token in [false, true] {
        let (status, body) = answer("/open/plan", token).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(body.contains("RevocationLayer"), "{body}");
        // Nobody checked that token.
        assert_eq!(answer("/open/who", token).await, (StatusCode::OK, "nobody".to_owned()));
    }
}

#[tokio::test]
async fn the_axum_extractor_for_other_claims_than_the_layers_is_a_loud_500() {
    let layer = RevocationLayer::new(Gate::open().verifier);
    let app = Router::new().route("/", get(plan)).layer(layer);
    let request = with_token().body(axum::body::Body::empty()).unwrap();
    let response = app.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let problem = problem(response).await;
    assert_eq!(problem["type"], "urn:tower-revocation:problem:missing-layer");
    assert_eq!(problem["status"], 500);
}
