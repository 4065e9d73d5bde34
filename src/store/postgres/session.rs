//! Sessions in PostgreSQL: logins and refreshes of one statement, and the lists.
//!
//! One statement sees one snapshot, and waits for nobody but who writes the same session. A
//! revocation that commits after the snapshot was taken is above the stamp, which is `newest + 1`
//! of that snapshot, and so covers the token; one that had returned before is in the snapshot.

use std::time::Duration;

use sqlx::{PgConnection, postgres::PgRow, query};

use super::row::get;
use crate::{
    cutoff::Stamp,
    error::Error,
    lifetimes::Lifetimes,
    scope::Id,
    store::{
        Device, MAX_LISTED, Mint, Minted, Session, SessionFilter,
        family::Family,
        order::SessionRow,
        sql::{as_i64, device, duration, duration_i64, failed, id, unsigned},
    },
};

/// The database's clock in microseconds, unless the parameter names another time.
macro_rules! now {
    ($given:literal) => {
        concat!(
            "coalesce(",
            $given,
            "::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)"
        )
    };
}

pub(super) use now;

/// The highest `$cut_off` of everyone, the user, the session and groups, and of a token.
macro_rules! highest {
    ($cut_off:literal, $sid:literal, $user:literal, $($groups:literal),+ $(; token $token:literal)?) => {
        concat!(
            "coalesce((SELECT max(", $cut_off, ") FROM (",
            "SELECT 'everyone' AS scope, '' AS subject ",
            "UNION ALL SELECT 'session', ", $sid, " ",
            "UNION ALL SELECT 'user', ", $user, " ",
            $("UNION ALL SELECT 'token', ", $token, " ",)?
            $("UNION ALL SELECT 'group', unnest(", $groups, ") "),+,
            ") AS asked JOIN revocations AS r ",
            "ON r.scope = asked.scope AND r.subject = asked.subject), 0)"
        )
    };
}

pub(super) use highest;

/// Whether no request is pending.
#[cfg(not(plant = "mint_ignores_requests"))]
macro_rules! nothing_pending {
    () => {
        "NOT EXISTS (SELECT FROM revocation_requests WHERE revoked_before IS NULL)"
    };
}

#[cfg(plant = "mint_ignores_requests")]
macro_rules! nothing_pending {
    () => {
        "true"
    };
}

pub(super) use nothing_pending;

/// The ticket, and whether nothing is pending: what is the same for logins, refreshes and renewals.
macro_rules! admissible {
    ($ticket:literal, $sid:literal, $user:literal, $groups:literal) => {
        concat!(
            nothing_pending!(),
            " AND ",
            $ticket,
            " <= newest + 1 \
             AND ",
            $ticket,
            " > greatest(purged_reissue_before, purged_login_before, ",
            highest!("greatest(r.reissue_before, r.login_before)", $sid, $user, $groups),
            ")"
        )
    };
}

pub(super) use admissible;

/// The time, read once. Whatever the connection has set, the commit is durable.
macro_rules! at {
    ($given:literal) => {
        concat!(
            "WITH at AS MATERIALIZED (SELECT ",
            now!($given),
            " AS now, \
             CASE WHEN current_setting('synchronous_commit') IN ('off', 'local') \
             THEN set_config('synchronous_commit', 'on', true) END AS durable) "
        )
    };
}

pub(super) use at;

/// Begins a session if everything is as it mostly is. Where it does nothing, `order.rs` decides.
const LOGIN: &str = concat!(
    at!("$1"),
    "INSERT INTO revocation_sessions (id, user_id, groups, began, refreshed_at, last_stamp, \
         counter, void_below, spent, label, ip, user_agent) \
     SELECT $2, $3, $4, now, now, newest + 1, 0, 0, '{}', $6, $7, $8 \
     FROM revocation_clock, at WHERE ",
    admissible!("$5", "$2", "$3", "$4"),
    " RETURNING last_stamp, began, began, counter, refreshed_at"
);

