//! Why a request was refused.

use std::time::Duration;

use crate::{
    cutoff::{Demand, Revoked},
    token::{ClaimProblem, Malformed, Problem},
};

/// Why a request was refused. When in doubt a request is refused, with a reason of its own.
///
/// Reasons are data: [`reason`](Rejection::reason) is a stable name for logs and metrics, and
/// nothing in here holds the token or a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The request carries no token.
    #[error("no access token was presented")]
    Missing,
    /// The `Authorization` header is not `Bearer`, one space and a token.
    #[error("the Authorization header is not a bearer token")]
    MalformedHeader,
    /// The [cookie or header](crate::layer::TokenSource) that is to hold the token holds something
    /// else, or nothing.
    #[error("what is to hold the access token holds something else")]
    MalformedCredentials,
    /// The request carries more than one token, or more than one `Authorization` header.
    #[error("more than one access token was presented")]
    MultipleTokens,
    /// The token came in a cookie, and nothing proves that a page of our own sent the request: see
    /// [`Csrf`](crate::layer::Csrf).
    #[error("nothing proves that the request was not made by another site")]
    CrossSite,
    /// The token is over the size limit.
    #[error("the token is too large")]
    TooLarge,
    /// The token is not three base64url segments that hold what they should.
    #[error("the token is malformed: {0}")]
    Malformed(Malformed),
    /// The header asks for something that is never trusted: `crit`, `jwk`, `jku`, `zip`, ….
    #[error("the token's header has the member {0:?}, which is refused")]
    ForbiddenHeader(&'static str),
    /// The header's `alg` is unsupported, or not the one of the key.
    #[error("the token's algorithm is not the key's")]
    Algorithm,
    /// The header's `typ` is not one of an access token.
    #[error("the token's type is not that of an access token")]
    Type,
    /// No key has this `kid`, or the token has none and every key does.
    #[error("the token's key is unknown")]
    UnknownKey,
    /// The signature does not verify.
    #[error("the token's signature does not verify")]
    Signature,
    /// No configured issuer has this name.
    #[error("the token's issuer is unknown")]
    UnknownIssuer,
    /// The token is for someone else.
    #[error("the token is for another audience")]
    Audience,
    /// A claim is missing or has a wrong type or value.
    #[error("the claim {name:?} {problem}")]
    Claim {
        /// The claim; `groups` stands for the one that holds the groups, whatever its name.
        name: &'static str,
        /// What is wrong with it.
        problem: ClaimProblem,
    },
    /// The service's own claims do not fit their type.
    #[error("the token's claims do not have the expected form")]
    CustomClaims,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` lies in the future, beyond the leeway.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `iat` lies in the future, beyond the leeway.
    #[error("the token was issued in the future")]
    IssuedInFuture,
    /// `exp - iat` is over the longest life of an access token.
    #[error("the token's lifetime is over the maximum")]
    LifetimeTooLong,
    /// A cut-off covers the token.
    #[error("the token was revoked")]
    Revoked(Revoked),
    /// The session of the token is over, or the store knows none of that name. Told where the store
    /// was asked: for a renewal, or on each request.
    #[error("the token's session is over")]
    SessionEnded,
    /// The token has expired, and it was not renewed because the service refuses the account.
    #[error("the account is refused")]
    AccountRefused,
    /// The token has expired, and it could not be renewed: the store failed, was late, or is asked
    /// to renew as many tokens as may be at once. It may be renewed yet.
    #[error("the token has expired, and it could not be renewed")]
    NotRenewed,
    /// The token is good, and holds not all the
    /// [permissions](crate::RevocationLayer::require_permission) that the route needs.
    #[error("the token does not hold the permissions that this needs")]
    InsufficientScope,
    /// The token is good, and not in a [group](crate::RevocationLayer::require_group) that the
    /// route needs.
    #[error("this is for other groups than the token's")]
    NotInGroup,
    /// The token is good, and its user proved who they are
    /// [too long ago](crate::RevocationLayer::max_auth_age), or nobody knows when.
    #[error("the user has to log in again: the last login is too long ago for this")]
    AuthenticationTooOld,
    /// The token is good, and its user did not prove who they are in a
    /// [way](crate::RevocationLayer::require_acr) that is strong enough.
    #[error("the user has to log in again: this needs another kind of login")]
    AuthenticationContext,
    /// The copy of the revocations is older than its bound: nothing can be said about the token.
    #[error("the copy of the revocations is {age:?} old")]
    Stale {
        /// How long ago the copy was known to equal the store.
        age: Duration,
    },
    /// The copy is [in buckets](crate::epochs::EpochsBuilder::buckets) and cannot tell whether the
    /// token was revoked, and no store is there to be asked: see
    /// [`confirm_doubtful`](crate::layer::RevocationLayer::confirm_doubtful).
    #[error("the copy of the revocations cannot tell whether the token was revoked")]
    Doubtful {
        /// How long ago the copy was known to equal the store.
        age: Duration,
    },
    /// The copy is stale or in doubt, and the store was asked about the token in vain: it failed,
    /// was late, or knew of less than the copy.
    #[error(
        "the copy of the revocations is {age:?} old, and the store has not confirmed the token"
    )]
    Unconfirmed {
        /// How long ago the copy was known to equal the store.
        age: Duration,
    },
    /// The copy is stale or in doubt, and the store is asked about as many tokens as may be at once.
    #[error("the copy of the revocations is {age:?} old, and too many tokens are to be confirmed")]
    OverCapacity {
        /// How long ago the copy was known to equal the store.
        age: Duration,
    },
    /// The revocations were not loaded yet: nothing can be said about the token.
    #[error("the revocations are not loaded yet")]
    NotLoaded,
}

impl Rejection {
    /// A stable name for logs and metrics, in `snake_case`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::MalformedHeader => "malformed_header",
            Self::MalformedCredentials => "malformed_credentials",
            Self::MultipleTokens => "multiple_tokens",
            Self::CrossSite => "cross_site",
            Self::TooLarge => "too_large",
            Self::Malformed(_) => "malformed",
            Self::ForbiddenHeader(_) => "forbidden_header",
            Self::Algorithm => "algorithm",
            Self::Type => "type",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::UnknownIssuer => "unknown_issuer",
            Self::Audience => "audience",
            Self::Claim { .. } => "claim",
            Self::CustomClaims => "custom_claims",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::IssuedInFuture => "issued_in_future",
            Self::LifetimeTooLong => "lifetime_too_long",
            Self::Revoked(_) => "revoked",
            Self::SessionEnded => "session_ended",
            Self::AccountRefused => "account_refused",
            Self::NotRenewed => "not_renewed",
            Self::InsufficientScope => "insufficient_scope",
            Self::NotInGroup => "not_in_group",
            Self::AuthenticationTooOld => "authentication_too_old",
            Self::AuthenticationContext => "authentication_context",
            Self::Stale { .. } => "stale",
            Self::Doubtful { .. } => "doubtful",
            Self::Unconfirmed { .. } => "unconfirmed",
            Self::OverCapacity { .. } => "over_capacity",
            Self::NotLoaded => "not_loaded",
        }
    }

    /// What the client has to do; `None` if it should ask again later with the same token, or if
    /// the token is not to blame: a permission that is missing comes with no new one.
    ///
    /// An expired token asks for a refresh. One that was never good asks for a login. A client
    /// that holds a refresh token tries it first in any case: only `invalid_grant` is final.
    pub fn demand(&self) -> Option<Demand> {
        match self {
            Self::Revoked(revoked) => Some(revoked.demand),
            Self::Expired => Some(Demand::Refresh),
            Self::NotYetValid | Self::IssuedInFuture => Some(Demand::Refresh),
            Self::CrossSite | Self::InsufficientScope | Self::NotInGroup => None,
            _ if self.is_unavailable() => None,
            _ => Some(Demand::Login),
        }
    }

    /// Whether it speaks of our own state and not of the token: 503, never 401.
    pub fn is_unavailable(&self) -> bool {
        matches!(
            self,
            Self::NotRenewed
                | Self::Stale { .. }
                | Self::Doubtful { .. }
                | Self::Unconfirmed { .. }
                | Self::OverCapacity { .. }
                | Self::NotLoaded
        )
    }
}

impl From<Problem> for Rejection {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::TooLarge => Self::TooLarge,
            Problem::Malformed(how) => Self::Malformed(how),
            Problem::ForbiddenHeader(name) => Self::ForbiddenHeader(name),
            Problem::Algorithm => Self::Algorithm,
            Problem::UnknownKey => Self::UnknownKey,
            Problem::Claim { name, problem } => Self::Claim { name, problem },
        }
    }
}
