//! Signatures, over every algorithm and every crypto library.

use tower_revocation::{
    Rejection, Verifier,
    token::{Algorithm, CryptoBackend, SigningKey, VerifyingKey},
    verify::Malformed,
};

use crate::support::*;

/// A verifier on each library.
fn verifiers(algorithm: Algorithm) -> Vec<(CryptoBackend, Verifier)> {
    let build = |backend| {
        Verifier::builder(epochs().0).issuer(rules(algorithm)).crypto(backend).build().unwrap()
    };
    CryptoBackend::ALL.iter().map(|&backend| (backend, build(backend))).collect()
}

/// A good token of this algorithm: what is signed, and the signature.
fn signed(algorithm: Algorithm) -> (String, Vec<u8>) {
    let message = format!("{}.{}", b64(header(algorithm).json()), b64(payload().json()));
    let signature = Forger::new(algorithm).sign(message.as_bytes());
    (message, signature)
}

/// Holds the good signature and a changed one against every library.
fn each(algorithm: Algorithm, expected: Option<Rejection>, change: impl Fn(&mut Vec<u8>)) {
    let (message, signature) = signed(algorithm);
    let mut changed = signature.clone();
    change(&mut changed);
    assert_ne!(signature, changed, "{algorithm}: nothing was changed");
    for (backend, verifier) in verifiers(algorithm) {
        let token = |signature: &[u8]| format!("{message}.{}", b64(signature));
        assert_eq!(check(&verifier, token(&signature)).err(), None, "{algorithm} {backend:?}");
        let refused = check(&verifier, token(&changed)).err();
        assert_eq!(refused, expected, "{algorithm} {backend:?}");
    }
}

const BAD: Option<Rejection> = Some(Rejection::Signature);

/// The orders of P-256 and P-384 (SEC 2).
const N256: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
const N384: &str = "ffffffffffffffffffffffffffffffffffffffffffffffff\
                    c7634d81f4372ddf581a0db248b0a77aecec196accc52973";

fn order(algorithm: Algorithm) -> Vec<u8> {
    let hex = if algorithm == Algorithm::ES256 { N256 } else { N384 };
    let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digits).collect()
}

#[test]
fn both_libraries_are_under_test() {
    assert_eq!(CryptoBackend::ALL.len(), 2);
}

#[test]
fn every_algorithm_accepts_its_own_signature_and_no_other_bit() {
    for &algorithm in Algorithm::ALL {
        for bit in [0, 9] {
            each(algorithm, BAD, |signature| {
                let last = signature.len() - 1;
                signature[last - bit] ^= 1;
            });
            each(algorithm, BAD, |signature| signature[bit] ^= 0x80);
        }
        each(algorithm, BAD, |signature| signature.push(0));
        each(algorithm, BAD, |signature| signature.insert(0, 0));
    }
}

#[test]
fn every_algorithm_refuses_a_changed_payload() {
    for &algorithm in Algorithm::ALL {
        let (message, signature) = signed(algorithm);
        let (h, _) = message.split_once('.').unwrap();
        let other = payload().text("sub", "mallory").json();
        let token = format!("{h}.{}.{}", b64(other), b64(signature));
        for (backend, verifier) in verifiers(algorithm) {
            assert_eq!(check(&verifier, &token).err(), BAD, "{algorithm} {backend:?}");
        }
    }
}

#[test]
fn b56_refuses_an_all_zero_signature() {
    for &algorithm in Algorithm::ALL {
        each(algorithm, BAD, |signature| signature.fill(0));
    }
}

#[test]
fn b57_refuses_r_or_s_at_or_above_the_order() {
    for algorithm in [Algorithm::ES256, Algorithm::ES384] {
        let n = order(algorithm);
        let half = n.len();
        each(algorithm, BAD, |signature| signature[..half].copy_from_slice(&n));
        each(algorithm, BAD, |signature| signature[half..].copy_from_slice(&n));
        each(algorithm, BAD, |signature| signature[..half].fill(0xff));
        each(algorithm, BAD, |signature| signature[half..].fill(0xff));
        each(algorithm, BAD, |signature| signature[..half].fill(0));
        each(algorithm, BAD, |signature| signature[half..].fill(0));
    }
}

