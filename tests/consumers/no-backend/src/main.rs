//! A service that forgot to choose a crypto library: told so when it sets up, and not by a panic at
//! its first token.

use std::fmt::Debug;

use tower_revocation::{
    Algorithm, Epochs, Verifier,
    error::ConfigError,
    token::{KeySet, SigningKey, VerifyingKey},
    verify::IssuerRules,
};

fn main() -> Result<(), ConfigError> {
    for algorithm in [Algorithm::HS256, Algorithm::ES256, Algorithm::EdDSA] {
        refused("SigningKey::generate", SigningKey::generate(algorithm));
    }
    refused("SigningKey::hmac", SigningKey::hmac(Algorithm::HS256, &[7; 32]));

    // A verifying key can be read without a library; nothing can be built on it.
    let key = VerifyingKey::hmac(Algorithm::HS256, &[7; 32])?;
    let rules = IssuerRules::new("https://issuer.example", KeySet::new([key])?).audience("api");
    refused("Verifier::build", Verifier::builder(Epochs::new()).issuer(rules).build());
    Ok(())
}

fn refused<T: Debug>(what: &str, answer: Result<T, ConfigError>) {
    match answer {
        Err(ConfigError::NoCryptoBackend) => {
            println!("{what}: refused, {}", ConfigError::NoCryptoBackend)
        }
        other => panic!("{what}: {other:?} instead of NoCryptoBackend"),
    }
}
