//! [`Verified`] as an extractor of axum, [`TokenPair`] as an answer.
//!
//! The extractors only hand out what [`RevocationLayer`](crate::layer::RevocationLayer) found:
//!
//! ```
//! use axum::{Router, routing::get};
//! use tower_revocation::{layer::RevocationLayer, verify::{Verified, Verifier}};
//!
//! async fn me(caller: Verified) -> String {
//!     caller.subject().to_owned()
//! }
//!
//! fn app(verifier: Verifier) -> Router {
//!     Router::new().route("/me", get(me)).route_layer(RevocationLayer::new(verifier))
//! }
//! # let _ = app;
//! ```
//!
//! A handler that asks for `Verified<C>` on a route without the layer, or with a layer for another
//! claims type, is a mistake of the service and answers 500, [`MissingLayer`]: a 401 would log
//! clients out for it.
//!
//! `Option<Verified<C>>` is for handlers behind an
//! [`optional`](crate::layer::RevocationLayer::optional) layer, which lets requests without a token
//! through, and refuses those with a bad one before any extractor runs. Outside of any layer it is
//! `None`, whatever token the request carries, as nobody has checked it. So `None` cannot tell a
//! forgotten layer from a request without a token; ask for `Verified<C>` wherever a caller is
//! needed.

use std::{any::type_name, convert::Infallible, future};

use axum_core::{
    body::Body,
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};
use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA},
    request::Parts,
};

use crate::{session::TokenPair, telemetry, verify::Verified};

/// The route has no [`RevocationLayer`](crate::layer::RevocationLayer), or one for another claims
/// type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no `Verified<{claims}>`: is `RevocationLayer` missing on this route, or without `claims`?"
)]
pub struct MissingLayer {
    claims: &'static str,
}

impl<S, C> FromRequestParts<S> for Verified<C>
where
    S: Sync,
    C: Send + Sync + 'static,
{
    type Rejection = MissingLayer;

    fn from_request_parts(
        parts: &mut Parts,
        _state: &S,
    ) -> impl Future<Output = Result<Self, MissingLayer>> + Send {
        let verified = parts.extensions.get::<Self>().cloned();
        future::ready(verified.ok_or(MissingLayer { claims: type_name::<C>() }))
    }
}

impl<S, C> OptionalFromRequestParts<S> for Verified<C>
where
    S: Sync,
    C: Send + Sync + 'static,
{
    type Rejection = Infallible;

    fn from_request_parts(
        parts: &mut Parts,
        _state: &S,
    ) -> impl Future<Output = Result<Option<Self>, Self::Rejection>> + Send {
        future::ready(Ok(parts.extensions.get::<Self>().cloned()))
    }
}

impl IntoResponse for TokenPair {
    /// The answer of a token endpoint ([RFC 6749, section 5.1]), which no cache keeps.
    ///
    /// [RFC 6749, section 5.1]: https://www.rfc-editor.org/rfc/rfc6749#section-5.1
    fn into_response(self) -> Response {
        let Ok(body) = serde_json::to_vec(&self) else {
            // It holds nothing but texts and a number.
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (PRAGMA, HeaderValue::from_static("no-cache")),
        ];
        (headers, body).into_response()
    }
}

impl IntoResponse for MissingLayer {
    /// 500. The claims type goes to the log alone; it is no affair of clients.
    fn into_response(self) -> Response {
        const BODY: &str = concat!(
            r#"{"type":"urn:tower-revocation:problem:missing-layer","#,
            r#""title":"Server misconfigured","status":500,"#,
            r#""detail":"RevocationLayer is missing on this route, "#,
            r#"or reads other claims than the handler asks for"}"#,
        );

        telemetry::misconfigured(&self);
        let mut response = Response::new(Body::from(BODY));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}
