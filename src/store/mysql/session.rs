//! Sessions in MySQL: their rows, and the lists.

use std::time::Duration;

use sqlx::{MySqlConnection, mysql::MySqlRow, query};

use super::row::{get, text};
use crate::{
    cutoff::Stamp,
    error::Error,
    lifetimes::Lifetimes,
    scope::Id,
    store::{
        Device, MAX_LISTED, Session, SessionFilter,
        family::Family,
        order::SessionRow,
        sql::{as_i64, corrupt, device, duration, duration_i64, failed, id, json, unsigned},
    },
};

/// The columns that make a [`SessionRow`], in the order of [`session_row`].
macro_rules! columns {
    () => {
        "user_id, in_groups, began, refreshed_at, last_stamp, counter, void_below, spent, label, \
         ip, user_agent"
    };
}

/// With the lock of the row: others who mint share the lock of the clock row.
const SESSION: &str =
    concat!("SELECT ", columns!(), " FROM revocation_sessions WHERE id = ? FOR UPDATE");

pub(super) const BEGIN: &str = concat!(
    "INSERT INTO revocation_sessions (",
    columns!(),
    ", id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
);

pub(super) const GO_ON: &str = "UPDATE revocation_sessions SET user_id = ?, in_groups = ?, \
     began = ?, refreshed_at = ?, last_stamp = ?, counter = ?, void_below = ?, spent = ?, \
     label = ?, ip = ?, user_agent = ? WHERE id = ?";

/// Writes `row` by [`BEGIN`] or [`GO_ON`].
pub(super) async fn write(
    sql: &'static str,
    sid: &Id,
    row: &SessionRow,
    connection: &mut MySqlConnection,
) -> Result<(), Error> {
    let groups: Vec<&str> = row.groups.iter().map(Id::as_str).collect();
    let spent: Vec<i64> = row.family.spent.iter().copied().map(duration_i64).collect();
    let Device { label, ip, user_agent } = &row.device;
    query(sql)
        .bind(row.user.as_str().as_bytes())
        .bind(json(&groups)?)
        .bind(duration_i64(row.began))
        .bind(duration_i64(row.refreshed_at))
        .bind(as_i64(row.last_stamp.as_micros()))
        .bind(as_i64(row.family.counter))
        .bind(as_i64(row.family.void_below))
        .bind(json(&spent)?)
        .bind(label)
        .bind(ip.map(|ip| ip.to_string()))
        .bind(user_agent)
        .bind(sid.as_str().as_bytes())
        .execute(connection)
        .await
        .map(drop)
        .map_err(failed)
}

/// The row of `sid`, locked.
pub(super) async fn read(
    sid: &Id,
    connection: &mut MySqlConnection,
) -> Result<Option<SessionRow>, Error> {
    let row = query(SESSION)
        .bind(sid.as_str().as_bytes())
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    row.as_ref().map(session_row).transpose()
}

fn session_row(row: &MySqlRow) -> Result<SessionRow, Error> {
    let groups: Vec<String> = serde_json::from_str(get(row, 1)?).map_err(corrupt)?;
    let spent: Vec<i64> = serde_json::from_str(get(row, 7)?).map_err(corrupt)?;
    Ok(SessionRow {
        user: id(text(row, 0)?)?,
        groups: groups.iter().map(|group| id(group)).collect::<Result<_, _>>()?,
        began: duration(get(row, 2)?)?,
        refreshed_at: duration(get(row, 3)?)?,
        last_stamp: Stamp::from_micros(unsigned(get(row, 4)?)?),
        family: Family {
            counter: unsigned(get(row, 5)?)?,
            void_below: unsigned(get(row, 6)?)?,
            spent: spent.into_iter().map(duration).collect::<Result<_, _>>()?,
        },
        device: device(get(row, 8)?, get(row, 9)?, get(row, 10)?)?,
    })
}

