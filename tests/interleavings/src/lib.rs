//! The rows of the table of cut-offs, what the last poll taught, and what spares a request the look at
//! the rows, in every order in which threads can write them and others can see it, as far as the memory
//! model of the language goes and not only this processor's.
//!
//! `cargo test --release` runs it, as does `.ci/run`. The four files are those of the crate, with two
//! lines to a page, so that few rows crowd it.

#![cfg(test)]

use std::{collections::BTreeSet, mem::MaybeUninit, ops::RangeInclusive};

use loom::{
    model,
    sync::{
        Arc, Mutex,
        atomic::{self, AtomicU64, Ordering},
    },
    thread,
};

#[path = "../../../src/epochs/changes.rs"]
mod changes;
#[path = "../../../src/epochs/synced/latest.rs"]
mod latest;
#[path = "../../../src/epochs/table/line.rs"]
#[allow(dead_code, reason = "the crate needs it")]
mod line;
#[path = "../../../src/epochs/table/pages.rs"]
#[allow(dead_code, reason = "the crate needs it")]
mod pages;

mod huge {
    pub(super) fn advise<T>(_: &mut [super::MaybeUninit<T>]) {}
}

use changes::{Changes, FoundGood};
use latest::Latest;
use line::{Line, Row, Seat};
use pages::Pages;

const LINES: usize = 2;

/// So many have room at home.
const ROOM: u64 = line::ROWS as u64;

/// One more than both lines have room for.
const CROWD: u64 = 9;

/// Keys of one page, all at home in its first line and of one class in the filters.
fn key(number: u64) -> u64 {
    number << 20
}

fn row(number: u64, time: u64) -> Row {
    Row { key: key(number), time }
}

fn holding(numbers: RangeInclusive<u64>) -> Pages {
    let pages = Pages::for_rows(0);
    for number in numbers {
        pages.insert(row(number, 1));
    }
    pages
}

fn time_of(pages: &Pages, number: u64) -> u64 {
    pages.find(key(number)).times[0]
}

/// Runs it in every order: `read` on a thread of its own, which returns what it found, while this one
/// writes. Returns all that was found.
///
/// This way round, because loom forgets that a thread has read a place once another has read it too,
/// and a writer reads before it writes. What a reader may find that comes later, it does not forget.
fn found<S: Send + Sync + 'static, F: Ord + Send + 'static>(
    state: impl Fn() -> S + Send + Sync + 'static,
    read: impl Fn(&S) -> F + Copy + Send + Sync + 'static,
    write: impl Fn(&S) + Send + Sync + 'static,
) -> BTreeSet<F> {
    let found = std::sync::Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let finds = found.clone();
    model(move || {
        let state = Arc::new(state());
        let reader = thread::spawn({
            let state = state.clone();
            move || read(&state)
        });
        write(&state);
        finds.lock().unwrap().insert(reader.join().unwrap());
    });
    let mut found = found.lock().unwrap();
    std::mem::take(&mut found)
}

#[test]
fn who_sees_a_key_sees_its_time() {
    let found = found(
        || {
            let line = Line::new();
            line.insert(row(1, 1), Seat::Home);
            line
        },
        |line| (line.matches(key(2), Seat::Home) != 0).then(|| line.time(1)),
        |line| assert!(line.insert(row(2, 7), Seat::Home)),
    );
    assert_eq!(found, [None, Some((0, 7))].into());
}

/// The word that holds the key is written once more when somebody finds no room.
#[test]
fn who_sees_a_key_beside_a_filter_sees_its_time() {
    let found = found(
        Line::new,
        |line| (line.matches(key(1), Seat::Home) != 0).then(|| line.time(0)),
        |line| {
            assert!(line.insert(row(1, 7), Seat::Home));
            // In the filter of the first word.
            line.pass(key(2), Seat::Home);
            assert!(line.has_passed(key(2), Seat::Home));
        },
    );
    assert_eq!(found, [None, Some((0, 7))].into());
}

/// A cut-off whose home is full is in the second line, and the home leads there.
#[test]
fn a_row_away_from_home_is_there_when_it_is_the_newest() {
    let found = found(
        || (holding(1..=ROOM), AtomicU64::new(0)),
        |(pages, newest)| {
            let known = newest.load(Ordering::Acquire);
            let looks = [(); 2].map(|()| time_of(pages, ROOM + 1));
            (known, looks, time_of(pages, 1))
        },
        |(pages, newest)| {
            assert!(pages.insert(row(ROOM + 1, 7)));
            newest.fetch_max(7, Ordering::Release);
            // In a word that leads on.
            assert!(pages.change(key(1), |before| before + 1));
        },
    );
    for (known, [before, after], other) in &found {
        assert!(*known < 7 || *before == 7, "{found:?}");
        assert!(after >= before && [1, 2].contains(other), "{found:?}");
    }
    for looks in [[0, 0], [0, 7], [7, 7]] {
        assert!(found.iter().any(|(_, found, _)| *found == looks), "never {looks:?}");
    }
}

