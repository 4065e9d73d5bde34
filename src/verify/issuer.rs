//! An issuer, and the keys that are in force.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, Guard};

use super::IssuerRules;
use crate::token::KeySet;

/// An issuer, its rules checked.
pub(super) struct Issuer {
    pub(super) rules: IssuerRules,
    pub(super) max_lifetime: Duration,
    /// Those in `rules` were the first.
    pub(super) keys: Keys,
}

/// Keys that can be replaced, and how often they were.
pub(super) struct Keys {
    now: ArcSwap<KeySet>,
    generation: AtomicU64,
}

impl Keys {
    pub(super) fn new(keys: KeySet) -> Self {
        Self { now: ArcSwap::from_pointee(keys), generation: AtomicU64::new(0) }
    }

    /// How often they were replaced. Whoever reads it *before* the keys has keys of that generation
    /// or a later one, so what is remembered by it is forgotten too early, and never too late.
    #[inline]
    pub(super) fn generation(&self) -> u64 {
        // Acquire; pairs with the Release in `replace`: who sees a generation sees its keys.
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn load(&self) -> Guard<Arc<KeySet>> {
        self.now.load()
    }

    /// Whoever begins once this has returned neither verifies by the old keys nor goes by what was
    /// verified with them.
    pub(super) fn replace(&self, keys: KeySet) {
        self.now.store(Arc::new(keys));
        self.generation.fetch_add(1, Ordering::Release);
    }
}
