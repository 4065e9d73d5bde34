//! PEM and DER to the types of key that algorithms ask for.
//!
//! The formats are read and written by the crates `pem`, `spki`, `pkcs1` and `pkcs8`. (Not by
//! `pem-rfc7468`, which refuses a key on one long line, as environment variables hold it.) Added
//! here:
//!
//! - A key's type and curve are told by its object identifiers. The reader of `jsonwebtoken` takes
//!   the first bit string it finds for the key, whatever its curve.
//! - A text holds exactly one key. The crate `pem` ignores what follows the first.
//! - What somebody publishes is known for it, so that it never becomes a secret.

use base64::{Engine, engine::general_purpose::STANDARD};
use pem::{EncodeConfig, LineEnding, Pem};
use pkcs1::RsaPublicKey;
use pkcs8::{
    AlgorithmIdentifierRef, ObjectIdentifier, PrivateKeyInfo, SubjectPublicKeyInfoRef,
    der::{Decode, Encode, Reader, SliceReader, Tag, Tagged, asn1::AnyRef},
};

use super::algorithm::{Curve, KeyType};

/// A public key taken apart, borrowed from its DER.
pub(super) enum PublicKey<'a> {
    Rsa(RsaPublicKey<'a>),
    /// The bit string of another type of key.
    Point(KeyType, &'a [u8]),
}

/// A private key taken apart, borrowed from its DER.
pub(super) enum PrivateKey<'a> {
    /// With the inner PKCS#1 form.
    Rsa { pkcs1: &'a [u8], public: RsaPublicKey<'a> },
    /// The whole is what libraries read.
    Curve(KeyType),
}

/// The block of a text with exactly one.
///
/// Text in front is allowed, as tools write it; a second block is not, for it would be ignored.
pub(super) fn only_block(text: &[u8]) -> Option<Pem> {
    // The crate takes what stands in front of an empty line for headers. RFC 7468 has none, and
    // its readers skip such lines.
    let lines = std::str::from_utf8(text).ok()?.lines();
    let text = lines.filter(|line| !line.trim().is_empty()).collect::<Vec<_>>().join("\n");
    let block = pem::parse(&text).ok()?;
    let (_, from_label) = text.split_once(BEGIN)?;
    let (_, end) = from_label.split_once("-----END ")?;
    (end.trim_end().strip_suffix("-----")? == block.tag()).then_some(block)
}

/// A private key as a text of one block.
pub(super) fn private_pem(pkcs8: &[u8]) -> String {
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    pem::encode_config(&Pem::new("PRIVATE KEY", pkcs8), config)
}

/// `SubjectPublicKeyInfo` ([RFC 5280, section 4.1](https://www.rfc-editor.org/rfc/rfc5280#section-4.1)).
pub(super) fn spki(der: &[u8]) -> Option<PublicKey<'_>> {
    let info = SubjectPublicKeyInfoRef::from_der(der).ok()?;
    let key = info.subject_public_key.as_bytes()?;
    match key_type(info.algorithm)? {
        KeyType::Rsa => pkcs1_public(key),
        other => Some(PublicKey::Point(other, key)),
    }
}

/// `RSAPublicKey` ([RFC 8017, appendix A.1.1](https://www.rfc-editor.org/rfc/rfc8017#appendix-A.1.1)).
pub(super) fn pkcs1_public(der: &[u8]) -> Option<PublicKey<'_>> {
    RsaPublicKey::from_der(der).ok().map(PublicKey::Rsa)
}

/// `OneAsymmetricKey` or `PrivateKeyInfo`
/// ([RFC 5958, section 2](https://www.rfc-editor.org/rfc/rfc5958#section-2)).
pub(super) fn pkcs8(der: &[u8]) -> Option<PrivateKey<'_>> {
    let info = PrivateKeyInfo::from_der(der).ok()?;
    Some(match key_type(info.algorithm)? {
        KeyType::Rsa => {
            let pkcs1 = info.private_key;
            let public = pkcs1::RsaPrivateKey::from_der(pkcs1).ok()?.public_key();
            PrivateKey::Rsa { pkcs1, public }
        }
        other => PrivateKey::Curve(other),
    })
}

/// An RSA key's PKCS#1 form, wrapped into PKCS#8.
pub(super) fn pkcs8_of_rsa(pkcs1: &[u8]) -> Option<Vec<u8>> {
    PrivateKeyInfo::new(pkcs1::ALGORITHM_ID, pkcs1).to_der().ok()
}

/// Whether `bytes` are what somebody publishes: a public key of any type, or a certificate, in DER,
/// in base64 or in PEM.
pub(super) fn is_public(bytes: &[u8]) -> bool {
    if bytes.windows(BEGIN.len()).any(|text| text == BEGIN.as_bytes()) {
        return true;
    }
    // PEM without its first and last line, as Keycloak shows the key of a realm.
    let text: Vec<u8> = bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    is_public_der(bytes) || STANDARD.decode(text).is_ok_and(|der| is_public_der(&der))
}

fn is_public_der(bytes: &[u8]) -> bool {
    only_element(bytes).is_some_and(|der| {
        SubjectPublicKeyInfoRef::from_der(der).is_ok()
            || RsaPublicKey::from_der(der).is_ok()
            || is_certificate(der)
    })
}