/// The two demands of a scope may lie in both of its lines.
#[test]
fn a_scope_in_two_lines_is_found_whole() {
    let found = found(
        || (holding(1..=ROOM), AtomicU64::new(0)),
        |(pages, newest)| (newest.load(Ordering::Acquire), pages.find(key(1)).times),
        |(pages, newest)| {
            assert!(pages.insert(Row { key: key(1) | 1, time: 7 }));
            newest.fetch_max(7, Ordering::Release);
        },
    );
    assert!(found.iter().all(|(known, times)| *known < 7 || *times == [1, 7]), "{found:?}");
    assert!(found.contains(&(0, [1, 0])) && found.contains(&(7, [1, 7])), "{found:?}");
}

#[test]
fn a_cut_off_once_seen_is_never_seen_lower() {
    let found = found(
        || holding(1..=1),
        |pages| [(); 2].map(|()| [time_of(pages, 1), time_of(pages, 2)]),
        |pages| {
            assert!(pages.change(key(1), |_| 2));
            assert!(pages.insert(row(2, 9)));
            assert!(pages.change(key(1), |_| 3));
        },
    );
    for [before, after] in &found {
        assert!(after[0] >= before[0] && after[1] >= before[1], "{before:?} {after:?}");
    }
    for both in [[1, 0], [2, 0], [1, 9], [2, 9], [3, 9]] {
        assert!(found.iter().any(|looks| looks.contains(&both)), "never {both:?}");
    }
}

/// Whoever has read that something is the newest finds it: `Epochs::raise` says so last.
#[test]
fn what_is_the_newest_is_there() {
    let found = found(
        || (holding(1..=1), AtomicU64::new(0)),
        |(pages, newest)| {
            let known = newest.load(Ordering::Acquire);
            (known, time_of(pages, 5), time_of(pages, 1))
        },
        |(pages, newest)| {
            assert!(pages.insert(row(5, 7)));
            newest.fetch_max(7, Ordering::Release);
            assert!(pages.change(key(1), |_| 8));
            newest.fetch_max(8, Ordering::Release);
        },
    );
    for (known, inserted, raised) in &found {
        assert!(*known < 7 || *inserted == 7, "{found:?}");
        assert!(*known < 8 || *raised == 8, "{found:?}");
    }
    for known in [0, 7, 8] {
        assert!(found.iter().any(|(found, ..)| *found == known), "{found:?}");
    }
}

/// `Epochs::purge` raises the floor before it drops, and a check reads the floor last.
#[test]
fn what_a_purge_drops_is_covered_by_the_floor() {
    let found = found(
        || (holding(1..=2), AtomicU64::new(0)),
        |(pages, floor)| {
            let found = [1, 2].map(|number| time_of(pages, number));
            (found, floor.load(Ordering::Acquire))
        },
        |(pages, floor)| {
            floor.fetch_max(1, Ordering::Release);
            for number in 1..=2 {
                assert!(pages.change(key(number), |_| 0));
            }
            assert!(pages.insert(row(3, 5)));
        },
    );
    for (found, floor) in &found {
        assert!(found.iter().all(|time| *time.max(floor) == 1), "{found:?} over {floor}");
    }
    assert!(found.contains(&([1, 1], 0)) && found.contains(&([0, 0], 1)), "{found:?}");
}

/// What found no room is in a map beside, which is asked where both lines say so.
#[test]
fn a_row_without_room_is_looked_for_elsewhere() {
    // Of another class than the crowd, so that no line leads on for it yet.
    let alone = key(CROWD) | 1 << 14;
    let found = found(
        || (holding(1..=CROWD - 1), AtomicU64::new(0)),
        move |(pages, newest)| {
            let known = newest.load(Ordering::Acquire);
            let found = pages.find(alone);
            assert_eq!(found.times, [0, 0]);
            (known, found.overflowed, time_of(pages, 1))
        },
        move |(pages, newest)| {
            assert!(!pages.insert(Row { key: alone, time: 7 }));
            newest.fetch_max(7, Ordering::Release);
            // In a line that leads on.
            assert!(pages.change(key(1), |before| before + 1));
            assert!(pages.find(alone).overflowed);
        },
    );
    for (known, overflowed, time) in &found {
        assert!(*known < 7 || *overflowed, "{found:?}");
        assert!([1, 2].contains(time), "{found:?}");
    }
    assert!(found.contains(&(0, false, 1)) && found.contains(&(7, true, 2)), "{found:?}");
}

