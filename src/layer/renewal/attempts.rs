//! One renewal for all requests that carry the same token.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use quick_cache::sync::Cache;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout,
};

use super::{
    Presenter, Renewable, Renewed,
    due::{Life, Thresholds},
    renew::DynRenew,
};
use crate::{
    clock::{Clock, Reading},
    cutoff::{Revoked, StoreTime},
    error::{Error, ErrorKind},
    scope::Id,
    telemetry,
    verify::Rejection,
};

/// How long after a renewal that came to nothing the next one is tried.
const PAUSE: Duration = Duration::from_secs(1);

/// What has become of a renewal.
#[derive(Clone, Debug)]
pub(in crate::layer) enum Outcome {
    Renewed(Arc<Renewed>),
    /// There is to be none. What that means for a token that has expired.
    Refused(Rejection),
    /// Nobody knows.
    Failed,
}

/// Resolves with the outcome, or an error if there is none.
pub(in crate::layer) type Waiting = oneshot::Receiver<Outcome>;

/// A renewal that a request has joined.
pub(in crate::layer) enum Joined {
    /// It has ended already, for another request.
    Known(Outcome),
    /// It is under way.
    Waiting(Waiting),
}

/// The renewals under way, and those of late.
pub(super) struct Attempts {
    pub(super) renew: Box<dyn DynRenew>,
    pub(super) time_limit: Duration,
    pub(super) thresholds: Thresholds,
    /// As many as may be under way.
    pub(super) room: Arc<Semaphore>,
    pub(super) recent: Cache<Key, Arc<Entry>>,
}

/// Who shares a renewal: the bearers of one token and, where the device has to be the same, from one
/// device. Another's must not get what was given to this one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    token: Id,
    /// Not every issuer takes care that an id is no other token's.
    session: Id,
    user: Id,
    presenter: Presenter,
}

impl Key {
    pub(super) fn of(token: &Renewable) -> Self {
        let Presenter { ip, user_agent } = token.presenter.clone();
        let ip = ip.filter(|_| token.same_ip);
        let user_agent = user_agent.filter(|_| token.same_user_agent);
        Self {
            token: token.token().clone(),
            session: token.session().clone(),
            user: token.user().clone(),
            presenter: Presenter { ip, user_agent },
        }
    }
}

/// What is known of a token.
#[derive(Default)]
pub(super) struct Entry {
    /// How many requests have presented it.
    requests: AtomicU32,
    state: Mutex<State>,
}

/// How far the renewal of a token is.
#[derive(Default)]
enum State {
    /// -> Running
    #[default]
    Idle,
    /// -> Ended; -> Idle if its task went away.
    Running(Vec<oneshot::Sender<Outcome>>),
    /// -> Running, once it is too long ago.
    Ended { outcome: Outcome, at: Reading },
}

impl Attempts {
    /// Counts a request with the token, and returns how many there were.
    pub(super) fn count(&self, key: &Key) -> u32 {
        // Whoever presents one 2^32 times within its life may be renewed late.
        self.entry(key).requests.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }

    /// Renews the token, unless that is under way, or was done of late.
    pub(super) fn join(self: &Arc<Self>, token: &Renewable, clock: &Clock) -> Joined {
        let entry = self.entry(&Key::of(token));
        let Ok(runtime) = Handle::try_current() else { return Joined::Known(Outcome::Failed) };
        let now = clock.now();
        let (told, waiting) = oneshot::channel();
        let permit = {
            let mut state = entry.state();
            match &mut *state {
                State::Running(waiters) => {
                    waiters.push(told);
                    return Joined::Waiting(waiting);
                }
                State::Ended { outcome, at } if self.holds(outcome, now.since(*at)) => {
                    telemetry::renewal("repeated");
                    return Joined::Known(outcome.clone());
                }
                State::Idle | State::Ended { .. } => {}
            }
            let Ok(permit) = self.room.clone().try_acquire_owned() else {
                telemetry::renewal("over_capacity");
                return Joined::Known(Outcome::Failed);
            };
            *state = State::Running(vec![told]);
            permit
        };
        let attempt = Attempt { entry, _permit: permit };
        // Not under the lock: a runtime that is shutting down drops the task at once, and dropping
        // it takes the lock.
        runtime.spawn(attempt.run(self.clone(), token.clone(), clock.clone()));
        Joined::Waiting(waiting)
    }

