//! Loading a large table from PostgreSQL, half of it by each of two connections.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection, PgConnection, query_scalar, raw_sql};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};
use tower_revocation::{
    cutoff::StoreTime,
    store::{Changes, Entry, EpochStore, PostgresOptions, PostgresStore, PostgresWatch, Watch},
};

use crate::databases::Database;

const LONG: Duration = Duration::from_secs(20);

/// The rows of a table that has more than 1,024 pages, all of them full, and those of a small one.
const MANY: i64 = 16_000;
const FEW: i64 = 1_000;

/// How many statements a load is.
const BY_ONE: u64 = 4; // BEGIN, the head, COPY, COMMIT
const BY_TWO: u64 = 7; // BEGIN, the head, the snapshot, COPY, COMMIT; BEGIN, COPY
const BY_ONE_AFTER_ALL: u64 = 6; // without the second BEGIN

/// A database, and an instance that reaches it through a door.
struct Large {
    door: Door,
    store: PostgresStore,
    watch: PostgresWatch,
    // Last: dropped when the connections are.
    database: Database,
}

impl Large {
    async fn new(rows: i64) -> Self {
        let database = Database::on("POSTGRES_URL").await;
        // Its tables.
        drop(PostgresStore::open(&database.url()).await.unwrap());
        let mut sql = PgConnection::connect_with(&database.postgres()).await.unwrap();
        // The first connection may be idle for longer than others.
        let name = database.postgres().get_database().unwrap().to_owned();
        let fill = format!(
            "INSERT INTO revocations (scope, subject, login_before, changed_at) \
             SELECT 'user', lpad(n::text, 500, 'x'), n, n FROM generate_series(1, {rows}) AS n; \
             UPDATE revocation_clock SET newest = {rows}; \
             ALTER DATABASE {name} SET idle_in_transaction_session_timeout = 500"
        );
        raw_sql(AssertSqlSafe(fill)).execute(&mut sql).await.unwrap();
        let server = database.postgres();
        let door = Door::to(server.get_port()).await;
        let options = PostgresOptions::new(server.port(door.port));
        let store = PostgresStore::connect(options).await.unwrap();
        let watch = store.watch().await.unwrap();
        let mut sql = PgConnection::connect_with(&database.postgres()).await.unwrap();
        // Whoever connects from here on is the second.
        until(
            &mut sql,
            "EXISTS (SELECT FROM pg_stat_activity \
             WHERE datname = current_database() AND query LIKE 'LISTEN%')",
        )
        .await;
        Self { door, store, watch, database }
    }

    /// Past the door.
    async fn sql(&self) -> PgConnection {
        PgConnection::connect_with(&self.database.postgres()).await.unwrap()
    }

    /// Loads, and tells how many statements that took.
    async fn load(&mut self) -> (Changes, u64) {
        let before = self.store.statements().sync;
        let loaded = timeout(LONG, self.watch.load()).await.unwrap().unwrap();
        (loaded, self.store.statements().sync - before)
    }

    /// Loads, and does `meanwhile` once the first connection has copied its half, before there is a
    /// second one.
    async fn load_with(
        mut self,
        meanwhile: impl AsyncFnOnce(&mut PgConnection),
    ) -> (Self, Changes, u64) {
        let mut sql = self.sql().await;
        self.door.set(Stand::Shut);
        let before = self.store.statements().sync;
        let mut watch = self.watch;
        let load = tokio::spawn(async move { (watch.load().await.unwrap(), watch) });
        until(
            &mut sql,
            "EXISTS (SELECT FROM pg_stat_activity \
             WHERE datname = current_database() \
                 AND state = 'idle in transaction' AND query LIKE 'COPY%')",
        )
        .await;
        meanwhile(&mut sql).await;
        self.door.set(Stand::Open);
        let (loaded, watch) = timeout(LONG, load).await.unwrap().unwrap();
        self.watch = watch;
        let statements = self.store.statements().sync - before;
        (self, loaded, statements)
    }
}

