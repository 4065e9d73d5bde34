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
/// two scopes by max: it can only refuse, never accept.
pub(super) struct Table {
    key: RandomState,
    entries: DashMap<u64, Entry, RandomState>,
}

#[derive(Clone, Copy)]
struct Entry {
    cut_off: CutOff,
    /// No token that the cut-off covers was issued later, by the store's clock.
    sealed_at: StoreTime,
}

/// Up to which points entries have outlived all they cover.
#[derive(Clone, Copy, Debug)]
pub(super) struct Horizons {
    /// `reissue_before` of entries sealed before it.
    pub(super) reissue: StoreTime,
    /// `login_before` of entries sealed before it.
    pub(super) login: StoreTime,
}

impl Table {
    pub(super) fn new() -> Self {
        Self { key: RandomState::new(), entries: DashMap::default() }
    }

    /// The cut-off of `scope`; [`CutOff::NONE`] if it has none.
    pub(super) fn cut_off(&self, scope: ScopeRef<'_>) -> CutOff {
        self.entries.get(&self.fingerprint(scope)).map_or(CutOff::NONE, |entry| entry.cut_off)
    }

    /// Joins `cut_off` to what `scope` has.
    pub(super) fn raise(&self, scope: ScopeRef<'_>, cut_off: CutOff, sealed_at: StoreTime) {
        if cut_off == CutOff::NONE {
            return;
        }
        self.entries
            .entry(self.fingerprint(scope))
            .and_modify(|entry| {
                entry.cut_off = entry.cut_off.join(cut_off);
                entry.sealed_at = entry.sealed_at.max(sealed_at);
            })
            .or_insert(Entry { cut_off, sealed_at });
    }

    /// Drops the cut-offs of `scope` up to `cleared_at`: the one way down.
    pub(super) fn clear(&self, scope: ScopeRef<'_>, cleared_at: StoreTime) {
        self.retain_of(self.fingerprint(scope), |entry| {
            keep_after(&mut entry.cut_off.reissue_before, cleared_at);
            keep_after(&mut entry.cut_off.login_before, cleared_at);
        });
    }

    /// Drops what has outlived all it covers. Returns how many entries are gone.
    pub(super) fn purge(&self, horizons: Horizons) -> usize {
        let mut purged = 0;
        self.entries.retain(|_, entry| {
            if entry.sealed_at < horizons.reissue {
                entry.cut_off.reissue_before = StoreTime::ZERO;
            }
            if entry.sealed_at < horizons.login {
                entry.cut_off.login_before = StoreTime::ZERO;
            }
            let keep = entry.cut_off != CutOff::NONE;
            purged += usize::from(!keep);
            keep
        });
        purged
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn retain_of(&self, fingerprint: u64, change: impl FnOnce(&mut Entry)) {
        self.entries.remove_if_mut(&fingerprint, |_, entry| {
            change(entry);
            entry.cut_off == CutOff::NONE
        });
    }

    fn fingerprint(&self, scope: ScopeRef<'_>) -> u64 {
        self.key.hash_one((scope.kind, scope.subject))
    }
}

fn keep_after(cut_off: &mut StoreTime, cleared_at: StoreTime) {
    if *cut_off <= cleared_at {
        *cut_off = StoreTime::ZERO;
    }
}
