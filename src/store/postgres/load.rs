//! Loading everything, as a copy in binary form.
//!
//! A row costs the driver more than all that is done with it. A copy hands the table over as bytes,
//! and what they say is read in [`copy`](super::copy). Then most of the time is the server's, which
//! works for a connection on one core: a large table is copied by two, half of its pages each. What
//! speaks PostgreSQL's protocol and knows no such copy is asked by a poll from before the beginning.
//!
//! The halves are one snapshot, and each row of it is in one of them:
//!
//! - The second connection takes the first one's snapshot over, by its name. A server that has no
//!   such snapshot, because the way led to another one, refuses.
//! - A version of a row stands on one page. Those before a page and those from it on are all pages,
//!   whatever the table has grown by.
//! - It stays there: what would write the table anew (`VACUUM FULL`) waits for the lock of a reader,
//!   which the first connection takes before there is a second one, and holds until both are done.

use std::{future::poll_fn, time::Duration};

use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, raw_sql};
use tokio::task::JoinSet;

use super::{
    PostgresStore,
    copy::Rows,
    row::get,
    watch::{HEAD, HEAD_AND_SIZE, HEAD_COLUMNS, Head, PostgresWatch},
};
use crate::{
    cutoff::StoreTime,
    error::Error,
    store::{
        Entry, Source,
        limits::{SYNC_WAIT, in_time},
        sql::{corrupt, failed},
        statements::Path,
    },
};

/// How everything is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By two copies at once if the table is large, by one if not.
    Halves,
    /// By one copy.
    Copy,
    /// By a poll.
    Poll,
}

impl Way {
    /// The first to try. `version` is the server's, as a number.
    pub(super) fn new(version: Option<u32>, pooler: bool) -> Self {
        // Behind a pooler a second connection is one that others wait for.
        let halves = !pooler && version.is_some_and(|version| version >= PAGES_SINCE);
        if halves { Self::Halves } else { Self::Copy }
    }

    /// Whether a table of so many pages is worth a second connection. Not on a standby: addresses
    /// that lead to several of them are common.
    fn divides(self, source: Source, pages: i64) -> bool {
        self == Self::Halves && source == Source::Primary && pages >= LARGE_PAGES
    }

    /// What to try where the database has refused this one.
    fn then(self) -> Self {
        match self {
            Self::Halves => Self::Copy,
            Self::Copy | Self::Poll => Self::Poll,
        }
    }
}

/// PostgreSQL 14 is the first that goes to the pages that are asked for.
const PAGES_SINCE: u32 = 140_000;

/// A table of fewer pages, 8 MiB or some 80,000 rows, is copied before there is a second connection.
const LARGE_PAGES: i64 = 1_024;

/// How long a second connection may take until it copies. It is not needed.
const SECOND_WAIT: Duration = Duration::from_secs(1);

/// All rows. What only speaks the protocol may know no other copy than that of a table.
const COPY: &str = "COPY revocations (scope, subject, reissue_before, login_before, cleared_at) \
     TO STDOUT (FORMAT binary)";

/// The rows of some pages: which, and the end of the statement, are appended. Mostly two of the times are 0, and a
/// NULL costs less.
const COPY_PAGES: &str = "COPY (SELECT scope, subject, \
         nullif(reissue_before, 0), nullif(login_before, 0), nullif(cleared_at, 0) \
     FROM revocations WHERE ctid";

/// Everything, in one snapshot.
pub(super) async fn load(watch: &mut PostgresWatch) -> Result<Head, Error> {
    while watch.way != Way::Poll {
        if let Some(head) = copied(watch).await? {
            return Ok(head);
        }
        // The driver does not read on behind a refusal.
        watch.reconnect().await?;
        watch.way = watch.way.then();
    }
    watch.everything().await
}

