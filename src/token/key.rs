//! x
use super::Algorithm;
use crate::error::ConfigError;

/// A key that verifies.
#[derive(Clone)]
pub struct VerifyingKey {
    algorithm: Algorithm,
    kid: Option<String>,
}

impl std::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifyingKey").finish_non_exhaustive()
    }
}

impl VerifyingKey {
    /// HMAC.
    pub fn hmac(algorithm: Algorithm, secret: &[u8]) -> Result<Self, ConfigError> {
        let _ = secret;
        Ok(Self { algorithm, kid: None })
    }
    /// PEM.
    pub fn from_pem(algorithm: Algorithm, pem: &[u8]) -> Result<Self, ConfigError> {
        let _ = pem;
        Ok(Self { algorithm, kid: None })
    }
    /// JWK.
    pub fn from_jwk(jwk: &str) -> Result<Self, ConfigError> {
        let _ = jwk;
        Ok(Self { algorithm: Algorithm::ES256, kid: None })
    }
    /// kid.
    #[must_use]
    pub fn with_kid(mut self, kid: impl Into<String>) -> Self {
        self.kid = Some(kid.into());
        self
    }
    /// kid.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }
    /// alg.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
    /// JWK.
    pub fn to_jwk(&self) -> Option<serde_json::Value> {
        None
    }
}
