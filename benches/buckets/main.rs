//! A copy in buckets beside an exact one: what they take in memory, how often the store is asked, and
//! what a check costs, over the number of users and how often each of them logs out.
//!
//! `cargo bench --bench buckets` prints tables and draws `benches/buckets/plot.svg` from them. Bytes
//! and questions are counted; times are told as ratios.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

mod bytes;
mod cost;
mod plot;
mod questions;
#[path = "../common/svg.rs"]
mod svg;

use questions::share_asked;

/// A session lasts for 60 days, and for so long an exact copy keeps what ended it.
const SESSION_LIFE: f64 = 60.0 * 86_400.0;

const USERS: [f64; 4] = [1e4, 1e5, 1e6, 1e7];

/// How often a user logs out.
const PER_DAY: [f64; 3] = [0.01, 0.1, 1.0];

const BUCKETS: [u32; 2] = [4_096, 65_536];

fn main() {
    let row = bytes::of_a_row();
    let of_buckets = BUCKETS.map(bytes::of_buckets);
    println!("An exact copy takes {row:.0} bytes for each revoked scope, for 60 days;");
    for (buckets, bytes) in BUCKETS.iter().zip(of_buckets) {
        println!("{buckets} buckets take {} KiB.", bytes / 1_024);
    }

    println!(
        "\nMemory (MiB), and requests of which the store is asked (a token is used each 10 s)"
    );
    println!(
        "{:>10}{:>14}{:>14}{:>10}{:>10}{:>10}{:>12}{:>12}",
        "users", "logouts/day", "logouts/s", "exact", "4096", "65536", "asked/4096", "asked/65536"
    );
    let mut points = Vec::new();
    for per_day in PER_DAY {
        for users in USERS {
            let rate = users * per_day / 86_400.0;
            let exact = rate * SESSION_LIFE * row;
            let asked = BUCKETS.map(|buckets| share_asked(buckets, rate));
            println!(
                "{users:>10.0}{per_day:>14}{rate:>14.4}{:>10.1}{:>10.2}{:>10.2}{:>11.2}%{:>11.2}%",
                exact / MIB,
                of_buckets[0] as f64 / MIB,
                of_buckets[1] as f64 / MIB,
                asked[0] * 100.0,
                asked[1] * 100.0,
            );
            points.push(plot::Point { users, per_day, exact: exact / MIB, asked });
        }
    }

    let costs = cost::measure();
    println!("\nA check, beside one that an exact copy answers from its table");
    println!("{:<52}{:>8}", "newer than every revocation (either copy)", shown(costs.newer));
    println!("{:<52}{:>8}", "buckets: newer than those of its buckets", shown(costs.above));
    println!("{:<52}{:>8}", "buckets: older, and remembered as confirmed", shown(costs.remembered));
    println!("{:<52}{:>8}", "a question to SQLite", shown(costs.question));

    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/buckets/plot.svg");
    std::fs::write(path, plot::draw(&points, of_buckets.map(|bytes| bytes as f64 / MIB))).unwrap();
    println!("\nDrawn to {path}");
}

const MIB: f64 = 1_048_576.0;

fn shown(ratio: f64) -> String {
    if ratio < 10.0 { format!("{ratio:.2}") } else { format!("{ratio:.0}") }
}
