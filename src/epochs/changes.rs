//! What has come to the copy, as far as that spares a request the look at the cut-offs.
//!
//! A token from after the newest of them has seen them all. And a token that was found good is good until
//! something comes that may refuse it: after a revocation of whomever, each token looks for its own
//! cut-offs once.

use std::{mem, sync::PoisonError};

// Of its parent: a check of all interleavings puts others in their place.
use super::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

/// The newest cut-off that has come, and how often something came that may refuse a token which was good
/// before.
pub(super) struct Changes {
    newest: AtomicU64,
    count: AtomicU64,
    /// Held by who makes one.
    turn: Mutex<()>,
}

/// As of how many changes a token was found good.
pub(crate) struct FoundGood(AtomicU64);

impl Changes {
    pub(super) fn none() -> Self {
        Self { newest: AtomicU64::new(0), count: AtomicU64::new(NEVER + 1), turn: Mutex::new(()) }
    }

    // ---- what requests read ----

    /// The highest cut-off there is. A token above it has seen all.
    #[inline]
    pub(super) fn newest(&self) -> u64 {
        // Acquire; pairs with the Release in `know_of`: who sees a cut-off sees those up to it.
        self.newest.load(Ordering::Acquire)
    }

    /// What `judge` says, which reads [`newest`](Changes::newest) and the cut-offs. It is not asked as long
    /// as nothing has come since the token was `found_good`.
    #[inline]
    pub(super) fn judged<V: PartialEq>(
        &self,
        found_good: &FoundGood,
        good: V,
        judge: impl FnOnce() -> V,
    ) -> V {
        // Acquire; pairs with the Release in `make`: who counts a change sees it. Before `judge` reads
        // anything: what comes meanwhile is looked for the next time.
        let count = self.count.load(Ordering::Acquire);
        // Relaxed, here and below: the number says it all, whoever wrote it.
        if found_good.0.load(Ordering::Relaxed) == count {
            return good;
        }
        let verdict = judge();
        if verdict == good {
            found_good.0.store(count, Ordering::Relaxed);
        }
        verdict
    }

    // ---- what the sync writes ----

    /// The cut-offs up to `newest` are there. Tokens up to it take no shortcut from now on.
    pub(super) fn know_of(&self, newest: u64) {
        self.newest.fetch_max(newest, Ordering::Release);
    }

    /// Makes a change, of cut-offs up to `newest`, and counts it unless `change` says that there was nothing
    /// to be changed. One at a time: so whoever finds it made, and says so to others, finds it counted.
    pub(super) fn make(&self, newest: u64, change: impl FnOnce() -> bool) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // Counted if it panics halfway, too.
        let counted = Counted(&self.count);
        let was_made = change();
        // Before it is counted: a token that takes the shortcut past a change that it has counted would
        // be good until the next.
        self.know_of(newest);
        if !was_made {
            mem::forget(counted);
        }
    }
}

impl FoundGood {
    pub(crate) fn never() -> Self {
        Self(AtomicU64::new(NEVER))
    }
}

/// Counts a change when it is dropped.
struct Counted<'a>(&'a AtomicU64);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        // Release; pairs with the Acquire in `judged`.
        self.0.fetch_add(1, Ordering::Release);
    }
}

const NEVER: u64 = 0;
