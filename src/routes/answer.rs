//! Answers: RFC 6749 §5.1 and §5.2.

use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Serialize;

use super::Body;

/// Why a request is not granted. Texts are for developers; they never hold a part of the request,
/// and no `"`, no `\` and nothing outside of printable ASCII (§5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// 405: anything but POST.
    Method,
    /// 400 `invalid_request`: malformed, or it contradicts itself.
    InvalidRequest(&'static str),
    /// 401 `invalid_client`: the client says that it is, or has, something else.
    InvalidClient(&'static str),
    /// 400 `invalid_grant`. Final: the client has to log in.
    InvalidGrant(&'static str),
    /// 400 `invalid_scope`: more than was granted.
    InvalidScope,
    /// 400 `unsupported_grant_type`.
    UnsupportedGrantType,
    /// 503 `temporarily_unavailable`: it says nothing about the token.
    Unavailable,
}

/// The members of §5.2.
#[derive(Serialize)]
struct Told {
    error: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_description: Option<&'static str>,
}

impl Refusal {
    pub(super) fn response(self) -> Response<Body> {
        let told = Told { error: self.error(), error_description: self.description() };
        // Two texts cannot fail to serialize; if they did, the status would stand.
        let body = serde_json::to_vec(&told).unwrap_or_default();
        let mut response = json(self.status(), body);
        let extra = match self {
            Self::Method => Some((ALLOW, "POST")),
            Self::InvalidClient(_) => Some((WWW_AUTHENTICATE, "Basic realm=\"oauth\"")),
            Self::Unavailable => Some((RETRY_AFTER, "1")),
            _ => None,
        };
        if let Some((name, value)) = extra {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::InvalidClient(_) => StatusCode::UNAUTHORIZED,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    fn error(self) -> &'static str {
        match self {
            Self::Method | Self::InvalidRequest(_) => "invalid_request",
            Self::InvalidClient(_) => "invalid_client",
            Self::InvalidGrant(_) => "invalid_grant",
            Self::InvalidScope => "invalid_scope",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            // Of §4.1.2.1: §5.2 has none for it.
            Self::Unavailable => "temporarily_unavailable",
        }
    }

    fn description(self) -> Option<&'static str> {
        match self {
            Self::Method => Some("the method must be POST"),
            Self::InvalidRequest(why) | Self::InvalidClient(why) | Self::InvalidGrant(why) => {
                Some(why)
            }
            Self::InvalidScope => Some("the scope exceeds what was granted"),
            Self::UnsupportedGrantType => Some("the grant type must be refresh_token"),
            Self::Unavailable => None,
        }
    }
}

/// A JSON text that nobody may store.
pub(super) fn json(status: StatusCode, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}
