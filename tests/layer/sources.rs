//! Where the token of a request comes from.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{CONTENT_TYPE, WWW_AUTHENTICATE},
};
use http_body_util::{BodyExt, Empty, Full};
use tower::{Layer, ServiceExt, service_fn};
use tower_revocation::{
    Verified,
    error::ConfigError,
    layer::{CookieSource, Csrf, RevocationLayer, SameSite, TokenSource, UnfitForCookie},
};

use crate::{
    gate::{Gate, good_token, token_of},
    problem,
};

const OURS: &str = "https://app.example";
/// 22 characters.
const SECRET: &str = "AAECAwQFBgcICQoLDA0ODw";

fn csrf() -> Csrf {
    Csrf::origins([OURS, "http://localhost:3000"]).unwrap()
}

fn cookie() -> TokenSource {
    TokenSource::cookie(CookieSource::new("token", csrf()).unwrap())
}

fn header() -> TokenSource {
    TokenSource::header(HeaderName::from_static("x-token"))
}

fn layer(sources: impl IntoIterator<Item = TokenSource>) -> RevocationLayer {
    RevocationLayer::new(Gate::open().verifier).sources(sources).unwrap()
}

/// A request with these headers, in which `{}` stands for a good token of alice's and `{bob}` for
/// one of bob's. `ÿ` at the end stands for a byte that is no UTF-8.
fn request(method: &Method, uri: &str, headers: &[(&str, &str)]) -> Request<Empty<Bytes>> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        let value = value.replace("{}", &good_token()).replace("{bob}", &token_of("bob", 10));
        let value = match value.strip_suffix("\u{ff}") {
            Some(start) => HeaderValue::from_bytes(&[start.as_bytes(), &[0xff]].concat()).unwrap(),
            None => HeaderValue::try_from(value).unwrap(),
        };
        request = request.header(*name, value);
    }
    request.body(Empty::new()).unwrap()
}

/// The caller, or the kind of the problem.
async fn told(layer: &RevocationLayer, request: Request<Empty<Bytes>>) -> String {
    let who = async |request: Request<Empty<Bytes>>| {
        let caller = request.extensions().get::<Verified>();
        let name = caller.map_or("nobody", |caller| caller.subject()).to_owned();
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(name)))
    };
    let response = layer.layer(service_fn(who)).oneshot(request).await.unwrap();
    if response.status().is_success() {
        let body = response.into_body().collect().await.unwrap().to_bytes();
        return String::from_utf8(body.to_vec()).unwrap();
    }
    let problem = problem(response).await;
    problem["type"].as_str().unwrap().rsplit(':').next().unwrap().to_owned()
}

async fn get(layer: &RevocationLayer, headers: &[(&str, &str)]) -> String {
    told(layer, request(&Method::GET, "/", headers)).await
}

async fn post(layer: &RevocationLayer, headers: &[(&str, &str)]) -> String {
    let headers = [&[("cookie", "token={}")], headers].concat();
    told(layer, request(&Method::POST, "/", &headers)).await
}

// ---- which one ----

#[tokio::test]
async fn each_source_is_read_and_no_other() {
    let all = layer([TokenSource::bearer(), cookie(), header()]);
    for (headers, verdict) in [
        ([("authorization", "Bearer {}")].as_slice(), "alice"),
        (&[("cookie", "token={}")], "alice"),
        (&[("x-token", "{}")], "alice"),
        (&[], "missing"),
        // Of another scheme, of another name.
        (&[("authorization", "Basic YTpi"), ("cookie", "token={}")], "alice"),
        (&[("cookie", "Token={}; tokens={}; oken={}; x=token")], "missing"),
        (&[("x-jwt", "{}"), ("proxy-authorization", "Bearer {}")], "missing"),
    ] {
        assert_eq!(get(&all, headers).await, verdict, "{headers:?}");
    }
    let only_header = layer([header()]);
    assert_eq!(get(&only_header, &[("x-token", "{}")]).await, "alice");
    assert_eq!(get(&only_header, &[("cookie", "token={}")]).await, "missing");
    assert_eq!(get(&only_header, &[("authorization", "Bearer {}")]).await, "missing");
    // A layer that was told nothing.
    let plain = RevocationLayer::new(Gate::open().verifier);
    assert_eq!(get(&plain, &[("cookie", "token={}"), ("x-token", "{}")]).await, "missing");
}

