//! No commit is missed: eight writers in three processes, a follower that polls as the crate does,
//! and beside it the naive cursor, which does miss some.
//!
//! The control proves that the writers overlap as they have to: a test in which the naive cursor
//! found everything would say nothing about the other one.

use std::{collections::HashSet, fmt::Write, time::Duration};

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{interval, sleep},
};
use tower_revocation::{EpochStore, Scope, store::Watch};

use crate::{
    cluster::{Cluster, Engine},
    databases::{Database, MariaDb, Postgres, Sqlite},
    report::{publish, setting},
    writers::{Elsewhere, Order, write},
};

/// How many of the eight write in each of the three processes.
const WRITERS: [usize; 3] = [2, 3, 3];

/// Between two polls.
const PAUSE: Duration = Duration::from_millis(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes seconds under load; run with `just faults`"]
async fn no_commit_is_missed_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("test.db");
    run::<Sqlite>("sqlite", place.to_str().unwrap(), "SQLite").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL's programs; run with `just faults`"]
async fn no_commit_is_missed_on_postgres() {
    let cluster = Cluster::start(Engine::Postgres).await;
    run::<Postgres>("postgres", &cluster.url(), "PostgreSQL").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs MariaDB's programs; run with `just faults`"]
async fn no_commit_is_missed_on_mariadb() {
    let cluster = Cluster::start(Engine::MariaDb).await;
    run::<MariaDb>("mariadb", &cluster.url(), "MariaDB").await;
}

async fn run<D: Database>(engine: &'static str, place: &str, title: &str) {
    let time = Duration::from_secs(setting("FAULTS_COMMIT_SECONDS", 3));
    let database = D::open(place).await;
    let (done, running) = watch::channel(());
    let follower = follow(database.store().clone(), running.clone()).await;
    let control = control(database.clone(), running);

    let order = |process: usize| Order {
        engine,
        place: place.to_owned(),
        writers: WRITERS[process],
        time,
        name: format!("p{process}"),
    };
    let others = [1, 2].map(|process| Elsewhere::start(&order(process)));
    let mut committed = write(&database, &order(0)).await;
    for other in others {
        committed.extend(other.committed().await);
    }
    drop(done);
    let (seen, control_seen) = (follower.await.unwrap(), control.await.unwrap());

    let missed = committed.iter().filter(|subject| !seen.contains(*subject)).count();
    // Not all of them have a row there; of those that do, all have committed.
    let control_rows = database.control(0).await;
    let control_missed =
        control_rows.iter().filter(|(_, subject)| !control_seen.contains(subject)).count();
    let mut row = String::new();
    writeln!(
        row,
        "| {title} | {} s | {} | {missed} | {} | {control_missed} |",
        time.as_secs(),
        committed.len(),
        control_rows.len()
    )
    .unwrap();
    publish(&format!("commits-{engine}"), &row);
    assert!(committed.len() > 50, "only {} commits", committed.len());
    assert_eq!(missed, 0);
    assert!(control_missed > 0, "the writers do not overlap");
}

/// Polls as the crate does, until `running` ends and once more. Returns the users it heard of.
async fn follow<S: EpochStore>(
    store: S,
    mut running: watch::Receiver<()>,
) -> JoinHandle<HashSet<String>> {
    let mut watch = store.watch().await.unwrap();
    // Before anybody writes: whatever is seen later is seen by a poll.
    let mut cursor = watch.load().await.unwrap().head;
    tokio::spawn(async move {
        let mut seen = HashSet::new();
        loop {
            let last = tokio::select! {
                ended = running.changed() => ended.is_err(),
                () = sleep(PAUSE) => false,
            };
            // A poll that fails is asked again, with the same cursor.
            if let Ok(changes) = watch.poll(cursor).await {
                assert!(changes.head >= cursor, "the head went back");
                cursor = changes.head;
                seen.extend(changes.entries.into_iter().filter_map(|entry| match entry.scope {
                    Scope::User(user) => Some(user.as_str().to_owned()),
                    _ => None,
                }));
                if last {
                    return seen;
                }
            } else if let Ok(anew) = store.watch().await {
                watch = anew;
            }
        }
    })
}

/// The naive cursor: the highest number that was seen.
fn control<D: Database>(
    database: D,
    mut running: watch::Receiver<()>,
) -> JoinHandle<HashSet<String>> {
    tokio::spawn(async move {
        let (mut seen, mut cursor) = (HashSet::new(), 0);
        let mut ticks = interval(PAUSE);
        loop {
            let last = tokio::select! {
                ended = running.changed() => ended.is_err(),
                _ = ticks.tick() => false,
            };
            for (id, subject) in database.control(cursor).await {
                cursor = cursor.max(id);
                seen.insert(subject);
            }
            if last {
                return seen;
            }
        }
    })
}
