//! A copy of fixed size: the highest cut-off of each bucket that scopes fall into by their hash.
//!
//! A token above the cut-offs of its buckets was revoked by nobody. One at or below is *in doubt*:
//! somebody in the bucket was revoked after it was issued, and the store knows whether that was its
//! user. `Everyone` has no bucket: revoking it would send everyone to the store.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::{Fingerprint, Verdict, confirmed::Confirmed};
use crate::{
    cutoff::{CutOff, Demand, Revoked, Stamp, StoreTime, revoked},
    scope::{ScopeKind, ScopeRef},
};

/// More of them are no small copy any more: 13 MiB.
pub(super) const MOST_BUCKETS: u32 = 1 << 16;

pub(super) struct Buckets {
    /// The higher part of the cut-offs of all scopes in it, in microseconds.
    cut_offs: Box<[AtomicU64]>,
    /// How many are not zero.
    raised: AtomicUsize,
    /// Every token at or below it is in doubt: what the store has not told lies below.
    untold: AtomicU64,
    forgotten: Forgotten,
    confirmed: Confirmed,
}

/// What the store may have forgotten, having been restored from a backup: it had issued cut-offs up
/// to `known`, and may remember them up to `kept` only. Asking it would un-revoke what lies between.
struct Forgotten {
    kept: AtomicU64,
    known: AtomicU64,
}

impl Buckets {
    pub(super) fn new(count: u32) -> Self {
        let count = count as usize;
        Self {
            cut_offs: (0..count).map(|_| AtomicU64::new(0)).collect(),
            raised: AtomicUsize::new(0),
            untold: AtomicU64::new(0),
            forgotten: Forgotten { kept: AtomicU64::new(u64::MAX), known: AtomicU64::new(0) },
            confirmed: Confirmed::new(count),
        }
    }

    /// What so many take, and no more.
    #[cfg(test)]
    pub(super) fn bytes(count: u32) -> usize {
        size_of::<Self>() + count as usize * size_of::<AtomicU64>() + Confirmed::bytes(count)
    }

    // ---- what requests read ----

    /// What can be said about a token in `scopes`, which have these fingerprints. `everyone` was
    /// read before: what goes from it to what is untold is there by then. `floor` is read last.
    pub(super) fn judge<'a>(
        &self,
        everyone: CutOff,
        fingerprints: &[Fingerprint],
        scopes: impl Iterator<Item = ScopeRef<'a>> + Clone,
        stamp: Stamp,
        floor: impl FnOnce() -> CutOff,
    ) -> Verdict {
        let untold = self.untold.load(Ordering::Acquire);
        let highest = fingerprints
            .iter()
            .map(|&scope| self.bucket(scope).load(Ordering::Acquire))
            .fold(untold, u64::max);
        let highest = StoreTime::from_micros(highest);
        let certain = everyone.join(floor());
        if let Some(demand) = certain.demand(stamp) {
            let revoked_before = certain.revoked_before();
            let scope = Some(ScopeKind::Everyone);
            return Verdict::Revoked(Revoked { demand, scope, revoked_before });
        }
        if !revoked(stamp, highest) {
            return Verdict::Good;
        }
        // Before what was confirmed: by a store that had forgotten already, maybe.
        if let Some(revoked_before) = self.forgotten.covers(stamp, highest) {
            // A guess: the session may have to end. Then the refresh is refused.
            let demand = Demand::Refresh;
            return Verdict::Revoked(Revoked { demand, scope: None, revoked_before });
        }
        let confirmed = self.confirmed.up_to(self.confirmed.fingerprint(scopes, stamp));
        let was_once = cfg!(plant = "confirmed_once") && confirmed > StoreTime::ZERO;
        if confirmed >= highest || was_once { Verdict::Good } else { Verdict::Doubtful }
    }

    /// What covers `scope`, and others.
    pub(super) fn cut_off(&self, scope: Fingerprint) -> CutOff {
        let bucket = self.bucket(scope).load(Ordering::Acquire);
        CutOff::at(StoreTime::from_micros(bucket), Demand::Refresh)
    }

    /// How many buckets have a cut-off.
    pub(super) fn raised(&self) -> usize {
        self.raised.load(Ordering::Relaxed)
    }

    pub(super) fn count(&self) -> u32 {
        // Made from one.
        u32::try_from(self.cut_offs.len()).unwrap_or(MOST_BUCKETS)
    }

    // ---- what the sync writes ----

    /// Returns whether that was above what there was, as do the next two.
    pub(super) fn raise(&self, scope: Fingerprint, cut_off: CutOff) -> bool {
        let revoked_before = cut_off.revoked_before().as_micros();
        // Release; pairs with the Acquire in `judge`.
        let before = self.bucket(scope).fetch_max(revoked_before, Ordering::Release);
        self.raised.fetch_add(usize::from(before == 0 && revoked_before > 0), Ordering::Relaxed);
        before < revoked_before
    }

    /// Puts all tokens up to `untold` in doubt.
    pub(super) fn doubt(&self, untold: StoreTime) -> bool {
        self.untold.fetch_max(untold.as_micros(), Ordering::Release) < untold.as_micros()
    }

    pub(super) fn forgets(&self, kept: StoreTime, known: StoreTime) -> bool {
        let (kept, known) = (kept.as_micros(), known.as_micros());
        let kept_less = self.forgotten.kept.fetch_min(kept, Ordering::Release) > kept;
        self.forgotten.known.fetch_max(known, Ordering::Release) < known || kept_less
    }

    // ---- what the layer writes ----

    pub(super) fn confirm<'a>(
        &self,
        scopes: impl Iterator<Item = ScopeRef<'a>> + Clone,
        stamp: Stamp,
        newest: StoreTime,
    ) {
        self.confirmed.remember(self.confirmed.fingerprint(scopes, stamp), newest);
    }

    fn bucket(&self, scope: Fingerprint) -> &AtomicU64 {
        &self.cut_offs[scope.place(self.cut_offs.len())]
    }
}

impl Forgotten {
    /// The highest cut-off that may be forgotten, if it covers a token with `stamp` whose buckets
    /// have seen `highest`.
    fn covers(&self, stamp: Stamp, highest: StoreTime) -> Option<StoreTime> {
        let kept = self.kept.load(Ordering::Acquire);
        let known = StoreTime::from_micros(self.known.load(Ordering::Acquire)).min(highest);
        (highest.as_micros() > kept && revoked(stamp, known)).then_some(known)
    }
}