    /// What was done for the token of late is to be done again, if it came to `renewed`. What others
    /// have begun in its place meanwhile goes on.
    pub(super) fn forget(&self, token: &Renewable, renewed: &Arc<Renewed>) {
        let entry = self.entry(&Key::of(token));
        let mut state = entry.state();
        if matches!(&*state, State::Ended { outcome: Outcome::Renewed(known), .. } if Arc::ptr_eq(known, renewed))
        {
            *state = State::Idle;
        }
    }

    /// Whether an outcome of so long ago still stands: a successor until it is due itself.
    fn holds(&self, outcome: &Outcome, age: Duration) -> bool {
        match outcome {
            Outcome::Renewed(renewed) => {
                let length = renewed.expires_in();
                age < length && !self.thresholds.reached_by_age(Life { age, length })
            }
            Outcome::Refused(_) | Outcome::Failed => age < PAUSE,
        }
    }

    fn entry(&self, key: &Key) -> Arc<Entry> {
        if let Some(entry) = self.recent.get(key) {
            return entry;
        }
        let made = self
            .recent
            .get_or_insert_with(key, || Ok::<_, std::convert::Infallible>(Arc::default()));
        match made {
            Ok(entry) => entry,
            Err(never) => match never {},
        }
    }
}

impl Entry {
    /// Held for a look, never while the store is asked.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A renewal under way. However its task ends, by a panic in a [`Renew`](super::Renew) of somebody
/// else's or with the runtime, those who wait are told.
struct Attempt {
    entry: Arc<Entry>,
    _permit: OwnedSemaphorePermit,
}

impl Attempt {
    async fn run(self, attempts: Arc<Attempts>, token: Renewable, clock: Clock) {
        let outcome = match timeout(attempts.time_limit, attempts.renew.renew(&token)).await {
            Ok(Ok(renewed)) => Outcome::Renewed(Arc::new(renewed)),
            Ok(Err(error)) => refusal(&error).map_or(Outcome::Failed, Outcome::Refused),
            Err(late) => {
                telemetry::renewal_failed(&Error::new(ErrorKind::StoreTimeout, late));
                Outcome::Failed
            }
        };
        telemetry::renewal(match &outcome {
            Outcome::Renewed(_) => "renewed",
            Outcome::Refused(rejection) => rejection.reason(),
            Outcome::Failed => "failed",
        });
        let ended = State::Ended { outcome: outcome.clone(), at: clock.now() };
        let before = mem::replace(&mut *self.entry.state(), ended);
        if let State::Running(waiters) = before {
            for waiter in waiters {
                // An error: that client has gone away.
                let _ = waiter.send(outcome.clone());
            }
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let mut state = self.entry.state();
        if matches!(&*state, State::Running(_)) {
            *state = State::Idle;
        }
    }
}

/// What a failure means for a token that has expired; `None` if it says nothing about the token.
fn refusal(error: &Error) -> Option<Rejection> {
    match error.kind() {
        ErrorKind::SessionEnded => Some(Rejection::SessionEnded),
        ErrorKind::AccountRefused => Some(Rejection::AccountRefused),
        // Its own clients hold a refresh token, perhaps.
        ErrorKind::DeviceDiffers | ErrorKind::PartyDiffers => Some(Rejection::Expired),
        ErrorKind::TokenRevoked(demand) => {
            // Which cut-off it was is not told, and memory has not heard of it yet.
            let revoked_before = StoreTime::ZERO;
            Some(Rejection::Revoked(Revoked { demand, scope: None, revoked_before }))
        }
        _ => {
            telemetry::renewal_failed(error);
            None
        }
    }
}
