//! The tokens that a login or a refresh returns.

use std::{fmt, time::Duration};

use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::RefreshToken;
use crate::{cutoff::Stamp, scope::Id};

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

/// An access token, and the refresh token that gets the next pair.
///
/// Serializes as the answer of a token endpoint ([RFC 6749, section 5.1]): `access_token`,
/// `token_type`, `expires_in` in seconds, `refresh_token`, and `scope` if there are permissions.
/// Answer with `Cache-Control: no-store`.
///
/// [RFC 6749, section 5.1]: https://www.rfc-editor.org/rfc/rfc6749#section-5.1
#[derive(Clone, Debug)]
pub struct TokenPair {
    pub(super) access: AccessToken,
    pub(super) refresh: RefreshToken,
    pub(super) permissions: Option<String>,
}

impl TokenPair {
    /// The access token.
    pub fn access(&self) -> &AccessToken {
        &self.access
    }

    /// The refresh token.
    pub fn refresh(&self) -> &RefreshToken {
        &self.refresh
    }
}

impl Serialize for TokenPair {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut answer = serializer.serialize_struct("TokenPair", 5)?;
        answer.serialize_field("access_token", self.access.as_str())?;
        answer.serialize_field("token_type", "Bearer")?;
        answer.serialize_field("expires_in", &self.access.expires_in.as_secs())?;
        answer.serialize_field("refresh_token", self.refresh.as_str())?;
        match &self.permissions {
            Some(permissions) => answer.serialize_field("scope", permissions)?,
            None => answer.skip_field("scope")?,
        }
        answer.end()
    }
}
