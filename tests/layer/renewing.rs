//! Renewal on the way, with a mint that answers when the test says so.

use std::{convert::Infallible, num::NonZeroU32, time::Duration};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Request, Response, StatusCode,
    header::{AUTHORIZATION, CACHE_CONTROL, USER_AGENT},
};
use http_body_util::{Empty, Full};
use serde_json::json;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_revocation::{
    Demand, Id, RevocationLayer, Scope, Verified,
    cutoff::{CutOff, StoreTime},
    epochs::Epochs,
    error::{ConfigError, Error, ErrorKind},
    layer::{
        self, Confirmations, CookieSource, Csrf, Renew, Renewable, Renewal, RenewalBuilder,
        Renewed, ResponseBody, TokenSource,
    },
};

use crate::{
    asking::{Asked, Store, settle},
    gate::{Gate, NOW, token},
    problem,
};

type Answer = Result<Renewed, Error>;

/// A mint that hands its tasks to the test.
struct Mint(mpsc::UnboundedSender<Order>);

/// A renewal that was asked for. Dropped, it fails.
struct Order {
    token: Renewable,
    answer: oneshot::Sender<Answer>,
}

impl Renew for Mint {
    async fn renew(&self, token: &Renewable) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.0.send(Order { token: token.clone(), answer }).unwrap();
        answered.await.unwrap_or_else(|_| Err(ErrorKind::Store.into()))
    }
}

impl Order {
    /// A successor that is issued as of `now`.
    fn successor(self, now: u64) -> String {
        let token = own("t2", now, now + 300);
        self.answers(Ok(Renewed::new(token.clone(), Duration::from_secs(300))));
        token
    }

    fn answers(self, answer: Answer) {
        let _ = self.answer.send(answer);
    }
}

/// A token of an issuer of this crate: alice's, with this id and these times.
fn own(id: &str, issued_at: u64, expires_at: u64) -> String {
    token(&json!({
        "iss": "https://issuer.test", "aud": "api", "sub": "alice", "sid": "s1", "jti": id,
        "client_id": "web", "iat": issued_at, "exp": expires_at, "rvs": issued_at * 1_000_000,
        "oat": NOW - 1_000, "groups": ["staff"],
    }))
}

/// A layer that renews, over a service that answers with what the request is to get.
struct Renewing {
    gate: Gate,
    layer: RevocationLayer,
    orders: mpsc::UnboundedReceiver<Order>,
}

impl Renewing {
    fn new() -> Self {
        Self::with(|settings| settings)
    }

    fn with(settings: impl FnOnce(RenewalBuilder) -> RenewalBuilder) -> Self {
        let gate = Gate::with(|settings| settings, |rules| rules.store_time());
        gate.sync();
        let (mint, orders) = mpsc::unbounded_channel();
        let renewal = settings(Renewal::builder(Mint(mint))).build().unwrap();
        let layer = RevocationLayer::new(gate.verifier.clone()).renew(renewal).unwrap();
        Self { gate, layer, orders }
    }

    /// One whose copy has one bucket, and the questions that it sends.
    fn in_one_bucket() -> (Self, mpsc::UnboundedReceiver<Asked>) {
        let gate = Gate::with(|settings| settings.buckets(1), |rules| rules.store_time());
        gate.sync();
        let (mint, orders) = mpsc::unbounded_channel();
        let (store, asked) = mpsc::unbounded_channel();
        let layer = RevocationLayer::new(gate.verifier.clone())
            .confirm_doubtful(Confirmations::new(Store(store)))
            .renew(Renewal::new(Mint(mint)))
            .unwrap();
        (Self { gate, layer, orders }, asked)
    }

    fn ask(&self, token: &str) -> Client {
        self.ask_with(Request::get("/").header(AUTHORIZATION, format!("Bearer {token}")))
    }

    fn ask_with(&self, request: http::request::Builder) -> Client {
        let request = request.extension(self.gate.epochs.clone());
        let inner = async |request: Request<Empty<Bytes>>| {
            let caller = request.extensions().get::<Verified>().unwrap();
            let body = Full::<Bytes>::from(caller.token_id().unwrap().to_owned());
            let mut response = Response::new(body);
            for (name, value) in request.headers() {
                match name.as_str() {
                    "wants-revocation" => {
                        revoke_now(request.extensions().get().unwrap(), "alice");
                    }
                    "wants-status" => {
                        *response.status_mut() = StatusCode::from_bytes(value.as_bytes()).unwrap();
                    }
                    "wants-header" => {
                        let (name, value) = value.to_str().unwrap().split_once(' ').unwrap();
                        let name = HeaderName::try_from(name).unwrap();
                        response.headers_mut().insert(name, value.parse().unwrap());
                    }
                    _ => {}
                }
            }
            Ok::<_, Infallible>(response)
        };
        let service = ServiceBuilder::new().layer(self.layer.clone()).service(service_fn(inner));
        Client(tokio::spawn(service.oneshot(request.body(Empty::new()).unwrap())))
    }

    /// Makes the copy stale, and has a store asked that answers when the test says so.
    fn confirmed_while_stale(&mut self) -> mpsc::UnboundedReceiver<Asked> {
        let (store, asked) = mpsc::unbounded_channel();
        let confirmations = Confirmations::new(Store(store));
        self.layer = self.layer.clone().confirm_while_stale(confirmations);
        self.gate.clock.advance(Duration::from_secs(11));
        asked
    }

