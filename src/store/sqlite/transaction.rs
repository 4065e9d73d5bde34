//! What happens under the write lock.

use std::{sync::Arc, time::Duration};

use sqlx::{Row, SqliteConnection, query};

use super::{
    failed,
    row::{as_i64, cut_off, requested, store_time},
    session::{self, session_row},
    store::Connected,
};
use crate::{
    clock::{Clock, as_micros},
    cutoff::{CutOff, Demand, Receipt, Stamp, StoreTime},
    error::{Error, ErrorKind},
    lifetimes::Lifetimes,
    scope::{Id, Scope},
    store::{
        Audit, Mint, MintFor, Minted, RequestId, Revocation, Session, SessionFilter,
        order::{SessionRow, Snapshot, Verdict, next_cut_off, verdict},
        statements::{Path, Statements},
    },
    telemetry,
};

/// A transaction that holds the write lock, and with it the clock row. Dropping it closes the
/// connection, which rolls back.
pub(super) struct Writer {
    connected: Connected,
    statements: Arc<Statements>,
    path: Path,
    /// The process's wall clock, read under the lock.
    now: Duration,
    newest: StoreTime,
    /// What the clock row holds.
    written: StoreTime,
    /// What it held at first.
    began_at: StoreTime,
    /// What purged cut-offs left behind.
    floor: CutOff,
}

impl Writer {
    pub(super) async fn begin(
        connected: Connected,
        statements: Arc<Statements>,
        path: Path,
        clock: &Clock,
    ) -> Result<Self, Error> {
        let mut writer = Self {
            connected,
            statements,
            path,
            now: Duration::ZERO,
            newest: StoreTime::ZERO,
            written: StoreTime::ZERO,
            began_at: StoreTime::ZERO,
            floor: CutOff::NONE,
        };
        query("BEGIN IMMEDIATE").execute(writer.run()).await.map_err(failed)?;
        // Under the lock, so that readings of different writers are in the order of commits.
        writer.now = clock.now().wall;
        let row = query(
            "SELECT newest, purged_reissue_before, purged_login_before FROM revocation_clock",
        )
        .fetch_one(writer.run())
        .await
        .map_err(failed)?;
        writer.written = store_time(&row, 0)?;
        writer.newest = writer.written;
        writer.began_at = writer.written;
        writer.floor = cut_off(&row, 1)?;
        Ok(writer)
    }

    /// The connection for one statement, which is counted.
    fn run(&mut self) -> &mut SqliteConnection {
        self.statements.count(self.path);
        &mut self.connected.connection
    }

    pub(super) fn newest(&self) -> StoreTime {
        self.newest
    }

    /// Commits, and says whether anything was revoked or cleared.
    pub(super) async fn commit(mut self) -> Result<(Connected, bool), Error> {
        self.write_newest().await?;
        // A revocation in a file without a name would be seen by nobody.
        self.connected.file.check()?;
        query("COMMIT").execute(self.run()).await.map_err(failed)?;
        Ok((self.connected, self.newest > self.began_at))
    }

    /// Writes `newest` into the clock row, if it has moved.
    async fn write_newest(&mut self) -> Result<(), Error> {
        if self.newest > self.written {
            query("UPDATE revocation_clock SET newest = ?")
                .bind(as_i64(self.newest.as_micros()))
                .execute(self.run())
                .await
                .map_err(failed)?;
            self.written = self.newest;
        }
        Ok(())
    }

    /// Raises `newest`. The database is another one from then on: whoever has not seen that it
    /// went back would take what was revoked in between for older than its cursor.
    pub(super) async fn advance(&mut self, newest: StoreTime) -> Result<(), Error> {
        if newest > self.newest {
            self.newest = newest;
            query("UPDATE revocation_clock SET db_uuid = lower(hex(randomblob(16)))")
                .execute(self.run())
                .await
                .map_err(failed)?;
        }
        Ok(())
    }

    // ---- revoking ----

