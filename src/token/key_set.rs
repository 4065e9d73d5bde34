//! The keys of one issuer.

use std::{cmp::Ordering, sync::Arc};

use super::{Algorithm, CryptoBackend, Problem, VerifyingKey, jwk, key::nameless};
use crate::error::ConfigError;

/// The keys of one issuer, each found by its `kid`. Cheap to clone.
///
/// A token is held against exactly one key, the one it names. A token without `kid` is held
/// against the key without `kid` for its algorithm, and no token is ever tried on several keys.
///
/// ```
/// use tower_revocation::token::{Algorithm, KeySet, SigningKey};
///
/// # fn main() -> Result<(), tower_revocation::error::ConfigError> {
/// let (old, new) = (SigningKey::generate(Algorithm::EdDSA)?, SigningKey::generate(Algorithm::ES256)?);
/// let keys = KeySet::new([old.verifying_key(), new.verifying_key()])?;
///
/// // What others need to verify our tokens: the public halves.
/// let jwks = keys.to_jwks();
/// let (_theirs, skipped) = KeySet::from_jwks(&jwks)?;
/// assert!(skipped.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct KeySet {
    /// In the [order] of what they are found by.
    keys: Arc<[VerifyingKey]>,
}

impl KeySet {
    /// A set of these keys.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Missing`] without a key, [`ConfigError::DuplicateKid`] if two have the same
    /// `kid`, or two of one algorithm have none, [`ConfigError::MixedKeySet`] if there are secrets
    /// and public keys.
    pub fn new(keys: impl IntoIterator<Item = VerifyingKey>) -> Result<Self, ConfigError> {
        let mut set = Vec::new();
        for key in keys {
            add(&mut set, key)?;
        }
        if set.is_empty() {
            return Err(ConfigError::Missing { field: "keys" });
        }
        Ok(Self { keys: set.into() })
    }

    /// A JWK set ([RFC 7517, section 5](https://www.rfc-editor.org/rfc/rfc7517#section-5)).
    ///
    /// One bad key never spoils the set: it is skipped and its problem returned with the set. Of
    /// two keys with one `kid` the first stays; secrets among public keys are skipped.
    ///
    /// # Errors
    ///
    /// The text is no JWK set, or holds no key that can be used: then the first problem found.
    pub fn from_jwks(jwks: &str) -> Result<(Self, Vec<ConfigError>), ConfigError> {
        let (mut keys, mut skipped) = (Vec::new(), Vec::new());
        for text in jwk::split(jwks).map_err(nameless)? {
            match jwk::parse(text) {
                Ok(key) => keys.push(key),
                Err(problem) => skipped.push(problem),
            }
        }
        // In a set with public keys a secret is the odd one, wherever it stands.
        if keys.iter().any(|key| !key.is_secret()) {
            let all = keys.len();
            keys.retain(|key| !key.is_secret());
            skipped.extend((keys.len()..all).map(|_| ConfigError::MixedKeySet));
        }
        let mut set = Vec::new();
        for key in keys {
            if let Err(problem) = add(&mut set, key) {
                skipped.push(problem);
            }
        }
        if set.is_empty() {
            let first = (!skipped.is_empty()).then(|| skipped.swap_remove(0));
            return Err(first.unwrap_or(ConfigError::Missing { field: "keys" }));
        }
        Ok((Self { keys: set.into() }, skipped))
    }

    /// The public keys as a JWK set, a JSON text, in the order of their ids. Secrets are left out.
    pub fn to_jwks(&self) -> String {
        let keys: Vec<_> = self.keys.iter().filter_map(VerifyingKey::jwk).collect();
        serde_json::json!({ "keys": keys }).to_string()
    }

    /// The one key for a token with this header.
    pub(crate) fn find(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<&VerifyingKey, Problem> {
        let place = self.keys.binary_search_by(|key| order(key, kid, algorithm));
        let key = place.map(|place| &self.keys[place]).map_err(|_| {
            // Those without a `kid` stand in front.
            let nameless = self.keys.first().is_some_and(|key| key.kid().is_none());
            if kid.is_none() && nameless { Problem::Algorithm } else { Problem::UnknownKey }
        })?;
        if key.algorithm() != algorithm {
            return Err(Problem::Algorithm);
        }
        Ok(key)
    }

    /// Whether this library can verify with every key.
    pub(crate) fn usable_with(&self, backend: CryptoBackend) -> Result<(), ConfigError> {
        self.keys.iter().try_for_each(|key| key.usable_with(backend))
    }
}

fn add(set: &mut Vec<VerifyingKey>, key: VerifyingKey) -> Result<(), ConfigError> {
    if set.first().is_some_and(|other| other.is_secret() != key.is_secret()) {
        return Err(ConfigError::MixedKeySet);
    }
    match set.binary_search_by(|other| order(other, key.kid(), key.algorithm())) {
        Ok(_) => Err(ConfigError::DuplicateKid { kid: key.kid().unwrap_or("(no kid)").to_owned() }),
        Err(place) => {
            set.insert(place, key);
            Ok(())
        }
    }
}

/// How a key stands to one of this `kid`, or without one of this algorithm.
fn order(key: &VerifyingKey, kid: Option<&str>, algorithm: Algorithm) -> Ordering {
    key.kid().cmp(&kid).then_with(|| match kid {
        Some(_) => Ordering::Equal,
        None => key.algorithm().cmp(&algorithm),
    })
}
