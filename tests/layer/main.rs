//! The middleware, seen from outside: which service it calls, what it answers, what it passes on.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../common/gate.rs"]
mod gate;

mod answers;
mod asking;
mod axum;
mod bodies;
mod buckets;
mod confirming;
mod freshness;
mod grpc;
mod known;
mod policies;
mod questions;
mod renewing;
mod service;
mod sources;

use std::{
    convert::Infallible,
    fmt, future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, header::AUTHORIZATION, request};
use http_body::Body;
use http_body_util::{BodyExt, Empty, Full};
use serde_json::Value;
use tower::{Service, ServiceExt};
use tower_revocation::{
    cutoff::{CutOff, Demand, StoreTime},
    scope::Scope,
};

use gate::{Gate, NOW, good_token};

pub(crate) fn with_token() -> request::Builder {
    Request::get("/").header(AUTHORIZATION, format!("Bearer {}", good_token()))
}

pub(crate) fn revoke(gate: &Gate, demand: Demand) {
    let now = StoreTime::from_micros(NOW * 1_000_000);
    gate.epochs.raise(&Scope::user("alice").unwrap(), CutOff::at(now, demand));
}

pub(crate) async fn hello<B>(_: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("hello")))
}

pub(crate) async fn problem<B: Body<Data = Bytes, Error: fmt::Debug>>(
    response: Response<B>,
) -> Value {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

/// Panics when called without being polled ready; a clone is not ready.
#[derive(Debug, Default)]
pub(crate) struct Picky {
    ready: bool,
    pub(crate) calls: Arc<AtomicUsize>,
}

impl Clone for Picky {
    fn clone(&self) -> Self {
        Self { ready: false, calls: self.calls.clone() }
    }
}

impl<B> Service<Request<B>> for Picky {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without being ready");
        self.calls.fetch_add(1, Ordering::SeqCst);
        future::ready(Ok(Response::new(Full::default())))
    }
}

/// Spells out the request's type, which `ServiceExt::ready` leaves open.
pub(crate) async fn ready<S>(service: &mut S) -> &mut S
where
    S: Service<Request<Empty<Bytes>>, Error = Infallible>,
{
    service.ready().await.unwrap()
}
