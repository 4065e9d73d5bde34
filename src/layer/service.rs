//! The middleware itself: header, verdict, inner service.

use std::{
    fmt,
    marker::PhantomData,
    mem,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use serde::de::DeserializeOwned;
use tower_service::Service;

use super::{
    ResponseBody, ResponseFuture, extract,
    future::WaitingRequest,
    layer::Settings,
    stale::{self, Ruling},
};
use crate::{
    telemetry,
    verify::{Checked, NoClaims, Rejection, Verified},
};

/// The middleware that [`RevocationLayer`](super::RevocationLayer) makes.
///
/// It answers refused requests itself, at once, without the inner service. For the others it calls
/// the very instance that [`poll_ready`](Service::poll_ready) made ready, so that limits and
/// buffers behind it hold. The check awaits nothing, and no clone is made.
///
/// The exception is a request that waits for the store's word, where the layer was told to ask it
/// [while stale](super::RevocationLayer::confirm_while_stale) or [in
/// doubt](super::RevocationLayer::confirm_doubtful): it takes the ready instance
/// along and leaves a clone in its place. That is why the inner service is [`Clone`], as those of
/// axum, tonic and hyper are.
pub struct RevocationService<S, C = NoClaims> {
    inner: S,
    settings: Arc<Settings>,
    claims: PhantomData<fn() -> C>,
}

impl<S, C> RevocationService<S, C> {
    pub(super) fn new(inner: S, settings: Arc<Settings>) -> Self {
        Self { inner, settings, claims: PhantomData }
    }

    fn check<B>(&self, request: &Request<B>) -> Result<Ruling<C>, Rejection>
    where
        C: DeserializeOwned,
    {
        let Settings { verifier, fresh_within, while_stale, in_doubt, .. } = &*self.settings;
        let token = extract::bearer(request.headers(), request.uri().query())?;
        let now = verifier.epochs().clock().now();
        match verifier.check(token, now, *fresh_within)? {
            Checked::Good(verified) => Ok(Ruling::Accept(verified)),
            Checked::Doubtful(token, age) => {
                stale::rule_in_doubt(in_doubt.as_ref(), token, age, verifier.epochs())
            }
            Checked::Open(token, age) => while_stale.rule(token, age, verifier.epochs(), now),
        }
    }
}

impl<S, C, ReqBody, ResBody> Service<Request<ReqBody>> for RevocationService<S, C>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    C: DeserializeOwned + Send + Sync + 'static,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, C, ReqBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        match self.check(&request) {
            Ok(Ruling::Accept(verified)) => {
                ResponseFuture::inner(pass(&mut self.inner, request, verified))
            }
            Ok(Ruling::Wait(waiting, question)) => {
                let clone = self.inner.clone();
                ResponseFuture::waiting(WaitingRequest {
                    waiting,
                    question,
                    settings: self.settings.clone(),
                    service: mem::replace(&mut self.inner, clone),
                    request,
                })
            }
            Err(Rejection::Missing) if self.settings.optional => {
                // What a layer outside of this one has found is not what this one lets through.
                request.extensions_mut().remove::<Verified<C>>();
                ResponseFuture::inner(self.inner.call(request))
            }
            Err(rejection) => {
                ResponseFuture::refused(self.settings.refuse(&rejection, request.headers()))
            }
        }
    }
}

/// Calls `service`, which is ready, with the proof.
pub(super) fn pass<S, C, B>(
    service: &mut S,
    mut request: Request<B>,
    verified: Verified<C>,
) -> S::Future
where
    S: Service<Request<B>>,
    C: Send + Sync + 'static,
{
    telemetry::accepted();
    request.extensions_mut().insert(verified);
    service.call(request)
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
