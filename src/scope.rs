//! What a cut-off covers: everyone, a group, a user, a session, or one token.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use unicode_normalization::UnicodeNormalization;

/// The longest identifier, in bytes of UTF-8.
///
/// It fits the index of every supported database, and holds an OpenID Connect `sub` (255 bytes)
/// twice.
pub const MAX_ID_BYTES: usize = 512;

/// An identifier fit to name a user, group, session or token.
///
/// Holding one proves that the text was checked: 1 to [`MAX_ID_BYTES`] bytes, no control
/// characters, and in Unicode Normalization Form C. Without the last, `é` written as one
/// character and as two would be different subjects to a database and the same to the person who
/// revokes, and the revocation would miss.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(Box<str>);

/// Why a text is no [`Id`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidId {
    /// The text is empty.
    #[error("is empty")]
    Empty,
    /// The text is longer than [`MAX_ID_BYTES`].
    #[error("is longer than {MAX_ID_BYTES} bytes")]
    TooLong,
    /// The text holds a control character, NUL for instance.
    #[error("holds a control character")]
    ControlCharacter,
    /// The text is not in Unicode Normalization Form C.
    #[error("is not in Unicode Normalization Form C")]
    NotNormalized,
    /// The bytes are no UTF-8.
    #[error("is not UTF-8")]
    NotUtf8,
    /// There is a subject where everyone is meant.
    #[error("must be empty for everyone")]
    NotEmpty,
}

impl Id {
    /// Checks `text`.
    ///
    /// # Errors
    ///
    /// [`InvalidId`] names the rule it breaks.
    pub fn new(text: &str) -> Result<Self, InvalidId> {
        Self::validate(text).map(|()| Self(text.into()))
    }

    /// 128 random bits in base64url: a session id, a token id.
    pub fn random() -> Self {
        Self(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>()).into())
    }

    /// The checks of [`Id::new`] without making one.
    pub(crate) fn validate(text: &str) -> Result<(), InvalidId> {
        if text.is_empty() {
            return Err(InvalidId::Empty);
        }
        if text.len() > MAX_ID_BYTES {
            return Err(InvalidId::TooLong);
        }
        // Nearly all are, and a load checks a million of them. To the end, whatever comes: that way
        // the compiler takes many bytes at a time.
        if text.bytes().fold(true, |printable, byte| printable & matches!(byte, b' '..=b'~')) {
            return Ok(());
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidId::ControlCharacter);
        }
        if !text.is_ascii() && !text.nfc().eq(text.chars()) {
            return Err(InvalidId::NotNormalized);
        }
        Ok(())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Id {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<&str> for Id {
    type Error = InvalidId;

    fn try_from(text: &str) -> Result<Self, InvalidId> {
        Self::new(text)
    }
}

/// What a cut-off covers.
///
/// A token belongs to several scopes at once; the highest cut-off of them decides.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Scope {
    /// Every token of every issuer.
    Everyone,
    /// Tokens that carry this group: a tenant, role, client, or whatever the service chose.
    Group(Id),
    /// Tokens of this user (`sub`).
    User(Id),
    /// Tokens of this session (`sid`).
    Session(Id),
    /// The one token with this `jti`.
    Token(Id),
}

impl Scope {
    /// Tokens that carry the group `name`.
    ///
    /// # Errors
    ///
    /// See [`Id::new`]; so for the other constructors.
    pub fn group(name: &str) -> Result<Self, InvalidId> {
        Id::new(name).map(Self::Group)
    }

    /// Tokens of the user `sub`.
    pub fn user(sub: &str) -> Result<Self, InvalidId> {
        Id::new(sub).map(Self::User)
    }

    /// Tokens of the session `sid`.
    pub fn session(sid: &str) -> Result<Self, InvalidId> {
        Id::new(sid).map(Self::Session)
    }

    /// The one token `jti`.
    pub fn token(jti: &str) -> Result<Self, InvalidId> {
        Id::new(jti).map(Self::Token)
    }

