//! What a provider of `jsonwebtoken` does not offer: making keys, and checking them early.

use rand::TryRng;

use super::{CryptoBackend, signature::Verifying};
use crate::{error::KeyProblem, token::Algorithm};

#[cfg_attr(
    not(feature = "rust-crypto"),
    allow(unused_variables, reason = "aws-lc has looked at the whole key")
)]
impl CryptoBackend {
    /// Whether this library can verify with the key, which is of RSA if it has a `modulus`.
    ///
    /// A point off the curve, or a modulus that the library does not take, would otherwise show
    /// only as tokens that never verify.
    pub(in crate::token) fn check(
        self,
        algorithm: Algorithm,
        key: &Verifying,
        modulus: Option<&[u8]>,
    ) -> Result<(), KeyProblem> {
        if !self.opens(algorithm, key) {
            return Err(KeyProblem::Malformed);
        }
        match self {
            // It opened the key in earnest: see `prepared`.
            #[cfg(feature = "aws-lc-rs")]
            Self::AwsLc => Ok(()),
            #[cfg(feature = "rust-crypto")]
            Self::RustCrypto => match modulus {
                Some(modulus) if modulus.len() > 512 => Err(KeyProblem::RsaModulus),
                _ => Ok(()),
            },
        }
    }

    /// A new private key as PKCS#8; `None` for algorithms whose keys cannot be made here.
    pub(in crate::token) fn generate(self, algorithm: Algorithm) -> Option<Vec<u8>> {
        match self {
            #[cfg(feature = "aws-lc-rs")]
            Self::AwsLc => aws_lc(algorithm),
            #[cfg(feature = "rust-crypto")]
            Self::RustCrypto => rust_crypto(algorithm),
        }
    }
}

#[cfg(feature = "aws-lc-rs")]
fn aws_lc(algorithm: Algorithm) -> Option<Vec<u8>> {
    use aws_lc_rs::{
        rand::SystemRandom,
        signature::{
            ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
            Ed25519KeyPair,
        },
    };
    let random = SystemRandom::new();
    let document = match algorithm {
        Algorithm::ES256 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random),
        Algorithm::ES384 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &random),
        // The first version of PKCS#8 is the one that every tool reads.
        Algorithm::EdDSA => Ed25519KeyPair::generate_pkcs8v1(&random),
        _ => return None,
    };
    Some(document.ok()?.as_ref().to_vec())
}

#[cfg(feature = "rust-crypto")]
fn rust_crypto(algorithm: Algorithm) -> Option<Vec<u8>> {
    use p256::pkcs8::EncodePrivateKey;

    let document = match algorithm {
        Algorithm::ES256 => scalar::<32, _, _>(p256::SecretKey::from_slice)?.to_pkcs8_der(),
        Algorithm::ES384 => scalar::<48, _, _>(p384::SecretKey::from_slice)?.to_pkcs8_der(),
        Algorithm::EdDSA => {
            let seed = random::<32>()?;
            let key = ed25519_dalek::SigningKey::from_bytes(&seed);
            ed25519_dalek::pkcs8::KeypairBytes { secret_key: key.to_bytes(), public_key: None }
                .to_pkcs8_der()
        }
        _ => return None,
    };
    Some(document.ok()?.as_bytes().to_vec())
}

/// A private scalar: random bytes, until they are one that the curve has.
#[cfg(feature = "rust-crypto")]
fn scalar<const N: usize, K, E>(parse: impl Fn(&[u8]) -> Result<K, E>) -> Option<K> {
    loop {
        if let Ok(key) = parse(&random::<N>()?) {
            return Some(key);
        }
    }
}

/// Random bytes of the operating system; `None` if it has none.
pub(in crate::token) fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    rand::rngs::SysRng.try_fill_bytes(&mut bytes).ok()?;
    Some(bytes)
}
