//! What stands in a row of SQLite's.

use sqlx::{Row, sqlite::SqliteRow};

use crate::{
    cutoff::{CutOff, StoreTime},
    error::Error,
    scope::InvalidId,
    store::{
        Entry, Revocation, StoreId,
        sql::{self, failed},
    },
};

/// The columns `scope, subject, demand, spared` of a request from `first` on.
pub(super) fn requested(
    row: &SqliteRow,
    first: usize,
) -> Result<Result<Revocation, InvalidId>, Error> {
    // Bytes: SQLite lets others write text that is not UTF-8.
    sql::requested(
        row.try_get(first).map_err(failed)?,
        row.try_get(first + 1).map_err(failed)?,
        row.try_get(first + 2).map_err(failed)?,
        row.try_get(first + 3).map_err(failed)?,
    )
}

/// The columns `scope, subject, reissue_before, login_before, cleared_at` from `first` on.
pub(super) fn entry(
    row: &SqliteRow,
    first: usize,
    head: StoreTime,
) -> Result<Option<Entry>, Error> {
    let number = |index: usize| row.try_get(first + index).map_err(failed);
    let (kind, subject): (&str, &str) =
        (row.try_get(first).map_err(failed)?, row.try_get(first + 1).map_err(failed)?);
    sql::entry(kind, subject, [number(2)?, number(3)?, number(4)?], head)
}

/// The columns `reissue_before, login_before` from `first` on.
pub(super) fn cut_off(row: &SqliteRow, first: usize) -> Result<CutOff, Error> {
    sql::cut_off(row.try_get(first).map_err(failed)?, row.try_get(first + 1).map_err(failed)?)
}

pub(super) fn store_time(row: &SqliteRow, index: usize) -> Result<StoreTime, Error> {
    sql::store_time(row.try_get(index).map_err(failed)?)
}

pub(super) fn store_id(row: &SqliteRow, index: usize) -> Result<StoreId, Error> {
    row.try_get(index).map(StoreId).map_err(failed)
}

pub(super) fn number(row: &SqliteRow, index: usize) -> Result<u64, Error> {
    sql::unsigned(row.try_get(index).map_err(failed)?)
}
