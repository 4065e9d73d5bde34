//! What the cut-offs say about a token: for a request while the copy in memory is stale.

use std::time::Duration;

use sqlx::{PgConnection, query};

use super::row::{cut_off, get, store_time};
use crate::{
    error::Error,
    scope::Scope,
    store::{
        Judged,
        sql::{and_everyone, duration, failed},
    },
};

/// One statement: one snapshot.
const JUDGE: &str = "\
    WITH highest AS ( \
        SELECT coalesce(max(reissue_before), 0) AS reissue, coalesce(max(login_before), 0) AS login \
        FROM unnest($1::text[], $2::text[]) AS asked (scope, subject) \
        JOIN revocations USING (scope, subject)) \
    SELECT newest, purged_reissue_before, purged_login_before, reissue, login, \
        (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, pg_is_in_recovery(), \
        EXISTS (SELECT FROM revocation_requests WHERE revoked_before IS NULL) \
    FROM revocation_clock CROSS JOIN highest";

/// What the store holds against the tokens in `scopes`, and whether requests are pending. `now`
/// stands in for the database's clock.
pub(super) async fn read(
    scopes: &[Scope],
    now: Option<Duration>,
    persistent: bool,
    connection: &mut PgConnection,
) -> Result<(Judged, bool), Error> {
    let (kinds, subjects): (Vec<&str>, Vec<&str>) = and_everyone(scopes).unzip();
    let row = query(JUDGE)
        .persistent(persistent)
        .bind(kinds)
        .bind(subjects)
        .fetch_one(connection)
        .await
        .map_err(failed)?;
    let clock = match now {
        Some(now) => now,
        None => duration(get(&row, 5)?)?,
    };
    let judged = Judged {
        cut_off: cut_off(&row, 1)?.join(cut_off(&row, 3)?),
        clock,
        newest: store_time(&row, 0)?,
        primary: !get::<bool>(&row, 6)?,
    };
    Ok((judged, get(&row, 7)?))
}
