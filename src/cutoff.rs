//! Store time, cut-offs, and the one rule.
//!
//! Revocations are put in order by the store alone. Every revocation takes the next point of
//! *store time*; a token carries the point at which it was minted, its *issue stamp*. No clock is
//! compared with another clock anywhere, so no clock can lose a revocation or log anyone out.
//!
//! > A token is revoked when its stamp is at or below the highest cut-off of the scopes it is in.
//!
//! [`revoked`] is that rule. The layer, the store, the renewal and the tests all call it.

use std::{fmt, str::FromStr};

use crate::scope::{ScopeKind, UnknownName};

/// A point in store time: the order of revocations.
///
/// Written as whole microseconds since 1970, because it follows the database's clock as long as
/// that runs forward, but it moves only when something is revoked. [`StoreTime::ZERO`] lies before
/// every revocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreTime(u64);

impl StoreTime {
    /// Before every revocation.
    pub const ZERO: Self = Self(0);

    /// The highest point that a database's signed 64-bit integer holds.
    pub const MAX: Self = Self(i64::MAX as u64);

    /// `micros` microseconds since 1970, at most [`StoreTime::MAX`].
    pub fn from_micros(micros: u64) -> Self {
        Self(micros).min(Self::MAX)
    }

    /// Whole microseconds since 1970.
    pub fn as_micros(self) -> u64 {
        self.0
    }

    /// The next point. At [`StoreTime::MAX`] there is none, and the store refuses to revoke.
    pub fn next(self) -> Option<Self> {
        (self < Self::MAX).then(|| Self(self.0 + 1))
    }
}

impl fmt::Display for StoreTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A token's issue stamp: which revocations it has seen.
///
/// For tokens of our issuer it is the claim `rvs`, `newest + 1` at the mint. For tokens of other
/// issuers it is `iat`, the start of its second, less the configured skew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stamp(u64);

impl Stamp {
    /// The stamp of a token minted when `newest` was the highest cut-off ever issued.
    pub fn after(newest: StoreTime) -> Self {
        Self(newest.0 + 1)
    }

    /// The stamp in store time, as the claim `rvs` and the session's row hold it.
    ///
    /// Zero would lie below "never revoked" and is raised to one.
    pub fn from_micros(micros: u64) -> Self {
        Self(micros.clamp(1, StoreTime::MAX.0 + 1))
    }

    /// Whole microseconds.
    pub fn as_micros(self) -> u64 {
        self.0
    }

    /// Whether a token with this stamp has seen every revocation up to `newest`.
    #[inline]
    pub(crate) fn has_seen(self, newest: StoreTime) -> bool {
        !revoked(self, newest)
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The one rule: a token whose stamp is at or before the cut-off is revoked.
#[inline]
pub fn revoked(stamp: Stamp, revoked_before: StoreTime) -> bool {
    if cfg!(plant = "strictly_before") {
        return stamp.0 < revoked_before.0;
    }
    stamp.0 <= revoked_before.0
}

/// What the client has to do after a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Demand {
    /// Its claims are stale, its session lives: get a new access token.
    Refresh,
    /// Its session is gone: log in again.
    Login,
}

impl Demand {
    /// Its name in the database and in JSON: `refresh` or `login`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refresh => "refresh",
            Self::Login => "login",
        }
    }
}

impl fmt::Display for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Demand {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        match name {
            "refresh" => Ok(Self::Refresh),
            "login" => Ok(Self::Login),
            _ => Err(UnknownName { what: "demand", name: name.to_owned() }),
        }
    }
}

/// The cut-offs of one scope, one for each demand; [`StoreTime::ZERO`] where there is none.
///
/// Merging is a join, the maximum of each part: commutative, associative, idempotent, so that
/// duplicates, reordering and replays are harmless.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CutOff {
    /// Access tokens at or before it are refused; the session may fetch a new one.
    pub reissue_before: StoreTime,
    /// Access tokens at or before it are refused, and so is the refresh of a session.
    pub login_before: StoreTime,
}

