//! Renewals in SQLite: one statement.

use std::time::Duration;

use sqlx::{SqliteConnection, query};

use super::{
    row::number,
    session::{groups_json, highest, moment},
};
use crate::{
    cutoff::Stamp,
    error::Error,
    store::{
        Device, Mint, Minted, Presented,
        sql::{as_i64, duration_i64, failed},
    },
};

/// Goes on with a session for an access token of it, if everything is as it mostly is: the decisions
/// of `order.rs` once more, in SQL. Where it does nothing, those decide.
pub(super) const RENEW: &str = concat!(
    "UPDATE revocation_sessions AS session SET \
         groups = ?3, \
         last_stamp = max(last_stamp, newest + 1), \
         refreshed_at = max(refreshed_at, ?4), \
         label = coalesce(label, ?8), \
         ip = coalesce(ip, ?9), \
         user_agent = coalesce(user_agent, ?10) \
     FROM revocation_clock \
     WHERE session.id = ?1 AND session.user = ?2 \
         AND ?4 < began + ?5 AND ?4 < refreshed_at + ?6 \
         AND NOT EXISTS (SELECT 1 FROM revocation_requests WHERE revoked_before IS NULL) \
         AND last_stamp > max(purged_login_before, ",
    highest!("login_before", "session.groups", "?3", "?13"),
    ") AND ?11 <= newest + 1 \
         AND ?11 > max(purged_reissue_before, purged_login_before, ",
    highest!("max(reissue_before, login_before)", "?13"; token "?12"),
    ") AND (NOT ?14 OR ip = ?9) AND (NOT ?15 OR user_agent = ?10) \
         AND ?7 <= newest + 1 \
         AND ?7 > max(purged_reissue_before, purged_login_before, ",
    highest!("max(reissue_before, login_before)", "?3"),
    ") \
     RETURNING (SELECT newest + 1 FROM revocation_clock), began, counter"
);

/// What [`RENEW`] was told of.
pub(super) struct Renewal {
    pub(super) mint: Mint,
    pub(super) presented: Presented,
}

impl Renewal {
    /// Mints by one statement. `None` if that is not for it to decide; then nothing is written.
    pub(super) async fn at_once(
        &self,
        connection: &mut SqliteConnection,
        now: Duration,
    ) -> Result<Option<Minted>, Error> {
        let Self { mint, presented } = self;
        let Device { label, ip, user_agent } = &mint.device;
        // To the end: after the first row there is the commit, and `fetch_optional` would not hear
        // of its failure.
        let rows = query(RENEW)
            .bind(mint.sid.as_str())
            .bind(mint.user.as_str())
            .bind(groups_json(&mint.groups)?)
            .bind(duration_i64(now))
            .bind(duration_i64(mint.lifetimes.session()))
            .bind(duration_i64(mint.lifetimes.idle()))
            .bind(as_i64(mint.ticket.stamp().as_micros()))
            .bind(label)
            .bind(ip.map(|ip| ip.to_string()))
            .bind(user_agent)
            .bind(as_i64(presented.stamp.as_micros()))
            .bind(presented.token.as_str())
            .bind(groups_json(&presented.groups)?)
            .bind(presented.same.ip)
            .bind(presented.same.user_agent)
            .fetch_all(connection)
            .await
            .map_err(failed)?;
        rows.first()
            .map(|row| {
                Ok(Minted {
                    stamp: Stamp::from_micros(number(row, 0)?),
                    issued_at: now,
                    session_began: moment(row, 1)?,
                    counter: number(row, 2)?,
                    counted_at: now,
                })
            })
            .transpose()
    }
}
