//! What refused clients are told.

use std::time::Duration;

use bytes::Bytes;
use http::{
    Request, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use http_body_util::{BodyExt, Empty};
use tower::{Layer, ServiceExt, service_fn};
use tower_revocation::{Rejection, cutoff::Demand, error::ConfigError, layer::RevocationLayer};

use crate::{Picky, gate::Gate, hello, problem, revoke, with_token};

#[tokio::test]
async fn tells_a_revoked_token_what_to_do() {
    for (demand, name) in [(Demand::Refresh, "refresh"), (Demand::Login, "login")] {
        let gate = Gate::open();
        revoke(&gate, demand);
        let service = RevocationLayer::new(gate.verifier).layer(service_fn(hello));
        let request = with_token().body(Empty::<Bytes>::new()).unwrap();
        let response = service.oneshot(request).await.unwrap();

        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(
            response.headers()[WWW_AUTHENTICATE],
            "Bearer realm=\"api\", error=\"invalid_token\", \
             error_description=\"the token was revoked\""
        );
        let problem = problem(response).await;
        assert_eq!(problem["type"], "urn:tower-revocation:problem:revoked");
        assert_eq!(problem["title"], "Access token revoked");
        assert_eq!(problem["detail"], "the token was revoked");
        assert_eq!(problem["demand"], name);
    }
}

#[tokio::test]
async fn tells_an_expired_token_to_refresh() {
    let gate = Gate::open();
    gate.clock.advance(Duration::from_secs(3_600));
    gate.sync();
    let service = RevocationLayer::new(gate.verifier).layer(service_fn(hello));
    let request = with_token().body(Empty::<Bytes>::new()).unwrap();
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let problem = problem(response).await;
    assert_eq!(problem["type"], "urn:tower-revocation:problem:expired");
    assert_eq!(problem["demand"], "refresh");
}

/// Law 5: clients throw sessions away on 401.
#[tokio::test]
async fn law_5_answers_503_while_nothing_can_be_said() {
    let stale = Gate::open();
    stale.clock.advance(Duration::from_secs(11));
    for (gate, reason) in [(Gate::not_loaded(), "not-loaded"), (stale, "stale")] {
        let layer = RevocationLayer::new(gate.verifier.clone());
        let request = || with_token().body(Empty::<Bytes>::new()).unwrap();
        let response = layer.layer(service_fn(hello)).oneshot(request()).await.unwrap();

        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        assert!(!response.headers().contains_key(WWW_AUTHENTICATE));
        let problem = problem(response).await;
        assert_eq!(problem["type"], format!("urn:tower-revocation:problem:{reason}"));
        assert_eq!(problem["status"], 503);
        assert_eq!(problem.get("demand"), None);

        gate.sync();
        let response = layer.layer(service_fn(hello)).oneshot(request()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn on_rejection_gets_the_reason_as_data() {
    let gate = Gate::open();
    revoke(&gate, Demand::Refresh);
    let layer =
        RevocationLayer::new(gate.verifier).realm("back office").unwrap().on_rejection(|refusal| {
            let Rejection::Revoked(revoked) = refusal.rejection() else {
                return refusal.to_response();
            };
            let body = format!("{:?} {} {}", revoked.scope, revoked.demand, refusal.is_grpc());
            Response::builder().status(418).body(body.into()).unwrap()
        });

    let request = with_token().body(Empty::<Bytes>::new()).unwrap();
    let response = layer.layer(service_fn(hello)).oneshot(request).await.unwrap();
    assert_eq!(response.status(), 418);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "Some(User) refresh false");

    let request = with_token().header(CONTENT_TYPE, "application/grpc");
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let response = layer.layer(service_fn(hello)).oneshot(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "Some(User) refresh true");

    let request = Request::new(Empty::<Bytes>::new());
    let response = layer.layer(service_fn(hello)).oneshot(request).await.unwrap();
    assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer realm=\"back office\"");
}

#[test]
fn refuses_a_realm_that_could_leave_its_quotes() {
    for realm in ["", "a\"b", "a\\b", "a\nb", "a\0", "r\u{e9}alm"] {
        let layer = RevocationLayer::new(Gate::open().verifier);
        let error = layer.realm(realm).unwrap_err();
        assert!(matches!(&error, ConfigError::Realm { realm: bad } if bad == realm), "{realm:?}");
    }
}

#[test]
fn debug_shows_neither_keys_nor_tokens() {
    let layer = RevocationLayer::new(Gate::open().verifier);
    let shown = format!("{:?} {:?}", layer, layer.layer(Picky::default()));
    assert!(shown.contains("realm: \"api\""), "{shown}");
    assert!(!shown.contains("7, 7, 7") && !shown.contains("BwcH"), "{shown}");
}
