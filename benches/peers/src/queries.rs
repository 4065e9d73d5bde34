//! A query by primary key on each request: when was this user's last logout?
//!
//! The query alone, and no token verified. By default sqlx's pools test a connection before they hand
//! it out, which is a second round trip; the bars are held against pools that do not.

use std::{convert::Infallible, env, fmt::Display, io, rc::Rc};

use axum::{body::Body, response::Response};
use http::{HeaderName, Request};
use redis::{AsyncCommands, aio::ConnectionManager};
use sqlx::{
    AssertSqlSafe, PgPool, Row, SqlitePool,
    postgres::PgPoolOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tower::{Service, service_fn};

use crate::{
    fixture::{Requests, subject},
    inner, ours,
    report::{Bar, Report},
    rounds::{self, Contender},
};

/// How many users each of the databases knows.
const USERS: usize = 10_000;

/// Who asks; a service would take it from a token or a cookie.
const USER: HeaderName = HeaderName::from_static("x-user");

/// Who can be asked, where that is, and how many times as much as ours it is to cost.
const DATABASES: [Database; 5] = [
    ("a query to Redis (redis-rs)", Some("REDIS_URL"), redis, Some(100.0)),
    ("a query to SQLite (sqlx)", None, |it| sqlite(it, false), Some(200.0)),
    ("a query to SQLite (sqlx's defaults)", None, |it| sqlite(it, true), None),
    ("a query to PostgreSQL (sqlx)", POSTGRES, |it| postgres(it, false), Some(350.0)),
    ("a query to PostgreSQL (sqlx's defaults)", POSTGRES, |it| postgres(it, true), None),
];

const POSTGRES: Option<&str> = Some("POSTGRES_URL");

type Database = (&'static str, Option<&'static str>, fn(Asked) -> Contender, Option<f64>);

/// What a database is asked, and where it is.
struct Asked<'a> {
    name: &'static str,
    runtime: &'a Rc<Runtime>,
    requests: &'a Requests,
    url: String,
}

impl Asked<'_> {
    fn contender<S>(self, asking: S) -> Contender
    where
        S: Service<Request<Body>, Response = Response, Error = Infallible> + 'static,
    {
        Contender::new(self.name, self.runtime, self.requests, asking, inner::bare())
    }
}

pub(crate) fn run(runtime: &Rc<Runtime>, report: &mut Report) -> io::Result<()> {
    let requests = Requests::with(USER, (0..USERS).map(subject));
    let (mut contenders, mut bars) = (vec![ours::warm(runtime)], Vec::new());
    for (name, variable, make, bar) in DATABASES {
        match variable.map(env::var).transpose() {
            Ok(url) => {
                let url = url.unwrap_or_default();
                contenders.push(make(Asked { name, runtime, requests: &requests, url }));
                bars.push(bar);
            }
            Err(_) => report.absent(name, variable.unwrap_or_default()),
        }
    }
    let costs = rounds::compare(&mut contenders);
    let [ours, queries @ ..] = &costs[..] else { unreachable!("ours is the first") };
    report.costs("a request", ours, queries);
    for (query, bar) in queries.iter().zip(bars) {
        let Some(bar) = bar else { continue };
        report.bar(Bar::at_least(format!("{} / ours", query.name), query.times(ours), bar));
        report.draw(query.name, None, query.median());
    }
    Ok(())
}

fn sqlite(asked: Asked, tested: bool) -> Contender {
    let folder = tempfile::tempdir().expect("there is room for a database");
    let pool = asked.runtime.block_on(sqlite_users(&folder, tested)).unwrap_or_else(fail);
    let asking = service_fn(move |request: Request<Body>| {
        let (pool, _folder) = (pool.clone(), &folder);
        async move {
            let query = sqlx::query_scalar("SELECT revoked_before FROM users WHERE id = ?");
            let found: i64 = query.bind(user(&request)).fetch_one(&pool).await.unwrap_or_else(fail);
            answer(found)
        }
    });
    asked.contender(asking)
}

