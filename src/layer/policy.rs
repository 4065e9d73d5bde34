//! What a route asks of a token that is good.

use std::{fmt::Write, sync::Arc, time::Duration};

use super::RevocationLayer;
use crate::{
    epochs::StoreClock,
    error::ConfigError,
    scope::{Id, ScopeKind},
    verify::{Rejection, Verified},
};

/// A challenge tells `max_age` in whole seconds.
const LEAST_AUTH_AGE: Duration = Duration::from_secs(1);

/// What a layer asks beyond a good token; nothing by default.
#[derive(Clone, Debug, Default)]
pub(super) struct Policy {
    /// All of them.
    permissions: Vec<String>,
    /// Of each list, one.
    groups: Vec<Vec<Id>>,
    /// One of them, in the order of preference; any if there is none.
    acr: Vec<String>,
    max_auth_age: Option<MaxAuthAge>,
}

#[derive(Clone, Copy, Debug)]
struct MaxAuthAge {
    max_age: Duration,
    /// By which the clock of whoever authenticates may be ahead.
    leeway: Duration,
}

/// The proof that a token is good *and* what its route asks for. The inner service is called with
/// nothing less.
pub(super) struct Admitted<C>(Verified<C>);

impl<C> Admitted<C> {
    pub(super) fn verified(&self) -> &Verified<C> {
        &self.0
    }

    pub(super) fn into_inner(self) -> Verified<C> {
        self.0
    }
}

/// What a route asks of the tokens that it accepts. See the [module](super#what-a-route-asks-for).
impl<C> RevocationLayer<C> {
    /// Requires the OAuth scope `permission`, a word of the claim `scope`. Call it again for more:
    /// all of them are needed.
    ///
    /// A token without one is refused with 403 and [`Rejection::InsufficientScope`]; the challenge
    /// names what is needed (RFC 6750 §3.1). With several issuers, it is any issuer's word.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Word`] if it is no `scope-token` (RFC 6749 §3.3): no token could hold it, and
    /// it could leave its quotes in the challenge.
    pub fn require_permission(
        mut self,
        permission: impl Into<String>,
    ) -> Result<Self, ConfigError> {
        let permission = word("require_permission", permission.into())?;
        let permissions = &mut self.policy().permissions;
        if !permissions.contains(&permission) {
            permissions.push(permission);
        }
        Ok(self)
    }

    /// Requires the group `group`. Call it again for more: all of them are needed.
    ///
    /// A token without it is refused with 403 and [`Rejection::NotInGroup`]. The group is named as
    /// its [`Scope`](crate::Scope) is, with the
    /// [issuer's prefix](crate::verify::IssuerRules::subject_prefix): one issuer's `admin` is not
    /// another's.
    #[must_use]
    pub fn require_group(mut self, group: Id) -> Self {
        self.policy().groups.push(vec![group]);
        self
    }

    /// Requires one at least of `groups`, which are named as in
    /// [`require_group`](RevocationLayer::require_group). Call it again for more: one of each call
    /// is needed.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Missing`] if there are none, which nobody could be in.
    pub fn require_any_group(
        mut self,
        groups: impl IntoIterator<Item = Id>,
    ) -> Result<Self, ConfigError> {
        let groups: Vec<Id> = groups.into_iter().collect();
        if groups.is_empty() {
            return Err(ConfigError::Missing { field: "require_any_group" });
        }
        self.policy().groups.push(groups);
        Ok(self)
    }

    /// Requires that the user proved who they are no longer than `max_age` ago, for routes where a
    /// session is not enough: a payment, a new password.
    ///
    /// An older token is refused with 401 and [`Rejection::AuthenticationTooOld`]; the challenge
    /// says `max_age` and the client sends the user to log in again (RFC 9470). What counts is the
    /// claim `auth_time`, which refreshes do not move. A token without it is too old, and so is one
    /// in which it lies in the future by more than the leeway.
    ///
    /// The age is taken by the store's clock, and by the latest that it may say, so where nobody
    /// knows it exactly, a login is asked for sooner and never later. The leeway adds nothing.
    /// A later call replaces an earlier one.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Duration`] if it is under a second.
    pub fn max_auth_age(mut self, max_age: Duration) -> Result<Self, ConfigError> {
        if max_age < LEAST_AUTH_AGE {
            return Err(ConfigError::Duration {
                field: "max_auth_age",
                value: max_age,
                problem: "is under a second",
            });
        }
        let leeway = self.settings.verifier.epochs().lifetimes().leeway();
        self.policy().max_auth_age = Some(MaxAuthAge { max_age, leeway });
        Ok(self)
    }

