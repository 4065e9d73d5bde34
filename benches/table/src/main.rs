//! The table of cut-offs beside what could stand in its place: dashmap by name and by fingerprint,
//! papaya, scc, and arc-swap over a map of the standard library; and beside what is no map, a hash and
//! one line of memory, than which none of them can be faster.
//!
//! A package of its own, so that these maps are nobody's dependencies. `cargo run --release` in
//! `benches/table` prints tables, says which bars are met, and draws
//! `plot.svg`; `just bench` runs it with the others. Rounds are short and in turn, and what counts is
//! the median of the ratios within a round: other things run on the machine too. It needs 6 GiB.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

// `atomic` for the rows.
use std::{hint::black_box, sync::atomic, time::Instant};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tower_revocation::Epochs;

mod maps;
mod memory;
mod plot;
mod purge;
mod rounds;
#[path = "../../common/svg.rs"]
mod svg;

// The rows alone, for look-ups with the fingerprints at hand, which no service has in its own.
#[path = "../../../src/epochs/table/flat.rs"]
#[allow(dead_code, reason = "the crate needs it")]
mod flat;
#[path = "../../../src/epochs/table/huge.rs"]
mod huge;
#[path = "../../../src/epochs/table/line.rs"]
#[allow(dead_code, reason = "the crate needs it")]
mod line;
#[path = "../../../src/epochs/table/pages.rs"]
#[allow(dead_code, reason = "the crate needs it")]
mod pages;

use maps::{
    ByFingerprint, DashAsItIs, DashByName, DashHashed, DashOf, Limit, Map, Papaya, Rows, Scc,
    Swapped,
};
use rounds::{Setting, median};

/// As in the table.
const LINES: usize = 64;

const COUNTS: [u64; 6] = [0, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];
const ROUNDS: usize = 63;

/// Ours is the first.
struct Maps {
    table: Epochs,
    by_name: DashByName,
    dash: DashHashed,
    dash_as_it_is: DashAsItIs,
    papaya: Papaya,
    scc: Scc,
    swapped: Swapped,
    limit: Limit,
}

/// So many of them.
const MAPS: usize = 8;

const NAMES: [&str; MAPS] = [
    Epochs::NAME,
    DashByName::NAME,
    DashHashed::NAME,
    DashAsItIs::NAME,
    Papaya::NAME,
    Scc::NAME,
    Swapped::NAME,
    Limit::NAME,
];

impl Maps {
    /// And the bytes that each takes.
    fn of(count: u64) -> (Self, [usize; MAPS]) {
        let (table, a) = memory::counted(|| Epochs::of(count));
        let (by_name, b) = memory::counted(|| DashByName::of(count));
        let (dash, c) = memory::counted(|| DashHashed::of(count));
        let (dash_as_it_is, d) = memory::counted(|| DashAsItIs::of(count));
        let (papaya, e) = memory::counted(|| Papaya::of(count));
        let (scc, f) = memory::counted(|| Scc::of(count));
        let (swapped, g) = memory::counted(|| Swapped::of(count));
        let (limit, h) = memory::counted(|| Limit::of(count));
        let maps = Self { table, by_name, dash, dash_as_it_is, papaya, scc, swapped, limit };
        (maps, [a, b, c, d, e, f, g, h])
    }

    /// The nanoseconds of each, for each of so many rounds; `NaN` for what cannot be done.
    fn measure(&self, setting: Setting, rounds: usize) -> Vec<[f64; MAPS]> {
        let mut random = StdRng::seed_from_u64(setting.count);
        let mut round = |turn: usize| {
            let mut times = [f64::NAN; MAPS];
            // Each is the first as often as any other.
            for place in (0..MAPS).map(|place| (place + turn) % MAPS) {
                let random = &mut random;
                times[place] = match place {
                    0 => rounds::of(&self.table, setting, random),
                    1 => rounds::of(&self.by_name, setting, random),
                    2 => rounds::of(&self.dash, setting, random),
                    3 => rounds::of(&self.dash_as_it_is, setting, random),
                    4 => rounds::of(&self.papaya, setting, random),
                    5 => rounds::of(&self.scc, setting, random),
                    6 if setting.writes && !Swapped::WRITABLE => f64::NAN,
                    6 => rounds::of(&self.swapped, setting, random),
                    _ => rounds::of(&self.limit, setting, random),
                };
            }
            times
        };
        round(0);
        (0..rounds).map(round).collect()
    }
}

/// A bar: what is held against it, and how high it may be.
struct Bar {
    what: String,
    found: f64,
    most: f64,
}