    async fn order(&mut self) -> Order {
        let order = timeout(Duration::from_secs(10), self.orders.recv()).await;
        order.expect("nothing was renewed").unwrap()
    }

    async fn no_order(&mut self) {
        settle().await;
        assert!(self.orders.try_recv().is_err(), "something was renewed");
    }

    fn pass(&self, seconds: u64) {
        self.gate.clock.advance(Duration::from_secs(seconds));
        self.gate.sync();
    }
}

type Answered = Response<ResponseBody<Full<Bytes>>>;

struct Client(JoinHandle<Result<Answered, Infallible>>);

impl Client {
    async fn response(self) -> Answered {
        timeout(Duration::from_secs(10), self.0).await.expect("no response").unwrap().unwrap()
    }

    /// The status, and the successor.
    async fn told(self) -> (u16, Option<String>) {
        let response = self.response().await;
        (response.status().as_u16(), successor(&response))
    }

    async fn reason(self) -> (u16, String) {
        let response = self.response().await;
        let status = response.status().as_u16();
        let kind = problem(response).await["type"].as_str().unwrap().to_owned();
        (status, kind.rsplit(':').next().unwrap().to_owned())
    }
}

fn successor(response: &Answered) -> Option<String> {
    response.headers().get("x-jwt").map(|token| token.to_str().unwrap().to_owned())
}

/// Past half of its life, and alive.
fn due() -> String {
    own("t1", NOW - 200, NOW + 100)
}

/// Over for a minute.
fn expired() -> String {
    own("t1", NOW - 360, NOW - 60)
}

// ---- a token that is due ----

#[tokio::test]
async fn a_token_past_half_its_life_is_answered_with_its_successor() {
    let mut renewing = Renewing::new();
    let client = renewing.ask(&due());
    let order = renewing.order().await;
    assert_eq!(order.token.user().as_str(), "alice");
    assert_eq!(order.token.session().as_str(), "s1");
    assert_eq!(order.token.token().as_str(), "t1");
    assert_eq!(order.token.groups().iter().map(|id| id.as_str()).collect::<Vec<_>>(), ["staff"]);
    assert_eq!(order.token.stamp().as_micros(), (NOW - 200) * 1_000_000);
    assert!(!order.token.revokes());
    let token = order.successor(NOW);
    let response = client.response().await;
    assert_eq!(successor(&response), Some(token));
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["access-control-expose-headers"], "x-jwt");
}

#[tokio::test]
async fn a_token_before_half_its_life_is_not_renewed() {
    let mut renewing = Renewing::new();
    assert_eq!(renewing.ask(&own("t1", NOW - 149, NOW + 151)).told().await, (200, None));
    renewing.no_order().await;
}

#[tokio::test]
async fn the_handler_sees_the_token_that_was_presented() {
    let mut renewing = Renewing::new();
    let client = renewing.ask(&due());
    renewing.order().await.successor(NOW);
    let body = client.response().await.into_body();
    let body = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
    assert_eq!(body, "t1");
}

#[tokio::test]
async fn sixty_four_requests_at_once_are_one_renewal() {
    let mut renewing = Renewing::new();
    let clients: Vec<Client> = (0..64).map(|_| renewing.ask(&due())).collect();
    let order = renewing.order().await;
    settle().await;
    let token = order.successor(NOW);
    for client in clients {
        assert_eq!(client.told().await, (200, Some(token.clone())));
    }
    renewing.no_order().await;
}

#[tokio::test]
async fn the_same_successor_is_handed_out_until_it_is_due_itself() {
    let mut renewing = Renewing::new();
    // It lives for long enough to be presented all the time.
    let old = own("t1", NOW - 400, NOW + 400);
    let client = renewing.ask(&old);
    let token = renewing.order().await.successor(NOW);
    assert_eq!(client.told().await.1.as_ref(), Some(&token));
    renewing.pass(149);
    assert_eq!(renewing.ask(&old).told().await, (200, Some(token)));
    renewing.no_order().await;
    renewing.pass(1);
    let client = renewing.ask(&old);
    let next = renewing.order().await.successor(NOW + 150);
    assert_eq!(client.told().await, (200, Some(next)));
}

#[tokio::test]
async fn nothing_is_handed_out_with_an_error_or_over_a_header_of_the_services_own() {
    let mut renewing = Renewing::new();
    let request = || Request::get("/").header(AUTHORIZATION, format!("Bearer {}", due()));
    for status in ["400", "404", "500", "503"] {
        let client = renewing.ask_with(request().header("wants-status", status));
        assert_eq!(client.told().await, (status.parse().unwrap(), None));
    }
    let client = renewing.ask_with(request().header("wants-header", "grpc-status 5"));
    assert_eq!(client.told().await, (200, None));
    let client = renewing.ask_with(request().header("wants-header", "x-jwt mine"));
    assert_eq!(client.told().await, (200, Some("mine".to_owned())));
    renewing.no_order().await;
    for (status, expected) in [("204", 204), ("304", 304)] {
        let client = renewing.ask_with(request().header("wants-status", status));
        if expected == 204 {
            renewing.order().await.successor(NOW);
        }
        let told = client.told().await;
        assert_eq!((told.0, told.1.is_some()), (expected, true));
    }
}

