//! The sync's own connection, which never writes.

use std::{fmt, time::Duration};

use sqlx::{Row, SqliteConnection, query, query_scalar, sqlite::SqliteRow};
use tokio::{sync::watch, time::timeout};

use super::{
    SqliteStore, load,
    row::{cut_off, entry, store_id, store_time},
    store::Connected,
};
use crate::{
    cutoff::StoreTime,
    error::{Error, ErrorKind},
    store::{
        Changes, Latest, Source, Watch,
        sql::{corrupt, cursor_i64, cut, failed, limit, time_i64},
        statements::Path,
    },
};

/// How often `PRAGMA data_version` is asked: microseconds of work, no file access.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// The sync's connection to a [`SqliteStore`].
pub struct SqliteWatch {
    store: SqliteStore,
    connected: Connected,
    /// `PRAGMA data_version` as last seen. It changes with every commit of another connection,
    /// and means nothing on another connection: this one is pinned.
    data_version: Option<i64>,
    /// Revocations through the store's handles in this process.
    revoked: watch::Receiver<()>,
}

impl SqliteWatch {
    pub(super) fn new(
        store: SqliteStore,
        connected: Connected,
        revoked: watch::Receiver<()>,
    ) -> Self {
        Self { store, connected, data_version: None, revoked }
    }

    /// Seals pending requests, if there are any.
    async fn seal_pending(&mut self) -> Result<(), Error> {
        self.count();
        let pending: bool = query_scalar(
            "SELECT EXISTS (SELECT 1 FROM revocation_requests WHERE revoked_before IS NULL)",
        )
        .fetch_one(self.connection())
        .await
        .map_err(failed)?;
        if pending {
            self.store.write(Path::Sync, |_| Box::pin(async { Ok(()) })).await?;
        }
        Ok(())
    }

    /// The clock row, as the beginning of an answer.
    pub(super) async fn head(&mut self) -> Result<Changes, Error> {
        let clock = self.store.clock().now().wall;
        self.count();
        let row = query(
            "SELECT newest, db_uuid, purged_reissue_before, purged_login_before \
             FROM revocation_clock",
        )
        .fetch_optional(self.connection())
        .await
        .map_err(failed)?
        .ok_or_else(|| corrupt("the clock row is missing"))?;
        head(&row, clock)
    }

    /// The entries changed above `cursor`, with the head, in one statement: one snapshot.
    async fn changes(&mut self, cursor: i64) -> Result<Changes, Error> {
        let clock = self.store.clock().now().wall;
        self.count();
        let rows = query(
            "SELECT newest, db_uuid, purged_reissue_before, purged_login_before, \
                    scope, subject, reissue_before, login_before, cleared_at \
             FROM revocation_clock LEFT JOIN revocations ON changed_at > ?",
        )
        .bind(cursor)
        .fetch_all(self.connection())
        .await
        .map_err(failed)?;
        told(&rows, clock)
    }

    /// The same, of at most so many entries: those changed last.
    async fn changed_last(&mut self, cursor: i64, at_most: u32) -> Result<Latest, Error> {
        let clock = self.store.clock().now().wall;
        self.count();
        let mut rows = query(
            "SELECT newest, db_uuid, purged_reissue_before, purged_login_before, \
                    scope, subject, reissue_before, login_before, cleared_at, changed_at \
             FROM revocation_clock LEFT JOIN \
                 (SELECT * FROM revocations WHERE changed_at > ? ORDER BY changed_at DESC LIMIT ?) \
             ON true",
        )
        .bind(cursor)
        .bind(limit(at_most))
        .fetch_all(self.connection())
        .await
        .map_err(failed)?;
        let untold = cut(&mut rows, at_most, |row| row.try_get(9).map_err(failed))?;
        Ok(Latest { changes: told(&rows, clock)?, untold })
    }

    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connected.connection
    }

    pub(super) fn count(&self) {
        self.store.count(Path::Sync);
    }
}

/// The head and the entries of a poll.
fn told(rows: &[SqliteRow], clock: Duration) -> Result<Changes, Error> {
    let first = rows.first().ok_or_else(|| corrupt("the clock row is missing"))?;
    let mut changes = head(first, clock)?;
    changes.entries.reserve(rows.len());
    for row in rows {
        // The clock row alone: nothing has changed.
        if row.try_get::<Option<&str>, _>(4).map_err(failed)?.is_some() {
            changes.entries.extend(entry(row, 4, changes.head)?);
        }
    }
    Ok(changes)
}

/// The columns `newest, db_uuid, purged_reissue_before, purged_login_before`.
fn head(row: &SqliteRow, clock: Duration) -> Result<Changes, Error> {
    Ok(Changes {
        store: store_id(row, 1)?,
        head: store_time(row, 0)?,
        clock,
        floor: cut_off(row, 2)?,
        source: Source::Primary,
        entries: Vec::new(),
    })
}

impl Watch for SqliteWatch {
    async fn load(&mut self) -> Result<Changes, Error> {
        self.seal_pending().await?;
        let changes = load::load(self).await?;
        self.connected.file.check()?;
        Ok(changes)
    }

    async fn poll(&mut self, cursor: StoreTime) -> Result<Changes, Error> {
        self.seal_pending().await?;
        let changes = self.changes(time_i64(cursor)).await?;
        self.connected.file.check()?;
        Ok(changes)
    }

    async fn latest(&mut self, cursor: StoreTime, at_most: u32) -> Result<Latest, Error> {
        self.seal_pending().await?;
        let latest = self.changed_last(cursor_i64(cursor), at_most).await?;
        self.connected.file.check()?;
        Ok(latest)
    }

    async fn hint(&mut self) -> Result<(), Error> {
        loop {
            // Those of this process are told at once; the rest is asked after.
            if let Ok(changed) = timeout(LOOK_INTERVAL, self.revoked.changed()).await {
                return changed.map_err(|gone| Error::new(ErrorKind::TaskEnded, gone));
            }
            self.count();
            let seen: i64 = query_scalar("PRAGMA data_version")
                .fetch_one(self.connection())
                .await
                .map_err(failed)?;
            if self.data_version.replace(seen) != Some(seen) {
                return Ok(());
            }
        }
    }
}

impl fmt::Debug for SqliteWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteWatch").field("store", &self.store).finish_non_exhaustive()
    }
}
