//! What the stores in SQL databases share: values of a row, checked. A database has other writers.

use std::{net::IpAddr, time::Duration};

use super::{Device, Enlisted, Entry, Instance, Revocation, tables::Raise};
use crate::{
    clock::as_micros,
    cutoff::{CutOff, StoreTime},
    error::{Error, ErrorKind},
    scope::{Id, InvalidId, Scope, ScopeKind, UnknownName},
    telemetry,
};

/// What the database said, as the cause of our own error.
pub(super) fn failed(cause: sqlx::Error) -> Error {
    Error::new(ErrorKind::Store, cause)
}

/// What stands in the database and was never written by this crate.
pub(super) fn corrupt(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Corrupt, cause)
}

// ---- numbers ----

/// As databases hold it. Store time ends where this would overflow.
pub(super) fn as_i64(micros: u64) -> i64 {
    i64::try_from(micros).unwrap_or(i64::MAX)
}

pub(super) fn time_i64(time: StoreTime) -> i64 {
    as_i64(time.as_micros())
}

pub(super) fn duration_i64(since_1970: Duration) -> i64 {
    as_i64(as_micros(since_1970))
}

/// A whole number that must not be negative.
pub(super) fn unsigned(number: i64) -> Result<u64, Error> {
    u64::try_from(number).map_err(corrupt)
}

pub(super) fn store_time(number: i64) -> Result<StoreTime, Error> {
    unsigned(number).map(StoreTime::from_micros)
}

pub(super) fn duration(number: i64) -> Result<Duration, Error> {
    unsigned(number).map(Duration::from_micros)
}

// ---- rows ----

/// The columns of a cut-off.
pub(super) fn cut_off(reissue_before: i64, login_before: i64) -> Result<CutOff, Error> {
    Ok(CutOff {
        reissue_before: store_time(reissue_before)?,
        login_before: store_time(login_before)?,
    })
}

/// A row of the revocations: `times` are `reissue_before`, `login_before` and `cleared_at`.
///
/// `None` if it names no valid scope: no token can carry that subject, so nobody is left unrevoked,
/// and one such row must not stop everybody.
pub(super) fn entry(
    kind: &str,
    subject: &str,
    times: [i64; 3],
    head: StoreTime,
) -> Result<Option<Entry>, Error> {
    let kind: ScopeKind = kind.parse().map_err(|unknown: UnknownName| corrupt(unknown))?;
    let scope = match Scope::new(kind, subject) {
        Ok(scope) => scope,
        Err(problem) => {
            telemetry::request_refused(&problem);
            return Ok(None);
        }
    };
    let [reissue_before, login_before, cleared_at] = times;
    let entry = Entry {
        scope,
        cut_off: cut_off(reissue_before, login_before)?,
        cleared_at: store_time(cleared_at)?,
    };
    // Written past the clock row: believing it would refuse tokens that no revocation covers.
    if entry.cut_off.revoked_before().max(entry.cleared_at) > head {
        return Err(corrupt(format!("a cut-off of a {kind} lies above newest ({head})")));
    }
    Ok(Some(entry))
}

/// A request, or why it can be no token's. Whoever writes plain SQL need not know of
/// normalization, and may write what is no UTF-8: one such row must not stop everybody.
pub(super) fn requested(
    kind: &str,
    subject: &[u8],
    demand: &str,
    spared: Option<&[u8]>,
) -> Result<Result<Revocation, InvalidId>, Error> {
    let kind = kind.parse().map_err(|unknown: UnknownName| corrupt(unknown))?;
    let demand = demand.parse().map_err(|unknown: UnknownName| corrupt(unknown))?;
    let scope = str::from_utf8(subject)
        .map_err(|_| InvalidId::NotUtf8)
        .and_then(|subject| Scope::normalized(kind, subject));
    // What names no session spares none; the revocation stands.
    let spared = spared.and_then(|sid| Id::new(str::from_utf8(sid).ok()?).ok());
    Ok(scope.map(|scope| Revocation { spared, ..Revocation::new(scope, demand) }))
}

// ---- the latest changes ----

/// Of every change there is, that at zero is the first.
pub(super) fn cursor_i64(cursor: StoreTime) -> i64 {
    if cursor == StoreTime::ZERO { -1 } else { time_i64(cursor) }
}

/// One row more than is to be told: it says what is not.
pub(super) fn limit(at_most: u32) -> i64 {
    i64::from(at_most) + 1
}

/// Takes off the row that is one too many, the one that changed first. Returns when that was.
pub(super) fn cut<R>(
    rows: &mut Vec<R>,
    at_most: u32,
    changed_at: impl Fn(&R) -> Result<i64, Error>,
) -> Result<StoreTime, Error> {
    if rows.len() <= at_most as usize {
        return Ok(StoreTime::ZERO);
    }
    let times = rows.iter().map(changed_at).collect::<Result<Vec<i64>, Error>>()?;
    let Some((first, untold)) = times.iter().enumerate().min_by_key(|(_, time)| **time) else {
        return Ok(StoreTime::ZERO);
    };
    rows.swap_remove(first);
    store_time(*untold)
}

pub(super) fn id(text: &str) -> Result<Id, Error> {
    Id::new(text).map_err(corrupt)
}

pub(super) fn device(
    label: Option<String>,
    ip: Option<&str>,
    user_agent: Option<String>,
) -> Result<Device, Error> {
    let ip: Option<IpAddr> = ip.map(|ip| ip.parse().map_err(corrupt)).transpose()?;
    Ok(Device { label, ip, user_agent })
}

/// The kinds and subjects of `scopes`, and everyone's.
pub(super) fn and_everyone(scopes: &[Scope]) -> impl Iterator<Item = (&str, &str)> {
    let scopes = scopes.iter().chain(std::iter::once(&Scope::Everyone));
    scopes.map(|scope| (scope.kind().as_str(), scope.subject()))
}

/// A row of the instances: `numbers` are `bound`, `applied`, `beats` and `beat_at`.
pub(super) fn enlisted(
    id: &str,
    name: &str,
    numbers: [i64; 4],
    clock: Duration,
) -> Result<Enlisted, Error> {
    let [bound, applied, beats, beat_at] = numbers;
    Ok(Enlisted {
        instance: Instance { id: self::id(id)?, name: self::id(name)?, bound: duration(bound)? },
        applied: store_time(applied)?,
        beats: unsigned(beats)?,
        silent_for: clock.saturating_sub(duration(beat_at)?),
    })
}

/// Only a primary knows every instance.
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub(super) fn not_by_a_replica() -> Error {
    Error::new(ErrorKind::Store, "a replica does not know every instance")
}

/// A list as one parameter. (PostgreSQL has arrays.)
#[cfg(any(feature = "mysql", feature = "sqlite"))]
pub(super) fn json(list: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(list).map_err(|cause| Error::new(ErrorKind::Store, cause))
}

/// The columns of a raise: `reissue_before`, `login_before`, `changed_at`.
pub(super) fn raise_times(raise: &Raise) -> [i64; 3] {
    [raise.cut_off.reissue_before, raise.cut_off.login_before, raise.changed_at].map(time_i64)
}