    /// Seals one revocation and returns its cut-off.
    pub(super) async fn seal(
        &mut self,
        scope: &Scope,
        demand: Demand,
        spared: Option<&Id>,
    ) -> Result<StoreTime, Error> {
        let cut_off = next_cut_off(self.newest, self.now)?;
        let spared = match spared {
            Some(sid) => self.alive(sid).await?.map(|session| (sid, session)),
            None => None,
        };
        let CutOff { reissue_before, login_before } = CutOff::at(cut_off, demand);
        query(
            "INSERT INTO revocations (scope, subject, reissue_before, login_before, changed_at) \
             VALUES (?, ?, ?, ?, ?) \
             ON CONFLICT (scope, subject) DO UPDATE SET \
                 reissue_before = max(reissue_before, excluded.reissue_before), \
                 login_before = max(login_before, excluded.login_before), \
                 changed_at = max(changed_at, excluded.changed_at)",
        )
        .bind(scope.kind().as_str())
        .bind(scope.subject())
        .bind(as_i64(reissue_before.as_micros()))
        .bind(as_i64(login_before.as_micros()))
        .bind(as_i64(cut_off.as_micros()))
        .execute(self.run())
        .await
        .map_err(failed)?;
        if let Some((sid, mut session)) = spared {
            session.spare(cut_off);
            session::write(session::GO_ON, sid, &session, self.run()).await?;
        }
        self.newest = cut_off;
        Ok(cut_off)
    }

    /// Seals what other transactions have requested, in the order of the requests.
    pub(super) async fn seal_pending(&mut self) -> Result<(), Error> {
        let pending = query(
            "SELECT seq, scope, subject, demand, spared FROM revocation_requests \
             WHERE revoked_before IS NULL ORDER BY seq",
        )
        .fetch_all(self.run())
        .await
        .map_err(failed)?;
        for row in &pending {
            let seq: i64 = row.try_get(0).map_err(failed)?;
            match requested(row)? {
                Ok(Revocation { scope, demand, spared, .. }) => {
                    let cut_off = self.seal(&scope, demand, spared.as_ref()).await?;
                    query("UPDATE revocation_requests SET revoked_before = ? WHERE seq = ?")
                        .bind(as_i64(cut_off.as_micros()))
                        .bind(seq)
                        .execute(self.run())
                        .await
                        .map_err(failed)?;
                }
                // No token can carry that subject, so nobody is left unrevoked. Said in the
                // row, to whoever asks for its receipt, and to the operator.
                Err(problem) => {
                    telemetry::request_refused(&problem);
                    let newest = as_i64(self.newest.as_micros());
                    query(
                        "UPDATE revocation_requests SET refused = ?, revoked_before = ? \
                         WHERE seq = ?",
                    )
                    .bind(problem.to_string())
                    .bind(newest)
                    .bind(seq)
                    .execute(self.run())
                    .await
                    .map_err(failed)?;
                }
            }
        }
        Ok(())
    }

    /// The receipt of a request, once it is sealed.
    pub(super) async fn receipt(&mut self, id: &RequestId) -> Result<Receipt, Error> {
        let sql = "SELECT revoked_before, refused FROM revocation_requests WHERE id = ?";
        let row = query(sql)
            .bind(id.0.as_str())
            .fetch_optional(self.run())
            .await
            .map_err(failed)?
            .ok_or(ErrorKind::NotCommitted)?;
        match row.try_get::<Option<String>, _>(1).map_err(failed)? {
            Some(refused) => Err(Error::new(ErrorKind::RefusedRequest, refused)),
            None => Ok(Receipt::new(store_time(&row, 0)?)),
        }
    }