#[tokio::test]
async fn two_tokens_are_refused_wherever_they_are() {
    let all = layer([TokenSource::bearer(), cookie(), header()]);
    for headers in [
        // Equal ones, too.
        [("authorization", "Bearer {}"), ("cookie", "token={}")],
        [("authorization", "Bearer {}"), ("x-token", "{}")],
        [("cookie", "token={}"), ("x-token", "{bob}")],
        [("authorization", "Bearer {}"), ("authorization", "Bearer {}")],
        [("x-token", "{}"), ("x-token", "{}")],
        [("cookie", "token={}"), ("cookie", "token={}")],
        // Tossed by a sibling domain, before or behind, and an empty one before the right one.
        [("cookie", "token={bob}; token={}"), ("accept", "*/*")],
        [("cookie", "token={}; a=b; token={bob}"), ("accept", "*/*")],
        [("cookie", "token=; token={}"), ("accept", "*/*")],
        [("cookie", "token={}; token"), ("accept", "*/*")],
        [("cookie", "token={}; token =\"\""), ("accept", "*/*")],
        // Joined by somebody who took two headers for one list.
        [("cookie", "token={}, token={bob}"), ("accept", "*/*")],
        [("cookie", "token={}; a=b, token={bob}"), ("accept", "*/*")],
    ] {
        assert_eq!(get(&all, &headers).await, "multiple-tokens", "{headers:?}");
    }
    for headers in [("cookie", "token={}"), ("x-token", "{}"), ("authorization", "Bearer {}")] {
        let uri = "/?a=b&access%5Ftoken=";
        let request = request(&Method::GET, uri, &[headers]);
        assert_eq!(told(&all, request).await, "multiple-tokens", "{headers:?}");
    }
    let alone = request(&Method::GET, "/?access_token=a", &[]);
    assert_eq!(told(&all, alone).await, "missing");
}

#[tokio::test]
async fn what_is_there_and_no_token_is_no_reason_to_look_further() {
    let all = layer([cookie(), header(), TokenSource::bearer()]);
    for cookie in [
        "token=",
        "token",
        "token==",
        "token =a",
        "token= a",
        "token=a ",
        "token=\"a\"",
        "token=a b",
        "token=a, b=c",
        "a=b, token=a",
        "token=a:b",
        "token=%61",
        "token=a\t",
        "a=b;\ttoken=a",
        "token=\u{ff}",
    ] {
        let headers = [("cookie", cookie), ("authorization", "Bearer {}")];
        assert_eq!(get(&all, &headers).await, "malformed-credentials", "{cookie:?}");
    }
    for value in ["", "Bearer {}", "{}, {}", "{} ", "\"{}\"", "a b", "a\u{ff}"] {
        let headers = [("x-token", value), ("authorization", "Bearer {}")];
        // The library that reads HTTP trims values; this one may be built with a space at its end.
        assert_eq!(get(&all, &headers).await, "malformed-credentials", "{value:?}");
    }
    let headers = [("authorization", "Bearer"), ("x-token", "{}")];
    assert_eq!(get(&layer([TokenSource::bearer(), header()]), &headers).await, "malformed-header");
    // The order decides which mistake is told.
    let headers = [("authorization", "Bearer"), ("x-token", "")];
    assert_eq!(get(&layer([TokenSource::bearer(), header()]), &headers).await, "malformed-header");
    assert_eq!(
        get(&layer([header(), TokenSource::bearer()]), &headers).await,
        "malformed-credentials"
    );
}

