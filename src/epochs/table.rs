//! The table of cut-offs: what a request asks when its token is older than the newest of them.
//!
//! Cut-offs lie flat, in rows of 16 bytes: a scope is looked for in one line of memory, now and then in
//! a second, and the misses on the lines of a token's scopes go on at once. Readers wait for nothing.
//! They read a [`Flat`] in which rows appear and cut-offs change, and none ever moves; when it has to
//! grow, another one is made beside it and put in its place. Those who write take turns.

mod flat;
mod huge;
mod line;
mod pages;
#[cfg(test)]
mod tests;

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{self, AtomicUsize, Ordering},
};

use arc_swap::{ArcSwap, Guard};

use self::{flat::Flat, line::Row};
use super::Fingerprint;
use crate::cutoff::{CutOff, StoreTime};

/// Cut-offs by the fingerprint of their scope; no names are kept. `Everyone` is not among them.
pub(super) struct Table {
    flat: ArcSwap<Flat>,
    writer: Mutex<Writer>,
    /// How many scopes have a cut-off.
    scopes: AtomicUsize,
}

/// What those who write know of the table, one at a time.
struct Writer {
    flat: Arc<Flat>,
    /// How many it holds, and how many of them have no cut-off any more.
    rows: usize,
    void: usize,
    /// Tables that somebody was still reading when they were replaced. They are freed from here, so
    /// that it is never a request which returns many megabytes to the system.
    replaced: Vec<Arc<Flat>>,
}

/// The table as it is now, for the look-ups of one decision.
pub(super) struct Reader(Guard<Arc<Flat>>);

/// Cut-offs older than these have outlived all they cover.
#[derive(Clone, Copy, Debug)]
pub(super) struct Horizons {
    pub(super) reissue: StoreTime,
    pub(super) login: StoreTime,
}

impl Table {
    // ---- what requests read ----

    /// To be held for a moment.
    #[inline]
    pub(super) fn read(&self) -> Reader {
        Reader(self.flat.load())
    }

    /// How many scopes have a cut-off.
    pub(super) fn len(&self) -> usize {
        self.scopes.load(Ordering::Relaxed)
    }

    // ---- what the sync writes ----

    /// Joins `cut_off` to what `scope` has, and returns whether that is anything else then. In a table
    /// of ten million, one raise in half a million copies it, and takes a second.
    pub(super) fn raise(&self, scope: Fingerprint, cut_off: CutOff) -> bool {
        self.change(scope, |before| {
            if cfg!(plant = "replace_for_join") { cut_off } else { before.join(cut_off) }
        })
    }

    /// Drops the cut-offs of `scope` up to `cleared_at`: the one way down.
    pub(super) fn clear(&self, scope: Fingerprint, cleared_at: StoreTime) {
        self.change(scope, |before| before.above(CutOff::both(cleared_at)));
    }

    fn change(&self, scope: Fingerprint, change: impl FnOnce(CutOff) -> CutOff) -> bool {
        let mut writer = self.writer();
        let key = key_of(scope);
        let before = cut_off_of(writer.flat.find(key));
        let after = change(before);
        for part in [0, 1] {
            let (before, after) = (times_of(before)[part], times_of(after)[part]);
            if before != after {
                self.put(&mut writer, Row { key: key | part as u64, time: after }, before);
            }
        }
        match (before == CutOff::NONE, after == CutOff::NONE) {
            (true, false) => self.scopes.fetch_add(1, Ordering::Relaxed),
            (false, true) => self.scopes.fetch_sub(1, Ordering::Relaxed),
            _ => 0,
        };
        before != after
    }

    fn put(&self, writer: &mut Writer, row: Row, before: u64) {
        if writer.flat.change(row.key, |_| row.time) {
            // It was void, or is now.
            writer.void += usize::from(row.time == 0);
            writer.void -= usize::from(before == 0);
            return;
        }
        if writer.flat.is_full(writer.rows + 1) {
            self.replace(writer);
        }
        writer.flat.insert(row);
        writer.rows += 1;
    }

