//! The claims of a token, kept for as long as somebody holds its proof.

use std::borrow::Cow;

use super::{
    Problem,
    registered::Registered,
    texts::{Entries, Part, Texts},
};
use crate::scope::{ScopeKind, ScopeRef};

/// The claims, each of the right type, but for the stamp: what that comes to is told by the rules.
///
/// Small, and one allocation, since many of them are kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Claims {
    texts: Texts,
}

impl Claims {
    /// Copies them, with `prefix` in front of each identifier.
    pub(super) fn new(
        prefix: &str,
        registered: &Registered<'_>,
        groups: &[Cow<'_, str>],
    ) -> Result<Self, Problem> {
        Ok(Self { texts: Texts::new(prefix, registered, groups)? })
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

    /// What they take besides, in bytes.
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

    #[inline]
    pub(crate) fn expires_at(&self) -> u64 {
        self.texts.expires_at()
    }

    #[inline]
    pub(crate) fn issued_at(&self) -> u64 {
        self.texts.issued_at()
    }

    #[inline]
    pub(crate) fn not_before(&self) -> Option<u64> {
        self.texts.number(Part::NotBefore)
    }

    pub(crate) fn auth_time(&self) -> Option<u64> {
        self.texts.number(Part::AuthTime)
    }

    /// `oat`: when the session was logged in, kept over renewals.
    pub(crate) fn logged_in_at(&self) -> Option<u64> {
        self.texts.number(Part::LoggedInAt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_small() {
        assert_eq!(size_of::<Claims>(), 32);
    }
}