/// A reader never sees numbers of two polls as one, and none that are older than what it has seen.
#[test]
fn what_a_poll_taught_is_read_as_a_whole() {
    let found = found(
        || {
            let latest = Latest::new();
            latest.store([1, 1]);
            latest
        },
        |latest| [(); 2].map(|()| latest.load()),
        |latest| (2..=3).for_each(|poll| latest.store([poll; 2])),
    );
    for looks in &found {
        let [before, after] = looks.map(|numbers| numbers.map(|[one, other]| (one == other, one)));
        assert!(before.is_some_and(|(whole, _)| whole), "{looks:?}");
        assert!(after.is_some_and(|(whole, _)| whole) && before <= after, "{looks:?}");
    }
    for poll in 1..=3 {
        assert!(found.iter().any(|looks| looks.contains(&Some([poll; 2]))), "never {poll}");
    }
}

/// `Epochs::synced` raises `newest` first.
#[test]
fn who_sees_the_first_poll_sees_what_it_brought() {
    let found = found(
        || (Latest::new(), AtomicU64::new(0)),
        |(latest, newest)| (latest.load(), newest.load(Ordering::Relaxed)),
        |(latest, newest)| {
            newest.fetch_max(7, Ordering::Release);
            latest.store([1, 1]);
        },
    );
    assert_eq!(found, [(None, 0), (None, 7), (Some([1, 1]), 7)].into());
}

/// A token from after the newest cut-off, of a user who is revoked: a copy with one row.
struct Replica {
    changes: Changes,
    row: AtomicU64,
    /// Whether those who wait for the revocation were told.
    told: AtomicU64,
    found_good: FoundGood,
}

impl Replica {
    /// That of the token, between the newest cut-off and the one to come.
    const STAMP: u64 = 5;

    fn new() -> Self {
        let changes = Changes::none();
        changes.know_of(Self::STAMP - 1);
        let (row, told) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { changes, row, told, found_good: FoundGood::never() }
    }

    /// Whether they were told before, whether the token is good, and whether that was looked for.
    fn look(&self) -> (bool, bool, bool) {
        let told = self.told.load(Ordering::Acquire) == 1;
        let mut judged = false;
        // As `Epochs::verdict_at` does.
        let good = self.changes.judged(&self.found_good, true, || {
            judged = true;
            Self::STAMP > self.changes.newest() || Self::STAMP > self.row.load(Ordering::Acquire)
        });
        (told, good, judged)
    }

    /// As `Epochs::raise` does, and whoever applied it.
    fn revoke(&self) {
        self.changes.make(7, || self.row.fetch_max(7, Ordering::Release) < 7);
        self.told.store(1, Ordering::Release);
    }
}

/// Whatever requests before have noted.
#[test]
fn a_token_that_was_found_good_is_refused_once_its_cut_off_was_told() {
    let found = found(
        || {
            let copy = Replica::new();
            assert_eq!(copy.look(), (false, true, true));
            copy
        },
        |copy| [(); 2].map(|()| copy.look()),
        |copy| {
            copy.revoke();
            // This time, and from then on.
            assert_eq!(copy.look(), (true, false, true));
        },
    );
    for look in found.iter().flatten() {
        assert!(!matches!(look, (true, true, _)), "{found:?}");
    }
    // All that may happen does.
    assert!(found.contains(&[(false, true, false); 2]), "{found:?}");
    assert!(found.contains(&[(false, true, false), (true, false, true)]), "{found:?}");
}

/// Two requests with one token, which note what they have found in the same place.
#[test]
fn what_another_request_has_noted_makes_no_token_good() {
    let found = found(
        || Arc::new(Replica::new()),
        |copy| copy.look(),
        |copy| {
            let revoker = thread::spawn({
                let copy = copy.clone();
                move || copy.revoke()
            });
            let look = copy.look();
            assert!(!matches!(look, (true, true, _)));
            revoker.join().unwrap();
            assert_eq!(copy.look(), (true, false, true));
        },
    );
    assert!(found.contains(&(false, true, false)) && found.contains(&(true, false, true)));
    assert!(!found.iter().any(|look| matches!(look, (true, true, _))), "{found:?}");
}

/// Of two threads that make the same change, one finds it made, and says so as the other does.
#[test]
fn who_finds_a_change_made_finds_it_counted() {
    let revoke_and_look = |copy: &Replica| {
        copy.revoke();
        copy.look()
    };
    let found = found(
        || {
            let copy = Replica::new();
            assert_eq!(copy.look(), (false, true, true));
            copy
        },
        revoke_and_look,
        move |copy| assert_eq!(revoke_and_look(copy), (true, false, true)),
    );
    assert_eq!(found, [(true, false, true)].into());
}
