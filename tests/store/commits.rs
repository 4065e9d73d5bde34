//! What goes on between the statements of PostgreSQL's transactions: commits out of order, waiting for the
//! clock row, and what is said when.

use std::time::Duration;

use sqlx::{Connection, PgConnection, query_scalar, raw_sql};
use tokio::time::timeout;
use tower_revocation::{
    Demand,
    store::{EpochStore, PostgresOptions, PostgresStore, Revocation},
};

use crate::{
    harness::{Harness, cut_off, newest, user},
    servers::Postgres,
};

const LONG: Duration = Duration::from_secs(10);

/// Waits until `sql` counts at least one.
async fn until(sql: &'static str, connection: &mut PgConnection) {
    let counted = async {
        while query_scalar::<_, i64>(sql).fetch_one(&mut *connection).await.unwrap() == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, counted).await.expect(sql);
}

#[tokio::test]
#[ignore = "needs PostgreSQL; run with bash .ci/databases cargo test -- --ignored"]
async fn a_request_that_commits_after_a_later_one_was_sealed_is_sealed_too() {
    let harness = Postgres::new().await;
    let (mut first, mut second) = (harness.sql().await, harness.sql().await);
    let mut slow = first.begin().await.unwrap();
    let alice = Revocation::new(user("alice"), Demand::Login);
    let early = harness.store().revoke_in(&mut slow, alice).await.unwrap();
    let mut quick = second.begin().await.unwrap();
    let bob = Revocation::new(user("bob"), Demand::Login);
    let late = harness.store().revoke_in(&mut quick, bob).await.unwrap();
    quick.commit().await.unwrap();
    let late = late.sealed().await.unwrap();
    slow.commit().await.unwrap();
    let early = early.sealed().await.unwrap();
    assert!(early.revoked_before() > late.revoked_before());
    assert_eq!(cut_off(&harness, &user("alice")).await.login_before, early.revoked_before());
    assert_eq!(newest(&harness).await, early.revoked_before());
}

#[tokio::test]
#[ignore = "needs PostgreSQL; run with bash .ci/databases cargo test -- --ignored"]
async fn a_cut_off_is_no_older_than_the_lock_that_it_waited_for() {
    let harness = Postgres::new().await;
    let mut holder = harness.sql().await;
    // On the database's own clock.
    let options = PostgresOptions::new(harness.database.postgres());
    let store = PostgresStore::connect(options).await.unwrap();
    let mut held = holder.begin().await.unwrap();
    raw_sql("SELECT newest FROM revocation_clock FOR UPDATE").execute(&mut *held).await.unwrap();
    let revoking = tokio::spawn(async move {
        store.revoke(Revocation::new(user("alice"), Demand::Login)).await.unwrap()
    });
    let waiting = "SELECT count(*) FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    until(waiting, &mut harness.sql().await).await;
    let now = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    let now: i64 = query_scalar(now).fetch_one(&mut *held).await.unwrap();
    held.commit().await.unwrap();
    let cut_off = revoking.await.unwrap().revoked_before().as_micros();
    assert!(cut_off >= u64::try_from(now).unwrap(), "{cut_off} {now}");
}

#[tokio::test]
#[ignore = "needs PostgreSQL; run with bash .ci/databases cargo test -- --ignored"]
async fn an_announcement_is_the_last_thing_and_a_transaction_of_its_own() {
    let harness = Postgres::new().await;
    let revocation = Revocation::new(user("alice"), Demand::Login);
    harness.store().revoke(revocation).await.unwrap();
    // Whoever announces as a part of the commit holds a lock that all others who announce wait for.
    let announced = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                     AND state = 'idle' AND query LIKE 'NOTIFY%'";
    until(announced, &mut harness.sql().await).await;
}
