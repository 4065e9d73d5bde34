//! The floor under all stamps: what purged cut-offs leave behind.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::cutoff::{CutOff, StoreTime};

/// A cut-off of everyone's that only rises. It stands apart from everyone's own, which may be
/// cleared.
#[derive(Default)]
pub(super) struct Floor {
    reissue_before: AtomicU64,
    login_before: AtomicU64,
}

impl Floor {
    pub(super) fn raise(&self, floor: CutOff) {
        // Release; pairs with the Acquire in `get`.
        self.reissue_before.fetch_max(floor.reissue_before.as_micros(), Ordering::Release);
        self.login_before.fetch_max(floor.login_before.as_micros(), Ordering::Release);
    }

    /// Whoever has found a row dropped from the table, and therefore has taken the lock of its
    /// shard after the purge, sees the floor that was raised before.
    pub(super) fn get(&self) -> CutOff {
        CutOff {
            reissue_before: StoreTime::from_micros(self.reissue_before.load(Ordering::Acquire)),
            login_before: StoreTime::from_micros(self.login_before.load(Ordering::Acquire)),
        }
    }
}