async fn sqlite_users(folder: &TempDir, tested: bool) -> Result<SqlitePool, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join("users.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal);
    let pool = SqlitePoolOptions::new().test_before_acquire(tested).connect_with(options).await?;
    sqlx::query("CREATE TABLE users (id TEXT PRIMARY KEY, revoked_before INTEGER) WITHOUT ROWID")
        .execute(&pool)
        .await?;
    let mut transaction = pool.begin().await?;
    for user in 0..USERS {
        sqlx::query("INSERT INTO users VALUES (?, 1)")
            .bind(subject(user))
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(pool)
}

fn postgres(asked: Asked, tested: bool) -> Contender {
    let pool = asked.runtime.block_on(postgres_users(&asked.url, tested)).unwrap_or_else(fail);
    let asking = service_fn(move |request: Request<Body>| {
        let pool = pool.clone();
        async move { answer(revoked_before(&pool, user(&request)).await) }
    });
    asked.contender(asking)
}

/// `tested` is sqlx's default, and twice the round trips.
pub(crate) async fn postgres_users(url: &str, tested: bool) -> Result<PgPool, sqlx::Error> {
    let pool = PgPoolOptions::new()
        .test_before_acquire(tested)
        .min_connections(POOL)
        .max_connections(POOL)
        .connect(url)
        .await?;
    sqlx::raw_sql(AssertSqlSafe(format!(
        "CREATE TABLE IF NOT EXISTS {TABLE} (id text PRIMARY KEY, revoked_before bigint NOT NULL)"
    )))
    .execute(&pool)
    .await?;
    let ids: Vec<String> = (0..USERS).map(subject).collect();
    sqlx::query(AssertSqlSafe(format!(
        "INSERT INTO {TABLE} SELECT id, 1 FROM unnest($1) AS id ON CONFLICT DO NOTHING"
    )))
    .bind(ids)
    .execute(&pool)
    .await?;
    Ok(pool)
}

/// Takes away the table, if there is a PostgreSQL.
pub(crate) fn clean_up(runtime: &Runtime) {
    let Ok(url) = env::var("POSTGRES_URL") else { return };
    let dropped = runtime.block_on(async {
        let pool = PgPool::connect(&url).await?;
        sqlx::raw_sql(AssertSqlSafe(format!("DROP TABLE IF EXISTS {TABLE}"))).execute(&pool).await
    });
    dropped.map(drop).unwrap_or_else(fail)
}

/// What a user of PostgreSQL asks on each request.
pub(crate) async fn revoked_before(pool: &PgPool, user: &str) -> i64 {
    sqlx::query("SELECT revoked_before FROM bench_peers_users WHERE id = $1")
        .bind(user)
        .fetch_one(pool)
        .await
        .map(|row| row.get(0))
        .unwrap_or_else(fail)
}

const TABLE: &str = "bench_peers_users";

/// Connections to PostgreSQL.
const POOL: u32 = 8;

fn redis(asked: Asked) -> Contender {
    let connection = asked.runtime.block_on(redis_users(&asked.url)).unwrap_or_else(fail);
    let asking = service_fn(move |request: Request<Body>| {
        let mut connection = connection.clone();
        async move { answer(connection.get(key(user(&request))).await.unwrap_or_else(fail)) }
    });
    asked.contender(asking)
}

async fn redis_users(url: &str) -> redis::RedisResult<ConnectionManager> {
    let mut connection = ConnectionManager::new(redis::Client::open(url)?).await?;
    for user in 0..USERS {
        let _: () = connection.set_ex(key(&subject(user)), 1, AN_HOUR).await?;
    }
    Ok(connection)
}

fn key(user: &str) -> String {
    format!("bench-peers:{user}")
}

/// In seconds; then Redis forgets what was put there.
const AN_HOUR: u64 = 3_600;

fn user(request: &Request<Body>) -> &str {
    request.headers()[USER].to_str().expect("identifiers here are ASCII")
}

fn answer(revoked_before: i64) -> Result<Response, Infallible> {
    assert_eq!(revoked_before, 1);
    inner::answer()
}

fn fail<T>(error: impl Display) -> T {
    panic!("the database fails: {error}")
}
