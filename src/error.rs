//! What can go wrong: at set-up ([`ConfigError`]) and while running ([`Error`]).
//!
//! Why a *token* was refused is neither: see [`Rejection`](crate::Rejection).

use std::{error::Error as StdError, fmt, time::Duration};

use crate::{
    cutoff::{Demand, Receipt},
    scope::InvalidId,
};

/// A mistake in the set-up, found when something is built. It names the field at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A setting that is required is missing.
    #[error("{field} is missing")]
    Missing {
        /// The setting.
        field: &'static str,
    },
    /// A duration is out of its bounds.
    #[error("{field} is {value:?}, which {problem}")]
    Duration {
        /// The setting.
        field: &'static str,
        /// The value given.
        value: Duration,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A number is out of its bounds.
    #[error("{field} is {value}, which {problem}")]
    Number {
        /// The setting.
        field: &'static str,
        /// The value given.
        value: u64,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A text is no valid identifier.
    #[error("{field} {source}")]
    Id {
        /// The setting.
        field: &'static str,
        /// The rule it breaks.
        source: InvalidId,
    },
    /// A key is too weak, damaged, or not for this use.
    #[error("key {kid}: {problem}")]
    Key {
        /// The key's id, or `(no kid)`.
        kid: String,
        /// What is wrong with it.
        problem: KeyProblem,
    },
    /// Two keys of one set have the same `kid`.
    #[error("kid {kid:?} stands twice in the key set")]
    DuplicateKid {
        /// The `kid`.
        kid: String,
    },
    /// A set mixes shared secrets and public keys, which invites algorithm confusion.
    #[error("the key set mixes HMAC secrets and public keys")]
    MixedKeySet,
    /// No issuer of the verifier has this name.
    #[error("no issuer is called {issuer:?}")]
    UnknownIssuer {
        /// The name given.
        issuer: String,
    },
    /// Two issuers of one verifier have the same name.
    #[error("issuer {issuer:?} is configured twice")]
    DuplicateIssuer {
        /// The `iss` claim.
        issuer: String,
    },
    /// Two issuers name subjects in the same space, so that revoking a user of one would revoke
    /// the namesake of the other.
    #[error("issuers {first:?} and {second:?} share one space of subjects")]
    SharedSubjects {
        /// One issuer.
        first: String,
        /// The other.
        second: String,
    },
    /// An issuer was given other lifetimes than its epochs have: what it mints could outlive the
    /// cut-offs that cover it.
    #[error("lifetimes differ from those of the epochs")]
    LifetimesDiffer,
    /// Neither `aws-lc-rs` nor `rust-crypto` is compiled in.
    #[error("no crypto back end: enable the feature `aws-lc-rs` or `rust-crypto`")]
    NoCryptoBackend,
    /// The `realm` cannot stand in a quoted string of a header.
    #[error("realm {realm:?} cannot stand in a header")]
    Realm {
        /// The value given.
        realm: String,
    },
    /// A word cannot stand in a challenge: it is empty, or has other characters than printable ASCII
    /// without space, `"` and `\`.
    #[error("{field} {word:?} cannot stand in a challenge")]
    Word {
        /// The setting.
        field: &'static str,
        /// The value given.
        word: String,
    },
    /// Something cannot be a source of tokens, or cannot protect one.
    #[error("{name:?} {problem}")]
    TokenSource {
        /// The header or cookie.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A text is no origin as browsers write it.
    #[error("{origin:?} is no origin as browsers write it, `https://app.example` for instance")]
    Origin {
        /// The value given.
        origin: String,
    },
    /// Two settings exclude each other.
    #[error("{first} and {second} exclude each other")]
    Contradiction {
        /// One setting.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// Keys could not be read from or written to their directory.
    #[error("keys in {directory:?}")]
    KeyDirectory {
        /// The directory.
        directory: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// What is wrong with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyProblem {
    /// An HMAC secret under 32 bytes (RFC 7518 §3.2), or empty.
    #[error("an HMAC secret needs at least 32 bytes")]
    ShortSecret,
    /// An HMAC secret that is a public key or certificate in disguise.
    #[error("an HMAC secret must not be a public key: anyone could sign with it")]
    SecretIsPublicKey,
    /// An RSA modulus outside 2048 to 8192 bits.
    #[error("an RSA modulus needs 2048 to 8192 bits")]
    RsaModulus,
    /// An RSA public exponent that is even or under 3.
    #[error("an RSA public exponent must be odd and at least 3")]
    RsaExponent,
    /// The key's curve is not the algorithm's.
    #[error("the key's curve is not the algorithm's")]
    CurveMismatch,
    /// The key's type is not the algorithm's.
    #[error("the key's type is not the algorithm's")]
    TypeMismatch,
    /// `use` is not `sig`, or `key_ops` does not hold `verify`.
    #[error("the key is not for signatures")]
    NotForSignatures,
    /// A key that should be public holds the private half: whoever reads it can sign.
    #[error("the key holds its private half")]
    PrivateHalf,
    /// A JWK without `alg`, or with one that is not supported.
    #[error("the key names no supported algorithm")]
    Algorithm,
    /// The bytes are no key of that form.
    #[error("the key cannot be parsed")]
    Malformed,
    /// This algorithm's keys cannot be made here.
    #[error("keys of this algorithm cannot be generated")]
    CannotGenerate,
}

/// A failure while running. What went wrong is its [`kind`](Error::kind), why is its
/// [`source`](StdError::source).
pub struct Error {
    kind: ErrorKind,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The kinds of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The store did not answer, or refused. Nothing is known to be done.
    Store,
    /// The store did not answer in time. Nothing is known to be done.
    StoreTimeout,
    /// The store's schema is older or newer than this crate, or damaged.
    Schema,
    /// The store holds something this crate never writes.
    Corrupt,
    /// No store is compiled in for such a database.
    UnsupportedDatabase,
    /// The SQLite library is older than 3.51.3, which fixes a corruption of write-ahead logs.
    SqliteVersion,
    /// Store time has reached its end: nothing can be revoked any more.
    StoreTimeExhausted,
    /// A revocation arrived between reading the credentials and minting the token.
    ///
    /// With [`Demand::Login`] the credentials themselves may be older than the revocation: refuse
    /// the login. With [`Demand::Refresh`] the claims may be: read them again with a new ticket.
    RevokedMeanwhile(Demand),
    /// The transaction that a revocation was requested in has not committed. Asked more than a
    /// session's longest life later, the request may as well have been purged.
    NotCommitted,
    /// A revocation requested by plain SQL names no valid scope, and was refused.
    RefusedRequest,
    /// The session has ended, was revoked, or never was.
    SessionEnded,
    /// The access token that was to be renewed is revoked, though its session lives. The demand is
    /// what its holder has to do.
    TokenRevoked(Demand),
    /// A renewal was asked for from another address or user agent than the session's last login or
    /// refresh, or one of them is unknown.
    DeviceDiffers,
    /// An access token was to be renewed that another issuer has issued, or this one to another client
    /// or for another audience.
    PartyDiffers,
    /// The user has as many sessions as they may, and the login is refused for that.
    TooManySessions,
    /// A refresh token is forged, damaged, of another version, key, issuer or client, was made
    /// void by "all others but me", or was never handed out by the store as it is now. It harms
    /// nobody.
    RefreshTokenInvalid,
    /// A refresh token came back that was spent longer ago than the grace time, and its successor
    /// was used: somebody has a copy. Its session and the access tokens of that are revoked; the
    /// receipt says with what cut-off.
    RefreshTokenReused(Receipt),
    /// The service refuses the account, which is suspended or gone for instance.
    AccountRefused,
    /// The service could not read what a token is to say.
    AccountUnavailable,
    /// An identifier is not fit for a token.
    Id(InvalidId),
    /// A claim cannot be part of a token of this issuer.
    Claims,
    /// The key ring could not be read, so that nothing is known of a refresh token.
    Keys,
    /// No signing key is active.
    NoSigningKey,
    /// Signing failed.
    Signing,
    /// No instance acknowledges revocations, so nobody can say where one is enforced.
    NoInstances,
    /// A background task has ended.
    TaskEnded,
}

impl Error {
    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The account may not have a token: for what reads the claims at a refresh.
    pub fn account_refused(why: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(ErrorKind::AccountRefused, why)
    }

    /// The account could not be read: for what reads the claims at a refresh.
    pub fn account_unavailable(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(ErrorKind::AccountUnavailable, cause)
    }

    pub(crate) fn new(kind: ErrorKind, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { kind, source: Some(source.into()) }
    }
}

impl ErrorKind {
    /// Whether the store has decided, in a transaction that went well, rather than failed.
    #[cfg(feature = "_sql")]
    pub(crate) fn is_decision(self) -> bool {
        matches!(
            self,
            Self::RevokedMeanwhile(_)
                | Self::SessionEnded
                | Self::TokenRevoked(_)
                | Self::DeviceDiffers
                | Self::TooManySessions
                | Self::RefreshTokenInvalid
                | Self::RefreshTokenReused(_)
                | Self::NotCommitted
                | Self::RefusedRequest
        )
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self { kind, source: None }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error").field("kind", &self.kind).field("source", &self.source).finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ErrorKind::Store => f.write_str("the revocation store failed"),
            ErrorKind::StoreTimeout => f.write_str("the revocation store did not answer in time"),
            ErrorKind::Schema => f.write_str("the revocation store's schema does not fit"),
            ErrorKind::Corrupt => f.write_str("the revocation store holds an impossible value"),
            ErrorKind::UnsupportedDatabase => f.write_str("there is no store for this database"),
            ErrorKind::SqliteVersion => f.write_str("SQLite 3.51.3 or later is needed"),
            ErrorKind::StoreTimeExhausted => f.write_str("store time is exhausted"),
            ErrorKind::RevokedMeanwhile(demand) => {
                write!(f, "revoked while the token was being issued (demand: {demand})")
            }
            ErrorKind::NotCommitted => {
                f.write_str("the transaction of the revocation has not committed")
            }
            ErrorKind::RefusedRequest => f.write_str("the requested revocation was refused"),
            ErrorKind::SessionEnded => f.write_str("the session has ended"),
            ErrorKind::TokenRevoked(demand) => {
                write!(f, "the access token is revoked (demand: {demand})")
            }
            ErrorKind::TooManySessions => f.write_str("the user has too many sessions"),
            ErrorKind::DeviceDiffers => f.write_str("the device is not the session's"),
            ErrorKind::PartyDiffers => f.write_str("the access token is another party's"),
            ErrorKind::RefreshTokenInvalid => f.write_str("the refresh token is not valid"),
            ErrorKind::RefreshTokenReused(_) => {
                f.write_str("the refresh token was used before; its session has been ended")
            }
            ErrorKind::AccountRefused => f.write_str("the account was refused"),
            ErrorKind::AccountUnavailable => f.write_str("the account could not be read"),
            ErrorKind::Id(problem) => write!(f, "the identifier {problem}"),
            ErrorKind::Claims => f.write_str("the claims cannot be part of a token"),
            ErrorKind::Keys => f.write_str("the key ring could not be read"),
            ErrorKind::NoSigningKey => f.write_str("no signing key is active"),
            ErrorKind::Signing => f.write_str("the token could not be signed"),
            ErrorKind::NoInstances => f.write_str("no instance acknowledges revocations"),
            ErrorKind::TaskEnded => f.write_str("the background task has ended"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<InvalidId> for Error {
    fn from(problem: InvalidId) -> Self {
        ErrorKind::Id(problem).into()
    }
}
