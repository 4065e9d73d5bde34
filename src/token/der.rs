//! The DER of public and private keys, as far as keys of ours need it.
//!
//! Own code, because what stands between a key and its use must be told apart exactly: the
//! library's reader takes the first bit string it finds for the key, whatever its curve.

use super::algorithm::{Curve, KeyType};

/// A public key taken apart, borrowed from its DER.
#[derive(Clone, Copy, Debug)]
pub(super) enum PublicKey<'a> {
    /// Big-endian, without leading zeros.
    Rsa { modulus: &'a [u8], exponent: &'a [u8] },
    /// The bit string of another type of key.
    Point(KeyType, &'a [u8]),
}

/// A private key taken apart, borrowed from its DER.
pub(super) enum PrivateKey<'a> {
    /// With the inner PKCS#1 form.
    Rsa { pkcs1: &'a [u8], modulus: &'a [u8], exponent: &'a [u8] },
    /// The whole is what libraries read.
    Curve(KeyType),
}

/// `SubjectPublicKeyInfo` ([RFC 5280, section 4.1](https://www.rfc-editor.org/rfc/rfc5280#section-4.1)).
pub(super) fn spki(der: &[u8]) -> Option<PublicKey<'_>> {
    let mut outer = Reader(der);
    let mut info = Reader(outer.read(SEQUENCE)?);
    outer.end()?;
    let key_type = algorithm(info.read(SEQUENCE)?)?;
    let bits = info.read(BIT_STRING)?;
    info.end()?;
    // The first byte counts the bits that are not used, and a key uses all.
    let key = bits.strip_prefix(&[0])?;
    match key_type {
        KeyType::Rsa => pkcs1_public(key),
        other => Some(PublicKey::Point(other, key)),
    }
}

/// `RSAPublicKey` ([RFC 8017, appendix A.1.1](https://www.rfc-editor.org/rfc/rfc8017#appendix-A.1.1)).
pub(super) fn pkcs1_public(der: &[u8]) -> Option<PublicKey<'_>> {
    let mut outer = Reader(der);
    let mut key = Reader(outer.read(SEQUENCE)?);
    outer.end()?;
    let (modulus, exponent) = (key.unsigned()?, key.unsigned()?);
    key.end()?;
    Some(PublicKey::Rsa { modulus, exponent })
}

/// `OneAsymmetricKey` or `PrivateKeyInfo`
/// ([RFC 5958, section 2](https://www.rfc-editor.org/rfc/rfc5958#section-2)).
pub(super) fn pkcs8(der: &[u8]) -> Option<PrivateKey<'_>> {
    let mut outer = Reader(der);
    let mut info = Reader(outer.read(SEQUENCE)?);
    outer.end()?;
    let _version = info.read(INTEGER)?;
    let key_type = algorithm(info.read(SEQUENCE)?)?;
    let inner = info.read(OCTET_STRING)?;
    if key_type != KeyType::Rsa {
        return Some(PrivateKey::Curve(key_type));
    }
    let mut key = Reader(Reader(inner).read(SEQUENCE)?);
    let _version = key.read(INTEGER)?;
    Some(PrivateKey::Rsa { pkcs1: inner, modulus: key.unsigned()?, exponent: key.unsigned()? })
}

/// An RSA key's PKCS#1 form, wrapped into PKCS#8.
pub(super) fn pkcs8_of_rsa(pkcs1: &[u8]) -> Vec<u8> {
    let mut info = vec![INTEGER, 1, 0];
    let mut identifier = element(OBJECT_IDENTIFIER, RSA_ENCRYPTION);
    identifier.extend([NULL, 0]);
    info.extend(element(SEQUENCE, &identifier));
    info.extend(element(OCTET_STRING, pkcs1));
    element(SEQUENCE, &info)
}

/// Whether `bytes` are what somebody publishes: a public key or a certificate.
pub(super) fn is_public(bytes: &[u8]) -> bool {
    spki(bytes).is_some() || pkcs1_public(bytes).is_some() || is_certificate(bytes)
}

/// `Certificate`: what is signed, by which algorithm, the signature.
fn is_certificate(bytes: &[u8]) -> bool {
    let mut outer = Reader(bytes);
    outer.read(SEQUENCE).is_some_and(|content| {
        let mut parts = Reader(content);
        parts.read(SEQUENCE).is_some()
            && parts.read(SEQUENCE).is_some()
            && parts.read(BIT_STRING).is_some()
            && parts.end().is_some()
    })
}

/// `AlgorithmIdentifier` to the type of key.
fn algorithm(identifier: &[u8]) -> Option<KeyType> {
    let mut identifier = Reader(identifier);
    Some(match identifier.read(OBJECT_IDENTIFIER)? {
        RSA_ENCRYPTION => KeyType::Rsa,
        EC_PUBLIC_KEY => KeyType::Ec(match identifier.read(OBJECT_IDENTIFIER)? {
            PRIME256V1 => Curve::P256,
            SECP384R1 => Curve::P384,
            _ => Curve::Other,
        }),
        ED25519 => KeyType::Okp(Curve::Ed25519),
        // X25519, X448 and Ed448 stand next to it.
        [0x2b, 0x65, 0x6e | 0x6f | 0x71] => KeyType::Okp(Curve::Other),
        _ => return None,
    })
}

/// Reads elements one after the other.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The content of the next element, if it has this tag.
    fn read(&mut self, tag: u8) -> Option<&'a [u8]> {
        let rest = self.0.strip_prefix(&[tag])?;
        let (&first, mut rest) = rest.split_first()?;
        let length = match first {
            0..=0x7f => usize::from(first),
            // Four bytes of length hold more than any key.
            0x81..=0x84 => {
                let (length, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
                rest = after;
                length.iter().fold(0, |length, &byte| length << 8 | usize::from(byte))
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(content)
    }

    /// A whole number that is not negative, without leading zeros.
    fn unsigned(&mut self) -> Option<&'a [u8]> {
        let number = self.read(INTEGER)?;
        let negative = *number.first()? >= 0x80;
        (!negative).then(|| without_leading_zeros(number))
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// A big-endian number without its leading zeros.
pub(super) fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    &number[zeros..]
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    let length = content.len().to_be_bytes();
    match content.len() {
        0..0x80 => bytes.push(length[length.len() - 1]),
        _ => {
            let length = without_leading_zeros(&length);
            bytes.push(0x80 | length.len().to_le_bytes()[0]);
            bytes.extend(length);
        }
    }
    bytes.extend(content);
    bytes
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const NULL: u8 = 0x05;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const PRIME256V1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const SECP384R1: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
