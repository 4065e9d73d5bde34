//! Renewals in PostgreSQL: one statement, and what `session.rs` says of those.

use std::time::Duration;

use sqlx::{PgConnection, query};

use super::session::{admissible, at, highest, minted, nothing_pending, now};
use crate::{
    error::Error,
    scope::Id,
    store::{
        Mint, Minted, Presented,
        sql::{as_i64, duration_i64, failed},
    },
};

/// Goes on with a session for an access token of it, if everything is as it mostly is: the decisions
/// of `order.rs` once more, in SQL. Where it does nothing, those decide.
const RENEW: &str = concat!(
    at!("$1"),
    "UPDATE revocation_sessions AS session SET \
         groups = $4, \
         last_stamp = greatest(last_stamp, newest + 1), \
         refreshed_at = greatest(refreshed_at, now), \
         label = coalesce(label, $6), \
         ip = coalesce(ip, $7), \
         user_agent = coalesce(user_agent, $8) \
     FROM revocation_clock, at \
     WHERE session.id = $2 AND session.user_id = $3 \
         AND now < began + $9 AND now < refreshed_at + $10 \
         AND last_stamp > greatest(purged_login_before, ",
    highest!(
        "r.login_before",
        "session.id",
        "session.user_id",
        "session.groups",
        "$4",
        "$13::text[]"
    ),
    ") AND $11 <= newest + 1 \
         AND $11 > greatest(purged_reissue_before, purged_login_before, ",
    highest!(
        "greatest(r.reissue_before, r.login_before)",
        "session.id",
        "session.user_id",
        "$13::text[]";
        token "$12::text"
    ),
    ") AND (NOT $14 OR ip = $7) AND (NOT $15 OR user_agent = $8) AND ",
    admissible!("$5", "$2", "$3", "$4"),
    " RETURNING newest + 1, now, began, counter, now"
);

/// Mints by one statement. `None` if that is not for it to decide; then nothing is written.
///
/// `now` stands in for the database's clock.
pub(super) async fn at_once(
    mint: &Mint,
    presented: &Presented,
    now: Option<Duration>,
    persistent: bool,
    connection: &mut PgConnection,
) -> Result<Option<Minted>, Error> {
    let Mint { ticket, sid, user, groups, device, lifetimes, .. } = mint;
    let texts = |ids: &[Id]| ids.iter().map(|id| id.as_str().to_owned()).collect::<Vec<_>>();
    let query = query(RENEW)
        .persistent(persistent)
        .bind(now.map(duration_i64))
        .bind(sid.as_str())
        .bind(user.as_str())
        .bind(texts(groups))
        .bind(as_i64(ticket.stamp().as_micros()))
        .bind(device.label.as_deref())
        .bind(device.ip.map(|ip| ip.to_string()))
        .bind(device.user_agent.as_deref())
        .bind(duration_i64(lifetimes.session()))
        .bind(duration_i64(lifetimes.idle()))
        .bind(as_i64(presented.stamp.as_micros()))
        .bind(presented.token.as_str())
        .bind(texts(&presented.groups))
        .bind(presented.same.ip)
        .bind(presented.same.user_agent);
    // To the end: after the first row there is the commit.
    let rows = query.fetch_all(connection).await.map_err(failed)?;
    rows.first().map(minted).transpose()
}
