//! The laws, held against each thing that happens. A moment that would leave doubt is in favour of
//! the crate.

use std::{fmt, time::Duration};

use tower_revocation::{
    Demand, Scope,
    cutoff::{Stamp, StoreTime},
    error::ErrorKind,
    lifetimes::Lifetimes,
    store::{Mint, MintFor, Minted},
};

use crate::facts::{Facts, Moment, Revoked, Token};

/// A broken law.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) law: Law,
    /// What happened, in words.
    pub(crate) story: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Law {
    /// 2: a cut-off that an instance knew is in force no more.
    CutOffFell,
    /// 3: a covered token was accepted too late.
    AcceptedLate,
    /// 3: a copy is fresh, and does not hold what was revoked before.
    FreshAndBehind,
    /// 3: what was read before a revocation has got past it.
    Overtaken,
    /// 3: a session that was ended goes on.
    SessionRevived,
    /// 3: a revoked token was exchanged for a good one.
    TokenRevived,
    /// 3, in good times: a revocation did not arrive within milliseconds.
    NotPushed,
    /// 4: a new token is not above all revocations.
    StampTooLow,
    /// 4: a new token is refused.
    NewTokenRefused,
    /// 5: a token that no revocation covers was refused as revoked.
    FalseRefusal,
    /// 5: a session that no revocation ended was refused.
    FalseLogout,
    /// 5: while nothing can be said about a token, it was said.
    NotUnavailable,
    /// 6 and 5: refused as expired before its time.
    ExpiredEarly,
    /// 7: accepted before a full load.
    NotLoaded,
    /// All was healed, and an instance did not become fresh.
    NoRecovery,
}

impl Law {
    /// Its number on the page of laws.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::CutOffFell => 2,
            Self::AcceptedLate
            | Self::FreshAndBehind
            | Self::Overtaken
            | Self::SessionRevived
            | Self::TokenRevived
            | Self::NotPushed => 3,
            Self::StampTooLow | Self::NewTokenRefused | Self::NoRecovery => 4,
            Self::FalseRefusal | Self::FalseLogout | Self::NotUnavailable => 5,
            Self::ExpiredEarly => 6,
            Self::NotLoaded => 7,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "law {}, {:?}: {}", self.law.number(), self.law, self.story)
    }
}

pub(crate) type Held = Result<(), Violation>;

fn broken(law: Law, story: impl Into<String>) -> Held {
    Err(Violation { law, story: story.into() })
}

/// The database has minted. To be asked before the facts know of it.
pub(crate) fn mint(facts: &Facts, mint: &Mint, minted: &Minted) -> Held {
    let name = |revocation: &Revoked| facts.name(&revocation.scope);
    if minted.stamp.as_micros() <= facts.remembered.newest.as_micros() {
        return broken(Law::StampTooLow, format!("{} is not above newest", minted.stamp));
    }
    let session = facts.remembered.sessions.get(&mint.sid);
    if let Some(ended) = session.and_then(|session| session.ended) {
        let by = &facts.revocations[ended];
        let which = facts.session_name(&mint.sid);
        return broken(
            Law::SessionRevived,
            format!("session {which} was ended by that of {}", name(by)),
        );
    }
    if let MintFor::Renew(token) = &mint.session {
        let mut scopes = vec![
            Scope::Everyone,
            Scope::User(mint.user.clone()),
            Scope::Session(mint.sid.clone()),
            Scope::Token(token.token.clone()),
        ];
        scopes.extend(token.groups.iter().cloned().map(Scope::Group));
        let covers = |revocation: &&Revoked| {
            !revocation.forgotten
                && scopes.contains(&revocation.scope)
                && revocation.sealed.is_some_and(|(_, cut_off)| reaches(cut_off, token.stamp))
        };
        if let Some(by) = facts.revocations.iter().find(covers) {
            return broken(Law::TokenRevived, format!("renewed after that of {}", name(by)));
        }
    }
    Ok(())
}

