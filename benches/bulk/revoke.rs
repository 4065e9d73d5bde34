//! `revoke_many` beside one bare upsert of as many rows of the same shape, each with its commit.

use tower_revocation::{
    Demand,
    scope::{Id, Scope},
    store::{EpochStore, Revocation},
};

use crate::{median, median_ratio, stores::Bare, timed};

const REVOCATIONS: usize = 10_000;
const TURNS: usize = 15;

pub(crate) async fn run<B: Bare>() {
    let mut bare = B::new().await;
    let (mut ours, mut upsert) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        // Other users in each turn and for each of the two, so that all rows are new.
        let users = users();
        upsert.push(bare.upsert(&users).await);
        let revocations: Vec<Revocation> = self::users()
            .iter()
            .map(|user| Revocation::new(Scope::user(user).unwrap(), Demand::Login))
            .collect();
        let (time, receipt) = timed(bare.store().revoke_many(&revocations)).await;
        receipt.unwrap();
        ours.push(time);
    }
    println!(
        "revoke_many of {REVOCATIONS}, {}: {:.1?}, bare upsert {:.1?}: {:.2} times as long",
        B::NAME,
        median(&ours),
        median(&upsert),
        median_ratio(&ours, &upsert),
    );
}

fn users() -> Vec<String> {
    (0..REVOCATIONS).map(|_| format!("user-{}", Id::random())).collect()
}
