//! From settings to a [`Verifier`]; what makes no sense is refused here, not at the first token.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{
    IssuerRules, Verifier,
    issuer::{Issuer, Keys},
};
use crate::{
    epochs::Epochs,
    error::ConfigError,
    lifetimes::Lifetimes,
    scope::Id,
    token::{CryptoBackend, MAX_TOKEN_BYTES, SET_BYTES, TokenCache, default_backend},
};

/// Room for 32,768 tokens in 2,048 sets.
const TOKEN_CACHE_BYTES: usize = 32 * 1024 * 1024;

/// The settings of a [`Verifier`].
#[derive(Clone, Debug)]
pub struct VerifierBuilder {
    epochs: Epochs,
    issuers: Vec<IssuerRules>,
    backend: Option<CryptoBackend>,
    max_token_bytes: usize,
    token_cache_bytes: usize,
}

impl VerifierBuilder {
    pub(super) fn new(epochs: Epochs) -> Self {
        Self {
            epochs,
            issuers: Vec::new(),
            backend: None,
            max_token_bytes: MAX_TOKEN_BYTES,
            token_cache_bytes: TOKEN_CACHE_BYTES,
        }
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

    /// What the tokens that were verified before may take, in bytes; 0 keeps none. 32 MiB by default.
    ///
    /// A token that is kept costs no signature when it is presented again. Everything else is checked
    /// at every request: times, cut-offs, what the route asks for, and whether the issuer still has the
    /// keys of then. That is room for about 30,000 tokens of the usual size; of the 32 MiB, 384 KiB
    /// are taken at once, and the rest as tokens come.
    ///
    /// What is counted is what the crate asks of the allocator. For the service's own claims, which
    /// nobody can ask what they hold, it is the size of the type and twice the length of the token:
    /// choose less where they hold more, as many small texts or a tree of JSON values do. A token that
    /// takes over 7.9 KiB with its claims is not kept: one of 7 KiB, or one of 4 KiB with a hundred
    /// groups.
    ///
    /// Who presents many good tokens of one user pushes out hardly any of the others.
    #[must_use]
    pub fn token_cache_bytes(mut self, token_cache_bytes: usize) -> Self {
        self.token_cache_bytes = token_cache_bytes;
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
    /// - [`ConfigError::Number`]: a cache that would hold nothing.
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
        if (1..SET_BYTES).contains(&self.token_cache_bytes) {
            return Err(ConfigError::Number {
                field: "token_cache_bytes",
                value: self.token_cache_bytes as u64,
                problem: "is under 16 KiB and not 0",
            });
        }
        apart(&self.issuers)?;
        let lifetimes = self.epochs.lifetimes();
        let mut issuers = HashMap::with_capacity(self.issuers.len());
        for rules in self.issuers {
            let max_lifetime = check(&rules, lifetimes)?;
            rules.keys.usable_with(backend)?;
            let keys = Keys::new(rules.keys.clone());
            let issuer = Issuer { rules, max_lifetime, keys };
            issuers.insert(issuer.rules.issuer.clone(), Arc::new(issuer));
        }
        let cache = TokenCache::new(self.token_cache_bytes);
        Ok(Verifier::new(self.epochs, backend, self.max_token_bytes, issuers, cache))
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
