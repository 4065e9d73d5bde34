//! What clients did and saw, by one monotonic clock.
//!
//! Each entry has two moments: before the request was sent, and after its answer was read. What the
//! servers did lies in between.

use std::time::Duration;

use tower_revocation::Demand;

/// Since the start of the run.
pub(crate) type Moment = Duration;

/// All of it. Entries name tokens by their place in `tokens`.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) tokens: Vec<Token>,
    pub(crate) revocations: Vec<Revocation>,
    pub(crate) checks: Vec<Check>,
    pub(crate) refreshes: Vec<Refresh>,
    pub(crate) refused_logins: Vec<RefusedLogin>,
    pub(crate) down: Vec<Down>,
    pub(crate) recoveries: Vec<Recovery>,
}

/// An access token, minted by a login or a refresh.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) user: String,
    pub(crate) session: String,
    pub(crate) groups: Vec<String>,
    /// Its claim `rvs`.
    pub(crate) stamp: u64,
    pub(crate) called: Moment,
    pub(crate) returned: Moment,
}

/// What a revocation covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Everyone,
    Group(String),
    User(String),
    Session(String),
}

impl Scope {
    /// As the servers take it: kind and subject.
    pub(crate) fn words(&self) -> (&'static str, &str) {
        match self {
            Self::Everyone => ("everyone", ""),
            Self::Group(name) => ("group", name),
            Self::User(name) => ("user", name),
            Self::Session(id) => ("session", id),
        }
    }

    pub(crate) fn has(&self, token: &Token) -> bool {
        match self {
            Self::Session(id) => token.session == *id,
            _ => self.has_user(&token.user, &token.groups),
        }
    }

    /// Whether a new session of this user is in it.
    pub(crate) fn has_user(&self, user: &str, groups: &[String]) -> bool {
        match self {
            Self::Everyone => true,
            Self::Group(name) => groups.contains(name),
            Self::User(name) => user == name,
            Self::Session(_) => false,
        }
    }
}

/// A call of `revoke` that reached the store, or may have.
#[derive(Clone, Debug)]
pub(crate) struct Revocation {
    pub(crate) scope: Scope,
    pub(crate) demand: Demand,
    pub(crate) called: Moment,
    pub(crate) returned: Moment,
    pub(crate) outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It succeeded, with this cut-off.
    Stored(u64),
    /// It failed, or its answer was lost: it may be in force, or come into force until the moment
    /// that is told, if one is.
    Unknown(Option<Moment>),
}

/// A request with a token.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    pub(crate) token: usize,
    pub(crate) instance: usize,
    pub(crate) called: Moment,
    pub(crate) returned: Moment,
    pub(crate) answer: Answer,
}

/// A refresh with the refresh token that came with an access token.
#[derive(Clone, Debug)]
pub(crate) struct Refresh {
    pub(crate) token: usize,
    pub(crate) called: Moment,
    pub(crate) returned: Moment,
    /// `Refused` is `invalid_grant`.
    pub(crate) answer: Answer,
}

/// A login with the right password that was refused or answered strangely.
#[derive(Clone, Debug)]
pub(crate) struct RefusedLogin {
    pub(crate) user: String,
    pub(crate) groups: Vec<String>,
    pub(crate) called: Moment,
    pub(crate) returned: Moment,
    pub(crate) answer: Answer,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 200.
    Accepted,
    /// 401, or 400 `invalid_grant`, with the reason that was given.
    Refused(String),
    /// 503: nothing is said about the token.
    Unavailable,
    /// Any other: none is right.
    Strange(u16, String),
    /// None: the connection broke, or the client gave up.
    Nothing,
}

/// A time in which a server was down, from before it was killed until it was ready again.
#[derive(Clone, Debug)]
pub(crate) struct Down {
    pub(crate) instance: usize,
    pub(crate) from: Moment,
    pub(crate) until: Moment,
}

/// A fault that ended.
#[derive(Clone, Debug)]
pub(crate) struct Recovery {
    pub(crate) healed: Moment,
    /// From when on every instance accepted a fresh token and refused a revoked one; `None` if
    /// nobody saw that.
    pub(crate) recovered: Option<Moment>,
}

impl History {
    /// Forgets what was judged. Tokens and revocations stay, and when servers were down: entries to
    /// come speak of them.
    pub(crate) fn forget_the_judged(&mut self) {
        self.checks.clear();
        self.refreshes.clear();
        self.refused_logins.clear();
        self.recoveries.clear();
    }

    /// States that whatever comes of revocations with an unknown outcome that returned by then
    /// has come by `now`.
    pub(crate) fn settle(&mut self, returned_by: Moment, now: Moment) {
        for revocation in &mut self.revocations {
            if let Outcome::Unknown(settled @ None) = &mut revocation.outcome
                && revocation.returned <= returned_by
            {
                *settled = Some(now);
            }
        }
    }
}
