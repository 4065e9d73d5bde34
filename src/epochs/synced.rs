//! What a poll teaches about time.

mod last_poll;
mod latest;

use std::{sync::atomic, time::Duration};

pub(super) use self::last_poll::LastPoll;
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
