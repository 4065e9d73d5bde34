//! What goes wrong in a handler, as `application/problem+json` (RFC 9457).

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use tower_revocation::{
    Demand,
    error::{Error, ErrorKind},
};

/// A handler's failure.
#[derive(Debug)]
pub enum Fault {
    /// The body, or something in it, cannot be understood.
    Malformed(String),
    /// Unknown user or wrong password: which of both is nobody's business.
    WrongPassword,
    /// The caller is not in the group `admin`.
    NotAdmin,
    /// A revocation came in between, or the store failed.
    Crate(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Crate(error)
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let login = Some(Demand::Login);
        let (status, name, detail, demand) = match self {
            Self::Malformed(detail) => (StatusCode::BAD_REQUEST, "malformed", detail, None),
            Self::WrongPassword => {
                let detail = "unknown user or wrong password".to_owned();
                (StatusCode::UNAUTHORIZED, "wrong-password", detail, login)
            }
            Self::NotAdmin => {
                let detail = "only for the group admin".to_owned();
                (StatusCode::FORBIDDEN, "not-admin", detail, None)
            }
            Self::Crate(error) => match error.kind() {
                ErrorKind::RevokedMeanwhile(demand) => {
                    (StatusCode::UNAUTHORIZED, "revoked", error.to_string(), Some(demand))
                }
                ErrorKind::Id(_) => (StatusCode::BAD_REQUEST, "malformed", error.to_string(), None),
                _ => {
                    tracing::error!(error = &error as &dyn std::error::Error, "request failed");
                    let detail = "the store does not answer".to_owned();
                    (StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail, None)
                }
            },
        };
        let mut body = json!({
            "type": format!("urn:tower-revocation:problem:{name}"),
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "detail": detail,
        });
        if let Some(demand) = demand {
            body["demand"] = demand.as_str().into();
        }
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        let challenge = match status {
            StatusCode::UNAUTHORIZED => Some(r#"Bearer realm="demo""#),
            StatusCode::FORBIDDEN => Some(r#"Bearer realm="demo", error="insufficient_scope""#),
            _ => None,
        };
        if let Some(challenge) = challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
