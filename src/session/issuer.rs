//! The issuer of our own access tokens.

use std::{fmt, sync::Arc, time::Duration};

use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    AccessToken, Grant, IssuerBuilder, KeyRing, TokenPair,
    refresh::{Reuse, ReuseHook},
    refresh_token::{self, Family, Party},
};
use crate::{
    clock::whole_seconds,
    cutoff::Stamp,
    epochs::Epochs,
    error::{ConfigError, Error, ErrorKind},
    lifetimes::Lifetimes,
    scope::Id,
    store::{EpochStore, Mint, MintFor, Minted, SessionLimit, Ticket},
    telemetry,
    token::{IssuerRules, MAX_GROUPS, MAX_TOKEN_BYTES, Payload, encode},
};

/// The header `typ` of access tokens (RFC 9068, section 2.1).
const TYP: &str = "at+jwt";

/// Mints access and refresh tokens in store time. A handle, cheap to clone.
///
/// A login needs a [`Ticket`], taken *before* the password was read; a refresh takes its own:
///
/// ```
/// # use tower_revocation::{scope::Id, session::{Grant, Issuer, KeyRing}, store::MemoryStore};
/// # use tower_revocation::token::{Algorithm, SigningKey};
/// # async fn password_is_right() -> bool { true }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = KeyRing::new(SigningKey::generate(Algorithm::ES256)?);
/// let issuer = Issuer::builder(MemoryStore::new(), keys)
///     .issuer("https://login.example")
///     .audience("shop")
///     .client_id("web")
///     .build()?;
///
/// let ticket = issuer.ticket().await?;
/// if password_is_right().await {
///     let tokens = issuer.login(ticket, Grant::new(Id::new("alice")?)).await?;
///     println!("Bearer {}", tokens.access().as_str());
///
///     // Later, and with the claims as they are then:
///     let claims = async |user| Ok(Grant::new(user));
///     let next = issuer.refresh(tokens.refresh().as_str(), claims).await?;
///     assert_eq!(next.access().session(), tokens.access().session());
/// }
/// # Ok(())
/// # }
/// ```
pub struct Issuer<S> {
    pub(super) shared: Arc<Shared<S>>,
}

pub(super) struct Shared<S> {
    pub(super) store: S,
    pub(super) keys: KeyRing,
    pub(super) epochs: Option<Epochs>,
    pub(super) lifetimes: Lifetimes,
    pub(super) issuer: String,
    pub(super) audience: String,
    pub(super) client_id: String,
    /// In whole seconds.
    pub(super) access_lifetime: Duration,
    /// In whole seconds; shorter than the lifetime.
    pub(super) access_jitter: Duration,
    pub(super) refresh_grace: Duration,
    pub(super) on_reuse: Option<ReuseHook>,
    pub(super) session_limit: Option<SessionLimit>,
}

impl<S: EpochStore> Issuer<S> {
    /// An issuer that keeps its sessions in `store` and signs with `keys`.
    pub fn builder(store: S, keys: KeyRing) -> IssuerBuilder<S> {
        IssuerBuilder::new(store, keys)
    }

    /// Notes the newest revocation. Take it before the credentials or claims are read.
    ///
    /// # Errors
    ///
    /// The store's failure.
    pub async fn ticket(&self) -> Result<Ticket, Error> {
        self.shared.store.ticket().await
    }

    /// Begins a session and mints its first tokens.
    ///
    /// `ticket` was taken before the password was read.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::RevokedMeanwhile`](crate::error::ErrorKind::RevokedMeanwhile) if a revocation
    /// of the user or one of the groups came after the ticket: with
    /// [`Demand::Login`](crate::Demand::Login) refuse the login, with
    /// [`Demand::Refresh`](crate::Demand::Refresh) read the claims again and start over with a
    /// new ticket. [`ErrorKind::Claims`] if the token would be one that verifiers refuse, with over
    /// 256 groups or over 8 KiB. [`ErrorKind::TooManySessions`] if the user has as many as they
    /// [may](IssuerBuilder::max_sessions). Otherwise the failure of the store or of the signature.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave a session that nobody holds a token of.
    pub async fn login(&self, ticket: Ticket, grant: Grant) -> Result<TokenPair, Error> {
        let session = self.shared.session_limit.map_or(MintFor::Login, MintFor::LoginWithin);
        let (mint, minted, said) = self.minted(ticket, session, Id::random(), grant).await?;
        self.shared.sign(mint, minted, said)
    }

