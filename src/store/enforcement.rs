//! Waiting until a revocation is enforced everywhere.

use std::{collections::HashMap, time::Duration};

use tokio::{
    task::yield_now,
    time::{Instant, sleep, timeout},
};

use super::{Enlisted, EpochStore, Instance, Roster};
use crate::{
    cutoff::{Receipt, StoreTime},
    error::{Error, ErrorKind},
    scope::Id,
    telemetry,
};

/// So many looks at who has acknowledged follow one another at once: where all are well, that is all it
/// takes.
const LOOKS_AT_ONCE: u32 = 8;

/// Between two looks after those: an eighth of the time that it has taken so far, so that
/// nobody waits for much longer than they have to, and not less or more than this.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// How much slower than another's a clock may run, both together: one part in so many.
const DRIFT: u32 = 500;

/// The store may take so long to tell the instances, however short the wait is to be.
const ROSTER_WAIT: Duration = Duration::from_secs(2);

/// How far a revocation is enforced: what [`Receipt::enforced_everywhere`] has found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "it may be enforced by some and not by others"]
#[non_exhaustive]
pub struct Enforcement {
    /// Every instance that had enlisted when this was asked.
    pub instances: Vec<Enforced>,
}

/// How far a revocation is enforced by one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Enforced {
    /// Who it is.
    pub instance: Instance,
    /// Every cut-off up to here was in force there when it was last looked.
    pub applied: StoreTime,
    /// Why no covered token is accepted there any more, or that this is not known.
    pub how: How,
    /// How long after the question that was known; or, of one that is silent, for how long its
    /// acknowledgement has been waited for.
    pub lag: Duration,
}

/// Why an instance accepts no covered token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum How {
    /// It has acknowledged that the revocation is in force there.
    Acknowledged,
    /// It was silent for as long as its copy may be old: it refuses everything by itself until it
    /// has caught up.
    Outwaited,
    /// It was silent, and its copy may still be young enough to accept a covered token.
    Silent,
}

impl Enforcement {
    /// Whether no instance accepts a covered token in a check that starts from now on.
    pub fn is_everywhere(&self) -> bool {
        self.instances.iter().all(|enforced| enforced.how != How::Silent)
    }

    /// Those that have not acknowledged: they were outwaited, or may still accept a covered token.
    pub fn unacknowledged(&self) -> impl Iterator<Item = &Enforced> {
        self.instances.iter().filter(|enforced| enforced.how != How::Acknowledged)
    }
}

impl Receipt {
    /// Waits until the revocation is enforced by every instance of the fleet, or for `timeout`.
    ///
    /// An instance enforces it once it has acknowledged it, which takes milliseconds; or, if it is
    /// silent, once its copy is too old to accept anything: its bound has passed, `max_staleness` and
    /// whatever a layer trusts a stale copy for, on the monotonic clock here, counted from this call
    /// and longer by 0.2 %. No clock is compared with another; all that is assumed is that two of
    /// them do not run apart faster than that. So with a `timeout` above the largest bound and those
    /// 0.2 % the answer [is](Enforcement::is_everywhere) "everywhere", whatever has become of whom, if the
    /// store can be asked once. (It is given two seconds for that, however short the `timeout` is.)
    ///
    /// It holds for the instances that [acknowledge](crate::Follower::in_fleet); one that follows the
    /// store without that is not known here. `store` is the database that the revocation is in, its
    /// primary. Any process may ask, also another than the one that revoked.
    ///
    /// A database that loses what it has committed, by a restore or a failover to a standby that was
    /// behind, may forget instances that enlisted in the time it lost, or be told of what they have
    /// applied before: about them the answer is right again once twice the fleet's largest bound has
    /// passed since then.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoInstances`] if no instance acknowledges revocations. Otherwise the store's
    /// failure, if it did not tell the instances in time.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn enforced_everywhere<S: EpochStore>(
        &self,
        store: &S,
        timeout: Duration,
    ) -> Result<Enforcement, Error> {
        let asked_at = Instant::now();
        // Only what is read *after* the revocation has committed names everybody who may not know of
        // it: who enlists later loads later, and has it from there.
        let mut wait = loop {
            match answered(store.roster(), asked_at, timeout.max(ROSTER_WAIT)).await {
                Ok(roster) if roster.instances.is_empty() => {
                    return Err(ErrorKind::NoInstances.into());
                }
                Ok(roster) => break Wait::new(self.revoked_before(), roster, asked_at.elapsed()),
                Err(failed) if asked_at.elapsed() >= timeout => return Err(failed),
                Err(failed) => telemetry::roster_failed(&failed),
            }
            sleep(pause(asked_at.elapsed())).await;
        };
        let mut at_once = LOOKS_AT_ONCE;
        loop {
            let elapsed = asked_at.elapsed();
            wait.outwait(elapsed);
            let Some(until) = wait.next_outwaited().filter(|_| elapsed < timeout) else {
                return Ok(Enforcement { instances: wait.instances });
            };
            let until = until.min(timeout);
            if at_once > 0 {
                at_once -= 1;
                // To the sync of this process, which has to acknowledge, too.
                yield_now().await;
            } else {
                sleep(pause(elapsed).min(until.saturating_sub(elapsed))).await;
            }
            // A store that hangs keeps nobody beyond the bound.
            match answered(store.roster(), asked_at, until).await {
                Ok(roster) => wait.hear(&roster, asked_at.elapsed()),
                Err(failed) => telemetry::roster_failed(&failed),
            }
        }
    }
}