fn main() {
    let mut bars = Vec::new();
    let mut curves: Vec<plot::Curve> =
        NAMES.map(|name| plot::Curve { name, hit: Vec::new(), miss: Vec::new() }).into();
    println!("Nanoseconds of a look-up, and as a part of dashmap by name (medians)\n");
    print!("{:<34}", "");
    NAMES.iter().for_each(|name| print!("{name:>18}"));
    println!();
    for count in COUNTS {
        let (maps, bytes) = Maps::of(count);
        for (threads, writes) in [(1, false), (2, false), (2, true)] {
            for hit in [true, false] {
                // Nobody to find, and between the ends one thread is enough for the plot.
                let ends = [0, 1_000, 1_000_000, 10_000_000].contains(&count);
                if hit && count == 0 || threads > 1 && !ends {
                    continue;
                }
                let setting = Setting { count, hit, threads, writes };
                let rounds = if threads == 1 { ROUNDS } else { ROUNDS / 3 };
                let times = maps.measure(setting, rounds);
                row(setting, &times);
                note(setting, &times, &mut bars);
                if setting.threads == 1 && count > 0 {
                    for (place, curve) in curves.iter_mut().enumerate() {
                        let points = if hit { &mut curve.hit } else { &mut curve.miss };
                        points.push((count as f64, median(times.iter().map(|times| times[place]))));
                    }
                }
            }
        }
        if count >= 100_000 {
            print!("{count:>10} bytes of a cut-off{:>9}", "");
            bytes.iter().for_each(|bytes| print!("{:>18.1}", *bytes as f64 / count as f64));
            println!();
        }
        if count >= 1_000_000 {
            let found = bytes[0] as f64 / count as f64;
            bars.push(Bar { what: format!("bytes of a cut-off, {count}"), found, most: 20.0 });
        }
    }
    for count in [1_000, 1_000_000, 10_000_000] {
        for hit in [true, false] {
            let [to_dash, to_as_it_is] = six_scopes(count, hit);
            let kind = if hit { "hit" } else { "miss" };
            let what = format!("six scopes, {count}, {kind}, to dashmap by fingerprint");
            println!("{what}: {to_dash:.2}; if that does not hash: {to_as_it_is:.2}");
            if count == 10_000_000 {
                bars.push(Bar { what, found: to_dash, most: 0.5 });
            }
        }
    }
    let [ours, dash] = purge::measure();
    println!("p99.9 beside a purge to that of a busy machine: {ours:.2}, dashmap {dash:.2}");
    bars.push(Bar { what: "p99.9 beside a purge of 1M".to_owned(), found: ours, most: 1.5 });

    println!("\nBars");
    for Bar { what, found, most } in bars {
        let met = if found <= most { "met" } else { "NOT MET" };
        println!("{what:<60} {found:>7.2} <= {most:<5} {met}");
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/plot.svg");
    std::fs::write(path, plot::draw(&curves)).unwrap();
    println!("\nDrawn to {path}");
}

fn row(setting: Setting, times: &[[f64; MAPS]]) {
    let Setting { count, hit, threads, writes } = setting;
    let kind = if hit { "hit" } else { "miss" };
    let writes = if writes { "+ writer" } else { "" };
    print!("{count:>10} {kind:<5}{threads} thread(s) {writes:<8}");
    for place in 0..MAPS {
        let time = median(times.iter().map(|times| times[place]));
        let shown = format!("{time:.1} ({:.2})", ratio(times, place, 1));
        print!("{:>18}", if time.is_nan() { "-".to_owned() } else { shown });
    }
    println!();
}

/// The median of the ratios within a round.
fn ratio(times: &[[f64; MAPS]], of: usize, to: usize) -> f64 {
    median(times.iter().map(|times| times[of] / times[to]))
}

fn note(setting: Setting, times: &[[f64; MAPS]], bars: &mut Vec<Bar>) {
    let Setting { count, hit, threads, writes } = setting;
    let most = match (count, threads, writes) {
        (1_000_000, 1, false) if hit => Some(0.30),
        (10_000_000, 1, false) if hit => Some(0.25),
        (1_000_000 | 10_000_000, 2, true) if hit => Some(0.20),
        _ => None,
    };
    if let Some(most) = most {
        let who = if writes { "two readers and a writer" } else { "a look-up" };
        let what = format!("{who}, {count}, to dashmap by name");
        bars.push(Bar { what, found: ratio(times, 0, 1), most });
        // No bar: how near it is to what is possible here.
        let limit = ratio(times, MAPS - 1, 1);
        println!("{:>36}a hash and one line to dashmap by name: {limit:.2}", "");
    }
    if count <= 1_000 && threads == 1 {
        let kind = if hit { "hit" } else { "miss" };
        let what = format!("a {kind}, {count}, to dashmap by fingerprint");
        bars.push(Bar { what, found: ratio(times, 0, 2), most: 1.0 });
    }
}

/// The highest cut-off of six scopes whose fingerprints are at hand, as a part of what dashmap takes
/// that hashes them once more, and one that does not.
fn six_scopes(count: usize, hit: bool) -> [f64; 2] {
    let mut random = StdRng::seed_from_u64(6);
    let fingerprints: Vec<u64> = (0..count).map(|_| random.random::<u64>() & !1).collect();
    let rows = Rows::of(&fingerprints);
    let dash = DashOf::<std::hash::RandomState>::of(&fingerprints);
    let as_it_is = DashOf::<ByFingerprint>::of(&fingerprints);
    let mut decisions = || -> Vec<[u64; 6]> {
        let mut one = || {
            let known = fingerprints[random.random_range(0..count)];
            if hit { known } else { random.random::<u64>() & !1 }
        };
        (0..rounds::LOOK_UPS / 6).map(|_| [(); 6].map(|()| one())).collect()
    };
    let ratios: Vec<[f64; 2]> = (0..ROUNDS)
        .map(|_| {
            let ours = time(&decisions(), |of| rows.highest(of));
            let theirs = time(&decisions(), |of| dash.highest(of));
            [ours / theirs, ours / time(&decisions(), |of| as_it_is.highest(of))]
        })
        .collect();
    [0, 1].map(|which| median(ratios.iter().map(|ratios| ratios[which])))
}

fn time(decisions: &[[u64; 6]], highest: impl Fn(&[u64]) -> u64) -> f64 {
    let began = Instant::now();
    for decision in decisions {
        black_box(highest(black_box(decision)));
    }
    began.elapsed().as_nanos() as f64
}
