//! All rows of a table: the pages, and what found no room in them.

use dashmap::DashMap;

use super::{
    line::Row,
    pages::{Found, Pages},
};

/// Rows can be put in and changed while others read, and none is ever taken out. For more room there
/// has to be another [`Flat`].
pub(super) struct Flat {
    pages: Pages,
    /// Two rows in a hundred, at most. It is asked only where two lines say so.
    overflow: DashMap<u64, u64>,
}

impl Flat {
    /// Holds `rows`, the number of which is `count` or less, and has some room.
    pub(super) fn of(rows: impl Iterator<Item = Row>, count: usize) -> Self {
        // Few are given room for as many more: copying them often would cost more than memory does.
        let room = if count < FEW { count * 2 } else { count };
        let mut pages = Pages::for_rows(room);
        let overflow = DashMap::new();
        // Those that are at home first: one in its second line would take somebody's room.
        let away: Vec<Row> = rows.filter(|row| !pages.insert_at_home(*row)).collect();
        for row in away {
            if !pages.place(row) {
                overflow.insert(row.key, row.time);
            }
        }
        Self { pages, overflow }
    }

    /// Whether so many rows are too many for it.
    pub(super) fn is_full(&self, rows: usize) -> bool {
        rows >= self.pages.most()
    }

    /// The times of `key`, whose lowest bit is zero, and of `key + 1`; zero where there is none.
    #[inline]
    pub(super) fn find(&self, key: u64) -> [u64; 2] {
        let Found { times, overflowed } = self.pages.find(key);
        if overflowed { self.find_all(key, times) } else { times }
    }

    /// The highest time of `keys`, whose lowest bits are zero, and of those that come next to them.
    #[inline]
    pub(super) fn highest(&self, keys: impl Iterator<Item = u64> + Clone) -> u64 {
        // First each is asked for, and then all are looked at: so the misses go on at once. What one
        // look-up does is too much for a processor to come to those after it before it has waited.
        keys.clone().for_each(|key| self.pages.touch(key));
        keys.map(|key| self.find(key).into_iter().fold(0, u64::max)).fold(0, u64::max)
    }

    #[cold]
    fn find_all(&self, key: u64, times: [u64; 2]) -> [u64; 2] {
        [0, 1].map(|part| {
            let elsewhere = self.overflow.get(&(key + part)).map_or(0, |time| *time);
            elsewhere.max(times[part as usize])
        })
    }

    /// The rows; no other thread writes meanwhile.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row> {
        // Collected: nobody is to change one while its lock is held.
        let overflow = self.overflow.iter().map(|entry| Row { key: *entry.key(), time: *entry });
        self.pages.rows().chain(overflow.collect::<Vec<_>>())
    }

    /// Gives the time of `key` to `change`, and puts what that returns in its place. False if there is
    /// no such row.
    pub(super) fn change(&self, key: u64, mut change: impl FnMut(u64) -> u64) -> bool {
        if self.pages.change(key, &mut change) {
            return true;
        }
        let elsewhere = self.overflow.get_mut(&key);
        elsewhere.is_some_and(|mut time| {
            *time = change(*time);
            true
        })
    }

    /// Puts in a row whose key is not there.
    pub(super) fn insert(&self, row: Row) {
        if !self.pages.insert(row) {
            self.overflow.insert(row.key, row.time);
        }
    }
}

/// A mebibyte, give or take.
const FEW: usize = 1 << 16;
