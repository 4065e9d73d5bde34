//! The statements that the writer is made of, in PostgreSQL's words.

use std::{sync::Arc, time::Duration};

use sqlx::{AssertSqlSafe, PgConnection, Postgres, pool::PoolConnection, query, raw_sql};

use super::{
    row::{cut_off, get, store_time},
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
        sql::{corrupt, duration, duration_i64, failed, raise_times, requested, time_i64},
        statements::{Path, Statements},
        tables::{ClockRow, Pending, Raise, Settled, Slice, Tables},
        writer::SEALED_AT_ONCE,
    },
};

/// A transaction that holds the lock of the clock row. Dropping it closes the connection, which
/// rolls back.
pub(super) struct PostgresTables {
    /// `None` once it has committed.
    connection: Option<PoolConnection<Postgres>>,
    statements: Arc<Statements>,
    path: Path,
    /// Whether statements may stay prepared on the server.
    persistent: bool,
}

impl PostgresTables {
    /// Locks the clock row and reads it. `now` stands in for the database's clock.
    pub(super) async fn begin(
        connection: PoolConnection<Postgres>,
        statements: Arc<Statements>,
        path: Path,
        persistent: bool,
        now: Option<Duration>,
    ) -> Result<(Self, ClockRow), Error> {
        let mut tables = Self { connection: Some(connection), statements, path, persistent };
        let wait = SERVER_WAIT.as_millis();
        let lock = if cfg!(plant = "clock_row_without_lock") { "" } else { "FOR UPDATE" };
        let clock = if cfg!(plant = "cut_off_at_begin") { "now()" } else { "clock_timestamp()" };
        // One message. `READ COMMITTED` whatever the database's default: it has to see what whoever
        // held the lock before has committed.
        let begin = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; \
             SELECT set_config('synchronous_commit', 'on', true) \
                 WHERE current_setting('synchronous_commit') IN ('off', 'local'); \
             SET LOCAL lock_timeout = {wait}; \
             SET LOCAL idle_in_transaction_session_timeout = {wait}; \
             SELECT FROM revocation_clock {lock}; \
             SELECT newest, purged_reissue_before, purged_login_before, \
                 (extract(epoch FROM {clock}) * 1000000)::bigint \
             FROM revocation_clock"
        );
        let rows = raw_sql(AssertSqlSafe(begin)).fetch_all(tables.run()?).await.map_err(failed)?;
        // That of the last statement.
        let row = rows.last().ok_or_else(|| corrupt("the clock row is missing"))?;
        let now = match now {
            Some(now) => now,
            None => duration(get(row, 3)?)?,
        };
        let clock = ClockRow { newest: store_time(row, 0)?, floor: cut_off(row, 1)?, now };
        Ok((tables, clock))
    }

    /// The connection for one statement, which is counted.
    fn run(&mut self) -> Result<&mut PgConnection, Error> {
        self.statements.count(self.path);
        let ended = || Error::new(ErrorKind::Store, "the transaction has ended");
        self.connection.as_deref_mut().ok_or_else(ended)
    }

    /// A statement of ours, to be bound and run.
    fn query(&self, sql: &'static str) -> PgQuery {
        query(sql).persistent(self.persistent)
    }
}

type PgQuery = sqlx::query::Query<'static, Postgres, sqlx::postgres::PgArguments>;

impl Drop for PostgresTables {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.close_on_drop();
        }
    }
}

impl Tables for PostgresTables {
    type Committed = PoolConnection<Postgres>;

    async fn raise(&mut self, raises: &[Raise]) -> Result<(), Error> {
        let kinds: Vec<&str> = raises.iter().map(|raise| raise.scope.kind().as_str()).collect();
        let subjects: Vec<&str> = raises.iter().map(|raise| raise.scope.subject()).collect();
        let times: Vec<[i64; 3]> = raises.iter().map(raise_times).collect();
        let column = |index: usize| times.iter().map(|times| times[index]).collect::<Vec<i64>>();
        let upsert = query(
            "INSERT INTO revocations AS r \
                 (scope, subject, reissue_before, login_before, changed_at) \
             SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[]) \
             ON CONFLICT (scope, subject) DO UPDATE SET \
                 reissue_before = greatest(r.reissue_before, excluded.reissue_before), \
                 login_before = greatest(r.login_before, excluded.login_before), \
                 changed_at = greatest(r.changed_at, excluded.changed_at)",
        );
        upsert
            .persistent(self.persistent)
            .bind(kinds)
            .bind(subjects)
            .bind(column(0))
            .bind(column(1))
            .bind(column(2))
            .execute(self.run()?)
            .await
            .map(drop)
            .map_err(failed)
    }

