//! Lines by the keys of their rows.
//!
//! A key names a page, and two lines in it: a row is in either. Whoever asks reads both, as the misses
//! on them do not wait for each other, and the page, as large as one of memory, has its address
//! translated once.
//!
//! Pages are ordered as keys are. So whoever copies all rows into more pages, or fewer, goes through
//! both from front to back.

use super::{
    LINES, huge,
    line::{Line, ROWS, Row},
};

const ROWS_OF_A_PAGE: usize = LINES * ROWS;

pub(super) struct Pages(Box<[Page]>);

#[repr(C, align(4096))]
struct Page([Line; LINES]);

/// What is found of two keys that differ in their lowest bit alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Zero where there is none.
    pub(super) times: [u64; 2],
    /// Whether there may be rows that found no room.
    pub(super) overflowed: bool,
}

impl Pages {
    /// With room for `rows` and a few more.
    pub(super) fn for_rows(rows: usize) -> Self {
        let count = (rows as f64 / (ROWS_OF_A_PAGE as f64 * PLACED)).ceil() as usize;
        let mut pages = Vec::with_capacity(count.max(1));
        huge::advise(pages.spare_capacity_mut());
        pages.extend((0..count.max(1)).map(|_| Page([(); LINES].map(|()| Line::new()))));
        Self(pages.into_boxed_slice())
    }

    /// From how many rows on it is too full.
    pub(super) fn most(&self) -> usize {
        ((self.0.len() * ROWS_OF_A_PAGE) as f64 * INSERTED) as usize
    }

    // ---- what many read ----

    /// The times of `key`, whose lowest bit is zero, and of `key + 1`.
    #[inline]
    pub(super) fn find(&self, key: u64) -> Found {
        let page = &self.0[page(key, self.0.len())].0;
        let (first, second) = lines(key);
        let lines = [&page[first], &page[second]];
        let mut found = Found { times: [0; 2], overflowed: lines[0].is_flagged() };
        let mut matches = lines[0].matches(key) | lines[1].matches(key) << ROWS;
        while matches != 0 {
            let index = matches.trailing_zeros() as usize;
            // Without a branch, as in `matches`: whether it was the first cannot be predicted either.
            let row = lines[index / ROWS].row(index % ROWS);
            found.times[(row.key & 1) as usize] = row.time;
            matches &= matches - 1;
        }
        found
    }

    // ---- what one at a time writes ----

    pub(super) fn rows(&self) -> impl Iterator<Item = Row> {
        self.0.iter().flat_map(|page| &page.0).flat_map(Line::rows)
    }

    /// See [`Line::change`].
    pub(super) fn change(&self, key: u64, mut change: impl FnMut(u64) -> u64) -> bool {
        let page = &self.0[page(key, self.0.len())].0;
        let (first, second) = lines(key);
        page[first].change(key, &mut change) || page[second].change(key, &mut change)
    }

    /// Puts in a row whose key is not there. False if neither of its lines has room; from then on
    /// whoever looks for it is told to look elsewhere.
    pub(super) fn insert(&self, row: Row) -> bool {
        self.0[page(row.key, self.0.len())].insert(row)
    }

    /// The same, and makes room by moving other rows.
    pub(super) fn place(&mut self, row: Row) -> bool {
        let count = self.0.len();
        let page = &mut self.0[page(row.key, count)];
        page.make_room(row.key);
        page.insert(row)
    }
}

impl Page {
    fn insert(&self, row: Row) -> bool {
        let (first, second) = lines(row.key);
        let emptier = if self.0[second].room() > self.0[first].room() { second } else { first };
        let inserted = self.0[emptier].insert(row);
        if !inserted {
            self.0[first].flag();
        }
        inserted
    }

    /// Sees to it that a line of `key` has room, if a few moves can do that.
    fn make_room(&mut self, key: u64) {
        let (first, second) = lines(key);
        if self.0[first].room() == 0 && self.0[second].room() == 0 {
            let _ = self.empty(first, MOVES) || self.empty(second, MOVES);
        }
    }

    /// Moves a row out of `line`, to where there is room, or can be made by so many moves.
    fn empty(&mut self, line: usize, moves: u32) -> bool {
        if let Some(moved) = self.movable(line) {
            let other = other(moved.key, line);
            self.0[line].remove(moved.key);
            return self.0[other].insert(moved);
        }
        let others: Vec<usize> = self.0[line].rows().map(|row| other(row.key, line)).collect();
        moves > 0
            && others.into_iter().any(|other| self.empty(other, moves - 1))
            && self.empty(line, 0)
    }

    fn movable(&self, line: usize) -> Option<Row> {
        self.0[line].rows().find(|row| self.0[other(row.key, line)].room() > 0)
    }
}

/// Where in so many pages. The lowest bit of the key makes no difference.
#[inline]
fn page(key: u64, count: usize) -> usize {
    // Below `count`, as the key is below 2^64.
    ((u128::from(key & !1) * count as u128) >> 64) as usize
}

/// The two lines, never the same. The lowest bit of the key makes no difference.
#[inline]
fn lines(key: u64) -> (usize, usize) {
    let first = (key >> 1) as usize % LINES;
    // Odd, so that it is another.
    let second = first ^ (((key >> 8) as usize % LINES) | 1);
    (first, second)
}

fn other(key: u64, line: usize) -> usize {
    let (first, second) = lines(key);
    if line == first { second } else { first }
}

/// How full pages are made by `place`: but for one in ten thousand, all rows find room.
const PLACED: f64 = 0.82;

/// How full they become by `insert`, which moves no row: about one in a hundred finds no room then.
const INSERTED: f64 = 0.86;

/// How many moves, one for the other, may make room.
const MOVES: u32 = 3;
