//! What stands in a row, checked: a database has other writers.

use sqlx::{Row, sqlite::SqliteRow};

use super::{failed, unsigned};
use crate::{
    cutoff::{CutOff, StoreTime},
    error::{Error, ErrorKind},
    scope::{Id, InvalidId, Scope, UnknownName},
    store::{Entry, Revocation, StoreId},
};

/// A request's row, or why it can be no token's.
pub(super) fn requested(row: &SqliteRow) -> Result<Result<Revocation, InvalidId>, Error> {
    let corrupt = |cause: UnknownName| Error::new(ErrorKind::Corrupt, cause);
    let kind = row.try_get::<&str, _>(1).map_err(failed)?.parse().map_err(corrupt)?;
    let demand = row.try_get::<&str, _>(3).map_err(failed)?.parse().map_err(corrupt)?;
    // Bytes: SQLite lets others write text that is not UTF-8, and one such row must not stop
    // everybody.
    let subject = row.try_get::<&[u8], _>(2).map_err(failed)?;
    let spared = row.try_get::<Option<&[u8]>, _>(4).map_err(failed)?;
    // Whoever writes plain SQL need not know of normalization.
    let scope = str::from_utf8(subject)
        .map_err(|_| InvalidId::NotUtf8)
        .and_then(|subject| Scope::normalized(kind, subject));
    // What names no session spares none; the revocation stands.
    let spared = spared.and_then(|sid| Id::new(str::from_utf8(sid).ok()?).ok());
    Ok(scope.map(|scope| Revocation { spared, ..Revocation::new(scope, demand) }))
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
    let entry =
        Entry { cut_off: cut_off(row, first + 2)?, cleared_at: store_time(row, first + 4)?, scope };
    // Written past the clock row: believing it would refuse tokens that no revocation covers.
    if entry.cut_off.revoked_before().max(entry.cleared_at) > head {
        let scope = entry.scope.kind();
        return Err(corrupt(format!("a cut-off of a {scope} lies above newest ({head})")));
    }
    Ok(entry)
}

/// The columns `reissue_before, login_before` from `first` on.
pub(super) fn cut_off(row: &SqliteRow, first: usize) -> Result<CutOff, Error> {
    Ok(CutOff {
        reissue_before: store_time(row, first)?,
        login_before: store_time(row, first + 1)?,
    })
}

pub(super) fn store_time(row: &SqliteRow, index: usize) -> Result<StoreTime, Error> {
    number(row, index).map(StoreTime::from_micros)
}

pub(super) fn store_id(row: &SqliteRow, index: usize) -> Result<StoreId, Error> {
    row.try_get(index).map(StoreId).map_err(failed)
}

pub(super) fn number(row: &SqliteRow, index: usize) -> Result<u64, Error> {
    unsigned(row.try_get(index).map_err(failed)?)
}

/// As SQLite holds it. Store time ends where this would overflow.
pub(super) fn as_i64(micros: u64) -> i64 {
    i64::try_from(micros).unwrap_or(i64::MAX)
}
