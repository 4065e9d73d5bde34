//! The issuer of our own access tokens.

use std::{fmt, sync::Arc, time::Duration};

use serde::Serialize;
use serde_json::{Map, Value};

use super::{AccessToken, Grant, KeyRing};
use crate::{
    error::{ConfigError, Error},
    lifetimes::Lifetimes,
    scope::Id,
    store::{EpochStore, Mint, MintFor, Ticket},
    token::{IssuerRules, encode},
};

/// The header `typ` of access tokens (RFC 9068, section 2.1).
const TYP: &str = "at+jwt";

/// Mints access tokens in store time. A handle, cheap to clone.
///
/// Every mint needs a [`Ticket`], taken *before* what the token is to say was read:
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
///     let token = issuer.login(ticket, Grant::new(Id::new("alice")?)).await?;
///     println!("Bearer {}", token.as_str());
/// }
/// # Ok(())
/// # }
/// ```
pub struct Issuer<S> {
    shared: Arc<Shared<S>>,
}

struct Shared<S> {
    store: S,
    keys: KeyRing,
    lifetimes: Lifetimes,
    issuer: String,
    audience: String,
    client_id: String,
    access_lifetime: Duration,
}

impl<S: EpochStore> Issuer<S> {
    /// An issuer that keeps its sessions in `store` and signs with `keys`.
    pub fn builder(store: S, keys: KeyRing) -> IssuerBuilder<S> {
        IssuerBuilder {
            store,
            keys,
            lifetimes: Lifetimes::default(),
            issuer: String::new(),
            audience: String::new(),
            client_id: String::new(),
            access_lifetime: None,
        }
    }

    /// Notes the newest revocation. Take it before the credentials or claims are read.
    ///
    /// # Errors
    ///
    /// The store's failure.
    pub async fn ticket(&self) -> Result<Ticket, Error> {
        self.shared.store.ticket().await
    }

    /// Begins a session and mints its first token.
    ///
    /// `ticket` was taken before the password was read.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::RevokedMeanwhile`](crate::error::ErrorKind::RevokedMeanwhile) if a revocation
    /// of the user or one of the groups came after the ticket: with
    /// [`Demand::Login`](crate::Demand::Login) refuse the login, with
    /// [`Demand::Refresh`](crate::Demand::Refresh) read the claims again and start over with a
    /// new ticket. Otherwise the failure of the store or of the signature.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave a session that nobody holds a token of.
    pub async fn login(&self, ticket: Ticket, grant: Grant) -> Result<AccessToken, Error> {
        self.mint(ticket, MintFor::Login, Id::random(), grant).await
    }

    /// Mints another token of the session `sid`.
    ///
    /// `ticket` was taken before the claims were read.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::SessionEnded`](crate::error::ErrorKind::SessionEnded) if a revocation that
    /// demands a login covers the session, or its life is over;
    /// [`ErrorKind::RevokedMeanwhile`](crate::error::ErrorKind::RevokedMeanwhile) if the claims
    /// may be older than a revocation: read them again and start over with a new ticket.
    pub async fn refresh(
        &self,
        ticket: Ticket,
        sid: Id,
        grant: Grant,
    ) -> Result<AccessToken, Error> {
        self.mint(ticket, MintFor::Refresh, sid, grant).await
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

    /// The keys.
    pub fn keys(&self) -> &KeyRing {
        &self.shared.keys
    }

    /// The store.
    pub fn store(&self) -> &S {
        &self.shared.store
    }

    async fn mint(
        &self,
        ticket: Ticket,
        session: MintFor,
        sid: Id,
        grant: Grant,
    ) -> Result<AccessToken, Error> {
        let shared = &*self.shared;
        // Before the session is written: without a key there is nothing to write it for.
        let key = shared.keys.signing_key();
        let mint = Mint {
            ticket,
            session,
            sid,
            user: grant.user,
            groups: grant.groups,
            lifetimes: shared.lifetimes,
        };
        let minted = shared.store.mint(&mint).await?;
        let id = Id::random();
        let issued_at = minted.issued_at.as_secs();
        let began = minted.session_began.as_secs();
        let claims = Claims {
            iss: &shared.issuer,
            exp: issued_at + shared.access_lifetime.as_secs(),
            aud: &shared.audience,
            sub: mint.user.as_str(),
            client_id: &shared.client_id,
            iat: issued_at,
            jti: id.as_str(),
            sid: mint.sid.as_str(),
            rvs: minted.stamp.as_micros(),
            auth_time: began,
            oat: began,
            groups: mint.groups.iter().map(Id::as_str).collect(),
            scope: grant.permissions.as_deref(),
            own: &grant.claims,
        };
        let token = encode(&key, TYP, &claims)?;
        Ok(AccessToken {
            token,
            id,
            session: mint.sid,
            stamp: minted.stamp,
            expires_in: shared.access_lifetime,
        })
    }
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
    oat: u64,
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

/// The settings of an [`Issuer`].
#[derive(Debug)]
pub struct IssuerBuilder<S> {
    store: S,
    keys: KeyRing,
    lifetimes: Lifetimes,
    issuer: String,
    audience: String,
    client_id: String,
    access_lifetime: Option<Duration>,
}

impl<S: EpochStore> IssuerBuilder<S> {
    /// The claim `iss`, a URL. Required.
    #[must_use]
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = issuer.into();
        self
    }

    /// The claim `aud`: the service that the tokens are for. Required.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = audience.into();
        self
    }

    /// The claim `client_id`: the application that logs users in. Required.
    #[must_use]
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = client_id.into();
        self
    }

    /// The lifetimes of the fleet; those of the [`Epochs`](crate::Epochs) that check the tokens.
    #[must_use]
    pub fn lifetimes(mut self, lifetimes: Lifetimes) -> Self {
        self.lifetimes = lifetimes;
        self
    }

    /// How long a token lives, rounded up to whole seconds. By default and at most
    /// [`Lifetimes::access`].
    #[must_use]
    pub fn access_lifetime(mut self, lifetime: Duration) -> Self {
        self.access_lifetime = Some(lifetime);
        self
    }

    /// Builds the issuer.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Missing`] names a required setting, [`ConfigError::Duration`] a lifetime
    /// that is zero or over the maximum.
    pub fn build(self) -> Result<Issuer<S>, ConfigError> {
        for (field, value) in
            [("issuer", &self.issuer), ("audience", &self.audience), ("client_id", &self.client_id)]
        {
            if value.is_empty() {
                return Err(ConfigError::Missing { field });
            }
        }
        let maximum = self.lifetimes.access();
        let asked = self.access_lifetime.unwrap_or(Duration::from_secs(maximum.as_secs()));
        let refuse = |problem| {
            Err(ConfigError::Duration { field: "access_lifetime", value: asked, problem })
        };
        if asked.is_zero() {
            return refuse("is zero");
        }
        let whole = asked.as_secs() + u64::from(asked.subsec_nanos() > 0);
        let access_lifetime = Duration::from_secs(whole);
        if access_lifetime > maximum {
            return refuse("is over the longest access token's life, in whole seconds");
        }
        Ok(Issuer {
            shared: Arc::new(Shared {
                store: self.store,
                keys: self.keys,
                lifetimes: self.lifetimes,
                issuer: self.issuer,
                audience: self.audience,
                client_id: self.client_id,
                access_lifetime,
            }),
        })
    }
}
