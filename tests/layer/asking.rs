//! A layer whose copy is stale, and a store that answers when the test says so.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt, Empty, Full};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};
use tower::{ServiceBuilder, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_revocation::{
    Verified,
    cutoff::{CutOff, Demand, StoreTime},
    error::{Error, ErrorKind},
    layer::{Answer, Confirm, Confirmations, ConfirmationsBuilder, ResponseBody, RevocationLayer},
    scope::Scope,
};

use crate::gate::{Gate, NOW};

pub(crate) const OK: StatusCode = StatusCode::OK;
pub(crate) const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;
pub(crate) const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

/// A store that hands its questions to the test.
#[derive(Clone)]
pub(crate) struct Store(pub(crate) mpsc::UnboundedSender<Asked>);

/// A question that was sent. Dropped, it is answered with a failure.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) scopes: Vec<Scope>,
    pub(crate) answer: oneshot::Sender<Answer>,
}

impl Confirm for Store {
    async fn confirm(&self, scopes: &[Scope]) -> Result<Answer, Error> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Asked { scopes: scopes.to_vec(), answer }).unwrap();
        answered.await.map_err(|_| ErrorKind::Store.into())
    }
}

impl Asked {
    pub(crate) fn nothing_against_it(self) {
        self.cut_off(CutOff::NONE);
    }

    pub(crate) fn cut_off(self, cut_off: CutOff) {
        let clock = Duration::from_secs(NOW + 11);
        self.answers(Answer { cut_off, clock, newest: StoreTime::MAX });
    }

    pub(crate) fn answers(self, answer: Answer) {
        let _ = self.answer.send(answer);
    }
}

/// A cut-off that covers tokens issued at least so many seconds ago.
pub(crate) fn seconds_ago(seconds: u64, demand: Demand) -> CutOff {
    CutOff::at(StoreTime::from_micros((NOW - seconds) * 1_000_000), demand)
}

pub(crate) type Protected =
    BoxCloneSyncService<Request<Empty<Bytes>>, Response<ResponseBody<Full<Bytes>>>, Infallible>;

/// A service whose copy is stale, and the questions that it sends.
pub(crate) struct Stale {
    pub(crate) gate: Gate,
    pub(crate) layer: RevocationLayer,
    pub(crate) asked: mpsc::UnboundedReceiver<Asked>,
}

impl Stale {
    pub(crate) fn new() -> Self {
        Self::with(|settings| settings)
    }

    pub(crate) fn with(
        settings: impl FnOnce(ConfirmationsBuilder) -> ConfirmationsBuilder,
    ) -> Self {
        let gate = Gate::open();
        gate.clock.advance(Duration::from_secs(11));
        let (store, asked) = mpsc::unbounded_channel();
        let confirmations = settings(Confirmations::builder(Store(store))).build().unwrap();
        let layer = RevocationLayer::new(gate.verifier.clone()).confirm_while_stale(confirmations);
        Self { gate, layer, asked }
    }

    /// One that is not stale, but in doubt: its copy is in so many buckets.
    pub(crate) fn in_doubt(buckets: u32) -> Self {
        let gate = Gate::with(|settings| settings.buckets(buckets), |rules| rules);
        gate.sync();
        let (store, asked) = mpsc::unbounded_channel();
        let layer = RevocationLayer::new(gate.verifier.clone())
            .confirm_doubtful(Confirmations::new(Store(store)));
        Self { gate, layer, asked }
    }

    /// Others, whose questions are the next ones here.
    pub(crate) fn confirmations(&mut self) -> Confirmations {
        let (store, asked) = mpsc::unbounded_channel();
        self.asked = asked;
        Confirmations::new(Store(store))
    }

    /// A request with this token, on its way in a task of its own.
    pub(crate) fn ask(&self, token: &str) -> Client {
        ask(&protected(self.layer.clone()), token)
    }

    /// The next question that the store gets.
    pub(crate) async fn question(&mut self) -> Asked {
        let question = timeout(Duration::from_secs(10), self.asked.recv()).await;
        question.expect("the store was not asked").unwrap()
    }

    /// Lets everything go on that can, and finds that the store is asked nothing.
    pub(crate) async fn no_question(&mut self) {
        settle().await;
        assert!(self.asked.try_recv().is_err(), "the store was asked");
    }
}

/// What answers with the name of the caller.
pub(crate) fn protected(layer: RevocationLayer) -> Protected {
    let who = async |request: Request<Empty<Bytes>>| {
        let caller = request.extensions().get::<Verified>();
        let name = caller.map_or("nobody", |caller| caller.subject()).to_owned();
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(name)))
    };
    BoxCloneSyncService::new(ServiceBuilder::new().layer(layer).service(service_fn(who)))
}

pub(crate) fn ask(service: &Protected, token: &str) -> Client {
    let request = Request::get("/").header(AUTHORIZATION, format!("Bearer {token}"));
    let request = request.body(Empty::new()).unwrap();
    Client(tokio::spawn(service.clone().oneshot(request)))
}

/// Whoever waits for a response. Goes away when told to.
pub(crate) struct Client(
    pub(crate) JoinHandle<Result<Response<ResponseBody<Full<Bytes>>>, Infallible>>,
);

impl Client {
    /// The status, and the caller's name or the kind of the problem.
    pub(crate) async fn told(self) -> (StatusCode, String) {
        let response = timeout(Duration::from_secs(10), self.0).await.expect("no response");
        let response = response.unwrap().unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        if status == OK {
            return (status, String::from_utf8(body.to_vec()).unwrap());
        }
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let kind = problem["type"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
        (status, kind)
    }

    pub(crate) async fn status(self) -> StatusCode {
        self.told().await.0
    }

    pub(crate) async fn goes_away(self) {
        self.0.abort();
        assert!(self.0.await.unwrap_err().is_cancelled(), "it had its response already");
    }

    pub(crate) fn is_waiting(&self) -> bool {
        !self.0.is_finished()
    }
}

/// Lets every task run until it can do no more.
pub(crate) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

pub(crate) fn told(status: StatusCode, what: &str) -> (StatusCode, String) {
    (status, what.to_owned())
}
