//! What stands in a row of PostgreSQL's.

use sqlx::{Decode, Row, Type, postgres::PgRow};

use crate::{
    cutoff::{CutOff, StoreTime},
    error::Error,
    store::{
        Entry,
        sql::{self, failed},
    },
};

/// A column.
pub(super) fn get<'r, T>(row: &'r PgRow, index: usize) -> Result<T, Error>
where
    T: Decode<'r, sqlx::Postgres> + Type<sqlx::Postgres>,
{
    row.try_get(index).map_err(failed)
}

/// The columns `scope, subject, reissue_before, login_before, cleared_at` from `first` on.
pub(super) fn entry(row: &PgRow, first: usize, head: StoreTime) -> Result<Option<Entry>, Error> {
    let times = [get(row, first + 2)?, get(row, first + 3)?, get(row, first + 4)?];
    sql::entry(get(row, first)?, get(row, first + 1)?, times, head)
}

/// The columns `reissue_before, login_before` from `first` on.
pub(super) fn cut_off(row: &PgRow, first: usize) -> Result<CutOff, Error> {
    sql::cut_off(get(row, first)?, get(row, first + 1)?)
}

pub(super) fn store_time(row: &PgRow, index: usize) -> Result<StoreTime, Error> {
    sql::store_time(get(row, index)?)
}
