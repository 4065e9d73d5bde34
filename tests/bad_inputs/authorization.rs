//! Entries 1 to 24: what can stand where the bearer token belongs.
//!
//! Each goes through the service and, as bytes on a socket, through hyper. The service behind
//! counts its calls: after a refusal the count is zero, and a good token proves that it counts.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response,
    header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE},
};
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower::{Layer, ServiceExt, service_fn};
use tower_revocation::layer::RevocationLayer;

use crate::gate::{Gate, good_token};

/// What a refused request is told.
struct Refused {
    status: u16,
    reason: &'static str,
    error: Option<&'static str>,
}

const MISSING: Refused = Refused { status: 401, reason: "missing", error: None };
const MALFORMED: Refused =
    Refused { status: 400, reason: "malformed-header", error: Some("invalid_request") };
const MULTIPLE: Refused =
    Refused { status: 400, reason: "multiple-tokens", error: Some("invalid_request") };
const TOO_LARGE: Refused =
    Refused { status: 401, reason: "too-large", error: Some("invalid_token") };

impl Refused {
    fn assert(&self, reply: &Reply, what: &str) {
        assert_eq!(reply.status, self.status, "{what}");
        assert_eq!(reply.headers[CONTENT_TYPE], "application/problem+json", "{what}");
        assert_eq!(reply.headers[CACHE_CONTROL], "no-store", "{what}");

        let challenge = reply.headers[WWW_AUTHENTICATE].to_str().unwrap();
        match self.error {
            None => assert_eq!(challenge, "Bearer realm=\"api\"", "{what}"),
            Some(error) => {
                let start =
                    format!("Bearer realm=\"api\", error=\"{error}\", error_description=\"");
                assert!(challenge.starts_with(&start), "{what}: {challenge}");
            }
        }

        let problem: Value = serde_json::from_slice(&reply.body).unwrap();
        let r#type = format!("urn:tower-revocation:problem:{}", self.reason);
        assert_eq!(problem["type"], r#type, "{what}");
        assert_eq!(problem["status"], self.status, "{what}");
        assert_eq!(problem["demand"], "login", "{what}");
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{what}");
    }
}

struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// A service behind the layer, reachable by call and by socket.
struct Front {
    layer: RevocationLayer,
    calls: Arc<AtomicUsize>,
    address: SocketAddr,
}

impl Front {
    async fn start() -> Self {
        let layer = RevocationLayer::new(Gate::open().verifier);
        let calls = Arc::new(AtomicUsize::new(0));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (accepting, counting) = (layer.clone(), calls.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let calls = counting.clone();
                let service =
                    accepting.layer(service_fn(move |_: Request<hyper::body::Incoming>| {
                        counted(calls.clone())
                    }));
                tokio::spawn(async move {
                    // An error is what bad requests end in; the reply tells it.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
                        .await;
                });
            }
        });
        Self { layer, calls, address }
    }

    /// Through the service alone.
    async fn call(&self, uri: &str, headers: &[(HeaderName, &[u8])]) -> Reply {
        let mut request = Request::get(uri).body(Empty::<Bytes>::new()).unwrap();
        for (name, value) in headers {
            request.headers_mut().append(name, HeaderValue::from_bytes(value).unwrap());
        }
        self.call_with(request).await
    }

    async fn call_with<B>(&self, request: Request<B>) -> Reply {
        let calls = self.calls.clone();
        let service = self.layer.layer(service_fn(move |_: Request<B>| counted(calls.clone())));
        let (parts, body) = service.oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Reply { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// As bytes on a socket.
    async fn send(&self, request: &[u8]) -> Reply {
        parsed(&self.exchange(request).await)
    }

    async fn exchange(&self, request: &[u8]) -> Vec<u8> {
        let exchange = async {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(request).await.unwrap();
            let mut reply = Vec::new();
            // A server that hangs up on unread bytes resets the connection after its answer.
            let _ = stream.read_to_end(&mut reply).await;
            reply
        };
        tokio::time::timeout(Duration::from_secs(10), exchange).await.unwrap()
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Nothing reached the inner service so far, and a good token does.
    async fn assert_untouched(&self) {
        assert_eq!(self.calls(), 0, "a refused request reached the service");
        let value = bearer(&good_token());
        let headers = [(AUTHORIZATION, value.as_slice())];
        assert_eq!(self.call("/", &headers).await.status, 200);
        assert_eq!(self.send(&http1("/", &headers)).await.status, 200);
        assert_eq!(self.calls(), 2, "the count does not count");
    }
}

async fn counted(calls: Arc<AtomicUsize>) -> Result<Response<Full<Bytes>>, Infallible> {
    calls.fetch_add(1, Ordering::SeqCst);
    Ok(Response::new(Full::from("hello")))
}

fn bearer(token: &str) -> Vec<u8> {
    format!("Bearer {token}").into_bytes()
}

fn http1(uri: &str, headers: &[(HeaderName, &[u8])]) -> Vec<u8> {
    let mut request =
        format!("GET {uri} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n").into_bytes();
    for (name, value) in headers {
        request.extend_from_slice(name.as_str().as_bytes());
        request.extend_from_slice(b": ");
        request.extend_from_slice(value);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    request
}

fn parsed(reply: &[u8]) -> Reply {
    let end = reply.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a whole head");
    let head = std::str::from_utf8(&reply[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: HeaderMap = lines
        .map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
        })
        .collect();
    let body = reply[end + 4..].to_vec();
    assert_eq!(headers[CONTENT_LENGTH].to_str().unwrap(), body.len().to_string());
    Reply { status, headers, body }
}

/// Both ways refuse a request with these `Authorization` headers.
async fn refuses(values: &[&[u8]], refused: Refused) {
    let headers: Vec<_> = values.iter().map(|value| (AUTHORIZATION, *value)).collect();
    refuses_request("/", &headers, refused).await;
}

async fn refuses_request(uri: &str, headers: &[(HeaderName, &[u8])], refused: Refused) {
    let front = Front::start().await;
    refused.assert(&front.call(uri, headers).await, "service");
    refused.assert(&front.send(&http1(uri, headers)).await, "socket");
    front.assert_untouched().await;
}

/// Both ways accept it.
async fn accepts_request(uri: &str, headers: &[(HeaderName, &[u8])]) {
    let front = Front::start().await;
    assert_eq!(front.call(uri, headers).await.status, 200, "service");
    assert_eq!(front.send(&http1(uri, headers)).await.status, 200, "socket");
    assert_eq!(front.calls(), 2);
}

#[tokio::test]
async fn b01_refuses_a_request_without_a_token() {
    refuses(&[], MISSING).await;
}

#[tokio::test]
async fn b01_answers_head_without_a_body() {
    let front = Front::start().await;
    let request = b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let reply = String::from_utf8(front.exchange(request).await).unwrap();
    assert!(reply.starts_with("HTTP/1.1 401 ") && reply.ends_with("\r\n\r\n"), "{reply}");
    front.assert_untouched().await;
}

#[tokio::test]
async fn b02_refuses_an_empty_header() {
    refuses(&[b""], MALFORMED).await;
}

#[tokio::test]
async fn b03_refuses_the_scheme_alone() {
    refuses(&[b"Bearer"], MALFORMED).await;
}

#[tokio::test]
async fn b04_refuses_the_scheme_and_a_space() {
    refuses(&[b"Bearer "], MALFORMED).await;
}

#[tokio::test]
async fn b05_refuses_two_spaces() {
    refuses(&[format!("Bearer  {}", good_token()).as_bytes()], MALFORMED).await;
}

#[tokio::test]
async fn b06_refuses_a_tab() {
    refuses(&[format!("Bearer\t{}", good_token()).as_bytes()], MALFORMED).await;
    refuses(&[format!("Bearer \t{}", good_token()).as_bytes()], MALFORMED).await;
}

/// On a socket it is whitespace around the value and no part of it (RFC 9110 §5.5): hyper drops
/// it, and the token is good.
#[tokio::test]
async fn b07_refuses_a_leading_space() {
    let front = Front::start().await;
    let value = format!(" Bearer {}", good_token());
    let headers = [(AUTHORIZATION, value.as_bytes())];
    MALFORMED.assert(&front.call("/", &headers).await, "service");
    front.assert_untouched().await;
    assert_eq!(front.send(&http1("/", &headers)).await.status, 200);
}

/// On a socket it is no part of the value either.
#[tokio::test]
async fn b08_refuses_a_trailing_space() {
    let front = Front::start().await;
    let value = format!("Bearer {} ", good_token());
    let headers = [(AUTHORIZATION, value.as_bytes())];
    MALFORMED.assert(&front.call("/", &headers).await, "service");
    front.assert_untouched().await;
    assert_eq!(front.send(&http1("/", &headers)).await.status, 200);
}

#[tokio::test]
async fn b09_accepts_the_scheme_in_any_case() {
    for scheme in ["bearer", "BEARER", "bEaReR"] {
        let value = format!("{scheme} {}", good_token());
        accepts_request("/", &[(AUTHORIZATION, value.as_bytes())]).await;
    }
}

#[tokio::test]
async fn b10_takes_basic_credentials_for_no_token() {
    refuses(&[b"Basic YWxpY2U6d29uZGVybGFuZA=="], MISSING).await;
}

#[tokio::test]
async fn b11_refuses_a_scheme_that_only_begins_as_bearer() {
    refuses(&[format!("BearerX {}", good_token()).as_bytes()], MALFORMED).await;
    refuses(&[format!("Bearer{}", good_token()).as_bytes()], MALFORMED).await;
    refuses(&[good_token().as_bytes()], MALFORMED).await;
}

#[tokio::test]
async fn b12_refuses_two_equal_headers() {
    let value = bearer(&good_token());
    refuses(&[&value, &value], MULTIPLE).await;
}

#[tokio::test]
async fn b13_refuses_two_differing_headers() {
    let value = bearer(&good_token());
    refuses(&[&value, b"Bearer a"], MULTIPLE).await;
    refuses(&[b"Bearer a", &value], MULTIPLE).await;
    refuses(&[b"", &value], MULTIPLE).await;
}

#[tokio::test]
async fn b14_refuses_tokens_joined_by_a_comma() {
    let token = good_token();
    refuses(&[format!("Bearer {token},{token}").as_bytes()], MALFORMED).await;
    refuses(&[format!("Bearer {token}, Bearer {token}").as_bytes()], MALFORMED).await;
    refuses(&[format!("Basic YTpi, Bearer {token}").as_bytes()], MALFORMED).await;
}

#[tokio::test]
async fn b15_refuses_bearer_beside_basic() {
    let value = bearer(&good_token());
    refuses(&[&value, b"Basic YTpi"], MULTIPLE).await;
    refuses(&[b"Basic YTpi", &value], MULTIPLE).await;
}

#[tokio::test]
async fn b16_refuses_a_quoted_token() {
    refuses(&[format!("Bearer \"{}\"", good_token()).as_bytes()], MALFORMED).await;
}

#[tokio::test]
async fn b17_refuses_bytes_outside_ascii() {
    let front = Front::start().await;
    for byte in 0x80..=0xff {
        let value = [bearer(&good_token()), vec![byte]].concat();
        let headers = [(AUTHORIZATION, value.as_slice())];
        MALFORMED.assert(&front.call("/", &headers).await, "service");
        MALFORMED.assert(&front.send(&http1("/", &headers)).await, "socket");
    }
    front.assert_untouched().await;
}

#[tokio::test]
async fn b18_refuses_utf_8() {
    refuses(&["Bearer tökén".as_bytes()], MALFORMED).await;
    refuses(&["Bëarer a".as_bytes()], MALFORMED).await;
    refuses(&["Bearer\u{a0}a".as_bytes()], MALFORMED).await;
}

#[tokio::test]
async fn b19_refuses_a_token_of_8193_bytes() {
    refuses(&[&bearer(&"a".repeat(8_193))], TOO_LARGE).await;
}

#[tokio::test]
async fn b20_refuses_a_token_of_64_kib() {
    refuses(&[&bearer(&"a".repeat(64 * 1_024))], TOO_LARGE).await;
}

/// Other headers are no affair of the layer, and hyper reads a hundred.
#[tokio::test]
async fn b21_refuses_100_authorization_headers() {
    let value = bearer(&good_token());
    let front = Front::start().await;
    let headers: Vec<_> = (0..100).map(|_| (AUTHORIZATION, value.as_slice())).collect();
    MULTIPLE.assert(&front.call("/", &headers).await, "service");
    // With `Host` and `Connection` it is a hundred again, and then one too many.
    MULTIPLE.assert(&front.send(&http1("/", &headers[..98])).await, "socket");
    assert_eq!(front.send(&http1("/", &headers[..99])).await.status, 431);
    front.assert_untouched().await;

    let mut others: Vec<(HeaderName, &[u8])> = (0..97)
        .map(|n| (HeaderName::from_bytes(format!("x-{n}").as_bytes()).unwrap(), &b"a"[..]))
        .collect();
    others.push((AUTHORIZATION, &value));
    accepts_request("/", &others).await;
}

#[tokio::test]
async fn b22_refuses_a_token_in_the_query_beside_the_header() {
    let (token, value) = (good_token(), bearer(&good_token()));
    let headers = [(AUTHORIZATION, value.as_slice())];
    for query in [
        format!("access_token={token}"),
        format!("a=b&access_token={token}"),
        format!("access%5ftoken={token}"),
        "access_token=".to_owned(),
    ] {
        refuses_request(&format!("/?{query}"), &headers, MULTIPLE).await;
    }
    // Alone it is not looked at, good as it is.
    refuses_request(&format!("/?access_token={token}"), &[], MISSING).await;
    accepts_request("/?token=a&access_tokens=b", &headers).await;
}

#[tokio::test]
async fn b22_never_looks_at_cookies() {
    let (token, value) = (good_token(), bearer(&good_token()));
    let cookie = format!("access_token={token}; Authorization={token}");
    let cookie = (http::header::COOKIE, cookie.as_bytes());
    refuses_request("/", std::slice::from_ref(&cookie), MISSING).await;
    accepts_request("/", &[cookie, (AUTHORIZATION, &value)]).await;
}

/// They cannot be built with the types of `http`; on a socket hyper refuses them.
#[tokio::test]
async fn b23_refuses_nul_and_line_breaks() {
    let token = good_token();
    let front = Front::start().await;
    for value in [
        format!("Bearer \0{token}"),
        format!("Bearer {token}\0"),
        format!("Bearer\r\n {token}"),
        format!("Bearer \r\n{token}"),
        format!("Bearer {token}\r\n a"),
        format!("Bearer {token}\ra"),
        format!("Bearer \n{token}"),
    ] {
        assert!(HeaderValue::from_str(&value).is_err(), "{value:?}");
        let reply = front.send(&http1("/", &[(AUTHORIZATION, value.as_bytes())])).await;
        assert_eq!(reply.status, 400, "{value:?}");
    }
    front.assert_untouched().await;
}

#[tokio::test]
async fn b24_never_looks_at_trailers() {
    let front = Front::start().await;
    let trailers: HeaderMap =
        [(AUTHORIZATION, HeaderValue::try_from(bearer(&good_token())).unwrap())]
            .into_iter()
            .collect();
    let body = Full::<Bytes>::from("a").with_trailers(async { Some(Ok(trailers)) });
    MISSING.assert(&front.call_with(Request::post("/").body(body).unwrap()).await, "service");

    let request = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\
         Trailer: Authorization\r\n\r\n1\r\na\r\n0\r\nAuthorization: Bearer {}\r\n\r\n",
        good_token()
    );
    MISSING.assert(&front.send(request.as_bytes()).await, "socket");
    front.assert_untouched().await;
}