    /// An access token without a session and without a refresh token: it lives until it expires or is
    /// revoked. Its `sid` names no session, and can be revoked like one; it has no `oat`, by which the
    /// layer knows that there is nothing to [renew](crate::layer::Renewal).
    ///
    /// `ticket` was taken before the password was read. To the store this is one statement, which
    /// writes nothing.
    ///
    /// # Errors
    ///
    /// See [`login`](Issuer::login).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn issue(&self, ticket: Ticket, grant: Grant) -> Result<AccessToken, Error> {
        let (mint, minted, said) = self.minted(ticket, MintFor::Token, Id::random(), grant).await?;
        self.shared.sign_access(&mint, &minted, &said)
    }

    /// What a [`Verifier`](crate::Verifier) needs to accept these tokens, with the keys as of now.
    ///
    /// # Errors
    ///
    /// A key set that makes no sense.
    pub fn rules(&self) -> Result<IssuerRules, ConfigError> {
        let shared = &self.shared;
        Ok(IssuerRules::new(&shared.issuer, shared.keys.key_set(shared.lifetimes)?)
            .audience(&shared.audience)
            .store_time())
    }

    /// The claim `iss` of its tokens.
    pub fn name(&self) -> &str {
        &self.shared.issuer
    }

    /// The claim `client_id` of its tokens: the application that they are issued to.
    pub fn client_id(&self) -> &str {
        &self.shared.client_id
    }

    /// The keys.
    pub fn keys(&self) -> &KeyRing {
        &self.shared.keys
    }

    /// The store.
    pub fn store(&self) -> &S {
        &self.shared.store
    }

    /// What the store has allowed to be signed.
    pub(super) async fn minted(
        &self,
        ticket: Ticket,
        session: MintFor,
        sid: Id,
        grant: Grant,
    ) -> Result<(Mint, Minted, Said), Error> {
        let Grant { user, groups, permissions, acr, claims: own, device } = grant;
        let lifetimes = self.shared.lifetimes;
        let mint = Mint { ticket, session, sid, user, groups, device, lifetimes };
        let said = Said { permissions, acr, own };
        self.shared.check(&mint, &said)?;
        let shared = self.shared.clone();
        // A task of its own: whoever is to hear of a theft does, though the client goes away.
        let task = tokio::spawn(async move {
            let minted = shared.store.mint(&mint).await;
            if let Err(ErrorKind::RefreshTokenReused(receipt)) =
                minted.as_ref().map_err(Error::kind)
            {
                shared.reused(Reuse {
                    user: mint.user.clone(),
                    session: mint.sid.clone(),
                    presented_by: mint.device.clone(),
                    receipt,
                });
            }
            minted.map(|minted| (mint, minted))
        });
        let (mint, minted) =
            task.await.map_err(|ended| Error::new(ErrorKind::TaskEnded, ended))??;
        Ok((mint, minted, said))
    }
}