    /// A scope from its kind and subject, as a store or an administrator writes them.
    ///
    /// `Everyone` has the empty subject, the others none that is empty.
    ///
    /// # Errors
    ///
    /// See [`Id::new`]; a subject given with `Everyone` is [`InvalidId::NotEmpty`].
    pub fn new(kind: ScopeKind, subject: &str) -> Result<Self, InvalidId> {
        match kind {
            ScopeKind::Everyone if subject.is_empty() => Ok(Self::Everyone),
            ScopeKind::Everyone => Err(InvalidId::NotEmpty),
            ScopeKind::Group => Self::group(subject),
            ScopeKind::User => Self::user(subject),
            ScopeKind::Session => Self::session(subject),
            ScopeKind::Token => Self::token(subject),
        }
    }

    /// [`Scope::new`] after bringing `subject` into Normalization Form C.
    #[cfg(feature = "_sql")]
    pub(crate) fn normalized(kind: ScopeKind, subject: &str) -> Result<Self, InvalidId> {
        Self::new(kind, &subject.nfc().collect::<String>())
    }

    /// Which of the five kinds it is.
    pub fn kind(&self) -> ScopeKind {
        match self {
            Self::Everyone => ScopeKind::Everyone,
            Self::Group(_) => ScopeKind::Group,
            Self::User(_) => ScopeKind::User,
            Self::Session(_) => ScopeKind::Session,
            Self::Token(_) => ScopeKind::Token,
        }
    }

    /// The identifier it names; empty for `Everyone`.
    pub fn subject(&self) -> &str {
        match self {
            Self::Everyone => "",
            Self::Group(id) | Self::User(id) | Self::Session(id) | Self::Token(id) => id.as_str(),
        }
    }

    /// The scope without its allocation, as tables are asked for it.
    pub(crate) fn as_ref(&self) -> ScopeRef<'_> {
        ScopeRef { kind: self.kind(), subject: self.subject() }
    }
}

/// The five kinds of scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ScopeKind {
    /// See [`Scope::Everyone`].
    Everyone,
    /// See [`Scope::Group`].
    Group,
    /// See [`Scope::User`].
    User,
    /// See [`Scope::Session`].
    Session,
    /// See [`Scope::Token`].
    Token,
}

impl ScopeKind {
    /// Its name in the database and in JSON: `everyone`, `group`, `user`, `session`, `token`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Everyone => "everyone",
            Self::Group => "group",
            Self::User => "user",
            Self::Session => "session",
            Self::Token => "token",
        }
    }
}

impl fmt::Display for ScopeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is none of the known ones.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} {name:?}")]
pub struct UnknownName {
    pub(crate) what: &'static str,
    pub(crate) name: String,
}

impl FromStr for ScopeKind {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        [Self::Everyone, Self::Group, Self::User, Self::Session, Self::Token]
            .into_iter()
            .find(|kind| kind.as_str() == name)
            .ok_or_else(|| UnknownName { what: "scope", name: name.to_owned() })
    }
}

/// A scope borrowed from a token: no allocation on the request path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ScopeRef<'a> {
    pub(crate) kind: ScopeKind,
    pub(crate) subject: &'a str,
}

impl ScopeRef<'_> {
    /// The scope that every token is in.
    pub(crate) const EVERYONE: ScopeRef<'static> =
        ScopeRef { kind: ScopeKind::Everyone, subject: "" };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_refused_by_the_rule_it_breaks() {
        for (text, reason) in [
            ("", InvalidId::Empty),
            (&"x".repeat(MAX_ID_BYTES + 1), InvalidId::TooLong),
            ("a\0b", InvalidId::ControlCharacter),
            ("e\u{301}", InvalidId::NotNormalized),
        ] {
            assert_eq!(Id::new(text), Err(reason), "{text:?}");
        }
        for text in ["alice", "jos\u{e9}", &"x".repeat(MAX_ID_BYTES)] {
            assert_eq!(Id::new(text).as_ref().map(Id::as_str), Ok(text));
        }
    }

    #[test]
    fn kinds_survive_their_names() {
        for kind in ["everyone", "group", "user", "session", "token"] {
            assert_eq!(kind.parse::<ScopeKind>().map(ScopeKind::as_str).ok(), Some(kind));
        }
        assert!("planet".parse::<ScopeKind>().is_err());
    }
}
