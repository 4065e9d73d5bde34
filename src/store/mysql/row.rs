//! What stands in a row of MySQL's.

use sqlx::{Decode, MySql, Row, Type, mysql::MySqlRow};

use crate::{
    cutoff::{CutOff, StoreTime},
    error::Error,
    store::{
        Entry,
        sql::{self, corrupt, failed},
    },
};

/// A column.
pub(super) fn get<'r, T>(row: &'r MySqlRow, index: usize) -> Result<T, Error>
where
    T: Decode<'r, MySql> + Type<MySql>,
{
    row.try_get(index).map_err(failed)
}

/// A column of bytes that are a text.
pub(super) fn text(row: &MySqlRow, index: usize) -> Result<&str, Error> {
    str::from_utf8(get(row, index)?).map_err(corrupt)
}

/// A column that is true or not: a number, as MySQL has no other kind.
pub(super) fn flag(row: &MySqlRow, index: usize) -> Result<bool, Error> {
    get::<i64>(row, index).map(|number| number != 0)
}

/// The columns `scope, subject, reissue_before, login_before, cleared_at` from `first` on.
pub(super) fn entry(row: &MySqlRow, first: usize, head: StoreTime) -> Result<Option<Entry>, Error> {
    let times = [get(row, first + 2)?, get(row, first + 3)?, get(row, first + 4)?];
    sql::entry(text(row, first)?, text(row, first + 1)?, times, head)
}

/// The columns `reissue_before, login_before` from `first` on.
pub(super) fn cut_off(row: &MySqlRow, first: usize) -> Result<CutOff, Error> {
    sql::cut_off(get(row, first)?, get(row, first + 1)?)
}

pub(super) fn store_time(row: &MySqlRow, index: usize) -> Result<StoreTime, Error> {
    sql::store_time(get(row, index)?)
}
