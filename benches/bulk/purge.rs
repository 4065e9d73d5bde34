//! A purge of a million cut-offs, and how long revocations wait meanwhile.

use std::time::Duration;

use tower_revocation::{
    Demand,
    lifetimes::Lifetimes,
    scope::Scope,
    store::{EpochStore, Revocation},
};

use crate::{stores::Bare, timed};

const CUT_OFFS: i64 = 1_000_000;

pub(crate) async fn run<B: Bare>() {
    let mut bare = B::new().await;
    bare.fill(CUT_OFFS).await;
    for what in ["all of them outlived", "none of them left"] {
        let store = bare.store().clone();
        let purge = tokio::spawn(async move { timed(store.purge(Lifetimes::default())).await });
        let (mut waits, mut number) = (Vec::new(), 0);
        while !purge.is_finished() {
            number += 1;
            let scope = Scope::user(&format!("somebody-{number}")).unwrap();
            let revoke = bare.store().revoke(Revocation::new(scope, Demand::Login));
            let (wait, receipt) = timed(revoke).await;
            receipt.unwrap();
            waits.push(wait);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (time, gone) = purge.await.unwrap();
        waits.sort();
        println!(
            "purge of {CUT_OFFS} cut-offs, {what}, {}: {time:.1?}, {} gone; of {} revocations \
             meanwhile the median took {:.1?}, the longest {:.1?}",
            B::NAME,
            gone.unwrap(),
            waits.len(),
            waits[waits.len() / 2],
            waits[waits.len() - 1],
        );
    }
}
