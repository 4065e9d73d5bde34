//! The instances that acknowledge revocations.

use sqlx::{Row, Sqlite, query, query::Query, sqlite::SqliteArguments};

use super::{SqliteStore, row::store_time};
use crate::{
    cutoff::StoreTime,
    error::Error,
    scope::Id,
    store::{
        Enlisted, Instance, Roster,
        sql::{self, as_i64, corrupt, duration_i64, failed, time_i64},
        statements::Path,
    },
};

const ENLIST: &str = "\
    INSERT INTO revocation_instances (id, name, bound, applied, beats, beat_at) \
    VALUES (?, ?, ?, 0, 1, ?) \
    ON CONFLICT (id) DO UPDATE SET \
        bound = max(bound, excluded.bound), beats = beats + 1, beat_at = excluded.beat_at";

const ACKNOWLEDGE: &str = "\
    UPDATE revocation_instances SET applied = max(applied, ?), beats = beats + 1, beat_at = ? \
    WHERE id = ?";

/// One statement: one snapshot.
const ROSTER: &str = "\
    SELECT newest, id, name, bound, applied, beats, beat_at \
    FROM revocation_clock LEFT JOIN revocation_instances ON true ORDER BY id";

/// Whoever is heard of meanwhile stays.
const DISMISS: &str = "DELETE FROM revocation_instances WHERE id = ? AND beats = ?";

pub(super) async fn enlist(store: &SqliteStore, instance: &Instance) -> Result<(), Error> {
    let bound = duration_i64(instance.bound);
    let enlist = query(ENLIST).bind(instance.id.as_str()).bind(instance.name.as_str());
    run(store, enlist.bind(bound).bind(now(store))).await.map(drop)
}

pub(super) async fn acknowledge(
    store: &SqliteStore,
    id: &Id,
    applied: StoreTime,
) -> Result<bool, Error> {
    let acknowledge = query(ACKNOWLEDGE).bind(time_i64(applied)).bind(now(store));
    Ok(run(store, acknowledge.bind(id.as_str())).await? == 1)
}

pub(super) async fn roster(store: &SqliteStore) -> Result<Roster, Error> {
    let mut turn = store.turn(Path::Sync).await?;
    let clock = store.clock().now().wall;
    let rows = query(ROSTER).fetch_all(turn.run()).await.map_err(failed)?;
    turn.end()?;
    let first = rows.first().ok_or_else(|| corrupt("the clock row is missing"))?;
    let mut instances = Vec::with_capacity(rows.len());
    for row in &rows {
        // The clock row alone: there is none.
        if let Some(id) = row.try_get::<Option<&str>, _>(1).map_err(failed)? {
            let number = |index: usize| row.try_get(index).map_err(failed);
            let numbers = [number(3)?, number(4)?, number(5)?, number(6)?];
            let name = row.try_get(2).map_err(failed)?;
            instances.push(sql::enlisted(id, name, numbers, clock)?);
        }
    }
    Ok(Roster { newest: store_time(first, 0)?, instances })
}

pub(super) async fn dismiss(store: &SqliteStore, silent: &[Enlisted]) -> Result<u64, Error> {
    let mut gone = 0;
    for Enlisted { instance, beats, .. } in silent {
        gone += run(store, query(DISMISS).bind(instance.id.as_str()).bind(as_i64(*beats))).await?;
    }
    Ok(gone)
}

/// Runs a statement, which is its own transaction. Returns how many rows it was about.
async fn run(
    store: &SqliteStore,
    statement: Query<'_, Sqlite, SqliteArguments>,
) -> Result<u64, Error> {
    let mut turn = store.turn(Path::Sync).await?;
    let done = statement.execute(turn.run()).await.map_err(failed)?;
    turn.end()?;
    Ok(done.rows_affected())
}

fn now(store: &SqliteStore) -> i64 {
    duration_i64(store.clock().now().wall)
}
