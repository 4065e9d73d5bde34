//! Groups by a function of the service's own.

use std::{collections::HashSet, fmt, num::NonZeroU32, sync::Arc};

use serde::de::DeserializeOwned;

use super::{ClaimProblem, Claims, MAX_GROUPS, Payload, Problem, list::List};
use crate::scope::Id;

/// What a token says, for [`IssuerRules::groups_from`](super::IssuerRules::groups_from). Its signature
/// verifies; whether it is good is open.
pub struct TokenClaims<'a> {
    payload: &'a Payload<'a>,
    claims: Claims<'a>,
}

type Tell = dyn Fn(&TokenClaims<'_>) -> Option<Vec<Id>> + Send + Sync;

/// The function, shared by the clones of its rules.
#[derive(Clone)]
pub(crate) struct GroupsFrom(Arc<Tell>);

impl TokenClaims<'_> {
    /// `sub`, without the issuer's prefix.
    pub fn subject(&self) -> &str {
        self.claims.bare(self.claims.subject())
    }

    /// `sid`.
    pub fn session(&self) -> Option<&str> {
        self.claims.session().map(|id| self.claims.bare(id))
    }

    /// `client_id`.
    pub fn client_id(&self) -> Option<&str> {
        self.claims.client_id()
    }

    /// The groups that the [claim](super::IssuerRules::groups_claim) holds.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.claims.groups().map(|id| self.claims.bare(id))
    }

    /// Any claim, of any depth; `None` if it is missing or of another type.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        self.payload.read_as(name)
    }

    /// On which of so many places the user falls by a hash, the same on every instance, machine and
    /// version: FNV-1a over the bytes of `sub`, 64 bits, of which the remainder is taken.
    ///
    /// It is no secret, and no defence: whoever chooses their own name chooses the place.
    pub fn bucket(&self, buckets: NonZeroU32) -> u32 {
        let hash = self.subject().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        (hash % u64::from(buckets.get())) as u32
    }
}

impl GroupsFrom {
    pub(super) fn new(
        tell: impl Fn(&TokenClaims<'_>) -> Option<Vec<Id>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(tell))
    }

    /// The groups of a token, each once.
    pub(super) fn tell(
        &self,
        payload: &Payload<'_>,
        claims: Claims<'_>,
    ) -> Result<List<'static>, Problem> {
        let problem = |problem| Problem::Claim { name: "groups", problem };
        let told = (self.0)(&TokenClaims { payload, claims });
        let groups = told.ok_or(problem(ClaimProblem::NoGroups))?;
        if groups.len() > MAX_GROUPS {
            return Err(problem(ClaimProblem::TooMany));
        }
        let mut seen = HashSet::with_capacity(groups.len());
        let groups = groups.iter().filter(|group| seen.insert(group.as_str()));
        Ok(groups.map(|group| group.as_str().to_owned().into()).collect())
    }
}

impl fmt::Debug for TokenClaims<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenClaims").finish_non_exhaustive()
    }
}

impl fmt::Debug for GroupsFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GroupsFrom(a function)")
    }
}