#[tokio::test]
async fn a_redirect_renews_no_token_whose_successor_who_follows_would_not_see() {
    let mut renewing = Renewing::with(|settings| settings.revoke_previous());
    let request = |token: &str, status: &str| {
        let authorization = format!("Bearer {token}");
        Request::get("/").header(AUTHORIZATION, authorization).header("wants-status", status)
    };
    for status in ["101", "301", "302", "303", "307", "308"] {
        let client = renewing.ask_with(request(&due(), status));
        assert_eq!(client.told().await, (status.parse().unwrap(), None));
    }
    renewing.no_order().await;
    // One that had to be renewed first is not kept back: it is what there is.
    let client = renewing.ask_with(request(&own("t0", NOW - 360, NOW - 60), "302"));
    let token = renewing.order().await.successor(NOW);
    assert_eq!(client.told().await, (302, Some(token)));
}

#[tokio::test]
async fn a_cacheable_answer_is_kept_by_no_cache_once_it_holds_a_token() {
    let mut renewing = Renewing::new();
    let request = Request::get("/").header(AUTHORIZATION, format!("Bearer {}", due()));
    let client = renewing.ask_with(request.header("wants-header", "cache-control max-age=60"));
    renewing.order().await.successor(NOW);
    let response = client.response().await;
    let values: Vec<_> = response.headers().get_all(CACHE_CONTROL).iter().collect();
    assert_eq!(values, [HeaderValue::from_static("no-store")]);
}

#[tokio::test]
async fn nor_by_the_caches_of_a_cdn() {
    for name in ["cdn-cache-control", "surrogate-control", "example-cdn-cache-control"] {
        let mut renewing = Renewing::new();
        let request = Request::get("/").header(AUTHORIZATION, format!("Bearer {}", due()));
        let client =
            renewing.ask_with(request.header("wants-header", format!("{name} max-age=60")));
        renewing.order().await.successor(NOW);
        let response = client.response().await;
        assert!(successor(&response).is_some());
        assert!(!response.headers().contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn a_failure_serves_the_request_and_is_tried_again_after_a_second() {
    let mut renewing = Renewing::new();
    let client = renewing.ask(&due());
    drop(renewing.order().await);
    assert_eq!(client.told().await, (200, None));
    renewing.gate.clock.advance(Duration::from_millis(999));
    assert_eq!(renewing.ask(&due()).told().await, (200, None));
    renewing.no_order().await;
    renewing.gate.clock.advance(Duration::from_millis(1));
    let client = renewing.ask(&due());
    let token = renewing.order().await.successor(NOW);
    assert_eq!(client.told().await, (200, Some(token)));
}

#[tokio::test]
async fn a_successor_that_was_revoked_meanwhile_is_not_handed_out() {
    // As by a handler that changes the password, beside a renewal of another request.
    let mut renewing = Renewing::new();
    let client = renewing.ask(&due());
    let order = renewing.order().await;
    let now = StoreTime::from_micros(NOW * 1_000_000);
    let cut_off = CutOff::at(now, Demand::Login);
    renewing.gate.epochs.raise(&Scope::user("alice").unwrap(), cut_off);
    order.successor(NOW);
    assert_eq!(client.told().await, (200, None));
}

#[tokio::test]
async fn a_request_that_revokes_its_token_is_not_given_the_successor_of_one_before() {
    let mut renewing = Renewing::new();
    let client = renewing.ask(&due());
    renewing.order().await.successor(NOW);
    assert!(client.told().await.1.is_some());
    let epochs = renewing.gate.epochs.clone();
    let logout = move |_: Request<Empty<Bytes>>| {
        let cut_off = CutOff::at(StoreTime::from_micros(NOW * 1_000_000), Demand::Login);
        epochs.raise(&Scope::token("t1").unwrap(), cut_off);
        std::future::ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())))
    };
    let service = ServiceBuilder::new().layer(renewing.layer.clone()).service(service_fn(logout));
    let request = Request::post("/").header(AUTHORIZATION, format!("Bearer {}", due()));
    let response = service.oneshot(request.body(Empty::new()).unwrap()).await.unwrap();
    assert_eq!((response.status(), successor(&response)), (StatusCode::OK, None));
}

#[tokio::test]
async fn the_last_token_of_a_session_is_left_to_lapse() {
    let mut renewing = Renewing::new();
    // `oat` and the longest session: there is room until `end`, and a token of 300 seconds before.
    let end = NOW - 1_000 + renewing.gate.epochs.lifetimes().session().as_secs();
    renewing.pass(end - 300 - NOW);
    let now = end - 300;
    for token in [own("t1", now - 200, now + 100), own("t2", now - 400, now - 100)] {
        let client = renewing.ask(&token);
        let _ = client.response().await;
    }
    renewing.no_order().await;
    // A second earlier there was.
    let renewing = &mut Renewing::new();
    renewing.pass(end - 301 - NOW);
    let client = renewing.ask(&own("t1", now - 201, now + 99));
    renewing.order().await.successor(now - 1);
    assert!(client.told().await.1.is_some());
}

/// A revocation of the user, above every token of now.
fn revoke_now(epochs: &Epochs, user: &str) {
    let now = StoreTime::from_micros(NOW * 1_000_000);
    epochs.raise(&Scope::user(user).unwrap(), CutOff::at(now, Demand::Login));
}

// ---- in buckets ----

