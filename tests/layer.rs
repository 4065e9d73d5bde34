//! The middleware, seen from outside: which service it calls, what it answers, what it passes on.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "common/gate.rs"]
mod gate;

use std::{
    collections::VecDeque,
    convert::Infallible,
    fmt, future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, routing::get};
use bytes::Bytes;
use http::{
    HeaderMap, Request, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    request,
};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full};
use serde::Deserialize;
use serde_json::Value;
use tonic::{
    Code,
    transport::{Endpoint, server::TcpIncoming},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_revocation::{
    Rejection, Verified,
    cutoff::{CutOff, Demand, StoreTime},
    error::ConfigError,
    layer::{ResponseBody, RevocationLayer, RevocationService},
    scope::Scope,
};

use gate::{Gate, NOW, good_token};

fn with_token() -> request::Builder {
    Request::get("/").header(AUTHORIZATION, format!("Bearer {}", good_token()))
}

fn revoke(gate: &Gate, demand: Demand) {
    let now = StoreTime::from_micros(NOW * 1_000_000);
    gate.epochs.raise(&Scope::user("alice").unwrap(), CutOff::at(now, demand));
}

async fn hello<B>(_: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("hello")))
}

async fn problem<B: Body<Data = Bytes, Error: fmt::Debug>>(response: Response<B>) -> Value {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

// ---- the service it calls ----

/// Panics when called without being polled ready; a clone is not ready.
#[derive(Debug, Default)]
struct Picky {
    ready: bool,
    calls: Arc<AtomicUsize>,
}

impl Clone for Picky {
    fn clone(&self) -> Self {
        Self { ready: false, calls: self.calls.clone() }
    }
}

impl<B> Service<Request<B>> for Picky {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without being ready");
        self.calls.fetch_add(1, Ordering::SeqCst);
        future::ready(Ok(Response::new(Full::default())))
    }
}

/// Spells out the request's type, which `ServiceExt::ready` leaves open.
async fn ready<S>(service: &mut S) -> &mut S
where
    S: Service<Request<Empty<Bytes>>, Error = Infallible>,
{
    service.ready().await.unwrap()
}

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
        for request in [with_token(), Request::get("/"), Request::get("/")] {
            let request = request.body(Empty::<Bytes>::new()).unwrap();
            runtime.block_on(layer.layer(service_fn(hello)).oneshot(request)).unwrap();
        }
    });
    let counted = recorder.handle().render();
    for line in [
        "tower_revocation_accepted_total 1\n",
        "tower_revocation_refused_total{reason=\"missing\"} 2\n",
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

// ---- bodies ----

/// No `Default`, an error type of its own, and frames one by one.
struct Odd(VecDeque<Result<Frame<Bytes>, OddError>>);

#[derive(Debug, PartialEq)]
struct OddError;

impl Body for Odd {
    type Data = Bytes;
    type Error = OddError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, OddError>>> {
        Poll::Ready(self.0.pop_front())
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(3);
        hint.set_upper(17);
        hint
    }
}

async fn odd(_: Request<()>) -> Result<Response<Odd>, Infallible> {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "6".parse().unwrap());
    let frames = [
        Ok(Frame::data(Bytes::from_static(b"abc"))),
        Ok(Frame::data(Bytes::from_static(b"def"))),
        Ok(Frame::trailers(trailers)),
        Err(OddError),
    ];
    Ok(Response::new(Odd(frames.into())))
}

#[tokio::test]
async fn passes_a_streaming_body_on_as_it_is() {
    let service = RevocationLayer::new(Gate::open().verifier).layer(service_fn(odd));
    let response = service.oneshot(with_token().body(()).unwrap()).await.unwrap();
    let mut body: ResponseBody<Odd> = response.into_body();

    assert!(!body.is_end_stream());
    assert_eq!((body.size_hint().lower(), body.size_hint().upper()), (3, Some(17)));
    for data in ["abc", "def"] {
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), data);
    }
    let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(trailers["x-sum"], "6");
    assert_eq!(body.frame().await.unwrap().unwrap_err(), OddError);
    assert!(body.is_end_stream());
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_refusal_is_one_whole_frame_of_known_length() {
    let service = RevocationLayer::new(Gate::open().verifier).layer(service_fn(odd));
    let response = service.oneshot(Request::new(())).await.unwrap();
    let mut body = response.into_body();

    let length = body.size_hint().exact().unwrap();
    assert!(!body.is_end_stream());
    let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(frame.len() as u64, length);
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
    assert!(body.frame().await.is_none());
}

