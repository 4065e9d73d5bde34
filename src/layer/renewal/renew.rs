//! Who renews tokens, and what of.

use std::{fmt, future::Future, net::IpAddr, pin::Pin, time::Duration};

use crate::{
    cutoff::Stamp,
    epochs::{Epochs, Verdict},
    error::Error,
    scope::{Id, InvalidId, ScopeKind, ScopeRef},
    verify::Verified,
};

/// Who can mint the successor of an access token: an [`Issuer`](crate::Issuer), by
/// [`Issuer::renewing`](crate::Issuer::renewing).
///
/// A wrong answer costs: a token for a session that is over, or for one whose token was revoked,
/// *brings a revoked session back*. Nothing in memory is asked after this.
pub trait Renew: Send + Sync + 'static {
    /// The successor of `token`, whose own stamp and session are held against the store's exact
    /// cut-offs in the snapshot that the new stamp is of.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TokenRevoked`](crate::error::ErrorKind::TokenRevoked),
    /// [`ErrorKind::SessionEnded`](crate::error::ErrorKind::SessionEnded),
    /// [`ErrorKind::DeviceDiffers`](crate::error::ErrorKind::DeviceDiffers),
    /// [`ErrorKind::PartyDiffers`](crate::error::ErrorKind::PartyDiffers) and
    /// [`ErrorKind::AccountRefused`](crate::error::ErrorKind::AccountRefused) say that there is to be
    /// none. Everything else that it could not be had.
    fn renew(&self, token: &Renewable) -> impl Future<Output = Result<Renewed, Error>> + Send;
}

/// [`Renew`] without its type, so that the layer needs no parameter for it.
pub(super) trait DynRenew: Send + Sync {
    fn renew<'a>(&'a self, token: &'a Renewable) -> Renewing<'a>;
}

type Renewing<'a> = Pin<Box<dyn Future<Output = Result<Renewed, Error>> + Send + 'a>>;

impl<R: Renew> DynRenew for R {
    fn renew<'a>(&'a self, token: &'a Renewable) -> Renewing<'a> {
        Box::pin(Renew::renew(self, token))
    }
}

/// An access token that a request has presented and that may be renewed: its signature verifies, it
/// is one of this crate's issuers, and memory holds nothing against it. It may have expired.
///
/// Only the layer makes one.
#[derive(Clone, Debug)]
pub struct Renewable {
    user: Id,
    session: Id,
    token: Id,
    groups: Vec<Id>,
    issuer: String,
    client: Option<String>,
    audience: Vec<String>,
    stamp: Stamp,
    pub(super) presenter: Presenter,
    pub(super) same_ip: bool,
    pub(super) same_user_agent: bool,
    pub(super) revokes: bool,
}

impl Renewable {
    /// What `token` says, if an issuer of this crate can go on from there.
    pub(in crate::layer) fn new<C>(token: &Verified<C>) -> Option<Self> {
        if !token.is_renewable() {
            return None;
        }
        let read = || {
            let groups: Result<Vec<Id>, InvalidId> = token.groups().map(Id::new).collect();
            Ok::<_, InvalidId>(Self {
                user: Id::new(token.subject())?,
                session: Id::new(token.session().unwrap_or_default())?,
                token: Id::new(token.token_id().unwrap_or_default())?,
                groups: groups?,
                issuer: token.issuer().to_owned(),
                client: token.client_id().map(str::to_owned),
                audience: token.audience().map(str::to_owned).collect(),
                stamp: token.stamp(),
                presenter: Presenter::default(),
                same_ip: false,
                same_user_agent: false,
                revokes: false,
            })
        };
        // The verifier has checked them all, and requires session and id of such tokens.
        read().ok()
    }

    /// What the copy in memory says about it.
    pub(in crate::layer) fn in_memory(&self, epochs: &Epochs) -> Verdict {
        let Self { user, session, token, groups, .. } = self;
        let own =
            [(ScopeKind::User, user), (ScopeKind::Session, session), (ScopeKind::Token, token)];
        let scopes = own
            .into_iter()
            .chain(groups.iter().map(|group| (ScopeKind::Group, group)))
            .map(|(kind, id)| ScopeRef { kind, subject: id.as_str() });
        epochs.verdict_in(scopes, self.stamp)
    }

    /// The same, not to be revoked with that.
    pub(in crate::layer) fn kept(self) -> Self {
        Self { revokes: false, ..self }
    }

    /// Whose it is: `sub`.
    pub fn user(&self) -> &Id {
        &self.user
    }

    /// Its session: `sid`.
    pub fn session(&self) -> &Id {
        &self.session
    }

    /// Its own id: `jti`.
    pub fn token(&self) -> &Id {
        &self.token
    }

    /// The groups it carries.
    pub fn groups(&self) -> &[Id] {
        &self.groups
    }

    /// Whose word it is: `iss`. A verifier may know several issuers.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The client that it was issued to: `client_id`.
    pub fn client_id(&self) -> Option<&str> {
        self.client.as_deref()
    }

    /// Whom it is for: `aud`.
    pub fn audience(&self) -> impl Iterator<Item = &str> {
        self.audience.iter().map(String::as_str)
    }

    /// Which revocations it has seen: `rvs`.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Who presents it.
    pub fn presenter(&self) -> &Presenter {
        &self.presenter
    }

    /// Whether the address has to be that of the session's last login or refresh.
    pub fn wants_same_ip(&self) -> bool {
        self.same_ip
    }

    /// Whether the user agent has to be that of the session's last login or refresh.
    pub fn wants_same_user_agent(&self) -> bool {
        self.same_user_agent
    }

    /// Whether it is to be revoked with that.
    pub fn revokes(&self) -> bool {
        self.revokes
    }
}

/// Where a request comes from, as far as the layer was told how to know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Presenter {
    /// The client's address.
    pub ip: Option<IpAddr>,
    /// The header `User-Agent`, if it is text.
    pub user_agent: Option<String>,
}

/// The successor of an access token.
#[derive(Clone)]
pub struct Renewed {
    token: String,
    expires_in: Duration,
}

impl Renewed {
    /// A token in its compact form, and how long it lives from now on.
    pub fn new(token: impl Into<String>, expires_in: Duration) -> Self {
        Self { token: token.into(), expires_in }
    }

    /// The compact form.
    pub fn as_str(&self) -> &str {
        &self.token
    }

    /// How long it lives.
    pub fn expires_in(&self) -> Duration {
        self.expires_in
    }
}

impl fmt::Debug for Renewed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewed").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}
