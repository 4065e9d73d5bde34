//! Instances that read from a hot standby of PostgreSQL, and failover to one that lags behind.

use std::time::Duration;

use sqlx::{Connection, PgConnection, query_scalar, raw_sql};
use tokio::time::{sleep, timeout};
use tower_revocation::{
    Demand, EpochStore, Epochs, Follower, PostgresStore, Revocation, Scope, SyncHandle,
    cutoff::Receipt, epochs::Freshness, layer::Confirm, store::PostgresOptions,
};

use crate::cluster::{Cluster, Engine};

const POLL: Duration = Duration::from_millis(50);
const MAX_STALENESS: Duration = Duration::from_millis(600);
const LONG: Duration = Duration::from_secs(15);

/// One that follows the database at `url`.
struct Instance {
    store: PostgresStore,
    epochs: Epochs,
    _sync: SyncHandle,
}

impl Instance {
    async fn start(url: &str, heartbeat: Option<Duration>) -> Self {
        let epochs = Epochs::builder().max_staleness(MAX_STALENESS).build().unwrap();
        Self::with(epochs, url, heartbeat).await
    }

    async fn with(epochs: Epochs, url: &str, heartbeat: Option<Duration>) -> Self {
        let mut options = PostgresOptions::new(url.parse().unwrap());
        if let Some(interval) = heartbeat {
            options = options.heartbeat(interval).unwrap();
        }
        let store = PostgresStore::connect(options).await.unwrap();
        let sync = Follower::new(store.clone(), epochs.clone()).poll_interval(POLL).start();
        Self { store, epochs, _sync: sync.unwrap() }
    }

    async fn revoke(&self, sub: &str) -> Receipt {
        let revocation = Revocation::new(Scope::user(sub).unwrap(), Demand::Login);
        self.store.revoke(revocation).await.unwrap()
    }

    fn freshness(&self) -> Freshness {
        self.epochs.freshness(self.epochs.clock().now())
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waited = async {
            while !holds(self) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LONG, waited).await.unwrap_or_else(|_| panic!("never {what}: {self:?}"));
    }
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.epochs.fmt(f)
    }
}

/// For the administrator of `cluster`, in the database of the instances.
async fn admin(cluster: &Cluster) -> PgConnection {
    let url = cluster.admin_url();
    let (server, _) = url.rsplit_once('/').unwrap();
    PgConnection::connect(&format!("{server}/app")).await.unwrap()
}

/// A primary with its tables, and a standby that has them too.
async fn pair() -> (Cluster, Cluster) {
    let primary = Cluster::start(Engine::Postgres).await;
    drop(PostgresStore::open(&primary.url()).await.unwrap());
    let standby = primary.standby().await;
    (primary, standby)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL's programs; run with `just faults`"]
async fn standby_without_a_heartbeat_tells_of_revocations_and_is_never_fresh() {
    let (primary, standby) = pair().await;
    let writer = Instance::start(&primary.url(), None).await;
    let reader = Instance::start(&standby.url(), None).await;
    let receipt = writer.revoke("alice").await;
    reader.until("told", |reader| reader.epochs.newest() >= receipt.revoked_before()).await;
    writer.until("fresh", |writer| writer.freshness().is_fresh()).await;
    assert_eq!(reader.freshness(), Freshness::NotLoaded);
    // Nor is what it holds against a token proof of anything.
    let scopes = [Scope::user("alice").unwrap()];
    let (here, there) = (reader.store.judged(&scopes).await, writer.store.judged(&scopes).await);
    let (here, there) = (here.unwrap(), there.unwrap());
    assert_eq!((here.primary, there.primary), (false, true));
    assert_eq!(here.cut_off, there.cut_off);
    assert!(reader.store.confirm(&scopes).await.is_err());
    // And it takes no revocation.
    let alice = Revocation::new(Scope::user("alice").unwrap(), Demand::Login);
    assert!(reader.store.revoke(alice).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL's programs; run with `just faults`"]
async fn standby_is_as_fresh_as_the_heartbeat_that_it_has_replayed() {
    let (primary, standby) = pair().await;
    let writer = Instance::start(&primary.url(), Some(Duration::from_millis(50))).await;
    let reader = Instance::start(&standby.url(), None).await;
    reader.until("fresh", |reader| reader.freshness().is_fresh()).await;
    let receipt = writer.revoke("alice").await;
    timeout(LONG, reader.epochs.wait_for(&receipt)).await.unwrap();

    // Replication stands still. The standby answers every poll, and knows nothing new.
    let mut pause = admin(&standby).await;
    raw_sql("SELECT pg_wal_replay_pause()").execute(&mut pause).await.unwrap();
    let paused = async {
        let state = "SELECT pg_get_wal_replay_pause_state()";
        while query_scalar::<_, String>(state).fetch_one(&mut pause).await.unwrap() != "paused" {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, paused).await.unwrap();
    let unseen = writer.revoke("bob").await;
    let stale = |reader: &Instance| matches!(reader.freshness(), Freshness::Stale { .. });
    reader.until("stale", stale).await;
    assert!(writer.freshness().is_fresh());
    assert!(reader.epochs.newest() < unseen.revoked_before());

    raw_sql("SELECT pg_wal_replay_resume()").execute(&mut pause).await.unwrap();
    timeout(LONG, reader.epochs.wait_for(&unseen)).await.unwrap();
    reader.until("fresh", |reader| reader.freshness().is_fresh()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL's programs; run with `just faults`"]
async fn standby_that_lags_and_is_promoted_mints_above_what_its_instances_know() {
    let (mut primary, standby) = pair().await;
    let before = Instance::start(&primary.url(), None).await;
    let lost = before.revoke("alice").await;
    timeout(LONG, before.epochs.wait_for(&lost)).await.unwrap();
    let epochs = before.epochs.clone();
    drop(before);
    primary.kill();
    let mut control = admin(&standby).await;
    raw_sql("SELECT pg_promote()").execute(&mut control).await.unwrap();
    // As if the revocation had not arrived there.
    raw_sql("UPDATE revocation_clock SET newest = 0; DELETE FROM revocations")
        .execute(&mut control)
        .await
        .unwrap();

    // The same instance, on the new primary.
    let after = Instance::with(epochs, &standby.url(), None).await;
    let next = after.revoke("bob").await;
    timeout(LONG, after.epochs.wait_for(&next)).await.unwrap();
    after.until("fresh", |after| after.freshness().is_fresh()).await;
    assert!(next.revoked_before() > lost.revoked_before());
    let alice = Scope::user("alice").unwrap();
    assert_eq!(after.epochs.cut_off(&alice).login_before, lost.revoked_before());
}