/// Everything, by copies; `None` if the database refuses.
async fn copied(watch: &mut PostgresWatch) -> Result<Option<Head>, Error> {
    let sized = watch.way == Way::Halves;
    // One transaction that only reads is one snapshot. After an error the connection is closed.
    let (store, connection) = watch.parts();
    run(store, connection, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    store.count(Path::Sync);
    let asked = raw_sql(if sized { HEAD_AND_SIZE } else { HEAD }).fetch_optional(connection).await;
    let row = match asked {
        Err(sqlx::Error::Database(_)) if sized => return Ok(None),
        asked => asked.map_err(failed)?.ok_or_else(|| corrupt("the clock row is missing"))?,
    };
    let mut head = watch.head(&row)?;
    let pages: i64 = if sized { get(&row, HEAD_COLUMNS)? } else { 0 };
    let (newest, divides) = (head.changes.head, watch.way.divides(head.changes.source, pages));
    let (store, connection) = watch.parts();
    let entries = if divides {
        halves(store, connection, pages / 2, newest).await?
    } else {
        rows(store, connection, COPY, newest).await?
    };
    let Some(entries) = entries else { return Ok(None) };
    run(store, connection, "COMMIT").await?;
    head.changes.entries = entries;
    Ok(Some(head))
}

/// The rows on the pages before `page`, and beside them those from it on; `None` if the database
/// refuses what that takes.
async fn halves(
    store: &PostgresStore,
    connection: &mut PgConnection,
    page: i64,
    newest: StoreTime,
) -> Result<Option<Vec<Entry>>, Error> {
    store.count(Path::Sync);
    // It may be idle for as long as the second copies.
    let share = format!(
        "SET LOCAL idle_in_transaction_session_timeout = {}; \
         LOCK TABLE revocations IN ACCESS SHARE MODE; \
         SELECT pg_export_snapshot()",
        SYNC_WAIT.as_millis()
    );
    let snapshot = match raw_sql(AssertSqlSafe(share)).fetch_one(&mut *connection).await {
        Ok(row) => get::<String>(&row, 0)?,
        Err(sqlx::Error::Database(_)) => return Ok(None),
        Err(cause) => return Err(failed(cause)),
    };
    let half = |side| format!("{COPY_PAGES} {side} '({page},0)') TO STDOUT (FORMAT binary)");
    let (before, from) = (half("<"), half(">="));
    // In a task, which another core may run, and which ends with this.
    let mut beside = JoinSet::new();
    beside.spawn(second(store.clone(), snapshot, from.clone(), newest));
    let Some(mut entries) = rows(store, connection, &before, newest).await? else {
        return Ok(None);
    };
    let rest = match beside.join_next().await {
        Some(Ok(Ok(Some(rest)))) => Some(rest),
        // Whatever the second has failed at, the first can do after its own half.
        _ => rows(store, connection, &from, newest).await?,
    };
    let Some(rest) = rest else { return Ok(None) };
    entries.extend(rest);
    Ok(Some(entries))
}

/// What `copy` copies out of the `snapshot` of another connection, by one that is new.
async fn second(
    store: PostgresStore,
    snapshot: String,
    copy: String,
    newest: StoreTime,
) -> Result<Option<Vec<Entry>>, Error> {
    let begin = AssertSqlSafe(format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
         SET TRANSACTION SNAPSHOT '{}'; SET LOCAL lock_timeout = {}",
        snapshot.replace('\'', "''"),
        SECOND_WAIT.as_millis(),
    ));
    let mut connection = in_time(SECOND_WAIT, async {
        let mut connection = store.options().connect.connect().await?;
        store.count(Path::Sync);
        raw_sql(begin).execute(&mut connection).await?;
        Ok(connection)
    })
    .await?;
    let rows = rows(&store, &mut connection, &copy, newest).await?;
    // What it has read stands, however it ends.
    let _ = in_time(SECOND_WAIT, connection.close()).await;
    Ok(rows)
}

/// The rows of a copy; `None` if there is no such copy to be had.
async fn rows(
    store: &PostgresStore,
    connection: &mut PgConnection,
    copy: &str,
    newest: StoreTime,
) -> Result<Option<Vec<Entry>>, Error> {
    store.count(Path::Sync);
    let mut copy = match connection.copy_out_raw(copy).await {
        Ok(copy) => copy,
        // It is refused before anything is handed over.
        Err(sqlx::Error::Database(_)) => return Ok(None),
        Err(cause) => return Err(failed(cause)),
    };
    let mut rows = Rows::new(newest);
    while let Some(bytes) = poll_fn(|context| copy.as_mut().poll_next(context)).await {
        rows.read(&bytes.map_err(failed)?)?;
    }
    rows.end().map(Some)
}

async fn run(
    store: &PostgresStore,
    connection: &mut PgConnection,
    sql: &'static str,
) -> Result<(), Error> {
    store.count(Path::Sync);
    raw_sql(sql).execute(connection).await.map(drop).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLICA: Source = Source::Replica { behind: None };

    #[test]
    fn only_a_server_that_finds_pages_is_asked_for_halves() {
        for (version, pooler, way) in [
            (Some(140_000), false, Way::Halves),
            (Some(180_001), false, Way::Halves),
            (Some(130_022), false, Way::Copy),
            (Some(150_000), true, Way::Copy),
            (None, false, Way::Copy),
        ] {
            assert_eq!(Way::new(version, pooler), way, "{version:?} {pooler}");
        }
    }

    #[test]
    fn only_a_large_table_of_a_primary_is_divided() {
        for (way, source, pages, divides) in [
            (Way::Halves, Source::Primary, LARGE_PAGES, true),
            (Way::Halves, Source::Primary, LARGE_PAGES - 1, false),
            (Way::Halves, REPLICA, LARGE_PAGES, false),
            (Way::Copy, Source::Primary, LARGE_PAGES, false),
        ] {
            assert_eq!(way.divides(source, pages), divides, "{way:?} {source:?} {pages}");
        }
    }

    #[test]
    fn what_is_refused_is_asked_for_in_a_simpler_way() {
        assert_eq!([Way::Halves.then(), Way::Copy.then()], [Way::Copy, Way::Poll]);
    }
}
