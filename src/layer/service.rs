//! The middleware itself: header, verdict, inner service.

use std::{
    fmt,
    marker::PhantomData,
    mem,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use serde::de::DeserializeOwned;
use tower_service::Service;

use super::{
    ResponseBody, ResponseFuture,
    future::{Stopped, StoppedFor},
    layer::Settings,
    policy::Admitted,
    renewal::Renewable,
    ruling::{Ruling, ask_of_session, rule_in_doubt},
    successor::{After, Revival},
};
use crate::{
    clock::Reading,
    telemetry,
    verify::{Authentic, Checked, NoClaims, Rejection, Verified},
};

/// The middleware that [`RevocationLayer`](super::RevocationLayer) makes.
///
/// It answers refused requests itself, at once, without the inner service. For the others it calls
/// the very instance that [`poll_ready`](Service::poll_ready) made ready, so that limits and
/// buffers behind it hold. The check awaits nothing, and no clone is made.
///
/// The exceptions are requests that wait for the store's word, where the layer was told to ask it
/// [while stale](super::RevocationLayer::confirm_while_stale) or [in
/// doubt](super::RevocationLayer::confirm_doubtful), and those whose token has expired and is
/// [renewed](super::RevocationLayer::renew) first: they take the ready instance along and leave a
/// clone in its place. That is why the inner service is [`Clone`], as those of axum, tonic and hyper
/// are.
pub struct RevocationService<S, C = NoClaims> {
    inner: S,
    settings: Arc<Settings>,
    claims: PhantomData<fn() -> C>,
}

/// What becomes of a request that is not refused at once.
enum Entry<C> {
    Pass(Admitted<C>),
    /// It waits. In a box: the others need no room for it.
    Stop(Box<StoppedFor<C>>),
}

impl<S, C> RevocationService<S, C> {
    pub(super) fn new(inner: S, settings: Arc<Settings>) -> Self {
        Self { inner, settings, claims: PhantomData }
    }

    #[inline]
    fn check<B>(&self, request: &Request<B>) -> Result<Entry<C>, Rejection>
    where
        C: DeserializeOwned + Send + Sync + 'static,
    {
        let Settings { verifier, fresh_within, policy, sources, sessions, .. } = &*self.settings;
        let found = sources.find(request)?;
        let epochs = verifier.epochs();
        let now = epochs.clock().now();
        let form = || {
            telemetry::token_unknown();
            found.form()
        };
        let checked = verifier.check(found.token, form, now, *fresh_within)?;
        let ruling = match (checked, sessions) {
            // What nearly all of them come to, and what the rules would say.
            (Checked::Good(verified), None) => Ruling::Accept(verified),
            (checked, _) => {
                let renewable = |token: &_| self.settings.revivable(token, request, now);
                self.settings.rule(checked, now, renewable)?
            }
        };
        Ok(match ruling {
            Ruling::Accept(verified) => {
                Entry::Pass(policy.admit(verified, || epochs.store_clock(now))?)
            }
            Ruling::Wait(asked) => Entry::Stop(Box::new(StoppedFor::word(asked, None))),
            Ruling::Revive(token) => {
                let revival = Revival::begin(token, &self.settings);
                Entry::Stop(Box::new(StoppedFor::Successor(revival)))
            }
        })
    }
}

impl Settings {
    /// What becomes of a token of which the copy in memory has said this, at `now`. `renewable` says
    /// what there is to renew of it, if it has expired.
    #[inline]
    pub(super) fn rule<C>(
        &self,
        checked: Checked<C>,
        now: Reading,
        renewable: impl FnOnce(&Authentic<C>) -> Result<Box<Renewable>, Rejection>,
    ) -> Result<Ruling<C>, Rejection> {
        let Self { verifier, while_stale, in_doubt, sessions, .. } = self;
        let epochs = verifier.epochs();
        match (checked, sessions) {
            (Checked::Expired(token), _) => Ok(Ruling::Revive(renewable(&token)?)),
            (Checked::Good(verified), None) => Ok(Ruling::Accept(verified)),
            (Checked::Doubtful(token, age), None) => {
                // For the case that the store, whose clock is the exact one, finds it expired; as
                // below.
                let renewable = renewable(&token).ok();
                rule_in_doubt(in_doubt.as_ref(), token, age, epochs, renewable)
            }
            (Checked::Open(token, age), None) => {
                let renewable = renewable(&token).ok();
                while_stale.rule(token, age, epochs, now, renewable)
            }
            (Checked::Good(verified), Some(sessions)) => {
                let token = Authentic::again(verified);
                let renewable = renewable(&token).ok();
                ask_of_session(sessions, token, Duration::ZERO, epochs, renewable).map(Ruling::Wait)
            }
            (Checked::Doubtful(token, age) | Checked::Open(token, age), Some(sessions)) => {
                let renewable = renewable(&token).ok();
                ask_of_session(sessions, token, age, epochs, renewable).map(Ruling::Wait)
            }
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
        let stopped_for = match self.check(&request) {
            Ok(Entry::Pass(admitted)) => {
                let after = After::due(&self.settings, &admitted, &request);
                prove(&mut request, admitted);
                return ResponseFuture::inner(self.inner.call(request), after);
            }
            Ok(Entry::Stop(stopped_for)) => stopped_for,
            Err(Rejection::Missing) if self.settings.optional => {
                // What a layer outside of this one has found is not what this one lets through.
                request.extensions_mut().remove::<Verified<C>>();
                return ResponseFuture::inner(self.inner.call(request), None);
            }
            Err(rejection) => {
                return ResponseFuture::refused(
                    self.settings.refuse(&rejection, request.headers()),
                );
            }
        };
        let clone = self.inner.clone();
        ResponseFuture::stopped(Stopped {
            stopped_for: *stopped_for,
            settings: self.settings.clone(),
            service: mem::replace(&mut self.inner, clone),
            request,
        })
    }
}

/// Calls `service`, which is ready, with the proof.
pub(super) fn pass<S, C, B>(
    service: &mut S,
    mut request: Request<B>,
    admitted: Admitted<C>,
) -> S::Future
where
    S: Service<Request<B>>,
    C: Send + Sync + 'static,
{
    prove(&mut request, admitted);
    service.call(request)
}

/// Puts the proof where whatever is called next finds it.
#[inline]
fn prove<C: Send + Sync + 'static, B>(request: &mut Request<B>, admitted: Admitted<C>) {
    telemetry::accepted();
    request.extensions_mut().insert(admitted.into_inner());
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
