//! Four rows in one line of the cache.
//!
//! A row is a key and a time. Any number of threads read a line while one writes it; that there is one
//! at a time is the business of those who write. No read waits. A row is never moved or removed while
//! others read, so a key and the time beside it belong together whenever each is read.

// Of its parent: a check of all interleavings puts others in their place.
use super::atomic::{AtomicU64, Ordering};

/// So many fit into 64 bytes.
pub(super) const ROWS: usize = 4;

/// Four rows, and a flag.
#[repr(C, align(64))]
pub(super) struct Line {
    /// Zero where there is no row.
    keys: [AtomicU64; ROWS],
    /// In the lowest 63 bits, which is what store time needs. The highest bit of the first is the
    /// flag: a row that is at home here is in neither of its lines.
    times: [AtomicU64; ROWS],
}

/// A row that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Not zero.
    pub(super) key: u64,
    /// Zero, or a cut-off: a row stays when its cut-off goes.
    pub(super) time: u64,
}

impl Line {
    pub(super) fn new() -> Self {
        let zeros = || [(); ROWS].map(|()| AtomicU64::new(0));
        Self { keys: zeros(), times: zeros() }
    }

    // ---- what many read ----

    /// Which rows have `key` but for its lowest bit: a bit for each.
    #[inline]
    pub(super) fn matches(&self, key: u64) -> u32 {
        let mut matches = 0;
        for place in self.keys.iter().rev() {
            // Acquire; pairs with the Release in `insert`: who sees the key sees its time. Without
            // a branch: where a row lies in its line cannot be predicted.
            matches = matches << 1 | u32::from((place.load(Ordering::Acquire) ^ key) < 2);
        }
        matches
    }

    /// The row that [`matches`](Line::matches) has found.
    #[inline]
    pub(super) fn row(&self, index: usize) -> Row {
        // Relaxed: it was seen before, and stays.
        let key = self.keys[index].load(Ordering::Relaxed);
        // Acquire; pairs with the Release in `change`: who sees a cut-off dropped sees what was
        // done before.
        let time = self.times[index].load(Ordering::Acquire) & TIME;
        Row { key, time }
    }

    /// Whether a row that is at home here is in neither of its lines.
    #[inline]
    pub(super) fn is_flagged(&self) -> bool {
        // Acquire; pairs with the Release in `flag`.
        self.times[0].load(Ordering::Acquire) & FLAG != 0
    }

    // ---- what one at a time writes ----

    pub(super) fn rows(&self) -> impl Iterator<Item = Row> {
        (0..ROWS).map(|index| self.row(index)).filter(|row| row.key != 0)
    }

    /// Gives the time of `key` to `change`, and puts what that returns in its place. False if there is
    /// no such row.
    pub(super) fn change(&self, key: u64, change: impl FnOnce(u64) -> u64) -> bool {
        let Some(index) = self.index(key) else { return false };
        let before = self.times[index].load(Ordering::Relaxed);
        let after = change(before & TIME) & TIME | before & FLAG;
        if after != before {
            // Release; pairs with the Acquire in `row`. Nobody else writes in between.
            self.times[index].store(after, Ordering::Release);
        }
        true
    }

    /// Puts in a row whose key is not there. False if there is no room.
    pub(super) fn insert(&self, row: Row) -> bool {
        let Some(index) = self.index(0) else { return false };
        let flag = self.times[index].load(Ordering::Relaxed) & FLAG;
        // Release; pairs with the Acquire in `is_flagged`, as the word holds the flag too.
        self.times[index].store(row.time & TIME | flag, Ordering::Release);
        // After the time. Release; pairs with the Acquire in `matches`.
        self.keys[index].store(row.key, Ordering::Release);
        true
    }

    pub(super) fn flag(&self) {
        let before = self.times[0].load(Ordering::Relaxed);
        // Release; pairs with the Acquire in `is_flagged`. Nobody else writes in between.
        self.times[0].store(before | FLAG, Ordering::Release);
    }

    pub(super) fn room(&self) -> usize {
        self.keys.iter().filter(|key| key.load(Ordering::Relaxed) == 0).count()
    }

    /// Only while nobody reads: one who had found the key could take the time of the next row in its
    /// place.
    pub(super) fn remove(&mut self, key: u64) {
        if let Some(index) = self.index(key) {
            self.keys[index].store(0, Ordering::Relaxed);
            let flag = self.times[index].load(Ordering::Relaxed) & FLAG;
            self.times[index].store(flag, Ordering::Relaxed);
        }
    }

    fn index(&self, key: u64) -> Option<usize> {
        self.keys.iter().position(|place| place.load(Ordering::Relaxed) == key)
    }
}

/// What of a word is time, and what is not.
const TIME: u64 = FLAG - 1;
const FLAG: u64 = 1 << 63;
