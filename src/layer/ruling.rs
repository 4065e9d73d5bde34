//! What becomes of a request that memory alone does not decide: the copy is stale, or in doubt, or the
//! store has to know the session.

use std::time::Duration;

use super::{
    Answer, Confirmations,
    questions::{Member, OverCapacity, Told, Topic, Waiting},
    renewal::Renewable,
};
use crate::{
    clock::Reading,
    cutoff::StoreTime,
    epochs::{Epochs, StoreClock},
    telemetry,
    verify::{Authentic, Rejection, Remembered, Verified},
};

/// What a layer does while the copy is stale. Before the first full load it refuses, whatever this
/// says.
#[derive(Clone, Debug)]
pub(super) enum WhileStale {
    /// 503.
    Refuse,
    /// The store is asked.
    Confirm(Confirmations),
    /// The copy is believed for so long after it went stale.
    Trust { extra: Duration },
}

/// What is to be done with a request that is not refused.
pub(super) enum Ruling<C> {
    Accept(Verified<C>),
    /// It waits for what the store says.
    Wait(Asked<C>),
    /// Its token has expired, and may be renewed.
    Revive(Box<Renewable>),
}

/// What was asked, and its answer to come.
pub(super) type Asked<C> = (Waiting, Question<C>);

/// A token that the store is being asked about.
pub(super) struct Question<C> {
    token: Authentic<C>,
    epochs: Epochs,
    /// That of the copy.
    age: Duration,
    /// Why it is asked.
    why: Why,
    /// The newest cut-off that the copy knew before the question was sent.
    known: StoreTime,
    /// What there is to renew, if it has expired.
    renewable: Option<Box<Renewable>>,
}

/// What the store's word comes to.
pub(super) enum Word<C> {
    Accept(Verified<C>),
    /// It is good, and the copy would be in doubt about it again and again: another stamp would spare
    /// it that.
    AcceptAndRestamp(Verified<C>),
    /// The token has expired, and may be renewed.
    Revive(Box<Renewable>),
}

/// Why the store is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The copy is too old to say anything.
    Stale,
    /// The copy is in buckets, and cannot tell who of one it is that was revoked.
    Doubt,
    /// Whatever the copy says: the store has to know the session.
    Session,
}

impl Why {
    /// Its name in metrics.
    fn as_str(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::Doubt => "doubt",
            Self::Session => "session",
        }
    }
}

impl WhileStale {
    /// Rules on a token that the copy, of this `age` at `now`, is too old to judge.
    pub(super) fn rule<C>(
        &self,
        token: Authentic<C>,
        age: Duration,
        epochs: &Epochs,
        now: Reading,
        renewable: Option<Box<Renewable>>,
    ) -> Result<Ruling<C>, Rejection> {
        match self {
            Self::Refuse => Err(Rejection::Stale { age }),
            Self::Confirm(confirmations) => {
                ask(confirmations, token, age, epochs, Why::Stale, renewable).map(Ruling::Wait)
            }
            Self::Trust { extra } => trust(*extra, token, age, epochs, now).map(Ruling::Accept),
        }
    }
}

/// Rules on a token about which the copy, of this `age`, is in doubt.
pub(super) fn rule_in_doubt<C>(
    confirmations: Option<&Confirmations>,
    token: Authentic<C>,
    age: Duration,
    epochs: &Epochs,
    renewable: Option<Box<Renewable>>,
) -> Result<Ruling<C>, Rejection> {
    match confirmations {
        Some(confirmations) => {
            ask(confirmations, token, age, epochs, Why::Doubt, renewable).map(Ruling::Wait)
        }
        None => {
            telemetry::nobody_to_ask();
            Err(Rejection::Doubtful { age })
        }
    }
}

/// Asks about a token whose session the store has to know, whatever the copy, of this `age`, says.
pub(super) fn ask_of_session<C>(
    confirmations: &Confirmations,
    token: Authentic<C>,
    age: Duration,
    epochs: &Epochs,
    renewable: Option<Box<Renewable>>,
) -> Result<Asked<C>, Rejection> {
    ask(confirmations, token, age, epochs, Why::Session, renewable)
}