    async fn cut_offs(&mut self, scopes: &[Scope]) -> Result<Vec<CutOff>, Error> {
        let kinds: Vec<&str> = scopes.iter().map(|scope| scope.kind().as_str()).collect();
        let subjects: Vec<&str> = scopes.iter().map(Scope::subject).collect();
        let rows = query(
            "SELECT coalesce(reissue_before, 0), coalesce(login_before, 0) \
             FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked (scope, subject, place) \
             LEFT JOIN revocations USING (scope, subject) ORDER BY place",
        )
        .persistent(self.persistent)
        .bind(kinds)
        .bind(subjects)
        .fetch_all(self.run()?)
        .await
        .map_err(failed)?;
        rows.iter().map(|row| cut_off(row, 0)).collect()
    }

    async fn clear(
        &mut self,
        scope: &Scope,
        before: CutOff,
        cleared_at: StoreTime,
        audit: &Audit,
    ) -> Result<(), Error> {
        self.query(
            "INSERT INTO revocations (scope, subject, cleared_at, changed_at) \
             VALUES ($1, $2, $3, $3) \
             ON CONFLICT (scope, subject) DO UPDATE SET reissue_before = 0, login_before = 0, \
                 cleared_at = excluded.cleared_at, changed_at = excluded.changed_at",
        )
        .bind(scope.kind().as_str())
        .bind(scope.subject())
        .bind(time_i64(cleared_at))
        .execute(self.run()?)
        .await
        .map_err(failed)?;
        self.query(
            "INSERT INTO revocation_audit \
             (cleared_at, scope, subject, reissue_before, login_before, cleared_by, reason) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
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
        self.query("UPDATE revocation_clock SET newest = $1")
            .bind(time_i64(newest))
            .execute(self.run()?)
            .await
            .map_err(failed)?;
        #[cfg(plant = "notify_in_transaction")]
        raw_sql("NOTIFY tower_revocation").execute(self.run()?).await.map_err(failed)?;
        Ok(())
    }

    async fn renew_identity(&mut self) -> Result<(), Error> {
        self.query("UPDATE revocation_clock SET db_uuid = gen_random_uuid()::text")
            .execute(self.run()?)
            .await
            .map(drop)
            .map_err(failed)
    }

    async fn set_floor(&mut self, floor: CutOff) -> Result<(), Error> {
        self.query(
            "UPDATE revocation_clock SET purged_reissue_before = $1, purged_login_before = $2",
        )
        .bind(time_i64(floor.reissue_before))
        .bind(time_i64(floor.login_before))
        .execute(self.run()?)
        .await
        .map(drop)
        .map_err(failed)
    }

    // ---- requests ----

    async fn pending(&mut self) -> Result<Vec<Pending>, Error> {
        let pending = "SELECT seq, scope, subject, demand, spared FROM revocation_requests \
             WHERE revoked_before IS NULL ORDER BY seq LIMIT $1";
        #[cfg(plant = "cursor_over_sequence")]
        let pending = "SELECT seq, scope, subject, demand, spared FROM revocation_requests \
             WHERE seq > (SELECT coalesce(max(seq), 0) FROM revocation_requests \
                 WHERE revoked_before IS NOT NULL) ORDER BY seq LIMIT $1";
        let rows = self
            .query(pending)
            .bind(i64::from(SEALED_AT_ONCE))
            .fetch_all(self.run()?)
            .await
            .map_err(failed)?;
        rows.iter()
            .map(|row| {
                let subject: &str = get(row, 2)?;
                let spared: Option<&str> = get(row, 4)?;
                let spared = spared.map(str::as_bytes);
                let revocation = requested(get(row, 1)?, subject.as_bytes(), get(row, 3)?, spared)?;
                Ok(Pending { seq: get(row, 0)?, revocation })
            })
            .collect()
    }

    async fn settle(&mut self, settled: &[Settled]) -> Result<(), Error> {
        let seqs: Vec<i64> = settled.iter().map(|settled| settled.seq).collect();
        let revoked_before: Vec<i64> =
            settled.iter().map(|settled| time_i64(settled.revoked_before)).collect();
        let refused: Vec<Option<&str>> =
            settled.iter().map(|settled| settled.refused.as_deref()).collect();
        query(
            "UPDATE revocation_requests AS request \
             SET revoked_before = settled.revoked_before, refused = settled.refused \
             FROM unnest($1::bigint[], $2::bigint[], $3::text[]) \
                 AS settled (seq, revoked_before, refused) \
             WHERE request.seq = settled.seq",
        )
        .persistent(self.persistent)
        .bind(seqs)
        .bind(revoked_before)
        .bind(refused)
        .execute(self.run()?)
        .await
        .map(drop)
        .map_err(failed)
    }

    async fn settled(&mut self, id: &RequestId) -> Result<Option<Settled>, Error> {
        let row =
            query("SELECT seq, revoked_before, refused FROM revocation_requests WHERE id = $1")
                .persistent(self.persistent)
                .bind(id.0.as_str())
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
        session::read(sid, self.persistent, self.run()?).await
    }

    async fn sessions_beyond(
        &mut self,
        user: &Id,
        kept: u32,
        lifetimes: Lifetimes,
        now: Duration,
    ) -> Result<Vec<Id>, Error> {
        session::beyond(user, kept, lifetimes, now, self.persistent, self.run()?).await
    }

    async fn begin_session(&mut self, sid: &Id, row: &SessionRow) -> Result<(), Error> {
        session::write(session::BEGIN, sid, row, self.persistent, self.run()?).await
    }

    async fn go_on_session(&mut self, sid: &Id, row: &SessionRow) -> Result<(), Error> {
        session::write(session::GO_ON, sid, row, self.persistent, self.run()?).await
    }

    // ---- purging ----

    async fn delete_sessions(
        &mut self,
        began: Duration,
        refreshed_at: Duration,
        limit: u32,
    ) -> Result<u64, Error> {
        // A session that is being refreshed at this moment is left for the next purge.
        let gone = self
            .query(
                "DELETE FROM revocation_sessions WHERE id IN (SELECT id FROM revocation_sessions \
                 WHERE began <= $1 OR refreshed_at <= $2 LIMIT $3 FOR UPDATE SKIP LOCKED)",
            )
            .bind(duration_i64(began))
            .bind(duration_i64(refreshed_at))
            .bind(i64::from(limit))
            .execute(self.run()?)
            .await
            .map_err(failed)?;
        Ok(gone.rows_affected())
    }

    async fn delete_requests(&mut self, before: StoreTime, limit: u32) -> Result<u64, Error> {
        let gone = self
            .query(
                "DELETE FROM revocation_requests WHERE seq IN \
                 (SELECT seq FROM revocation_requests WHERE revoked_before < $1 LIMIT $2)",
            )
            .bind(time_i64(before))
            .bind(i64::from(limit))
            .execute(self.run()?)
            .await
            .map_err(failed)?;
        Ok(gone.rows_affected())
    }

    async fn slice_end(&mut self, after: i64, rows: u32) -> Result<Option<i64>, Error> {
        let row = self
            .query(
                "SELECT changed_at FROM revocations WHERE changed_at > $1 \
                 ORDER BY changed_at LIMIT 1 OFFSET $2 - 1",
            )
            .bind(after)
            .bind(i64::from(rows))
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
        let row = self
            .query(
                "SELECT coalesce(max(reissue_before) FILTER (WHERE reissue_before < $3), 0), \
                        coalesce(max(login_before) FILTER (WHERE login_before < $4), 0) \
                 FROM revocations WHERE changed_at > $1 AND changed_at <= $2",
            )
            .bind(slice.after)
            .bind(slice.until)
            .bind(time_i64(reissue))
            .bind(time_i64(login))
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
        let gone = self
            .query(
                "DELETE FROM revocations WHERE changed_at > $1 AND changed_at <= $2 \
                     AND reissue_before <= $3 AND login_before <= $4 AND cleared_at < $5",
            )
            .bind(slice.after)
            .bind(slice.until)
            .bind(time_i64(floor.reissue_before))
            .bind(time_i64(floor.login_before))
            .bind(time_i64(login))
            .execute(self.run()?)
            .await
            .map_err(failed)?;
        self.query(
            "UPDATE revocations SET \
                 reissue_before = CASE WHEN reissue_before <= $3 THEN 0 ELSE reissue_before END, \
                 login_before = CASE WHEN login_before <= $4 THEN 0 ELSE login_before END \
             WHERE changed_at > $1 AND changed_at <= $2 \
                 AND (reissue_before BETWEEN 1 AND $3 OR login_before BETWEEN 1 AND $4)",
        )
        .bind(slice.after)
        .bind(slice.until)
        .bind(time_i64(floor.reissue_before))
        .bind(time_i64(floor.login_before))
        .execute(self.run()?)
        .await
        .map_err(failed)?;
        Ok(gone.rows_affected())
    }

    async fn commit(mut self) -> Result<PoolConnection<Postgres>, Error> {
        // Simple, as `BEGIN` was.
        raw_sql("COMMIT").execute(self.run()?).await.map_err(failed)?;
        let ended = || Error::new(ErrorKind::Store, "the transaction has ended");
        self.connection.take().ok_or_else(ended)
    }
}
