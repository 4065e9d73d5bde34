//! A cut-off that is read without a lock: everyone's, and the floor under all stamps, which is what
//! purged cut-offs leave behind.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::cutoff::{CutOff, StoreTime};

/// The cut-off of something that there is one of.
#[derive(Default)]
pub(super) struct AtomicCutOff {
    reissue_before: AtomicU64,
    login_before: AtomicU64,
}

impl AtomicCutOff {
    /// Returns whether that was above what there was.
    pub(super) fn raise(&self, cut_off: CutOff) -> bool {
        let raise = |part: &AtomicU64, to: StoreTime| {
            // Release; pairs with the Acquire in `get`.
            part.fetch_max(to.as_micros(), Ordering::Release) < to.as_micros()
        };
        let reissue = raise(&self.reissue_before, cut_off.reissue_before);
        raise(&self.login_before, cut_off.login_before) || reissue
    }

    /// Drops each part up to that of `gone`.
    pub(super) fn lower(&self, gone: CutOff) {
        for (part, gone) in
            [(&self.reissue_before, gone.reissue_before), (&self.login_before, gone.login_before)]
        {
            let lower = |time: u64| (time <= gone.as_micros()).then_some(0);
            // An error: it is above. Release; whoever sees it dropped sees what was done before.
            let _ = part.fetch_update(Ordering::Release, Ordering::Relaxed, lower);
        }
    }

    /// Whoever has found a row dropped, by the Acquire on its time or on the table that took the place
    /// of its own, sees the floor that was raised before.
    #[inline]
    pub(super) fn get(&self) -> CutOff {
        CutOff {
            reissue_before: StoreTime::from_micros(self.reissue_before.load(Ordering::Acquire)),
            login_before: StoreTime::from_micros(self.login_before.load(Ordering::Acquire)),
        }
    }
}
