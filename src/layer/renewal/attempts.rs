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

/// How long after a renewal that failed, or was refused for now, the next one is tried.
const PAUSE: Duration = Duration::from_secs(1);

/// The same for one that was refused for good: a session that has ended does not come back. (A cut-off
/// may be cleared.)
const LONG_PAUSE: Duration = Duration::from_secs(60);

/// From how many devices a token may be presented, where the device has to be the same, within a pause.
const DEVICES: usize = 4;

/// What a renewal may take in all, however long ago the requests that waited for it were answered.
const LONGEST: Duration = Duration::from_secs(60);

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

/// A token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    token: Id,
    /// Not every issuer takes care that an id is no other token's.
    session: Id,
    user: Id,
}

impl Key {
    pub(super) fn of(token: &Renewable) -> Self {
        Self {
            token: token.token().clone(),
            session: token.session().clone(),
            user: token.user().clone(),
        }
    }
}

/// What is known of a token.
#[derive(Default)]
pub(super) struct Entry {
    /// How many requests have presented it.
    requests: AtomicU32,
    /// At most [`DEVICES`].
    renewals: Mutex<Vec<Attempted>>,
}

/// A renewal, shared by the bearers of one token and, where the device has to be the same, from one
/// device: another's must not get what was given to this one.
struct Attempted {
    device: Presenter,
    state: State,
}

/// How far a renewal is.
enum State {
    /// -> Late, Ended; gone if its task went away.
    Running(Vec<oneshot::Sender<Outcome>>),
    /// Those who waited were told that it failed. -> Ended; gone if its task went away.
    Late,
    /// -> Running, once it is too long ago.
    Ended { outcome: Outcome, at: Reading },
}

/// The device that a renewal is for: nobody's, where any will do.
fn device(token: &Renewable) -> Presenter {
    let Presenter { ip, user_agent } = token.presenter.clone();
    Presenter {
        ip: ip.filter(|_| token.same_ip),
        user_agent: user_agent.filter(|_| token.same_user_agent),
    }
}

impl Attempts {
    /// Counts a request with the token, and returns how many there were.
    pub(super) fn count(&self, key: &Key) -> u32 {
        // Whoever presents one 2^32 times within its life may be renewed late.
        self.entry(key).requests.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }

    /// Renews the token, unless that is under way, or was done of late.
    pub(super) fn join(self: &Arc<Self>, token: &Renewable, clock: &Clock) -> Joined {
        let failed = Joined::Known(Outcome::Failed);
        let (entry, device) = (self.entry(&Key::of(token)), device(token));
        let Ok(runtime) = Handle::try_current() else { return failed };
        let (told, waiting) = oneshot::channel();
        let permit = {
            let now = clock.now();
            let mut renewals = entry.renewals();
            let stands = |attempted: &Attempted| match &attempted.state {
                State::Running(_) | State::Late => true,
                State::Ended { outcome, at } => self.holds(outcome, now.since(*at)),
            };
            renewals.retain(stands);
            let known = renewals.iter_mut().find(|attempted| attempted.device == device);
            match known.map(|attempted| &mut attempted.state) {
                Some(State::Running(waiters)) => {
                    waiters.push(told);
                    return Joined::Waiting(waiting);
                }
                Some(State::Late) => return failed,
                Some(State::Ended { outcome, .. }) => {
                    telemetry::renewal("repeated");
                    return Joined::Known(outcome.clone());
                }
                None => {}
            }
            let permit = self.room.clone().try_acquire_owned();
            let Some(permit) = permit.ok().filter(|_| renewals.len() < DEVICES) else {
                telemetry::renewal("over_capacity");
                return failed;
            };
            let state = State::Running(vec![told]);
            renewals.push(Attempted { device: device.clone(), state });
            permit
        };
        let attempt = Attempt { entry, device, _permit: permit };
        // Not under the lock: a runtime that is shutting down drops the task at once, and dropping
        // it takes the lock.
        runtime.spawn(attempt.run(self.clone(), token.clone(), clock.clone()));
        Joined::Waiting(waiting)
    }

    /// What was done for the token of late is to be done again, if it came to `renewed`. What others
    /// have begun in its place meanwhile goes on.
    pub(super) fn forget(&self, token: &Renewable, renewed: &Arc<Renewed>) {
        let entry = self.entry(&Key::of(token));
        entry.renewals().retain(|attempted| match &attempted.state {
            State::Ended { outcome: Outcome::Renewed(known), .. } => !Arc::ptr_eq(known, renewed),
            _ => true,
        });
    }

    /// Whether an outcome of so long ago still stands: a successor until it is due itself.
    fn holds(&self, outcome: &Outcome, age: Duration) -> bool {
        match outcome {
            Outcome::Renewed(renewed) => {
                let length = renewed.expires_in();
                age < length && !self.thresholds.reached_by_age(Life { age, length })
            }
            Outcome::Refused(Rejection::SessionEnded | Rejection::Revoked(_)) => age < LONG_PAUSE,
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
    fn renewals(&self) -> MutexGuard<'_, Vec<Attempted>> {
        self.renewals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A renewal under way. However its task ends, by a panic in a [`Renew`](super::Renew) of somebody
/// else's or with the runtime, those who wait are told.
struct Attempt {
    entry: Arc<Entry>,
    device: Presenter,
    /// For as long as the store works on it.
    _permit: OwnedSemaphorePermit,
}

impl Attempt {
    async fn run(self, attempts: Arc<Attempts>, token: Renewable, clock: Clock) {
        let mut renewing = attempts.renew.renew(&token);
        let outcome = match timeout(attempts.time_limit, &mut renewing).await {
            Ok(renewed) => outcome(renewed),
            Err(late) => {
                telemetry::renewal_failed(&Error::new(ErrorKind::StoreTimeout, late));
                telemetry::renewal("failed");
                self.tell(State::Late, &Outcome::Failed);
                // Dropping it would not keep the store from renewing. What comes of it is for those
                // who come later.
                match timeout(LONGEST, renewing).await {
                    Ok(renewed) => outcome(renewed),
                    Err(_) => return,
                }
            }
        };
        telemetry::renewal(match &outcome {
            Outcome::Renewed(_) => "renewed",
            Outcome::Refused(rejection) => rejection.reason(),
            Outcome::Failed => "failed",
        });
        self.tell(State::Ended { outcome: outcome.clone(), at: clock.now() }, &outcome);
    }

    /// Goes on to `next`, and tells those who wait what to make of it.
    fn tell(&self, next: State, outcome: &Outcome) {
        let before = {
            let mut renewals = self.entry.renewals();
            let own = renewals.iter_mut().find(|attempted| attempted.device == self.device);
            own.map(|attempted| mem::replace(&mut attempted.state, next))
        };
        let Some(State::Running(waiters)) = before else { return };
        for waiter in waiters {
            // An error: that client has gone away.
            let _ = waiter.send(outcome.clone());
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let ended = |state: &State| matches!(state, State::Ended { .. });
        self.entry
            .renewals()
            .retain(|attempted| attempted.device != self.device || ended(&attempted.state));
    }
}

fn outcome(renewed: Result<Renewed, Error>) -> Outcome {
    match renewed {
        Ok(renewed) => Outcome::Renewed(Arc::new(renewed)),
        Err(error) => refusal(&error).map_or(Outcome::Failed, Outcome::Refused),
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