    /// Clears the cut-offs of `scope` and says so in the audit.
    pub(super) async fn clear(&mut self, scope: &Scope, audit: &Audit) -> Result<Receipt, Error> {
        let cleared_at = next_cut_off(self.newest, self.now)?;
        let before = self.cut_off(std::slice::from_ref(scope)).await?.above(self.floor);
        query(
            "INSERT INTO revocations (scope, subject, cleared_at, changed_at) VALUES (?, ?, ?, ?) \
             ON CONFLICT (scope, subject) DO UPDATE SET reissue_before = 0, login_before = 0, \
                 cleared_at = excluded.cleared_at, changed_at = excluded.changed_at",
        )
        .bind(scope.kind().as_str())
        .bind(scope.subject())
        .bind(as_i64(cleared_at.as_micros()))
        .bind(as_i64(cleared_at.as_micros()))
        .execute(self.run())
        .await
        .map_err(failed)?;
        query(
            "INSERT INTO revocation_audit \
             (cleared_at, scope, subject, reissue_before, login_before, cleared_by, reason) \
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(as_i64(cleared_at.as_micros()))
        .bind(scope.kind().as_str())
        .bind(scope.subject())
        .bind(as_i64(before.reissue_before.as_micros()))
        .bind(as_i64(before.login_before.as_micros()))
        .bind(audit.by.as_str())
        .bind(&audit.reason)
        .execute(self.run())
        .await
        .map_err(failed)?;
        self.newest = cleared_at;
        Ok(Receipt::new(cleared_at))
    }

    // ---- minting ----

    /// Writes the session, if ticket, guard and counter allow.
    pub(super) async fn mint(&mut self, mint: &Mint) -> Result<Minted, Error> {
        let before = match mint.session {
            MintFor::Login => None,
            _ => self.session(&mint.sid).await?,
        };
        let asked = self.cut_off(&mint.scopes()).await?;
        let guarded = match &before {
            Some(session) => asked.join(self.guarded(&mint.sid, session).await?),
            None => asked,
        };
        let snapshot = Snapshot { newest: self.newest, guarded, asked, now: self.now };
        match verdict(mint, before.as_ref(), snapshot) {
            Verdict::Mint => {}
            Verdict::Refuse(kind) => return Err(kind.into()),
            Verdict::Theft => {
                let stolen = Scope::Session(mint.sid.clone());
                let receipt = Receipt::new(self.seal(&stolen, Demand::Login, None).await?);
                return Err(ErrorKind::RefreshTokenReused(receipt).into());
            }
        }
        // Nobody else moves `newest` as long as this holds the lock.
        let stamp = Stamp::after(self.newest);
        match before {
            Some(mut session) => {
                let minted = session.go_on(mint, stamp, self.now);
                session::write(session::GO_ON, &mint.sid, &session, self.run()).await?;
                Ok(minted)
            }
            None => {
                let (session, minted) = SessionRow::begin(mint, stamp, self.now);
                session::write(session::BEGIN, &mint.sid, &session, self.run()).await?;
                Ok(minted)
            }
        }
    }

    /// The living sessions that `filter` asks for.
    pub(super) async fn sessions(
        &mut self,
        filter: &SessionFilter,
        lifetimes: Lifetimes,
    ) -> Result<Vec<Session>, Error> {
        let now = self.now;
        session::list(filter, lifetimes, now, self.run()).await
    }

    /// The row of `sid`, if no cut-off has ended it.
    pub(super) async fn alive(&mut self, sid: &Id) -> Result<Option<SessionRow>, Error> {
        let Some(session) = self.session(sid).await? else { return Ok(None) };
        let cut_offs = self.guarded(sid, &session).await?;
        Ok(session.stands(cut_offs).then_some(session))
    }

    async fn session(&mut self, sid: &Id) -> Result<Option<SessionRow>, Error> {
        let row = query(session::SESSION)
            .bind(sid.as_str())
            .fetch_optional(self.run())
            .await
            .map_err(failed)?;
        row.as_ref().map(session_row).transpose()
    }

    /// The cut-offs the guard of `session` is held against.
    async fn guarded(&mut self, sid: &Id, session: &SessionRow) -> Result<CutOff, Error> {
        let mut scopes =
            vec![Scope::Everyone, Scope::User(session.user.clone()), Scope::Session(sid.clone())];
        scopes.extend(session.groups.iter().cloned().map(Scope::Group));
        self.cut_off(&scopes).await
    }

    /// The highest cut-offs of `scopes`.
    async fn cut_off(&mut self, scopes: &[Scope]) -> Result<CutOff, Error> {
        let keys: Vec<[&str; 2]> =
            scopes.iter().map(|scope| [scope.kind().as_str(), scope.subject()]).collect();
        let keys =
            serde_json::to_string(&keys).map_err(|cause| Error::new(ErrorKind::Claims, cause))?;
        let row = query(
            "SELECT coalesce(max(reissue_before), 0), coalesce(max(login_before), 0) \
             FROM json_each(?) AS asked JOIN revocations \
             ON scope = asked.value ->> 0 AND subject = asked.value ->> 1",
        )
        .bind(keys)
        .fetch_one(self.run())
        .await
        .map_err(failed)?;
        Ok(self.floor.join(cut_off(&row, 0)?))
    }

    // ---- purging ----

    /// Deletes sessions and requests whose time is over, a slice of each. Returns whether there
    /// may be more.
    pub(super) async fn purge_ended(&mut self, lifetimes: Lifetimes) -> Result<bool, Error> {
        /// Logins and revocations wait for no more than this.
        const SLICE: u32 = 1_000;
        let (_, login) = lifetimes.horizons(self.now);
        let before = |life| as_i64(as_micros(self.now.saturating_sub(life)));
        let (began, refreshed_at) = (before(lifetimes.session()), before(lifetimes.idle()));
        let sessions = query(
            "DELETE FROM revocation_sessions WHERE id IN (SELECT id FROM revocation_sessions \
             WHERE began <= ? OR refreshed_at <= ? LIMIT ?)",
        )
        .bind(began)
        .bind(refreshed_at)
        .bind(SLICE)
        .execute(self.run())
        .await
        .map_err(failed)?;
        let requests = query(
            "DELETE FROM revocation_requests WHERE seq IN \
             (SELECT seq FROM revocation_requests WHERE revoked_before < ? LIMIT ?)",
        )
        .bind(as_i64(login.as_micros()))
        .bind(SLICE)
        .execute(self.run())
        .await
        .map_err(failed)?;
        Ok(sessions.rows_affected().max(requests.rows_affected()) == u64::from(SLICE))
    }

    /// Drops cut-offs that have outlived all they cover; the highest dropped becomes the floor.
    pub(super) async fn purge(&mut self, lifetimes: Lifetimes) -> Result<u64, Error> {
        let (reissue, login) = lifetimes.horizons(self.now);
        let (reissue, login) = (as_i64(reissue.as_micros()), as_i64(login.as_micros()));
        let row = query(
            "SELECT coalesce(max(iif(reissue_before < ?1, reissue_before, 0)), 0), \
                    coalesce(max(iif(login_before < ?2, login_before, 0)), 0) \
             FROM revocations",
        )
        .bind(reissue)
        .bind(login)
        .fetch_one(self.run())
        .await
        .map_err(failed)?;
        let outlived = cut_off(&row, 0)?;
        self.floor = self.floor.join(outlived);
        query("UPDATE revocation_clock SET purged_reissue_before = ?, purged_login_before = ?")
            .bind(as_i64(self.floor.reissue_before.as_micros()))
            .bind(as_i64(self.floor.login_before.as_micros()))
            .execute(self.run())
            .await
            .map_err(failed)?;
        query(
            "UPDATE revocations SET \
                 reissue_before = iif(reissue_before <= ?1, 0, reissue_before), \
                 login_before = iif(login_before <= ?2, 0, login_before) \
             WHERE reissue_before BETWEEN 1 AND ?1 OR login_before BETWEEN 1 AND ?2",
        )
        .bind(as_i64(outlived.reissue_before.as_micros()))
        .bind(as_i64(outlived.login_before.as_micros()))
        .execute(self.run())
        .await
        .map_err(failed)?;
        let gone = query(
            "DELETE FROM revocations \
             WHERE reissue_before = 0 AND login_before = 0 AND cleared_at < ?",
        )
        .bind(login)
        .execute(self.run())
        .await
        .map_err(failed)?;
        Ok(gone.rows_affected())
    }
}
