//! The statements that the writer is made of, in MySQL's words.
//!
//! Lists go to the server as one JSON text, which `JSON_TABLE` makes rows of. Where such rows choose
//! others to be changed, `STRAIGHT_JOIN` and `FORCE INDEX` have the server go from each of them to its
//! row by the key: left to itself it goes through a table that is small, and waits for rows that
//! somebody else has not committed.

use std::{sync::Arc, time::Duration};

use sqlx::{AssertSqlSafe, MySql, MySqlConnection, pool::PoolConnection, query, raw_sql};

use super::{
    row::{cut_off, get, store_time, text},
    session,
};
use crate::{
    cutoff::{CutOff, StoreTime},
    error::{Error, ErrorKind},
    lifetimes::Lifetimes,
    scope::{Id, Scope},
    store::{
        Audit, RequestId,
        limits::SERVER_WAIT,
        order::SessionRow,
        sql::{corrupt, duration, duration_i64, failed, json, raise_times, requested, time_i64},
        statements::{Path, Statements},
        tables::{ClockRow, Pending, Raise, Settled, Slice, Tables},
        writer::SEALED_AT_ONCE,
    },
};

/// Who else may hold the lock of the clock row.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lock {
    /// Nobody: revocations may be sealed.
    Exclusive,
    /// Others with the same. Whoever holds it must not ask for the other one: two of them would
    /// wait for each other.
    Shared,
}

/// A transaction that holds the lock of the clock row. Dropping it closes the connection, which
/// rolls back.
pub(super) struct MySqlTables {
    /// `None` once it has committed.
    connection: Option<PoolConnection<MySql>>,
    statements: Arc<Statements>,
    path: Path,
}

impl MySqlTables {
    /// Locks the clock row and reads it. `now` stands in for the database's clock.
    pub(super) async fn begin(
        connection: PoolConnection<MySql>,
        statements: Arc<Statements>,
        path: Path,
        lock: Lock,
        now: Option<Duration>,
    ) -> Result<(Self, ClockRow), Error> {
        let mut tables = Self { connection: Some(connection), statements, path };
        let lock = match lock {
            Lock::Exclusive => "FOR UPDATE",
            Lock::Shared => "LOCK IN SHARE MODE",
        };
        let wait = SERVER_WAIT.as_secs();
        // One message. Until the commit the server waits no longer than this for the next one.
        // `READ COMMITTED`: it has to see what whoever held the lock before has committed. The
        // clock is read by a statement of its own, as a statement's time is that of its beginning,
        // before it waits.
        let begin = format!(
            "SET SESSION wait_timeout = {wait}; \
             SET TRANSACTION ISOLATION LEVEL READ COMMITTED; \
             START TRANSACTION READ WRITE; \
             SELECT newest, purged_reissue_before, purged_login_before \
             FROM revocation_clock {lock}; \
             SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"
        );
        let rows = raw_sql(AssertSqlSafe(begin)).fetch_all(tables.run()?).await.map_err(failed)?;
        let [row, clock] = rows.as_slice() else {
            return Err(corrupt("the clock table has not one row"));
        };
        let now = match now {
            Some(now) => now,
            None => duration(get(clock, 0)?)?,
        };
        let clock = ClockRow { newest: store_time(row, 0)?, floor: cut_off(row, 1)?, now };
        Ok((tables, clock))
    }

    /// The connection for one statement, which is counted.
    fn run(&mut self) -> Result<&mut MySqlConnection, Error> {
        self.statements.count(self.path);
        let ended = || Error::new(ErrorKind::Store, "the transaction has ended");
        self.connection.as_deref_mut().ok_or_else(ended)
    }
}

impl Drop for MySqlTables {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.close_on_drop();
        }
    }
}

/// The rows of `revocations` whose scopes stand in a list, and their places in that.
const CUT_OFFS: &str = "SELECT r.reissue_before, r.login_before, CAST(asked.place AS SIGNED) \
     FROM JSON_TABLE(?, '$[*]' COLUMNS ( \
         place FOR ORDINALITY, \
         scope VARCHAR(16) CHARACTER SET utf8mb4 PATH '$[0]' ERROR ON EMPTY ERROR ON ERROR, \
         subject VARCHAR(512) CHARACTER SET utf8mb4 PATH '$[1]' ERROR ON EMPTY ERROR ON ERROR \
     )) AS asked STRAIGHT_JOIN revocations AS r \
     ON r.scope = CAST(asked.scope AS BINARY) AND r.subject = CAST(asked.subject AS BINARY)";

