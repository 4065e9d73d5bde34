//! Keys in aws-lc's own form, taken apart once.
//!
//! `jsonwebtoken` makes a verifier for each call: it clones the key, has the library take it apart
//! again, and for RSA finds the numbers anew that make the modulus cheap to reduce by. That is a
//! tenth of an RSA verification and more than the whole of an HMAC.

use aws_lc_rs::{
    hmac,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
        RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
        RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
        VerificationAlgorithm,
    },
};
use pkcs1::{UintRef, der::Encode};

use crate::token::Algorithm;

/// A key that aws-lc can verify with. The library wipes a secret when it is dropped.
pub(super) struct Prepared {
    algorithm: Algorithm,
    key: Key,
}

#[allow(clippy::large_enum_variant, reason = "there are few of them, and one more step to each")]
enum Key {
    Secret(hmac::Key),
    Public(ParsedPublicKey),
}

impl Prepared {
    /// `None` for an algorithm that is not one of secrets; so for the others.
    pub(super) fn secret(algorithm: Algorithm, secret: &[u8]) -> Option<Self> {
        let hash = match algorithm {
            Algorithm::HS256 => hmac::HMAC_SHA256,
            Algorithm::HS384 => hmac::HMAC_SHA384,
            Algorithm::HS512 => hmac::HMAC_SHA512,
            _ => return None,
        };
        Some(Self { algorithm, key: Key::Secret(hmac::Key::new(hash, secret)) })
    }

    /// `None`, too, if the library does not take the numbers.
    pub(super) fn rsa(algorithm: Algorithm, modulus: &[u8], exponent: &[u8]) -> Option<Self> {
        let verification: &'static dyn VerificationAlgorithm = match algorithm {
            Algorithm::RS256 => &RSA_PKCS1_2048_8192_SHA256,
            Algorithm::RS384 => &RSA_PKCS1_2048_8192_SHA384,
            Algorithm::RS512 => &RSA_PKCS1_2048_8192_SHA512,
            Algorithm::PS256 => &RSA_PSS_2048_8192_SHA256,
            Algorithm::PS384 => &RSA_PSS_2048_8192_SHA384,
            Algorithm::PS512 => &RSA_PSS_2048_8192_SHA512,
            _ => return None,
        };
        let key = pkcs1::RsaPublicKey {
            modulus: UintRef::new(modulus).ok()?,
            public_exponent: UintRef::new(exponent).ok()?,
        };
        Self::public(algorithm, verification, &key.to_der().ok()?)
    }

    /// `None`, too, if the point is not on the curve.
    pub(super) fn ec(algorithm: Algorithm, point: &[u8]) -> Option<Self> {
        let verification = match algorithm {
            Algorithm::ES256 => &ECDSA_P256_SHA256_FIXED,
            Algorithm::ES384 => &ECDSA_P384_SHA384_FIXED,
            _ => return None,
        };
        Self::public(algorithm, verification, point)
    }

    pub(super) fn ed25519(x: &[u8; 32]) -> Option<Self> {
        Self::public(Algorithm::EdDSA, &ED25519, x)
    }

    fn public(
        algorithm: Algorithm,
        verification: &'static dyn VerificationAlgorithm,
        key: &[u8],
    ) -> Option<Self> {
        let key = ParsedPublicKey::new(verification, key).ok()?;
        Some(Self { algorithm, key: Key::Public(key) })
    }

    /// Whether it verifies by this algorithm.
    pub(super) fn is_for(&self, algorithm: Algorithm) -> bool {
        self.algorithm == algorithm
    }

    /// Whether `signature` is the key's over `message`, by this algorithm. Any failure is "no".
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.is_for(algorithm)
            && match &self.key {
                Key::Secret(key) => hmac::verify(key, message, signature).is_ok(),
                Key::Public(key) => key.verify_sig(message, signature).is_ok(),
            }
    }
}