    /// Requires that the user proved who they are in one of these ways, the preferred one first:
    /// values of the claim `acr`, the authentication context class.
    ///
    /// Other tokens, and those without the claim, are refused with 401 and
    /// [`Rejection::AuthenticationContext`]; the challenge says `acr_values` (RFC 9470). A later
    /// call replaces an earlier one.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Missing`] if there are none, [`ConfigError::Word`] if one cannot stand in a
    /// challenge: it is empty, or has other characters than printable ASCII without space, `"` and
    /// `\`.
    pub fn require_acr(
        mut self,
        values: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, ConfigError> {
        let values = values.into_iter().map(|value| word("require_acr", value.into()));
        let values = values.collect::<Result<Vec<_>, _>>()?;
        if values.is_empty() {
            return Err(ConfigError::Missing { field: "require_acr" });
        }
        self.policy().acr = values;
        Ok(self)
    }
}

impl Policy {
    /// Lets a good token in if it is what the route asks for. There is no other way from there to
    /// the inner service, whoever found it good: the copy in memory, fresh or not, or the store.
    /// `clock` is the store's; it is read if an age is to be judged.
    ///
    /// What no login cures is told first: to prove who one is, and to hear only then that it is
    /// not enough, teaches people to type their passwords for nothing. It gives nothing away, as
    /// the bearer can read the token.
    #[inline]
    pub(super) fn admit<C>(
        &self,
        verified: Verified<C>,
        clock: impl FnOnce() -> Option<StoreClock>,
    ) -> Result<Admitted<C>, Rejection> {
        if !self.is_empty() {
            self.permissions(&verified)?;
            self.groups(&verified)?;
            self.authentication(&verified, clock)?;
        }
        Ok(Admitted(verified))
    }

    /// Whether it asks for nothing, as most do.
    fn is_empty(&self) -> bool {
        let Self { permissions, groups, acr, max_auth_age } = self;
        permissions.is_empty() && groups.is_empty() && acr.is_empty() && max_auth_age.is_none()
    }

    fn permissions<C>(&self, verified: &Verified<C>) -> Result<(), Rejection> {
        let holds = |needed: &String| verified.permissions().any(|held| held == needed);
        if self.permissions.iter().all(holds) { Ok(()) } else { Err(Rejection::InsufficientScope) }
    }

    fn groups<C>(&self, verified: &Verified<C>) -> Result<(), Rejection> {
        let is_in = |group: &Id| {
            verified
                .scope_refs()
                .any(|scope| scope.kind == ScopeKind::Group && scope.subject == group.as_str())
        };
        let fits = self.groups.iter().all(|any| any.iter().any(is_in));
        if fits { Ok(()) } else { Err(Rejection::NotInGroup) }
    }

    fn authentication<C>(
        &self,
        verified: &Verified<C>,
        clock: impl FnOnce() -> Option<StoreClock>,
    ) -> Result<(), Rejection> {
        let fits = |acr: &str| self.acr.iter().any(|value| value == acr);
        if !self.acr.is_empty() && !verified.acr().is_some_and(fits) {
            return Err(Rejection::AuthenticationContext);
        }
        let Some(limit) = self.max_auth_age else { return Ok(()) };
        let StoreClock { latest, .. } = clock().ok_or(Rejection::NotLoaded)?;
        let auth_time = verified.auth_time().map(Duration::from_secs);
        if auth_time.is_some_and(|auth_time| limit.holds(auth_time, latest)) {
            Ok(())
        } else {
            Err(Rejection::AuthenticationTooOld)
        }
    }

    /// What the challenge of `rejection` says about the route, for behind its other parameters.
    ///
    /// Of the authentication it says all that is asked for, whichever was missing: one login is to
    /// be enough.
    pub(super) fn parameters(&self, rejection: &Rejection) -> String {
        let mut parameters = String::new();
        // Writing to a string cannot fail; all words were checked to be fit for quotes.
        match rejection {
            Rejection::InsufficientScope => {
                let _ = write!(parameters, ", scope=\"{}\"", self.permissions.join(" "));
            }
            Rejection::AuthenticationTooOld | Rejection::AuthenticationContext => {
                if let Some(MaxAuthAge { max_age, .. }) = self.max_auth_age {
                    let _ = write!(parameters, ", max_age=\"{}\"", max_age.as_secs());
                }
                if !self.acr.is_empty() {
                    let _ = write!(parameters, ", acr_values=\"{}\"", self.acr.join(" "));
                }
            }
            _ => {}
        }
        parameters
    }
}

impl MaxAuthAge {
    /// Whether who authenticated at `auth_time` did so recently, at `now`.
    fn holds(self, auth_time: Duration, now: Duration) -> bool {
        // From the future it would stay young for as long as it likes.
        auth_time <= now.saturating_add(self.leeway)
            && now.saturating_sub(auth_time) <= self.max_age
    }
}

impl<C> RevocationLayer<C> {
    fn policy(&mut self) -> &mut Policy {
        &mut Arc::make_mut(&mut self.settings).policy
    }
}

/// Checks that `word` is a `scope-token` (RFC 6749 §3.3): one word in a list, fit for quotes.
fn word(field: &'static str, word: String) -> Result<String, ConfigError> {
    let fits = |byte: u8| matches!(byte, b'!'..=b'~') && byte != b'"' && byte != b'\\';
    if word.is_empty() || !word.bytes().all(fits) {
        return Err(ConfigError::Word { field, word });
    }
    Ok(word)
}
