//! x
use super::VerifyingKey;
use crate::error::ConfigError;

/// The keys of one issuer.
#[derive(Clone, Debug)]
pub struct KeySet {
    keys: std::sync::Arc<[VerifyingKey]>,
}
impl KeySet {
    /// New.
    pub fn new(keys: impl IntoIterator<Item = VerifyingKey>) -> Result<Self, ConfigError> {
        Ok(Self { keys: keys.into_iter().collect() })
    }
    /// JWKS.
    pub fn from_jwks(jwks: &str) -> Result<(Self, Vec<ConfigError>), ConfigError> {
        VerifyingKey::from_jwk(jwks).and_then(|key| Self::new([key])).map(|set| (set, Vec::new()))
    }
    /// JWKS.
    pub fn to_jwks(&self) -> serde_json::Value {
        serde_json::json!({ "keys": self.keys.iter().filter_map(VerifyingKey::to_jwk).collect::<Vec<_>>() })
    }
}
