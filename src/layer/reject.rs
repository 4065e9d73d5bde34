//! The answer to a refused request: RFC 6750 §3 and RFC 9457.

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Serialize;

use super::{grpc, policy::Policy};
use crate::verify::Rejection;

/// After how many seconds a client may ask again while nothing can be said about its token.
pub(super) const RETRY_AFTER_SECONDS: u32 = 1;

/// A request that was refused, for
/// [`RevocationLayer::on_rejection`](super::RevocationLayer::on_rejection).
#[derive(Clone, Copy)]
pub struct Refusal<'a> {
    rejection: &'a Rejection,
    realm: &'a str,
    policy: &'a Policy,
    grpc: bool,
}

/// How a rejection is told in HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// 401, a challenge without error code: the client did not try yet.
    Unauthenticated,
    /// 400 `invalid_request`: the request contradicts itself.
    BadRequest,
    /// 401 `invalid_token`.
    InvalidToken,
    /// 403 without a challenge: no credentials would help.
    CrossSite,
    /// 403 `insufficient_scope`: the token is good, and not for this.
    Forbidden,
    /// 401 `insufficient_user_authentication`: the token is good, and its user has to log in again.
    StepUp,
    /// 503: it says nothing about the token, so a client must not throw it away.
    Unavailable,
}

impl<'a> Refusal<'a> {
    pub(super) fn new(
        rejection: &'a Rejection,
        realm: &'a str,
        policy: &'a Policy,
        grpc: bool,
    ) -> Self {
        Self { rejection, realm, policy, grpc }
    }

    /// Why the request was refused.
    pub fn rejection(&self) -> &'a Rejection {
        self.rejection
    }

    /// The realm of the layer.
    pub fn realm(&self) -> &'a str {
        self.realm
    }

    /// Whether the request is one of gRPC, whose clients read `grpc-status` and not the status
    /// of HTTP.
    pub fn is_grpc(&self) -> bool {
        self.grpc
    }

    /// The default answer: the one of gRPC to a request of gRPC, `application/problem+json` to
    /// others. See the [module](super) for both.
    pub fn to_response(&self) -> Response<Bytes> {
        if self.grpc { grpc::response(self) } else { self.problem() }
    }

    fn problem(&self) -> Response<Bytes> {
        let status = self.class().status();
        let problem = Problem {
            r#type: format!(
                "urn:tower-revocation:problem:{}",
                self.rejection.reason().replace('_', "-")
            ),
            title: title(self.rejection),
            status: status.as_u16(),
            detail: self.detail(),
            demand: self.demand(),
        };
        // Texts and a number cannot fail to serialize; if they did, the status would stand.
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(challenge) = self.challenge() {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if self.class() == Class::Unavailable {
            headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
        }
        response
    }

    pub(super) fn class(&self) -> Class {
        match self.rejection {
            Rejection::Missing => Class::Unauthenticated,
            Rejection::MultipleTokens
            | Rejection::MalformedHeader
            | Rejection::MalformedCredentials => Class::BadRequest,
            Rejection::CrossSite => Class::CrossSite,
            Rejection::InsufficientScope | Rejection::NotInGroup => Class::Forbidden,
            Rejection::AuthenticationTooOld | Rejection::AuthenticationContext => Class::StepUp,
            other if other.is_unavailable() => Class::Unavailable,
            _ => Class::InvalidToken,
        }
    }

    /// What went wrong, for people. How old our copy is stays our own affair.
    pub(super) fn detail(&self) -> Cow<'static, str> {
        if self.class() == Class::Unavailable {
            "tokens cannot be checked right now: ask again with the same token".into()
        } else {
            self.rejection.to_string().into()
        }
    }

    /// What the client has to do, where it is for the client to do anything.
    pub(super) fn demand(&self) -> Option<&'static str> {
        self.rejection.demand().map(|demand| demand.as_str())
    }

    /// The value of `WWW-Authenticate`. None where authenticating anew would not help.
    pub(super) fn challenge(&self) -> Option<HeaderValue> {
        let mut challenge = format!("Bearer realm=\"{}\"", self.realm);
        let error = match self.class() {
            Class::Unavailable | Class::CrossSite => return None,
            Class::Unauthenticated => None,
            Class::BadRequest => Some("invalid_request"),
            Class::InvalidToken => Some("invalid_token"),
            Class::Forbidden => Some("insufficient_scope"),
            Class::StepUp => Some("insufficient_user_authentication"),
        };
        if let Some(error) = error {
            let description = quotable(&self.detail());
            challenge += &format!(", error=\"{error}\", error_description=\"{description}\"");
        }
        challenge += &self.policy.parameters(self.rejection);
        // All of it is printable ASCII; the bare scheme is a challenge as well.
        let fallback = HeaderValue::from_static("Bearer");
        Some(HeaderValue::try_from(challenge).unwrap_or(fallback))
    }
}

impl fmt::Debug for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal")
            .field("rejection", self.rejection)
            .field("realm", &self.realm)
            .field("grpc", &self.grpc)
            .finish()
    }
}

impl Class {
    fn status(self) -> StatusCode {
        match self {
            Self::Unauthenticated | Self::InvalidToken | Self::StepUp => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::CrossSite => StatusCode::FORBIDDEN,
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// The members of RFC 9457 §3.1, and ours.
#[derive(Serialize)]
struct Problem {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    demand: Option<&'static str>,
}

/// The kind of problem, for people; the same for each occurrence.
fn title(rejection: &Rejection) -> &'static str {
    match rejection {
        Rejection::Missing => "Access token required",
        Rejection::MalformedHeader => "Malformed Authorization header",
        Rejection::MalformedCredentials => "Malformed credentials",
        Rejection::CrossSite => "Cross-site request refused",
        Rejection::MultipleTokens => "More than one access token",
        Rejection::Expired => "Access token expired",
        Rejection::Revoked(_) => "Access token revoked",
        Rejection::SessionEnded => "Session over",
        Rejection::AccountRefused => "Account refused",
        Rejection::InsufficientScope | Rejection::NotInGroup => "Not permitted",
        Rejection::AuthenticationTooOld | Rejection::AuthenticationContext => {
            "Stronger authentication required"
        }
        other if other.is_unavailable() => "Temporarily unable to check tokens",
        _ => "Access token not acceptable",
    }
}

/// `text` in the characters RFC 6750 §3 leaves an `error_description`: printable ASCII without
/// `"` and `\`.
fn quotable(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '"' | '\\' => '\'',
            ' '..='~' => character,
            _ => '?',
        })
        .collect()
}
