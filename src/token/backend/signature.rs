//! The one module that touches `jsonwebtoken`.
//!
//! Of that crate we use the providers by name, and of these the functions that sign, verify and
//! take keys apart. Its `encode` and `decode` are not used: they look up a process-wide provider,
//! which panics at the first token when two are compiled in, and `decode` leaves out the checks
//! that the rest of this module makes. aws-lc verifies without it, see `prepared`.

#[cfg(feature = "rust-crypto")]
use jsonwebtoken::DecodingKey;
use jsonwebtoken::{
    EncodingKey,
    crypto::CryptoProvider,
    jwk::{EllipticCurve, ThumbprintHash},
};

use super::CryptoBackend;
#[cfg(feature = "aws-lc-rs")]
use super::prepared::Prepared;
use crate::token::Algorithm;

/// A key in the forms that the libraries of this build verify with. Wiped when dropped.
#[cfg_attr(
    not(any(feature = "aws-lc-rs", feature = "rust-crypto")),
    allow(unused_variables, reason = "without a library there is nothing to prepare")
)]
pub(in crate::token) struct Verifying {
    /// `None` if aws-lc does not take the key.
    #[cfg(feature = "aws-lc-rs")]
    prepared: Option<Prepared>,
    #[cfg(feature = "rust-crypto")]
    key: DecodingKey,
}

#[cfg_attr(
    not(feature = "aws-lc-rs"),
    allow(
        unused_variables,
        reason = "RustCrypto's keys are the same for each algorithm of a kind"
    )
)]
impl Verifying {
    pub(in crate::token) fn secret(algorithm: Algorithm, secret: &[u8]) -> Self {
        Self {
            #[cfg(feature = "aws-lc-rs")]
            prepared: Prepared::secret(algorithm, secret),
            #[cfg(feature = "rust-crypto")]
            key: DecodingKey::from_secret(secret),
        }
    }

    pub(in crate::token) fn rsa(algorithm: Algorithm, modulus: &[u8], exponent: &[u8]) -> Self {
        Self {
            #[cfg(feature = "aws-lc-rs")]
            prepared: Prepared::rsa(algorithm, modulus, exponent),
            #[cfg(feature = "rust-crypto")]
            key: DecodingKey::from_rsa_raw_components(modulus, exponent),
        }
    }

    /// `point` is uncompressed: 4, x, y.
    pub(in crate::token) fn ec(algorithm: Algorithm, point: &[u8]) -> Self {
        Self {
            #[cfg(feature = "aws-lc-rs")]
            prepared: Prepared::ec(algorithm, point),
            #[cfg(feature = "rust-crypto")]
            key: DecodingKey::from_ec_der(point),
        }
    }

    pub(in crate::token) fn ed25519(x: &[u8; 32]) -> Self {
        Self {
            #[cfg(feature = "aws-lc-rs")]
            prepared: Prepared::ed25519(x),
            #[cfg(feature = "rust-crypto")]
            key: DecodingKey::from_ed_der(x),
        }
    }
}

/// A key in the form that signing wants. Wiped when dropped.
pub(in crate::token) struct Signing(EncodingKey);

impl Signing {
    pub(in crate::token) fn secret(secret: &[u8]) -> Self {
        Self(EncodingKey::from_secret(secret))
    }

    pub(in crate::token) fn rsa(pkcs1: &[u8]) -> Self {
        Self(EncodingKey::from_rsa_der(pkcs1))
    }

    pub(in crate::token) fn ec(pkcs8: &[u8]) -> Self {
        Self(EncodingKey::from_ec_der(pkcs8))
    }

    pub(in crate::token) fn ed25519(pkcs8: &[u8]) -> Self {
        Self(EncodingKey::from_ed_der(pkcs8))
    }

    /// What it was made from.
    pub(in crate::token) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

#[cfg_attr(
    not(any(feature = "aws-lc-rs", feature = "rust-crypto")),
    allow(unused_variables, reason = "without a library there is nobody to ask")
)]
impl CryptoBackend {
    fn provider(self) -> &'static CryptoProvider {
        match self {
            #[cfg(feature = "aws-lc-rs")]
            Self::AwsLc => &jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER,
            #[cfg(feature = "rust-crypto")]
            Self::RustCrypto => &jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER,
        }
    }

    /// Whether `signature` is the key's over `message`. Any failure is "no".
    pub(in crate::token) fn verifies(
        self,
        algorithm: Algorithm,
        key: &Verifying,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        match self {
            #[cfg(feature = "aws-lc-rs")]
            Self::AwsLc => key
                .prepared
                .as_ref()
                .is_some_and(|prepared| prepared.verifies(algorithm, message, signature)),
            #[cfg(feature = "rust-crypto")]
            Self::RustCrypto => (self.provider().verifier_factory)(&named(algorithm), &key.key)
                .is_ok_and(|verifier| verifier.verify(message, &signature.to_vec()).is_ok()),
        }
    }

    /// Whether the library can take the key apart at all.
    pub(in crate::token) fn opens(self, algorithm: Algorithm, key: &Verifying) -> bool {
        match self {
            #[cfg(feature = "aws-lc-rs")]
            Self::AwsLc => key.prepared.as_ref().is_some_and(|prepared| prepared.is_for(algorithm)),
            #[cfg(feature = "rust-crypto")]
            Self::RustCrypto => {
                (self.provider().verifier_factory)(&named(algorithm), &key.key).is_ok()
            }
        }
    }

    pub(in crate::token) fn sign(
        self,
        algorithm: Algorithm,
        key: &Signing,
        message: &[u8],
    ) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        let signer = (self.provider().signer_factory)(&named(algorithm), &key.0)?;
        Ok(signer.try_sign(message)?)
    }

    /// The public point of a private EC key, uncompressed.
    pub(in crate::token) fn ec_point(self, algorithm: Algorithm, pkcs8: &[u8]) -> Option<Vec<u8>> {
        let components = self.provider().key_utils.ec_pub_components_from_private_key;
        let (_, x, y) = components(pkcs8, named(algorithm)).ok()?;
        Some([&[4], &x[..], &y[..]].concat())
    }

    /// The public half of a private Ed25519 key.
    pub(in crate::token) fn ed25519_public(self, pkcs8: &[u8]) -> Option<[u8; 32]> {
        let components = self.provider().key_utils.ed_pub_components_from_private_key;
        components(pkcs8, &EllipticCurve::Ed25519).ok()?.try_into().ok()
    }

    pub(in crate::token) fn sha256(self, data: &[u8]) -> Option<Vec<u8>> {
        (self.provider().key_utils.compute_digest)(data, ThumbprintHash::SHA256).ok()
    }
}

fn named(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::HS256 => jsonwebtoken::Algorithm::HS256,
        Algorithm::HS384 => jsonwebtoken::Algorithm::HS384,
        Algorithm::HS512 => jsonwebtoken::Algorithm::HS512,
        Algorithm::RS256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::RS384 => jsonwebtoken::Algorithm::RS384,
        Algorithm::RS512 => jsonwebtoken::Algorithm::RS512,
        Algorithm::PS256 => jsonwebtoken::Algorithm::PS256,
        Algorithm::PS384 => jsonwebtoken::Algorithm::PS384,
        Algorithm::PS512 => jsonwebtoken::Algorithm::PS512,
        Algorithm::ES256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::ES384 => jsonwebtoken::Algorithm::ES384,
        Algorithm::EdDSA => jsonwebtoken::Algorithm::EdDSA,
    }
}