#[tokio::test]
async fn other_cookies_are_nobodys_business() {
    let layer = layer([cookie()]);
    for cookie in [
        "a=1; token={}; b=2",
        "a=1;token={};b=2",
        "; ;;=; a; token={}",
        "a=b=c; b=\"x y\", z; token={}",
        "a=1,2,3; token={}",
        "mytoken=x; token={}; token2=y; TOKEN=z; $token=q",
        "token={}; a=\u{ff}",
    ] {
        assert_eq!(get(&layer, &[("cookie", cookie)]).await, "alice", "{cookie:?}");
    }
    // HTTP/2 lets a client split them up.
    assert_eq!(get(&layer, &[("cookie", "a=1"), ("cookie", "token={}")]).await, "alice");
}

#[tokio::test]
async fn a_bad_token_in_a_cookie_is_refused_as_ever_and_an_optional_layer_is_no_way_around() {
    let strict = layer([TokenSource::bearer(), cookie()]);
    assert_eq!(get(&strict, &[("cookie", "token=a.b.c")]).await, "malformed");
    let optional = strict.optional();
    assert_eq!(get(&optional, &[]).await, "nobody");
    assert_eq!(get(&optional, &[("cookie", "a=b")]).await, "nobody");
    assert_eq!(get(&optional, &[("cookie", "token=a.b.c")]).await, "malformed");
    assert_eq!(get(&optional, &[("cookie", "token=")]).await, "malformed-credentials");
    assert_eq!(post(&optional, &[("origin", "https://evil.test")]).await, "cross-site");
}

// ---- whose request ----

#[tokio::test]
async fn a_request_with_a_cookie_has_to_come_from_a_page_of_ours() {
    let layer = layer([cookie(), header()]);
    for (headers, passes) in [
        ([("origin", OURS)].as_slice(), true),
        (&[("origin", "http://localhost:3000")], true),
        (&[("origin", OURS), ("sec-fetch-site", "cross-site")], true),
        (&[("origin", OURS), ("sec-fetch-site", "same-site")], true),
        (&[("sec-fetch-site", "same-origin")], true),
        (&[("origin", "null"), ("sec-fetch-site", "same-origin")], true),
        (&[("referer", "https://app.example/")], true),
        (&[("referer", "https://app.example/a?b=://c#d")], true),
        (&[("referer", OURS)], true),
        // Nothing to go by.
        (&[], false),
        (&[("host", "app.example")], false),
        (&[("origin", "")], false),
        (&[("sec-fetch-site", "")], false),
        (&[("referer", "")], false),
        // Others.
        (&[("origin", "null")], false),
        (&[("origin", "null"), ("referer", "https://app.example/")], false),
        (&[("origin", "null"), ("sec-fetch-site", "cross-site")], false),
        (&[("origin", "NULL"), ("sec-fetch-site", "same-origin")], false),
        (&[("origin", "https://evil.test")], false),
        (&[("origin", "https://evil.test"), ("sec-fetch-site", "same-origin")], false),
        (&[("origin", "https://evil.test"), ("referer", "https://app.example/")], false),
        (&[("sec-fetch-site", "cross-site")], false),
        (&[("sec-fetch-site", "same-site")], false),
        (&[("sec-fetch-site", "none")], false),
        (&[("sec-fetch-site", "Same-Origin")], false),
        (&[("sec-fetch-site", "cross-site"), ("referer", "https://app.example/")], false),
        // Nearly ours.
        (&[("origin", "https://app.example.evil.test")], false),
        (&[("origin", "https://evilapp.example")], false),
        (&[("origin", "https://sub.app.example")], false),
        (&[("origin", "https://example")], false),
        (&[("origin", "http://app.example")], false),
        (&[("origin", "https://app.example:443")], false),
        (&[("origin", "https://app.example:8443")], false),
        (&[("origin", "http://localhost")], false),
        (&[("origin", "http://localhost:30000")], false),
        (&[("origin", "HTTPS://APP.EXAMPLE")], false),
        (&[("origin", "https://app.example/")], false),
        (&[("origin", "https://app.example ")], false),
        (&[("origin", "https://app.example@evil.test")], false),
        (&[("origin", "https://user@app.example")], false),
        (&[("origin", "https://app.example https://evil.test")], false),
        (&[("origin", "https://app.example, https://evil.test")], false),
        (&[("origin", "https://app.example\u{ff}")], false),
        (&[("origin", "app.example")], false),
        (&[("referer", "https://app.example@evil.test/")], false),
        (&[("referer", "https://app.example:pw@evil.test/")], false),
        (&[("referer", "https://app.example.evil.test/")], false),
        (&[("referer", "https://app.example\\@evil.test/")], false),
        (&[("referer", "https://evil.test/https://app.example/")], false),
        (&[("referer", "https://evil.test?https://app.example/")], false),
        (&[("referer", "https://evil.test#https://app.example")], false),
        (&[("referer", "/https://app.example")], false),
        (&[("referer", "https:/app.example/")], false),
        // Twice.
        (&[("origin", OURS), ("origin", OURS)], false),
        (&[("origin", OURS), ("origin", "https://evil.test")], false),
        (&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "same-origin")], false),
        (&[("referer", OURS), ("referer", OURS)], false),
    ] {
        let verdict = if passes { "alice" } else { "cross-site" };
        assert_eq!(post(&layer, headers).await, verdict, "{headers:?}");
    }
}

