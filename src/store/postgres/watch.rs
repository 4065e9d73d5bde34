//! The sync's own connection: the poll, and the hint.

use std::fmt;

use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, postgres::PgRow, query, raw_sql};
use tokio::sync::watch;

use super::{
    PostgresStore,
    listener::Listener,
    load::{self, Way},
    row::{cut_off, entry, get, store_time},
};
use crate::{
    cutoff::StoreTime,
    error::{Error, ErrorKind},
    store::{
        Changes, Latest, Source, StoreId, Watch,
        limits::{CONNECT_WAIT, in_time},
        sql::{corrupt, cursor_i64, cut, duration, duration_i64, failed, limit, time_i64},
        statements::Path,
    },
};

/// How often an answer is asked for that the database could not give because of others
/// (`SQLSTATE` 40001; not PostgreSQL here, but what speaks its protocol).
const ATTEMPTS: usize = 3;

/// The columns of a [`Head`].
macro_rules! head {
    () => {
        "newest, db_uuid, purged_reissue_before, purged_login_before, \
         (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, pg_is_in_recovery(), \
         (SELECT beat_at FROM revocation_heartbeat), \
         EXISTS (SELECT 1 FROM revocation_requests WHERE revoked_before IS NULL)"
    };
}

/// The rest of a statement that tells so many entries.
macro_rules! latest {
    () => {
        ", scope, subject, reissue_before, login_before, cleared_at, changed_at \
         FROM revocation_clock LEFT JOIN (SELECT * FROM revocations \
             WHERE changed_at > $1 ORDER BY changed_at DESC LIMIT $2) AS latest ON true"
    };
}

/// How many columns [`head!`] has.
pub(super) const HEAD_COLUMNS: usize = 8;

/// The sync's connection to a [`PostgresStore`].
pub struct PostgresWatch {
    store: PostgresStore,
    connection: PgConnection,
    /// Revocations through the store's handles in this process.
    revoked: watch::Receiver<()>,
    /// Those of others; `None` behind a pooler, which hands on no announcements.
    listener: Option<Listener>,
    /// The head of the last answer.
    known: StoreTime,
    /// How everything is asked for.
    pub(super) way: Way,
}

/// What an answer begins with.
pub(super) struct Head {
    pub(super) changes: Changes,
    pub(super) pending: bool,
}

impl PostgresWatch {
    pub(super) async fn open(
        store: PostgresStore,
        revoked: watch::Receiver<()>,
    ) -> Result<Self, Error> {
        let options = store.options();
        let connection = in_time(CONNECT_WAIT, options.connect.connect()).await?;
        let listener = (!options.pooler).then(|| Listener::start(options.connect.clone()));
        let way = Way::new(connection.server_version_num(), options.pooler);
        Ok(Self { store, connection, revoked, listener, known: StoreTime::ZERO, way })
    }

    /// Seals pending requests. A standby cannot: its primary has to.
    async fn seal_pending(&self) -> Result<(), Error> {
        self.store.write(Path::Sync, |_| Box::pin(async { Ok(()) })).await
    }

    /// A new connection, in place of one that is in the middle of something.
    pub(super) async fn reconnect(&mut self) -> Result<(), Error> {
        let options = self.store.options();
        self.connection = in_time(CONNECT_WAIT, options.connect.connect()).await?;
        Ok(())
    }

    /// All entries, by a poll from before the beginning.
    pub(super) async fn everything(&mut self) -> Result<Head, Error> {
        self.changes(-1).await
    }

    /// The entries changed above `cursor`, with the head, in one statement: one snapshot.
    async fn changes(&mut self, cursor: i64) -> Result<Head, Error> {
        let rows = self.rows([POLL, BEATING_POLL], cursor, None).await?;
        self.entries(&rows)
    }

    /// The same, of at most so many entries: those changed last.
    async fn changed_last(
        &mut self,
        cursor: i64,
        at_most: u32,
    ) -> Result<(Head, StoreTime), Error> {
        let limit = Some(limit(at_most));
        let mut rows = self.rows([LATEST, BEATING_LATEST], cursor, limit).await?;
        let untold = cut(&mut rows, at_most, |row| get(row, HEAD_COLUMNS + 5))?;
        Ok((self.entries(&rows)?, untold))
    }

    /// The head and the entries of a poll.
    fn entries(&self, rows: &[PgRow]) -> Result<Head, Error> {
        let first = rows.first().ok_or_else(|| corrupt("the clock row is missing"))?;
        let mut head = self.head(first)?;
        for row in rows {
            // The clock row alone: nothing has changed.
            if get::<Option<&str>>(row, HEAD_COLUMNS)?.is_some() {
                head.changes.entries.extend(entry(row, HEAD_COLUMNS, head.changes.head)?);
            }
        }
        Ok(head)
    }

