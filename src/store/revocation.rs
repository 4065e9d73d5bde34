//! What is asked of the store about revocations, and what it tells.

use crate::{
    cutoff::{CutOff, Demand, Receipt, StoreTime},
    error::Error,
    scope::{Id, Scope},
    store::EpochStore,
};

/// A revocation to be stored: every token of a scope that was issued until now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    pub(crate) scope: Scope,
    pub(crate) demand: Demand,
    pub(crate) spared: Option<Id>,
    /// Whether it is refused if the spared session has ended.
    pub(crate) conditional: bool,
}

impl Revocation {
    /// Revokes every token of `scope` issued until now.
    ///
    /// With [`Demand::Refresh`] sessions live on and fetch new tokens; with [`Demand::Login`]
    /// they end.
    pub fn new(scope: Scope, demand: Demand) -> Self {
        Self { scope, demand, spared: None, conditional: false }
    }

    /// Spares the session `sid`, if it is alive when the revocation is sealed: "all others but
    /// me". The session lives on, and its tokens do not: the access tokens are revoked like all
    /// others, the refresh tokens are void. Call [`reissue`](crate::Issuer::reissue) afterwards, or
    /// its client is logged out too.
    ///
    /// For a revocation that has to be in force whatever became of that session, after a change of
    /// the password for instance.
    #[must_use]
    pub fn sparing(mut self, sid: Id) -> Self {
        self.spared = Some(sid);
        self
    }

    /// The same for a revocation that the session itself has asked for. If another revocation has
    /// ended it before this call, nothing is revoked, and that is
    /// [`SessionEnded`](crate::error::ErrorKind::SessionEnded): of two devices that log out all
    /// others at once, the first one stays, where [`sparing`](Revocation::sparing) would end both.
    ///
    /// Inside the caller's transaction it is the same as `sparing`.
    #[must_use]
    pub fn asked_by(mut self, sid: Id) -> Self {
        self.conditional = true;
        self.sparing(sid)
    }

    /// The session that is spared.
    pub fn spared(&self) -> Option<&Id> {
        self.spared.as_ref()
    }

    /// Whether it is refused if the spared session was ended: for implementations of a store.
    pub fn is_asked_by_the_spared(&self) -> bool {
        self.conditional
    }

    /// What it covers.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// What clients have to do.
    pub fn demand(&self) -> Demand {
        self.demand
    }
}

/// A scope with its cut-offs, as the store tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The scope.
    pub scope: Scope,
    /// Its cut-offs.
    pub cut_off: CutOff,
    /// Cut-offs up to here were cleared; [`StoreTime::ZERO`] if none ever were.
    pub cleared_at: StoreTime,
}

/// Who cleared a cut-off and why, for the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    pub(crate) by: Id,
    pub(crate) reason: String,
}

impl Audit {
    /// Somebody's name and their reason.
    pub fn new(by: Id, reason: impl Into<String>) -> Self {
        Self { by, reason: reason.into() }
    }
}

/// Names a request, so that its sealing can be asked after.
///
/// 128 random bits: a counter would be handed out again after a rollback.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(pub(crate) Id);

/// A revocation written in the caller's transaction, in force once that commits and it is sealed.
///
/// Await [`sealed`](Requested::sealed) after the commit. If that is forgotten, or the process
/// dies, the next mint, ticket or poll of any instance seals it.
#[derive(Debug)]
#[must_use = "await `sealed()` after the commit"]
pub struct Requested<S> {
    store: S,
    id: RequestId,
}

impl<S: EpochStore> Requested<S> {
    pub(crate) fn new(store: S, id: RequestId) -> Self {
        Self { store, id }
    }

    /// Its name, for a store that asks another one.
    pub(crate) fn into_id(self) -> RequestId {
        self.id
    }

    /// Seals the revocation after the caller's transaction has committed. Not before: it would
    /// wait for the lock that the caller holds, and fail.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotCommitted`](crate::error::ErrorKind::NotCommitted) if the transaction did
    /// not commit; otherwise the store's failure, after which somebody else will seal it.
    ///
    /// # Cancel safety
    ///
    /// Once polled, it completes even if the future is dropped.
    pub async fn sealed(self) -> Result<Receipt, Error> {
        self.store.seal(&self.id).await
    }
}
