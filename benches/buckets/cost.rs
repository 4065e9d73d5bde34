//! What a check costs, in ratios.

use std::{hint::black_box, time::Duration};

use tokio::time::Instant;
use tower_revocation::{
    Demand, EpochStore, Epochs, Revocation, Scope, SqliteStore,
    cutoff::{CutOff, Stamp, StoreTime},
    epochs::Verdict,
};

/// Turns are taken, and medians told: other things run on the machine too.
const TURNS: usize = 31;
const CHECKS: u32 = 20_000;

/// Beside a check that an exact copy answers from its table: "not there".
pub(crate) struct Costs {
    pub(crate) newer: f64,
    pub(crate) above: f64,
    pub(crate) remembered: f64,
    pub(crate) question: f64,
}

pub(crate) fn measure() -> Costs {
    let exact = Epochs::new();
    let roomy = Epochs::builder().buckets(65_536).build().unwrap();
    let crowded = Epochs::builder().buckets(1).build().unwrap();
    for number in 1..=1_000 {
        let scope = Scope::user(&format!("user-{number}")).unwrap();
        let cut_off = CutOff::at(StoreTime::from_micros(number), Demand::Login);
        for epochs in [&exact, &roomy, &crowded] {
            epochs.raise(&scope, cut_off);
        }
    }
    let (old, new) = (Stamp::from_micros(1), Stamp::from_micros(2_000));
    let strangers = strangers(&roomy, old);
    let mut times: [Vec<Duration>; 4] = Default::default();
    for _ in 0..TURNS {
        for (times, (epochs, stamp)) in
            times.iter_mut().zip([(&exact, old), (&exact, new), (&roomy, old), (&crowded, old)])
        {
            let began = Instant::now();
            for _ in 0..CHECKS {
                black_box(epochs.verdict(black_box(&strangers), black_box(stamp)));
            }
            times.push(began.elapsed() / CHECKS);
        }
    }
    let [exact, newer, above, doubtful] = times.map(median);
    let question = question(&strangers);
    Costs {
        newer: newer / exact,
        above: above / exact,
        // A doubt is found by the same look into what was confirmed.
        remembered: doubtful / exact,
        question: question / exact,
    }
}

/// The scopes of a token in whose buckets nobody was revoked.
fn strangers(roomy: &Epochs, old: Stamp) -> Vec<Scope> {
    let scopes = |number: u32| {
        vec![
            Scope::user(&format!("stranger-{number}")).unwrap(),
            Scope::session(&format!("session-{number}")).unwrap(),
            Scope::token(&format!("token-{number}")).unwrap(),
        ]
    };
    (0..1_000).map(scopes).find(|scopes| roomy.verdict(scopes, old) == Verdict::Good).unwrap()
}

/// Of a file with a thousand revocations, in nanoseconds.
fn question(scopes: &[Scope]) -> f64 {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path().join("bench.db")).await.unwrap();
        let revocations: Vec<Revocation> = (0..1_000)
            .map(|number| {
                let scope = Scope::user(&format!("user-{number}")).unwrap();
                Revocation::new(scope, Demand::Login)
            })
            .collect();
        store.revoke_many(&revocations).await.unwrap();
        let mut times = Vec::new();
        for _ in 0..TURNS * 10 {
            let began = Instant::now();
            store.judged(scopes).await.unwrap();
            times.push(began.elapsed());
        }
        median(times)
    })
}

/// In nanoseconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_nanos() as f64
}