const RAISE: &str = "INSERT INTO revocations (scope, subject, reissue_before, login_before, changed_at) \
     SELECT raised.a_scope, raised.a_subject, raised.reissue, raised.login, raised.changed \
     FROM JSON_TABLE(?, '$[*]' COLUMNS ( \
         a_scope VARCHAR(16) CHARACTER SET utf8mb4 PATH '$[0]' ERROR ON EMPTY ERROR ON ERROR, \
         a_subject VARCHAR(512) CHARACTER SET utf8mb4 PATH '$[1]' ERROR ON EMPTY ERROR ON ERROR, \
         reissue BIGINT PATH '$[2][0]' ERROR ON EMPTY ERROR ON ERROR, \
         login BIGINT PATH '$[2][1]' ERROR ON EMPTY ERROR ON ERROR, \
         changed BIGINT PATH '$[2][2]' ERROR ON EMPTY ERROR ON ERROR \
     )) AS raised \
     ON DUPLICATE KEY UPDATE \
         reissue_before = GREATEST(revocations.reissue_before, VALUES(reissue_before)), \
         login_before = GREATEST(revocations.login_before, VALUES(login_before)), \
         changed_at = GREATEST(revocations.changed_at, VALUES(changed_at))";

const SETTLE: &str = "UPDATE JSON_TABLE(?, '$[*]' COLUMNS ( \
         a_seq BIGINT PATH '$[0]' ERROR ON EMPTY ERROR ON ERROR, \
         cut_off BIGINT PATH '$[1]' ERROR ON EMPTY ERROR ON ERROR, \
         problem VARCHAR(1000) CHARACTER SET utf8mb4 PATH '$[2]' \
     )) AS settled STRAIGHT_JOIN revocation_requests AS request FORCE INDEX (PRIMARY) ON request.seq = settled.a_seq \
     SET request.revoked_before = settled.cut_off, request.refused = settled.problem";

const DELETE_REQUESTS: &str = "DELETE request FROM JSON_TABLE(?, '$[*]' COLUMNS ( \
         a_seq BIGINT PATH '$' ERROR ON EMPTY ERROR ON ERROR \
     )) AS old STRAIGHT_JOIN revocation_requests AS request FORCE INDEX (PRIMARY) ON request.seq = old.a_seq";

impl Tables for MySqlTables {
    type Committed = PoolConnection<MySql>;

    async fn raise(&mut self, raises: &[Raise]) -> Result<(), Error> {
        let rows: Vec<_> = raises
            .iter()
            .map(|raise| (raise.scope.kind().as_str(), raise.scope.subject(), raise_times(raise)))
            .collect();
        query(RAISE).bind(json(&rows)?).execute(self.run()?).await.map(drop).map_err(failed)
    }

    async fn cut_offs(&mut self, scopes: &[Scope]) -> Result<Vec<CutOff>, Error> {
        let asked: Vec<_> =
            scopes.iter().map(|scope| (scope.kind().as_str(), scope.subject())).collect();
        let rows = query(CUT_OFFS).bind(json(&asked)?).fetch_all(self.run()?).await;
        let mut cut_offs = vec![CutOff::NONE; scopes.len()];
        for row in rows.map_err(failed)? {
            // Counted from 1.
            let place = usize::try_from(get::<i64>(&row, 2)?).map_err(corrupt)?.wrapping_sub(1);
            let told = cut_offs.get_mut(place).ok_or_else(|| corrupt("a place of no scope"))?;
            *told = cut_off(&row, 0)?;
        }
        Ok(cut_offs)
    }

