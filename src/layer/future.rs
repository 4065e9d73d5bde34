//! The future of a response.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use serde::de::DeserializeOwned;
use tower_service::Service;

use super::{
    ResponseBody,
    layer::Settings,
    policy::Admitted,
    questions::Waiting,
    renewal::Renewed,
    ruling::{Asked, Question, Ruling, Word},
    service::pass,
    successor::{After, HandingOut, Revival},
};
use crate::{epochs::StoreClock, verify::Rejection};

pin_project! {
    /// The future of [`RevocationService`](super::RevocationService): the inner service's, or a
    /// refusal that is ready at once. If the layer was told to ask the store while the copy of the
    /// revocations is stale, or to renew tokens, it waits for that where it has to: before the inner
    /// service is called, or with its response in hand.
    ///
    /// Dropping it cancels the inner service's. It cancels no question and no renewal: others may wait
    /// for that.
    pub struct ResponseFuture<S, C, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, C, B>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, C, B>
    where
        S: Service<Request<B>>,
    {
        Inner { #[pin] future: S::Future, after: Option<Box<After>> },
        // In boxes, here and below: the future is moved, and the others need no room for it. `None` once
        // it was handed out.
        Refused { response: Option<Box<Response<Bytes>>> },
        Stopped { request: Option<Box<Stopped<S, C, B>>> },
        Answered { response: Option<Box<(S::Response, HandingOut)>> },
    }
}

/// A request on its way to the inner service that waits.
pub(super) struct Stopped<S, C, B> {
    pub(super) stopped_for: StoppedFor<C>,
    pub(super) settings: Arc<Settings>,
    /// The one that was made ready.
    pub(super) service: S,
    pub(super) request: Request<B>,
}

/// What a request waits for.
pub(super) enum StoppedFor<C> {
    /// What the store says about its token, or about the successor. -> Successor
    Word { waiting: Waiting, question: Option<Question<C>>, successor: Option<Arc<Renewed>> },
    /// A token in the place of its own, which has expired. -> Word, about the session of that
    Successor(Revival),
}

/// What the inner service may be called with, and what there is to do after it.
type Resolved<C> = (Admitted<C>, Then);

/// What there is to do after the inner service.
enum Then {
    /// To renew the token, if it is due.
    RenewIfDue,
    /// To renew it, due or not.
    Restamp,
    /// To hand out what it was renewed to.
    HandOut(Arc<Renewed>),
}

impl<C: DeserializeOwned + Send + Sync + 'static> StoppedFor<C> {
    pub(super) fn word((waiting, question): Asked<C>, successor: Option<Arc<Renewed>>) -> Self {
        Self::Word { waiting, question: Some(question), successor }
    }

    fn poll(
        &mut self,
        settings: &Settings,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Resolved<C>, Rejection>> {
        loop {
            match self {
                Self::Word { waiting, question, successor } => {
                    let told = ready!(Pin::new(waiting).poll(cx)).ok();
                    // The store's own word; the copy's clock is as old as the copy.
                    let clock = told.map(|told| StoreClock::exactly(told.answer.clock));
                    let (verified, then) = match question.take().expect(AGAIN).rule(told) {
                        Ok(Word::Accept(verified)) => (verified, Then::RenewIfDue),
                        Ok(Word::AcceptAndRestamp(verified)) => (verified, Then::Restamp),
                        Ok(Word::Revive(token)) => {
                            *self = Self::Successor(Revival::begin(token, settings));
                            continue;
                        }
                        Err(rejection) => return Poll::Ready(Err(rejection)),
                    };
                    let then = successor.take().map_or(then, Then::HandOut);
                    let admitted = settings.policy.admit(verified, || clock);
                    return Poll::Ready(admitted.map(|admitted| (admitted, then)));
                }
                Self::Successor(revival) => {
                    let (checked, renewed) = match ready!(revival.poll(settings, cx)) {
                        Ok(revived) => revived,
                        Err(rejection) => return Poll::Ready(Err(rejection)),
                    };
                    let epochs = settings.verifier.epochs();
                    let now = epochs.clock().now();
                    // One that was minted for a request before proves nothing about now: it is ruled
                    // on as if a request had brought it, but that it is not renewed itself.
                    let again = |_: &_| Err(Rejection::NotRenewed);
                    let verified = match settings.rule(checked, now, again) {
                        Ok(Ruling::Accept(verified)) => verified,
                        Ok(Ruling::Wait(asked)) => {
                            *self = Self::word(asked, Some(renewed));
                            continue;
                        }
                        Ok(Ruling::Revive(_)) => return Poll::Ready(Err(Rejection::NotRenewed)),
                        Err(rejection) => return Poll::Ready(Err(rejection)),
                    };
                    let clock = || epochs.store_clock(now);
                    let admitted = settings.policy.admit(verified, clock);
                    let then = Then::HandOut(renewed);
                    return Poll::Ready(admitted.map(|admitted| (admitted, then)));
                }
            }
        }
    }
}

const AGAIN: &str = "a future is not polled after it was ready";

impl<S, C, B> ResponseFuture<S, C, B>
where
    S: Service<Request<B>>,
{
    pub(super) fn inner(future: S::Future, after: Option<Box<After>>) -> Self {
        Self { state: State::Inner { future, after } }
    }

    pub(super) fn refused(response: Response<Bytes>) -> Self {
        Self { state: State::Refused { response: Some(Box::new(response)) } }
    }

    pub(super) fn stopped(request: Stopped<S, C, B>) -> Self {
        Self { state: State::Stopped { request: Some(Box::new(request)) } }
    }
}

impl<S, C, B> Stopped<S, C, B>
where
    S: Service<Request<B>>,
    C: DeserializeOwned + Send + Sync + 'static,
{
    /// Where it goes now that nothing holds it up.
    fn go_on(self, resolved: Result<Resolved<C>, Rejection>) -> State<S, C, B> {
        let Self { settings, mut service, request, .. } = self;
        match resolved {
            Ok((admitted, then)) => {
                let after = match then {
                    Then::RenewIfDue => After::due(&settings, &admitted, &request),
                    Then::Restamp => After::restamp(&settings, &admitted, &request),
                    Then::HandOut(renewed) => Some(After::hand_out(settings, renewed, &request)),
                };
                State::Inner { future: pass(&mut service, request, admitted), after }
            }
            Err(rejection) => {
                let response = settings.refuse(&rejection, request.headers());
                State::Refused { response: Some(Box::new(response)) }
            }
        }
    }
}

impl<S, C, ReqBody, ResBody> Future for ResponseFuture<S, C, ReqBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    C: DeserializeOwned + Send + Sync + 'static,
{
    type Output = Result<Response<ResponseBody<ResBody>>, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                // -> Answered
                StateProj::Inner { future, after } => {
                    let response = ready!(future.poll(cx))?;
                    match after.take().and_then(|after| after.answered(&response)) {
                        None => return Poll::Ready(Ok(response.map(ResponseBody::inner))),
                        Some(handing_out) => {
                            State::Answered { response: Some(Box::new((response, handing_out))) }
                        }
                    }
                }
                StateProj::Refused { response } => {
                    let response = *response.take().expect(AGAIN);
                    return Poll::Ready(Ok(response.map(ResponseBody::refusal)));
                }
                // -> Inner, Refused
                StateProj::Stopped { request } => {
                    let stopped = request.as_mut().expect(AGAIN);
                    let resolved = ready!(stopped.stopped_for.poll(&stopped.settings, cx));
                    let request = *request.take().expect(AGAIN);
                    request.go_on(resolved)
                }
                StateProj::Answered { response } => {
                    let (answer, handing_out) = &mut **response.as_mut().expect(AGAIN);
                    ready!(handing_out.poll::<C, _>(answer, cx));
                    let (answer, _) = *response.take().expect(AGAIN);
                    return Poll::Ready(Ok(answer.map(ResponseBody::inner)));
                }
            };
            state.set(next);
        }
    }
}

impl<S, C, B> fmt::Debug for ResponseFuture<S, C, B>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Inner { .. } => "ResponseFuture(inner)",
            State::Refused { .. } => "ResponseFuture(refused)",
            State::Stopped { .. } => "ResponseFuture(stopped)",
            State::Answered { .. } => "ResponseFuture(answered)",
        })
    }
}
