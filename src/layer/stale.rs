//! What becomes of a request while the copy of the revocations is stale.

use std::time::Duration;

use super::{
    Answer, Confirmations,
    questions::{OverCapacity, Waiting},
    renewal::Renewable,
};
use crate::{
    clock::Reading,
    cutoff::StoreTime,
    epochs::{Epochs, StoreClock},
    telemetry,
    verify::{Authentic, Rejection, Verified},
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
    Wait(Waiting, Question<C>),
    /// Its token has expired, and may be renewed.
    Revive(Box<Renewable>),
}

/// A token that the store is being asked about.
pub(super) struct Question<C> {
    token: Authentic<C>,
    epochs: Epochs,
    /// That of the copy.
    age: Duration,
    /// The newest cut-off that the copy knew before the question was sent.
    known: StoreTime,
    /// What there is to renew, if it has expired.
    renewable: Option<Box<Renewable>>,
}

/// What the store's word comes to.
pub(super) enum Word<C> {
    Accept(Verified<C>),
    /// The token has expired, and may be renewed.
    Revive(Box<Renewable>),
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
            Self::Confirm(confirmations) => ask(confirmations, token, age, epochs, renewable),
            Self::Trust { extra } => trust(*extra, token, age, epochs, now).map(Ruling::Accept),
        }
    }
}

fn ask<C>(
    confirmations: &Confirmations,
    token: Authentic<C>,
    age: Duration,
    epochs: &Epochs,
    renewable: Option<Box<Renewable>>,
) -> Result<Ruling<C>, Rejection> {
    let known = epochs.newest();
    match confirmations.questions.join(token.scopes()) {
        Ok(waiting) => {
            let epochs = epochs.clone();
            Ok(Ruling::Wait(waiting, Question { token, epochs, age, known, renewable }))
        }
        Err(OverCapacity) => {
            telemetry::confirmation("over_capacity");
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
    if age > epochs.max_staleness().saturating_add(extra) {
        return Err(stale);
    }
    let StoreClock { latest, .. } = epochs.store_clock(now).ok_or(Rejection::NotLoaded)?;
    // The latest that the store's clock may say: what is not known is taken for expired.
    let verified =
        token.by_memory(epochs, StoreClock { earliest: latest, latest }).map_err(|_| stale)?;
    telemetry::trusted_while_stale();
    Ok(verified)
}

impl<C> Question<C> {
    /// Rules by what the store has answered; `None` if it has not.
    pub(super) fn rule(self, answer: Option<Answer>) -> Result<Word<C>, Rejection> {
        let Self { token, epochs, age, known, renewable } = self;
        let unconfirmed = Rejection::Unconfirmed { age };
        let Some(Answer { cut_off, clock, newest }) = answer else {
            telemetry::confirmation("failed");
            return Err(unconfirmed);
        };
        let in_memory = token.revoked_in_memory(&epochs);
        let verdict = token.by_store(cut_off, clock, epochs.lifetimes().leeway());
        // Where the copy knows of more than the store, that was restored from a backup, or has
        // cleared something since. The sync will tell which; until then nobody knows.
        if newest < known || verdict.is_ok() && in_memory.is_some() {
            telemetry::confirmation("contradicted");
            return Err(unconfirmed);
        }
        telemetry::confirmation(match &verdict {
            Ok(_) => "confirmed",
            Err(refused) => refused.reason(),
        });
        match (verdict, renewable) {
            (Err(Rejection::Expired), Some(renewable)) => Ok(Word::Revive(renewable)),
            (verdict, _) => verdict.map(Word::Accept),
        }
    }
}
