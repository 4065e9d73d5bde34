//! The instances that acknowledge revocations.

use sqlx::{Postgres, postgres::PgArguments, query, query::Query};
use tokio::time::timeout;

use super::{
    PostgresStore,
    row::{get, store_time},
    session::{at, now},
    store::Whole,
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

const ENLIST: &str = concat!(
    at!("$1"),
    "INSERT INTO revocation_instances AS known (id, name, bound, applied, beats, beat_at) \
     SELECT $2, $3, $4, 0, 1, now FROM at \
     ON CONFLICT (id) DO UPDATE SET \
         bound = greatest(known.bound, excluded.bound), \
         beats = known.beats + 1, beat_at = excluded.beat_at"
);

const ACKNOWLEDGE: &str = concat!(
    at!("$1"),
    "UPDATE revocation_instances \
     SET applied = greatest(applied, $3), beats = beats + 1, beat_at = now FROM at WHERE id = $2"
);

/// One statement: one snapshot. By `one` the planner knows that the clock is a single row; of as many as
/// it takes its pages for, it would compile the join (JIT), which takes ten milliseconds each time.
const ROSTER: &str = concat!(
    "SELECT newest, pg_is_in_recovery(), ",
    now!("$1"),
    ", id, name, bound, applied, beats, beat_at \
     FROM revocation_clock LEFT JOIN revocation_instances ON true WHERE one ORDER BY id"
);

/// Whoever is heard of meanwhile stays.
const DISMISS: &str = "DELETE FROM revocation_instances WHERE id = $1 AND beats = $2";

pub(super) async fn enlist(store: &PostgresStore, instance: &Instance) -> Result<(), Error> {
    let bound = duration_i64(instance.bound);
    let enlist = query(ENLIST).bind(given_time(store)).bind(instance.id.as_str());
    run(store, enlist.bind(instance.name.as_str()).bind(bound)).await.map(drop)
}

pub(super) async fn acknowledge(
    store: &PostgresStore,
    id: &Id,
    applied: StoreTime,
) -> Result<bool, Error> {
    let acknowledge = query(ACKNOWLEDGE).bind(given_time(store)).bind(id.as_str());
    Ok(run(store, acknowledge.bind(time_i64(applied))).await? == 1)
}

pub(super) async fn roster(store: &PostgresStore) -> Result<Roster, Error> {
    let rows = async {
        let mut connection = Whole::begin(store, Path::Sync).await?;
        let rows = query(ROSTER)
            .persistent(!store.options().pooler)
            .bind(given_time(store))
            .fetch_all(connection.run())
            .await
            .map_err(failed)?;
        connection.end().await?;
        Ok::<_, Error>(rows)
    };
    let rows = timeout(SESSION_WAIT, rows).await.map_err(late)??;
    let first = rows.first().ok_or_else(|| corrupt("the clock row is missing"))?;
    if get(first, 1)? {
        return Err(not_by_a_replica());
    }
    let clock = duration(get(first, 2)?)?;
    let mut instances = Vec::with_capacity(rows.len());
    for row in &rows {
        // The clock row alone: there is none.
        if let Some(id) = get::<Option<&str>>(row, 3)? {
            let numbers = [get(row, 5)?, get(row, 6)?, get(row, 7)?, get(row, 8)?];
            instances.push(sql::enlisted(id, get(row, 4)?, numbers, clock)?);
        }
    }
    Ok(Roster { newest: store_time(first, 0)?, instances })
}

pub(super) async fn dismiss(store: &PostgresStore, silent: &[Enlisted]) -> Result<u64, Error> {
    let mut gone = 0;
    for Enlisted { instance, beats, .. } in silent {
        gone += run(store, query(DISMISS).bind(instance.id.as_str()).bind(as_i64(*beats))).await?;
    }
    Ok(gone)
}

/// Runs a statement, which is its own transaction. Returns how many rows it was about.
async fn run(
    store: &PostgresStore,
    statement: Query<'_, Postgres, PgArguments>,
) -> Result<u64, Error> {
    let run = async {
        let mut connection = Whole::begin(store, Path::Sync).await?;
        let statement = statement.persistent(!store.options().pooler);
        let done = statement.execute(connection.run()).await.map_err(failed)?;
        connection.end().await?;
        Ok(done.rows_affected())
    };
    timeout(SESSION_WAIT, run).await.map_err(late)?
}

fn given_time(store: &PostgresStore) -> Option<i64> {
    store.given_time().map(duration_i64)
}
