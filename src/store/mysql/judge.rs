//! What the cut-offs say about a token: for a request while the copy in memory is stale.

use std::time::Duration;

use sqlx::{MySqlConnection, query};

use super::{
    row::{cut_off, flag, get, store_time},
    watch::read_only,
};
use crate::{
    error::Error,
    scope::Scope,
    store::{
        Judged,
        sql::{and_everyone, duration, failed, json},
    },
};

/// One statement outside of a transaction: one snapshot.
const JUDGE: &str = concat!(
    "SELECT newest, purged_reissue_before, purged_login_before, reissue, login, \
         TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)), ",
    read_only!(),
    ", EXISTS (SELECT 1 FROM revocation_requests WHERE revoked_before IS NULL) \
     FROM revocation_clock CROSS JOIN ( \
         SELECT COALESCE(MAX(r.reissue_before), 0) AS reissue, \
                COALESCE(MAX(r.login_before), 0) AS login \
         FROM JSON_TABLE(?, '$[*]' COLUMNS ( \
             scope VARCHAR(16) CHARACTER SET utf8mb4 PATH '$[0]' ERROR ON EMPTY ERROR ON ERROR, \
             subject VARCHAR(512) CHARACTER SET utf8mb4 PATH '$[1]' ERROR ON EMPTY ERROR ON ERROR \
         )) AS asked STRAIGHT_JOIN revocations AS r \
         ON r.scope = CAST(asked.scope AS BINARY) AND r.subject = CAST(asked.subject AS BINARY) \
     ) AS highest"
);

/// What the store holds against the tokens in `scopes`, and whether requests are pending. `now`
/// stands in for the database's clock.
pub(super) async fn read(
    scopes: &[Scope],
    now: Option<Duration>,
    connection: &mut MySqlConnection,
) -> Result<(Judged, bool), Error> {
    let asked = json(&and_everyone(scopes).collect::<Vec<_>>())?;
    let row = query(JUDGE).bind(asked).fetch_one(connection).await.map_err(failed)?;
    let clock = match now {
        Some(now) => now,
        None => duration(get(&row, 5)?)?,
    };
    let judged = Judged {
        cut_off: cut_off(&row, 1)?.join(cut_off(&row, 3)?),
        clock,
        newest: store_time(&row, 0)?,
        primary: !flag(&row, 6)?,
    };
    Ok((judged, flag(&row, 7)?))
}