impl<S> Shared<S> {
    pub(super) fn party(&self) -> Party<'_> {
        Party { issuer: &self.issuer, client_id: &self.client_id }
    }

    fn reused(&self, reuse: Reuse) {
        telemetry::refresh_token_reused(&reuse.session);
        if let Some(ReuseHook(hook)) = &self.on_reuse {
            hook(&reuse);
        }
    }

    /// How long an access token lives that is issued at `issued_at`: no longer than its session.
    fn access_life(&self, issued_at: u64, minted: &Minted) -> Result<Duration, Error> {
        let jitter = rand::random_range(0..=self.access_jitter.as_secs());
        // To the second: the store has let the session live, so there is something left of it.
        let end = whole_seconds(minted.session_began + self.lifetimes.session());
        let life = (self.access_lifetime.as_secs() - jitter).min(end.saturating_sub(issued_at));
        if life == 0 {
            return Err(ErrorKind::SessionEnded.into());
        }
        Ok(Duration::from_secs(life))
    }

    /// Refuses what verifiers refuse, before anything is written for it.
    fn check(&self, mint: &Mint, said: &Said) -> Result<(), Error> {
        if mint.groups.len() > MAX_GROUPS {
            let problem = format!("there are more than {MAX_GROUPS} groups");
            return Err(Error::new(ErrorKind::Claims, problem));
        }
        // As long as it gets. Nobody is kept waiting for a signature but those who are suspicious.
        let far = Duration::from_secs(99_999_999_999);
        let longest = Minted {
            stamp: Stamp::from_micros(u64::MAX),
            issued_at: far,
            session_began: far,
            counter: 0,
            counted_at: far,
        };
        let claims = self.claims(mint, &longest, said, far.as_secs(), &mint.sid);
        let payload =
            serde_json::to_string(&claims).map_err(|cause| Error::new(ErrorKind::Claims, cause))?;
        Payload::parse(&payload).map_err(|cause| Error::new(ErrorKind::Claims, cause))?;
        if payload.len() < MAX_TOKEN_BYTES / 2 {
            return Ok(());
        }
        let length = encode(&self.keys.signing_key(), TYP, &claims)?.len();
        if length > MAX_TOKEN_BYTES {
            let problem = format!("the token would be over {MAX_TOKEN_BYTES} bytes long");
            return Err(Error::new(ErrorKind::Claims, problem));
        }
        Ok(())
    }

    pub(super) fn sign_access(
        &self,
        mint: &Mint,
        minted: &Minted,
        said: &Said,
    ) -> Result<AccessToken, Error> {
        let id = Id::random();
        let expires_in = self.access_life(minted.issued_at.as_secs(), minted)?;
        let expires_at = minted.issued_at.as_secs() + expires_in.as_secs();
        let claims = self.claims(mint, minted, said, expires_at, &id);
        let token = encode(&self.keys.signing_key(), TYP, &claims)?;
        let session = mint.sid.clone();
        Ok(AccessToken { token, id, session, stamp: minted.stamp, expires_in })
    }

    pub(super) fn sign(&self, mint: Mint, minted: Minted, said: Said) -> Result<TokenPair, Error> {
        let access = self.sign_access(&mint, &minted, &said)?;
        // The secret of the moment when this counter was first handed out: asked for again, the
        // successor is the same.
        let secret = self.keys.refresh_secret(minted.counted_at)?;
        let family = Family { session: mint.sid, user: mint.user, counter: minted.counter };
        let refresh = refresh_token::seal(&secret, &self.party(), &family)?;
        Ok(TokenPair { access, refresh, permissions: said.permissions })
    }

    fn claims<'a>(
        &'a self,
        mint: &'a Mint,
        minted: &Minted,
        said: &'a Said,
        expires_at: u64,
        id: &'a Id,
    ) -> Claims<'a> {
        let began = minted.session_began.as_secs();
        Claims {
            iss: &self.issuer,
            exp: expires_at,
            aud: &self.audience,
            sub: mint.user.as_str(),
            client_id: &self.client_id,
            iat: minted.issued_at.as_secs(),
            jti: id.as_str(),
            sid: mint.sid.as_str(),
            rvs: minted.stamp.as_micros(),
            auth_time: began,
            acr: said.acr.as_deref(),
            oat: (mint.session != MintFor::Token).then_some(began),
            groups: mint.groups.iter().map(Id::as_str).collect(),
            scope: said.permissions.as_deref(),
            own: &said.own,
        }
    }
}

/// What a grant says that is no affair of the store.
pub(super) struct Said {
    permissions: Option<String>,
    acr: Option<String>,
    own: Map<String, Value>,
}

/// The claims of RFC 9068, section 2.2, and ours.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    exp: u64,
    aud: &'a str,
    sub: &'a str,
    client_id: &'a str,
    iat: u64,
    jti: &'a str,
    sid: &'a str,
    rvs: u64,
    auth_time: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oat: Option<u64>,
    groups: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
    #[serde(flatten)]
    own: &'a Map<String, Value>,
}

impl<S> Clone for Issuer<S> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<S> fmt::Debug for Issuer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer")
            .field("issuer", &self.shared.issuer)
            .field("audience", &self.shared.audience)
            .finish_non_exhaustive()
    }
}