/// The one element with only white space around it.
fn only_element(bytes: &[u8]) -> Option<&[u8]> {
    let bytes = bytes.trim_ascii_start();
    // Its length says where it ends: its last byte may look like white space.
    let element = SliceReader::new(bytes).ok()?.tlv_bytes().ok()?;
    bytes[element.len()..].trim_ascii().is_empty().then_some(element)
}

/// `Certificate`: what is signed, by which algorithm, the signature.
fn is_certificate(der: &[u8]) -> bool {
    <[AnyRef<'_>; 3]>::from_der(der)
        .is_ok_and(|parts| parts.map(|p| p.tag()) == [Tag::Sequence, Tag::Sequence, Tag::BitString])
}

fn key_type(identifier: AlgorithmIdentifierRef<'_>) -> Option<KeyType> {
    Some(match identifier.oid {
        pkcs1::ALGORITHM_OID => KeyType::Rsa,
        EC_PUBLIC_KEY => KeyType::Ec(match identifier.parameters_oid().ok()? {
            PRIME256V1 => Curve::P256,
            SECP384R1 => Curve::P384,
            _ => Curve::Other,
        }),
        ED25519 => KeyType::Okp(Curve::Ed25519),
        X25519 | X448 | ED448 => KeyType::Okp(Curve::Other),
        _ => return None,
    })
}

const BEGIN: &str = "-----BEGIN ";

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const PRIME256V1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const X25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.110");
const X448: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.111");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const ED448: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.113");

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519_PEM: &str = include_str!("../../tests/fixtures/keys/ed25519.pub.pem");
    const RSA_PEM: &str = include_str!("../../tests/fixtures/keys/rsa-2048.pem");
    const RSA_PUBLIC: &[u8] = include_bytes!("../../tests/fixtures/keys/rsa-2048.pub.der");
    const CERTIFICATE: &str = include_str!("../../tests/fixtures/keys/rsa-2048.certificate.pem");

    fn der(pem: &str) -> Vec<u8> {
        only_block(pem.as_bytes()).unwrap().into_contents()
    }

    #[test]
    fn a_text_holds_exactly_one_block_in_any_layout() {
        let pem = ED25519_PEM;
        let unwrapped = pem.replace('\n', "").replace("KEY-----M", "KEY-----\nM");
        for good in [
            pem.to_owned(),
            format!("Bag Attributes: <none>\n{pem}\n\n"),
            pem.replace('\n', "\r\n"),
            pem.replace('\n', "\n\n  "),
            unwrapped,
        ] {
            assert_eq!(der(&good), der(pem), "{good}");
        }
        for bad in [
            String::new(),
            format!("{pem}{pem}"),
            format!("{pem}{}", pem.replace("PUBLIC", "PRIVATE")),
            format!("{pem}-----BEGIN PUBLIC KEY-----\n"),
            format!("{pem}-----END PUBLIC KEY-----\n"),
            format!("{pem}more"),
            pem.replace("END PUBLIC", "END PRIVATE"),
            pem.replace("-----END PUBLIC KEY-----", ""),
            pem.replacen("KEY-----\n", "KEY-----\nProc-Type: 4,ENCRYPTED\n\n", 1),
            pem.replacen("-\nM", "-\n!M", 1),
        ] {
            assert_eq!(only_block(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn only_der_is_a_key() {
        assert!(spki(RSA_PUBLIC).is_some());
        let short = der(ED25519_PEM);
        // The same with its length in two bytes, as BER has it.
        let ber = [&[0x30, 0x81], &short[1..]].concat();
        let trailing = [&short, &[0][..]].concat();
        for bad in [&ber, &trailing, &short[..short.len() - 1], &[][..]] {
            assert!(spki(bad).is_none(), "{bad:02x?}");
        }
        // Seven bits of the key's last byte, where a key has whole bytes.
        let mut bits = short.clone();
        let unused = bits.len() - 33;
        bits[unused] = 1;
        *bits.last_mut().unwrap() &= 0xfe;
        assert!(spki(&bits).is_none());
    }

    #[test]
    fn an_rsa_key_is_wrapped_as_it_was() {
        let pkcs8 = der(RSA_PEM);
        let Some(PrivateKey::Rsa { pkcs1, .. }) = super::pkcs8(&pkcs8) else { panic!() };
        assert_eq!(private_pem(&pkcs8_of_rsa(pkcs1).unwrap()), RSA_PEM);
    }

    #[test]
    fn what_is_published_is_known_with_white_space_around_it() {
        // A key may end in what looks like white space.
        let mut newline = der(ED25519_PEM);
        *newline.last_mut().unwrap() = b'\n';
        let Some(PublicKey::Rsa(key)) = spki(RSA_PUBLIC) else { panic!() };
        for public in [newline, key.to_der().unwrap(), RSA_PUBLIC.to_vec(), der(CERTIFICATE)] {
            assert!(is_public(&public), "{public:02x?}");
            assert!(is_public(&[b"\r\n ", &public[..], b" \n"].concat()), "{public:02x?}");
            assert!(!is_public(&[&public[..], b"x"].concat()), "{public:02x?}");
        }
        assert!(is_public(format!("x{CERTIFICATE}").as_bytes()));
        for secret in [&b""[..], &[0x30; 64], &[7; 32], &der(RSA_PEM)] {
            assert!(!is_public(secret), "{secret:02x?}");
        }
    }
}