/// Spends a refresh token, or hands out its successor again, if everything is as it mostly is:
/// the decisions of `order.rs` once more, in SQL. Where it does nothing, those decide.
const REFRESH: &str = concat!(
    at!("$1"),
    "UPDATE revocation_sessions AS session SET \
         groups = $4, \
         last_stamp = greatest(last_stamp, newest + 1), \
         counter = greatest(counter, $9 + 1), \
         refreshed_at = CASE counter WHEN $9 THEN greatest(refreshed_at, now) \
             ELSE refreshed_at END, \
         spent = CASE counter WHEN $9 THEN now || spent[:least($13, \
                 (SELECT min(place) - 1 FROM unnest(spent) WITH ORDINALITY AS old (moment, place) \
                  WHERE now >= moment + $10))::int] \
             ELSE spent END, \
         label = coalesce($6, label), \
         ip = coalesce($7, ip), \
         user_agent = coalesce($8, user_agent) \
     FROM revocation_clock, at \
     WHERE session.id = $2 AND session.user_id = $3 \
         AND now < began + $11 AND now < refreshed_at + $12 \
         AND $9 >= void_below AND $9 <= counter \
         AND ($9 + 1 >= counter OR now < spent[least(counter - $9, $13 + 2)::int] + $10) \
         AND last_stamp > greatest(purged_login_before, ",
    highest!("r.login_before", "session.id", "session.user_id", "session.groups", "$4"),
    ") AND ",
    admissible!("$5", "$2", "$3", "$4"),
    " RETURNING newest + 1, now, began, $9 + 1, spent[(counter - $9)::int]"
);

/// Mints by one statement. `None` if that is not for it to decide; then nothing is written.
///
/// `refresh` is the counter of the refresh token and the grace time; without it a session begins.
/// `now` stands in for the database's clock.
pub(super) async fn at_once(
    mint: &Mint,
    refresh: Option<(u64, Duration)>,
    now: Option<Duration>,
    persistent: bool,
    connection: &mut PgConnection,
) -> Result<Option<Minted>, Error> {
    let Mint { ticket, sid, user, groups, device, lifetimes, .. } = mint;
    let groups: Vec<&str> = groups.iter().map(Id::as_str).collect();
    let mut query = query(if refresh.is_some() { REFRESH } else { LOGIN })
        .persistent(persistent)
        .bind(now.map(duration_i64))
        .bind(sid.as_str())
        .bind(user.as_str())
        .bind(groups)
        .bind(as_i64(ticket.stamp().as_micros()))
        .bind(device.label.as_deref())
        .bind(device.ip.map(|ip| ip.to_string()))
        .bind(device.user_agent.as_deref());
    if let Some((counter, grace)) = refresh {
        query = query
            // There is always a next one; none was ever handed out that is near the end.
            .bind(as_i64(counter).min(i64::MAX - 1))
            .bind(duration_i64(grace))
            .bind(duration_i64(lifetimes.session()))
            .bind(duration_i64(lifetimes.idle()))
            .bind(Family::REMEMBERED as i64 - 1);
    }
    // To the end: after the first row there is the commit, and `fetch_optional` would not hear of
    // its failure.
    let rows = query.fetch_all(connection).await.map_err(failed)?;
    rows.first().map(minted).transpose()
}

/// What such a statement returns.
pub(super) fn minted(row: &PgRow) -> Result<Minted, Error> {
    let stamp = if cfg!(plant = "stamp_from_clock") { 1 } else { 0 };
    Ok(Minted {
        stamp: Stamp::from_micros(unsigned(get(row, stamp)?)?),
        issued_at: duration(get(row, 1)?)?,
        session_began: duration(get(row, 2)?)?,
        counter: unsigned(get(row, 3)?)?,
        counted_at: duration(get(row, 4)?)?,
    })
}

/// The columns that make a [`SessionRow`], in the order of [`session_row`].
macro_rules! columns {
    () => {
        "user_id, groups, began, refreshed_at, last_stamp, counter, void_below, spent, label, ip, \
         user_agent"
    };
}

/// With the lock of the row: a refresh at the same time takes no lock of the clock row.
const SESSION: &str =
    concat!("SELECT ", columns!(), " FROM revocation_sessions WHERE id = $1 FOR NO KEY UPDATE");

pub(super) const BEGIN: &str = concat!(
    "INSERT INTO revocation_sessions (",
    columns!(),
    ", id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
);

pub(super) const GO_ON: &str = concat!(
    "UPDATE revocation_sessions SET (",
    columns!(),
    ") = ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) WHERE id = $12"
);

