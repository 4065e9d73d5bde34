//! What an instance may say about a token.

use std::time::Duration;

use super::{Held, Law, broken, receipts};
use crate::facts::{Facts, Moment, Revoked, Token};

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
    /// By how much its clock may take ages for too short.
    pub(crate) blind: Duration,
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
        None => receipts::accepted(facts, token, called, by),
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
