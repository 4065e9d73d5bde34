//! The sync's own connection: the poll, and the hint.

use std::fmt;

use sqlx::{MySqlConnection, mysql::MySqlRow, query};
use tokio::sync::watch;

use super::{
    MySqlStore, load,
    row::{cut_off, entry, flag, get, store_time},
};
use crate::{
    cutoff::StoreTime,
    error::{Error, ErrorKind},
    store::{
        Changes, Latest, Source, StoreId, Watch,
        sql::{corrupt, cursor_i64, cut, duration, failed, limit, time_i64},
        statements::Path,
    },
};

/// Whether the server is none to write to: 0 if it is. It says `OFF` or 0, by its kind and version.
macro_rules! read_only {
    () => {
        "(CAST(@@global.read_only AS CHAR) NOT IN ('OFF', '0') \
          OR CAST(@@global.innodb_read_only AS CHAR) NOT IN ('OFF', '0'))"
    };
}

pub(super) use read_only;

/// The same, asked alone.
pub(super) const READ_ONLY: &str = concat!("SELECT ", read_only!());

/// The columns of a [`Head`].
macro_rules! head {
    () => {
        concat!(
            "newest, db_uuid, purged_reissue_before, purged_login_before, \
             TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)), ",
            read_only!(),
            ", EXISTS (SELECT 1 FROM revocation_requests WHERE revoked_before IS NULL)"
        )
    };
}

/// How many columns [`head!`] has.
const HEAD_COLUMNS: usize = 7;

/// The sync's connection to a [`MySqlStore`].
pub struct MySqlWatch {
    store: MySqlStore,
    connection: MySqlConnection,
    /// Revocations through the store's handles in this process.
    revoked: watch::Receiver<()>,
}

/// What an answer begins with.
pub(super) struct Head {
    pub(super) changes: Changes,
    pub(super) pending: bool,
}

/// The head alone.
pub(super) const HEAD: &str = concat!("SELECT ", head!(), " FROM revocation_clock");

/// What has changed above a cursor. One statement outside of a transaction is one snapshot.
const POLL: &str = concat!(
    "SELECT ",
    head!(),
    ", scope, subject, reissue_before, login_before, cleared_at \
     FROM revocation_clock LEFT JOIN revocations ON changed_at > ?"
);

/// The same, of so many entries: those changed last.
const LATEST: &str = concat!(
    "SELECT ",
    head!(),
    ", scope, subject, reissue_before, login_before, cleared_at, changed_at \
     FROM revocation_clock LEFT JOIN (SELECT * FROM revocations \
         WHERE changed_at > ? ORDER BY changed_at DESC LIMIT ?) AS latest ON true"
);

impl MySqlWatch {
    pub(super) async fn open(
        store: MySqlStore,
        revoked: watch::Receiver<()>,
    ) -> Result<Self, Error> {
        let connection = store.options().open().await?;
        Ok(Self { store, connection, revoked })
    }

    /// Seals pending requests. A replica cannot: its primary has to.
    async fn seal_pending(&self) -> Result<(), Error> {
        self.store.write(Path::Sync, |_| Box::pin(async { Ok(()) })).await
    }

    /// The entries changed above `cursor`, with the head.
    async fn changes(&mut self, cursor: StoreTime) -> Result<Head, Error> {
        self.store.count(Path::Sync);
        let polled = query(POLL).bind(time_i64(cursor)).fetch_all(&mut self.connection).await;
        self.told(&polled.map_err(failed)?)
    }

    /// The same, of at most so many entries: those changed last.
    async fn changed_last(
        &mut self,
        cursor: i64,
        at_most: u32,
    ) -> Result<(Head, StoreTime), Error> {
        self.store.count(Path::Sync);
        let polled = query(LATEST).bind(cursor).bind(limit(at_most));
        let mut rows = polled.fetch_all(&mut self.connection).await.map_err(failed)?;
        let untold = cut(&mut rows, at_most, |row| get(row, HEAD_COLUMNS + 5))?;
        Ok((self.told(&rows)?, untold))
    }

    /// The head and the entries of a poll.
    fn told(&self, rows: &[MySqlRow]) -> Result<Head, Error> {
        let first = rows.first().ok_or_else(|| corrupt("the clock row is missing"))?;
        let mut head = self.head(first)?;
        for row in rows {
            // The clock row alone: nothing has changed.
            if get::<Option<&[u8]>>(row, HEAD_COLUMNS)?.is_some() {
                head.changes.entries.extend(entry(row, HEAD_COLUMNS, head.changes.head)?);
            }
        }
        Ok(head)
    }

    /// The columns of [`head!`].
    pub(super) fn head(&self, row: &MySqlRow) -> Result<Head, Error> {
        // By how much it is behind is not for it to say.
        let source = if flag(row, 5)? { Source::Replica { behind: None } } else { Source::Primary };
        let clock = match self.store.given_time() {
            Some(given) => given,
            None => duration(get(row, 4)?)?,
        };
        let changes = Changes {
            store: StoreId(get(row, 1)?),
            head: store_time(row, 0)?,
            clock,
            floor: cut_off(row, 2)?,
            source,
            entries: Vec::new(),
        };
        Ok(Head { changes, pending: flag(row, 6)? })
    }

    /// What `load` works with.
    pub(super) fn parts(&mut self) -> (&MySqlStore, &mut MySqlConnection) {
        (&self.store, &mut self.connection)
    }
}

impl Watch for MySqlWatch {
    async fn load(&mut self) -> Result<Changes, Error> {
        let mut head = load::load(self).await?;
        if head.pending && head.changes.source == Source::Primary {
            self.seal_pending().await?;
            head = load::load(self).await?;
        }
        Ok(head.changes)
    }

    async fn poll(&mut self, cursor: StoreTime) -> Result<Changes, Error> {
        let mut head = self.changes(cursor).await?;
        if head.pending && head.changes.source == Source::Primary {
            self.seal_pending().await?;
            // What is pending now was requested after the poll was sent.
            head = self.changes(cursor).await?;
        }
        Ok(head.changes)
    }

    async fn latest(&mut self, cursor: StoreTime, at_most: u32) -> Result<Latest, Error> {
        let cursor = cursor_i64(cursor);
        let (mut head, mut untold) = self.changed_last(cursor, at_most).await?;
        if head.pending && head.changes.source == Source::Primary {
            self.seal_pending().await?;
            (head, untold) = self.changed_last(cursor, at_most).await?;
        }
        Ok(Latest { changes: head.changes, untold })
    }

    async fn hint(&mut self) -> Result<(), Error> {
        self.revoked.changed().await.map_err(|gone| Error::new(ErrorKind::TaskEnded, gone))
    }
}

impl fmt::Debug for MySqlWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MySqlWatch").field("store", &self.store).finish_non_exhaustive()
    }
}
