//! The statements that the writer is made of, in SQLite's words.

use std::{sync::Arc, time::Duration};

use sqlx::{Row, SqliteConnection, query, query_scalar};

use super::{
    row::{cut_off, requested, store_time},
    session::{self, session_row},
    store::Connected,
};
use crate::{
    clock::Clock,
    cutoff::{CutOff, StoreTime},
    error::Error,
    lifetimes::Lifetimes,
    scope::{Id, Scope},
    store::{
        Audit, RequestId,
        order::SessionRow,
        sql::{duration_i64, failed, json, raise_times, time_i64},
        statements::{Path, Statements},
        tables::{ClockRow, Pending, Raise, Settled, Slice, Tables},
        writer::SEALED_AT_ONCE,
    },
};

/// A transaction that holds the write lock, and with it the clock row. Dropping it closes the
/// connection, which rolls back.
pub(super) struct SqliteTables {
    connected: Connected,
    statements: Arc<Statements>,
    path: Path,
}

impl SqliteTables {
    /// Takes the write lock, and reads the clock row under it.
    pub(super) async fn begin(
        connected: Connected,
        statements: Arc<Statements>,
        path: Path,
        clock: Clock,
    ) -> Result<(Self, ClockRow), Error> {
        let mut tables = Self { connected, statements, path };
        query("BEGIN IMMEDIATE").execute(tables.run()).await.map_err(failed)?;
        let now = clock.now().wall;
        let row = query(
            "SELECT newest, purged_reissue_before, purged_login_before FROM revocation_clock",
        )
        .fetch_one(tables.run())
        .await
        .map_err(failed)?;
        let clock = ClockRow { newest: store_time(&row, 0)?, floor: cut_off(&row, 1)?, now };
        Ok((tables, clock))
    }

    /// The connection for one statement, which is counted.
    fn run(&mut self) -> &mut SqliteConnection {
        self.statements.count(self.path);
        &mut self.connected.connection
    }
}

impl Tables for SqliteTables {
    type Committed = Connected;

    async fn raise(&mut self, raises: &[Raise]) -> Result<(), Error> {
        let rows: Vec<(&str, &str, i64, i64, i64)> = raises
            .iter()
            .map(|raise| {
                let [reissue_before, login_before, changed_at] = raise_times(raise);
                let (kind, subject) = (raise.scope.kind().as_str(), raise.scope.subject());
                (kind, subject, reissue_before, login_before, changed_at)
            })
            .collect();
        query(
            "INSERT INTO revocations (scope, subject, reissue_before, login_before, changed_at) \
             SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 \
             FROM json_each(?) WHERE true \
             ON CONFLICT (scope, subject) DO UPDATE SET \
                 reissue_before = max(reissue_before, excluded.reissue_before), \
                 login_before = max(login_before, excluded.login_before), \
                 changed_at = max(changed_at, excluded.changed_at)",
        )
        .bind(json(&rows)?)
        .execute(self.run())
        .await
        .map(drop)
        .map_err(failed)
    }

    async fn cut_offs(&mut self, scopes: &[Scope]) -> Result<Vec<CutOff>, Error> {
        let keys: Vec<[&str; 2]> =
            scopes.iter().map(|scope| [scope.kind().as_str(), scope.subject()]).collect();
        let rows = query(
            "SELECT coalesce(reissue_before, 0), coalesce(login_before, 0) \
             FROM json_each(?) AS asked LEFT JOIN revocations \
             ON scope = asked.value ->> 0 AND subject = asked.value ->> 1 \
             ORDER BY asked.key",
        )
        .bind(json(&keys)?)
        .fetch_all(self.run())
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
        query(
            "INSERT INTO revocations (scope, subject, cleared_at, changed_at) VALUES (?, ?, ?, ?) \
             ON CONFLICT (scope, subject) DO UPDATE SET reissue_before = 0, login_before = 0, \
                 cleared_at = excluded.cleared_at, changed_at = excluded.changed_at",
        )
        .bind(scope.kind().as_str())
        .bind(scope.subject())
        .bind(time_i64(cleared_at))
        .bind(time_i64(cleared_at))
        .execute(self.run())
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
        .execute(self.run())
        .await
        .map(drop)
        .map_err(failed)
    }

    // ---- the clock row ----

    async fn set_newest(&mut self, newest: StoreTime) -> Result<(), Error> {
        query("UPDATE revocation_clock SET newest = ?")
            .bind(time_i64(newest))
            .execute(self.run())
            .await
            .map(drop)
            .map_err(failed)
    }

    async fn renew_identity(&mut self) -> Result<(), Error> {
        query("UPDATE revocation_clock SET db_uuid = lower(hex(randomblob(16)))")
            .execute(self.run())
            .await
            .map(drop)
            .map_err(failed)
    }

