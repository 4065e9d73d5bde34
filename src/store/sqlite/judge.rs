//! What the cut-offs say about a token: for a request while the copy in memory is stale.

use std::time::Duration;

use sqlx::{Row, SqliteConnection, query};

use super::row::{cut_off, store_time};
use crate::{
    error::Error,
    scope::Scope,
    store::{
        Judged,
        sql::{and_everyone, failed, json},
    },
};

/// One statement: one snapshot. `CROSS JOIN` has SQLite look each scope up by the primary key.
const JUDGE: &str = "\
    WITH highest AS ( \
        SELECT coalesce(max(reissue_before), 0) AS reissue, coalesce(max(login_before), 0) AS login \
        FROM json_each(?) AS asked CROSS JOIN revocations \
        ON scope = asked.value ->> 0 AND subject = asked.value ->> 1) \
    SELECT newest, purged_reissue_before, purged_login_before, reissue, login, \
        EXISTS (SELECT 1 FROM revocation_requests WHERE revoked_before IS NULL) \
    FROM revocation_clock CROSS JOIN highest";

/// What the store holds against the tokens in `scopes`, and whether requests are pending.
pub(super) async fn read(
    scopes: &[Scope],
    clock: Duration,
    connection: &mut SqliteConnection,
) -> Result<(Judged, bool), Error> {
    let asked = json(&and_everyone(scopes).collect::<Vec<_>>())?;
    let row = query(JUDGE).bind(asked).fetch_one(connection).await.map_err(failed)?;
    let judged = Judged {
        cut_off: cut_off(&row, 1)?.join(cut_off(&row, 3)?),
        clock,
        newest: store_time(&row, 0)?,
        primary: true,
    };
    Ok((judged, row.try_get(5).map_err(failed)?))
}
