//! A token that its issuer vouches for, not judged yet.

use std::time::Duration;

use super::{Rejection, Verified, judge};
use crate::{
    cutoff::{CutOff, Revoked},
    epochs::{Epochs, StoreClock},
    scope::Scope,
};

/// A token that is what it says: the signature verifies, and the claims are those of a token for
/// us. Whether it is good *now*, by its times and by the cut-offs, is open.
///
/// Only a [`Verifier`](super::Verifier) makes one, and only a judgement gets the proof out of it.
pub(crate) struct Authentic<C> {
    /// What it will be, if it is good.
    verified: Verified<C>,
}

impl<C> Authentic<C> {
    pub(super) fn new(verified: Verified<C>) -> Self {
        Self { verified }
    }

    /// The scopes whose cut-offs cover it, without `Everyone`.
    pub(crate) fn scopes(&self) -> Vec<Scope> {
        self.verified.scopes()
    }

    /// Its claims, believed as far as the signature goes, for whoever asks the store about its
    /// session. No proof: it must not leave the crate.
    pub(crate) fn unjudged(&self) -> &Verified<C> {
        &self.verified
    }

    /// Whether its time is over, by any clock that the store may have.
    pub(super) fn is_expired(&self, clock: StoreClock, leeway: Duration) -> bool {
        judge::is_expired(self.verified.registered(), clock, leeway)
    }

    /// Whether the copy in memory holds a cut-off against it.
    pub(crate) fn revoked_in_memory(&self, epochs: &Epochs) -> Option<Revoked> {
        epochs.revoked_in(self.verified.scope_refs(), self.verified.stamp())
    }

    /// Judges it by the copy in memory, whose freshness was read before. `clock` is the store's,
    /// as far as it is known.
    pub(crate) fn by_memory(
        self,
        epochs: &Epochs,
        clock: StoreClock,
    ) -> Result<Verified<C>, Rejection> {
        judge::times(self.verified.registered(), clock, epochs.lifetimes().leeway())?;
        match self.revoked_in_memory(epochs) {
            Some(revoked) => Err(Rejection::Revoked(revoked)),
            None => Ok(self.verified),
        }
    }

    /// Judges it by what the store holds against it at its time `clock`: `cut_off` joins the
    /// cut-offs of [its scopes](Authentic::scopes), everyone's and the floor.
    pub(crate) fn by_store(
        self,
        cut_off: CutOff,
        clock: Duration,
        leeway: Duration,
    ) -> Result<Verified<C>, Rejection> {
        let clock = StoreClock { earliest: clock, latest: clock };
        judge::times(self.verified.registered(), clock, leeway)?;
        match cut_off.demand(self.verified.stamp()) {
            Some(demand) => {
                let revoked_before = cut_off.revoked_before();
                Err(Rejection::Revoked(Revoked { demand, scope: None, revoked_before }))
            }
            None => Ok(self.verified),
        }
    }
}

/// What can be said about a token.
pub(crate) enum Checked<C> {
    /// It is good.
    Good(Verified<C>),
    /// It was once: `exp` has passed. Whether it was revoked is open.
    Expired(Authentic<C>),
    /// Nothing: the copy, of this age, is too old to judge it.
    Open(Authentic<C>, Duration),
}
