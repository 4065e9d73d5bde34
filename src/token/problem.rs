//! Why bytes are no token, whoever asks.

use crate::scope::InvalidId;

/// What reading a token can stumble over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    TooLarge,
    Malformed(Malformed),
    ForbiddenHeader(&'static str),
    Algorithm,
    UnknownKey,
    Claim { name: &'static str, problem: ClaimProblem },
}

impl From<Malformed> for Problem {
    fn from(how: Malformed) -> Self {
        Self::Malformed(how)
    }
}

/// How a token is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// Not three segments separated by two dots.
    #[error("it does not have three segments")]
    Segments,
    /// A segment is empty.
    #[error("a segment is empty")]
    EmptySegment,
    /// A segment is not canonical, unpadded base64url.
    #[error("a segment is not base64url")]
    Base64,
    /// A segment is not UTF-8.
    #[error("a segment is not UTF-8")]
    Utf8,
    /// A segment is not one JSON object, or a member has a wrong type.
    #[error("a segment is not the JSON that is expected")]
    Json,
    /// The name of a header member is written with an escape: `\\u0061lg`.
    #[error("the name of a header member is escaped")]
    EscapedName,
    /// A member stands twice in one object.
    #[error("a member stands twice")]
    DuplicateMember,
}

/// What is wrong with a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimProblem {
    /// It is required and missing.
    #[error("is missing")]
    Missing,
    /// It has a wrong JSON type, or is a number that is no whole number in range.
    #[error("has a wrong type")]
    WrongType,
    /// It contradicts another claim, or stands where it must not.
    #[error("contradicts the rest of the token")]
    Contradiction,
    /// It is an array with too many entries.
    #[error("has too many entries")]
    TooMany,
    /// It is an array with an entry twice.
    #[error("has an entry twice")]
    Duplicate,
    /// The service's [function](super::IssuerRules::groups_from) finds no groups in it.
    #[error("could not be told")]
    NoGroups,
    /// It is no valid identifier.
    #[error("{0}")]
    Id(InvalidId),
}
