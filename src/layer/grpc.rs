//! The answer to a refused gRPC request: a status in the headers and nothing after them.
//!
//! That is the form *Trailers-Only* of gRPC over HTTP/2. gRPC-Web takes the same headers, since
//! its clients look for `grpc-status` there first and accept any `application/grpc…`.

use std::fmt::Write;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response,
    header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};

use super::reject::{Class, RETRY_AFTER_SECONDS, Refusal};

const MEDIA_TYPE: &str = "application/grpc";

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// Tells clients with a retry policy when to ask again (gRFC A6).
const GRPC_RETRY_PUSHBACK_MS: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
const REVOCATION_DEMAND: HeaderName = HeaderName::from_static("revocation-demand");
const REVOCATION_REASON: HeaderName = HeaderName::from_static("revocation-reason");

/// The codes of gRPC that a refusal can have.
const INVALID_ARGUMENT: u16 = 3;
const PERMISSION_DENIED: u16 = 7;
const UNAVAILABLE: u16 = 14;
const UNAUTHENTICATED: u16 = 16;

/// Whether the request is one of gRPC: its content type begins as every one of gRPC does, with
/// `+proto`, `-web`, `-web-text` or nothing behind it.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.as_bytes().get(..MEDIA_TYPE.len()))
        .is_some_and(|start| start.eq_ignore_ascii_case(MEDIA_TYPE.as_bytes()))
}

pub(super) fn response(refusal: &Refusal<'_>) -> Response<Bytes> {
    let class = refusal.class();
    let code = match class {
        Class::BadRequest => INVALID_ARGUMENT,
        Class::Unavailable => UNAVAILABLE,
        Class::Forbidden | Class::CrossSite => PERMISSION_DENIED,
        Class::Unauthenticated | Class::InvalidToken | Class::StepUp => UNAUTHENTICATED,
    };
    // The status stays 200: any other makes clients guess a code and drop ours.
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(GRPC_STATUS, HeaderValue::from(code));
    // Percent-encoded it is ASCII; without a message the code says enough.
    if let Ok(message) = HeaderValue::try_from(percent_encoded(&refusal.detail())) {
        headers.insert(GRPC_MESSAGE, message);
    }
    headers.insert(REVOCATION_REASON, HeaderValue::from_static(refusal.rejection().reason()));
    if let Some(demand) = refusal.demand() {
        headers.insert(REVOCATION_DEMAND, HeaderValue::from_static(demand));
    }
    if let Some(challenge) = refusal.challenge() {
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    if class == Class::Unavailable {
        headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
        headers.insert(GRPC_RETRY_PUSHBACK_MS, HeaderValue::from(RETRY_AFTER_SECONDS * 1_000));
    }
    response
}

/// `text` as gRPC wants its messages: printable ASCII as it is, `%` and all else as `%XX`.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'%' | ..=0x1f | 0x7f.. => {
                // Writing to a string cannot fail.
                let _ = write!(encoded, "%{byte:02X}");
            }
            _ => encoded.push(char::from(byte)),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_content_type_of_grpc_is_told_from_others() {
        for (content_type, grpc) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/GRPC; charset=utf-8", true),
            ("application/grpc-web-text+proto", true),
            ("application/json", false),
            ("application/grp", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            assert_eq!(is_grpc(&headers), grpc, "{content_type}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }

    #[test]
    fn messages_are_percent_encoded() {
        assert_eq!(percent_encoded("50 % \"é\"\n"), "50 %25 \"%C3%A9\"%0A");
    }
}
