//! The table of cut-offs. All that touches `dashmap` is in here.

use std::hash::{BuildHasher, RandomState};

use dashmap::DashMap;

use crate::{
    cutoff::{CutOff, StoreTime},
    scope::ScopeRef,
};

/// Cut-offs by a keyed 64-bit fingerprint of their scope; no strings are kept.
///
/// The key is random per process, so nobody can choose subjects that collide. A collision merges
/// two scopes by max, so it refuses. (Only between a clear and the load that follows it could it
/// accept: once in 2^64, for microseconds.)
pub(super) struct Table {
    key: RandomState,
    cut_offs: DashMap<u64, CutOff, RandomState>,
}

/// Cut-offs older than these have outlived all they cover.
#[derive(Clone, Copy, Debug)]
pub(super) struct Horizons {
    pub(super) reissue: StoreTime,
    pub(super) login: StoreTime,
}

impl Table {
    pub(super) fn new() -> Self {
        Self { key: RandomState::new(), cut_offs: DashMap::default() }
    }

    /// The cut-off of `scope`; [`CutOff::NONE`] if it has none.
    pub(super) fn cut_off(&self, scope: ScopeRef<'_>) -> CutOff {
        self.cut_offs.get(&self.fingerprint(scope)).map_or(CutOff::NONE, |entry| *entry)
    }

    /// Joins `cut_off` to what `scope` has.
    pub(super) fn raise(&self, scope: ScopeRef<'_>, cut_off: CutOff) {
        if cut_off == CutOff::NONE {
            return;
        }
        self.cut_offs
            .entry(self.fingerprint(scope))
            .and_modify(|entry| *entry = entry.join(cut_off))
            .or_insert(cut_off);
    }

    /// Drops the cut-offs of `scope` up to `cleared_at`: the one way down.
    pub(super) fn clear(&self, scope: ScopeRef<'_>, cleared_at: StoreTime) {
        self.cut_offs.remove_if_mut(&self.fingerprint(scope), |_, entry| {
            *entry = entry.above(CutOff { reissue_before: cleared_at, login_before: cleared_at });
            *entry == CutOff::NONE
        });
    }

    /// The highest cut-offs that lie before the horizons.
    pub(super) fn outlived(&self, horizons: Horizons) -> CutOff {
        self.cut_offs
            .iter()
            .map(|entry| entry.before(horizons.reissue, horizons.login))
            .fold(CutOff::NONE, CutOff::join)
    }

    /// Drops each part up to that of `outlived`, which is in the floor by now. Returns how many
    /// scopes are gone.
    pub(super) fn purge(&self, outlived: CutOff) -> usize {
        let mut gone = 0;
        self.cut_offs.retain(|_, entry| {
            *entry = entry.above(outlived);
            gone += usize::from(*entry == CutOff::NONE);
            *entry != CutOff::NONE
        });
        gone
    }

    pub(super) fn len(&self) -> usize {
        self.cut_offs.len()
    }

    fn fingerprint(&self, scope: ScopeRef<'_>) -> u64 {
        self.key.hash_one((scope.kind, scope.subject))
    }
}