impl CutOff {
    /// No cut-off.
    pub const NONE: Self = Self { reissue_before: StoreTime::ZERO, login_before: StoreTime::ZERO };

    /// One cut-off for one demand.
    pub fn at(revoked_before: StoreTime, demand: Demand) -> Self {
        match demand {
            Demand::Refresh => Self { reissue_before: revoked_before, ..Self::NONE },
            Demand::Login => Self { login_before: revoked_before, ..Self::NONE },
        }
    }

    /// The same cut-off for both demands.
    pub(crate) fn both(time: StoreTime) -> Self {
        Self { reissue_before: time, login_before: time }
    }

    /// The maximum of each part. Never the minimum: that un-revokes (CVE-2026-18218).
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Self {
            reissue_before: self.reissue_before.max(other.reissue_before),
            login_before: self.login_before.max(other.login_before),
        }
    }

    /// The higher of both parts: what an access token's stamp is held against.
    #[inline]
    pub fn revoked_before(self) -> StoreTime {
        self.reissue_before.max(self.login_before)
    }

    /// What is left of it above `floor`, each part held against its own.
    #[must_use]
    pub fn above(self, floor: Self) -> Self {
        let keep = |part, floor| if part > floor { part } else { StoreTime::ZERO };
        Self {
            reissue_before: keep(self.reissue_before, floor.reissue_before),
            login_before: keep(self.login_before, floor.login_before),
        }
    }

    /// The parts of it that lie before the horizons.
    pub(crate) fn before(self, reissue: StoreTime, login: StoreTime) -> Self {
        let keep = |part, horizon| if part < horizon { part } else { StoreTime::ZERO };
        Self {
            reissue_before: keep(self.reissue_before, reissue),
            login_before: keep(self.login_before, login),
        }
    }

    /// What the bearer of a token with `stamp` has to do; `None` if the token stands.
    ///
    /// [`Demand::Login`] outranks [`Demand::Refresh`]: a refresh would be refused.
    pub fn demand(self, stamp: Stamp) -> Option<Demand> {
        if revoked(stamp, self.login_before) {
            Some(Demand::Login)
        } else if revoked(stamp, self.reissue_before) {
            Some(Demand::Refresh)
        } else {
            None
        }
    }
}

/// A cut-off that covers a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// What the client has to do. A hint: memory knows cut-offs, not sessions.
    pub demand: Demand,
    /// The kind of scope whose cut-off was the highest; `Everyone` for what purging left behind.
    /// `None` if the store was asked, which tells the highest cut-off and not whose it is.
    pub scope: Option<ScopeKind>,
    /// That cut-off.
    pub revoked_before: StoreTime,
}

/// Proof that a revocation is stored: it was sealed with this cut-off and committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Receipt {
    revoked_before: StoreTime,
}

impl Receipt {
    /// For implementations of a store, once the commit has returned.
    pub fn new(revoked_before: StoreTime) -> Self {
        Self { revoked_before }
    }

    /// The cut-off: unique, and above every cut-off of an earlier revocation.
    pub fn revoked_before(&self) -> StoreTime {
        self.revoked_before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_at_the_cut_off_is_revoked_and_the_next_is_not() {
        let newest = StoreTime::from_micros(41);
        assert!(revoked(Stamp::from_micros(41), newest));
        assert!(!revoked(Stamp::after(newest), newest));
    }

    #[test]
    fn no_stamp_is_revoked_by_no_cut_off() {
        assert_eq!(CutOff::NONE.demand(Stamp::from_micros(0)), None);
    }

    #[test]
    fn the_stamp_after_the_last_cut_off_is_above_it() {
        assert!(!revoked(Stamp::after(StoreTime::MAX), StoreTime::MAX));
        assert_eq!(StoreTime::MAX.next(), None);
    }
}
