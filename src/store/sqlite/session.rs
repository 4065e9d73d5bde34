//! Sessions in SQLite: the one statement of a refresh, and the lists.

use std::time::Duration;

use sqlx::{Row, SqliteConnection, query, sqlite::SqliteRow};

use super::row::number;
use crate::{
    clock::as_micros,
    cutoff::Stamp,
    error::Error,
    lifetimes::Lifetimes,
    scope::Id,
    store::{
        Device, MAX_LISTED, Mint, Minted, Session, SessionFilter,
        family::Family,
        order::SessionRow,
        sql::{self, as_i64, corrupt, duration, duration_i64, failed, id, json},
    },
};

/// The highest `$cut_off` of everyone, the user, the session and groups, and of a token.
macro_rules! highest {
    ($cut_off:literal, $($groups:literal),+ $(; token $token:literal)?) => {
        concat!(
            "coalesce((SELECT max(", $cut_off, ") FROM (",
            "SELECT 'everyone' AS scope, '' AS subject ",
            "UNION ALL SELECT 'user', session.user ",
            "UNION ALL SELECT 'session', session.id ",
            $("UNION ALL SELECT 'token', ", $token, " ",)?
            $("UNION ALL SELECT 'group', value FROM json_each(", $groups, ") "),+,
            ") AS asked CROSS JOIN revocations ",
            "ON revocations.scope = asked.scope AND revocations.subject = asked.subject), 0)"
        )
    };
}

pub(super) use highest;

/// Spends a refresh token, or hands out its successor again, if everything is as it mostly is:
/// the decisions of `order.rs` once more, in SQL. Where it does nothing, those decide.
const REFRESH: &str = concat!(
    "UPDATE revocation_sessions AS session SET \
         groups = ?3, \
         last_stamp = max(last_stamp, newest + 1), \
         counter = max(counter, ?4 + 1), \
         refreshed_at = iif(counter = ?4, max(refreshed_at, ?5), refreshed_at), \
         spent = iif(counter = ?4, ( \
             SELECT json_group_array(value ORDER BY key) FROM ( \
                 SELECT -1 AS key, ?5 AS value \
                 UNION ALL SELECT key, value FROM json_each(session.spent) \
                 WHERE key < ?13 AND key < coalesce( \
                     (SELECT min(key) FROM json_each(session.spent) WHERE ?5 >= value + ?6), \
                     ?13))), \
             spent), \
         label = coalesce(?10, label), \
         ip = coalesce(?11, ip), \
         user_agent = coalesce(?12, user_agent) \
     FROM revocation_clock \
     WHERE session.id = ?1 AND session.user = ?2 \
         AND ?5 < began + ?7 AND ?5 < refreshed_at + ?8 \
         AND ?4 >= void_below AND ?4 <= counter \
         AND (?4 + 1 >= counter OR ?5 < (spent ->> (counter - ?4 - 1)) + ?6) \
         AND NOT EXISTS (SELECT 1 FROM revocation_requests WHERE revoked_before IS NULL) \
         AND last_stamp > max(purged_login_before, ",
    highest!("login_before", "session.groups", "?3"),
    ") AND ?9 <= newest + 1 \
         AND ?9 > max(purged_reissue_before, purged_login_before, ",
    highest!("max(reissue_before, login_before)", "?3"),
    ") \
     RETURNING (SELECT newest + 1 FROM revocation_clock), began, spent ->> (counter - ?4 - 1)"
);

/// What [`REFRESH`] was told of.
pub(super) struct Refresh {
    pub(super) mint: Mint,
    pub(super) counter: u64,
    pub(super) grace: Duration,
}