    async fn clear(
        &mut self,
        scope: &Scope,
        before: CutOff,
        cleared_at: StoreTime,
        audit: &Audit,
    ) -> Result<(), Error> {
        query(
            "INSERT INTO revocations (scope, subject, cleared_at, changed_at) VALUES (?, ?, ?, ?) \
             ON DUPLICATE KEY UPDATE reissue_before = 0, login_before = 0, \
                 cleared_at = VALUES(cleared_at), changed_at = VALUES(changed_at)",
        )
        .bind(scope.kind().as_str())
        .bind(scope.subject())
        .bind(time_i64(cleared_at))
        .bind(time_i64(cleared_at))
        .execute(self.run()?)
        .await
        .map_err(failed)?;
        query(
            "INSERT INTO revocation_audit \
             (cleared_at, scope, subject, reissue_before, login_before, cleared_by, reason) \
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(time_i64(cleared_at))
        .bind(scope.kind().as_str())
        .bind(scope.subject())
        .bind(time_i64(before.reissue_before))
        .bind(time_i64(before.login_before))
        .bind(audit.by.as_str())
        .bind(&audit.reason)
        .execute(self.run()?)
        .await
        .map(drop)
        .map_err(failed)
    }

    // ---- the clock row ----

    async fn set_newest(&mut self, newest: StoreTime) -> Result<(), Error> {
        query("UPDATE revocation_clock SET newest = ?")
            .bind(time_i64(newest))
            .execute(self.run()?)
            .await
            .map(drop)
            .map_err(failed)
    }

    async fn renew_identity(&mut self) -> Result<(), Error> {
        query("UPDATE revocation_clock SET db_uuid = UUID()")
            .execute(self.run()?)
            .await
            .map(drop)
            .map_err(failed)
    }

    async fn set_floor(&mut self, floor: CutOff) -> Result<(), Error> {
        query("UPDATE revocation_clock SET purged_reissue_before = ?, purged_login_before = ?")
            .bind(time_i64(floor.reissue_before))
            .bind(time_i64(floor.login_before))
            .execute(self.run()?)
            .await
            .map(drop)
            .map_err(failed)
    }

    // ---- requests ----

    async fn pending(&mut self) -> Result<Vec<Pending>, Error> {
        let rows = query(
            "SELECT seq, scope, subject, demand, spared FROM revocation_requests \
             WHERE revoked_before IS NULL ORDER BY seq LIMIT ?",
        )
        .bind(i64::from(SEALED_AT_ONCE))
        .fetch_all(self.run()?)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                let (kind, demand) = (text(row, 1)?, text(row, 3)?);
                let revocation = requested(kind, get(row, 2)?, demand, get(row, 4)?)?;
                Ok(Pending { seq: get(row, 0)?, revocation })
            })
            .collect()
    }

    async fn settle(&mut self, settled: &[Settled]) -> Result<(), Error> {
        let rows: Vec<_> = settled
            .iter()
            .map(|settled| {
                (settled.seq, time_i64(settled.revoked_before), settled.refused.as_deref())
            })
            .collect();
        query(SETTLE).bind(json(&rows)?).execute(self.run()?).await.map(drop).map_err(failed)
    }

    async fn settled(&mut self, id: &RequestId) -> Result<Option<Settled>, Error> {
        let row =
            query("SELECT seq, revoked_before, refused FROM revocation_requests WHERE id = ?")
                .bind(id.0.as_str().as_bytes())
                .fetch_optional(self.run()?)
                .await
                .map_err(failed)?;
        row.map(|row| {
            Ok(Settled {
                seq: get(&row, 0)?,
                revoked_before: store_time(&row, 1)?,
                refused: get(&row, 2)?,
            })
        })
        .transpose()
    }

    // ---- sessions ----

    async fn session(&mut self, sid: &Id) -> Result<Option<SessionRow>, Error> {
        session::read(sid, self.run()?).await
    }

    async fn sessions_beyond(
        &mut self,
        user: &Id,
        kept: u32,
        lifetimes: Lifetimes,
        now: Duration,
    ) -> Result<Vec<Id>, Error> {
        session::beyond(user, kept, lifetimes, now, self.run()?).await
    }

    async fn begin_session(&mut self, sid: &Id, row: &SessionRow) -> Result<(), Error> {
        session::write(session::BEGIN, sid, row, self.run()?).await
    }

    async fn go_on_session(&mut self, sid: &Id, row: &SessionRow) -> Result<(), Error> {
        session::write(session::GO_ON, sid, row, self.run()?).await
    }

    // ---- purging ----

    async fn delete_sessions(
        &mut self,
        began: Duration,
        refreshed_at: Duration,
        limit: u32,
    ) -> Result<u64, Error> {
        // Nobody is refreshing one of them: that takes the lock of the clock row.
        let gone =
            query("DELETE FROM revocation_sessions WHERE began <= ? OR refreshed_at <= ? LIMIT ?")
                .bind(duration_i64(began))
                .bind(duration_i64(refreshed_at))
                .bind(i64::from(limit))
                .execute(self.run()?)
                .await
                .map_err(failed)?;
        Ok(gone.rows_affected())
    }

    async fn delete_requests(&mut self, before: StoreTime, limit: u32) -> Result<u64, Error> {
        let old = query(
            "SELECT seq FROM revocation_requests WHERE revoked_before < ? \
             ORDER BY revoked_before LIMIT ?",
        )
        .bind(time_i64(before))
        .bind(i64::from(limit))
        .fetch_all(self.run()?)
        .await
        .map_err(failed)?;
        if old.is_empty() {
            return Ok(0);
        }
        let old: Vec<i64> = old.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?;
        let gone = query(DELETE_REQUESTS).bind(json(&old)?).execute(self.run()?).await;
        Ok(gone.map_err(failed)?.rows_affected())
    }

    async fn slice_end(&mut self, after: i64, rows: u32) -> Result<Option<i64>, Error> {
        let row = query(
            "SELECT changed_at FROM revocations WHERE changed_at > ? \
             ORDER BY changed_at LIMIT 1 OFFSET ?",
        )
        .bind(after)
        .bind(rows - 1)
        .fetch_optional(self.run()?)
        .await
        .map_err(failed)?;
        row.map(|row| get(&row, 0)).transpose()
    }

    async fn outlived(
        &mut self,
        slice: Slice,
        reissue: StoreTime,
        login: StoreTime,
    ) -> Result<CutOff, Error> {
        let row = query(
            "SELECT COALESCE(MAX(CASE WHEN reissue_before < ? THEN reissue_before END), 0), \
                    COALESCE(MAX(CASE WHEN login_before < ? THEN login_before END), 0) \
             FROM revocations WHERE changed_at > ? AND changed_at <= ?",
        )
        .bind(time_i64(reissue))
        .bind(time_i64(login))
        .bind(slice.after)
        .bind(slice.until)
        .fetch_one(self.run()?)
        .await
        .map_err(failed)?;
        cut_off(&row, 0)
    }

    async fn drop_covered(
        &mut self,
        slice: Slice,
        floor: CutOff,
        login: StoreTime,
    ) -> Result<u64, Error> {
        let [reissue, before] = [floor.reissue_before, floor.login_before].map(time_i64);
        let gone = query(
            "DELETE FROM revocations WHERE changed_at > ? AND changed_at <= ? \
                 AND reissue_before <= ? AND login_before <= ? AND cleared_at < ?",
        )
        .bind(slice.after)
        .bind(slice.until)
        .bind(reissue)
        .bind(before)
        .bind(time_i64(login))
        .execute(self.run()?)
        .await
        .map_err(failed)?;
        query(
            "UPDATE revocations SET \
                 reissue_before = CASE WHEN reissue_before <= ? THEN 0 ELSE reissue_before END, \
                 login_before = CASE WHEN login_before <= ? THEN 0 ELSE login_before END \
             WHERE changed_at > ? AND changed_at <= ? \
                 AND (reissue_before BETWEEN 1 AND ? OR login_before BETWEEN 1 AND ?)",
        )
        .bind(reissue)
        .bind(before)
        .bind(slice.after)
        .bind(slice.until)
        .bind(reissue)
        .bind(before)
        .execute(self.run()?)
        .await
        .map_err(failed)?;
        Ok(gone.rows_affected())
    }

    async fn commit(mut self) -> Result<PoolConnection<MySql>, Error> {
        // The commit comes last, so that a failure is the commit's; in the pool a connection may be
        // silent for as long as the server's default lets it.
        raw_sql("SET SESSION wait_timeout = DEFAULT; COMMIT")
            .execute(self.run()?)
            .await
            .map_err(failed)?;
        let ended = || Error::new(ErrorKind::Store, "the transaction has ended");
        self.connection.take().ok_or_else(ended)
    }
}
