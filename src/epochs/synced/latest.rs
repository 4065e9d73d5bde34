//! A few numbers that belong together: any number of threads read them while one writes.
//!
//! No read waits for a writer, wherever that was interrupted. There are two places, and the next
//! numbers are written into the one that is not read. A read begins anew only if others were written
//! to the end meanwhile.

// Of its parent: a check of all interleavings puts others in their place.
use super::atomic::{AtomicU64, Ordering};

pub(super) struct Latest<const N: usize> {
    /// How often it was written. The last numbers are in the place of its lowest bit.
    written: AtomicU64,
    places: [[AtomicU64; N]; 2],
}

impl<const N: usize> Latest<N> {
    pub(super) fn new() -> Self {
        let zeros = || [(); N].map(|()| AtomicU64::new(0));
        Self { written: AtomicU64::new(0), places: [zeros(), zeros()] }
    }

    /// The numbers that were written last; `None` before the first.
    #[inline]
    pub(super) fn load(&self) -> Option<[u64; N]> {
        // Acquire; pairs with the Release on `written` in `store`: who sees a count sees its numbers.
        let mut written = self.written.load(Ordering::Acquire);
        while written > 0 {
            let place = &self.places[(written % 2) as usize];
            // Acquire; pairs with the Release on the place in `store`: whoever meets a number of those
            // after the next sees below that the next are there.
            let numbers = std::array::from_fn(|at| place[at].load(Ordering::Acquire));
            let now = self.written.load(Ordering::Acquire);
            if now == written {
                return Some(numbers);
            }
            written = now;
        }
        None
    }

    /// One at a time: that is the business of those who write.
    pub(super) fn store(&self, numbers: [u64; N]) {
        // Relaxed: nobody else writes it.
        let written = self.written.load(Ordering::Relaxed) + 1;
        let place = &self.places[(written % 2) as usize];
        for (place, number) in place.iter().zip(numbers) {
            // Release; pairs with the Acquire on the place in `load`.
            place.store(number, Ordering::Release);
        }
        // After the numbers. Release; pairs with the Acquire on `written` in `load`.
        self.written.store(written, Ordering::Release);
    }
}