/// Those that are alive, and of these what the filter adds.
macro_rules! alive {
    ($columns:literal, $filter:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM (SELECT COALESCE(?, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))) \
                 AS moment) AS at \
             JOIN revocation_clock AS c JOIN revocation_sessions AS s \
             WHERE at.moment < s.began + ? AND at.moment < s.refreshed_at + ? \
                 AND s.last_stamp > GREATEST(c.purged_login_before, \
                     COALESCE((SELECT r.login_before FROM revocations AS r \
                         WHERE r.scope = 'everyone' AND r.subject = ''), 0), \
                     COALESCE((SELECT r.login_before FROM revocations AS r \
                         WHERE r.scope = 'user' AND r.subject = s.user_id), 0), \
                     COALESCE((SELECT r.login_before FROM revocations AS r \
                         WHERE r.scope = 'session' AND r.subject = s.id), 0), \
                     COALESCE((SELECT MAX(r.login_before) FROM JSON_TABLE(s.in_groups, '$[*]' \
                             COLUMNS (name VARCHAR(512) CHARACTER SET utf8mb4 PATH '$' \
                                 ERROR ON EMPTY ERROR ON ERROR)) AS g \
                         STRAIGHT_JOIN revocations AS r ON r.scope = 'group' \
                             AND r.subject = CAST(g.name AS BINARY)), 0)) \
                 AND ",
            $filter
        )
    };
}

/// The living sessions of `user` at `now`, but for the `kept` that logged in last.
pub(super) async fn beyond(
    user: &Id,
    kept: u32,
    lifetimes: Lifetimes,
    now: Duration,
    connection: &mut MySqlConnection,
) -> Result<Vec<Id>, Error> {
    /// There is no offset without a limit.
    const BEYOND: &str = concat!(
        alive!("s.id", "s.user_id = ?"),
        " ORDER BY s.began DESC, s.id DESC LIMIT 9223372036854775807 OFFSET ?"
    );
    let rows = query(BEYOND)
        .bind(duration_i64(now))
        .bind(duration_i64(lifetimes.session()))
        .bind(duration_i64(lifetimes.idle()))
        .bind(user.as_str().as_bytes())
        .bind(kept)
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    rows.iter().map(|row| id(text(row, 0)?)).collect()
}

/// What is listed.
macro_rules! listed {
    ($filter:literal) => {
        concat!(
            alive!(
                "s.id, s.user_id, s.began, s.refreshed_at, s.label, s.ip, s.user_agent",
                $filter
            ),
            " ORDER BY s.refreshed_at DESC, s.id LIMIT ?"
        )
    };
}

/// The sessions that are alive.
pub(super) async fn list(
    filter: &SessionFilter,
    lifetimes: Lifetimes,
    now: Option<Duration>,
    connection: &mut MySqlConnection,
) -> Result<Vec<Session>, Error> {
    let sql = match filter {
        SessionFilter::Id(_) => listed!("s.id = ?"),
        SessionFilter::User(_) => listed!("s.user_id = ?"),
        SessionFilter::RefreshedWithin(_) => listed!("s.refreshed_at > GREATEST(at.moment - ?, 0)"),
    };
    let query = query(sql)
        .bind(now.map(duration_i64))
        .bind(duration_i64(lifetimes.session()))
        .bind(duration_i64(lifetimes.idle()));
    let query = match filter {
        SessionFilter::Id(id) => query.bind(id.as_str().as_bytes()),
        SessionFilter::User(user) => query.bind(user.as_str().as_bytes()),
        SessionFilter::RefreshedWithin(time) => query.bind(duration_i64(*time)),
    };
    let rows = query.bind(MAX_LISTED as i64).fetch_all(connection).await.map_err(failed)?;
    rows.iter()
        .map(|row| {
            Ok(Session {
                id: id(text(row, 0)?)?,
                user: id(text(row, 1)?)?,
                created_at: duration(get(row, 2)?)?,
                last_refresh_at: duration(get(row, 3)?)?,
                device: device(get(row, 4)?, get(row, 5)?, get(row, 6)?)?,
            })
        })
        .collect()
}
