//! What happens under the write lock.

use std::{sync::Arc, time::Duration};

use sqlx::{Row, Sqlite, SqliteConnection, Transaction, query, sqlite::SqliteRow};

use super::{failed, unsigned};
use crate::{
    clock::as_micros,
    cutoff::{CutOff, Demand, Receipt, Stamp, StoreTime},
    error::{Error, ErrorKind},
    lifetimes::Lifetimes,
    scope::{Id, InvalidId, Scope, UnknownName},
    store::{
        Audit, Entry, Mint, MintFor, Minted, RequestId, Revocation, StoreId,
        order::{Session, may_mint, next_cut_off},
        statements::{Path, Statements},
    },
};

/// A transaction that holds the write lock, and with it the clock row.
pub(super) struct Writer {
    transaction: Transaction<'static, Sqlite>,
    statements: Arc<Statements>,
    path: Path,
    /// The process's wall clock, read under the lock.
    now: Duration,
    newest: StoreTime,
    /// What the clock row holds.
    written: StoreTime,
    /// What it held at first.
    began_at: StoreTime,
}

impl Writer {
    /// `transaction` was begun IMMEDIATE; `now` was read after that.
    pub(super) async fn new(
        transaction: Transaction<'static, Sqlite>,
        statements: Arc<Statements>,
        path: Path,
        now: Duration,
    ) -> Result<Self, Error> {
        let mut writer = Self {
            transaction,
            statements,
            path,
            now,
            newest: StoreTime::ZERO,
            written: StoreTime::ZERO,
            began_at: StoreTime::ZERO,
        };
        let sql = "SELECT newest FROM revocation_clock";
        let row = query(sql).fetch_one(writer.run()).await.map_err(failed)?;
        writer.written = store_time(&row, 0)?;
        writer.newest = writer.written;
        writer.began_at = writer.written;
        Ok(writer)
    }

    /// The connection for one statement, which is counted.
    fn run(&mut self) -> &mut SqliteConnection {
        self.statements.count(self.path);
        &mut self.transaction
    }

    pub(super) fn newest(&self) -> StoreTime {
        self.newest
    }

