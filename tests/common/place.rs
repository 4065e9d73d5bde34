//! Where the instances of a test keep what they share: a folder, and a database.
//!
//! The database is a SQLite file in the folder, unless `TEST_STORE` names a server (`postgres://…`,
//! `mysql://…`), which then gets a database for each folder; or `memory:`, a store in memory for
//! each folder. So the same tests run over every store.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex},
};

use sqlx::{
    AssertSqlSafe, Connection, MySqlConnection, MySqlPool, PgConnection, PgPool, SqliteConnection,
    SqlitePool, query_scalar, raw_sql, sqlite::SqliteConnectOptions,
};
use tempfile::TempDir;
use tower_revocation::{
    AnyStore, MySqlStore, PostgresStore, SqliteStore,
    clock::Clock,
    store::{AnyTransaction, MemoryStore, MySqlOptions, PostgresOptions},
};

use super::databases::{self, Database};

/// A folder with its database; both are gone when it is dropped.
pub(crate) struct Place {
    folder: TempDir,
    // Dropped last, when nobody is connected any more.
    _database: Option<Database>,
}

impl Place {
    pub(crate) async fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap()).await
    }

    /// Where durable commits cost little, if there is such a place.
    pub(crate) async fn fast() -> Self {
        let memory = Path::new("/dev/shm");
        let in_memory = memory.is_dir().then(|| tempfile::tempdir_in(memory).ok()).flatten();
        Self::at(in_memory.unwrap_or_else(|| tempfile::tempdir().unwrap())).await
    }

    async fn at(folder: TempDir) -> Self {
        let database = match server() {
            Some(server) => Some(Database::named(&server, &name(folder.path())).await),
            None => None,
        };
        Self { folder, _database: database }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// `TEST_STORE`, if it is the URL of a server.
fn server() -> Option<String> {
    std::env::var("TEST_STORE").ok().filter(|store| !store.is_empty() && store != "memory:")
}

/// The database of a folder: the same name in every process.
fn name(folder: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    folder.hash(&mut hasher);
    format!("test_{:016x}", hasher.finish())
}

/// The URL of the database of `folder`, where it is on a server.
pub(crate) fn url(folder: &Path) -> Option<String> {
    Some(databases::url(&server()?, &name(folder)))
}

/// A handle of its own on the database of `folder`, by the file's name there where it is SQLite.
pub(crate) async fn store(folder: &Path, file: &str, clock: Clock) -> AnyStore {
    static IN_MEMORY: LazyLock<Mutex<HashMap<PathBuf, MemoryStore>>> =
        LazyLock::new(Mutex::default);
    if std::env::var("TEST_STORE").is_ok_and(|store| store == "memory:") {
        let mut stores = IN_MEMORY.lock().unwrap();
        let store = stores.entry(folder.to_owned());
        return AnyStore::Memory(store.or_insert_with(|| MemoryStore::with_clock(clock)).clone());
    }
    match url(folder) {
        None => {
            let options = SqliteConnectOptions::new().filename(folder.join(file));
            let store = SqliteStore::connect(options.create_if_missing(true), clock).await;
            AnyStore::Sqlite(store.unwrap())
        }
        Some(url) => store_at(&url, clock).await,
    }
}

/// The same, of the database at `url`.
pub(crate) async fn store_at(url: &str, clock: Clock) -> AnyStore {
    if url.starts_with("mysql") {
        let options = MySqlOptions::new(url.parse().unwrap()).clock(clock);
        return AnyStore::MySql(MySqlStore::connect(options).await.unwrap());
    }
    let options = PostgresOptions::new(url.parse().unwrap()).clock(clock);
    AnyStore::Postgres(PostgresStore::connect(options).await.unwrap())
}

/// A connection of somebody's who knows the tables: plain SQL, in the words of each database.
pub(crate) enum PlainSql {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
    MySql(MySqlConnection),
}

/// The same with each kind of connection.
macro_rules! each {
    ($sql:expr, $connection:ident => $answer:expr) => {
        match $sql {
            PlainSql::Sqlite($connection) => $answer,
            PlainSql::Postgres($connection) => $answer,
            PlainSql::MySql($connection) => $answer,
        }
    };
}

impl PlainSql {
    /// A connection to the database of `folder`.
    pub(crate) async fn connect(folder: &Path, file: &str) -> Self {
        match url(folder) {
            None => {
                let options = SqliteConnectOptions::new().filename(folder.join(file));
                Self::Sqlite(SqliteConnection::connect_with(&options).await.unwrap())
            }
            Some(url) if url.starts_with("mysql") => {
                Self::MySql(MySqlConnection::connect(&url).await.unwrap())
            }
            Some(url) => Self::Postgres(PgConnection::connect(&url).await.unwrap()),
        }
    }

    /// Runs the one of SQLite, PostgreSQL and MySQL.
    pub(crate) async fn run(&mut self, [sqlite, postgres, mysql]: [&str; 3]) {
        let sql = match self {
            Self::Sqlite(_) => sqlite,
            Self::Postgres(_) => postgres,
            Self::MySql(_) => mysql,
        };
        let sql = AssertSqlSafe(sql.to_owned());
        each!(self, connection => {
            raw_sql(sql).execute(connection).await.unwrap();
        });
    }

    /// The numbers in the one column of an answer.
    pub(crate) async fn numbers(&mut self, sql: &str) -> Vec<i64> {
        let sql = AssertSqlSafe(sql.to_owned());
        each!(self, connection => query_scalar(sql).fetch_all(connection).await.unwrap())
    }

    /// The texts in the one column of an answer.
    pub(crate) async fn texts(&mut self, sql: &str) -> Vec<String> {
        let sql = AssertSqlSafe(sql.to_owned());
        each!(self, connection => query_scalar(sql).fetch_all(connection).await.unwrap())
    }

    /// The column of a session's user: a word of PostgreSQL's has another name there.
    pub(crate) fn user(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "user",
            _ => "user_id",
        }
    }
}

/// A transaction of an application's on the database of `folder`.
pub(crate) async fn begin(folder: &Path, file: &str) -> AnyTransaction<'static> {
    match url(folder) {
        None => {
            let options = SqliteConnectOptions::new().filename(folder.join(file));
            let pool = SqlitePool::connect_with(options).await.unwrap();
            AnyTransaction::Sqlite(pool.begin().await.unwrap())
        }
        Some(url) if url.starts_with("mysql") => {
            let pool = MySqlPool::connect(&url).await.unwrap();
            AnyTransaction::MySql(pool.begin().await.unwrap())
        }
        Some(url) => {
            let pool = PgPool::connect(&url).await.unwrap();
            AnyTransaction::Postgres(pool.begin().await.unwrap())
        }
    }
}

/// Runs a statement in that.
pub(crate) async fn run_in(transaction: &mut AnyTransaction<'_>, sql: &str) {
    let sql = AssertSqlSafe(sql.to_owned());
    match transaction {
        AnyTransaction::Sqlite(transaction) => {
            raw_sql(sql).execute(&mut **transaction).await.unwrap();
        }
        AnyTransaction::MySql(transaction) => {
            raw_sql(sql).execute(&mut **transaction).await.unwrap();
        }
        AnyTransaction::Postgres(transaction) => {
            raw_sql(sql).execute(&mut **transaction).await.unwrap();
        }
        _ => panic!("a transaction of an unknown database"),
    }
}