/// The database has refused to mint at its time `now`; its clock was set within `range` so far.
pub(crate) fn refusal(
    facts: &Facts,
    mint: &Mint,
    kind: ErrorKind,
    now: Duration,
    range: Duration,
) -> Held {
    let of_demand = |revocation: &Revoked, demand: Option<Demand>| {
        demand.is_none_or(|demand| revocation.demand == demand)
    };
    let covered = |scopes: &[Scope], stamp: Stamp, demand: Option<Demand>| {
        facts.revocations.iter().any(|revocation| {
            of_demand(revocation, demand)
                && scopes.contains(&revocation.scope)
                && revocation.sealed.is_some_and(|(_, cut_off)| reaches(cut_off, stamp))
        })
    };
    let mut scopes =
        vec![Scope::Everyone, Scope::User(mint.user.clone()), Scope::Session(mint.sid.clone())];
    scopes.extend(mint.groups.iter().cloned().map(Scope::Group));
    let session = facts.remembered.sessions.get(&mint.sid);
    if let Some(session) = session {
        scopes.extend(session.groups.iter().cloned().map(Scope::Group));
    }
    let which = facts.session_name(&mint.sid);
    match (kind, &mint.session) {
        (ErrorKind::SessionEnded, renewed) => {
            let Some(session) = session else { return Ok(()) };
            if let MintFor::Renew(token) = renewed {
                scopes.extend(token.groups.iter().cloned().map(Scope::Group));
            }
            // A purge under a clock that is ahead leaves a floor that is as far ahead.
            if covered(&scopes, session.last_stamp, Some(Demand::Login))
                || is_over(session.began, session.refreshed_at, now + range, mint.lifetimes)
            {
                return Ok(());
            }
            broken(Law::FalseLogout, format!("nothing has ended session {which}"))
        }
        (ErrorKind::TokenRevoked(_), MintFor::Renew(token)) => {
            scopes.extend(token.groups.iter().cloned().map(Scope::Group));
            scopes.push(Scope::Token(token.token.clone()));
            if covered(&scopes, token.stamp, None) || range > Duration::ZERO {
                return Ok(());
            }
            broken(Law::FalseRefusal, format!("nothing covers the token of session {which}"))
        }
        (ErrorKind::RefreshTokenInvalid, _) => {
            let spared = facts.revocations.iter().any(|revocation| {
                revocation.sealed.is_some() && revocation.spared.as_ref() == Some(&mint.sid)
            });
            if spared || !facts.went_back.is_empty() {
                return Ok(());
            }
            broken(Law::FalseLogout, format!("the refresh token of session {which} is good"))
        }
        (ErrorKind::RevokedMeanwhile(_), MintFor::Login) => {
            let ahead = mint.ticket.stamp() > Stamp::after(facts.remembered.newest);
            if ahead || covered(&scopes, mint.ticket.stamp(), None) {
                return Ok(());
            }
            broken(Law::FalseLogout, "nothing was revoked since the ticket of a login")
        }
        _ => Ok(()),
    }
}

/// A client has got a token.
pub(crate) fn received(facts: &Facts, token: &Token) -> Held {
    let overtakes = |revocation: &&Revoked| {
        !revocation.forgotten && revocation.must_cover(token) && !revocation.can_cover(token)
    };
    match facts.revocations.iter().find(overtakes) {
        Some(revocation) if !token.behind => broken(
            Law::Overtaken,
            format!(
                "a token says what was read before that of {} was called, and is above it",
                facts.name(&revocation.scope)
            ),
        ),
        _ => Ok(()),
    }
}

/// What is known of the instance that has answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answerer {
    pub(crate) instance: usize,
    /// Whether it has loaded everything since it started.
    pub(crate) loaded: bool,
    /// How long after a revocation returned it may accept what that covers.
    pub(crate) bound: Duration,
}

/// A check that began at `called` has accepted a token.
pub(crate) fn accepted(facts: &Facts, token: &Token, called: Moment, by: Answerer) -> Held {
    let number = |token: &Token| {
        facts.tokens.iter().position(|other| std::ptr::eq(other, token)).map_or(-1, |at| at as i64)
    };
    if !by.loaded {
        return broken(Law::NotLoaded, format!("instance {} has loaded nothing", by.instance));
    }
    let bound = u64::try_from(by.bound.as_millis()).unwrap_or(u64::MAX);
    let late = |revocation: &&Revoked| {
        !revocation.forgotten
            && revocation.returned.is_some_and(|returned| called.at > returned.at + bound)
            && revocation.must_cover(token)
    };
    match facts.revocations.iter().find(late) {
        Some(revocation) => broken(
            Law::AcceptedLate,
            format!(
                "instance {} accepts token {} over {bound} ms after that of {} returned",
                by.instance,
                number(token),
                facts.name(&revocation.scope)
            ),
        ),
        None => Ok(()),
    }
}

/// An instance has refused a token as revoked.
pub(crate) fn revoked(facts: &Facts, token: &Token, by: usize, range: Duration) -> Held {
    if token.behind
        || facts.revocations.iter().any(|it| it.can_cover(token))
        || range > Duration::ZERO
    {
        return Ok(());
    }
    broken(Law::FalseRefusal, format!("instance {by} refuses a token that nothing covers"))
}

/// An instance has refused a token as expired; no clock that it follows said more than `latest`.
pub(crate) fn expired(token: &Token, by: usize, latest: Duration, leeway: Duration) -> Held {
    if latest >= Duration::from_secs(token.expires_at) + leeway {
        return Ok(());
    }
    broken(Law::ExpiredEarly, format!("instance {by} refuses a token as expired before its time"))
}

/// Whether the one rule holds a cut-off against a stamp; said in other words than the crate's.
fn reaches(cut_off: StoreTime, stamp: Stamp) -> bool {
    cut_off.as_micros().checked_sub(stamp.as_micros()).is_some()
}

pub(crate) fn is_over(
    began: Duration,
    refreshed_at: Duration,
    now: Duration,
    lifetimes: Lifetimes,
) -> bool {
    now >= began + lifetimes.session() || now >= refreshed_at + lifetimes.idle()
}