    async fn set_floor(&mut self, floor: CutOff) -> Result<(), Error> {
        query("UPDATE revocation_clock SET purged_reissue_before = ?, purged_login_before = ?")
            .bind(time_i64(floor.reissue_before))
            .bind(time_i64(floor.login_before))
            .execute(self.run())
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
        .fetch_all(self.run())
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                let seq = row.try_get(0).map_err(failed)?;
                Ok(Pending { seq, revocation: requested(row, 1)? })
            })
            .collect()
    }

    async fn settle(&mut self, settled: &[Settled]) -> Result<(), Error> {
        let rows: Vec<(i64, i64, Option<&str>)> = settled
            .iter()
            .map(|Settled { seq, revoked_before, refused }| {
                (*seq, time_i64(*revoked_before), refused.as_deref())
            })
            .collect();
        query(
            "UPDATE revocation_requests \
             SET revoked_before = settled.value ->> 1, refused = settled.value ->> 2 \
             FROM json_each(?) AS settled WHERE seq = settled.value ->> 0",
        )
        .bind(json(&rows)?)
        .execute(self.run())
        .await
        .map(drop)
        .map_err(failed)
    }

    async fn settled(&mut self, id: &RequestId) -> Result<Option<Settled>, Error> {
        let row =
            query("SELECT seq, revoked_before, refused FROM revocation_requests WHERE id = ?")
                .bind(id.0.as_str())
                .fetch_optional(self.run())
                .await
                .map_err(failed)?;
        row.map(|row| {
            Ok(Settled {
                seq: row.try_get(0).map_err(failed)?,
                revoked_before: store_time(&row, 1)?,
                refused: row.try_get(2).map_err(failed)?,
            })
        })
        .transpose()
    }

    // ---- sessions ----

    async fn session(&mut self, sid: &Id) -> Result<Option<SessionRow>, Error> {
        let row = query(session::SESSION)
            .bind(sid.as_str())
            .fetch_optional(self.run())
            .await
            .map_err(failed)?;
        row.as_ref().map(session_row).transpose()
    }

    async fn sessions_beyond(
        &mut self,
        user: &Id,
        kept: u32,
        lifetimes: Lifetimes,
        now: Duration,
    ) -> Result<Vec<Id>, Error> {
        session::beyond(user, kept, lifetimes, now, self.run()).await
    }

    async fn begin_session(&mut self, sid: &Id, row: &SessionRow) -> Result<(), Error> {
        session::write(session::BEGIN, sid, row, self.run()).await
    }

    async fn go_on_session(&mut self, sid: &Id, row: &SessionRow) -> Result<(), Error> {
        session::write(session::GO_ON, sid, row, self.run()).await
    }

    // ---- purging ----

    async fn delete_sessions(
        &mut self,
        began: Duration,
        refreshed_at: Duration,
        limit: u32,
    ) -> Result<u64, Error> {
        let gone = query(
            "DELETE FROM revocation_sessions WHERE id IN (SELECT id FROM revocation_sessions \
             WHERE began <= ? OR refreshed_at <= ? LIMIT ?)",
        )
        .bind(duration_i64(began))
        .bind(duration_i64(refreshed_at))
        .bind(limit)
        .execute(self.run())
        .await
        .map_err(failed)?;
        Ok(gone.rows_affected())
    }

    async fn delete_requests(&mut self, before: StoreTime, limit: u32) -> Result<u64, Error> {
        let gone = query(
            "DELETE FROM revocation_requests WHERE seq IN \
             (SELECT seq FROM revocation_requests WHERE revoked_before < ? LIMIT ?)",
        )
        .bind(time_i64(before))
        .bind(limit)
        .execute(self.run())
        .await
        .map_err(failed)?;
        Ok(gone.rows_affected())
    }

    async fn slice_end(&mut self, after: i64, rows: u32) -> Result<Option<i64>, Error> {
        query_scalar(
            "SELECT changed_at FROM revocations WHERE changed_at > ? \
             ORDER BY changed_at LIMIT 1 OFFSET ? - 1",
        )
        .bind(after)
        .bind(rows)
        .fetch_optional(self.run())
        .await
        .map_err(failed)
    }

    async fn outlived(
        &mut self,
        slice: Slice,
        reissue: StoreTime,
        login: StoreTime,
    ) -> Result<CutOff, Error> {
        let row = query(
            "SELECT coalesce(max(iif(reissue_before < ?3, reissue_before, 0)), 0), \
                    coalesce(max(iif(login_before < ?4, login_before, 0)), 0) \
             FROM revocations WHERE changed_at > ?1 AND changed_at <= ?2",
        )
        .bind(slice.after)
        .bind(slice.until)
        .bind(time_i64(reissue))
        .bind(time_i64(login))
        .fetch_one(self.run())
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
        let gone = query(
            "DELETE FROM revocations WHERE changed_at > ?1 AND changed_at <= ?2 \
                 AND reissue_before <= ?3 AND login_before <= ?4 AND cleared_at < ?5",
        )
        .bind(slice.after)
        .bind(slice.until)
        .bind(time_i64(floor.reissue_before))
        .bind(time_i64(floor.login_before))
        .bind(time_i64(login))
        .execute(self.run())
        .await
        .map_err(failed)?;
        query(
            "UPDATE revocations SET \
                 reissue_before = iif(reissue_before <= ?3, 0, reissue_before), \
                 login_before = iif(login_before <= ?4, 0, login_before) \
             WHERE changed_at > ?1 AND changed_at <= ?2 \
                 AND (reissue_before BETWEEN 1 AND ?3 OR login_before BETWEEN 1 AND ?4)",
        )
        .bind(slice.after)
        .bind(slice.until)
        .bind(time_i64(floor.reissue_before))
        .bind(time_i64(floor.login_before))
        .execute(self.run())
        .await
        .map_err(failed)?;
        Ok(gone.rows_affected())
    }

    async fn commit(mut self) -> Result<Connected, Error> {
        // A revocation in a file without a name would be seen by nobody.
        self.connected.file.check()?;
        query("COMMIT").execute(self.run()).await.map_err(failed)?;
        // Nor in one that has lost its name meanwhile.
        self.connected.file.check()?;
        Ok(self.connected)
    }
}
