//! An instance of a fleet that acknowledges what it has applied.
//!
//! # What is promised
//!
//! Whoever reads the roster after a revocation has committed finds every instance in it that may
//! still accept a covered token. For that, a copy becomes fresh only by answers *as of* a moment at
//! which its instance was in the roster:
//!
//! - It enlists before it loads, and an answer that is as of an earlier moment, from a standby for
//!   instance, proves no freshness.
//! - It is heard of every third of its bound. An answer counts if less than two thirds had passed
//!   between the last beat and the moment it is as of, by readings of one clock: a process that stood
//!   still in between beats first, and enlists anew if it was struck off.
//! - It is struck off by others who have not heard of it for twice its bound, on their monotonic
//!   clock, and comes back as another one. By then its last answer, at most two thirds of the bound younger than its last beat, is
//!   older than the bound, and nothing is accepted by it.
//! - A longer bound, which a layer brings, is enlisted first, and used once an answer has come that is
//!   as of a later moment.

use std::{collections::HashMap, time::Duration};

use crate::{
    clock::{Reading, as_micros},
    cutoff::StoreTime,
    epochs::Epochs,
    error::Error,
    scope::Id,
    store::{Enlisted, EpochStore, Instance, Roster},
    telemetry,
};

/// An instance, as it stands with the store.
#[derive(Clone, Debug)]
pub(super) struct Member {
    instance: Instance,
    /// Read before it was last heard of; `None` before it has enlisted.
    beat_at: Option<Reading>,
    enlisted: Option<Enlistment>,
    acknowledged: StoreTime,
    others: Others,
    /// It has beaten since it last looked at the roster.
    looks: bool,
}

/// How the store knows an instance.
#[derive(Clone, Copy, Debug)]
pub(super) struct Enlistment {
    /// Read after it has enlisted, or raised its bound.
    at: Reading,
    /// By which whoever revokes waits for it.
    pub(super) bound: Duration,
}

impl Enlistment {
    /// Whether the instance was in the roster as of `moment`.
    pub(super) fn is_before(&self, moment: Reading) -> bool {
        moment.monotonic >= self.at.monotonic
    }
}

impl Member {
    /// One that has not enlisted yet.
    pub(super) fn new(name: Id, epochs: &Epochs) -> Self {
        let instance = Instance { id: Id::random(), name, bound: bound_of(epochs) };
        Self {
            instance,
            beat_at: None,
            enlisted: None,
            acknowledged: StoreTime::ZERO,
            others: Others::default(),
            looks: false,
        }
    }

    /// Whether the store is to hear of it.
    pub(super) fn is_due(&self, epochs: &Epochs, now: Reading) -> bool {
        bound_of(epochs) > self.instance.bound || self.is_silent_for(now, self.instance.bound / 3)
    }

    /// Whether an answer that is as of `now` counts.
    pub(super) fn is_heard_of(&self, now: Reading) -> bool {
        !self.is_silent_for(now, self.instance.bound / 3 * 2)
    }

    fn is_silent_for(&self, now: Reading, time: Duration) -> bool {
        self.beat_at.is_none_or(|beat_at| now.since(beat_at) >= time)
    }

    /// Has the store hear of it. `now` was read before.
    pub(super) async fn beat<S: EpochStore>(
        &mut self,
        store: &S,
        epochs: &Epochs,
        now: Reading,
    ) -> Result<(), Error> {
        let bound = bound_of(epochs);
        let has_enlisted = self.beat_at.is_some() && bound <= self.instance.bound;
        // No news of what it has applied: since that was asked, the database may be another.
        if !has_enlisted || !self.acknowledge(store, StoreTime::ZERO).await? {
            self.instance.bound = self.instance.bound.max(bound);
            // Until it is known to have enlisted, it has not.
            self.beat_at = None;
            store.enlist(&self.instance).await?;
            let (at, bound) = (epochs.clock().now(), self.instance.bound);
            self.enlisted = Some(Enlistment { at, bound });
            self.acknowledged = StoreTime::ZERO;
        }
        self.beat_at = Some(now);
        self.looks = true;
        Ok(())
    }

    /// Looks at the roster, once for each beat, and strikes off others that have been silent for too
    /// long.
    pub(super) async fn look_around<S: EpochStore>(
        &mut self,
        store: &S,
        epochs: &Epochs,
    ) -> Result<(), Error> {
        if !std::mem::take(&mut self.looks) {
            return Ok(());
        }
        let roster = store.roster().await?;
        let now = epochs.clock().now().monotonic;
        match roster.instances.iter().find(|it| it.instance.id == self.instance.id) {
            Some(known) if known.instance.bound >= self.instance.bound => {
                // Less, if the database has gone back.
                self.acknowledged = self.acknowledged.min(known.applied);
            }
            // The database has gone back to before it raised its bound.
            Some(_) => self.beat_at = None,
            None => self.was_struck_off(),
        }
        let silent = self.others.silent(roster, &self.instance.id, now);
        if !silent.is_empty() {
            telemetry::dismissed(store.dismiss(&silent).await?);
        }
        Ok(())
    }

