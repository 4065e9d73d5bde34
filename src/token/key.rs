//! Keys that verify.

use std::{fmt, sync::Arc};

use super::{
    Algorithm, CryptoBackend,
    algorithm::KeyType,
    backend::signature::Verifying,
    default_backend, jwk,
    key_format::{self, PublicKey},
};
use crate::error::{ConfigError, KeyProblem};

/// The shortest HMAC secret, in bytes.
const MIN_SECRET_BYTES: usize = 32;

/// A key that verifies signatures of one [`Algorithm`], and whose strength was checked.
///
/// Cheap to clone. Debug shows neither the key nor a part of it.
#[derive(Clone)]
pub struct VerifyingKey {
    algorithm: Algorithm,
    kid: Option<Arc<str>>,
    material: Arc<Material>,
}

struct Material {
    verifying: Verifying,
    public: Public,
}

/// What a key consists of, as far as it may be published.
#[derive(PartialEq, Eq)]
pub(super) enum Public {
    Secret,
    Rsa {
        modulus: Box<[u8]>,
        exponent: Box<[u8]>,
    },
    /// Uncompressed: 4, x, y.
    Ec(Box<[u8]>),
    Ed25519([u8; 32]),
}

impl VerifyingKey {
    /// A shared secret for HS256, HS384 or HS512.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Key`]: [`ShortSecret`](KeyProblem::ShortSecret) under 32 bytes
    /// ([RFC 7518, section 3.2](https://www.rfc-editor.org/rfc/rfc7518#section-3.2)),
    /// [`SecretIsPublicKey`](KeyProblem::SecretIsPublicKey) if it is a public key or a
    /// certificate, [`TypeMismatch`](KeyProblem::TypeMismatch) for another algorithm.
    pub fn hmac(algorithm: Algorithm, secret: &[u8]) -> Result<Self, ConfigError> {
        Self::from_secret(algorithm, secret).map_err(nameless)
    }

    /// A public key in PEM: `PUBLIC KEY` (SPKI) or `RSA PUBLIC KEY` (PKCS#1), one block.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Key`]: the key is malformed, weak, private, or of another algorithm's type.
    pub fn from_pem(algorithm: Algorithm, pem: &[u8]) -> Result<Self, ConfigError> {
        Self::read_pem(algorithm, pem).map_err(nameless)
    }

    /// A JWK ([RFC 7517](https://www.rfc-editor.org/rfc/rfc7517)) with its `kid`.
    ///
    /// `alg` may be left out where `crv` tells it. `use` must be `sig` and `key_ops` hold
    /// `verify`, where they stand.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Key`]: the key is malformed, weak, private, for encryption, or of a type
    /// that is not supported.
    pub fn from_jwk(jwk: &str) -> Result<Self, ConfigError> {
        jwk::parse(jwk)
    }

    /// The key under this id. A token names it in its header.
    #[must_use]
    pub fn with_kid(mut self, kid: impl Into<String>) -> Self {
        self.kid = Some(kid.into().into());
        self
    }

    /// Its id. Without one, it verifies tokens that have none.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The one algorithm it is for.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public key as a JWK, a JSON text with `alg`, `use` and its `kid`; `None` for a secret.
    pub fn to_jwk(&self) -> Option<String> {
        self.jwk().map(|jwk| jwk.to_string())
    }

    pub(super) fn jwk(&self) -> Option<serde_json::Value> {
        let mut members = jwk::members(&self.material.public, self.algorithm)?;
        members.insert("alg".to_owned(), self.algorithm.as_str().into());
        members.insert("use".to_owned(), "sig".into());
        if let Some(kid) = self.kid() {
            members.insert("kid".to_owned(), kid.into());
        }
        Some(members.into())
    }

    // ---- what the rest of the module makes and asks ----

    pub(super) fn from_secret(algorithm: Algorithm, secret: &[u8]) -> Result<Self, KeyProblem> {
        algorithm.fits(KeyType::Secret)?;
        // Anybody could sign with it (CVE-2015-9235 and its many successors).
        if key_format::is_public(secret) {
            return Err(KeyProblem::SecretIsPublicKey);
        }
        if secret.len() < MIN_SECRET_BYTES {
            return Err(KeyProblem::ShortSecret);
        }
        Ok(Self::make(algorithm, Verifying::secret(algorithm, secret), Public::Secret))
    }

    pub(super) fn from_rsa(
        algorithm: Algorithm,
        modulus: &[u8],
        exponent: &[u8],
    ) -> Result<Self, KeyProblem> {
        algorithm.fits(KeyType::Rsa)?;
        let modulus = without_leading_zeros(modulus);
        let exponent = without_leading_zeros(exponent);
        if !(2048..=8192).contains(&bits(modulus)) {
            return Err(KeyProblem::RsaModulus);
        }
        // 33 bits are what the libraries take; more would only make verifying slow.
        let odd = exponent.last().is_some_and(|byte| byte % 2 == 1);
        if !odd || exponent == [1] || bits(exponent) > 33 {
            return Err(KeyProblem::RsaExponent);
        }
        let public = Public::Rsa { modulus: modulus.into(), exponent: exponent.into() };
        Self::make(algorithm, Verifying::rsa(algorithm, modulus, exponent), public).checked()
    }

