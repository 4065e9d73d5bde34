//! What is asked of the store when a token is minted.

use std::{num::NonZeroU32, time::Duration};

use super::{Device, Revocation};
use crate::{
    cutoff::{Demand, Stamp, StoreTime},
    error::ErrorKind,
    lifetimes::Lifetimes,
    scope::{Id, Scope},
};

/// `newest` as of before the credentials or claims were read.
///
/// A login takes it from the store before it reads the password. A refresh may take it from
/// memory before it reads the claims: an old one costs a retry, no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a ticket taken and not used guards nothing"]
pub struct Ticket(StoreTime);

impl Ticket {
    /// For implementations of a store, and for refreshes from [`Epochs`](crate::Epochs).
    pub fn new(newest: StoreTime) -> Self {
        Self(newest)
    }

    /// The stamp of whatever was read with this ticket: it has seen all revocations up to it.
    pub fn stamp(self) -> Stamp {
        Stamp::after(self.0)
    }
}

/// Tokens to be minted.
#[derive(Clone, Debug)]
pub struct Mint {
    /// Taken before anything was read.
    pub ticket: Ticket,
    /// Whether a session begins or goes on.
    pub session: MintFor,
    /// The session's id.
    pub sid: Id,
    /// The user.
    pub user: Id,
    /// The groups the access token will carry.
    pub groups: Vec<Id>,
    /// The device, as far as it is known; at a refresh, what has changed; at a renewal, what is
    /// seen now, which is kept where nothing was known.
    pub device: Device,
    /// The longest lives, for the end of a session.
    pub lifetimes: Lifetimes,
}

impl Mint {
    /// The scopes whose cut-offs speak about what was read with the ticket.
    pub(crate) fn scopes(&self) -> Vec<Scope> {
        let mut scopes =
            vec![Scope::Everyone, Scope::User(self.user.clone()), Scope::Session(self.sid.clone())];
        scopes.extend(self.groups.iter().cloned().map(Scope::Group));
        scopes
    }

    /// What it revokes.
    pub(super) fn revocation(&self) -> Option<Revocation> {
        match &self.session {
            MintFor::Renew(Presented { token, revoke: true, .. }) => {
                Some(Revocation::new(Scope::Token(token.clone()), Demand::Refresh))
            }
            _ => None,
        }
    }
}

/// Whether a session begins or goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MintFor {
    /// A new session is written. Its first refresh token has the counter 0.
    Login,
    /// A new session is written, if its user may have one more. It is decided under the lock of the
    /// clock row, so that of two logins at once, wherever, the second one sees the first.
    LoginWithin(SessionLimit),
    /// The session must be there and alive, and the refresh token with `counter` is presented.
    ///
    /// The current one is spent. One that was spent already gets the *same* successor again, as
    /// long as that is unused or `grace` has not passed since it was first spent; after that
    /// somebody has a copy, and the session and its access tokens are revoked.
    Refresh {
        /// The counter of the refresh token.
        counter: u64,
        /// How long a spent token is no sign of a theft.
        grace: Duration,
    },
    /// The session must be there and alive. Its current refresh token is handed out again.
    Reissue,
    /// An access token is renewed: its session must be there and alive, and no cut-off may reach
    /// the token itself. The refresh tokens of the session stay as they are.
    Renew(Presented),
    /// An access token that belongs to no session. Nothing is written; `sid` is an id that can be
    /// revoked.
    Token,
}

impl MintFor {
    /// Whether a session is written that is new.
    pub(super) fn is_login(&self) -> bool {
        matches!(self, Self::Login | Self::LoginWithin(_))
    }
}

/// How many sessions a user may have at once. Those count that are alive by the guard and by the
/// lifetimes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimit {
    /// The most of them.
    pub sessions: NonZeroU32,
    /// What becomes of a login that would be one more.
    pub over: OverLimit,
}

/// What becomes of a login when its user has as many sessions as they may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OverLimit {
    /// The session that logged in first ends, as many of them as it takes: it is revoked with
    /// [`Demand::Login`](crate::Demand::Login), and its access tokens with it. When each was used
    /// last does not matter: nobody could tell which one a login is going to end.
    EndOldest,
    /// It is refused with
    /// [`ErrorKind::TooManySessions`](crate::error::ErrorKind::TooManySessions). A device that was
    /// lost keeps its place until its session ends: let the user end it.
    RefuseLogin,
}

impl SessionLimit {
    /// How many others a new session leaves room for.
    pub(super) fn others(self) -> u32 {
        self.sessions.get() - 1
    }

    /// What a login has to revoke first, if its user has sessions over the others that there is
    /// room for: those are in `excess`.
    pub(super) fn make_room(self, excess: Vec<Id>) -> Result<Vec<Revocation>, ErrorKind> {
        match self.over {
            OverLimit::RefuseLogin if !excess.is_empty() => Err(ErrorKind::TooManySessions),
            _ => {
                let end = |sid| Revocation::new(Scope::Session(sid), Demand::Login);
                Ok(excess.into_iter().map(end).collect())
            }
        }
    }
}

/// The access token that is to be renewed, as its holder presented it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    /// Its own issue stamp. That of the session says nothing about this token: a renewal makes no
    /// token good again that a cut-off covers.
    pub stamp: Stamp,
    /// Its id, the claim `jti`.
    pub token: Id,
    /// The groups that *it* carries; those of the next one are [`Mint::groups`].
    pub groups: Vec<Id>,
    /// What has to be as it was.
    pub same: SameDevice,
    /// Whether it is revoked, in the same transaction and with [`Demand::Refresh`]: the stamp of
    /// the next one is above that.
    ///
    /// [`Demand::Refresh`]: crate::Demand::Refresh
    pub revoke: bool,
}

/// What has to be as it was at the session's last login or refresh. What is unknown, then or now, is
/// not the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SameDevice {
    /// The address that the request came from.
    pub ip: bool,
    /// The header `User-Agent`.
    pub user_agent: bool,
}

impl SameDevice {
    /// Whether what is `seen` now is what is `known`.
    pub(super) fn holds(self, known: &Device, seen: &Device) -> bool {
        fn same<T: PartialEq>(known: Option<&T>, seen: Option<&T>) -> bool {
            known.is_some() && known == seen
        }
        (!self.ip || same(known.ip.as_ref(), seen.ip.as_ref()))
            && (!self.user_agent || same(known.user_agent.as_ref(), seen.user_agent.as_ref()))
    }
}

/// Tokens may be signed with this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Minted {
    /// The issue stamp, for the claim `rvs`.
    pub stamp: Stamp,
    /// The store's clock, since 1970, for the claims `iat` and `exp`.
    pub issued_at: Duration,
    /// When the session began, since 1970; now if there is none.
    pub session_began: Duration,
    /// The counter of the refresh token; for a renewal, of the current one.
    pub counter: u64,
    /// When the refresh token with that counter was first handed out, by the store's clock since
    /// 1970; without one that was presented, now.
    pub counted_at: Duration,
}