#[tokio::test]
async fn whatever_may_change_something_or_open_a_socket_has_to_prove_it() {
    let layer = layer([cookie()]);
    let foreign = [("cookie", "token={}"), ("origin", "https://evil.test")];
    for (method, safe) in [
        ("GET", true),
        ("HEAD", true),
        ("OPTIONS", true),
        ("TRACE", true),
        ("POST", false),
        ("PUT", false),
        ("PATCH", false),
        ("DELETE", false),
        ("CONNECT", false),
        ("QUERY", false),
        ("get", false),
        ("GETS", false),
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let verdict = if safe { "alice" } else { "cross-site" };
        assert_eq!(told(&layer, request(&method, "/", &foreign)).await, verdict, "{method}");
    }
    for upgrade in ["websocket", "WebSocket", "h2c, websocket", ""] {
        let headers = [&foreign[..], &[("upgrade", upgrade)]].concat();
        assert_eq!(get(&layer, &headers).await, "cross-site", "{upgrade}");
        let headers = [("cookie", "token={}"), ("upgrade", upgrade), ("origin", OURS)];
        assert_eq!(get(&layer, &headers).await, "alice", "{upgrade}");
    }
}

#[tokio::test]
async fn only_a_cookie_has_to_prove_it() {
    let layer = layer([TokenSource::bearer(), cookie(), header()]);
    for token in [("authorization", "Bearer {}"), ("x-token", "{}")] {
        let headers = [token, ("origin", "https://evil.test"), ("cookie", "a=b")];
        assert_eq!(told(&layer, request(&Method::POST, "/", &headers)).await, "alice");
    }
    let unprotected = CookieSource::dangerous_without_csrf_protection("token").unwrap();
    let layer = self::layer([TokenSource::cookie(unprotected)]);
    assert_eq!(post(&layer, &[("origin", "https://evil.test")]).await, "alice");
}