    /// `point` as it stands in SPKI: uncompressed for EC, the bare 32 bytes for Ed25519.
    pub(super) fn from_point(
        algorithm: Algorithm,
        found: KeyType,
        point: &[u8],
    ) -> Result<Self, KeyProblem> {
        algorithm.fits(found)?;
        let coordinate = match algorithm {
            Algorithm::ES256 => 32,
            Algorithm::ES384 => 48,
            _ => {
                let x: [u8; 32] = point.try_into().map_err(|_| KeyProblem::Malformed)?;
                if has_small_order(x) {
                    return Err(KeyProblem::Malformed);
                }
                return Self::make(algorithm, Verifying::ed25519(&x), Public::Ed25519(x)).checked();
            }
        };
        if point.len() != 1 + 2 * coordinate || point[0] != 4 {
            return Err(KeyProblem::Malformed);
        }
        Self::make(algorithm, Verifying::ec(algorithm, point), Public::Ec(point.into())).checked()
    }

    fn read_pem(algorithm: Algorithm, pem: &[u8]) -> Result<Self, KeyProblem> {
        let block = key_format::only_block(pem).ok_or(KeyProblem::Malformed)?;
        let key = match block.tag() {
            "PUBLIC KEY" => key_format::spki(block.contents()),
            "RSA PUBLIC KEY" => key_format::pkcs1_public(block.contents()),
            label if label.ends_with("PRIVATE KEY") => return Err(KeyProblem::PrivateHalf),
            _ => None,
        };
        match key.ok_or(KeyProblem::Malformed)? {
            PublicKey::Rsa(key) => {
                Self::from_rsa(algorithm, key.modulus.as_bytes(), key.public_exponent.as_bytes())
            }
            PublicKey::Point(found, point) => Self::from_point(algorithm, found, point),
        }
    }

    fn make(algorithm: Algorithm, verifying: Verifying, public: Public) -> Self {
        Self { algorithm, kid: None, material: Arc::new(Material { verifying, public }) }
    }

    /// Refuses at once what the library could never verify with. Without a library nothing can be
    /// built on the key either.
    fn checked(self) -> Result<Self, KeyProblem> {
        match default_backend() {
            Ok(backend) => self.check(backend).map(|()| self),
            Err(_) => Ok(self),
        }
    }

    /// Whether this library can verify with it.
    fn check(&self, backend: CryptoBackend) -> Result<(), KeyProblem> {
        let modulus = match &self.material.public {
            Public::Rsa { modulus, .. } => Some(&**modulus),
            Public::Secret | Public::Ec(_) | Public::Ed25519(_) => None,
        };
        backend.check(self.algorithm, &self.material.verifying, modulus)
    }

    /// Whether this library can verify with it, as whoever builds a verifier asks.
    pub(crate) fn usable_with(&self, backend: CryptoBackend) -> Result<(), ConfigError> {
        self.check(backend).map_err(|problem| problem_of(self.kid(), problem))
    }

    /// Whether `signature` is this key's over `message`.
    pub(crate) fn verifies(
        &self,
        backend: CryptoBackend,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        backend.verifies(self.algorithm, &self.material.verifying, message, signature)
    }

    pub(super) fn public(&self) -> &Public {
        &self.material.public
    }

    pub(super) fn is_secret(&self) -> bool {
        self.material.public == Public::Secret
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("algorithm", &self.algorithm)
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

/// How many bits a big-endian number without leading zeros has.
fn bits(number: &[u8]) -> usize {
    let unused = number.first().map_or(0, |first| first.leading_zeros());
    number.len() * 8 - unused as usize
}

/// Whether an Ed25519 key is one of the points whose order divides 8, all zeros for instance. The
/// secret drops out of their signatures, so that anybody can make them
/// ([Taming the many EdDSAs, section 2](https://eprint.iacr.org/2020/1244)).
fn has_small_order(mut x: [u8; 32]) -> bool {
    // The sign of the other coordinate.
    x[31] &= 0x7f;
    let [low, middle @ .., high] = x;
    match (low, high) {
        (0 | 1, 0) => middle == [0; 30],
        // p - 1, and p and p + 1, which readers reduce to 0 and 1.
        (0xec..=0xee, 0x7f) => middle == [0xff; 30],
        _ => ORDER_8.contains(&x),
    }
}

/// The second coordinates of the points of order 8.
const ORDER_8: [[u8; 32]; 2] = [
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
];

/// A big-endian number without its leading zeros.
fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    &number[zeros..]
}

/// What went wrong with the key `kid`.
pub(super) fn problem_of(kid: Option<&str>, problem: KeyProblem) -> ConfigError {
    ConfigError::Key { kid: kid.unwrap_or("(no kid)").to_owned(), problem }
}

pub(super) fn nameless(problem: KeyProblem) -> ConfigError {
    problem_of(None, problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::algorithm::Curve;

    #[test]
    fn a_key_whose_signatures_anybody_can_make_is_refused() {
        let ends =
            [(0, 0, 0), (1, 0, 0), (0xec, 0xff, 0x7f), (0xed, 0xff, 0x7f), (0xee, 0xff, 0x7f)];
        let points = ends.map(|(low, middle, high)| {
            let mut x = [middle; 32];
            (x[0], x[31]) = (low, high);
            x
        });
        // The neutral element and zero: made without a secret.
        let forged = [&[1][..], &[0; 63]].concat();
        let mut forgeries = 0;
        for (mut x, sign) in points.into_iter().chain(ORDER_8).flat_map(|x| [(x, 0), (x, 0x80)]) {
            x[31] |= sign;
            let made = VerifyingKey::from_point(Algorithm::EdDSA, KeyType::Okp(Curve::Ed25519), &x);
            assert_eq!(made.err(), Some(KeyProblem::Malformed), "{x:02x?}");
            for &backend in CryptoBackend::ALL {
                let key = Verifying::ed25519(&x);
                let fits = |n| backend.verifies(Algorithm::EdDSA, &key, &[n], &forged);
                forgeries += usize::from((0..64).any(fits));
            }
        }
        assert!(forgeries > 0, "the libraries refuse them by now: drop the list");
    }
}