#[tokio::test]
async fn a_token_in_doubt_that_the_store_finds_expired_is_renewed() {
    let (mut renewing, mut asked) = Renewing::in_one_bucket();
    revoke_now(&renewing.gate.epochs, "bob");
    // By this machine it has a second left.
    let client = renewing.ask(&own("t1", NOW - 304, NOW - 4));
    let clock = Duration::from_secs(NOW + 1);
    let answer = layer::Answer { cut_off: CutOff::NONE, clock, newest: StoreTime::MAX };
    asked.recv().await.unwrap().answers(answer);
    let token = own("t2", NOW + 1, NOW + 301);
    let renewed = Renewed::new(token.clone(), Duration::from_secs(300));
    renewing.order().await.answers(Ok(renewed));
    assert_eq!(client.told().await, (200, Some(token)));
}

#[tokio::test]
async fn a_successor_from_before_does_not_go_with_what_revokes_it_in_buckets_either() {
    let (mut renewing, _asked) = Renewing::in_one_bucket();
    let client = renewing.ask(&due());
    renewing.order().await.successor(NOW);
    assert!(client.told().await.1.is_some());
    let request = Request::get("/").header(AUTHORIZATION, format!("Bearer {}", due()));
    let client = renewing.ask_with(request.header("wants-revocation", "1"));
    assert_eq!(client.told().await, (200, None));
}

// ---- thresholds ----

#[tokio::test]
async fn a_token_is_renewed_after_so_many_requests_and_revoked_with_it() {
    let five = NonZeroU32::new(5).unwrap();
    let mut renewing = Renewing::with(|settings| settings.after_requests(five).revoke_previous());
    let token = own("t1", NOW, NOW + 300);
    for _ in 1..5 {
        assert_eq!(renewing.ask(&token).told().await, (200, None));
    }
    let client = renewing.ask(&token);
    let order = renewing.order().await;
    assert!(order.token.revokes());
    let next = order.successor(NOW);
    assert_eq!(client.told().await, (200, Some(next.clone())));
    // The successor has a count of its own.
    for _ in 1..5 {
        assert_eq!(renewing.ask(&next).told().await, (200, None));
    }
    renewing.no_order().await;
}

#[tokio::test]
async fn a_token_is_renewed_at_an_age_and_not_within_the_interval() {
    let seconds = Duration::from_secs;
    let mut renewing = Renewing::with(|settings| settings.after_age(seconds(60)));
    assert_eq!(renewing.ask(&own("t1", NOW - 59, NOW + 600)).told().await, (200, None));
    renewing.no_order().await;
    let client = renewing.ask(&own("t1", NOW - 60, NOW + 600));
    renewing.order().await.successor(NOW);
    assert!(client.told().await.1.is_some());

    let mut renewing = Renewing::with(|settings| {
        settings.after_share(1).after_requests(NonZeroU32::MIN).at_most_every(seconds(120))
    });
    assert_eq!(renewing.ask(&own("t1", NOW - 119, NOW + 120)).told().await, (200, None));
    renewing.no_order().await;
    let client = renewing.ask(&own("t1", NOW - 120, NOW + 120));
    renewing.order().await.successor(NOW);
    assert!(client.told().await.1.is_some());
}

#[tokio::test]
async fn the_header_has_the_name_that_was_chosen() {
    let name = HeaderName::from_static("x-next-token");
    let mut renewing = Renewing::with(|settings| settings.header(name));
    let client = renewing.ask(&due());
    let token = renewing.order().await.successor(NOW);
    let response = client.response().await;
    assert_eq!(response.headers()["x-next-token"], token.as_str());
    assert_eq!(response.headers()["access-control-expose-headers"], "x-next-token");
    assert!(!response.headers().contains_key("x-jwt"));
}

// ---- a token that has expired ----

#[tokio::test]
async fn an_expired_token_is_renewed_first_and_the_handler_sees_the_successor() {
    let mut renewing = Renewing::new();
    let client = renewing.ask(&expired());
    let order = renewing.order().await;
    settle().await;
    assert!(!client.0.is_finished(), "the service was called before");
    let token = order.successor(NOW);
    let response = client.response().await;
    assert_eq!(successor(&response), Some(token));
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    assert_eq!(body, "t2");
}

#[tokio::test]
async fn an_expired_token_that_is_refused_says_why() {
    for (kind, expected, demand) in [
        (ErrorKind::SessionEnded, (401, "session-ended"), Some("login")),
        (ErrorKind::AccountRefused, (401, "account-refused"), Some("login")),
        (ErrorKind::TokenRevoked(Demand::Refresh), (401, "revoked"), Some("refresh")),
        (ErrorKind::TokenRevoked(Demand::Login), (401, "revoked"), Some("login")),
        (ErrorKind::DeviceDiffers, (401, "expired"), Some("refresh")),
        (ErrorKind::Store, (503, "not-renewed"), None),
        (ErrorKind::RevokedMeanwhile(Demand::Refresh), (503, "not-renewed"), None),
    ] {
        let mut renewing = Renewing::new();
        let client = renewing.ask(&expired());
        renewing.order().await.answers(Err(kind.into()));
        let response = client.response().await;
        let status = response.status().as_u16();
        assert_eq!(response.headers().contains_key("retry-after"), status == 503, "{kind:?}");
        let problem = problem(response).await;
        let name = problem["type"].as_str().unwrap().rsplit(':').next().unwrap();
        assert_eq!((status, name), expected, "{kind:?}");
        assert_eq!(problem["demand"].as_str(), demand, "{kind:?}");
    }
}

