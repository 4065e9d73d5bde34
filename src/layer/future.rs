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
use tower_service::Service;

use super::{ResponseBody, layer::Settings, questions::Waiting, service::pass, stale::Question};
use crate::epochs::StoreClock;

pin_project! {
    /// The future of [`RevocationService`](super::RevocationService): the inner service's, or a
    /// refusal that is ready at once. While the copy of the revocations is stale, and if the layer
    /// was told to ask the store then, it first waits for the answer.
    ///
    /// Dropping it cancels the inner service's. It cancels no question: others may wait for that.
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
        Inner { #[pin] future: S::Future },
        // `None` once it was handed out.
        Refused { response: Option<Response<Bytes>> },
        // In a box: the others need no room for it. `None` once it goes on.
        Waiting { request: Option<Box<WaitingRequest<S, C, B>>> },
    }
}

/// A request that waits for what the store says about its token.
pub(super) struct WaitingRequest<S, C, B> {
    pub(super) waiting: Waiting,
    pub(super) question: Question<C>,
    pub(super) settings: Arc<Settings>,
    /// The one that was made ready.
    pub(super) service: S,
    pub(super) request: Request<B>,
}

impl<S, C, B> ResponseFuture<S, C, B>
where
    S: Service<Request<B>>,
{
    pub(super) fn inner(future: S::Future) -> Self {
        Self { state: State::Inner { future } }
    }

    pub(super) fn refused(response: Response<Bytes>) -> Self {
        Self { state: State::Refused { response: Some(response) } }
    }

    pub(super) fn waiting(request: WaitingRequest<S, C, B>) -> Self {
        Self { state: State::Waiting { request: Some(Box::new(request)) } }
    }
}

impl<S, C, ReqBody, ResBody> Future for ResponseFuture<S, C, ReqBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    C: Send + Sync + 'static,
{
    type Output = Result<Response<ResponseBody<ResBody>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        const AGAIN: &str = "a future is not polled after it was ready";
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Inner { future } => {
                    let response = ready!(future.poll(cx))?;
                    return Poll::Ready(Ok(response.map(ResponseBody::inner)));
                }
                StateProj::Refused { response } => {
                    let response = response.take().expect(AGAIN);
                    return Poll::Ready(Ok(response.map(ResponseBody::refusal)));
                }
                // -> Inner, Refused
                StateProj::Waiting { request } => {
                    let answer = Pin::new(&mut request.as_mut().expect(AGAIN).waiting);
                    let answer = ready!(answer.poll(cx)).ok();
                    let WaitingRequest { question, settings, mut service, request, .. } =
                        *request.take().expect(AGAIN);
                    // The store's own word; the copy's clock is as old as the copy.
                    let clock = answer.map(|answer| StoreClock::exactly(answer.clock));
                    let admitted = question
                        .rule(answer)
                        .and_then(|verified| settings.policy.admit(verified, || clock));
                    match admitted {
                        Ok(admitted) => {
                            State::Inner { future: pass(&mut service, request, admitted) }
                        }
                        Err(rejection) => {
                            let response = settings.refuse(&rejection, request.headers());
                            State::Refused { response: Some(response) }
                        }
                    }
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
            State::Waiting { .. } => "ResponseFuture(waiting)",
        })
    }
}