    /// How the store knows it; `None` before it has enlisted.
    pub(super) fn enlisted(&self) -> Option<Enlistment> {
        self.enlisted
    }

    /// Tells the store that everything up to `head`, which it has just told, is in force here.
    pub(super) async fn applied<S: EpochStore>(
        &mut self,
        store: &S,
        head: StoreTime,
    ) -> Result<(), Error> {
        if head > self.acknowledged && self.acknowledge(store, head).await? {
            self.acknowledged = head;
        }
        Ok(())
    }

    /// Has the store hear of it, unless it is not in the roster.
    async fn acknowledge<S: EpochStore>(
        &mut self,
        store: &S,
        applied: StoreTime,
    ) -> Result<bool, Error> {
        let is_known = store.acknowledge(&self.instance.id, applied).await?;
        if !is_known {
            self.was_struck_off();
        }
        Ok(is_known)
    }

    /// It enlists with its next beat, and as somebody else: whoever has seen the one that was struck off
    /// knows nothing of this one.
    fn was_struck_off(&mut self) {
        self.instance.id = Id::random();
        self.beat_at = None;
    }
}

/// The bound of its copy, in whole microseconds, as stores keep it: never less than it is.
fn bound_of(epochs: &Epochs) -> Duration {
    let bound = match cfg!(plant = "trust_left_out") {
        true => epochs.max_staleness(),
        false => epochs.longest_staleness(),
    };
    let micros = as_micros(bound.saturating_add(Duration::from_nanos(999)));
    Duration::from_micros(micros.min(i64::MAX as u64))
}

/// The other instances, and since when each has been silent. Pure.
#[derive(Clone, Debug, Default)]
struct Others(HashMap<Id, Seen>);

#[derive(Clone, Copy, Debug)]
struct Seen {
    beats: u64,
    /// On the monotonic clock here, read after the roster.
    since: Duration,
}

impl Others {
    /// Those of `roster`, which was read before `now`, that have been silent for twice their bound.
    fn silent(&mut self, roster: Roster, me: &Id, now: Duration) -> Vec<Enlisted> {
        let mut seen = HashMap::with_capacity(roster.instances.len());
        let mut silent = Vec::new();
        for enlisted in roster.instances {
            let Enlisted { instance: Instance { id, bound, .. }, beats, .. } = &enlisted;
            let before = self.0.get(id).filter(|seen| seen.beats == *beats);
            let since = before.map_or(now, |seen| seen.since);
            seen.insert(id.clone(), Seen { beats: *beats, since });
            if now.saturating_sub(since) >= bound.saturating_mul(2) && id != me {
                silent.push(enlisted);
            }
        }
        self.0 = seen;
        silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn roster(beats: &[(&str, u64)]) -> Roster {
        let enlisted = |&(id, beats): &(&str, u64)| {
            let id = Id::new(id).unwrap();
            Enlisted {
                instance: Instance { name: id.clone(), id, bound: 10 * SECOND },
                applied: StoreTime::ZERO,
                beats,
                silent_for: Duration::ZERO,
            }
        };
        Roster { newest: StoreTime::ZERO, instances: beats.iter().map(enlisted).collect() }
    }

    #[test]
    fn who_has_not_been_heard_of_for_twice_its_bound_is_silent() {
        let me = Id::new("me").unwrap();
        let mut others = Others::default();
        for (seconds, beats, silent) in [
            (100, [("me", 1), ("a", 1), ("b", 1)], &[][..]),
            (110, [("me", 1), ("a", 1), ("b", 2)], &[]),
            (119, [("me", 1), ("a", 1), ("b", 2)], &[]),
            (120, [("me", 1), ("a", 1), ("b", 2)], &["a"]),
            (130, [("me", 1), ("a", 2), ("b", 2)], &["b"]),
            (131, [("me", 1), ("a", 2), ("b", 3)], &[]),
        ] {
            let found = others.silent(roster(&beats), &me, seconds * SECOND);
            let found: Vec<&str> = found.iter().map(|one| one.instance.id.as_str()).collect();
            assert_eq!(found, silent, "{seconds}");
        }
    }

    #[test]
    fn who_comes_back_counts_from_then_on() {
        let me = Id::new("me").unwrap();
        let mut others = Others::default();
        for seconds in [0, 15] {
            assert!(others.silent(roster(&[("a", 1)]), &me, seconds * SECOND).is_empty());
        }
        assert!(others.silent(roster(&[]), &me, 19 * SECOND).is_empty());
        assert!(others.silent(roster(&[("a", 1)]), &me, 20 * SECOND).is_empty());
    }
}
