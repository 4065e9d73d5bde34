//! How old a copy may be when a token is accepted, and how much of that others know.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::clock::as_micros;

/// The bound of a copy. It only rises, and every part counts on its own.
pub(crate) struct Bound {
    pub(super) max_staleness: Duration,
    /// The longest time for which a layer believes the copy beyond that, in microseconds.
    trusted: AtomicU64,
    /// The bound by which others wait for this copy, in microseconds; [`NOBODY`] if they do not.
    announced: AtomicU64,
}

/// Nobody waits for this copy, so nobody is misled.
const NOBODY: u64 = u64::MAX;

impl Bound {
    pub(super) fn new(max_staleness: Duration) -> Self {
        let (trusted, announced) = (AtomicU64::new(0), AtomicU64::new(NOBODY));
        Self { max_staleness, trusted, announced }
    }

    /// A layer is made that believes the copy for `extra` after it went stale.
    pub(crate) fn trust_for(&self, extra: Duration) {
        // Relaxed: the layer believes nothing beyond what was announced.
        self.trusted.fetch_max(as_micros(extra), Ordering::Relaxed);
    }

    pub(super) fn longest(&self) -> Duration {
        let trusted = Duration::from_micros(self.trusted.load(Ordering::Relaxed));
        self.max_staleness.saturating_add(trusted)
    }

    /// From now on others wait, and know of `max_staleness` at first.
    pub(crate) fn begin_to_announce(&self) {
        let least = as_micros(self.max_staleness);
        // Relaxed: nothing was done before that anybody has to see.
        let _ =
            self.announced.compare_exchange(NOBODY, least, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Others know of `bound`.
    pub(crate) fn announced(&self, bound: Duration) {
        // Release; pairs with the Acquire in `is_within`: who believes the copy for longer sees what the
        // answer has told that came after this was enlisted.
        self.announced.fetch_max(as_micros(bound), Ordering::Release);
    }

    /// Whether others reckon with it that a copy of this age is believed.
    pub(crate) fn is_within(&self, age: Duration) -> bool {
        // Acquire; pairs with the Release in `announced`.
        as_micros(age) <= self.announced.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_a_layer_trusts_counts_once_others_know_of_it() {
        let bound = Bound::new(10 * SECOND);
        bound.trust_for(60 * SECOND);
        bound.trust_for(SECOND);
        assert_eq!(bound.longest(), 70 * SECOND);
        assert!(bound.is_within(70 * SECOND));
        bound.begin_to_announce();
        assert!(bound.is_within(10 * SECOND));
        assert!(!bound.is_within(11 * SECOND));
        bound.announced(70 * SECOND);
        // A second start changes nothing.
        bound.begin_to_announce();
        assert!(bound.is_within(70 * SECOND));
        assert!(!bound.is_within(71 * SECOND));
    }
}
