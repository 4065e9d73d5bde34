//! The table against a plain map, and under readers that watch it being replaced.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{Horizons, LINES, Table, key_of, line::Row, pages::Pages};
use crate::{
    cutoff::{CutOff, Demand, StoreTime},
    epochs::Fingerprint,
};

fn scope(bits: u64) -> Fingerprint {
    Fingerprint::from_bits(bits)
}

/// Spread as a hash is.
fn user(number: u64) -> Fingerprint {
    scope(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn time(micros: u64) -> StoreTime {
    StoreTime::from_micros(micros)
}

fn login(micros: u64) -> CutOff {
    CutOff::at(time(micros), Demand::Login)
}

#[derive(Clone, Debug)]
enum Step {
    /// So many scopes, one after the other, beginning with this one.
    Raise(u64, u64, CutOff),
    Clear(u64, u64),
    Purge(CutOff),
}

fn cut_offs() -> impl Strategy<Value = CutOff> {
    (0..50_u64, 0..50_u64).prop_map(|(reissue, login)| CutOff {
        reissue_before: time(reissue),
        login_before: time(login),
    })
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3_000_u64, 1..400_u64, cut_offs())
            .prop_map(|(first, count, cut_off)| Step::Raise(first, count, cut_off)),
        4 => (0..3_000_u64, 0..60_u64).prop_map(|(user, at)| Step::Clear(user, at)),
        1 => (0..30_u64, 0..30_u64).prop_map(|(reissue, login)| Step::Purge(CutOff {
            reissue_before: time(reissue),
            login_before: time(login),
        })),
    ]
}

proptest! {
    // Each of them raises thousands.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn agrees_with_a_plain_map(steps in prop::collection::vec(steps(), 1..60)) {
        let table = Table::default();
        let mut plain: HashMap<u64, CutOff> = HashMap::new();
        for step in steps {
            match step {
                Step::Raise(first, count, cut_off) => {
                    for number in first..first + count {
                        table.raise(user(number), cut_off);
                        let entry = plain.entry(number).or_default();
                        *entry = entry.join(cut_off);
                    }
                }
                Step::Clear(number, at) => {
                    table.clear(user(number), time(at));
                    if let Some(entry) = plain.get_mut(&number) {
                        *entry = entry.above(CutOff::both(time(at)));
                    }
                }
                Step::Purge(outlived) => {
                    let before = table.len();
                    plain.values_mut().for_each(|entry| *entry = entry.above(outlived));
                    let gone = table.purge(outlived);
                    prop_assert_eq!(before - gone, table.len());
                }
            }
            plain.retain(|_, cut_off| *cut_off != CutOff::NONE);
            prop_assert_eq!(table.len(), plain.len());
        }
        let reader = table.read();
        for number in 0..3_500 {
            let expected = plain.get(&number).copied().unwrap_or_default();
            prop_assert_eq!(reader.cut_off(user(number)), expected);
        }
        for number in 0..3_500 {
            let six = [0, 600, 1_200, 1_800, 2_400, 3_000].map(|step| (number + step) % 3_500);
            let highest = six.iter().filter_map(|number| plain.get(number)).copied();
            let highest = highest.fold(CutOff::NONE, CutOff::join).revoked_before();
            prop_assert_eq!(reader.revoked_before(&six.map(user)), highest);
        }
        let horizons = Horizons { reissue: time(25), login: time(10) };
        let before = plain.values().map(|cut_off| cut_off.before(time(25), time(10)));
        prop_assert_eq!(table.outlived(horizons), before.fold(CutOff::NONE, CutOff::join));
    }
}

#[test]
fn a_hundred_thousand_are_found_and_strangers_are_not() {
    let table = Table::default();
    let mut random = StdRng::seed_from_u64(3);
    let users: Vec<Fingerprint> = (0..100_000).map(|_| scope(random.random())).collect();
    for (user, at) in users.iter().zip(1..) {
        table.raise(*user, login(at));
    }
    let reader = table.read();
    for (user, at) in users.iter().zip(1..) {
        assert_eq!(reader.cut_off(*user), login(at));
    }
    for _ in 0..100_000 {
        assert_eq!(reader.cut_off(scope(random.random())), CutOff::NONE);
    }
    assert_eq!(table.len(), users.len());
}

