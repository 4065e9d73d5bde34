//! Keys that sign.

use std::{fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    Algorithm, CryptoBackend, VerifyingKey,
    algorithm::{Curve, KeyType},
    backend::{keys::random, signature::Signing},
    default_backend,
    jwk::thumbprint,
    key::nameless,
    key_format::{self, PrivateKey},
};
use crate::error::{ConfigError, Error, ErrorKind, KeyProblem};

/// What a secret signs to name itself. No token is ever signed over it: that would hold a dot.
const KID_LABEL: &[u8] = b"tower-revocation kid";

/// A key that signs tokens by one [`Algorithm`], with its id.
///
/// Cheap to clone. Debug shows neither the key nor a part of it.
#[derive(Clone)]
pub struct SigningKey {
    kid: Arc<str>,
    backend: CryptoBackend,
    signing: Arc<Signing>,
    verifying: VerifyingKey,
}

impl SigningKey {
    /// A new key from the system's random numbers: HS256, HS384, HS512, ES256, ES384 or EdDSA.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NoCryptoBackend`], or [`ConfigError::Key`] with
    /// [`CannotGenerate`](KeyProblem::CannotGenerate) for RSA, whose keys come from a file.
    pub fn generate(algorithm: Algorithm) -> Result<Self, ConfigError> {
        let backend = default_backend()?;
        let refused = || nameless(KeyProblem::CannotGenerate);
        if let Some(length) = algorithm.secret_bytes() {
            let secret = random::<64>().ok_or_else(refused)?;
            return Self::hmac(algorithm, &secret[..length]);
        }
        let pkcs8 = backend.generate(algorithm).ok_or_else(refused)?;
        Self::from_pkcs8(algorithm, &pkcs8, backend)
    }

    /// A shared secret for HS256, HS384 or HS512.
    ///
    /// Its id is derived from the secret, so that all instances with the secret agree on it.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NoCryptoBackend`], or as [`VerifyingKey::hmac`].
    pub fn hmac(algorithm: Algorithm, secret: &[u8]) -> Result<Self, ConfigError> {
        let backend = default_backend()?;
        let verifying = VerifyingKey::hmac(algorithm, secret)?;
        let signing = Signing::secret(secret);
        // A keyed hash of a label tells no more of the secret than any token does.
        let name = backend
            .sign(algorithm, &signing, KID_LABEL)
            .map_err(|_| nameless(KeyProblem::Malformed))?;
        let kid = URL_SAFE_NO_PAD.encode(&name[..16]);
        Ok(Self { kid: kid.into(), backend, signing: Arc::new(signing), verifying })
    }

    /// A private key in PEM: `PRIVATE KEY` (PKCS#8, not encrypted), one block.
    ///
    /// Its id is the thumbprint of the public half
    /// ([RFC 7638](https://www.rfc-editor.org/rfc/rfc7638)).
    ///
    /// # Errors
    ///
    /// [`ConfigError::NoCryptoBackend`], or [`ConfigError::Key`]: the key is malformed, weak, or of
    /// another algorithm's type.
    pub fn from_pem(algorithm: Algorithm, pem: &[u8]) -> Result<Self, ConfigError> {
        let backend = default_backend()?;
        match key_format::only_block(pem) {
            Some(block) if block.tag() == "PRIVATE KEY" => {
                Self::from_pkcs8(algorithm, block.contents(), backend)
            }
            _ => Err(nameless(KeyProblem::Malformed)),
        }
    }

    /// The private key in PEM (PKCS#8), to keep it; `None` for a secret.
    pub fn to_pem(&self) -> Option<String> {
        let bytes = self.signing.as_bytes();
        match self.algorithm().key_type() {
            KeyType::Secret => None,
            KeyType::Rsa => {
                key_format::pkcs8_of_rsa(bytes).map(|pkcs8| key_format::private_pem(&pkcs8))
            }
            KeyType::Ec(_) | KeyType::Okp(_) => Some(key_format::private_pem(bytes)),
        }
    }

    /// What [`hmac`](SigningKey::hmac) was given, to keep it; `None` for a pair of keys.
    pub(crate) fn secret(&self) -> Option<&[u8]> {
        let is_secret = self.algorithm().key_type() == KeyType::Secret;
        is_secret.then(|| self.signing.as_bytes())
    }

