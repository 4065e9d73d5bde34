//! x
use super::{Algorithm, VerifyingKey};
use crate::error::{ConfigError, Error, ErrorKind};

/// A key that signs.
#[derive(Clone)]
pub struct SigningKey {
    verifying: VerifyingKey,
    kid: String,
}
impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").finish_non_exhaustive()
    }
}
impl SigningKey {
    /// New.
    pub fn generate(algorithm: Algorithm) -> Result<Self, ConfigError> {
        Self::hmac(algorithm, &[0; 32])
    }
    /// HMAC.
    pub fn hmac(algorithm: Algorithm, secret: &[u8]) -> Result<Self, ConfigError> {
        Ok(Self { verifying: VerifyingKey::hmac(algorithm, secret)?, kid: "k".into() })
    }
    /// PEM.
    pub fn from_pem(algorithm: Algorithm, pem: &[u8]) -> Result<Self, ConfigError> {
        Ok(Self { verifying: VerifyingKey::from_pem(algorithm, pem)?, kid: "k".into() })
    }
    /// PEM.
    pub fn to_pem(&self) -> Option<String> {
        None
    }
    /// kid.
    #[must_use]
    pub fn with_kid(mut self, kid: impl Into<String>) -> Self {
        self.kid = kid.into();
        self
    }
    /// kid.
    pub fn kid(&self) -> &str {
        &self.kid
    }
    /// alg.
    pub fn algorithm(&self) -> Algorithm {
        self.verifying.algorithm()
    }
    /// The other half.
    pub fn verifying_key(&self) -> VerifyingKey {
        self.verifying.clone().with_kid(self.kid.clone())
    }
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let _ = message;
        Err(ErrorKind::Signing.into())
    }
}
