//! The database of the service's own table, whichever it is: the one that the crate's store is in
//! too. That lets a change of a user and the revocation that it calls for commit together.

use std::time::Duration;

use sqlx::{
    AssertSqlSafe, MySqlPool, PgPool, SqlitePool,
    mysql::MySqlPoolOptions,
    postgres::PgPoolOptions,
    query, query_as,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use tower_revocation::store::AnyTransaction;

use crate::fault::Failure;

/// How long a statement waits for a connection, and in SQLite for the write lock of somebody else.
const WAIT: Duration = Duration::from_secs(5);

/// Connections of the service's own.
const CONNECTIONS: u32 = 4;

/// A pool of connections. A handle, cheap to clone.
#[derive(Clone)]
pub enum Database {
    Sqlite(SqlitePool),
    Postgres(PgPool),
    MySql(MySqlPool),
}

/// The four texts of a user.
pub type Row = (String, String, String, String);

/// The same with each kind of connection: the drivers share no type.
macro_rules! each {
    ($database:expr, $one:ident => $answer:expr) => {
        match $database {
            Database::Sqlite($one) => $answer,
            Database::Postgres($one) => $answer,
            Database::MySql($one) => $answer,
        }
    };
}

impl Database {
    /// Opens the database at `url`, which is there.
    pub async fn open(url: &str) -> Result<Self, Failure> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            let options = SqliteConnectOptions::new().filename(path).busy_timeout(WAIT);
            let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(WAIT);
            Ok(Self::Sqlite(pool.connect_with(options).await?))
        } else if url.starts_with("mysql:") {
            let pool = MySqlPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(WAIT);
            Ok(Self::MySql(pool.connect(url).await?))
        } else {
            let pool = PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(WAIT);
            Ok(Self::Postgres(pool.connect(url).await?))
        }
    }

    /// Runs `sql`, in which `?` stands for the texts.
    pub async fn execute(&self, sql: &str, texts: &[&str]) -> Result<(), Failure> {
        let sql = if matches!(self, Self::Postgres(_)) { numbered(sql) } else { sql.to_owned() };
        each!(self, pool => {
            let mut statement = query(AssertSqlSafe(sql));
            for text in texts {
                statement = statement.bind(*text);
            }
            statement.execute(pool).await?;
        });
        Ok(())
    }

    /// The row that `sql` finds by a text, if there is one.
    pub async fn find(&self, sql: &str, text: &str) -> Result<Option<Row>, Failure> {
        let sql = if matches!(self, Self::Postgres(_)) { numbered(sql) } else { sql.to_owned() };
        each!(self, pool => {
            Ok(query_as(AssertSqlSafe(sql)).bind(text).fetch_optional(pool).await?)
        })
    }

    /// Begins a transaction that writes.
    ///
    /// In SQLite it takes the write lock at once. One that takes it later, after it has read, fails
    /// if somebody else has written in between, and no waiting cures that (`SQLITE_BUSY_SNAPSHOT`).
    pub async fn begin(&self) -> Result<AnyTransaction<'static>, Failure> {
        Ok(match self {
            Self::Sqlite(pool) => AnyTransaction::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await?),
            Self::Postgres(pool) => AnyTransaction::Postgres(pool.begin().await?),
            Self::MySql(pool) => AnyTransaction::MySql(pool.begin().await?),
        })
    }
}

/// Runs `sql`, in which `?` stands for the texts, in a transaction. Returns how many rows changed.
pub async fn execute_in(
    transaction: &mut AnyTransaction<'_>,
    sql: &str,
    texts: &[&str],
) -> Result<u64, Failure> {
    macro_rules! run {
        ($transaction:expr, $sql:expr) => {{
            let mut statement = query(AssertSqlSafe($sql));
            for text in texts {
                statement = statement.bind(*text);
            }
            Ok(statement.execute(&mut **$transaction).await?.rows_affected())
        }};
    }
    match transaction {
        AnyTransaction::Sqlite(transaction) => run!(transaction, sql.to_owned()),
        AnyTransaction::Postgres(transaction) => run!(transaction, numbered(sql)),
        AnyTransaction::MySql(transaction) => run!(transaction, sql.to_owned()),
        _ => Err("a transaction of an unknown database".into()),
    }
}

/// PostgreSQL's spelling of parameters: `$1`, `$2`, … for each `?`.
fn numbered(sql: &str) -> String {
    let mut parts = sql.split('?');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.enumerate().fold(first, |sql, (index, part)| format!("{sql}${}{part}", index + 1))
}