    /// The key under another id.
    #[must_use]
    pub fn with_kid(mut self, kid: impl Into<String>) -> Self {
        self.kid = kid.into().into();
        self
    }

    /// Its id, which stands in the header of every token it signs.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The one algorithm it is for.
    pub fn algorithm(&self) -> Algorithm {
        self.verifying.algorithm()
    }

    /// What verifies its tokens: the public half, or the secret itself.
    pub fn verifying_key(&self) -> VerifyingKey {
        self.verifying.clone().with_kid(&*self.kid)
    }

    /// Signs `message`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Signing`].
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.backend
            .sign(self.algorithm(), &self.signing, message)
            .map_err(|error| Error::new(ErrorKind::Signing, error))
    }

    fn from_pkcs8(
        algorithm: Algorithm,
        pkcs8: &[u8],
        backend: CryptoBackend,
    ) -> Result<Self, ConfigError> {
        Self::read_pkcs8(algorithm, pkcs8, backend).map_err(nameless)
    }

    fn read_pkcs8(
        algorithm: Algorithm,
        pkcs8: &[u8],
        backend: CryptoBackend,
    ) -> Result<Self, KeyProblem> {
        let (signing, verifying) = match key_format::pkcs8(pkcs8).ok_or(KeyProblem::Malformed)? {
            PrivateKey::Rsa { pkcs1, public } => {
                let (modulus, exponent) = (public.modulus, public.public_exponent);
                let key =
                    VerifyingKey::from_rsa(algorithm, modulus.as_bytes(), exponent.as_bytes())?;
                (Signing::rsa(pkcs1), key)
            }
            PrivateKey::Curve(found) => {
                algorithm.fits(found)?;
                if found == KeyType::Okp(Curve::Ed25519) {
                    let public = backend.ed25519_public(pkcs8).ok_or(KeyProblem::Malformed)?;
                    let key = VerifyingKey::from_point(algorithm, found, &public)?;
                    (Signing::ed25519(pkcs8), key)
                } else {
                    let point = backend.ec_point(algorithm, pkcs8).ok_or(KeyProblem::Malformed)?;
                    let key = VerifyingKey::from_point(algorithm, found, &point)?;
                    (Signing::ec(pkcs8), key)
                }
            }
        };
        // The halves are read from one file, but nothing made that file write them as a pair.
        let proof =
            backend.sign(algorithm, &signing, KID_LABEL).map_err(|_| KeyProblem::Malformed)?;
        if !verifying.verifies(backend, KID_LABEL, &proof) {
            return Err(KeyProblem::Malformed);
        }
        let kid = thumbprint(&verifying, backend).ok_or(KeyProblem::Malformed)?;
        Ok(Self { kid: kid.into(), backend, signing: Arc::new(signing), verifying })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("algorithm", &self.algorithm())
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_key_survives_its_pem() {
        for algorithm in [Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA] {
            let key = SigningKey::generate(algorithm).unwrap();
            let again = SigningKey::from_pem(algorithm, key.to_pem().unwrap().as_bytes()).unwrap();
            assert_eq!(key.kid(), again.kid(), "{algorithm}");
            assert_eq!(key.to_pem(), again.to_pem(), "{algorithm}");
        }
    }

    #[test]
    fn keys_of_each_library_are_read_by_the_others() {
        for &backend in CryptoBackend::ALL {
            for &reader in CryptoBackend::ALL {
                for algorithm in [Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA] {
                    let pkcs8 = backend.generate(algorithm).unwrap();
                    let key = SigningKey::read_pkcs8(algorithm, &pkcs8, reader);
                    assert!(key.is_ok(), "{backend:?} to {reader:?}: {algorithm}");
                }
            }
        }
    }

    #[test]
    fn a_thumbprint_is_that_of_rfc_8037() {
        // Appendix A.3.
        let jwk = r#"{"kty":"OKP","crv":"Ed25519",
            "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        let key = VerifyingKey::from_jwk(jwk).unwrap();
        assert_eq!(
            thumbprint(&key, default_backend().unwrap()).as_deref(),
            Some("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k")
        );
    }
}
