//! Judges a history. Pure: no clock, no network.
//!
//! It never asks when a server did something, which nobody can know from outside, only what must or
//! cannot have come before what. A moment that would leave doubt is in favour of the servers.

use std::{collections::HashMap, fmt, time::Duration};

use tower_revocation::Demand;

use crate::history::{Answer, Check, History, Moment, Outcome, Revocation, Token};

/// The bounds that the servers promise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// How long a revoked token may still be accepted after `revoke` returned.
    pub(crate) max_staleness: Duration,
    /// How long after a fault all is to be well.
    pub(crate) recovery: Duration,
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) kind: Kind,
    /// What happened, in words.
    pub(crate) story: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// A check that began over `max_staleness` after the revocation accepted the token, or a
    /// refresh that began after it renewed the session.
    LateAcceptance,
    /// 401 or `invalid_grant` for what no revocation covers.
    FalseRefusal,
    /// A status that is never right.
    StrangeAnswer,
    /// No answer from a server that was up.
    NoAnswer,
    /// Not well again within the bound.
    NoRecovery,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.story)
    }
}

/// All violations in `history`.
pub(crate) fn judge(history: &History, bounds: Bounds) -> Vec<Violation> {
    let mut found = Vec::new();
    checks(history, bounds, &mut found);
    refreshes(history, &mut found);
    logins(history, &mut found);
    recoveries(history, bounds, &mut found);
    found
}

fn checks(history: &History, bounds: Bounds, found: &mut Vec<Violation>) {
    // The revocations that a token is in the scope of, once for all of its checks.
    let mut of_token: HashMap<usize, Vec<&Revocation>> = HashMap::new();
    for check in &history.checks {
        let token = &history.tokens[check.token];
        let revocations = of_token.entry(check.token).or_insert_with(|| {
            history.revocations.iter().filter(|each| each.scope.has(token)).collect()
        });
        let mut add = |kind, why: &dyn fmt::Debug| {
            let story = format!("{check:?} of {token:?}: {why:?}");
            found.push(Violation { kind, story });
        };
        match &check.answer {
            Answer::Accepted => {
                let late = revocations.iter().find(|revocation| {
                    check.called > revocation.returned + bounds.max_staleness
                        && must_cover(revocation, token)
                });
                if let Some(revocation) = late {
                    add(Kind::LateAcceptance, revocation);
                }
            }
            Answer::Refused(_) => {
                let can = |it: &&Revocation| can_cover(it, token, check.returned);
                if !revocations.iter().any(can) {
                    add(Kind::FalseRefusal, revocations);
                }
            }
            Answer::Unavailable => {}
            Answer::Strange(..) => add(Kind::StrangeAnswer, &""),
            Answer::Nothing if was_down(history, check) => {}
            Answer::Nothing => add(Kind::NoAnswer, &""),
        }
    }
}

fn refreshes(history: &History, found: &mut Vec<Violation>) {
    for refresh in &history.refreshes {
        let token = &history.tokens[refresh.token];
        let mut ending = history
            .revocations
            .iter()
            .filter(|each| each.demand == Demand::Login && each.scope.has(token));
        let kind = match &refresh.answer {
            // The database decides, so there is no staleness in it.
            Answer::Accepted => ending
                .any(|it| refresh.called > it.returned && must_cover(it, token))
                .then_some(Kind::LateAcceptance),
            Answer::Refused(_) => {
                let cause = ending.any(|it| can_cover(it, token, refresh.returned));
                (!cause).then_some(Kind::FalseRefusal)
            }
            Answer::Strange(..) => Some(Kind::StrangeAnswer),
            // Refreshing needs the database, which may not be there.
            Answer::Unavailable | Answer::Nothing => None,
        };
        if let Some(kind) = kind {
            found.push(Violation { kind, story: format!("{refresh:?} after {token:?}") });
        }
    }
}

fn logins(history: &History, found: &mut Vec<Violation>) {
    for login in &history.refused_logins {
        // One that is in flight while it is revoked is refused.
        let crossed = history.revocations.iter().any(|revocation| {
            revocation.demand == Demand::Login
                && revocation.scope.has_user(&login.user, &login.groups)
                && revocation.called <= login.returned
                && settled(revocation).is_none_or(|settled| settled >= login.called)
        });
        let kind = match &login.answer {
            Answer::Refused(_) if !crossed => Kind::FalseRefusal,
            Answer::Strange(..) => Kind::StrangeAnswer,
            _ => continue,
        };
        found.push(Violation { kind, story: format!("{login:?}") });
    }
}

fn recoveries(history: &History, bounds: Bounds, found: &mut Vec<Violation>) {
    for recovery in &history.recoveries {
        let limit = recovery.healed + bounds.recovery;
        if recovery.recovered.is_none_or(|recovered| recovered > limit) {
            found.push(Violation { kind: Kind::NoRecovery, story: format!("{recovery:?}") });
        }
    }
}

/// Whether `revocation` is in force and covers `token`, beyond doubt.
fn must_cover(revocation: &Revocation, token: &Token) -> bool {
    match revocation.outcome {
        Outcome::Stored(cut_off) => token.returned < revocation.called || token.stamp <= cut_off,
        Outcome::Unknown(_) => false,
    }
}

/// Whether an answer that was read at `returned` may know `revocation` and be right that it covers
/// `token`.
fn can_cover(revocation: &Revocation, token: &Token, returned: Moment) -> bool {
    let known = revocation.called <= returned;
    // A token that was asked for after the revocation was through is good, whatever its stamp.
    let older = settled(revocation).is_none_or(|settled| token.called <= settled);
    let stamped = match revocation.outcome {
        Outcome::Stored(cut_off) => token.stamp <= cut_off,
        Outcome::Unknown(_) => true,
    };
    known && older && stamped
}

/// From when on nothing new comes of it.
fn settled(revocation: &Revocation) -> Option<Moment> {
    match revocation.outcome {
        Outcome::Stored(_) => Some(revocation.returned),
        Outcome::Unknown(settled) => settled,
    }
}

fn was_down(history: &History, check: &Check) -> bool {
    history.down.iter().any(|down| {
        down.instance == check.instance && down.from <= check.returned && down.until >= check.called
    })
}
