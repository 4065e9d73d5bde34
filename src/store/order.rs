//! The decisions of the store, apart from any database.

use std::time::Duration;

use super::mint::{Mint, MintFor};
use crate::{
    clock::as_micros,
    cutoff::{CutOff, Demand, Stamp, StoreTime, revoked},
    error::{Error, ErrorKind},
    scope::Id,
};

/// The cut-off of the next revocation: above every one before, and at the database's clock as
/// long as that runs forward.
pub(super) fn next_cut_off(newest: StoreTime, db_clock: Duration) -> Result<StoreTime, Error> {
    let next = newest.next().ok_or(ErrorKind::StoreTimeExhausted)?;
    Ok(next.max(StoreTime::from_micros(as_micros(db_clock))))
}

/// A session's row, as far as minting needs it.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) user: Id,
    /// The groups of its last token.
    pub(super) groups: Vec<Id>,
    pub(super) began: Duration,
    pub(super) last_stamp: Stamp,
}

impl Session {
    /// The guard: whether no `login_before` of its scopes reaches its last stamp.
    ///
    /// `cut_offs` joins those of everyone, the user, the session, the groups of its last token
    /// and, at a refresh, the groups it has now.
    pub(super) fn stands(&self, cut_offs: CutOff) -> bool {
        !revoked(self.last_stamp, cut_offs.login_before)
    }
}

/// Whether the token may be minted. `session` is the row of a refresh, `guarded` joins the
/// cut-offs the guard is held against, `asked` those of the scopes the token will have.
pub(super) fn may_mint(
    mint: &Mint,
    session: Option<&Session>,
    guarded: CutOff,
    asked: CutOff,
    db_clock: Duration,
) -> Result<(), Error> {
    let stale = asked.demand(mint.ticket.stamp());
    match mint.session {
        // A password that was read before a revocation may be the old one.
        MintFor::Login => match stale {
            Some(demand) => Err(ErrorKind::RevokedMeanwhile(demand).into()),
            None => Ok(()),
        },
        MintFor::Refresh => {
            let session = session.ok_or(ErrorKind::SessionEnded)?;
            let over = session.user != mint.user
                || !session.stands(guarded)
                || db_clock >= session.began + mint.lifetimes.session();
            if over {
                return Err(ErrorKind::SessionEnded.into());
            }
            // The guard has spoken for the session: only the claims can be too old, whatever the
            // revocation demands of others.
            stale.map_or(Ok(()), |_| Err(ErrorKind::RevokedMeanwhile(Demand::Refresh).into()))
        }
    }
}
