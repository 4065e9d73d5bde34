//! Refreshing: tokens for a session that goes on.

use std::{fmt, future::Future};

use super::{
    Grant, Issuer, TokenPair,
    issuer::Said,
    refresh_token::{self, Family},
};
use crate::{
    cutoff::{Demand, Receipt},
    error::{Error, ErrorKind},
    scope::Id,
    store::{Device, EpochStore, Mint, MintFor, Minted, Ticket},
};

/// How often a refresh starts over whose claims went stale under way.
const ATTEMPTS: usize = 5;

/// Somebody has presented a refresh token that was spent longer ago than the grace time and whose
/// successor was used: either they or the rightful client hold a copy. The session and its access tokens are revoked already.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Reuse {
    /// Whose session it was.
    pub user: Id,
    /// Which.
    pub session: Id,
    /// Where the spent token came from, as far as [`Grant::device`] told.
    pub presented_by: Device,
    /// The revocation of the session.
    pub receipt: Receipt,
}

/// Who is told of a [`Reuse`].
pub(super) struct ReuseHook(pub(super) Box<dyn Fn(&Reuse) + Send + Sync>);

impl fmt::Debug for ReuseHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReuseHook")
    }
}

impl<S: EpochStore> Issuer<S> {
    /// The next pair of tokens for whoever presents `refresh_token`.
    ///
    /// `claims` reads what the access token is to say, by the user's id, from where it is kept; so
    /// a role that changed arrives with the next token. It refuses an account with
    /// [`Error::account_refused`], and is called again if a revocation came in between.
    ///
    /// A lost answer can be asked for again: a token that was spent gets the *same* successor, as
    /// long as that is unused or the grace time has not passed. Later than that it is a theft.
    ///
    /// To the store this is one statement, if the issuer knows the [epochs] (two otherwise).
    ///
    /// [epochs]: super::IssuerBuilder::epochs
    ///
    /// # Errors
    ///
    /// [`ErrorKind::RefreshTokenInvalid`], [`ErrorKind::RefreshTokenReused`],
    /// [`ErrorKind::SessionEnded`] and [`ErrorKind::AccountRefused`] are final: the client has to
    /// log in. [`ErrorKind::RevokedMeanwhile`] if revocations do not stop coming in between.
    /// Otherwise the failure of `claims`, of the store or of the signature, after which the client
    /// may try again.
    ///
    /// # Cancel safety
    ///
    /// What the store has begun, it completes. The client presents its token again.
    pub async fn refresh<C, F>(&self, refresh_token: &str, claims: C) -> Result<TokenPair, Error>
    where
        C: Fn(Id) -> F,
        F: Future<Output = Result<Grant, Error>>,
    {
        let shared = &self.shared;
        // One that is not used may be presented as long as its session lives. The ring's clock
        // need not be the store's.
        let life = shared.lifetimes.session() + shared.lifetimes.leeway() * 2;
        let open = || {
            let verifier = |kid: &str| shared.keys.refresh_verifier(kid, life);
            refresh_token::open(refresh_token, &shared.party(), verifier)
        };
        let family = match open() {
            // Another instance may have made its secret meanwhile.
            Err(error) if refresh_token::names_unknown_key(&error) => {
                shared.keys.learn().await?;
                open()?
            }
            opened => opened?,
        };
        let session = MintFor::Refresh { counter: family.counter, grace: shared.refresh_grace };
        let ticket = self.early_ticket().await?;
        let Family { session: sid, user, .. } = family;
        let (mint, minted, said) = self.go_on(ticket, session, sid, user, claims).await?;
        shared.sign(mint, minted, said)
    }

    /// A pair of tokens for the session `sid` of `user`, whose current refresh token is handed
    /// out (again): after "all others but me" has made the one before void.
    ///
    /// Call it for a caller who has proved to be in that session. `claims` is as at a
    /// [`refresh`](Issuer::refresh).
    ///
    /// # Errors
    ///
    /// See [`refresh`](Issuer::refresh).
    pub async fn reissue<C, F>(&self, user: Id, sid: Id, claims: C) -> Result<TokenPair, Error>
    where
        C: Fn(Id) -> F,
        F: Future<Output = Result<Grant, Error>>,
    {
        let ticket = self.ticket().await?;
        let (mint, minted, said) = self.go_on(ticket, MintFor::Reissue, sid, user, claims).await?;
        self.shared.sign(mint, minted, said)
    }

    /// A ticket from memory, if this process has one: an old one costs a retry, no more.
    pub(super) async fn early_ticket(&self) -> Result<Ticket, Error> {
        match &self.shared.epochs {
            Some(epochs) => Ok(Ticket::new(epochs.newest())),
            None => self.ticket().await,
        }
    }

    /// What the store allows for a session that goes on, with the claims as they are now.
    pub(super) async fn go_on<C, F>(
        &self,
        mut ticket: Ticket,
        session: MintFor,
        sid: Id,
        user: Id,
        claims: C,
    ) -> Result<(Mint, Minted, Said), Error>
    where
        C: Fn(Id) -> F,
        F: Future<Output = Result<Grant, Error>>,
    {
        for _ in 0..ATTEMPTS {
            let grant = claims(user.clone()).await?;
            if grant.user != user {
                return Err(Error::new(ErrorKind::Claims, "they are another user's"));
            }
            let minted = self.minted(ticket, session.clone(), sid.clone(), grant).await;
            match minted.as_ref().map_err(Error::kind) {
                Err(ErrorKind::RevokedMeanwhile(_)) => ticket = self.ticket().await?,
                _ => return minted,
            }
        }
        Err(ErrorKind::RevokedMeanwhile(Demand::Refresh).into())
    }
}
