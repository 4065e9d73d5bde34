//! What a token is to say.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    error::{Error, ErrorKind},
    scope::Id,
    store::Device,
};

/// Claims that the issuer writes itself.
const RESERVED: [&str; 15] = [
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
    "acr",
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
    pub(super) acr: Option<String>,
    pub(super) claims: Map<String, Value>,
    pub(super) device: Device,
}

impl Grant {
    /// A token for `user`, without groups or claims of the service's own.
    pub fn new(user: Id) -> Self {
        Self {
            user,
            groups: Vec::new(),
            permissions: None,
            acr: None,
            claims: Map::new(),
            device: Device::new(),
        }
    }

    /// Adds groups that it carries, each of which can be revoked: 256 at most, and the whole token
    /// has 8 KiB at most. Duplicates count once.
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

    /// How the user proved who they are: the claim `acr`, which a route may
    /// [require](crate::RevocationLayer::require_acr).
    ///
    /// It is about the login that began the session, as `auth_time` is, and nothing remembers it but
    /// the service. Say at a refresh what was true at that login, or nothing: what the user *could*
    /// have done would make each session a strong one.
    #[must_use]
    pub fn acr(mut self, acr: impl Into<String>) -> Self {
        self.acr = Some(acr.into());
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

    /// The OAuth scopes, if any.
    #[cfg(feature = "routes")]
    pub(crate) fn granted(&self) -> &str {
        self.permissions.as_deref().unwrap_or_default()
    }

    /// Whether anything is said of the device.
    #[cfg(feature = "routes")]
    pub(crate) fn has_device(&self) -> bool {
        self.device != Device::new()
    }

    /// The device of the session, for lists of them. It is no part of the token. At a refresh,
    /// what is not said stays as it was.
    #[must_use]
    pub fn device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }
}
