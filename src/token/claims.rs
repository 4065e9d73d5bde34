//! The claims of a token, kept for as long as somebody holds its proof.

use std::borrow::Cow;

use super::{
    Problem,
    registered::Registered,
    texts::{Entries, Part, Texts},
};
use crate::scope::{ScopeKind, ScopeRef};

/// The claims, each of the right type.
///
/// Small, and one allocation, since many of them are kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Claims {
    texts: Texts,
    expires_at: u64,
    issued_at: u64,
    not_before: Optional,
    stamp: Optional,
    auth_time: Optional,
    logged_in_at: Optional,
}

impl Claims {
    /// Copies them, with `prefix` in front of each identifier.
    pub(super) fn new(
        prefix: &str,
        registered: &Registered<'_>,
        groups: &[Cow<'_, str>],
    ) -> Result<Self, Problem> {
        Ok(Self {
            texts: Texts::new(prefix, registered, groups)?,
            expires_at: registered.expires_at,
            issued_at: registered.issued_at,
            not_before: registered.not_before.into(),
            stamp: registered.stamp.into(),
            auth_time: registered.auth_time.into(),
            logged_in_at: registered.logged_in_at.into(),
        })
    }
}

/// Identifiers come with the issuer's prefix, as they name scopes. Times are whole seconds since
/// 1970.
impl Claims {
    pub(crate) fn subject(&self) -> &str {
        self.texts.text(Part::Subject).unwrap_or_default()
    }

    pub(crate) fn session(&self) -> Option<&str> {
        self.texts.text(Part::Session)
    }

    pub(crate) fn token_id(&self) -> Option<&str> {
        self.texts.text(Part::TokenId)
    }

    pub(crate) fn groups(&self) -> Entries<'_> {
        self.texts.list(Part::Groups)
    }

    /// What the texts take, in bytes.
    pub(crate) fn texts_bytes(&self) -> usize {
        self.texts.bytes()
    }

    /// An identifier without the prefix, as the issuer wrote it.
    pub(crate) fn bare<'a>(&self, id: &'a str) -> &'a str {
        self.texts.bare(id)
    }

    /// The scopes that the token is in, without `Everyone`.
    pub(crate) fn scopes(&self) -> impl Iterator<Item = ScopeRef<'_>> + Clone {
        std::iter::once((ScopeKind::User, self.subject()))
            .chain(self.session().map(|id| (ScopeKind::Session, id)))
            .chain(self.token_id().map(|id| (ScopeKind::Token, id)))
            .chain(self.groups().map(|id| (ScopeKind::Group, id)))
            .map(|(kind, subject)| ScopeRef { kind, subject })
    }

    pub(crate) fn audience(&self) -> Entries<'_> {
        self.texts.list(Part::Audience)
    }

    pub(crate) fn acr(&self) -> Option<&str> {
        self.texts.text(Part::Acr)
    }

    pub(crate) fn client_id(&self) -> Option<&str> {
        self.texts.text(Part::ClientId)
    }

    /// The permissions, separated by spaces.
    pub(crate) fn scope(&self) -> Option<&str> {
        self.texts.text(Part::Scope)
    }

    pub(crate) fn expires_at(&self) -> u64 {
        self.expires_at
    }

    pub(crate) fn issued_at(&self) -> u64 {
        self.issued_at
    }

    pub(crate) fn not_before(&self) -> Option<u64> {
        self.not_before.get()
    }

    /// `rvs`: the issue stamp, in whole microseconds of store time.
    pub(crate) fn stamp(&self) -> Option<u64> {
        self.stamp.get()
    }

    pub(crate) fn auth_time(&self) -> Option<u64> {
        self.auth_time.get()
    }

    /// `oat`: when the session was logged in, kept over renewals.
    pub(crate) fn logged_in_at(&self) -> Option<u64> {
        self.logged_in_at.get()
    }
}

/// A number that may be missing, in eight bytes: none of ours is as high as `u64::MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Optional(u64);

impl Optional {
    fn get(self) -> Option<u64> {
        (self.0 != u64::MAX).then_some(self.0)
    }
}

impl From<Option<u64>> for Optional {
    fn from(number: Option<u64>) -> Self {
        Self(number.unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_small() {
        assert_eq!(size_of::<Claims>(), 96);
    }
}
