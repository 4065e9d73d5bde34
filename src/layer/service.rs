//! The middleware itself: header, verdict, inner service.

use std::{
    fmt,
    marker::PhantomData,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use serde::de::DeserializeOwned;
use tower_service::Service;

use super::{ResponseBody, ResponseFuture, extract, grpc, layer::Settings};
use crate::{
    telemetry,
    verify::{NoClaims, Rejection, Verified},
};

/// The middleware that [`RevocationLayer`](super::RevocationLayer) makes.
///
/// It answers refused requests itself, at once, without the inner service. For the others it calls
/// the very instance that [`poll_ready`](Service::poll_ready) made ready, so that limits and
/// buffers behind it hold: the check awaits nothing, and no clone is needed.
pub struct RevocationService<S, C = NoClaims> {
    inner: S,
    settings: Arc<Settings>,
    claims: PhantomData<fn() -> C>,
}

impl<S, C> RevocationService<S, C> {
    pub(super) fn new(inner: S, settings: Arc<Settings>) -> Self {
        Self { inner, settings, claims: PhantomData }
    }

    fn check<B>(&self, request: &Request<B>) -> Result<Verified<C>, Rejection>
    where
        C: DeserializeOwned,
    {
        let token = extract::bearer(request.headers(), request.uri().query())?;
        self.settings.verifier.verify(token)
    }
}

impl<S, C, ReqBody, ResBody> Service<Request<ReqBody>> for RevocationService<S, C>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    C: DeserializeOwned + Send + Sync + 'static,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        match self.check(&request) {
            Ok(verified) => {
                telemetry::accepted();
                request.extensions_mut().insert(verified);
                ResponseFuture::inner(self.inner.call(request))
            }
            Err(Rejection::Missing) if self.settings.optional => {
                // What a layer outside of this one has found is not what this one lets through.
                request.extensions_mut().remove::<Verified<C>>();
                ResponseFuture::inner(self.inner.call(request))
            }
            Err(rejection) => {
                telemetry::refused(rejection.reason(), &rejection);
                let grpc = grpc::is_grpc(request.headers());
                ResponseFuture::refused(self.settings.refuse(&rejection, grpc))
            }
        }
    }
}

// By hand, as derives would ask for the same of `C`.
impl<S: Clone, C> Clone for RevocationService<S, C> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.settings.clone())
    }
}

impl<S: fmt::Debug, C> fmt::Debug for RevocationService<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationService")
            .field("inner", &self.inner)
            .field("settings", &self.settings)
            .finish()
    }
}
