//! Whether anything has come to the copy since it was last asked about a token.
//!
//! A request with a token that was found good asks for nothing but this, until a revocation of
//! whomever arrives: then each token looks for its own cut-offs once.

use std::sync::PoisonError;

// Of its parent: a check of all interleavings puts others in their place.
use super::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

/// How often something has come that may refuse a token which was good before.
pub(super) struct Changes {
    count: AtomicU64,
    /// Held by who makes one.
    turn: Mutex<()>,
}

/// As of how many changes a token was found good.
pub(crate) struct FoundGood(AtomicU64);

impl Changes {
    pub(super) fn none() -> Self {
        Self { count: AtomicU64::new(NEVER + 1), turn: Mutex::new(()) }
    }

    /// To be read before what is judged by.
    #[inline]
    pub(super) fn count(&self) -> u64 {
        // Acquire; pairs with the Release in `make`: who counts a change sees it.
        self.count.load(Ordering::Acquire)
    }

    /// Makes a change, and counts it if `change` says that there was anything to be changed. One at a
    /// time: so whoever found nothing left to be changed, and says so to others, finds it counted.
    pub(super) fn make(&self, change: impl FnOnce() -> bool) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if change() {
            // After the change. Release; pairs with the Acquire in `count`.
            self.count.fetch_add(1, Ordering::Release);
        }
    }
}

impl FoundGood {
    pub(crate) fn never() -> Self {
        Self(AtomicU64::new(NEVER))
    }

    #[inline]
    pub(super) fn is_as_of(&self, changes: u64) -> bool {
        // Relaxed: the number says it all, whoever wrote it.
        self.0.load(Ordering::Relaxed) == changes
    }

    /// That it is good, judged by what was read after `changes`.
    #[inline]
    pub(super) fn note(&self, changes: u64) {
        self.0.store(changes, Ordering::Relaxed);
    }
}

const NEVER: u64 = 0;
