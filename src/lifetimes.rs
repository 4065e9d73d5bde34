//! The longest lives of tokens and sessions: one setting, from which purging and checking follow.

use std::time::Duration;

use crate::{clock::as_micros, cutoff::StoreTime, error::ConfigError};

/// How long what can be revoked may live, the same in the whole fleet.
///
/// Verifiers refuse a token that is meant to live longer, issuers never mint one, and a cut-off
/// is kept until all it covers has expired. One value for all three is what makes purging safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lifetimes {
    access: Duration,
    session: Duration,
    idle: Duration,
    leeway: Duration,
}

impl Lifetimes {
    /// The longest `exp - iat` of an access token, the longest life of a session from its login,
    /// and the leeway granted to clocks in `exp`, `nbf` and `iat`. A session may stay unused for
    /// all its life, unless [`idle`](Lifetimes::with_idle) says otherwise.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Duration`] if `access` is under a second, `session` is shorter than
    /// `access`, `leeway` is not shorter than `access`, or one is over a hundred years.
    pub fn new(access: Duration, session: Duration, leeway: Duration) -> Result<Self, ConfigError> {
        let refuse = |field, value, problem| Err(ConfigError::Duration { field, value, problem });
        if access < Duration::from_secs(1) {
            return refuse("access token lifetime", access, "is under a second");
        }
        if session < access {
            return refuse("session lifetime", session, "is shorter than an access token's");
        }
        if leeway >= access {
            return refuse("leeway", leeway, "is not shorter than an access token's life");
        }
        if session > Duration::from_secs(100 * 366 * 86_400) {
            return refuse("session lifetime", session, "is over a hundred years");
        }
        Ok(Self { access, session, idle: session, leeway })
    }

    /// The longest time between two refreshes of a session, which is the life of a refresh token.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Duration`] if it is shorter than an access token's life, by whose end a
    /// client refreshes, or longer than the session's.
    pub fn with_idle(self, idle: Duration) -> Result<Self, ConfigError> {
        let refuse =
            |problem| Err(ConfigError::Duration { field: "idle lifetime", value: idle, problem });
        if idle < self.access {
            return refuse("is shorter than an access token's life");
        }
        if idle > self.session {
            return refuse("is longer than a session's life");
        }
        Ok(Self { idle, ..self })
    }

    /// The longest `exp - iat` of an access token.
    pub fn access(&self) -> Duration {
        self.access
    }

    /// The longest life of a session.
    pub fn session(&self) -> Duration {
        self.session
    }

    /// The longest time between two refreshes of a session.
    pub fn idle(&self) -> Duration {
        self.idle
    }

    /// Whether a session that began at `began` and was last refreshed at `refreshed_at` is over at
    /// `now`, all since 1970.
    pub(crate) fn is_over(&self, began: Duration, refreshed_at: Duration, now: Duration) -> bool {
        now >= began + self.session || now >= refreshed_at + self.idle
    }

    /// The cut-offs that have outlived all they cover when the store's clock says `clock`: a
    /// `reissue_before` under the first, a `login_before` under the second.
    ///
    /// An access token counts for as long as it can be renewed, which is the idle limit: what is dropped
    /// leaves a floor, and nobody can tell any more which of the tokens below that were covered.
    pub(crate) fn horizons(&self, clock: Duration) -> (StoreTime, StoreTime) {
        let horizon = |life: Duration| {
            // Twice: a token may be issued ahead of the clock by the leeway, and outlive its
            // expiry by it.
            let kept = life + self.leeway * 2;
            StoreTime::from_micros(as_micros(clock.saturating_sub(kept)))
        };
        let login = if cfg!(plant = "login_purged_early") { self.access } else { self.session };
        (horizon(self.idle), horizon(login))
    }

    /// The leeway granted to clocks.
    pub fn leeway(&self) -> Duration {
        self.leeway
    }
}

impl Default for Lifetimes {
    /// 15 minutes, 60 days of which 5 may pass without a refresh, 5 seconds.
    fn default() -> Self {
        Self {
            access: Duration::from_secs(15 * 60),
            session: Duration::from_secs(60 * 86_400),
            idle: Duration::from_secs(5 * 86_400),
            leeway: Duration::from_secs(5),
        }
    }
}