#[tokio::test]
async fn a_script_of_ours_repeats_the_secret_that_it_alone_can_read() {
    let csrf = Csrf::double_submit("__Host-csrf", HeaderName::from_static("x-csrf")).unwrap();
    let layer = layer([TokenSource::cookie(CookieSource::new("token", csrf).unwrap())]);
    let short = &SECRET[1..];
    for (cookie, header, passes) in [
        (format!("__Host-csrf={SECRET}"), SECRET, true),
        (format!("__Host-csrf={SECRET}"), "", false),
        (format!("__Host-csrf={SECRET}"), short, false),
        (format!("__Host-csrf={SECRET}"), "aAECAwQFBgcICQoLDA0ODw", false),
        (format!("__Host-csrf={short}"), short, false),
        ("__Host-csrf=".to_owned(), "", false),
        ("__Host-csrf".to_owned(), "", false),
        (format!("csrf={SECRET}"), SECRET, false),
        (format!("__host-csrf={SECRET}"), SECRET, false),
        (format!("__Host-csrf={SECRET}; __Host-csrf={SECRET}"), SECRET, false),
        (format!("__Host-csrf={SECRET}, __Host-csrf={SECRET}"), SECRET, false),
    ] {
        let headers = [("cookie", &*cookie), ("x-csrf", header)];
        let verdict = if passes { "alice" } else { "cross-site" };
        assert_eq!(post(&layer, &headers).await, verdict, "{headers:?}");
    }
    let right = format!("__Host-csrf={SECRET}");
    assert_eq!(post(&layer, &[("cookie", &right)]).await, "cross-site");
    let twice = [("cookie", &*right), ("x-csrf", SECRET), ("x-csrf", SECRET)];
    assert_eq!(post(&layer, &twice).await, "cross-site");
    // An origin is no proof here.
    assert_eq!(post(&layer, &[("origin", OURS), ("cookie", &right)]).await, "cross-site");
    assert_eq!(get(&layer, &[("cookie", "token={}")]).await, "alice");
}

#[tokio::test]
async fn a_forged_request_is_told_so_without_a_challenge() {
    let layer = layer([cookie()]);
    let forged = [("cookie", "token={}"), ("origin", "https://evil.test")];
    let inner = service_fn(crate::hello);
    let request = || request(&Method::POST, "/", &forged);
    let response = layer.layer(inner).oneshot(request()).await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert!(!response.headers().contains_key(WWW_AUTHENTICATE));
    let problem = problem(response).await;
    assert_eq!(problem["type"], "urn:tower-revocation:problem:cross-site");
    assert_eq!(problem["status"], 403);
    assert_eq!(problem.get("demand"), None);

    let mut grpc = request();
    grpc.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let response = layer.layer(inner).oneshot(grpc).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "7");
    assert_eq!(response.headers()["revocation-reason"], "cross_site");
}

// ---- the cookie ----

#[test]
fn a_cookie_is_made_for_this_host_alone_and_out_of_reach_of_scripts() {
    let source = CookieSource::new("__Host-token", csrf()).unwrap();
    let life = Duration::from_millis(900_999);
    let made = source.set_cookie("a.b.c", life).unwrap();
    assert_eq!(made, "__Host-token=a.b.c; Path=/; Max-Age=900; HttpOnly; Secure; SameSite=Lax");
    assert!(made.is_sensitive());
    let source = source.same_site(SameSite::Strict);
    assert!(source.set_cookie("a.b.c", life).unwrap().as_bytes().ends_with(b"SameSite=Strict"));
    assert_eq!(
        source.remove_cookie(),
        "__Host-token=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Strict"
    );
    for token in ["", "a; Domain=evil.test", "a\r\nb", "a b", "é", "="] {
        assert_eq!(source.set_cookie(token, life), Err(UnfitForCookie::NoToken), "{token:?}");
    }
    let longest = "a".repeat(4_096 - "__Host-token".len());
    assert!(source.set_cookie(&longest, life).is_ok());
    let longer = format!("{longest}a");
    assert_eq!(source.set_cookie(&longer, life), Err(UnfitForCookie::TooLong));
}

// ---- set-up ----

fn refused_name(error: ConfigError) -> String {
    match error {
        ConfigError::TokenSource { name, .. } => name,
        other => panic!("{other}"),
    }
}

#[test]
fn headers_that_mean_something_else_are_no_sources() {
    for name in [
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "host",
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "proxy-connection",
        "content-length",
        "content-type",
        "origin",
        "referer",
        "sec-fetch-site",
        "sec-websocket-protocol",
    ] {
        let source = TokenSource::header(HeaderName::from_static(name));
        let layer = RevocationLayer::new(Gate::open().verifier).sources([source]);
        assert_eq!(refused_name(layer.unwrap_err()), name);
    }
}

