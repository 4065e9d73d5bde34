//! What handlers take from a request: who calls, from where, and with what body.

use std::net::{IpAddr, SocketAddr};

use axum::{
    Form, Json,
    extract::{ConnectInfo, FromRequest, FromRequestParts, Path, Query, Request},
    http::{Extensions, HeaderValue, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::de::DeserializeOwned;
use tower_revocation::{Id, Verified, store::Device};

use crate::{fault::Fault, users};

/// Who calls, proved by their token.
pub struct Caller {
    pub user: Id,
    pub session: Id,
    is_admin: bool,
}

impl Caller {
    pub fn is_admin(&self) -> bool {
        self.is_admin
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let verified = Verified::from_request_parts(parts, state);
        let verified: Verified = verified.await.map_err(IntoResponse::into_response)?;
        // Our issuer writes a session in each token.
        let session = verified.session().unwrap_or_default();
        let ids = Id::new(verified.subject()).and_then(|user| Ok((user, Id::new(session)?)));
        let (user, session) = ids.map_err(|problem| Fault::from(problem).into_response())?;
        let is_admin = verified.groups().any(|group| group == users::ADMIN);
        Ok(Self { user, session, is_admin })
    }
}

/// The address at the other end of the connection. Behind a proxy it is the proxy's: read what
/// *that* says, and only if nobody else can reach this server.
pub fn client_ip(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|connection| connection.ip())
}

/// The device that a request comes from, as far as it shows.
pub struct Seen(pub Device);

impl<S: Send + Sync> FromRequestParts<S> for Seen {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Fault> {
        let mut device = Device::new();
        if let Some(ip) = client_ip(&parts.extensions) {
            device = device.with_ip(ip);
        }
        if let Some(user_agent) = parts.headers.get(header::USER_AGENT) {
            device = device.with_user_agent(&String::from_utf8_lossy(user_agent.as_bytes()));
        }
        Ok(Self(device))
    }
}

/// The one parameter in the path.
pub struct Named(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(name)| Self(name)).map_err(|problem| Fault::Malformed(problem.body_text()))
    }
}

/// The parameters in the query.
pub struct Queried<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Queried<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let query = Query::from_request_parts(parts, state).await;
        query
            .map(|Query(value)| Self(value))
            .map_err(|problem| Fault::Malformed(problem.body_text()))
    }
}

/// A body of JSON.
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, state: &S) -> Result<Self, Fault> {
        let body = Json::from_request(request, state).await;
        body.map(|Json(value)| Self(value)).map_err(|problem| Fault::Malformed(problem.body_text()))
    }
}

/// A body of JSON, or a form if its content type says so.
pub struct JsonOrForm<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonOrForm<T> {
    type Rejection = Fault;

    async fn from_request(mut request: Request, state: &S) -> Result<Self, Fault> {
        const FORM: &str = "application/x-www-form-urlencoded";
        let kind = request.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()?.split(';').next());
        if kind.is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(FORM)) {
            // The one spelling that the extractor knows.
            request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(FORM));
            let body = Form::from_request(request, state).await;
            body.map(|Form(value)| Self(value))
                .map_err(|problem| Fault::Malformed(problem.body_text()))
        } else {
            Body::from_request(request, state).await.map(|Body(value)| Self(value))
        }
    }
}