/// Writes `row` by [`BEGIN`] or [`GO_ON`].
pub(super) async fn write(
    sql: &'static str,
    sid: &Id,
    row: &SessionRow,
    persistent: bool,
    connection: &mut PgConnection,
) -> Result<(), Error> {
    let groups: Vec<&str> = row.groups.iter().map(Id::as_str).collect();
    let spent: Vec<i64> = row.family.spent.iter().copied().map(duration_i64).collect();
    let Device { label, ip, user_agent } = &row.device;
    query(sql)
        .persistent(persistent)
        .bind(row.user.as_str())
        .bind(groups)
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

/// The row of `sid`, locked.
pub(super) async fn read(
    sid: &Id,
    persistent: bool,
    connection: &mut PgConnection,
) -> Result<Option<SessionRow>, Error> {
    let row = query(SESSION)
        .persistent(persistent)
        .bind(sid.as_str())
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    row.as_ref().map(session_row).transpose()
}

fn session_row(row: &PgRow) -> Result<SessionRow, Error> {
    let groups: Vec<String> = get(row, 1)?;
    let spent: Vec<i64> = get(row, 7)?;
    Ok(SessionRow {
        user: id(get(row, 0)?)?,
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
            at!("$1"),
            "SELECT ",
            $columns,
            " FROM revocation_sessions AS session, revocation_clock, at \
             WHERE now < began + $2 AND now < refreshed_at + $3 \
                 AND last_stamp > greatest(purged_login_before, ",
            highest!("r.login_before", "session.id", "session.user_id", "session.groups"),
            ") AND ",
            $filter
        )
    };
}

/// The sessions of a user that are alive, but for some that logged in last.
const BEYOND: &str =
    concat!(alive!("id", "user_id = $5"), " ORDER BY began DESC, id DESC OFFSET $4");

/// The living sessions of `user` at `now`, but for the `kept` that logged in last.
pub(super) async fn beyond(
    user: &Id,
    kept: u32,
    lifetimes: Lifetimes,
    now: Duration,
    persistent: bool,
    connection: &mut PgConnection,
) -> Result<Vec<Id>, Error> {
    let rows = query(BEYOND)
        .persistent(persistent)
        .bind(duration_i64(now))
        .bind(duration_i64(lifetimes.session()))
        .bind(duration_i64(lifetimes.idle()))
        .bind(i64::from(kept))
        .bind(user.as_str())
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    rows.iter().map(|row| id(get(row, 0)?)).collect()
}

/// What is listed.
macro_rules! listed {
    ($filter:literal) => {
        concat!(
            alive!("id, user_id, began, refreshed_at, label, ip, user_agent", $filter),
            " ORDER BY refreshed_at DESC, id LIMIT $4"
        )
    };
}

/// The sessions that are alive.
pub(super) async fn list(
    filter: &SessionFilter,
    lifetimes: Lifetimes,
    now: Option<Duration>,
    persistent: bool,
    connection: &mut PgConnection,
) -> Result<Vec<Session>, Error> {
    let sql = match filter {
        SessionFilter::Id(_) => listed!("id = $5"),
        SessionFilter::User(_) => listed!("user_id = $5"),
        SessionFilter::RefreshedWithin(_) => listed!("refreshed_at > greatest(now - $5, 0)"),
    };
    let query = query(sql)
        .persistent(persistent)
        .bind(now.map(duration_i64))
        .bind(duration_i64(lifetimes.session()))
        .bind(duration_i64(lifetimes.idle()))
        .bind(MAX_LISTED as i64);
    let query = match filter {
        SessionFilter::Id(id) => query.bind(id.as_str()),
        SessionFilter::User(user) => query.bind(user.as_str()),
        SessionFilter::RefreshedWithin(time) => query.bind(duration_i64(*time)),
    };
    let rows = query.fetch_all(connection).await.map_err(failed)?;
    rows.iter()
        .map(|row| {
            Ok(Session {
                id: id(get(row, 0)?)?,
                user: id(get(row, 1)?)?,
                created_at: duration(get(row, 2)?)?,
                last_refresh_at: duration(get(row, 3)?)?,
                device: device(get(row, 4)?, get(row, 5)?, get(row, 6)?)?,
            })
        })
        .collect()
}
