//! What readers see of a purge: their slowest look-up in a thousand.

use std::{
    hint::black_box,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tower_revocation::{Epochs, clock::Clock, cutoff::StoreTime, epochs::Synced};

use crate::{
    maps::{DashByName, Map, Subject},
    rounds::median,
};

const CUT_OFFS: u64 = 1_000_000;
const ROUNDS: u64 = 9;

/// The 99.9th percentile while a million cut-offs are purged, as a ratio to that beside a thread that
/// reads memory for as long: ours, and that of `DashMap::retain`.
pub(crate) fn measure() -> [f64; 2] {
    let mut ratios: [Vec<f64>; 2] = Default::default();
    for round in 0..ROUNDS {
        let (clock, _) = Clock::manual(Duration::from_secs(1_800_000_000));
        let epochs = Epochs::builder().clock(clock).build().unwrap();
        // They are from 1970, and nobody's token is as old as that.
        for number in 0..CUT_OFFS {
            Map::raise(&epochs, &Subject::new(number), number + 1);
        }
        let now = epochs.clock().now();
        let head = StoreTime::from_micros(CUT_OFFS);
        epochs.synced(Synced { asked_at: now, answered_at: now, store_clock: now.wall, head });
        let (busy, lasted) = beside(&epochs, round, || sum_up(Duration::from_millis(100)));
        let (purged, _) = beside(&epochs, round, || {
            assert_eq!(epochs.purge(now) as u64, CUT_OFFS);
        });
        ratios[0].push(purged / busy);
        drop(epochs);
        let dash = DashByName::of(CUT_OFFS);
        let (busy, _) = beside(&dash, round, || sum_up(lasted));
        let (purged, _) = beside(&dash, round, || dash.0.retain(|_, time| *time > CUT_OFFS));
        ratios[1].push(purged / busy);
    }
    ratios.map(median)
}

/// The 99.9th percentile of look-ups while `work` is done, in nanoseconds, and how long that took.
fn beside<M: Map>(map: &M, seed: u64, work: impl FnOnce() + Send) -> (f64, Duration) {
    let mut random = StdRng::seed_from_u64(seed);
    let subjects: Vec<Subject> =
        (0..100_000).map(|_| Subject::new(random.random_range(0..CUT_OFFS))).collect();
    let done = AtomicBool::new(false);
    let mut times = Vec::with_capacity(4_000_000);
    let lasted = thread::scope(|scope| {
        let working = scope.spawn(|| {
            let began = Instant::now();
            work();
            done.store(true, Ordering::Relaxed);
            began.elapsed()
        });
        for subject in subjects.iter().cycle() {
            if done.load(Ordering::Relaxed) || times.len() == times.capacity() {
                break;
            }
            let began = Instant::now();
            black_box(map.find(black_box(subject)));
            times.push(began.elapsed().as_nanos() as f64);
        }
        working.join().unwrap()
    });
    times.sort_by(f64::total_cmp);
    (times[times.len() * 999 / 1_000], lasted)
}

/// A busy machine: somebody goes through memory, over and over.
fn sum_up(time: Duration) {
    let numbers: Vec<u64> = (0..8 << 20).collect();
    let began = Instant::now();
    while began.elapsed() < time {
        black_box(black_box(&numbers).iter().sum::<u64>());
    }
}
