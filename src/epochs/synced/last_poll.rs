//! What the last successful poll taught, and what that says about now.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::{LastSynced, StoreClock, Synced, latest::Latest};
use crate::clock::{Nanos, Reading, as_nanos};

/// What the last successful poll taught.
pub(in crate::epochs) struct LastPoll {
    basis: Latest<4>,
    /// Held by who writes.
    turn: Mutex<()>,
}

/// What a poll taught, in nanoseconds.
#[derive(Clone, Copy)]
struct Basis {
    /// The instant before the poll was sent: the copy equals the store as of then.
    asked_at: Nanos,
    /// By the monotonic clock.
    answered_at: u64,
    /// The store's clock, read somewhere between `asked_at` and `answered_at`.
    store_clock: u64,
}

impl LastPoll {
    pub(in crate::epochs) fn none() -> Self {
        Self { basis: Latest::new(), turn: Mutex::new(()) }
    }

    pub(in crate::epochs) fn is_there(&self) -> bool {
        self.basis().is_some()
    }

    /// What it says about the moment `now`. `None` if there was none.
    #[inline]
    pub(in crate::epochs) fn at(&self, now: Reading) -> Option<LastSynced> {
        self.basis().map(|basis| basis.at(now.nanos()))
    }

    /// Takes the place of the last one, unless that was sent after it.
    pub(in crate::epochs) fn record(&self, poll: &Synced) {
        let Synced { asked_at, answered_at, store_clock, .. } = *poll;
        let asked_at = asked_at.nanos();
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if self.basis().is_some_and(|last| last.asked_at.monotonic > asked_at.monotonic) {
            return;
        }
        let answered_at = as_nanos(answered_at.monotonic);
        let store_clock = as_nanos(store_clock);
        self.basis.store([asked_at.monotonic, asked_at.wall, answered_at, store_clock]);
    }

    #[inline]
    fn basis(&self) -> Option<Basis> {
        let [monotonic, wall, answered_at, store_clock] = self.basis.load()?;
        Some(Basis { asked_at: Nanos { monotonic, wall }, answered_at, store_clock })
    }
}

impl Basis {
    #[inline]
    fn at(&self, now: Nanos) -> LastSynced {
        let age = now.since(self.asked_at);
        let carried = now.monotonic.saturating_sub(self.answered_at);
        let clock = StoreClock {
            earliest: Duration::from_nanos(self.store_clock.saturating_add(carried)),
            latest: Duration::from_nanos(self.store_clock.saturating_add(age)),
        };
        LastSynced { age: Duration::from_nanos(age), clock }
    }
}
