//! Tokens that come in cookies and in headers of the service's own.

use std::sync::Arc;

use axum::{
    Extension, Router,
    http::{HeaderName, HeaderValue, header},
    response::AppendHeaders,
    routing::{get, post},
};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::Value;
use tower_revocation::{
    Demand, Issuer, RevocationLayer, Scope, Verified,
    layer::{CookieSource, Csrf, TokenSource},
};

use crate::{
    common::{
        instance::{Instance, grant},
        place::Place,
    },
    service::Service,
};

const OK: StatusCode = StatusCode::OK;
const BAD_REQUEST: StatusCode = StatusCode::BAD_REQUEST;
const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;
const FORBIDDEN: StatusCode = StatusCode::FORBIDDEN;

const OURS: &str = "https://app.example";

/// A service whose login keeps the token in a cookie.
async fn service(instance: &Instance, cookie: &CookieSource) -> Service {
    type Login = (Issuer<tower_revocation::AnyStore>, CookieSource);
    let login = async |Extension(login): Extension<Arc<Login>>| {
        let (issuer, cookie) = &*login;
        let ticket = issuer.ticket().await.unwrap();
        let tokens = issuer.login(ticket, grant("alice", &[])).await.unwrap();
        let access = tokens.access();
        let cookie = cookie.set_cookie(access.as_str(), access.expires_in()).unwrap();
        AppendHeaders([(header::SET_COOKIE, cookie)])
    };
    let logout = async |Extension(login): Extension<Arc<Login>>| {
        AppendHeaders([(header::SET_COOKIE, login.1.remove_cookie())])
    };
    let who = async |caller: Verified| caller.subject().to_owned();
    let layer = RevocationLayer::new(instance.verifier.clone())
        .sources([
            TokenSource::bearer(),
            TokenSource::cookie(cookie.clone()),
            TokenSource::header(HeaderName::from_static("x-access-token")),
        ])
        .unwrap();
    let app = Router::new()
        .route("/me", get(who).post(who))
        .route("/logout", post(logout))
        .route_layer(layer)
        .route("/login", post(login))
        .layer(Extension(Arc::new((instance.issuer.clone(), cookie.clone()))));
    Service::start(app).await
}

#[tokio::test(flavor = "multi_thread")]
async fn c52_a_token_comes_in_a_cookie_or_a_header_and_no_other_site_can_use_the_cookie() {
    let data = Place::new().await;
    let instance = Instance::start(data.path()).await;
    let csrf = Csrf::origins([OURS]).unwrap();
    let cookie = CookieSource::new("__Host-token", csrf).unwrap();
    let service = service(&instance, &cookie).await;
    let client = Client::new();

    let login = client.post(service.url("/login")).send().await.unwrap();
    let set = login.headers()["set-cookie"].to_str().unwrap().to_owned();
    let (pair, attributes) = set.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; Max-Age=900; HttpOnly; Secure; SameSite=Lax");
    let (_, token) = pair.split_once('=').unwrap();

    let request = |method: &Method| client.request(method.clone(), service.url("/me"));
    let (get, post) = (Method::GET, Method::POST);
    let with_cookie = |method| request(method).header("cookie", format!("theme=dark; {pair}"));
    let status = async |request: RequestBuilder| request.send().await.unwrap().status();

    // From wherever it comes.
    assert_eq!(with_cookie(&get).send().await.unwrap().text().await.unwrap(), "alice");
    assert_eq!(status(request(&post).bearer_auth(token)).await, OK);
    assert_eq!(status(request(&post).header("x-access-token", token)).await, OK);
    assert_eq!(status(request(&get)).await, UNAUTHORIZED);

    // From our own page, and from no other.
    assert_eq!(status(with_cookie(&post).header("origin", OURS)).await, OK);
    assert_eq!(status(with_cookie(&post).header("sec-fetch-site", "same-origin")).await, OK);
    for (name, value) in [
        ("origin", "https://evil.test"),
        ("origin", "https://app.example.evil.test"),
        ("origin", "null"),
        ("sec-fetch-site", "same-site"),
        ("referer", "https://evil.test/?https://app.example/"),
        ("x-nothing", "to go by"),
    ] {
        let answer = with_cookie(&post).header(name, value).send().await.unwrap();
        assert_eq!(answer.status(), FORBIDDEN, "{name}: {value}");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["type"], "urn:tower-revocation:problem:cross-site");
    }
    // The handshake of a websocket is a GET.
    let handshake = with_cookie(&get).header("upgrade", "websocket");
    assert_eq!(status(handshake.header("origin", "https://evil.test")).await, FORBIDDEN);

    // Two of them, equal or not.
    let tossed = format!("{pair}; __Host-token=a.b.c");
    assert_eq!(status(request(&get).header("cookie", tossed)).await, BAD_REQUEST);
    assert_eq!(status(with_cookie(&get).bearer_auth(token)).await, BAD_REQUEST);
    let in_query = client.get(service.url(&format!("/me?access_token={token}")));
    assert_eq!(status(in_query.header("cookie", pair)).await, BAD_REQUEST);
    // One that is none.
    assert_eq!(status(request(&get).header("cookie", "__Host-token=")).await, BAD_REQUEST);
    let bytes = HeaderValue::from_bytes(b"__Host-token=\xff").unwrap();
    assert_eq!(status(request(&get).header("cookie", bytes)).await, BAD_REQUEST);

    // A revocation holds for it, and a logout has the browser forget it.
    let logout = client.post(service.url("/logout")).header("origin", OURS);
    let logout = logout.header("cookie", pair).send().await.unwrap();
    assert!(logout.headers()["set-cookie"].to_str().unwrap().starts_with("__Host-token=; "));
    let receipt = instance.revoke(Scope::user("alice").unwrap(), Demand::Login).await;
    instance.epochs.wait_for(&receipt).await;
    assert_eq!(status(with_cookie(&get)).await, UNAUTHORIZED);
}