#[tokio::test]
async fn a_token_that_is_known_to_be_revoked_is_not_renewed() {
    let mut renewing = Renewing::new();
    let stamp = StoreTime::from_micros((NOW - 360) * 1_000_000);
    let cut_off = CutOff::at(stamp, Demand::Login);
    renewing.gate.epochs.raise(&Scope::group("staff").unwrap(), cut_off);
    assert_eq!(renewing.ask(&expired()).reason().await, (401, "revoked".to_owned()));
    renewing.no_order().await;
}

#[tokio::test]
async fn a_token_that_was_unused_for_the_idle_limit_is_not_renewed() {
    let idle = Renewing::new().gate.epochs.lifetimes().idle().as_secs();
    let of_age = |age: u64| {
        token(&json!({
            "iss": "https://issuer.test", "aud": "api", "sub": "alice", "sid": "s1", "jti": "t1",
            "client_id": "web", "iat": NOW - age, "exp": NOW - age + 300, "rvs": 1, "oat": NOW - age,
        }))
    };
    let mut renewing = Renewing::new();
    assert_eq!(renewing.ask(&of_age(idle)).reason().await, (401, "expired".to_owned()));
    renewing.no_order().await;
    let client = renewing.ask(&of_age(idle - 1));
    renewing.order().await.successor(NOW);
    assert!(client.told().await.1.is_some());
}

#[tokio::test]
async fn a_copy_that_is_stale_renews_nothing_by_itself() {
    let mut renewing = Renewing::new();
    renewing.gate.clock.advance(Duration::from_secs(11));
    assert_eq!(renewing.ask(&expired()).reason().await, (503, "stale".to_owned()));
    renewing.no_order().await;
}

#[tokio::test]
async fn a_successor_from_before_that_was_revoked_since_is_minted_anew() {
    let mut renewing = Renewing::new();
    let client = renewing.ask(&expired());
    renewing.order().await.successor(NOW);
    assert!(client.told().await.1.is_some());
    // The successor alone, by its id.
    let cut_off = CutOff::at(StoreTime::from_micros(NOW * 1_000_000), Demand::Login);
    renewing.gate.epochs.raise(&Scope::token("t2").unwrap(), cut_off);
    let client = renewing.ask(&expired());
    let order = renewing.order().await;
    let next = own("t3", NOW, NOW + 300);
    order.answers(Ok(Renewed::new(next.clone(), Duration::from_secs(300))));
    assert_eq!(client.told().await, (200, Some(next)));
}

#[tokio::test]
async fn many_that_find_the_same_bad_successor_have_one_minted_in_its_place() {
    let mut renewing = Renewing::new();
    let client = renewing.ask(&expired());
    renewing.order().await.successor(NOW);
    assert!(client.told().await.1.is_some());
    let cut_off = CutOff::at(StoreTime::from_micros(NOW * 1_000_000), Demand::Login);
    renewing.gate.epochs.raise(&Scope::token("t2").unwrap(), cut_off);
    // As on several threads: all have begun before the first is polled.
    let inner = async |_: Request<Empty<Bytes>>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    };
    let service = ServiceBuilder::new().layer(renewing.layer.clone()).service(service_fn(inner));
    let request = || {
        Request::get("/").header(AUTHORIZATION, format!("Bearer {}", expired())).body(Empty::new())
    };
    let futures: Vec<_> = (0..64).map(|_| service.clone().call(request().unwrap())).collect();
    let clients: Vec<_> = futures.into_iter().map(tokio::spawn).collect();
    settle().await;
    let mut minted = 0;
    while let Ok(order) = renewing.orders.try_recv() {
        minted += 1;
        let next = own("t3", NOW, NOW + 300);
        order.answers(Ok(Renewed::new(next, Duration::from_secs(300))));
    }
    for client in clients {
        assert_eq!(client.await.unwrap().unwrap().status(), 200);
    }
    assert_eq!(minted, 1);
}

#[tokio::test]
async fn a_store_that_answers_while_the_copy_is_stale_revives_a_token_and_vouches_for_the_next() {
    let mut renewing = Renewing::new();
    let mut asked = renewing.confirmed_while_stale();
    let client = renewing.ask(&expired());
    asked.recv().await.unwrap().nothing_against_it();
    let token = renewing.order().await.successor(NOW + 11);
    let question = asked.recv().await.unwrap();
    assert!(question.scopes.contains(&Scope::token("t2").unwrap()));
    question.nothing_against_it();
    assert_eq!(client.told().await, (200, Some(token.clone())));
    // What was minted for one request is minted for the next.
    let client = renewing.ask(&expired());
    for _ in 0..2 {
        asked.recv().await.unwrap().nothing_against_it();
    }
    assert_eq!(client.told().await, (200, Some(token)));
    renewing.no_order().await;
    // Unless the store holds something against it.
    let client = renewing.ask(&expired());
    asked.recv().await.unwrap().nothing_against_it();
    asked.recv().await.unwrap().cut_off(CutOff::at(StoreTime::MAX, Demand::Login));
    assert_eq!(client.reason().await, (401, "revoked".to_owned()));
}

#[tokio::test]
async fn what_was_renewed_while_the_copy_is_stale_is_handed_out() {
    let mut renewing = Renewing::with(|settings| settings.revoke_previous());
    let mut asked = renewing.confirmed_while_stale();
    let client = renewing.ask(&due());
    asked.recv().await.unwrap().nothing_against_it();
    // The one that the client has is dead from here on.
    let token = renewing.order().await.successor(NOW + 11);
    assert_eq!(client.told().await, (200, Some(token)));
}

