//! The stores, and the bare way to each of their databases.

use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::{
    ConnectOptions, Connection, PgConnection, Row, SqliteConnection, query, query_scalar, raw_sql,
    sqlite::SqliteConnectOptions,
};
use tempfile::TempDir;
use tower_revocation::{
    clock::Clock,
    cutoff::{CutOff, StoreTime},
    scope::Scope,
    store::{Entry, EpochStore, PostgresStore, SqliteStore},
};

use crate::{databases::Database, timed};

/// A store on a database of its own, and what somebody would do there without us.
pub(crate) trait Bare: Sized {
    const NAME: &str;
    type Store: EpochStore;

    async fn new() -> Self;
    fn store(&self) -> &Self::Store;

    /// Fills the table with `count` cut-offs of users, all of them years old.
    async fn fill(&mut self, count: i64);

    /// All entries, through the plain row stream of sqlx.
    async fn stream(&mut self) -> Vec<Entry>;

    /// How long one upsert of a cut-off for each of `users` takes, with its commit and without
    /// making its parameters.
    async fn upsert(&mut self, users: &[String]) -> Duration;
}

/// A database on a server.
pub(crate) trait Server: Bare {
    /// How many statements the server has run in the database, each a transaction of its own; this
    /// one is not among them.
    async fn statements(&mut self) -> i64;
}

pub(crate) struct Sqlite {
    store: SqliteStore,
    bare: SqliteConnection,
    _directory: TempDir,
}

pub(crate) struct Postgres {
    store: PostgresStore,
    bare: PgConnection,
    // Last: dropped when the connections are.
    database: Database,
}

/// A moment years ago, from which on cut-offs are filled in: 2020.
pub(crate) const LONG_AGO: i64 = 1_577_836_800_000_000;

const STREAM: &str =
    "SELECT scope, subject, reissue_before, login_before, cleared_at FROM revocations";

/// An entry of the columns of [`STREAM`].
macro_rules! entry {
    ($row:expr) => {{
        let row = $row;
        let (kind, subject): (&str, &str) = (row.get(0), row.get(1));
        let time =
            |index: usize| StoreTime::from_micros(u64::try_from(row.get::<i64, _>(index)).unwrap());
        Entry {
            scope: Scope::new(kind.parse().unwrap(), subject).unwrap(),
            cut_off: CutOff { reissue_before: time(2), login_before: time(3) },
            cleared_at: time(4),
        }
    }};
}

impl Bare for Sqlite {
    const NAME: &str = "SQLite";
    type Store = SqliteStore;

    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new().filename(directory.path().join("bench.db"));
        let options = options.create_if_missing(true);
        let store = SqliteStore::connect(options.clone(), Clock::system()).await.unwrap();
        let bare = options.connect().await.unwrap();
        Self { store, bare, _directory: directory }
    }

    fn store(&self) -> &SqliteStore {
        &self.store
    }

    async fn fill(&mut self, count: i64) {
        query(
            "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?1) \
             INSERT INTO revocations (scope, subject, login_before, changed_at) \
             SELECT 'user', 'user-' || hex(randomblob(8)) || '-' || n, ?2 + n, ?2 + n FROM number",
        )
        .bind(count)
        .bind(LONG_AGO)
        .execute(&mut self.bare)
        .await
        .unwrap();
        query("UPDATE revocation_clock SET newest = max(newest, ?)")
            .bind(LONG_AGO + count)
            .execute(&mut self.bare)
            .await
            .unwrap();
    }

    async fn stream(&mut self) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut rows = query(STREAM).fetch(&mut self.bare);
        while let Some(row) = rows.try_next().await.unwrap() {
            entries.push(entry!(row));
        }
        entries
    }

    async fn upsert(&mut self, users: &[String]) -> Duration {
        let rows: Vec<(&str, &str, i64, i64, i64)> = (1..)
            .zip(users)
            .map(|(number, user)| ("user", user.as_str(), 0, LONG_AGO + number, LONG_AGO + number))
            .collect();
        let upsert = query(
            "INSERT INTO revocations (scope, subject, reissue_before, login_before, changed_at) \
             SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 \
             FROM json_each(?) WHERE true \
             ON CONFLICT (scope, subject) DO UPDATE SET \
                 reissue_before = max(reissue_before, excluded.reissue_before), \
                 login_before = max(login_before, excluded.login_before), \
                 changed_at = max(changed_at, excluded.changed_at)",
        )
        .bind(serde_json::to_string(&rows).unwrap());
        let (time, done) = timed(upsert.execute(&mut self.bare)).await;
        done.unwrap();
        time
    }
}

impl Bare for Postgres {
    const NAME: &str = "PostgreSQL";
    type Store = PostgresStore;

    async fn new() -> Self {
        let database = Database::on("POSTGRES_URL").await;
        let store = PostgresStore::open(&database.url()).await.unwrap();
        let bare = PgConnection::connect_with(&database.postgres()).await.unwrap();
        Self { store, bare, database }
    }

    fn store(&self) -> &PostgresStore {
        &self.store
    }

    async fn fill(&mut self, count: i64) {
        query(
            "INSERT INTO revocations (scope, subject, login_before, changed_at) \
             SELECT 'user', 'user-' || md5(random()::text) || '-' || n, $2 + n, $2 + n \
             FROM generate_series(1, $1) AS n",
        )
        .bind(count)
        .bind(LONG_AGO)
        .execute(&mut self.bare)
        .await
        .unwrap();
        query("UPDATE revocation_clock SET newest = greatest(newest, $1)")
            .bind(LONG_AGO + count)
            .execute(&mut self.bare)
            .await
            .unwrap();
        // As autovacuum would in a while.
        raw_sql("VACUUM ANALYZE revocations").execute(&mut self.bare).await.unwrap();
    }

    async fn stream(&mut self) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut rows = query(STREAM).fetch(&mut self.bare);
        while let Some(row) = rows.try_next().await.unwrap() {
            entries.push(entry!(row));
        }
        entries
    }
    async fn upsert(&mut self, users: &[String]) -> Duration {
        let times: Vec<i64> = (1..).take(users.len()).map(|number| LONG_AGO + number).collect();
        let upsert = query(
            "INSERT INTO revocations AS r \
                 (scope, subject, reissue_before, login_before, changed_at) \
             SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[]) \
             ON CONFLICT (scope, subject) DO UPDATE SET \
                 reissue_before = greatest(r.reissue_before, excluded.reissue_before), \
                 login_before = greatest(r.login_before, excluded.login_before), \
                 changed_at = greatest(r.changed_at, excluded.changed_at)",
        )
        .bind(vec!["user"; users.len()])
        .bind(users)
        .bind(vec![0_i64; users.len()])
        .bind(&times)
        .bind(&times);
        let (time, done) = timed(upsert.execute(&mut self.bare)).await;
        done.unwrap();
        time
    }
}

impl Server for Postgres {
    async fn statements(&mut self) -> i64 {
        // Over a connection to another database.
        let url = std::env::var("POSTGRES_URL").unwrap();
        let mut connection = PgConnection::connect(&url).await.unwrap();
        query_scalar("SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = $1")
            .bind(self.database.postgres().get_database().unwrap())
            .fetch_one(&mut connection)
            .await
            .unwrap()
    }
}