/// Waits until that holds in the database.
async fn until(sql: &mut PgConnection, holds: &'static str) {
    let holds = format!("SELECT {holds}");
    let held = async {
        while !query_scalar::<_, bool>(AssertSqlSafe(holds.clone()))
            .fetch_one(&mut *sql)
            .await
            .unwrap()
        {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, held).await.unwrap_or_else(|_| panic!("never: {holds}"));
}

/// Whether these are the first `rows` revocations, each once and as it was made.
fn assert_all(loaded: &Changes, rows: i64) {
    assert_eq!(loaded.head, StoreTime::from_micros(rows as u64));
    let mut told: Vec<(u64, u64)> = loaded
        .entries
        .iter()
        .map(|entry| {
            let number = entry.scope.subject().trim_start_matches('x').parse().unwrap();
            (number, entry.cut_off.login_before.as_micros())
        })
        .collect();
    told.sort_unstable();
    let all: Vec<(u64, u64)> = (1..=rows as u64).map(|number| (number, number)).collect();
    assert!(told == all, "{} rows of {rows}", told.len());
    let other =
        |entry: &&Entry| entry.cut_off.reissue_before.max(entry.cleared_at) > StoreTime::ZERO;
    assert_eq!(loaded.entries.iter().find(other), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL; run with bash .ci/databases cargo test -- --ignored"]
async fn a_large_table_is_loaded_by_two_connections_and_a_small_one_by_one() {
    for (rows, expected) in [(FEW, BY_ONE), (MANY, BY_TWO)] {
        let mut database = Large::new(rows).await;
        let accepted = database.door.accepted();
        for _ in 0..2 {
            let (loaded, statements) = database.load().await;
            assert_all(&loaded, rows);
            assert_eq!(statements, expected);
        }
        let more = database.door.accepted() - accepted;
        assert_eq!(more, if expected == BY_TWO { 2 } else { 0 });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL; run with bash .ci/databases cargo test -- --ignored"]
async fn a_load_tells_nothing_that_was_committed_between_its_halves() {
    let (mut database, loaded, statements) = Large::new(MANY)
        .await
        .load_with(async |sql| {
            // Out of the half that is read into that which is not, out of that, and anew.
            let change = "UPDATE revocation_clock SET newest = 1000000; \
                 UPDATE revocations SET login_before = 1000000, changed_at = 1000000 \
                 WHERE login_before % 50 = 1; \
                 DELETE FROM revocations WHERE login_before % 50 = 2; \
                 INSERT INTO revocations (scope, subject, login_before, changed_at) \
                 VALUES ('user', 'alice', 1000000, 1000000)";
            raw_sql(change).execute(sql).await.unwrap();
        })
        .await;
    assert_all(&loaded, MANY);
    assert_eq!(statements, BY_TWO);
    // And all of it by the next one.
    let (loaded, _) = database.load().await;
    assert_eq!(loaded.head, StoreTime::from_micros(1_000_000));
    let raised = loaded.entries.iter().filter(|entry| entry.cut_off.login_before == loaded.head);
    assert_eq!(raised.count(), MANY as usize / 50 + 1);
    assert_eq!(loaded.entries.len(), MANY as usize - MANY as usize / 50 + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL; run with bash .ci/databases cargo test -- --ignored"]
async fn a_load_does_without_a_second_connection() {
    let mut database = Large::new(MANY).await;
    for stand in [Stand::Locked, Stand::Shut, Stand::Open] {
        database.door.set(stand.clone());
        let (loaded, statements) = database.load().await;
        assert_all(&loaded, MANY);
        let expected = if stand == Stand::Open { BY_TWO } else { BY_ONE_AFTER_ALL };
        assert_eq!(statements, expected, "{stand:?}");
    }
    // The server refuses it.
    let name = database.database.postgres().get_database().unwrap().to_owned();
    let admin = std::env::var("POSTGRES_URL").unwrap();
    let mut admin = PgConnection::connect(&admin).await.unwrap();
    let full = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false");
    raw_sql(AssertSqlSafe(full)).execute(&mut admin).await.unwrap();
    let (loaded, statements) = database.load().await;
    assert_all(&loaded, MANY);
    assert_eq!(statements, BY_ONE_AFTER_ALL);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL; run with bash .ci/databases cargo test -- --ignored"]
async fn a_load_does_without_a_snapshot_on_the_second_connection() {
    // Its way leads to another server, as far as snapshots go: to another database.
    let other = Database::on("POSTGRES_URL").await;
    drop(PostgresStore::open(&other.url()).await.unwrap());
    let mut database = Large::new(MANY).await;
    let name = |database: &Database| database.postgres().get_database().unwrap().to_owned();
    database.door.set(Stand::Elsewhere(name(&database.database), name(&other)));
    let (loaded, statements) = database.load().await;
    assert_all(&loaded, MANY);
    // The second BEGIN is refused.
    assert_eq!(statements, BY_ONE_AFTER_ALL + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL; run with bash .ci/databases cargo test -- --ignored"]
async fn what_a_database_refuses_is_asked_for_in_another_way_from_then_on() {
    let mut database = Large::new(MANY).await;
    // It has pages, and can neither be locked nor copied as a table is.
    let other = "ALTER TABLE revocations RENAME TO t; \
         CREATE MATERIALIZED VIEW revocations AS SELECT * FROM t";
    raw_sql(other).execute(&mut database.sql().await).await.unwrap();
    // BEGIN, the head, the snapshot; BEGIN, the head, COPY; a poll.
    for expected in [7, 1] {
        let (loaded, statements) = database.load().await;
        assert_all(&loaded, MANY);
        assert_eq!(statements, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL; run with bash .ci/databases cargo test -- --ignored"]
async fn a_table_that_waits_to_be_written_anew_keeps_no_load() {
    let database = Large::new(MANY).await;
    let mut vacuum = database.sql().await;
    let (_database, loaded, statements) = database
        .load_with(async |sql| {
            let work = tokio::spawn(async move {
                raw_sql("VACUUM FULL revocations").execute(&mut vacuum).await.unwrap();
            });
            until(
                sql,
                "EXISTS (SELECT FROM pg_locks WHERE NOT granted \
                 AND relation = 'revocations'::regclass)",
            )
            .await;
            assert!(!work.is_finished());
        })
        .await;
    assert_all(&loaded, MANY);
    // The second waits behind it, and gives up.
    assert_eq!(statements, BY_TWO + 1);
}

/// A way to a server, on which new connections can be kept from it.
struct Door {
    port: u16,
    stand: watch::Sender<Stand>,
    accepted: Arc<AtomicUsize>,
    work: JoinHandle<()>,
}

/// What becomes of a new connection. Those that are through are through.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stand {
    Open,
    /// It asks for the second database where it asks for the first.
    Elsewhere(String, String),
    /// It waits for another.
    Shut,
    /// It is closed.
    Locked,
}

impl Door {
    async fn to(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stand, stands) = watch::channel(Stand::Open);
        let accepted = Arc::<AtomicUsize>::default();
        let count = accepted.clone();
        let work = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let mut stands = stands.clone();
                connections.spawn(async move {
                    let stand = stands.wait_for(|stand| *stand != Stand::Shut).await;
                    let Ok(stand) = stand.map(|stand| stand.clone()) else { return };
                    if stand == Stand::Locked {
                        return;
                    }
                    let to = (Ipv4Addr::LOCALHOST, server);
                    let mut server = TcpStream::connect(to).await.unwrap();
                    if let Stand::Elsewhere(asked, given) = stand {
                        let mut first = vec![0; 1024];
                        let length = client.read(&mut first).await.unwrap();
                        let place = first[..length].windows(asked.len());
                        let place = place.into_iter().position(|name| name == asked.as_bytes());
                        first[place.unwrap()..][..asked.len()].copy_from_slice(given.as_bytes());
                        server.write_all(&first[..length]).await.unwrap();
                    }
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { port, stand, accepted, work }
    }

    fn set(&self, stand: Stand) {
        self.stand.send_replace(stand);
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.work.abort();
    }
}
