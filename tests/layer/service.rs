//! The service it calls.

use std::{convert::Infallible, fmt, sync::atomic::Ordering};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::AUTHORIZATION, request};
use http_body_util::{BodyExt, Empty, Full};
use serde::Deserialize;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_revocation::{
    Verified,
    cutoff::Demand,
    layer::{RevocationLayer, RevocationService},
};

use crate::{Picky, gate::Gate, hello, ready, revoke, with_token};

#[tokio::test]
async fn calls_the_service_that_was_made_ready() {
    let picky = Picky::default();
    let mut service = ServiceBuilder::new()
        .layer(RevocationLayer::new(Gate::open().verifier))
        .service(picky.clone());
    for _ in 0..2 {
        let request = with_token().body(Empty::<Bytes>::new()).unwrap();
        let response = ready(&mut service).await.call(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
    assert_eq!(picky.calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn keeps_to_a_concurrency_limit_behind_it() {
    let picky = Picky::default();
    let mut service = ServiceBuilder::new()
        .layer(RevocationLayer::new(Gate::open().verifier))
        .concurrency_limit(1)
        .service(picky.clone());
    // `ConcurrencyLimit` panics as well when a clone that was never ready is called.
    for _ in 0..2 {
        let refused = Request::get("/").body(Empty::<Bytes>::new()).unwrap();
        let response = ready(&mut service).await.call(refused).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);

        let good = with_token().body(Empty::<Bytes>::new()).unwrap();
        let response = ready(&mut service).await.call(good).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
    assert_eq!(picky.calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn hands_the_proof_to_the_service() {
    let handler = service_fn(async |request: Request<Empty<Bytes>>| {
        let caller = request.extensions().get::<Verified>().expect("verified");
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(caller.subject().to_owned())))
    });
    let service = RevocationLayer::new(Gate::open().verifier).layer(handler);
    let request = with_token().body(Empty::new()).unwrap();
    let body = service.oneshot(request).await.unwrap().into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "alice");
}

#[tokio::test]
async fn law_9_a_refused_request_never_reaches_the_service() {
    let revoked = Gate::open();
    revoke(&revoked, Demand::Login);
    for (gate, request) in [
        (Gate::open(), Request::get("/")),
        (Gate::open(), Request::get("/").header(AUTHORIZATION, "Bearer a.b.c")),
        (Gate::open(), with_token().header(AUTHORIZATION, "Bearer a")),
        (Gate::open(), with_token().uri("/?access_token=a")),
        (Gate::not_loaded(), with_token()),
        (revoked, with_token()),
    ] {
        // Even an answer that says 200 is only an answer.
        let layer = RevocationLayer::new(gate.verifier).on_rejection(|_| Response::default());
        let picky = Picky::default();
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        layer.layer(picky.clone()).oneshot(request).await.unwrap();
        assert_eq!(picky.calls.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test]
async fn an_optional_layer_lets_nobody_in_as_nobody_and_still_refuses_a_bad_token() {
    let gate = Gate::open();
    let who = async |request: Request<Empty<Bytes>>| {
        let caller = request.extensions().get::<Verified>();
        let name = caller.map_or("nobody", |caller| caller.subject()).to_owned();
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(name)))
    };
    let service = ServiceBuilder::new()
        .layer(RevocationLayer::new(gate.verifier.clone()).optional())
        .service(service_fn(who));
    let answer = async |request: request::Builder| {
        let response = service.clone().oneshot(request.body(Empty::new()).unwrap()).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    };
    assert_eq!(answer(Request::get("/")).await, (StatusCode::OK, "nobody".to_owned()));
    assert_eq!(answer(with_token()).await, (StatusCode::OK, "alice".to_owned()));
    for (header, status) in [
        ("Bearer", StatusCode::BAD_REQUEST),
        ("Bearer nonsense", StatusCode::UNAUTHORIZED),
        ("Bearer a.b.c", StatusCode::UNAUTHORIZED),
    ] {
        let bad = Request::get("/").header(AUTHORIZATION, header);
        assert_eq!(answer(bad).await.0, status, "{header}");
    }
    revoke(&gate, Demand::Login);
    assert_eq!(answer(with_token()).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(answer(Request::get("/")).await.0, StatusCode::OK);
}

#[test]
fn counts_each_request_once() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        let layer = RevocationLayer::new(Gate::open().verifier);
        for request in [with_token(), with_token(), Request::get("/"), Request::get("/")] {
            let request = request.body(Empty::<Bytes>::new()).unwrap();
            runtime.block_on(layer.layer(service_fn(hello)).oneshot(request)).unwrap();
        }
    });
    let counted = recorder.handle().render();
    for line in [
        "tower_revocation_accepted_total 2\n",
        "tower_revocation_refused_total{reason=\"missing\"} 2\n",
        // The second time it was known.
        "tower_revocation_token_cache_misses_total 1\n",
    ] {
        assert!(counted.contains(line), "{counted}");
    }
}

#[test]
fn asks_nothing_of_the_claims_type() {
    #[derive(Deserialize)]
    struct Bare {}

    fn is_shareable<T: Clone + Send + Sync + fmt::Debug + 'static>() {}
    is_shareable::<RevocationLayer<Bare>>();
    is_shareable::<RevocationService<Picky, Bare>>();
    is_shareable::<Verified<Bare>>();
}