#[tokio::test]
async fn a_successor_that_is_no_good_here_is_a_503_and_no_logout() {
    let mut renewing = Renewing::new();
    let client = renewing.ask(&expired());
    let order = renewing.order().await;
    order.answers(Ok(Renewed::new("no.good.token", Duration::from_secs(300))));
    assert_eq!(client.reason().await, (503, "not-renewed".to_owned()));
}

// ---- whose it is ----

#[tokio::test]
async fn a_token_of_another_issuer_is_not_renewed() {
    let mut renewing = Renewing::new();
    let gate = Gate::open();
    let renewal = Renewal::new(Mint(mpsc::unbounded_channel().0));
    renewing.layer = RevocationLayer::new(gate.verifier.clone()).renew(renewal).unwrap();
    let foreign = |issued_at: u64, expires_at: u64| {
        token(&json!({
            "iss": "https://issuer.test", "aud": "api", "sub": "alice", "sid": "s1", "jti": "t1",
            "iat": issued_at, "exp": expires_at,
        }))
    };
    assert_eq!(renewing.ask(&foreign(NOW - 200, NOW + 100)).told().await, (200, None));
    let client = renewing.ask(&foreign(NOW - 360, NOW - 60));
    assert_eq!(client.reason().await, (401, "expired".to_owned()));
}

#[tokio::test]
async fn a_successor_for_one_device_is_not_handed_to_another() {
    let mut renewing = Renewing::with(|settings| {
        settings
            .client_ip(|headers, _| headers.get("x-ip")?.to_str().ok()?.parse().ok())
            .require_same_ip()
            .require_same_user_agent()
    });
    let from = |ip: &str, agent: &str| {
        Request::get("/")
            .header(AUTHORIZATION, format!("Bearer {}", expired()))
            .header("x-ip", ip)
            .header(USER_AGENT, agent)
    };
    let client = renewing.ask_with(from("192.0.2.1", "phone"));
    let order = renewing.order().await;
    assert!(order.token.wants_same_ip() && order.token.wants_same_user_agent());
    let presenter = order.token.presenter();
    assert_eq!(presenter.ip, Some([192, 0, 2, 1].into()));
    assert_eq!(presenter.user_agent.as_deref(), Some("phone"));
    // Meanwhile a thief, who has copied the token.
    for (ip, agent) in [("192.0.2.2", "phone"), ("192.0.2.1", "desktop")] {
        let thief = renewing.ask_with(from(ip, agent));
        renewing.order().await.answers(Err(ErrorKind::DeviceDiffers.into()));
        assert_eq!(thief.reason().await, (401, "expired".to_owned()));
    }
    let token = order.successor(NOW);
    assert_eq!(client.told().await, (200, Some(token)));
    let thief = renewing.ask_with(from("192.0.2.2", "phone"));
    assert_eq!(thief.reason().await, (401, "expired".to_owned()));
}

#[tokio::test]
async fn a_successor_is_not_handed_to_another_user_whose_token_has_the_same_id() {
    let mut renewing = Renewing::new();
    let client = renewing.ask(&expired());
    renewing.order().await.successor(NOW);
    assert!(client.told().await.1.is_some());
    let bobs = json!({
        "iss": "https://issuer.test", "aud": "api", "sub": "bob", "sid": "s2", "jti": "t1",
        "client_id": "web", "iat": NOW - 360, "exp": NOW - 60, "rvs": 1, "oat": NOW - 360,
    });
    let client = renewing.ask(&token(&bobs));
    let order = renewing.order().await;
    assert_eq!(order.token.user().as_str(), "bob");
    drop(order);
    assert_eq!(client.told().await, (503, None));
}

#[tokio::test]
async fn of_a_user_agent_no_more_is_remembered_than_a_store_keeps() {
    let mut renewing = Renewing::with(|settings| settings.require_same_user_agent());
    let from = |agent: &str| {
        let request = Request::get("/").header(USER_AGENT, agent);
        request.header(AUTHORIZATION, format!("Bearer {}", expired()))
    };
    let long = "x".repeat(tower_revocation::store::MAX_DEVICE_TEXT);
    let client = renewing.ask_with(from(&format!("{long}1")));
    let order = renewing.order().await;
    assert_eq!(order.token.presenter().user_agent.as_ref(), Some(&long));
    let token = order.successor(NOW);
    assert_eq!(client.told().await, (200, Some(token.clone())));
    // So it is the same one to both.
    assert_eq!(renewing.ask_with(from(&format!("{long}2"))).told().await, (200, Some(token)));
    renewing.no_order().await;
}

// ---- limits ----

