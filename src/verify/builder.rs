//! From settings to a [`Verifier`]; what makes no sense is refused here, not at the first token.

use std::{collections::HashMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;

use super::{IssuerRules, Verifier, verifier::Issuer};
use crate::{
    epochs::Epochs,
    error::ConfigError,
    lifetimes::Lifetimes,
    scope::Id,
    token::{CryptoBackend, MAX_TOKEN_BYTES, default_backend},
};

/// The settings of a [`Verifier`].
#[derive(Clone, Debug)]
pub struct VerifierBuilder {
    epochs: Epochs,
    issuers: Vec<IssuerRules>,
    backend: Option<CryptoBackend>,
    max_token_bytes: usize,
}

impl VerifierBuilder {
    pub(super) fn new(epochs: Epochs) -> Self {
        Self { epochs, issuers: Vec::new(), backend: None, max_token_bytes: MAX_TOKEN_BYTES }
    }

    /// An issuer whose tokens are accepted. Call it again for more.
    #[must_use]
    pub fn issuer(mut self, rules: IssuerRules) -> Self {
        self.issuers.push(rules);
        self
    }

    /// The crypto library to verify with, where several are compiled in. aws-lc by default.
    #[must_use]
    pub fn crypto(mut self, backend: CryptoBackend) -> Self {
        self.backend = Some(backend);
        self
    }

    /// The longest token, in bytes. 8 KiB by default.
    ///
    /// All work on a token that turns out to be forged is bounded by it.
    #[must_use]
    pub fn max_token_bytes(mut self, max_token_bytes: usize) -> Self {
        self.max_token_bytes = max_token_bytes;
        self
    }

    /// Builds the verifier.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::NoCryptoBackend`]: no crypto library is compiled in.
    /// - [`ConfigError::Missing`]: no issuer, an issuer without a name, without an audience (see
    ///   [`dangerous_any_audience`](IssuerRules::dangerous_any_audience)) or without the name of
    ///   its groups claim.
    /// - [`ConfigError::DuplicateIssuer`], [`ConfigError::SharedSubjects`]: two issuers have one
    ///   name, or one space of subjects without both saying so.
    /// - [`ConfigError::Duration`]: a lifetime over that of the epochs' [`Lifetimes`], or not over
    ///   their leeway; a skew over the leeway.
    /// - [`ConfigError::Id`]: the prefix of subjects is not fit for identifiers.
    /// - [`ConfigError::Key`]: a key that the crypto library cannot verify with.
    pub fn build(self) -> Result<Verifier, ConfigError> {
        let backend = match self.backend {
            Some(backend) => backend,
            None => default_backend()?,
        };
        if self.issuers.is_empty() {
            return Err(ConfigError::Missing { field: "issuer" });
        }
        if self.max_token_bytes == 0 {
            return Err(ConfigError::Missing { field: "max_token_bytes" });
        }
        apart(&self.issuers)?;
        let lifetimes = self.epochs.lifetimes();
        let mut issuers = HashMap::with_capacity(self.issuers.len());
        for rules in self.issuers {
            let max_lifetime = check(&rules, lifetimes)?;
            rules.keys.usable_with(backend)?;
            let keys = ArcSwap::from_pointee(rules.keys.clone());
            let name: Arc<str> = rules.issuer.as_str().into();
            issuers.insert(name.clone(), Issuer { name, rules, max_lifetime, keys });
        }
        Ok(Verifier::new(self.epochs, backend, self.max_token_bytes, issuers))
    }
}

/// Whether no two issuers can be taken for each other.
fn apart(issuers: &[IssuerRules]) -> Result<(), ConfigError> {
    for (at, second) in issuers.iter().enumerate() {
        for first in &issuers[..at] {
            if first.issuer == second.issuer {
                return Err(ConfigError::DuplicateIssuer { issuer: second.issuer.clone() });
            }
            let agreed = first.shared_subjects && second.shared_subjects;
            if first.subject_prefix == second.subject_prefix && !agreed {
                return Err(ConfigError::SharedSubjects {
                    first: first.issuer.clone(),
                    second: second.issuer.clone(),
                });
            }
        }
    }
    Ok(())
}

/// Whether the rules make sense by themselves. Returns the longest lifetime they accept.
fn check(rules: &IssuerRules, lifetimes: Lifetimes) -> Result<Duration, ConfigError> {
    let missing = |field| Err(ConfigError::Missing { field });
    if rules.issuer.is_empty() {
        return missing("issuer");
    }
    if rules.audiences.is_empty() && !rules.any_audience {
        return missing("audience");
    }
    if rules.groups_claim.is_empty() {
        return missing("groups_claim");
    }
    if !rules.subject_prefix.is_empty() {
        Id::validate(&rules.subject_prefix)
            .map_err(|source| ConfigError::Id { field: "subject_prefix", source })?;
    }
    let refuse = |field, value, problem| Err(ConfigError::Duration { field, value, problem });
    let max_lifetime = rules.max_lifetime.unwrap_or(lifetimes.access());
    if max_lifetime > lifetimes.access() {
        return refuse("max_lifetime", max_lifetime, "is over the longest life of a token");
    }
    if max_lifetime <= lifetimes.leeway() {
        return refuse("max_lifetime", max_lifetime, "is not over the leeway");
    }
    // Purging keeps a cut-off for the longest life and twice the leeway. With a larger skew, a
    // token that is still good would count as issued before what was purged.
    if rules.issue_skew > lifetimes.leeway() {
        return refuse("issue_skew", rules.issue_skew, "is over the leeway");
    }
    Ok(max_lifetime)
}
