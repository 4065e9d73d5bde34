//! A token that its issuer vouches for, not judged yet.

use std::time::Duration;

use super::{Rejection, Verified, judge};
use crate::{
    cutoff::{CutOff, Revoked},
    epochs::{Epochs, StoreClock, Verdict},
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

    /// One that was judged, to be judged again by somebody else.
    pub(crate) fn again(verified: Verified<C>) -> Self {
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

    /// Whether it is valid now.
    #[inline]
    pub(super) fn times(&self, clock: StoreClock, leeway: Duration) -> Result<(), Rejection> {
        judge::times(self.verified.registered(), clock, leeway)
    }

    /// What the copy in memory says about it.
    #[inline]
    pub(crate) fn in_memory(&self, epochs: &Epochs) -> Verdict {
        self.verified.in_memory(epochs)
    }

    /// Judges it by the copy in memory, whose freshness was read before. `clock` is the store's,
    /// as far as it is known.
    pub(crate) fn by_memory(
        self,
        epochs: &Epochs,
        clock: StoreClock,
    ) -> Result<Remembered<C>, Rejection> {
        self.times(clock, epochs.lifetimes().leeway())?;
        self.by_cut_offs(epochs)
    }

    /// The same, of one whose times are right.
    #[inline]
    pub(super) fn by_cut_offs(self, epochs: &Epochs) -> Result<Remembered<C>, Rejection> {
        match self.in_memory(epochs) {
            Verdict::Good => Ok(Remembered::Good(self.verified)),
            Verdict::Doubtful => Ok(Remembered::Doubtful(self)),
            Verdict::Revoked(revoked) => Err(Rejection::Revoked(revoked)),
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
        self.times(clock, leeway)?;
        match cut_off.demand(self.verified.stamp()) {
            Some(demand) => {
                let revoked_before = cut_off.revoked_before();
                Err(Rejection::Revoked(Revoked { demand, scope: None, revoked_before }))
            }
            None => Ok(self.verified),
        }
    }
}

/// What the copy in memory has to say about a token that it does not refuse.
pub(crate) enum Remembered<C> {
    /// It is good.
    Good(Verified<C>),
    /// Only the store knows.
    Doubtful(Authentic<C>),
}

impl<C> Remembered<C> {
    /// The token, whatever is said about it.
    pub(super) fn unjudged(&self) -> &Verified<C> {
        match self {
            Self::Good(verified) => verified,
            Self::Doubtful(token) => &token.verified,
        }
    }
}

/// What can be said about a token.
pub(crate) enum Checked<C> {
    /// It is good.
    Good(Verified<C>),
    /// It was once: `exp` has passed. Whether it was revoked is open.
    Expired(Authentic<C>),
    /// Only the store knows. The copy is of this age.
    Doubtful(Authentic<C>, Duration),
    /// Nothing: the copy, of this age, is too old to judge it.
    Open(Authentic<C>, Duration),
}
