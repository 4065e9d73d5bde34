//! Lines by the keys of their rows.
//!
//! A key names a page, and two lines in it: its home, and where its row is if there was no room. Nearly
//! every row is at home, and a line tells which are not, so nearly every look-up is one line. The page,
//! as large as one of memory, has its address translated once.
//!
//! Pages are ordered as keys are. So whoever copies all rows into more pages, or fewer, goes through
//! both from front to back.

use super::{
    LINES, huge,
    line::{Line, ROWS, Row, Seat},
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
    /// Whether there may be rows that found room in neither line.
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
        let mut found = Found::default();
        let home = &page[home(key)];
        found.add(home, key, Seat::Home);
        // Whatever was found: its other half may have come when there was no room any more.
        if home.has_passed(key, Seat::Home) {
            let away = &page[away(key)];
            found.add(away, key, Seat::Away);
            found.overflowed = away.has_passed(key, Seat::Away);
        }
        found
    }

    /// Has the line fetched in which `key` is looked for first.
    #[inline]
    pub(super) fn touch(&self, key: u64) {
        self.0[page(key, self.0.len())].0[home(key)].touch();
    }

    // ---- what one at a time writes ----

    pub(super) fn rows(&self) -> impl Iterator<Item = Row> {
        self.0.iter().flat_map(|page| (0..LINES).flat_map(|line| page.rows(line)))
    }

    /// See [`Line::change`].
    pub(super) fn change(&self, key: u64, mut change: impl FnMut(u64) -> u64) -> bool {
        let page = &self.0[page(key, self.0.len())].0;
        page[home(key)].change(key, Seat::Home, &mut change)
            || page[away(key)].change(key, Seat::Away, &mut change)
    }

    /// Puts in a row whose key is not there. False if neither of its lines has room; from then on
    /// whoever looks for it is told to look elsewhere.
    pub(super) fn insert(&self, row: Row) -> bool {
        self.0[page(row.key, self.0.len())].insert(row)
    }

    /// Puts it in at home, if there is room.
    pub(super) fn insert_at_home(&self, row: Row) -> bool {
        let page = &self.0[page(row.key, self.0.len())].0;
        page[home(row.key)].insert(row, Seat::Home)
    }

    /// As [`insert`](Pages::insert), and makes room by moving other rows.
    pub(super) fn place(&mut self, row: Row) -> bool {
        let count = self.0.len();
        let page = &mut self.0[page(row.key, count)];
        page.make_room(row.key);
        page.insert(row)
    }
}

impl Found {
    #[inline]
    fn add(&mut self, line: &Line, key: u64, seat: Seat) {
        let mut matches = line.matches(key, seat);
        while matches != 0 {
            let (part, time) = line.time(matches.trailing_zeros() as usize);
            self.times[part] = time;
            matches &= matches - 1;
        }
    }
}

impl Page {
    /// What lies in the line with this number.
    fn rows(&self, line: usize) -> impl Iterator<Item = Row> {
        self.0[line].rows().map(move |(row, seat)| {
            let home = match seat {
                Seat::Home => line,
                Seat::Away => other(row.key, line),
            };
            Row { key: row.key | (home << 1) as u64, time: row.time }
        })
    }

    /// False if there is no room.
    fn seat(&self, row: Row, seat: Seat) -> bool {
        let (home, away) = (&self.0[home(row.key)], &self.0[away(row.key)]);
        if seat == Seat::Home {
            return home.insert(row, seat);
        }
        let seated = away.insert(row, seat);
        if seated {
            home.pass(row.key, Seat::Home);
        }
        seated
    }

    fn insert(&self, row: Row) -> bool {
        let seated = self.seat(row, Seat::Home) || self.seat(row, Seat::Away);
        if !seated {
            self.0[away(row.key)].pass(row.key, Seat::Away);
            self.0[home(row.key)].pass(row.key, Seat::Home);
        }
        seated
    }

    /// Sees to it that a line of `key` has room, if a few moves can do that.
    fn make_room(&mut self, key: u64) {
        let (home, away) = (home(key), away(key));
        if !self.0[home].has_room() && !self.0[away].has_room() {
            let _ = self.empty(home, MOVES) || self.empty(away, MOVES);
        }
    }

    /// Moves a row out of `line`, to where there is room, or can be made by so many moves.
    fn empty(&mut self, line: usize, moves: u32) -> bool {
        if let Some(moved) = self.movable(line) {
            let (from, to) = match home(moved.key) == line {
                true => (Seat::Home, Seat::Away),
                false => (Seat::Away, Seat::Home),
            };
            self.0[line].remove(moved.key, from);
            return self.seat(moved, to);
        }
        let others: Vec<usize> = self.rows(line).map(|row| other(row.key, line)).collect();
        moves > 0
            && others.into_iter().any(|other| self.empty(other, moves - 1))
            && self.empty(line, 0)
    }

    fn movable(&self, line: usize) -> Option<Row> {
        self.rows(line).find(|row| self.0[other(row.key, line)].has_room())
    }
}

/// Where in so many pages. The lowest bit of the key makes no difference.
#[inline]
fn page(key: u64, count: usize) -> usize {
    // Below `count`, as the key is below 2^64.
    ((u128::from(key & !1) * count as u128) >> 64) as usize
}

/// Where a row is looked for first. The lowest bit of the key makes no difference, here and below.
#[inline]
fn home(key: u64) -> usize {
    // The bits of `line::BESIDE`: a line need not write them down.
    (key >> 1) as usize % LINES
}

/// Where it is looked for next.
#[inline]
fn away(key: u64) -> usize {
    home(key) ^ apart(key)
}

/// Odd, so that the one is not the other.
#[inline]
fn apart(key: u64) -> usize {
    ((key >> 8) as usize % LINES) | 1
}

fn other(key: u64, line: usize) -> usize {
    line ^ apart(key)
}

/// How full pages are made by `place`: but for one in ten thousand, all rows find room.
const PLACED: f64 = 0.82;

/// How full they become by `insert`, which moves no row: about two in a hundred find no room then.
const INSERTED: f64 = 0.86;

/// How many moves, one for the other, may make room.
const MOVES: u32 = 3;