    /// The rows of a poll, by the first statement or, if the heart beats, by the second. Their
    /// parameters are `cursor`, the `limit` if there is one, and the interval of the heartbeat.
    async fn rows(
        &mut self,
        [sql, beating]: [&'static str; 2],
        cursor: i64,
        limit: Option<i64>,
    ) -> Result<Vec<PgRow>, Error> {
        self.store.count(Path::Sync);
        let heartbeat = self.store.options().heartbeat;
        let sql = if heartbeat.is_some() { beating } else { sql };
        let interval = heartbeat.map(duration_i64);
        let parameters: Vec<i64> = [Some(cursor), limit, interval].into_iter().flatten().collect();
        let mut attempt = 1;
        loop {
            let answer = if self.store.options().pooler {
                // A simple query: what is parsed and what is run could meet different connections
                // of the server. The parameters are numbers of ours.
                let numbered = parameters.iter().enumerate();
                let sql = numbered.fold(sql.to_owned(), |sql, (index, parameter)| {
                    sql.replace(&format!("${}", index + 1), &parameter.to_string())
                });
                raw_sql(AssertSqlSafe(sql)).fetch_all(&mut self.connection).await
            } else {
                let query = parameters.iter().fold(query(sql), |query, &value| query.bind(value));
                query.fetch_all(&mut self.connection).await
            };
            match answer {
                Err(sqlx::Error::Database(conflict))
                    if attempt < ATTEMPTS
                        && conflict.code().is_some_and(|code| code == "40001") =>
                {
                    attempt += 1;
                }
                answer => return answer.map_err(failed),
            }
        }
    }

    /// The columns of [`head!`].
    pub(super) fn head(&self, row: &PgRow) -> Result<Head, Error> {
        let database_clock = duration(get(row, 4)?)?;
        let pending: bool = get(row, 7)?;
        let source = if get(row, 5)? {
            let beat_at = duration(get(row, 6)?)?;
            // What nobody has sealed yet is missing, however fresh the standby is.
            let proves = !pending && !beat_at.is_zero();
            let behind = proves.then(|| database_clock.saturating_sub(beat_at));
            Source::Replica { behind }
        } else {
            Source::Primary
        };
        let changes = Changes {
            store: StoreId(get(row, 1)?),
            head: store_time(row, 0)?,
            clock: self.store.given_time().unwrap_or(database_clock),
            floor: cut_off(row, 2)?,
            source,
            entries: Vec::new(),
        };
        Ok(Head { changes, pending })
    }

    fn told(&mut self, changes: &Changes) {
        if let Some(listener) = &mut self.listener {
            listener.found(changes.head, self.known);
        }
        self.known = changes.head;
    }
}

/// The head alone.
pub(super) const HEAD: &str = concat!("SELECT ", head!(), " FROM revocation_clock");

/// The same, and how many pages the table of the cut-offs has.
pub(super) const HEAD_AND_SIZE: &str = concat!(
    "SELECT ",
    head!(),
    ", pg_relation_size('revocations') / current_setting('block_size')::bigint \
     FROM revocation_clock"
);

/// What has changed above a cursor.
const POLL: &str = concat!(
    "SELECT ",
    head!(),
    ", scope, subject, reissue_before, login_before, cleared_at \
     FROM revocation_clock LEFT JOIN revocations ON changed_at > $1"
);

/// The same, of so many entries: those changed last.
const LATEST: &str = concat!("SELECT ", head!(), latest!());

/// A heartbeat if the last one is older than a parameter.
macro_rules! beat {
    ($interval:literal) => {
        concat!(
            "WITH beat AS ( \
                 UPDATE revocation_heartbeat \
                 SET beat_at = (extract(epoch FROM clock_timestamp()) * 1000000)::bigint \
                 WHERE beat_at <= (extract(epoch FROM clock_timestamp()) * 1000000)::bigint - ",
            $interval,
            ") SELECT "
        )
    };
}

/// Both, with a heartbeat.
const BEATING_POLL: &str = concat!(
    beat!("$2"),
    head!(),
    ", scope, subject, reissue_before, login_before, cleared_at \
     FROM revocation_clock LEFT JOIN revocations ON changed_at > $1"
);

const BEATING_LATEST: &str = concat!(beat!("$3"), head!(), latest!());

impl Watch for PostgresWatch {
    async fn load(&mut self) -> Result<Changes, Error> {
        let mut head = load::load(self).await?;
        if head.pending && head.changes.source == Source::Primary {
            self.seal_pending().await?;
            head = load::load(self).await?;
        }
        self.told(&head.changes);
        Ok(head.changes)
    }

    async fn poll(&mut self, cursor: StoreTime) -> Result<Changes, Error> {
        let cursor = time_i64(cursor);
        let mut head = self.changes(cursor).await?;
        if head.pending && head.changes.source == Source::Primary {
            self.seal_pending().await?;
            // What is pending now was requested after the poll was sent.
            head = self.changes(cursor).await?;
        }
        self.told(&head.changes);
        Ok(head.changes)
    }

    async fn latest(&mut self, cursor: StoreTime, at_most: u32) -> Result<Latest, Error> {
        let cursor = cursor_i64(cursor);
        let (mut head, mut untold) = self.changed_last(cursor, at_most).await?;
        if head.pending && head.changes.source == Source::Primary {
            self.seal_pending().await?;
            (head, untold) = self.changed_last(cursor, at_most).await?;
        }
        self.told(&head.changes);
        Ok(Latest { changes: head.changes, untold })
    }

    async fn hint(&mut self) -> Result<(), Error> {
        let known = self.known;
        let announced = async {
            match &mut self.listener {
                Some(listener) => listener.hint(known).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            revoked = self.revoked.changed() => {
                revoked.map_err(|gone| Error::new(ErrorKind::TaskEnded, gone))
            }
            () = announced => Ok(()),
        }
    }
}

impl PostgresWatch {
    /// What `load` works with.
    pub(super) fn parts(&mut self) -> (&PostgresStore, &mut PgConnection) {
        (&self.store, &mut self.connection)
    }
}

impl fmt::Debug for PostgresWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresWatch").field("store", &self.store).finish_non_exhaustive()
    }
}