/// The session of a token, as its store would know it.
fn member<C>(token: &Authentic<C>, epochs: &Epochs) -> Result<Member, Rejection> {
    let known = Renewable::new(token.unjudged()).ok_or(Rejection::SessionEnded)?;
    let (session, user) = (known.session().clone(), known.user().clone());
    Ok(Member { session, user, lifetimes: epochs.lifetimes() })
}

fn ask<C>(
    confirmations: &Confirmations,
    token: Authentic<C>,
    age: Duration,
    epochs: &Epochs,
    why: Why,
    renewable: Option<Box<Renewable>>,
) -> Result<Asked<C>, Rejection> {
    let known = epochs.newest();
    let session = match why {
        Why::Session => Some(member(&token, epochs)?),
        Why::Stale | Why::Doubt => None,
    };
    match confirmations.questions.join(Topic { scopes: token.scopes(), session }) {
        Ok(waiting) => {
            let epochs = epochs.clone();
            let question = Question { token, epochs, age, why, known, renewable };
            Ok((waiting, question))
        }
        Err(OverCapacity) => {
            telemetry::confirmation(why.as_str(), "over_capacity");
            Err(Rejection::OverCapacity { age })
        }
    }
}

/// Believes a stale copy for a bounded time. That turns a 503 into an acceptance, and never into a
/// 401: what a stale copy holds against a token may have been cleared since.
fn trust<C>(
    extra: Duration,
    token: Authentic<C>,
    age: Duration,
    epochs: &Epochs,
    now: Reading,
) -> Result<Verified<C>, Rejection> {
    let stale = Rejection::Stale { age };
    let is_announced = epochs.bound().is_within(age) || cfg!(plant = "trust_left_out");
    if age > epochs.max_staleness().saturating_add(extra) || !is_announced {
        return Err(stale);
    }
    let StoreClock { latest, .. } = epochs.store_clock(now).ok_or(Rejection::NotLoaded)?;
    // The latest that the store's clock may say: what is not known is taken for expired.
    match token.by_memory(epochs, StoreClock { earliest: latest, latest }) {
        Ok(Remembered::Good(verified)) => {
            telemetry::trusted_while_stale();
            Ok(verified)
        }
        // Nobody is asked here: whoever trusts a stale copy has no store to ask.
        Ok(Remembered::Doubtful(_)) | Err(_) => Err(stale),
    }
}

impl<C> Question<C> {
    /// Rules by what the store has answered; `None` if it has not.
    pub(super) fn rule(self, told: Option<Told>) -> Result<Word<C>, Rejection> {
        let Self { token, epochs, age, why, known, renewable } = self;
        let unconfirmed = Rejection::Unconfirmed { age };
        let Some(Told { answer: Answer { cut_off, clock, newest }, lives }) = told else {
            telemetry::confirmation(why.as_str(), "failed");
            return Err(unconfirmed);
        };
        let in_memory = token.in_memory(&epochs);
        let verdict = token.by_store(cut_off, clock, epochs.lifetimes().leeway());
        // Where the copy knows of more than the store, that was restored from a backup, or has
        // cleared something since. The sync will tell which; until then nobody knows. (A doubt is
        // no knowledge.)
        if newest < known || verdict.is_ok() && in_memory.is_revoked() {
            telemetry::confirmation(why.as_str(), "contradicted");
            return Err(unconfirmed);
        }
        let verdict = match (verdict, lives) {
            (Ok(_), Some(false)) => Err(Rejection::SessionEnded),
            (verdict, _) => verdict,
        };
        let outcome = match &verdict {
            Ok(_) => "confirmed",
            Err(refused) => refused.reason(),
        };
        telemetry::confirmation(why.as_str(), outcome);
        match (verdict, renewable) {
            (Err(Rejection::Expired), Some(renewable)) => Ok(Word::Revive(renewable)),
            (Err(refused), _) => Err(refused),
            (Ok(verified), _) => {
                verified.confirmed_up_to(newest, &epochs);
                Ok(match why {
                    Why::Stale | Why::Session => Word::Accept(verified),
                    Why::Doubt => Word::AcceptAndRestamp(verified),
                })
            }
        }
    }
}
