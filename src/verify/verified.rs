//! The proof that a token was checked.

use std::{fmt, sync::Arc};

use serde::Deserialize;

use crate::{cutoff::Stamp, scope::Scope};

/// The proof that a token was checked, with what it says.
pub struct Verified<C = NoClaims> {
    inner: Arc<Inner<C>>,
}
struct Inner<C> {
    claims: C,
}
impl<C> Clone for Verified<C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}
impl<C> fmt::Debug for Verified<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").finish_non_exhaustive()
    }
}
impl<C> Verified<C> {
    /// `sub`.
    pub fn subject(&self) -> &str {
        ""
    }
    /// `iss`.
    pub fn issuer(&self) -> &str {
        ""
    }
    /// `sid`.
    pub fn session(&self) -> Option<&str> {
        None
    }
    /// `jti`.
    pub fn token_id(&self) -> Option<&str> {
        None
    }
    /// `client_id`.
    pub fn client_id(&self) -> Option<&str> {
        None
    }
    /// Groups.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        [].into_iter()
    }
    /// Scope.
    pub fn permissions(&self) -> impl Iterator<Item = &str> {
        [].into_iter()
    }
    /// Audience.
    pub fn audience(&self) -> impl Iterator<Item = &str> {
        [].into_iter()
    }
    /// Stamp.
    pub fn stamp(&self) -> Stamp {
        Stamp::from_micros(1)
    }
    /// `iat`.
    pub fn issued_at(&self) -> u64 {
        0
    }
    /// `exp`.
    pub fn expires_at(&self) -> u64 {
        0
    }
    /// `auth_time`.
    pub fn auth_time(&self) -> Option<u64> {
        None
    }
    /// Scopes.
    pub fn scopes(&self) -> Vec<Scope> {
        Vec::new()
    }
    /// Claims.
    pub fn claims(&self) -> &C {
        &self.inner.claims
    }
}

/// For services that need no claims of their own: it is read from any object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct NoClaims {}
