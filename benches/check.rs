//! Asking the epochs about a token: what one answer costs with no cut-off, a thousand and a
//! million.
//!
//! - `newer`: the token is stamped above `newest`, so it has seen every revocation; no look-up.
//! - `miss`: an older token, none of whose scopes has a cut-off.
//! - `hit`: a token of a revoked user.

mod common;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tower_revocation::{
    Demand, Epochs, Scope,
    cutoff::{CutOff, Stamp, StoreTime},
};

/// All cut-offs lie at or below it.
const NEWEST: u64 = 1_800_000_000_000_000;

/// Tokens that are asked about in turn: enough of them that their cut-offs, among a million, do not
/// all stay in the processor's cache.
const TOKENS: u64 = 4096;

fn revoked(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("revoked");
    for cut_offs in [0, 1_000, 1_000_000] {
        let epochs = with_cut_offs(cut_offs);
        let old = Stamp::from_micros(1);
        let newer = Stamp::after(epochs.newest());
        let strangers: Vec<_> = (0..TOKENS).map(|user| scopes("stranger", user)).collect();
        let mut ask = |name, tokens: &[[Scope; 4]], stamp, expected| {
            let mut tokens = tokens.iter().cycle();
            group.bench_function(BenchmarkId::new(name, cut_offs), |bencher| {
                bencher.iter(|| {
                    let scopes = tokens.next().expect("a cycle does not end");
                    let answer = epochs.revoked(black_box(scopes), black_box(stamp));
                    assert_eq!(answer.is_some(), expected);
                    answer
                });
            });
        };
        ask("newer", &strangers, newer, false);
        ask("miss", &strangers, old, false);
        if cut_offs > 0 {
            let spread = (0..TOKENS).map(|token| token * 7919 % cut_offs);
            let known: Vec<_> = spread.map(|user| scopes("user", user)).collect();
            ask("hit", &known, old, true);
        }
    }
}

fn with_cut_offs(cut_offs: u64) -> Epochs {
    let epochs = common::loaded(StoreTime::from_micros(NEWEST));
    for user in 0..cut_offs {
        let at = CutOff::at(StoreTime::from_micros(NEWEST - user), Demand::Login);
        epochs.raise(&scopes("user", user)[0], at);
    }
    epochs
}

/// What a token of ours is in, besides everyone: a user, a session, itself and a group.
fn scopes(name: &str, number: u64) -> [Scope; 4] {
    let valid = "a short name is a valid identifier";
    [
        Scope::user(&format!("{name}-{number}")).expect(valid),
        Scope::session(&format!("session-{name}-{number}")).expect(valid),
        Scope::token(&format!("token-{name}-{number}")).expect(valid),
        Scope::group("staff").expect(valid),
    ]
}

criterion_group! { name = benches; config = common::short(); targets = revoked }
criterion_main!(benches);
