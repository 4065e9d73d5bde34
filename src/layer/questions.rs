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
    scope::Scope,
    telemetry,
};

/// [`Confirm`] without its type, so that the layer needs no parameter for it. Nothing on the hot
/// path goes through here.
pub(super) trait Store: Send + Sync {
    fn ask<'a>(&'a self, scopes: &'a [Scope]) -> Asking<'a>;
}

type Asking<'a> = Pin<Box<dyn Future<Output = Result<Answer, Error>> + Send + 'a>>;

impl<S: Confirm> Store for S {
    fn ask<'a>(&'a self, scopes: &'a [Scope]) -> Asking<'a> {
        Box::pin(self.confirm(scopes))
    }
}

/// The store, and what it is being asked.
pub(super) struct Questions {
    store: Box<dyn Store>,
    at_most: usize,
    time_limit: Duration,
    open: Mutex<Open>,
}

/// Each question under way, by all scopes of its token, and who waits for the *next* one. Compared
/// in full: tokens that share an answer have the same cut-offs, and each is held against it by its
/// own stamp and times.
type Open = HashMap<Arc<[Scope]>, Vec<Waiter>>;

/// A request that waits.
type Waiter = oneshot::Sender<Answer>;

/// Resolves with the store's answer, or an error if there is none.
pub(super) type Waiting = oneshot::Receiver<Answer>;

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

    /// Waits for the next question about a token in `scopes`, which is sent after this call.
    pub(super) fn join(self: &Arc<Self>, scopes: Vec<Scope>) -> Result<Waiting, OverCapacity> {
        let (answer, waiting) = oneshot::channel();
        // Without a runtime nobody could ask: `answer` is dropped, and that is a failure.
        let Ok(runtime) = Handle::try_current() else { return Ok(waiting) };
        let scopes: Arc<[Scope]> = scopes.into();
        {
            let mut open = self.open();
            let under_way = open.len();
            match open.entry(scopes.clone()) {
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
        runtime.spawn(Question { questions: self.clone(), scopes, is_open: true }.ask());
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
    scopes: Arc<[Scope]>,
    /// Whether the entry is there.
    is_open: bool,
}

impl Question {
    /// Asks, as long as anybody waits.
    async fn ask(mut self) {
        while let Some(waiters) = self.next() {
            let Questions { store, time_limit, .. } = &*self.questions;
            match timeout(*time_limit, store.ask(&self.scopes)).await {
                Ok(Ok(answer)) => {
                    for waiter in waiters {
                        // An error: that client has gone away.
                        let _ = waiter.send(answer);
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
        let mut waiters = open.get_mut(&self.scopes).map(mem::take).unwrap_or_default();
        waiters.retain(|waiter| !waiter.is_closed());
        if waiters.is_empty() {
            // Under the same lock, or somebody could join in between, and wait for nothing.
            open.remove(&self.scopes);
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
            let _nobody_asks = self.questions.open().remove(&self.scopes);
        }
    }
}