#[test]
fn scopes_that_all_fall_on_one_line_are_found() {
    let table = Table::default();
    // They differ in bits that choose neither page nor line.
    let crowd = |number: u64| scope(number << 20);
    for number in 1..=200 {
        table.raise(crowd(number), login(number));
        table.raise(crowd(number), CutOff::at(time(1_000 + number), Demand::Refresh));
    }
    let there =
        |number: u64| CutOff { reissue_before: time(1_000 + number), login_before: time(number) };
    for number in 1..=200 {
        assert_eq!(table.read().cut_off(crowd(number)), there(number));
    }
    table.clear(crowd(200), time(5_000));
    assert_eq!(table.purge(CutOff { reissue_before: time(1_099), login_before: time(99) }), 99);
    assert_eq!(table.len(), 100);
    for number in 1..=99 {
        assert_eq!(table.read().cut_off(crowd(number)), CutOff::NONE);
    }
    for number in 100..=199 {
        assert_eq!(table.read().cut_off(crowd(number)), there(number));
    }
    table.raise(crowd(200), login(7));
    assert_eq!(table.read().cut_off(crowd(200)), login(7));
}

/// A row does not say which line it is at home in, only whether it is there.
#[test]
fn scopes_that_differ_in_their_line_alone_are_told_apart() {
    let table = Table::default();
    // The second line of each is the home of the other, as they are one apart.
    let beside = |number: u64| scope(number << 20 | 1 << 1);
    let crowd = |number: u64| scope(number << 20);
    for number in 1..=40 {
        table.raise(crowd(number), login(number));
        assert_eq!(table.read().cut_off(beside(number)), CutOff::NONE, "{number}");
    }
    for number in 1..=40 {
        table.raise(beside(number), login(100 + number));
        assert_eq!(table.read().cut_off(crowd(number)), login(number));
        assert_eq!(table.read().cut_off(beside(number)), login(100 + number));
    }
    // Copied.
    for number in 0..1_000 {
        table.raise(user(number), login(1));
    }
    for number in 1..=40 {
        assert_eq!(table.read().cut_off(crowd(number)), login(number));
        assert_eq!(table.read().cut_off(beside(number)), login(100 + number));
    }
}

/// Even of a table at its fullest.
#[test]
fn few_look_ups_go_beyond_a_line_and_next_to_none_beyond_two() {
    let mut random = StdRng::seed_from_u64(4);
    let mut pages = Pages::for_rows(100_000);
    let mut key = || random.random::<u64>() | 1;
    let mut rows: Vec<Row> = (0..100_000).map(|time| Row { key: key(), time }).collect();
    let away: Vec<Row> = rows.iter().copied().filter(|row| !pages.insert_at_home(*row)).collect();
    let mut beyond = away.iter().filter(|row| !pages.place(**row)).count();
    assert!(away.len() < 17_000 && beyond < 30, "{} {beyond}", away.len());
    while rows.len() < pages.most() {
        let row = Row { key: key(), time: 1 };
        beyond += usize::from(!pages.insert(row));
        rows.push(row);
    }
    assert!((500..2_500).contains(&beyond), "{beyond} of {}", rows.len());
    let strangers = (0..100_000).filter(|_| pages.find(key() & !1).overflowed).count();
    assert!(strangers < 200, "{strangers}");
    for Row { key, time } in &rows {
        let found = pages.find(key & !1);
        assert!(found.overflowed || found.times == [0, *time], "{key}");
    }
}

#[test]
fn no_fingerprint_is_taken_for_an_empty_row() {
    let table = Table::default();
    for bits in [0, 1, 2, 126, 128, 130, u64::MAX - 2, u64::MAX, 1 << 63] {
        assert_eq!(table.read().cut_off(scope(bits)), CutOff::NONE, "{bits}");
    }
    // What is below 128 is no key: these share one, and a cut-off of any refuses all.
    table.raise(scope(0), login(5));
    for bits in 0..130 {
        assert_eq!(key_of(scope(bits)), 128);
        assert_eq!(table.read().cut_off(scope(bits)), login(5));
    }
    assert_eq!(table.read().cut_off(scope(130)), CutOff::NONE);
    table.raise(scope(u64::MAX), login(6));
    table.raise(scope(u64::MAX), CutOff::at(time(8), Demand::Refresh));
    let both = CutOff { reissue_before: time(8), login_before: time(6) };
    assert_eq!(table.read().cut_off(scope(u64::MAX)), both);
    assert_eq!(table.len(), 2);
}

