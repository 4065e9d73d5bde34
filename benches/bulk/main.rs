//! What is done by the thousand, the latency of a revocation, and what an idle instance costs, each
//! beside the bare statements that the same would take.
//!
//! On SQLite always; on PostgreSQL and MariaDB if `POSTGRES_URL` and `MARIADB_URL` name servers:
//! `bash .ci/databases cargo bench --bench bulk`. Parts are chosen by name: `load`, `revoke`,
//! `purge`, `latency`, `receipts`, `idle`.
//!
//! Ours and the bare take turns, and what is printed are medians of the turns: seconds are worth
//! little on a machine that does other things too, and ratios more.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

#[allow(dead_code, reason = "the tests need more of it")]
#[path = "../../tests/common/databases.rs"]
mod databases;
mod idle;
mod latency;
mod load;
mod purge;
mod receipts;
mod revoke;
mod stores;

use std::{env, future::Future, time::Duration};

use stores::{Postgres, Sqlite};
use tokio::time::Instant;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let asked: Vec<String> = env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    if let [part, url] = &asked[..]
        && let Some(role) = latency::Role::of(part)
    {
        return latency::follow(url, role).await;
    }
    let wanted = |part: &str| asked.is_empty() || asked.iter().any(|name| name == part);
    let postgres = env::var_os("POSTGRES_URL").is_some();
    if wanted("load") {
        load::run::<Sqlite>().await;
        if postgres {
            load::run::<Postgres>().await;
        }
    }
    if wanted("revoke") {
        revoke::run::<Sqlite>().await;
        if postgres {
            revoke::run::<Postgres>().await;
        }
    }
    if wanted("purge") {
        purge::run::<Sqlite>().await;
        if postgres {
            purge::run::<Postgres>().await;
        }
    }
    if wanted("latency") && postgres {
        latency::run().await;
    }
    if wanted("receipts") && postgres {
        receipts::run().await;
    }
    if wanted("idle") && postgres {
        idle::run::<Postgres>().await;
    }
}

/// How long `work` takes, and what comes of it.
async fn timed<T>(work: impl Future<Output = T>) -> (Duration, T) {
    let began = Instant::now();
    let done = work.await;
    (began.elapsed(), done)
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times[times.len() / 2]
}

/// The median of the ratios of the turns: what else the machine did in a turn, it did to both.
fn median_ratio(part: &[Duration], whole: &[Duration]) -> f64 {
    let mut ratios: Vec<f64> =
        part.iter().zip(whole).map(|(part, whole)| part.div_duration_f64(*whole)).collect();
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}