impl Refresh {
    /// Mints by one statement. `None` if that is not for it to decide; then nothing is written.
    pub(super) async fn at_once(
        &self,
        connection: &mut SqliteConnection,
        now: Duration,
    ) -> Result<Option<Minted>, Error> {
        let Self { mint, counter, grace } = self;
        let Device { label, ip, user_agent } = &mint.device;
        // To the end: after the first row there is the commit, and `fetch_optional` would not hear
        // of its failure.
        let rows = query(REFRESH)
            .bind(mint.sid.as_str())
            .bind(mint.user.as_str())
            .bind(groups_json(&mint.groups)?)
            .bind(as_i64(*counter))
            .bind(duration_i64(now))
            .bind(duration_i64(*grace))
            .bind(duration_i64(mint.lifetimes.session()))
            .bind(duration_i64(mint.lifetimes.idle()))
            .bind(as_i64(mint.ticket.stamp().as_micros()))
            .bind(label)
            .bind(ip.map(|ip| ip.to_string()))
            .bind(user_agent)
            .bind(Family::REMEMBERED as i64 - 1)
            .fetch_all(connection)
            .await
            .map_err(failed)?;
        rows.first()
            .map(|row| {
                Ok(Minted {
                    stamp: Stamp::from_micros(number(row, 0)?),
                    issued_at: now,
                    session_began: moment(row, 1)?,
                    counter: counter + 1,
                    counted_at: moment(row, 2)?,
                })
            })
            .transpose()
    }
}

/// The columns that make a [`SessionRow`], in the order of [`session_row`].
macro_rules! columns {
    () => {
        "user, groups, began, refreshed_at, last_stamp, counter, void_below, spent, label, ip, \
         user_agent"
    };
}

pub(super) const SESSION: &str =
    concat!("SELECT ", columns!(), " FROM revocation_sessions WHERE id = ?");

pub(super) const BEGIN: &str = concat!(
    "INSERT INTO revocation_sessions (",
    columns!(),
    ", id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
);

pub(super) const GO_ON: &str = concat!(
    "UPDATE revocation_sessions SET (",
    columns!(),
    ") = (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) WHERE id = ?"
);

/// Writes `row` by [`BEGIN`] or [`GO_ON`].
pub(super) async fn write(
    sql: &'static str,
    sid: &Id,
    row: &SessionRow,
    connection: &mut SqliteConnection,
) -> Result<(), Error> {
    let spent: Vec<u64> = row.family.spent.iter().copied().map(as_micros).collect();
    let spent = json(&spent)?;
    let Device { label, ip, user_agent } = &row.device;
    query(sql)
        .bind(row.user.as_str())
        .bind(groups_json(&row.groups)?)
        .bind(duration_i64(row.began))
        .bind(duration_i64(row.refreshed_at))
        .bind(as_i64(row.last_stamp.as_micros()))
        .bind(as_i64(row.family.counter))
        .bind(as_i64(row.family.void_below))
        .bind(spent)
        .bind(label)
        .bind(ip.map(|ip| ip.to_string()))
        .bind(user_agent)
        .bind(sid.as_str())
        .execute(connection)
        .await
        .map(drop)
        .map_err(failed)
}

/// A row of [`SESSION`].
pub(super) fn session_row(row: &SqliteRow) -> Result<SessionRow, Error> {
    let groups: Vec<String> = read_json(row, 1)?;
    let spent: Vec<u64> = read_json(row, 7)?;
    Ok(SessionRow {
        user: id(row.try_get(0).map_err(failed)?)?,
        groups: groups.iter().map(|group| id(group)).collect::<Result<_, _>>()?,
        began: moment(row, 2)?,
        refreshed_at: moment(row, 3)?,
        last_stamp: Stamp::from_micros(number(row, 4)?),
        family: Family {
            counter: number(row, 5)?,
            void_below: number(row, 6)?,
            spent: spent.into_iter().map(Duration::from_micros).collect(),
        },
        device: device(row, 8)?,
    })
}

/// Those that are alive, and of these what the filter adds.
macro_rules! alive {
    ($columns:literal, $filter:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM revocation_sessions AS session CROSS JOIN revocation_clock \
             WHERE ?2 < began + ?3 AND ?2 < refreshed_at + ?4 \
                 AND last_stamp > max(purged_login_before, ",
            highest!("login_before", "session.groups"),
            ") AND ",
            $filter
        )
    };
}

/// The sessions of a user that are alive, but for some that logged in last.
const BEYOND: &str =
    concat!(alive!("id", "user = ?1"), " ORDER BY began DESC, id DESC LIMIT -1 OFFSET ?5");

