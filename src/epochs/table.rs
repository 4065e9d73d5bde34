//! The table of cut-offs. All that touches `dashmap` is in here.

use dashmap::DashMap;

use super::Fingerprint;
use crate::cutoff::{CutOff, StoreTime};

/// Cut-offs by the fingerprint of their scope; no names are kept. `Everyone` is not among them.
#[derive(Default)]
pub(super) struct Table {
    cut_offs: DashMap<Fingerprint, CutOff>,
}

/// Cut-offs older than these have outlived all they cover.
#[derive(Clone, Copy, Debug)]
pub(super) struct Horizons {
    pub(super) reissue: StoreTime,
    pub(super) login: StoreTime,
}

impl Table {
    /// The cut-off of `scope`; [`CutOff::NONE`] if it has none.
    pub(super) fn cut_off(&self, scope: Fingerprint) -> CutOff {
        self.cut_offs.get(&scope).map_or(CutOff::NONE, |entry| *entry)
    }

    /// Joins `cut_off` to what `scope` has.
    pub(super) fn raise(&self, scope: Fingerprint, cut_off: CutOff) {
        if cut_off == CutOff::NONE {
            return;
        }
        self.cut_offs
            .entry(scope)
            .and_modify(|entry| *entry = entry.join(cut_off))
            .or_insert(cut_off);
    }

    /// Drops the cut-offs of `scope` up to `cleared_at`: the one way down.
    pub(super) fn clear(&self, scope: Fingerprint, cleared_at: StoreTime) {
        self.cut_offs.remove_if_mut(&scope, |_, entry| {
            *entry = entry.above(CutOff::both(cleared_at));
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
}
