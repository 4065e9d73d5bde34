//! What a token is to say, and the token.

use std::{fmt, time::Duration};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    cutoff::Stamp,
    error::{Error, ErrorKind},
    scope::Id,
};

/// Claims that the issuer writes itself.
const RESERVED: [&str; 14] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "sid",
    "rvs",
    "oat",
    "auth_time",
    "client_id",
    "groups",
    "scope",
];

/// Who logged in, and what the token is to say about them.
#[derive(Clone, Debug)]
pub struct Grant {
    pub(super) user: Id,
    pub(super) groups: Vec<Id>,
    pub(super) permissions: Option<String>,
    pub(super) claims: Map<String, Value>,
}

impl Grant {
    /// A token for `user`, without groups or claims of the service's own.
    pub fn new(user: Id) -> Self {
        Self { user, groups: Vec::new(), permissions: None, claims: Map::new() }
    }

    /// The groups that it carries, each of which can be revoked. Duplicates count once.
    #[must_use]
    pub fn groups(mut self, groups: impl IntoIterator<Item = Id>) -> Self {
        for group in groups {
            if !self.groups.contains(&group) {
                self.groups.push(group);
            }
        }
        self
    }

    /// The OAuth scopes, separated by spaces: the claim `scope` ([RFC 9068, section 2.2.3]).
    ///
    /// [RFC 9068, section 2.2.3]: https://www.rfc-editor.org/rfc/rfc9068#section-2.2.3
    #[must_use]
    pub fn permissions(mut self, permissions: impl Into<String>) -> Self {
        self.permissions = Some(permissions.into());
        self
    }

    /// A claim of the service's own.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Claims`] if the issuer writes a claim of that name itself, or the value does
    /// not serialize to JSON.
    pub fn claim(mut self, name: &str, value: impl Serialize) -> Result<Self, Error> {
        if RESERVED.contains(&name) {
            return Err(Error::new(ErrorKind::Claims, format!("the issuer writes {name:?}")));
        }
        let value =
            serde_json::to_value(value).map_err(|cause| Error::new(ErrorKind::Claims, cause))?;
        self.claims.insert(name.to_owned(), value);
        Ok(self)
    }
}

/// A signed access token.
#[derive(Clone)]
pub struct AccessToken {
    pub(super) token: String,
    pub(super) session: Id,
    pub(super) id: Id,
    pub(super) stamp: Stamp,
    pub(super) expires_in: Duration,
}

impl AccessToken {
    /// The compact form, for `Authorization: Bearer …`.
    pub fn as_str(&self) -> &str {
        &self.token
    }

    /// Its session, the claim `sid`.
    pub fn session(&self) -> &Id {
        &self.session
    }

    /// Its id, the claim `jti`.
    pub fn id(&self) -> &Id {
        &self.id
    }

    /// Its issue stamp, the claim `rvs`.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// How long it lives, in whole seconds.
    pub fn expires_in(&self) -> Duration {
        self.expires_in
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("session", &self.session)
            .field("id", &self.id)
            .field("stamp", &self.stamp)
            .finish_non_exhaustive()
    }
}
