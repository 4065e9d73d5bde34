//! The service behind the layers, which does nothing.

use std::{
    convert::Infallible,
    future::{Ready, ready},
};

use axum::{body::Body, response::Response};
use http::Request;
use tower::{service_fn, util::ServiceFn};

pub(crate) type Answer = Result<Response, Infallible>;

/// Without any layer.
pub(crate) fn bare() -> ServiceFn<fn(Request<Body>) -> Ready<Answer>> {
    service_fn(|_| ready(answer()))
}

pub(crate) fn answer() -> Answer {
    Ok(Response::new(Body::empty()))
}
