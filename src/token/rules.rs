//! What an issuer's tokens must look like.

use std::time::Duration;

use super::{
    KeySet,
    groups::{GroupsFrom, TokenClaims},
};
use crate::scope::Id;

/// Which header `typ` an access token of an issuer has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TypPolicy {
    /// `at+jwt` or `application/at+jwt`, in any case
    /// ([RFC 9068, section 4](https://www.rfc-editor.org/rfc/rfc9068#section-4)). The default:
    /// no other token of the issuer can be mistaken for an access token.
    #[default]
    AccessToken,
    /// None, `JWT`, or as [`TypPolicy::AccessToken`], for issuers that do not follow RFC 9068.
    ///
    /// ID, refresh and logout tokens are told by their claims instead: a token with `at_hash`,
    /// `c_hash`, `s_hash`, `nonce` or `events`, or with a claim `typ` of `ID`, `Refresh`, `Offline`
    /// or `Logout`, is refused.
    Jwt,
    /// This media type, in any case and with or without `application/`.
    Exactly(String),
}

/// What the tokens of one issuer must look like, and the keys that sign them.
///
/// Strict unless said otherwise; see each method. A set-up that makes no sense is refused by
/// [`VerifierBuilder::build`](crate::verify::VerifierBuilder::build).
#[derive(Clone, Debug)]
pub struct IssuerRules {
    pub(crate) issuer: String,
    pub(crate) keys: KeySet,
    pub(crate) audiences: Vec<String>,
    pub(crate) any_audience: bool,
    pub(crate) typ: TypPolicy,
    pub(crate) max_lifetime: Option<Duration>,
    pub(crate) issue_skew: Duration,
    pub(crate) require_session: bool,
    pub(crate) groups_claim: String,
    pub(crate) groups_from: Option<GroupsFrom>,
    pub(crate) subject_prefix: String,
    pub(crate) shared_subjects: bool,
    pub(crate) store_time: bool,
}

impl IssuerRules {
    /// Tokens whose `iss` is exactly `issuer`, signed by one of `keys`.
    pub fn new(issuer: impl Into<String>, keys: KeySet) -> Self {
        Self {
            issuer: issuer.into(),
            keys,
            audiences: Vec::new(),
            any_audience: false,
            typ: TypPolicy::default(),
            max_lifetime: None,
            issue_skew: Duration::ZERO,
            require_session: false,
            groups_claim: "groups".to_owned(),
            groups_from: None,
            subject_prefix: String::new(),
            shared_subjects: false,
            store_time: false,
        }
    }

    /// An audience this service answers to. Call it again for more: the token must hold one of
    /// them in `aud` ([RFC 7519, section 4.1.3](https://www.rfc-editor.org/rfc/rfc7519#section-4.1.3)).
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Accepts tokens for any audience and for none.
    ///
    /// Dangerous: a token that the user gave to *another* service of this issuer opens this one.
    #[must_use]
    pub fn dangerous_any_audience(mut self) -> Self {
        self.any_audience = true;
        self
    }

    /// Which header `typ` is an access token's. [`TypPolicy::AccessToken`] by default.
    #[must_use]
    pub fn typ(mut self, typ: TypPolicy) -> Self {
        self.typ = typ;
        self
    }

    /// The longest `exp - iat`, by default and at most that of
    /// [`Lifetimes::access`](crate::lifetimes::Lifetimes::access): purging counts on it.
    #[must_use]
    pub fn max_lifetime(mut self, max_lifetime: Duration) -> Self {
        self.max_lifetime = Some(max_lifetime);
        self
    }

    /// How far this issuer's clock may run ahead of the store's: its tokens count as issued this
    /// much earlier than their `iat` says. Zero by default, at most the leeway.
    ///
    /// With a skew, a login within that time after a revocation is refused until the time has
    /// passed; without one, a clock that runs ahead makes tokens outlive a revocation.
    #[must_use]
    pub fn issue_skew(mut self, issue_skew: Duration) -> Self {
        self.issue_skew = issue_skew;
        self
    }

    /// Requires `sid`, so that sessions of this issuer can be revoked.
    #[must_use]
    pub fn require_session(mut self) -> Self {
        self.require_session = true;
        self
    }

    /// The claim that holds the groups, an array of strings. `groups` by default.
    #[must_use]
    pub fn groups_claim(mut self, claim: impl Into<String>) -> Self {
        self.groups_claim = claim.into();
        self
    }

    /// Takes the groups from `tell` rather than from the claim: a tenant or client as a group, a role
    /// out of a nested claim, or a share of the users by a hash.
    ///
    /// They are the token's groups in every respect: revoked with
    /// [`Scope::Group`](crate::Scope::Group), asked for by a route, told by
    /// [`Verified::groups`](crate::Verified::groups). `None` refuses the token, as do more than 256
    /// groups.
    ///
    /// The same claims have to give the same groups on every instance, as long as a token lives: a
    /// revocation of a group that only some instances see in a token is in force on these alone. So
    /// `tell` reads nothing but the token, no clock, and no setting that is rolled out step by step;
    /// for a hash, see [`TokenClaims::bucket`]. It is called in the middle of a request, for each token
    /// that was not [verified before](crate::verify::VerifierBuilder::token_cache_bytes).
    ///
    /// A store knows the groups that a session was minted with
    /// ([`Grant::groups`](crate::Grant::groups)) and not these: revoking one of these with the demand
    /// to log in refuses the access tokens, and does not end the sessions.
    ///
    /// ```
    /// use std::num::NonZeroU32;
    ///
    /// use tower_revocation::{Id, token::KeySet, verify::IssuerRules};
    ///
    /// # fn rules(keys: KeySet) -> IssuerRules {
    /// const SHARES: NonZeroU32 = NonZeroU32::new(1_000).unwrap();
    ///
    /// IssuerRules::new("https://login.example", keys).groups_from(|token| {
    ///     let tenant: String = token.get("tenant")?;
    ///     let share = format!("share-{}", token.bucket(SHARES));
    ///     Some(vec![Id::new(&format!("tenant-{tenant}")).ok()?, Id::new(&share).ok()?])
    /// })
    /// # }
    /// ```
    #[must_use]
    pub fn groups_from<F>(mut self, tell: F) -> Self
    where
        F: Fn(&TokenClaims<'_>) -> Option<Vec<Id>> + Send + Sync + 'static,
    {
        self.groups_from = Some(GroupsFrom::new(tell));
        self
    }

    /// Put in front of `sub`, `sid`, `jti` and group names to make scopes, so that namesakes of
    /// different issuers are different subjects. Empty by default.
    ///
    /// Choose prefixes of which none begins another, `google:` and `okta:` for instance.
    #[must_use]
    pub fn subject_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.subject_prefix = prefix.into();
        self
    }

    /// States that this issuer names the same subjects as another one with the same prefix. Both
    /// must say so.
    #[must_use]
    pub fn shared_subjects(mut self) -> Self {
        self.shared_subjects = true;
        self
    }

    /// Tokens minted by this crate: `rvs` is required and is the issue stamp, `jti` and `sid` are
    /// required.
    ///
    /// For other issuers `rvs` is refused, and the stamp is `iat`, the start of its second: a
    /// login in the very second of a revocation is refused until that second has passed.
    #[must_use]
    pub fn store_time(mut self) -> Self {
        self.store_time = true;
        self
    }
}
