//! Four rows in one line of the cache.
//!
//! A row is a key and a time. Any number of threads read a line while one writes it; that there is one
//! at a time is the business of those who write. No read waits. A row is never moved or removed while
//! others read, so a key and the time beside it belong together whenever each is read.
//!
//! A line has six bits to spare in the word of each key: a key names the line it is at [home](Seat)
//! in, so that need not be written down there. One bit says whether the row is at home. The others are a
//! filter: they tell of the rows that found no room in this line, by a few bits of their keys. So a
//! look-up ends here unless there may be something to be found elsewhere.

use std::hint::black_box;

// Of its parent: a check of all interleavings puts others in their place.
use super::atomic::{AtomicU64, Ordering};

/// So many fit into 64 bytes.
pub(super) const ROWS: usize = 4;

/// Four rows.
#[repr(C, align(64))]
pub(super) struct Line {
    /// But for the bits [`BESIDE`], zero where there is no row.
    words: [AtomicU64; ROWS],
    times: [AtomicU64; ROWS],
}

/// A row that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Not zero without the bits [`BESIDE`].
    pub(super) key: u64,
    /// Zero, or a cut-off: a row stays when its cut-off goes.
    pub(super) time: u64,
}

/// As what a line holds a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seat {
    /// The line is the first in which the row is looked for.
    Home,
    /// It is the second.
    Away,
}

impl Line {
    pub(super) fn new() -> Self {
        let zeros = || [(); ROWS].map(|()| AtomicU64::new(0));
        Self { words: zeros(), times: zeros() }
    }

    // ---- what many read ----

    /// Which rows have `key` but for its lowest bit: a bit for each.
    #[inline]
    pub(super) fn matches(&self, key: u64, seat: Seat) -> u32 {
        let wanted = seat.word(key & !1);
        let mut matches = 0;
        for word in self.words.iter().rev() {
            // Acquire; pairs with the Release in `insert` and `passed`: who sees the key sees its
            // time. Without a branch: where a row lies in its line cannot be predicted.
            let word = word.load(Ordering::Acquire) & !FILTER;
            matches = matches << 1 | u32::from((word ^ wanted) < 2);
        }
        matches
    }

    /// Which of two keys that differ in their lowest bit the row has that
    /// [`matches`](Line::matches) has found, and its time.
    #[inline]
    pub(super) fn time(&self, index: usize) -> (usize, u64) {
        // Relaxed: it was seen before, and stays.
        let part = self.words[index].load(Ordering::Relaxed) & 1;
        // Acquire; pairs with the Release in `change`: who sees a cut-off dropped sees what was
        // done before.
        (part as usize, self.times[index].load(Ordering::Acquire))
    }

    /// Whether a row with `key`, but for its lowest bit, may have found no room here.
    #[inline]
    pub(super) fn has_passed(&self, key: u64, seat: Seat) -> bool {
        let (index, bit) = seat.filter(key);
        // Relaxed: whoever was told of a row sees the bit, as all that was done before it was told.
        // Who sees the bit and not yet the row has looked before the row was put in.
        self.words[index].load(Ordering::Relaxed) & bit != 0
    }

    /// Has it fetched, and waits for nothing.
    #[inline]
    pub(super) fn touch(&self) {
        // Relaxed: nobody looks at what it says.
        black_box(self.words[0].load(Ordering::Relaxed));
    }

    // ---- what one at a time writes ----

    /// What there is, without the bits [`BESIDE`].
    pub(super) fn rows(&self) -> impl Iterator<Item = (Row, Seat)> {
        self.words.iter().zip(&self.times).filter_map(|(word, time)| {
            let word = word.load(Ordering::Relaxed);
            let seat = if word & AWAY == 0 { Seat::Home } else { Seat::Away };
            let row = Row { key: word & !BESIDE, time: time.load(Ordering::Relaxed) };
            (row.key != 0).then_some((row, seat))
        })
    }

    /// Gives the time of `key` to `change`, and puts what that returns in its place. False if there is
    /// no such row.
    pub(super) fn change(&self, key: u64, seat: Seat, change: impl FnOnce(u64) -> u64) -> bool {
        let Some(index) = self.index(seat.word(key)) else { return false };
        let before = self.times[index].load(Ordering::Relaxed);
        let after = change(before);
        if after != before {
            // Release; pairs with the Acquire in `time`. Nobody else writes in between.
            self.times[index].store(after, Ordering::Release);
        }
        true
    }

    /// Puts in a row whose key is not there. False if there is no room.
    pub(super) fn insert(&self, row: Row, seat: Seat) -> bool {
        let Some(index) = self.index(0) else { return false };
        // Relaxed: nobody looks at it before they have seen the key.
        self.times[index].store(row.time, Ordering::Relaxed);
        let filter = self.words[index].load(Ordering::Relaxed) & FILTER;
        // After the time. Release; pairs with the Acquire in `matches`.
        self.words[index].store(seat.word(row.key) | filter, Ordering::Release);
        true
    }

    /// Notes that `key` found no room here. Whoever looks for it looks elsewhere from then on.
    pub(super) fn pass(&self, key: u64, seat: Seat) {
        let (index, bit) = seat.filter(key);
        let before = self.words[index].load(Ordering::Relaxed);
        // Release; pairs with the Acquire in `matches`, as the word holds a key too, and this store
        // takes the place of the one that `insert` has made. Nobody else writes in between.
        self.words[index].store(before | bit, Ordering::Release);
    }

    pub(super) fn has_room(&self) -> bool {
        self.index(0).is_some()
    }

    /// Only while nobody reads: one who had found the key could take the time of the next row in its
    /// place.
    pub(super) fn remove(&mut self, key: u64, seat: Seat) {
        if let Some(index) = self.index(seat.word(key)) {
            let filter = self.words[index].load(Ordering::Relaxed) & FILTER;
            self.words[index].store(filter, Ordering::Relaxed);
            self.times[index].store(0, Ordering::Relaxed);
        }
    }

    fn index(&self, wanted: u64) -> Option<usize> {
        self.words.iter().position(|word| word.load(Ordering::Relaxed) & !FILTER == wanted)
    }
}

impl Seat {
    /// How `key` is written down.
    #[inline]
    fn word(self, key: u64) -> u64 {
        match self {
            Self::Home => key & !BESIDE,
            Self::Away => key & !BESIDE | AWAY,
        }
    }

    /// Where it is noted that `key` has found no room: in which word, and by which of its bits. One
    /// of sixteen for rows at home here, as there are more of them, and one of four for others.
    #[inline]
    fn filter(self, key: u64) -> (usize, u64) {
        // By bits that choose neither a line nor, among fewer than 2^40, a page.
        match self {
            Self::Home => ((key >> 14) as usize % ROWS, 1 << (2 + (key >> 16 & 3))),
            Self::Away => ((key >> 18) as usize % ROWS, 1 << 6),
        }
    }
}

/// What a word holds in place of the number of a line: [`AWAY`] and the [`FILTER`].
pub(super) const BESIDE: u64 = 0b111_1110;
const AWAY: u64 = 1 << 1;
const FILTER: u64 = BESIDE & !AWAY;
