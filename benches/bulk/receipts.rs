//! From a revocation to the acknowledgement of all, over three processes on PostgreSQL, beside the bare
//! statements: commit one upsert, `NOTIFY`, and another process hears it and asks.
//!
//! This process is one of the three, and the others are this benchmark once more.

use std::time::Duration;

use tower_revocation::{
    Demand, Follower,
    clock::Clock,
    epochs::Epochs,
    scope::{Id, Scope},
    store::{EpochStore, How, PostgresStore, Revocation},
};

use crate::{
    databases::Database,
    latency::{Bare, Other, Role},
    timed,
};

const TURNS: usize = 1_000;

/// Far more than it takes.
const LONG: Duration = Duration::from_secs(60);

pub(crate) async fn run() {
    let database = Database::on("POSTGRES_URL").await;
    let store = PostgresStore::open(&database.url()).await.unwrap();
    let mut bare = Bare::make(&database).await;
    let (mut one, mut other) = (
        Other::start(&database.url(), Role::IsOfAFleet).await,
        Other::start(&database.url(), Role::IsOfAFleet).await,
    );
    let epochs = Epochs::new();
    let here = Id::new("here").unwrap();
    let _sync = Follower::new(store.clone(), epochs.clone()).in_fleet(here).start().unwrap();
    epochs.ready().await;
    let clock = Clock::system();
    let (mut ours, mut beside) = (Vec::new(), Vec::new());
    for turn in 0..TURNS {
        let began = clock.now().wall;
        bare.revoke(turn).await;
        beside.push(one.enforced("bare", turn as u64 + 1).await - began);
        other.enforced("bare", turn as u64 + 1).await;

        let scope = Scope::user(&format!("user-{turn}")).unwrap();
        let (time, enforcement) = timed(async {
            let receipt = store.revoke(Revocation::new(scope, Demand::Login)).await.unwrap();
            receipt.enforced_everywhere(&store, LONG).await.unwrap()
        })
        .await;
        let acknowledged = |how: &How| *how == How::Acknowledged;
        let hows = enforcement.instances.iter().map(|enforced| enforced.how);
        assert_eq!(hows.filter(acknowledged).count(), 3, "{enforcement:?}");
        ours.push(time);
    }
    ours.sort();
    beside.sort();
    for (name, place) in [("p50", TURNS / 2), ("p99", TURNS * 99 / 100)] {
        println!(
            "revocation to the acknowledgement of three processes, {name} of {TURNS}: {:.2?}, bare to \
             one other {:.2?}: {:.2} times as long",
            ours[place],
            beside[place],
            ours[place].div_duration_f64(beside[place]),
        );
    }
}
