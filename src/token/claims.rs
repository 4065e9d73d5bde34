//! The claims of a token, kept for as long as somebody holds its proof.

use std::borrow::Cow;

use super::{
    Problem,
    registered::Registered,
    texts::{Entries, Layout, Part, Texts},
};
use crate::scope::{ScopeKind, ScopeRef};

/// The claims, each of the right type, but for the stamp: what that comes to is told by the rules.
///
/// Identifiers come with the issuer's prefix, as they name scopes. Times are whole seconds since 1970.
#[derive(Clone, Copy)]
pub(crate) struct Claims<'a> {
    texts: Texts<'a>,
}

/// What holds them while a token is read. Whoever keeps them puts its two parts where they take least.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ClaimsBuf {
    pub(crate) layout: Layout,
    pub(crate) texts: Vec<u8>,
}

impl ClaimsBuf {
    /// Copies them, with `prefix` in front of each identifier.
    pub(super) fn new(
        prefix: &str,
        registered: &Registered<'_>,
        groups: &[Cow<'_, str>],
    ) -> Result<Self, Problem> {
        let (layout, texts) = Layout::of(prefix, registered, groups)?;
        Ok(Self { layout, texts })
    }

    pub(crate) fn claims(&self) -> Claims<'_> {
        Claims::new(&self.layout, &self.texts)
    }
}

impl<'a> Claims<'a> {
    /// Those of a [`ClaimsBuf`], whatever comes after its texts.
    #[inline]
    pub(crate) fn new(layout: &'a Layout, texts: &'a [u8]) -> Self {
        Self { texts: Texts::new(layout, texts) }
    }

    pub(crate) fn subject(self) -> &'a str {
        self.first(ScopeKind::User).unwrap_or_default()
    }

    pub(crate) fn session(self) -> Option<&'a str> {
        self.first(ScopeKind::Session)
    }

    pub(crate) fn has_session(self) -> bool {
        self.texts.has_session()
    }

    pub(crate) fn token_id(self) -> Option<&'a str> {
        self.first(ScopeKind::Token)
    }

    pub(crate) fn has_token_id(self) -> bool {
        self.texts.has_token_id()
    }

    pub(crate) fn groups(self) -> impl Iterator<Item = &'a str> {
        self.scopes().filter(|scope| scope.kind == ScopeKind::Group).map(|scope| scope.subject)
    }

    /// An identifier without the prefix, as the issuer wrote it.
    pub(crate) fn bare(self, id: &str) -> &str {
        self.texts.bare(id)
    }

    /// The scopes that the token is in, without `Everyone`.
    pub(crate) fn scopes(self) -> Scopes<'a> {
        Scopes {
            next: ScopeKind::User,
            has_session: self.has_session(),
            has_token_id: self.has_token_id(),
            subjects: self.texts.list(Part::Identifiers),
        }
    }

    fn first(self, kind: ScopeKind) -> Option<&'a str> {
        self.scopes().find(|scope| scope.kind == kind).map(|scope| scope.subject)
    }

    pub(crate) fn audience(self) -> Entries<'a> {
        self.texts.list(Part::Audience)
    }

    pub(crate) fn acr(self) -> Option<&'a str> {
        self.texts.text(Part::Acr)
    }

    pub(crate) fn client_id(self) -> Option<&'a str> {
        self.texts.text(Part::ClientId)
    }

    /// The permissions, separated by spaces.
    pub(crate) fn scope(self) -> Option<&'a str> {
        self.texts.text(Part::Scope)
    }

    #[inline]
    pub(crate) fn expires_at(self) -> u64 {
        self.texts.expires_at()
    }

    #[inline]
    pub(crate) fn issued_at(self) -> u64 {
        self.texts.issued_at()
    }

    #[inline]
    pub(crate) fn not_before(self) -> Option<u64> {
        self.texts.number(Part::NotBefore)
    }

    pub(crate) fn auth_time(self) -> Option<u64> {
        self.texts.number(Part::AuthTime)
    }

    /// `oat`: when the session was logged in, kept over renewals.
    pub(crate) fn logged_in_at(self) -> Option<u64> {
        self.texts.number(Part::LoggedInAt)
    }
}

/// The scopes of a token: each identifier with its kind.
#[derive(Clone)]
pub(crate) struct Scopes<'a> {
    /// The kind of the next one.
    next: ScopeKind,
    has_session: bool,
    has_token_id: bool,
    subjects: Entries<'a>,
}

impl<'a> Iterator for Scopes<'a> {
    type Item = ScopeRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<ScopeRef<'a>> {
        let (kind, subject) = (self.next, self.subjects.next()?);
        self.next = match kind {
            ScopeKind::User if self.has_session => ScopeKind::Session,
            ScopeKind::User | ScopeKind::Session if self.has_token_id => ScopeKind::Token,
            _ => ScopeKind::Group,
        };
        Some(ScopeRef { kind, subject })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_identifier_is_of_its_kind_whichever_are_there() {
        for (session, token_id) in
            [(None, None), (Some("s"), None), (None, Some("t")), (Some("s"), Some("t"))]
        {
            let registered = Registered {
                subject: "alice".into(),
                session: session.map(Cow::from),
                token_id: token_id.map(Cow::from),
                ..Registered::default()
            };
            let held =
                ClaimsBuf::new("p:", &registered, &["staff".into(), "admins".into()]).unwrap();
            let claims = held.claims();
            let bare = |id| claims.bare(id);
            assert_eq!(bare(claims.subject()), "alice");
            assert_eq!(claims.session().map(bare), session);
            assert_eq!(claims.token_id().map(bare), token_id);
            assert!(claims.groups().map(bare).eq(["staff", "admins"]));
            let all = [Some("alice"), session, token_id, Some("staff"), Some("admins")];
            assert!(claims.scopes().map(|scope| bare(scope.subject)).eq(all.into_iter().flatten()));
        }
    }
}
