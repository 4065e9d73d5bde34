//! How long a database on a server is waited for: every wait has a limit.

use std::time::Duration;

use sqlx::{Connection, Database, pool::PoolOptions};
use tokio::time::{error::Elapsed, timeout};

use super::{sql::failed, statements::Path};
use crate::error::{Error, ErrorKind};

/// How long a connection may take to be had, whether it is new or one of the pool.
pub(super) const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// How long the server waits for a lock, and for the next statement of a transaction: whoever holds
/// the clock row and falls silent holds it no longer than that.
pub(super) const SERVER_WAIT: Duration = Duration::from_secs(5);

/// How long a login, a refresh or a revocation may take. Longer than the server's own limits, so
/// that it is the server who says what was the matter.
pub(super) const SESSION_WAIT: Duration = Duration::from_secs(12);

/// How long a purge may take.
pub(super) const SYNC_WAIT: Duration = Duration::from_secs(60);

/// Connections idle for longer are asked whether they are alive before they are used.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// How long they may take to say so.
const PING_WAIT: Duration = Duration::from_secs(1);

/// How long a transaction may take.
pub(super) fn limit(path: Path) -> Duration {
    match path {
        Path::Sync => SYNC_WAIT,
        Path::Request | Path::Session => SESSION_WAIT,
    }
}

/// A pool of at most so many connections, of which none is waited for whose other end is gone
/// without a word.
pub(super) fn limited<DB: Database>(pool: PoolOptions<DB>, connections: u32) -> PoolOptions<DB> {
    pool.max_connections(connections)
        .acquire_timeout(CONNECT_WAIT)
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for < TRUSTED_IDLE {
                    return Ok(true);
                }
                let late = |_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
                timeout(PING_WAIT, connection.ping()).await.map_err(late)?.map(|()| true)
            })
        })
}

/// Why the pool had no connection to give.
pub(super) fn not_acquired(cause: sqlx::Error) -> Error {
    match cause {
        sqlx::Error::PoolTimedOut => Error::new(ErrorKind::StoreTimeout, cause),
        cause => failed(cause),
    }
}

/// Runs `work` to its end, or to `limit`, also if nobody waits for it any more.
pub(super) async fn in_a_task<T: Send + 'static>(
    limit: Duration,
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let task = tokio::spawn(async move { timeout(limit, work).await.map_err(late)? });
    task.await.map_err(|cause| Error::new(ErrorKind::TaskEnded, cause))?
}

/// What the database answers within `limit`.
pub(super) async fn in_time<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, Error> {
    timeout(limit, answer).await.map_err(late)?.map_err(failed)
}

pub(super) fn late(elapsed: Elapsed) -> Error {
    Error::new(ErrorKind::StoreTimeout, elapsed)
}
