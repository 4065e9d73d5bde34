//! The instances that acknowledge revocations.

use sqlx::{MySql, mysql::MySqlArguments, query, query::Query};
use tokio::time::timeout;

use super::{
    MySqlStore,
    row::{flag, get, store_time, text},
    store::Asking,
    watch::read_only,
};
use crate::{
    cutoff::StoreTime,
    error::Error,
    scope::Id,
    store::{
        Enlisted, Instance, Roster,
        limits::{SESSION_WAIT, late},
        sql::{self, as_i64, corrupt, duration, duration_i64, failed, not_by_a_replica, time_i64},
        statements::Path,
    },
};

/// The database's clock in microseconds, unless the parameter names another time.
macro_rules! now {
    () => {
        "COALESCE(?, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)))"
    };
}

const ENLIST: &str = concat!(
    "INSERT INTO revocation_instances (beat_at, id, name, bound, applied, beats) VALUES (",
    now!(),
    ", ?, ?, ?, 0, 1) ON DUPLICATE KEY UPDATE \
         bound = GREATEST(bound, VALUES(bound)), beats = beats + 1, beat_at = VALUES(beat_at)"
);

const ACKNOWLEDGE: &str = concat!(
    "UPDATE revocation_instances SET beat_at = ",
    now!(),
    ", applied = GREATEST(applied, ?), beats = beats + 1 WHERE id = ?"
);

/// One statement outside of a transaction: one snapshot.
const ROSTER: &str = concat!(
    "SELECT newest, ",
    read_only!(),
    ", ",
    now!(),
    ", id, name, bound, applied, beats, beat_at \
     FROM revocation_clock LEFT JOIN revocation_instances ON TRUE ORDER BY id"
);

/// Whoever is heard of meanwhile stays.
const DISMISS: &str = "DELETE FROM revocation_instances WHERE id = ? AND beats = ?";

pub(super) async fn enlist(store: &MySqlStore, instance: &Instance) -> Result<(), Error> {
    let bound = duration_i64(instance.bound);
    let enlist = query(ENLIST).bind(given_time(store)).bind(instance.id.as_str().as_bytes());
    run(store, enlist.bind(instance.name.as_str()).bind(bound)).await.map(drop)
}

pub(super) async fn acknowledge(
    store: &MySqlStore,
    id: &Id,
    applied: StoreTime,
) -> Result<bool, Error> {
    let acknowledge = query(ACKNOWLEDGE).bind(given_time(store)).bind(time_i64(applied));
    Ok(run(store, acknowledge.bind(id.as_str().as_bytes())).await? == 1)
}

pub(super) async fn roster(store: &MySqlStore) -> Result<Roster, Error> {
    let mut asking = Asking::begin(store, Path::Sync).await?;
    let rows = query(ROSTER).bind(given_time(store)).fetch_all(&mut *asking.connection);
    let rows = timeout(SESSION_WAIT, rows).await.map_err(late)?.map_err(failed)?;
    asking.answered = true;
    let first = rows.first().ok_or_else(|| corrupt("the clock row is missing"))?;
    if flag(first, 1)? {
        return Err(not_by_a_replica());
    }
    let clock = duration(get(first, 2)?)?;
    let mut instances = Vec::with_capacity(rows.len());
    for row in &rows {
        // The clock row alone: there is none.
        if get::<Option<&[u8]>>(row, 3)?.is_some() {
            let numbers = [get(row, 5)?, get(row, 6)?, get(row, 7)?, get(row, 8)?];
            instances.push(sql::enlisted(text(row, 3)?, get(row, 4)?, numbers, clock)?);
        }
    }
    Ok(Roster { newest: store_time(first, 0)?, instances })
}

pub(super) async fn dismiss(store: &MySqlStore, silent: &[Enlisted]) -> Result<u64, Error> {
    let mut gone = 0;
    for Enlisted { instance, beats, .. } in silent {
        let dismiss = query(DISMISS).bind(instance.id.as_str().as_bytes()).bind(as_i64(*beats));
        gone += run(store, dismiss).await?;
    }
    Ok(gone)
}

/// Runs a statement, which is its own transaction. Returns how many rows it was about.
async fn run(
    store: &MySqlStore,
    statement: Query<'_, MySql, MySqlArguments>,
) -> Result<u64, Error> {
    let mut asking = Asking::begin(store, Path::Sync).await?;
    let done = timeout(SESSION_WAIT, statement.execute(&mut *asking.connection)).await;
    let done = done.map_err(late)?.map_err(failed)?;
    asking.answered = true;
    Ok(done.rows_affected())
}

fn given_time(store: &MySqlStore) -> Option<i64> {
    store.given_time().map(duration_i64)
}