/// The living sessions of `user` at `now`, but for the `kept` that logged in last.
pub(super) async fn beyond(
    user: &Id,
    kept: u32,
    lifetimes: Lifetimes,
    now: Duration,
    connection: &mut SqliteConnection,
) -> Result<Vec<Id>, Error> {
    let rows = query(BEYOND)
        .bind(user.as_str())
        .bind(duration_i64(now))
        .bind(duration_i64(lifetimes.session()))
        .bind(duration_i64(lifetimes.idle()))
        .bind(kept)
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    rows.iter().map(|row| id(row.try_get(0).map_err(failed)?)).collect()
}

/// What is listed.
macro_rules! listed {
    ($filter:literal) => {
        concat!(
            alive!("id, user, began, refreshed_at, label, ip, user_agent", $filter),
            " ORDER BY refreshed_at DESC, id LIMIT ?5"
        )
    };
}

/// The sessions that are alive at `now`.
pub(super) async fn list(
    filter: &SessionFilter,
    lifetimes: Lifetimes,
    now: Duration,
    connection: &mut SqliteConnection,
) -> Result<Vec<Session>, Error> {
    let query = match filter {
        SessionFilter::Id(id) => query(listed!("id = ?1")).bind(id.as_str()),
        SessionFilter::User(user) => query(listed!("user = ?1")).bind(user.as_str()),
        SessionFilter::RefreshedWithin(time) => {
            let since = now.saturating_sub(*time);
            query(listed!("refreshed_at > ?1")).bind(duration_i64(since))
        }
    };
    let rows = query
        .bind(duration_i64(now))
        .bind(duration_i64(lifetimes.session()))
        .bind(duration_i64(lifetimes.idle()))
        .bind(MAX_LISTED as i64)
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    rows.iter()
        .map(|row| {
            Ok(Session {
                id: id(row.try_get(0).map_err(failed)?)?,
                user: id(row.try_get(1).map_err(failed)?)?,
                created_at: moment(row, 2)?,
                last_refresh_at: moment(row, 3)?,
                device: device(row, 4)?,
            })
        })
        .collect()
}

pub(super) fn moment(row: &SqliteRow, index: usize) -> Result<Duration, Error> {
    duration(row.try_get(index).map_err(failed)?)
}

pub(super) fn groups_json(groups: &[Id]) -> Result<String, Error> {
    let groups: Vec<&str> = groups.iter().map(Id::as_str).collect();
    json(&groups)
}

fn read_json<T: serde::de::DeserializeOwned>(row: &SqliteRow, index: usize) -> Result<T, Error> {
    serde_json::from_str(row.try_get(index).map_err(failed)?).map_err(corrupt)
}

/// The columns `label, ip, user_agent` from `first` on.
fn device(row: &SqliteRow, first: usize) -> Result<Device, Error> {
    sql::device(
        row.try_get(first).map_err(failed)?,
        row.try_get(first + 1).map_err(failed)?,
        row.try_get(first + 2).map_err(failed)?,
    )
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Connection};

    use super::*;
    use crate::store::sqlite::renewal::RENEW;

    #[tokio::test]
    async fn a_refresh_or_renewal_scans_no_table() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        for migration in [
            include_str!("../migrations/sqlite/1_revocations.sql"),
            include_str!("../migrations/sqlite/2_sessions.sql"),
        ] {
            sqlx::raw_sql(migration).execute(&mut connection).await.unwrap();
        }
        for sql in [
            REFRESH,
            RENEW,
            BEYOND,
            listed!("user = ?1"),
            listed!("id = ?1"),
            listed!("refreshed_at > ?1"),
        ] {
            let plan: Vec<String> = query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
                .fetch_all(&mut connection)
                .await
                .unwrap()
                .iter()
                .map(|row| row.get(3))
                .collect();
            // What is small: the clock row, pending requests, lists of groups and of moments.
            let small =
                ["revocation_clock", "pending", "json_each", "asked", "subquery", "CONSTANT"];
            let is_large = |step: &&String| {
                step.starts_with("SCAN") && !small.iter().any(|name| step.contains(name))
            };
            let large: Vec<&String> = plan.iter().filter(is_large).collect();
            assert!(large.is_empty(), "{plan:#?}");
        }
    }
}