#[test]
fn no_source_and_one_source_twice_are_mistakes() {
    let layer = || RevocationLayer::new(Gate::open().verifier);
    let none = layer().sources([]).unwrap_err();
    assert!(matches!(none, ConfigError::Missing { field: "sources" }), "{none}");
    for (source, name) in
        [(TokenSource::bearer(), "authorization"), (header(), "x-token"), (cookie(), "token")]
    {
        let twice = layer().sources([source.clone(), source]).unwrap_err();
        assert_eq!(refused_name(twice), name);
    }
    // A header and a cookie may be called the same.
    let header = TokenSource::header(HeaderName::from_static("token"));
    assert!(layer().sources([cookie(), header]).is_ok());
}

#[test]
fn a_cookie_without_a_name_and_one_for_two_uses_are_mistakes() {
    for name in ["", "a b", "a=b", "a;b", "a,b", "\"a\"", "é", "a\u{0}", "a\t"] {
        let error = CookieSource::new(name, csrf()).unwrap_err();
        assert_eq!(refused_name(error), name);
        let error = CookieSource::dangerous_without_csrf_protection(name).unwrap_err();
        assert_eq!(refused_name(error), name);
    }
    let csrf = Csrf::double_submit("__Host-a", HeaderName::from_static("x-csrf")).unwrap();
    assert_eq!(refused_name(CookieSource::new("__Host-a", csrf).unwrap_err()), "__Host-a");
}

#[test]
fn origins_are_as_browsers_write_them() {
    for origin in [
        "https://app.example",
        "https://app.example:8443",
        "http://127.0.0.1:3000",
        "http://[::1]",
        "http://[::1]:3000",
        "https://xn--bcher-kva.example",
        "capacitor://localhost",
    ] {
        assert!(Csrf::origins([origin]).is_ok(), "{origin}");
    }
    for origin in [
        "",
        "null",
        "*",
        "app.example",
        "//app.example",
        "https://",
        "https://*.app.example",
        "https://app.example/",
        "https://app.example/a",
        "https://app.example?a",
        "https://App.example",
        "HTTPS://app.example",
        "https://app.example:443",
        "http://app.example:80",
        "https://app.example:",
        "https://app.example:0",
        "https://app.example:08443",
        "https://app.example:99999",
        "https://app.example:+1",
        "https://user@app.example",
        "https://app.example https://b.example",
        "https://b\u{fc}cher.example",
        "https://[app.example]",
        "https://::1",
        "://app.example",
        "1http://app.example",
    ] {
        let error = Csrf::origins([OURS, origin]).unwrap_err();
        assert!(matches!(&error, ConfigError::Origin { origin: bad } if bad == origin), "{error}");
    }
    let none = Csrf::origins([""; 0]).unwrap_err();
    assert!(matches!(none, ConfigError::Missing { field: "origins" }), "{none}");
}

#[test]
fn a_secret_that_others_can_set_or_send_is_refused() {
    for (cookie, header, refused) in [
        ("csrf", "x-csrf", "csrf"),
        ("__Secure-csrf", "x-csrf", "__Secure-csrf"),
        ("__host-csrf", "x-csrf", "__host-csrf"),
        ("__Host-c srf", "x-csrf", "__Host-c srf"),
        ("__Host-csrf", "accept", "accept"),
        ("__Host-csrf", "accept-language", "accept-language"),
        ("__Host-csrf", "content-language", "content-language"),
        ("__Host-csrf", "content-type", "content-type"),
        ("__Host-csrf", "range", "range"),
        ("__Host-csrf", "cookie", "cookie"),
        ("__Host-csrf", "origin", "origin"),
        ("__Host-csrf", "sec-fetch-site", "sec-fetch-site"),
    ] {
        let csrf = Csrf::double_submit(cookie, HeaderName::from_static(header));
        assert_eq!(refused_name(csrf.unwrap_err()), refused);
    }
}