#[test]
fn the_longest_store_time_among_rows_without_room() {
    let table = Table::default();
    let crowd = |number: u64| scope(number << 20);
    table.raise(crowd(1), login(u64::MAX));
    // From the ninth on there is no room.
    for number in 2..=20 {
        table.raise(crowd(number), login(number));
    }
    assert_eq!(table.read().cut_off(crowd(1)), CutOff::at(StoreTime::MAX, Demand::Login));
    table.clear(crowd(1), StoreTime::MAX);
    assert_eq!(table.read().cut_off(crowd(1)), CutOff::NONE);
    assert_eq!(table.read().cut_off(crowd(20)), login(20));
}

#[test]
fn clearing_and_raising_the_same_scopes_takes_no_more_room() {
    let table = Table::default();
    for round in 0..100 {
        for number in 0..1_000 {
            table.raise(user(number), login(round + 1));
            table.clear(user(number), StoreTime::MAX);
        }
    }
    assert_eq!(table.len(), 0);
    let writer = table.writer();
    // Room for as many more, and the rest of a page.
    assert!(writer.rows <= 1_000 && writer.flat.is_full(2 * 1_000 + 4 * LINES), "{}", writer.rows);
}

#[test]
fn a_replaced_table_is_freed_by_those_who_write() {
    let table = Table::default();
    let reading = table.read();
    for number in 0..10_000 {
        table.raise(user(number), login(1));
    }
    // The reader holds the first one, and only that is kept for it.
    assert_eq!(table.writer().replaced.len(), 1);
    assert_eq!(reading.cut_off(user(9_999)), CutOff::NONE);
    drop(reading);
    assert_eq!(table.writer().replaced.len(), 0);
    assert_eq!(table.read().cut_off(user(9_999)), login(1));
}

/// Readers follow cut-offs that only rise, while the table grows from one page to many and is
/// replaced again and again.
#[test]
fn a_cut_off_once_seen_is_never_seen_lower() {
    const WATCHED: u64 = 64;
    let table = Table::default();
    // How far each was raised for certain before a reader looks.
    let raised: Vec<AtomicU64> = (0..WATCHED).map(|_| AtomicU64::new(0)).collect();
    let done = AtomicBool::new(false);
    thread::scope(|threads| {
        for reader in 0..2_u64 {
            let (table, raised, done) = (&table, &raised, &done);
            threads.spawn(move || {
                let mut random = StdRng::seed_from_u64(reader);
                let mut seen = [CutOff::NONE; WATCHED as usize];
                let mut looks = 0_u64;
                while !done.load(Ordering::Relaxed) || looks < 1_000 {
                    let number = random.random_range(0..WATCHED);
                    let at_least = raised[number as usize].load(Ordering::Acquire);
                    let cut_off = table.read().cut_off(user(number));
                    let now = cut_off.login_before.as_micros();
                    assert!(now >= at_least, "{number} was raised to {at_least} and is at {now}");
                    let before = std::mem::replace(&mut seen[number as usize], cut_off);
                    assert_eq!(cut_off.join(before), cut_off, "{number} sank from {before:?}");
                    looks += 1;
                }
            });
        }
        let mut random = StdRng::seed_from_u64(9);
        let mut copies = 0;
        for step in 1..=60_000_u64 {
            let number = random.random_range(0..WATCHED);
            table.raise(user(number), CutOff::at(time(step), Demand::Refresh));
            table.raise(user(number), login(step));
            raised[number as usize].store(step, Ordering::Release);
            let before = Arc::as_ptr(&table.writer().flat);
            table.raise(user(WATCHED + step), login(step));
            copies += u32::from(before != Arc::as_ptr(&table.writer().flat));
        }
        done.store(true, Ordering::Relaxed);
        // It was tried.
        assert!(copies > 5, "{copies}");
    });
    for number in 0..WATCHED {
        let there = table.read().cut_off(user(number)).login_before.as_micros();
        assert_eq!(there, raised[number as usize].load(Ordering::Relaxed));
    }
}