    /// Commits, and says whether anything was revoked or cleared.
    pub(super) async fn commit(mut self) -> Result<bool, Error> {
        self.write_newest().await?;
        self.statements.count(self.path);
        self.transaction.commit().await.map_err(failed)?;
        Ok(self.newest > self.began_at)
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

    pub(super) fn advance(&mut self, newest: StoreTime) {
        self.newest = self.newest.max(newest);
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
            Some(sid) if self.is_alive(sid).await? => Some(sid),
            _ => None,
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
        if let Some(sid) = spared {
            query("UPDATE revocation_sessions SET last_stamp = max(last_stamp, ?) WHERE id = ?")
                .bind(as_i64(Stamp::after(cut_off).as_micros()))
                .bind(sid.as_str())
                .execute(self.run())
                .await
                .map_err(failed)?;
        }
        self.newest = cut_off;
        Ok(cut_off)
    }

    /// Seals what other transactions have requested, in the order of the requests.
    pub(super) async fn seal_pending(&mut self) -> Result<(), Error> {
        let pending = query(
            "SELECT seq, scope, subject, demand, spared FROM revocation_requests \
             WHERE revoked_before IS NULL AND refused IS NULL ORDER BY seq",
        )
        .fetch_all(self.run())
        .await
        .map_err(failed)?;
        for row in &pending {
            let seq: i64 = row.try_get(0).map_err(failed)?;
            match requested(row)? {
                Ok(Revocation { scope, demand, spared }) => {
                    let cut_off = self.seal(&scope, demand, spared.as_ref()).await?;
                    query("UPDATE revocation_requests SET revoked_before = ? WHERE seq = ?")
                        .bind(as_i64(cut_off.as_micros()))
                        .bind(seq)
                        .execute(self.run())
                        .await
                        .map_err(failed)?;
                }
                // No token can carry that subject, so nobody is left unrevoked. Said in the
                // row and to whoever asks for its receipt.
                Err(problem) => {
                    query("UPDATE revocation_requests SET refused = ? WHERE seq = ?")
                        .bind(problem.to_string())
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
        let before = self.cut_off(std::slice::from_ref(scope)).await?;
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

    /// Writes the session and reads the stamp, if ticket and guard allow.
    pub(super) async fn mint(&mut self, mint: &Mint) -> Result<Minted, Error> {
        let before = match mint.session {
            MintFor::Login => None,
            MintFor::Refresh => self.session(&mint.sid).await?,
        };
        let asked = self.cut_off(&mint.scopes()).await?;
        let guarded = match &before {
            Some(session) => asked.join(self.guarded(&mint.sid, session).await?),
            None => asked,
        };
        may_mint(mint, before.as_ref(), guarded, asked, self.now)?;

        let groups: Vec<&str> = mint.groups.iter().map(Id::as_str).collect();
        let groups =
            serde_json::to_string(&groups).map_err(|cause| Error::new(ErrorKind::Claims, cause))?;
        // What was just sealed must be in the row: the statement that writes the session reads
        // the stamp from there.
        self.write_newest().await?;
        let row = query(
            "INSERT INTO revocation_sessions (id, user, groups, began, last_stamp) \
             SELECT ?, ?, ?, ?, newest + 1 FROM revocation_clock WHERE true \
             ON CONFLICT (id) DO UPDATE SET groups = excluded.groups, \
                 last_stamp = max(last_stamp, excluded.last_stamp) \
             RETURNING (SELECT newest + 1 FROM revocation_clock), began",
        )
        .bind(mint.sid.as_str())
        .bind(mint.user.as_str())
        .bind(groups)
        .bind(as_i64(as_micros(self.now)))
        .fetch_one(self.run())
        .await
        .map_err(failed)?;
        Ok(Minted {
            stamp: Stamp::from_micros(number(&row, 0)?),
            issued_at: self.now,
            session_began: Duration::from_micros(number(&row, 1)?),
        })
    }

    async fn is_alive(&mut self, sid: &Id) -> Result<bool, Error> {
        let Some(session) = self.session(sid).await? else { return Ok(false) };
        let cut_offs = self.guarded(sid, &session).await?;
        Ok(session.stands(cut_offs))
    }

    async fn session(&mut self, sid: &Id) -> Result<Option<Session>, Error> {
        let sql = "SELECT user, groups, began, last_stamp FROM revocation_sessions WHERE id = ?";
        let row = query(sql).bind(sid.as_str()).fetch_optional(self.run()).await.map_err(failed)?;
        row.map(|row| {
            let user: &str = row.try_get(0).map_err(failed)?;
            let groups: &str = row.try_get(1).map_err(failed)?;
            let groups: Vec<String> = serde_json::from_str(groups)
                .map_err(|cause| Error::new(ErrorKind::Corrupt, cause))?;
            let id =
                |text: &str| Id::new(text).map_err(|cause| Error::new(ErrorKind::Corrupt, cause));
            Ok(Session {
                user: id(user)?,
                groups: groups.iter().map(|group| id(group)).collect::<Result<_, _>>()?,
                began: Duration::from_micros(number(&row, 2)?),
                last_stamp: Stamp::from_micros(number(&row, 3)?),
            })
        })
        .transpose()
    }

    /// The cut-offs the guard of `session` is held against.
    async fn guarded(&mut self, sid: &Id, session: &Session) -> Result<CutOff, Error> {
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
        Ok(CutOff { reissue_before: store_time(&row, 0)?, login_before: store_time(&row, 1)? })
    }

    // ---- purging ----

    /// Drops what has outlived all it covers, folding it into everyone's cut-off.
    pub(super) async fn purge(&mut self, lifetimes: Lifetimes) -> Result<u64, Error> {
        let (reissue, login) = lifetimes.horizons(self.now);
        let (reissue, login) = (as_i64(reissue.as_micros()), as_i64(login.as_micros()));
        let oldest = as_i64(as_micros(self.now.saturating_sub(lifetimes.session())));
        query("DELETE FROM revocation_sessions WHERE began <= ?")
            .bind(oldest)
            .execute(self.run())
            .await
            .map_err(failed)?;
        query("DELETE FROM revocation_requests WHERE revoked_before < ?")
            .bind(reissue)
            .execute(self.run())
            .await
            .map_err(failed)?;
        let row = query(
            "SELECT coalesce(max(iif(reissue_before < ?1, reissue_before, 0)), 0), \
                    coalesce(max(iif(login_before < ?2, login_before, 0)), 0) \
             FROM revocations WHERE scope <> 'everyone'",
        )
        .bind(reissue)
        .bind(login)
        .fetch_one(self.run())
        .await
        .map_err(failed)?;
        let outlived =
            CutOff { reissue_before: store_time(&row, 0)?, login_before: store_time(&row, 1)? };
        let floor_reissue = as_i64(outlived.reissue_before.as_micros());
        let floor_login = as_i64(outlived.login_before.as_micros());
        if outlived != CutOff::NONE {
            query(
                "INSERT INTO revocations (scope, subject, reissue_before, login_before, changed_at) \
                 VALUES ('everyone', '', ?1, ?2, max(?1, ?2)) \
                 ON CONFLICT (scope, subject) DO UPDATE SET \
                     reissue_before = max(reissue_before, ?1), \
                     login_before = max(login_before, ?2)",
            )
            .bind(floor_reissue)
            .bind(floor_login)
            .execute(self.run())
            .await
            .map_err(failed)?;
            query(
                "UPDATE revocations SET \
                     reissue_before = iif(reissue_before <= ?1, 0, reissue_before), \
                     login_before = iif(login_before <= ?2, 0, login_before) \
                 WHERE scope <> 'everyone' AND (reissue_before <= ?1 OR login_before <= ?2)",
            )
            .bind(floor_reissue)
            .bind(floor_login)
            .execute(self.run())
            .await
            .map_err(failed)?;
        }
        let gone = query(
            "DELETE FROM revocations WHERE scope <> 'everyone' \
             AND reissue_before = 0 AND login_before = 0 AND cleared_at < ?",
        )
        .bind(login)
        .execute(self.run())
        .await
        .map_err(failed)?;
        Ok(gone.rows_affected())
    }
}

/// A request's row, or why it can be no token's.
fn requested(row: &SqliteRow) -> Result<Result<Revocation, InvalidId>, Error> {
    let text = |index| row.try_get::<&str, usize>(index).map_err(failed);
    let corrupt = |cause: UnknownName| Error::new(ErrorKind::Corrupt, cause);
    let kind = text(1)?.parse().map_err(corrupt)?;
    let demand = text(3)?.parse().map_err(corrupt)?;
    // Whoever writes plain SQL need not know of normalization.
    let scope = Scope::normalized(kind, text(2)?);
    let spared = row.try_get::<Option<&str>, _>(4).map_err(failed)?.map(Id::new).transpose();
    Ok(scope.and_then(|scope| Ok(Revocation { scope, demand, spared: spared? })))
}

/// The columns `scope, subject, reissue_before, login_before, cleared_at` from `first` on.
pub(super) fn entry(row: &SqliteRow, first: usize, head: StoreTime) -> Result<Entry, Error> {
    let corrupt = |cause: String| Error::new(ErrorKind::Corrupt, cause);
    let kind: &str = row.try_get(first).map_err(failed)?;
    let subject: &str = row.try_get(first + 1).map_err(failed)?;
    let scope = kind
        .parse()
        .map_err(|problem: UnknownName| corrupt(problem.to_string()))
        .and_then(|kind| {
            Scope::new(kind, subject).map_err(|problem| corrupt(format!("a {kind} {problem}")))
        })?;
    let entry = Entry {
        cut_off: CutOff {
            reissue_before: store_time(row, first + 2)?,
            login_before: store_time(row, first + 3)?,
        },
        cleared_at: store_time(row, first + 4)?,
        scope,
    };
    // Written past the clock row: believing it would refuse tokens that no revocation covers.
    if entry.cut_off.revoked_before().max(entry.cleared_at) > head {
        let scope = entry.scope.kind();
        return Err(corrupt(format!("a cut-off of a {scope} lies above newest ({head})")));
    }
    Ok(entry)
}

pub(super) fn store_time(row: &SqliteRow, index: usize) -> Result<StoreTime, Error> {
    number(row, index).map(StoreTime::from_micros)
}

pub(super) fn store_id(row: &SqliteRow, index: usize) -> Result<StoreId, Error> {
    row.try_get(index).map(StoreId).map_err(failed)
}

fn number(row: &SqliteRow, index: usize) -> Result<u64, Error> {
    unsigned(row.try_get(index).map_err(failed)?)
}

/// As SQLite holds it. Store time ends where this would overflow.
pub(super) fn as_i64(micros: u64) -> i64 {
    i64::try_from(micros).unwrap_or(i64::MAX)
}