    /// The highest cut-offs that lie before the horizons.
    pub(super) fn outlived(&self, horizons: Horizons) -> CutOff {
        let writer = self.writer();
        let cut_offs = writer.flat.rows().map(cut_off_in);
        cut_offs
            .map(|cut_off| cut_off.before(horizons.reissue, horizons.login))
            .fold(CutOff::NONE, CutOff::join)
    }

    /// Drops each part up to that of `outlived`, which is in the floor by now. Returns how many
    /// scopes are gone.
    pub(super) fn purge(&self, outlived: CutOff) -> usize {
        if outlived == CutOff::NONE {
            return 0;
        }
        let mut writer = self.writer();
        let flat = writer.flat.clone();
        let mut gone = 0;
        for row in flat.rows().filter(|row| row.time > 0) {
            if cut_off_in(row).above(outlived) == CutOff::NONE {
                // Release, in there: who sees it dropped sees the floor that was raised before.
                flat.change(row.key, |_| 0);
                writer.void += 1;
                gone += usize::from(flat.find(row.key & !1) == [0; 2]);
            }
        }
        drop(flat);
        self.scopes.fetch_sub(gone, Ordering::Relaxed);
        if writer.void > writer.rows / VOID {
            self.replace(&mut writer);
        }
        gone
    }

    // ---- how a table follows another ----

    fn writer(&self) -> MutexGuard<'_, Writer> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.free();
        writer
    }

    /// Copies all cut-offs there are, with room for more.
    fn replace(&self, writer: &mut Writer) {
        let rows = writer.rows - writer.void;
        let there = writer.flat.rows().filter(|row| row.time > 0);
        let flat = Arc::new(Flat::of(there, rows + 1));
        (writer.rows, writer.void) = (rows, 0);
        let replaced = std::mem::replace(&mut writer.flat, flat.clone());
        // Readers find the new one from here on.
        drop(self.flat.swap(flat));
        writer.replaced.push(replaced);
        writer.free();
    }
}

impl Default for Table {
    fn default() -> Self {
        let flat = Arc::new(Flat::of(std::iter::empty(), 0));
        let writer = Writer { flat: flat.clone(), rows: 0, void: 0, replaced: Vec::new() };
        Self { flat: flat.into(), writer: writer.into(), scopes: AtomicUsize::new(0) }
    }
}

impl Reader {
    /// The cut-off of `scope`; [`CutOff::NONE`] if it has none.
    #[inline]
    pub(super) fn cut_off(&self, scope: Fingerprint) -> CutOff {
        cut_off_of(self.0.find(key_of(scope)))
    }

    /// The highest cut-off of them, which is all that a token above it needs.
    #[inline]
    pub(super) fn revoked_before(&self, scopes: &[Fingerprint]) -> StoreTime {
        StoreTime::from_micros(self.0.highest(scopes.iter().copied().map(key_of)))
    }
}

impl Writer {
    fn free(&mut self) {
        // Whoever reads one has a count of its own since it was replaced, and nobody can begin to.
        self.replaced.retain(|flat| Arc::strong_count(flat) > 1);
    }
}

/// The key of the row for `reissue_before`; that for `login_before` has the next. So the lowest bit
/// of a fingerprint is of no use; and the lowest keys are none, as a line could not tell them from
/// nothing.
#[inline]
fn key_of(scope: Fingerprint) -> u64 {
    (scope.bits() & !1).max(line::BESIDE + 2)
}

#[inline]
fn cut_off_of([reissue, login]: [u64; 2]) -> CutOff {
    CutOff {
        reissue_before: StoreTime::from_micros(reissue),
        login_before: StoreTime::from_micros(login),
    }
}

fn times_of(cut_off: CutOff) -> [u64; 2] {
    [cut_off.reissue_before.as_micros(), cut_off.login_before.as_micros()]
}

/// What one row says.
fn cut_off_in(row: Row) -> CutOff {
    cut_off_of(if row.key & 1 == 0 { [row.time, 0] } else { [0, row.time] })
}

/// So many lines of 64 bytes are a page of memory.
const LINES: usize = 64;

/// With more than this part of its rows void, a table is copied without them.
const VOID: usize = 8;
