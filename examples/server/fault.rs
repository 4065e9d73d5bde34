//! What goes wrong in a handler, as `application/problem+json` (RFC 9457).

use std::{error::Error as StdError, fmt};

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use tower_revocation::{
    Demand,
    error::{Error, ErrorKind},
    scope::InvalidId,
};

/// Whatever fails beside the crate: the table of users, the hashing, the start.
pub type Failure = Box<dyn StdError + Send + Sync>;

/// An error as it is logged: with all its causes.
type Cause<'a> = &'a (dyn StdError + 'static);

/// The types of this service's own problems begin so. Those of the layer are
/// `urn:tower-revocation:problem:…`. Both are names and lead nowhere.
const TYPES: &str = "https://demo.example/problems/";

/// A handler's failure.
#[derive(Debug)]
pub enum Fault {
    /// The body, or something in it, cannot be understood.
    Malformed(String),
    /// Unknown user or wrong password: which of both is nobody's business.
    WrongPassword,
    /// The account is suspended. Only told to who knows its password.
    AccountSuspended,
    /// The old password of a change is wrong.
    WrongOldPassword,
    /// Another change of the password was faster.
    PasswordChangedMeanwhile,
    /// There is no such user.
    NoSuchUser,
    /// The caller has no such session that is alive.
    NoSuchSession,
    /// The user has as many sessions as they may.
    TooManySessions,
    /// A revocation came in between, or the store failed.
    Crate(Error),
    /// The service's own part failed.
    Unavailable(Failure),
}

impl Fault {
    pub fn malformed(problem: impl fmt::Display) -> Self {
        Self::Malformed(problem.to_string())
    }

    /// The status, the name of the type, and what went wrong.
    fn told(&self) -> (StatusCode, &'static str, String) {
        use StatusCode as S;
        let (status, name, detail) = match self {
            Self::Malformed(detail) => return (S::BAD_REQUEST, "malformed", detail.clone()),
            Self::WrongPassword => {
                (S::UNAUTHORIZED, "wrong-password", "unknown user or wrong password")
            }
            Self::AccountSuspended => {
                (S::FORBIDDEN, "account-suspended", "the account is suspended")
            }
            Self::WrongOldPassword => (S::FORBIDDEN, "wrong-password", "the old password is wrong"),
            Self::PasswordChangedMeanwhile => {
                (S::CONFLICT, "conflict", "the password was changed in the meantime")
            }
            Self::TooManySessions => {
                (S::CONFLICT, "too-many-sessions", "end a session on another device first")
            }
            Self::NoSuchUser => (S::NOT_FOUND, "no-such-user", "there is no such user"),
            Self::NoSuchSession => (S::NOT_FOUND, "no-such-session", "there is no such session"),
            Self::Crate(error) if self.demand().is_some() => {
                return (S::UNAUTHORIZED, "session-ended", error.to_string());
            }
            // Also if revocations did not stop coming in between: the client may ask again.
            Self::Crate(_) | Self::Unavailable(_) => {
                (S::SERVICE_UNAVAILABLE, "unavailable", "this cannot be done right now: ask again")
            }
        };
        (status, name, detail.to_owned())
    }

    /// What the client has to do, where that helps.
    fn demand(&self) -> Option<Demand> {
        match self {
            Self::WrongPassword => Some(Demand::Login),
            Self::Crate(error) => match error.kind() {
                ErrorKind::RevokedMeanwhile(Demand::Login)
                | ErrorKind::SessionEnded
                | ErrorKind::AccountRefused => Some(Demand::Login),
                _ => None,
            },
            _ => None,
        }
    }

    /// RFC 6750, section 3.
    fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::WrongPassword => Some(r#"Bearer realm="demo""#),
            Self::Crate(_) if self.demand().is_some() => {
                Some(r#"Bearer realm="demo", error="invalid_token""#)
            }
            _ => None,
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        match &self {
            Self::Unavailable(cause) => tracing::error!(error = &**cause as Cause<'_>, "failed"),
            Self::Crate(error) if self.demand().is_none() => {
                tracing::error!(error = error as Cause<'_>, "failed");
            }
            _ => {}
        }
        let (status, name, detail) = self.told();
        let mut body = json!({
            "type": format!("{TYPES}{name}"),
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "detail": detail,
        });
        if let Some(demand) = self.demand() {
            body["demand"] = demand.as_str().into();
        }
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(challenge) = self.challenge() {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::TooManySessions => Self::TooManySessions,
            _ => Self::Crate(error),
        }
    }
}

impl From<InvalidId> for Fault {
    fn from(problem: InvalidId) -> Self {
        Self::Malformed(format!("the identifier {problem}"))
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self::Unavailable(failure)
    }
}

impl From<sqlx::Error> for Fault {
    fn from(failure: sqlx::Error) -> Self {
        Self::Unavailable(failure.into())
    }
}