#[test]
fn b58_refuses_a_der_encoded_ecdsa_signature() {
    fn integer(number: &[u8]) -> Vec<u8> {
        let zeros = number.iter().take_while(|&&byte| byte == 0).count();
        let mut content = number[zeros..].to_vec();
        if content[0] >= 0x80 {
            content.insert(0, 0);
        }
        [&[2, u8::try_from(content.len()).unwrap()], &content[..]].concat()
    }
    for algorithm in [Algorithm::ES256, Algorithm::ES384] {
        each(algorithm, BAD, |signature| {
            let (r, s) = signature.split_at(signature.len() / 2);
            let content = [integer(r), integer(s)].concat();
            *signature = [&[0x30, u8::try_from(content.len()).unwrap()], &content[..]].concat();
        });
    }
}

#[test]
fn b59_refuses_a_truncated_signature() {
    for &algorithm in Algorithm::ALL {
        for length in [1, 16, 31] {
            each(algorithm, BAD, |signature| signature.truncate(length));
        }
        each(algorithm, BAD, |signature| signature.truncate(signature.len() - 1));
        let gone = Some(Rejection::Malformed(Malformed::EmptySegment));
        each(algorithm, gone, Vec::clear);
    }
}

#[test]
fn b60_refuses_another_key_under_the_same_kid() {
    for algorithm in [Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA, Algorithm::HS256] {
        let pem = SigningKey::generate(algorithm).unwrap();
        let other = pem.verifying_key().with_kid("k1");
        let keys = tower_revocation::token::KeySet::new([other]).unwrap();
        let (message, signature) = signed(algorithm);
        let token = format!("{message}.{}", b64(signature));
        for (backend, verifier) in verifiers(algorithm) {
            assert_eq!(check(&verifier, &token).err(), None, "{algorithm} {backend:?}");
            verifier.replace_keys(ISS, keys.clone()).unwrap();
            assert_eq!(check(&verifier, &token).err(), BAD, "{algorithm} {backend:?}");
        }
    }
}

#[test]
fn b61_accepts_es256_with_s_replaced_by_n_minus_s() {
    // Anyone can turn one good signature into the other; both vouch for the same message.
    for algorithm in [Algorithm::ES256, Algorithm::ES384] {
        let n = order(algorithm);
        each(algorithm, None, |signature| {
            let half = n.len();
            let mut borrow = 0;
            for at in (0..half).rev() {
                let difference = i16::from(n[at]) - i16::from(signature[half + at]) - borrow;
                borrow = i16::from(difference < 0);
                signature[half + at] = u8::try_from(difference + 256 * borrow).unwrap();
            }
        });
    }
}

#[test]
fn a_jwk_verifies_what_its_pem_does() {
    for &algorithm in Algorithm::ALL {
        let Some(jwk) = key(algorithm).to_jwk() else { continue };
        let again = VerifyingKey::from_jwk(&jwk).unwrap();
        assert_eq!((again.kid(), again.algorithm()), (Some("k1"), algorithm));
        let (message, signature) = signed(algorithm);
        let token = format!("{message}.{}", b64(signature));
        for (backend, verifier) in verifiers(algorithm) {
            let keys = tower_revocation::token::KeySet::new([again.clone()]).unwrap();
            verifier.replace_keys(ISS, keys).unwrap();
            assert_eq!(check(&verifier, &token).err(), None, "{algorithm} {backend:?}");
        }
    }
}

#[test]
fn a_replaced_key_is_forgotten_at_once() {
    let verifier = verifier(rules(Algorithm::EdDSA));
    let token = good(&payload());
    assert_eq!(check(&verifier, &token).err(), None);
    verifier.clone().replace_keys(ISS, keys(Algorithm::ES256)).unwrap();
    assert_eq!(check(&verifier, &token).err(), Some(Rejection::Algorithm));
    assert!(verifier.replace_keys("https://other.example", keys(Algorithm::EdDSA)).is_err());
}
