//! The proof that a token was checked.

use std::{fmt, marker::PhantomData};

use serde::Deserialize;

use super::record::Record;
use crate::{
    cutoff::{Stamp, StoreTime},
    epochs::{Epochs, Verdict},
    scope::{Scope, ScopeRef},
    token::Claims,
};

/// The proof that a token was checked, and what it says.
///
/// Only a [`Verifier`](super::Verifier) makes one, so a function that takes it needs no check of
/// its own. It speaks of the moment of the check: a long-lived connection asks again.
///
/// Cheap to clone: requests with the same token share one, and the service's own claims with it. It
/// tells nobody the token, and Debug shows no claims; but where tokens are
/// [kept](super::VerifierBuilder::token_cache_bytes) it keeps its own in memory, for as long as it lives.
pub struct Verified<C = NoClaims> {
    record: Record,
    claims: PhantomData<fn() -> C>,
}

impl<C> Verified<C> {
    /// For the verifier alone. `None` if the record was made for other claims.
    pub(super) fn new(record: Record) -> Option<Self>
    where
        C: 'static,
    {
        record.own::<C>().is_some().then(|| Self { record, claims: PhantomData })
    }

    /// Whom the token speaks for: `sub`, without the issuer's prefix.
    pub fn subject(&self) -> &str {
        self.bare(self.record.claims().subject())
    }

    /// Who issued it: `iss`.
    pub fn issuer(&self) -> &str {
        self.record.issuer()
    }

    /// The session it belongs to: `sid`.
    pub fn session(&self) -> Option<&str> {
        self.record.claims().session().map(|id| self.bare(id))
    }

    /// Its own id: `jti`.
    pub fn token_id(&self) -> Option<&str> {
        self.record.claims().token_id().map(|id| self.bare(id))
    }

    /// The client it was issued to: `client_id`.
    pub fn client_id(&self) -> Option<&str> {
        self.record.claims().client_id()
    }

    /// The groups: see [`IssuerRules::groups_claim`](super::IssuerRules::groups_claim) and
    /// [`groups_from`](super::IssuerRules::groups_from).
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.record.claims().groups().map(|id| self.bare(id))
    }

    /// The permissions: the words of the claim `scope`
    /// ([RFC 8693, section 4.2](https://www.rfc-editor.org/rfc/rfc8693#section-4.2)).
    pub fn permissions(&self) -> impl Iterator<Item = &str> {
        let scope = self.record.claims().scope().unwrap_or_default();
        scope.split(' ').filter(|permission| !permission.is_empty())
    }

    /// Whom it is for: `aud`, of which one entry at least is ours.
    pub fn audience(&self) -> impl Iterator<Item = &str> {
        self.record.claims().audience()
    }

    /// Which revocations it has seen.
    pub fn stamp(&self) -> Stamp {
        self.record.stamp()
    }

    /// When it was issued: `iat`, in whole seconds since 1970.
    pub fn issued_at(&self) -> u64 {
        self.record.claims().issued_at()
    }

    /// When it expires: `exp`, in whole seconds since 1970.
    pub fn expires_at(&self) -> u64 {
        self.record.claims().expires_at()
    }

    /// When the user proved who it is: `auth_time`, in whole seconds since 1970.
    pub fn auth_time(&self) -> Option<u64> {
        self.record.claims().auth_time()
    }

    /// How the user proved who it is: `acr`, the authentication context class.
    pub fn acr(&self) -> Option<&str> {
        self.record.claims().acr()
    }

    /// When the session was logged in: `oat`, in whole seconds since 1970. Tokens of this crate
    /// keep it over renewals.
    pub fn logged_in_at(&self) -> Option<u64> {
        self.record.claims().logged_in_at()
    }

    /// The scopes whose cut-offs cover it, with the issuer's prefix, and without `Everyone`, which
    /// covers every token.
    ///
    /// Revoking one of them refuses the token from then on.
    pub fn scopes(&self) -> Vec<Scope> {
        let scope = |scope: ScopeRef<'_>| Scope::new(scope.kind, scope.subject);
        self.scope_refs()
            .map(|found| scope(found).expect("the verifier checks identifiers with their prefix"))
            .collect()
    }

    /// The same without allocation.
    pub(crate) fn scope_refs(&self) -> impl Iterator<Item = ScopeRef<'_>> + Clone {
        self.record.claims().scopes()
    }

    /// Whether an [`Issuer`](crate::Issuer) of this crate can mint the next one for its session.
    pub(crate) fn is_renewable(&self) -> bool {
        self.record.is_renewable()
    }

    /// The store has found that nothing up to its `newest` covers it: `epochs` may remember that.
    pub(crate) fn confirmed_up_to(&self, newest: StoreTime, epochs: &Epochs) {
        epochs.confirmed(self.scope_refs(), self.stamp(), newest);
    }

    /// What the copy in memory says about it. They are its verifier's epochs.
    #[inline]
    pub(super) fn in_memory(&self, epochs: &Epochs) -> Verdict {
        self.record.in_memory(epochs)
    }

    /// The claims that every token has, with the prefix.
    pub(super) fn registered(&self) -> Claims<'_> {
        self.record.claims()
    }

    /// What others may be given for the same token.
    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    /// The service's own claims.
    pub fn claims(&self) -> &C
    where
        C: 'static,
    {
        self.record.own().expect("it was made for these claims")
    }

    fn bare<'a>(&self, id: &'a str) -> &'a str {
        self.record.claims().bare(id)
    }
}

impl<C> Clone for Verified<C> {
    fn clone(&self) -> Self {
        Self { record: self.record.clone(), claims: PhantomData }
    }
}

impl<C> fmt::Debug for Verified<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified")
            .field("issuer", &self.issuer())
            .field("stamp", &self.stamp())
            .field("expires_at", &self.expires_at())
            .finish_non_exhaustive()
    }
}

/// No claims of the service's own: read from any object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct NoClaims {}