#[tokio::test]
async fn more_tokens_than_may_be_renewed_at_once_wait_for_nothing() {
    let mut renewing = Renewing::with(|settings| settings.at_most(1));
    let first = renewing.ask(&due());
    let order = renewing.order().await;
    assert_eq!(renewing.ask(&own("t7", NOW - 200, NOW + 100)).told().await, (200, None));
    let client = renewing.ask(&own("t8", NOW - 360, NOW - 60));
    assert_eq!(client.reason().await, (503, "not-renewed".to_owned()));
    order.successor(NOW);
    assert!(first.told().await.1.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_mint_that_hangs_delays_an_answer_by_the_time_limit_at_most() {
    let mut renewing = Renewing::with(|settings| settings.time_limit(Duration::from_millis(700)));
    let began = tokio::time::Instant::now();
    let (valid, over) = (renewing.ask(&due()), renewing.ask(&own("t9", NOW - 360, NOW - 60)));
    let _orders = (renewing.order().await, renewing.order().await);
    assert_eq!(valid.told().await, (200, None));
    assert_eq!(over.reason().await, (503, "not-renewed".to_owned()));
    assert_eq!(began.elapsed(), Duration::from_millis(700));
}

#[tokio::test]
async fn a_client_that_goes_away_takes_no_renewal_with_it() {
    let mut renewing = Renewing::new();
    let (first, second) = (renewing.ask(&due()), renewing.ask(&due()));
    let order = renewing.order().await;
    first.0.abort();
    settle().await;
    let token = order.successor(NOW);
    assert_eq!(second.told().await, (200, Some(token)));
}

#[tokio::test]
async fn a_mint_that_panics_is_a_failure() {
    struct Panics;
    impl Renew for Panics {
        async fn renew(&self, _: &Renewable) -> Answer {
            panic!("as told")
        }
    }
    let mut renewing = Renewing::new();
    let layer = RevocationLayer::new(renewing.gate.verifier.clone());
    renewing.layer = layer.renew(Renewal::new(Panics)).unwrap();
    assert_eq!(renewing.ask(&due()).told().await, (200, None));
    assert_eq!(renewing.ask(&expired()).reason().await, (503, "not-renewed".to_owned()));
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let builder = || Renewal::builder(Mint(mpsc::unbounded_channel().0));
    let field = |result: Result<Renewal, ConfigError>| match result {
        Err(
            ConfigError::Duration { field, .. }
            | ConfigError::Number { field, .. }
            | ConfigError::Missing { field },
        ) => field,
        other => panic!("{other:?}"),
    };
    for (settings, expected) in [
        (builder().after_age(Duration::ZERO), "after_age"),
        (builder().after_share(0), "after_share"),
        (builder().after_share(100), "after_share"),
        (builder().at_most(0), "at_most"),
        (builder().at_most(usize::MAX), "at_most"),
        (builder().remembered(0), "remembered"),
        (builder().time_limit(Duration::ZERO), "time_limit"),
        (builder().time_limit(Duration::from_secs(61)), "time_limit"),
        (builder().require_same_ip(), "client_ip"),
    ] {
        assert_eq!(field(settings.build()), expected);
    }
    let gate = Gate::open();
    let longer = gate.epochs.lifetimes().access() + Duration::from_secs(1);
    for settings in [builder().at_most_every(longer), builder().after_age(longer)] {
        let layer = RevocationLayer::new(gate.verifier.clone());
        let refused = layer.renew(settings.build().unwrap());
        assert!(matches!(refused, Err(ConfigError::Duration { .. })));
    }
}

#[tokio::test]
async fn a_successor_still_has_to_fit_the_route_and_none_is_made_for_who_is_refused() {
    let mut renewing = Renewing::new();
    let plain = renewing.layer.clone();
    for (group, expected) in [("admin", (403, false)), ("staff", (200, true))] {
        renewing.layer = plain.clone().require_group(Id::new(group).unwrap());
        let expired = renewing.ask(&own(group, NOW - 320, NOW - 20));
        renewing.order().await.successor(NOW);
        let (status, successor) = expired.told().await;
        assert_eq!((status, successor.is_some()), expected, "{group}");
    }
    renewing.layer = plain.require_group(Id::new("admin").unwrap());
    let due = renewing.ask(&own("due", NOW - 200, NOW + 100));
    assert_eq!(due.told().await, (403, None));
    renewing.no_order().await;
}

// ---- in a cookie ----

/// The same, with the token in the cookie `token`.
fn in_a_cookie() -> Renewing {
    let mut renewing = Renewing::new();
    let csrf = Csrf::origins(["https://app.example"]).unwrap();
    let cookie = TokenSource::cookie(CookieSource::new("token", csrf).unwrap());
    let sources = [TokenSource::bearer(), cookie];
    renewing.layer = renewing.layer.clone().sources(sources).unwrap();
    renewing
}

fn with_cookie(method: &str, token: &str) -> http::request::Builder {
    Request::builder().method(method).header("cookie", format!("a=b; token={token}"))
}

/// The cookies that a response sets.
fn set_cookies(response: &Answered) -> Vec<&str> {
    let set = response.headers().get_all("set-cookie").iter();
    set.map(|value| value.to_str().unwrap()).collect()
}

#[tokio::test]
async fn what_came_in_a_cookie_goes_back_in_one_out_of_reach_of_scripts() {
    let mut renewing = in_a_cookie();
    // Due, and expired.
    for (id, issued_at) in [("due", NOW - 200), ("expired", NOW - 320)] {
        let client = renewing.ask_with(with_cookie("GET", &own(id, issued_at, issued_at + 300)));
        let next = renewing.order().await.successor(NOW);
        let response = client.response().await;
        assert_eq!(response.status(), StatusCode::OK);
        // As long as it can be renewed: the idle limit, five days.
        let cookie =
            format!("token={next}; Path=/; Max-Age=432000; HttpOnly; Secure; SameSite=Lax");
        assert_eq!(set_cookies(&response), [cookie]);
        assert_eq!(successor(&response), None);
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    }
    // And what came in the header goes back as ever.
    let client = renewing.ask(&own("bearer", NOW - 200, NOW + 100));
    let next = renewing.order().await.successor(NOW);
    let response = client.response().await;
    assert_eq!((successor(&response), set_cookies(&response)), (Some(next), vec![]));
}

#[tokio::test]
async fn a_cookie_that_the_service_has_set_itself_is_left_alone() {
    let mut renewing = in_a_cookie();
    let request = with_cookie("GET", &own("t1", NOW - 200, NOW + 100));
    let client = renewing.ask_with(request.header("wants-header", "set-cookie token=; Max-Age=0"));
    assert_eq!(set_cookies(&client.response().await), ["token=; Max-Age=0"]);
    renewing.no_order().await;
    // Another one is no reason.
    let request = with_cookie("GET", &own("t2", NOW - 200, NOW + 100));
    let client = renewing.ask_with(request.header("wants-header", "set-cookie tokens=1"));
    renewing.order().await.successor(NOW);
    assert_eq!(set_cookies(&client.response().await).len(), 2);
}

#[tokio::test]
async fn a_forged_request_renews_nothing() {
    let mut renewing = in_a_cookie();
    for issued_at in [NOW - 200, NOW - 320] {
        let request = with_cookie("POST", &own("t1", issued_at, issued_at + 300));
        let forged = renewing.ask_with(request.header("origin", "https://evil.test"));
        assert_eq!(forged.told().await, (403, None));
    }
    renewing.no_order().await;
}

// ---- attacks ----

#[tokio::test]
async fn an_expired_token_is_not_revoked_with_its_renewal_as_nobody_may_hear_of_the_successor() {
    let mut renewing = Renewing::with(|settings| settings.revoke_previous());
    let request = Request::get("/").header(AUTHORIZATION, format!("Bearer {}", expired()));
    let client = renewing.ask_with(request.header("wants-status", "404"));
    let order = renewing.order().await;
    assert!(!order.token.revokes());
    order.successor(NOW);
    assert_eq!(client.told().await, (404, None));
}

#[tokio::test]
async fn one_token_with_many_user_agents_is_no_flood_of_statements() {
    let mut renewing = Renewing::with(|settings| settings.require_same_user_agent());
    let mut asked = 0;
    for agent in 0..1_000 {
        let request = Request::get("/")
            .header(AUTHORIZATION, format!("Bearer {}", expired()))
            .header(USER_AGENT, format!("{agent}{}", "x".repeat(4_000)));
        let client = renewing.ask_with(request);
        settle().await;
        if let Ok(order) = renewing.orders.try_recv() {
            asked += 1;
            order.answers(Err(ErrorKind::DeviceDiffers.into()));
        }
        let _ = client.response().await;
    }
    assert_eq!(asked, 4, "within a second of the clock");
}

#[tokio::test]
async fn a_session_that_has_ended_is_not_asked_about_again_each_second() {
    let mut renewing = Renewing::new();
    let client = renewing.ask(&due());
    renewing.order().await.answers(Err(ErrorKind::SessionEnded.into()));
    assert_eq!(client.told().await, (200, None));
    for _ in 0..9 {
        renewing.pass(6);
        assert_eq!(renewing.ask(&due()).told().await, (200, None));
    }
    renewing.no_order().await;
    renewing.pass(6);
    let client = renewing.ask(&due());
    renewing.order().await.answers(Err(ErrorKind::SessionEnded.into()));
    assert_eq!(client.told().await, (200, None));
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_is_late_keeps_its_place_and_its_successor_is_not_lost() {
    let mut renewing = Renewing::with(|settings| settings.at_most(1));
    assert_eq!(renewing.ask(&due()).told().await, (200, None));
    let order = renewing.order().await;
    // The store is still at it: nobody asks again, nor in its place.
    renewing.pass(2);
    for token in [due(), own("t7", NOW - 200, NOW + 100)] {
        assert_eq!(renewing.ask(&token).told().await, (200, None));
    }
    renewing.no_order().await;
    let token = order.successor(NOW);
    settle().await;
    assert_eq!(renewing.ask(&due()).told().await, (200, Some(token)));
    renewing.no_order().await;
}

// ---- what is counted ----

#[test]
fn each_renewal_is_counted_by_its_outcome() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let mut renewing = Renewing::with(|settings| settings.at_most(1));
            let of = |id: &str| own(id, NOW - 200, NOW + 100);
            let (first, second) = (renewing.ask(&of("a")), renewing.ask(&of("a")));
            let order = renewing.order().await;
            renewing.ask(&of("b")).response().await;
            order.successor(NOW);
            first.response().await;
            second.response().await;
            settle().await;
            renewing.ask(&of("a")).response().await;
            for (id, kind) in [("c", ErrorKind::Store), ("d", ErrorKind::SessionEnded)] {
                let client = renewing.ask(&of(id));
                renewing.order().await.answers(Err(kind.into()));
                assert_eq!(client.told().await, (200, None));
                settle().await;
            }
        });
    });
    let counted = recorder.handle().render();
    for (outcome, count) in
        [("renewed", 1), ("repeated", 1), ("over_capacity", 1), ("failed", 1), ("session_ended", 1)]
    {
        let line = format!("tower_revocation_renewals_total{{outcome=\"{outcome}\"}} {count}\n");
        assert!(counted.contains(&line), "{line}{counted}");
    }
    assert!(counted.contains("tower_revocation_accepted_total 6\n"), "{counted}");
}
