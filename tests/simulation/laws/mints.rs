//! What the database may mint, and what it may refuse.

use std::time::Duration;

use tower_revocation::{
    Demand, Scope,
    cutoff::{Stamp, StoreTime},
    error::ErrorKind,
    lifetimes::Lifetimes,
    store::{Mint, MintFor, Minted},
};

use super::{Held, Law, broken};
use crate::facts::{Facts, Revoked};

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
