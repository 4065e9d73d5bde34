//! The check.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::{IssuerRules, Rejection, Verified};
use crate::{
    clock::Reading,
    epochs::Epochs,
    error::ConfigError,
    token::{CryptoBackend, KeySet},
};

/// Checks tokens.
#[derive(Clone, Debug)]
pub struct Verifier {
    shared: Arc<Epochs>,
}
impl Verifier {
    /// Builder.
    pub fn builder(epochs: Epochs) -> VerifierBuilder {
        VerifierBuilder { epochs }
    }
    /// Checks.
    pub fn verify<C: DeserializeOwned>(&self, token: &[u8]) -> Result<Verified<C>, Rejection> {
        self.verify_at(token, self.epochs().clock().now())
    }
    /// Checks.
    pub fn verify_at<C: DeserializeOwned>(
        &self,
        token: &[u8],
        now: Reading,
    ) -> Result<Verified<C>, Rejection> {
        let _ = (token, now);
        Err(Rejection::NotLoaded)
    }
    /// Epochs.
    pub fn epochs(&self) -> &Epochs {
        &self.shared
    }
    /// Keys.
    pub fn replace_keys(&self, iss: &str, keys: KeySet) -> Result<(), ConfigError> {
        let _ = (iss, keys);
        Ok(())
    }
}
/// Builder.
#[derive(Clone, Debug)]
pub struct VerifierBuilder {
    epochs: Epochs,
}
impl VerifierBuilder {
    /// Issuer.
    #[must_use]
    pub fn issuer(self, rules: IssuerRules) -> Self {
        let _ = rules;
        self
    }
    /// Crypto.
    #[must_use]
    pub fn crypto(self, backend: CryptoBackend) -> Self {
        let _ = backend;
        self
    }
    /// Size.
    #[must_use]
    pub fn max_token_bytes(self, max: usize) -> Self {
        let _ = max;
        self
    }
    /// Build.
    pub fn build(self) -> Result<Verifier, ConfigError> {
        Ok(Verifier { shared: Arc::new(self.epochs) })
    }
}
