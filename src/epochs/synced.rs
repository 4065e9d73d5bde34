//! What a poll teaches about time.

use std::time::Duration;

use crate::{clock::Reading, cutoff::StoreTime};

/// A successful poll of the primary, for [`Epochs::synced`](super::Epochs::synced).
#[derive(Clone, Copy, Debug)]
pub struct Synced {
    /// Read *before* the poll was sent.
    pub asked_at: Reading,
    /// Read after it was answered.
    pub answered_at: Reading,
    /// The store's wall clock in between, since 1970.
    pub store_clock: Duration,
    /// The store's `newest`: every cut-off up to it was applied before.
    pub head: StoreTime,
}

/// What the store's clock may say, since 1970: polls tell it only to within their duration.
///
/// Whoever refuses for the time does so only where both agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreClock {
    /// If the clock was read just before the last poll was answered.
    pub earliest: Duration,
    /// If it was read just after the last poll was sent, and by the faster of this machine's
    /// clocks since.
    pub latest: Duration,
}

impl StoreClock {
    /// What a clock says that was read just now.
    pub(crate) fn exactly(clock: Duration) -> Self {
        Self { earliest: clock, latest: clock }
    }
}

/// What the last successful poll says about a moment.
pub(crate) struct LastSynced {
    /// How long ago it was sent.
    pub(crate) age: Duration,
    pub(crate) clock: StoreClock,
}

/// What the last successful poll taught.
#[derive(Clone, Copy)]
pub(super) struct Basis {
    /// The instant before the poll was sent: the copy equals the store as of then.
    pub(super) asked_at: Reading,
    /// The store's clock, read somewhere between `asked_at` and `answered_at`.
    pub(super) store_clock: Duration,
    pub(super) answered_at: Reading,
}

impl Basis {
    #[inline]
    pub(super) fn at(&self, now: Reading) -> LastSynced {
        let age = now.since(self.asked_at);
        let carried = now.monotonic.saturating_sub(self.answered_at.monotonic);
        let clock =
            StoreClock { earliest: self.store_clock + carried, latest: self.store_clock + age };
        LastSynced { age, clock }
    }
}