// ---- answers ----

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
            let body = format!("{} {} {}", revoked.scope, revoked.demand, refusal.is_grpc());
            Response::builder().status(418).body(body.into()).unwrap()
        });

    let request = with_token().body(Empty::<Bytes>::new()).unwrap();
    let response = layer.layer(service_fn(hello)).oneshot(request).await.unwrap();
    assert_eq!(response.status(), 418);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "user refresh false");

    let request = with_token().header(CONTENT_TYPE, "application/grpc");
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let response = layer.layer(service_fn(hello)).oneshot(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "user refresh true");

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

// ---- gRPC ----

#[tokio::test]
async fn grpc_is_refused_with_trailers_only() {
    let fresh = Gate::open();
    let revoked = Gate::open();
    revoke(&revoked, Demand::Refresh);
    let two = with_token().header(AUTHORIZATION, "Bearer a");
    for (gate, request, code, reason, demand) in [
        (&fresh, Request::get("/"), "16", "missing", Some("login")),
        (&fresh, two, "3", "multiple_tokens", Some("login")),
        (&revoked, with_token(), "16", "revoked", Some("refresh")),
        (&Gate::not_loaded(), with_token(), "14", "not_loaded", None),
    ] {
        let request = request.header(CONTENT_TYPE, "application/grpc+proto");
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let service = RevocationLayer::new(gate.verifier.clone()).layer(service_fn(hello));
        let response = service.oneshot(request).await.unwrap();

        assert_eq!(response.status(), StatusCode::OK);
        let headers = response.headers();
        assert_eq!(headers[CONTENT_TYPE], "application/grpc");
        assert_eq!(headers["grpc-status"], code);
        assert!(!headers["grpc-message"].is_empty());
        assert_eq!(headers["revocation-reason"], reason);
        assert_eq!(headers.get("revocation-demand").map(|it| it.to_str().unwrap()), demand);
        let unavailable = code == "14";
        assert_eq!(headers.contains_key(RETRY_AFTER), unavailable);
        assert_eq!(headers.contains_key("grpc-retry-pushback-ms"), unavailable);
        assert_eq!(headers.contains_key(WWW_AUTHENTICATE), !unavailable);

        let mut body = response.into_body();
        assert!(body.is_end_stream());
        assert!(body.frame().await.is_none());
    }
}

#[tokio::test]
async fn a_tonic_client_understands_the_refusal() {
    let gate = Gate::open();
    let (_reporter, health) = tonic_health::server::health_reporter();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tonic::transport::Server::builder()
        .layer(RevocationLayer::new(gate.verifier.clone()))
        .add_service(health)
        .serve_with_incoming(TcpIncoming::from(listener));
    tokio::spawn(server);
    let channel = Endpoint::try_from(format!("http://{address}")).unwrap();
    let mut client = HealthClient::new(channel.connect().await.unwrap());
    let request = |token: Option<String>| {
        let mut request = tonic::Request::new(HealthCheckRequest::default());
        if let Some(token) = token {
            let value = format!("Bearer {token}").parse().unwrap();
            request.metadata_mut().insert("authorization", value);
        }
        request
    };

    let status = client.check(request(None)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(status.message(), "no access token was presented");
    assert_eq!(status.metadata().get("www-authenticate").unwrap(), "Bearer realm=\"api\"");

    client.check(request(Some(good_token()))).await.unwrap();

    revoke(&gate, Demand::Refresh);
    let status = client.check(request(Some(good_token()))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(status.metadata().get("revocation-reason").unwrap(), "revoked");
    assert_eq!(status.metadata().get("revocation-demand").unwrap(), "refresh");

    gate.clock.advance(Duration::from_secs(11));
    let status = client.check(request(Some(good_token()))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.metadata().get("revocation-demand"), None);
}

// ---- axum ----

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