/// What is answered until `limit` after `start`.
async fn answered<T>(
    answer: impl Future<Output = Result<T, Error>>,
    start: Instant,
    limit: Duration,
) -> Result<T, Error> {
    let left = limit.saturating_sub(start.elapsed());
    timeout(left, answer).await.map_err(|late| Error::new(ErrorKind::StoreTimeout, late))?
}

/// What is known of the instances that had enlisted at first. Pure: times are since the question.
struct Wait {
    revoked_before: StoreTime,
    instances: Vec<Enforced>,
}

impl Wait {
    fn new(revoked_before: StoreTime, roster: Roster, elapsed: Duration) -> Self {
        let instances = roster.instances.iter().map(|Enlisted { instance, applied, .. }| {
            let instance = instance.clone();
            Enforced { instance, applied: *applied, how: How::Silent, lag: elapsed }
        });
        let mut wait = Self { revoked_before, instances: instances.collect() };
        wait.hear(&roster, elapsed);
        wait
    }

    /// Takes note of who has acknowledged. One that has left the roster may have been struck off, and
    /// what it does is not known: it is waited for.
    fn hear(&mut self, roster: &Roster, elapsed: Duration) {
        let roster = roster.instances.iter().map(|enlisted| (&enlisted.instance.id, enlisted));
        let roster: HashMap<&Id, &Enlisted> = roster.collect();
        for enforced in self.instances.iter_mut().filter(|one| one.how == How::Silent) {
            let Some(enlisted) = roster.get(&enforced.instance.id) else { continue };
            enforced.applied = enlisted.applied;
            enforced.lag = elapsed;
            // Raised meanwhile by a layer that trusts it for longer.
            enforced.instance.bound = enforced.instance.bound.max(enlisted.instance.bound);
            if enlisted.applied >= self.revoked_before {
                enforced.how = How::Acknowledged;
            }
        }
    }

    /// Gives up those whose bound has passed: they accept nothing any more.
    fn outwait(&mut self, elapsed: Duration) {
        for enforced in self.instances.iter_mut().filter(|one| one.how == How::Silent) {
            enforced.lag = elapsed;
            if elapsed >= outwaited(&enforced.instance) {
                enforced.how = How::Outwaited;
            }
        }
    }

    /// When the next one of the silent is given up; `None` if there is none.
    fn next_outwaited(&self) -> Option<Duration> {
        let silent = self.instances.iter().filter(|enforced| enforced.how == How::Silent);
        silent.map(|enforced| outwaited(&enforced.instance)).min()
    }
}

fn pause(elapsed: Duration) -> Duration {
    (elapsed / 8).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
}

/// How long an instance is waited for.
fn outwaited(instance: &Instance) -> Duration {
    instance.bound.saturating_add(instance.bound / DRIFT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enlisted(id: &str, bound: u64, applied: u64) -> Enlisted {
        let id = Id::new(id).unwrap();
        Enlisted {
            instance: Instance { name: id.clone(), id, bound: Duration::from_secs(bound) },
            applied: StoreTime::from_micros(applied),
            beats: 1,
            silent_for: Duration::ZERO,
        }
    }

    fn roster(instances: Vec<Enlisted>) -> Roster {
        Roster { newest: StoreTime::from_micros(7), instances }
    }

    fn wait(instances: Vec<Enlisted>) -> Wait {
        Wait::new(StoreTime::from_micros(7), roster(instances), Duration::ZERO)
    }

    fn hows(wait: &Wait) -> Vec<How> {
        wait.instances.iter().map(|enforced| enforced.how).collect()
    }

    #[test]
    fn who_has_applied_the_very_cut_off_has_acknowledged() {
        let mut wait = wait(vec![enlisted("a", 10, 6), enlisted("b", 10, 7)]);
        assert_eq!(hows(&wait), [How::Silent, How::Acknowledged]);
        wait.hear(&roster(vec![enlisted("a", 10, 8)]), Duration::from_millis(3));
        assert_eq!(hows(&wait), [How::Acknowledged, How::Acknowledged]);
        assert_eq!(wait.instances[0].lag, Duration::from_millis(3));
        assert_eq!(wait.next_outwaited(), None);
    }

    #[test]
    fn who_is_silent_is_outwaited_after_its_bound_and_the_drift() {
        let mut wait = wait(vec![enlisted("a", 10, 6), enlisted("b", 5, 6)]);
        for (millis, expected) in [
            (5_009, [How::Silent, How::Silent]),
            (5_010, [How::Silent, How::Outwaited]),
            (10_019, [How::Silent, How::Outwaited]),
            (10_020, [How::Outwaited, How::Outwaited]),
        ] {
            wait.outwait(Duration::from_millis(millis));
            assert_eq!(hows(&wait), expected, "{millis}");
        }
    }

    #[test]
    fn whose_bound_was_raised_meanwhile_is_waited_for_that() {
        let mut wait = wait(vec![enlisted("a", 10, 6)]);
        wait.hear(&roster(vec![enlisted("a", 60, 6)]), Duration::from_secs(1));
        wait.outwait(Duration::from_secs(11));
        assert_eq!(hows(&wait), [How::Silent]);
    }

    #[test]
    fn who_has_left_the_roster_is_waited_for() {
        let mut wait = wait(vec![enlisted("a", 10, 6)]);
        wait.hear(&roster(vec![]), Duration::from_secs(1));
        assert_eq!(hows(&wait), [How::Silent]);
        wait.outwait(Duration::from_secs(11));
        assert_eq!(hows(&wait), [How::Outwaited]);
    }
}
