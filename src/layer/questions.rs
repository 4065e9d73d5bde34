//! The questions under way: at most one about each token, and so many in all.

use std::{
    collections::{HashMap, hash_map::Entry},
    future::Future,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{runtime::Handle, sync::oneshot, time::timeout};

use super::confirm::{Answer, Confirm};
use crate::{
    error::{Error, ErrorKind},
    lifetimes::Lifetimes,
    scope::{Id, Scope},
    telemetry,
};

/// [`Confirm`] without its type, so that the layer needs no parameter for it. Nothing on the hot
/// path goes through here.
pub(super) trait Store: Send + Sync {
    fn ask<'a>(&'a self, topic: &'a Topic) -> Asking<'a>;
}

type Asking<'a> = Pin<Box<dyn Future<Output = Result<Told, Error>> + Send + 'a>>;

impl<S: Confirm> Store for S {
    fn ask<'a>(&'a self, topic: &'a Topic) -> Asking<'a> {
        Box::pin(told(self, topic))
    }
}

async fn told(store: &impl Confirm, topic: &Topic) -> Result<Told, Error> {
    let answer = store.confirm(&topic.scopes).await?;
    let lives = match &topic.session {
        Some(Member { session, user, lifetimes }) => {
            Some(store.lives(session, user, *lifetimes).await?)
        }
        None => None,
    };
    Ok(Told { answer, lives })
}

/// What a store is asked about. Compared in full: tokens that share an answer have the same cut-offs,
/// and each is held against it by its own stamp and times.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Topic {
    pub(super) scopes: Vec<Scope>,
    /// The session that has to be alive.
    pub(super) session: Option<Member>,
}

/// A session, and whose it has to be.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Member {
    pub(super) session: Id,
    pub(super) user: Id,
    pub(super) lifetimes: Lifetimes,
}

/// What a store has said.
#[derive(Clone, Copy)]
pub(super) struct Told {
    pub(super) answer: Answer,
    /// Whether the session is alive, if that was asked.
    pub(super) lives: Option<bool>,
}

/// The store, and what it is being asked.
pub(super) struct Questions {
    store: Box<dyn Store>,
    at_most: usize,
    time_limit: Duration,
    open: Mutex<Open>,
}

/// Each question under way, and who waits for the *next* one.
type Open = HashMap<Arc<Topic>, Vec<Waiter>>;

/// A request that waits.
type Waiter = oneshot::Sender<Told>;

/// Resolves with the store's answer, or an error if there is none.
pub(super) type Waiting = oneshot::Receiver<Told>;

/// The store is being asked about as many tokens as may be.
pub(super) struct OverCapacity;

impl Questions {
    pub(super) fn new(store: Box<dyn Store>, at_most: usize, time_limit: Duration) -> Self {
        Self { store, at_most, time_limit, open: Mutex::default() }
    }

    pub(super) fn at_most(&self) -> usize {
        self.at_most
    }

    pub(super) fn time_limit(&self) -> Duration {
        self.time_limit
    }

    /// Waits for the next question about `topic`, which is sent after this call.
    pub(super) fn join(self: &Arc<Self>, topic: Topic) -> Result<Waiting, OverCapacity> {
        let (answer, waiting) = oneshot::channel();
        // Without a runtime nobody could ask: `answer` is dropped, and that is a failure.
        let Ok(runtime) = Handle::try_current() else { return Ok(waiting) };
        let topic = Arc::new(topic);
        {
            let mut open = self.open();
            let under_way = open.len();
            match open.entry(topic.clone()) {
                Entry::Occupied(mut entry) => {
                    entry.get_mut().push(answer);
                    return Ok(waiting);
                }
                Entry::Vacant(_) if under_way >= self.at_most => return Err(OverCapacity),
                Entry::Vacant(entry) => {
                    entry.insert(vec![answer]);
                }
            }
        }
        // Not under the lock: a runtime that is shutting down drops the task at once, and dropping
        // it takes the lock.
        runtime.spawn(Question { questions: self.clone(), topic, is_open: true }.ask());
        Ok(waiting)
    }

    /// Held for a look-up, never while the store is asked. Nothing that runs under it panics
    /// half-way.
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One entry of [`Open`]. However its task ends, by a panic in a store of somebody else's or with
/// the runtime, the entry goes with it, and whoever waits is told that there is no answer.
struct Question {
    questions: Arc<Questions>,
    topic: Arc<Topic>,
    /// Whether the entry is there.
    is_open: bool,
}

impl Question {
    /// Asks, as long as anybody waits.
    async fn ask(mut self) {
        while let Some(waiters) = self.next() {
            let Questions { store, time_limit, .. } = &*self.questions;
            match timeout(*time_limit, store.ask(&self.topic)).await {
                Ok(Ok(told)) => {
                    for waiter in waiters {
                        // An error: that client has gone away.
                        let _ = waiter.send(told);
                    }
                }
                Ok(Err(error)) => telemetry::confirmation_failed(&error),
                Err(late) => {
                    telemetry::confirmation_failed(&Error::new(ErrorKind::StoreTimeout, late));
                    // It hangs. Who has waited for the end of this does not wait as long again.
                    break;
                }
            }
        }
    }

    /// Whom the next question is for. From here on nobody joins it: it is about to be sent, and a
    /// request that arrives later might be judged by a snapshot older than itself.
    fn next(&mut self) -> Option<Vec<Waiter>> {
        let mut open = self.questions.open();
        let mut waiters = open.get_mut(&self.topic).map(mem::take).unwrap_or_default();
        waiters.retain(|waiter| !waiter.is_closed());
        if waiters.is_empty() {
            // Under the same lock, or somebody could join in between, and wait for nothing.
            open.remove(&self.topic);
            self.is_open = false;
            return None;
        }
        Some(waiters)
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if self.is_open {
            // To be dropped after the lock.
            let _nobody_asks = self.questions.open().remove(&self.topic);
        }
    }
}
