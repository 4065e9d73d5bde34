//! How often the store is asked. Time is a number.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tower_revocation::{
    Demand, Epochs, Scope,
    cutoff::{CutOff, Stamp, StoreTime},
    epochs::Verdict,
};

/// The tokens whose requests are counted. How many others there are makes no difference to them.
const TOKENS: u32 = 500;

/// Each token is used once in so many seconds, and lives for so many.
const INTERVAL: u64 = 10;
const LIFE: u64 = 900;

/// For so long, of which the first life of a token is not counted.
const SECONDS: u64 = 3 * LIFE;

struct Token {
    scopes: [Scope; 3],
    stamp: Stamp,
    minted: u64,
}

/// The share of requests of which the store is asked, with so many logouts a second. Whoever was
/// confirmed has a new token.
pub(crate) fn share_asked(buckets: u32, rate: f64) -> f64 {
    let mut random = StdRng::seed_from_u64(7);
    let epochs = Epochs::builder().buckets(buckets).build().unwrap();
    let mut newest = StoreTime::ZERO;
    let mut tokens: Vec<Token> = (0..TOKENS)
        .map(|number| Token {
            scopes: [
                Scope::user(&format!("user-{number}")).unwrap(),
                Scope::session(&format!("session-{number}")).unwrap(),
                Scope::token(&format!("token-{number}")).unwrap(),
            ],
            stamp: Stamp::after(newest),
            minted: random.random_range(0..LIFE),
        })
        .collect();
    let (mut asked, mut requests, mut due, mut gone) = (0_u32, 0_u32, 0.0, 0_u64);
    for now in LIFE..LIFE + SECONDS {
        due += rate;
        while due >= 1.0 {
            due -= 1.0;
            gone += 1;
            newest = newest.next().unwrap();
            let scope = Scope::session(&format!("gone-{gone}")).unwrap();
            epochs.raise(&scope, CutOff::at(newest, Demand::Login));
        }
        for token in &mut tokens {
            if now >= token.minted + LIFE {
                (token.stamp, token.minted) = (Stamp::after(newest), now);
            }
            if random.random_range(0..INTERVAL) > 0 {
                continue;
            }
            let doubtful = epochs.verdict(&token.scopes, token.stamp) == Verdict::Doubtful;
            if doubtful {
                token.stamp = Stamp::after(newest);
            }
            if now >= 2 * LIFE {
                requests += 1;
                asked += u32::from(doubtful);
            }
        }
    }
    f64::from(asked) / f64::from(requests)
}
