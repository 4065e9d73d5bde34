//! Mistakes in the set-up, refused where something is built and by the name of the field.

use std::time::Duration;

use tower_revocation::{
    Verifier,
    epochs::Epochs,
    error::{ConfigError, KeyProblem},
    lifetimes::Lifetimes,
    token::{Algorithm, CryptoBackend, KeySet, SigningKey, VerifyingKey},
    verify::IssuerRules,
};

use crate::support::*;

/// Which problem of a key it was.
fn problem<T>(result: Result<T, ConfigError>) -> Option<KeyProblem> {
    match result {
        Err(ConfigError::Key { problem, .. }) => Some(problem),
        _ => None,
    }
}

fn build(rules: IssuerRules) -> Result<Verifier, ConfigError> {
    Verifier::builder(Epochs::new()).issuer(rules).build()
}

/// An RSA public key of these numbers as PEM.
fn rsa(modulus: &[u8], exponent: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use pkcs1::{RsaPublicKey, UintRef, der::Encode};
    let (modulus, public_exponent) = (UintRef::new(modulus), UintRef::new(exponent));
    let key = RsaPublicKey { modulus: modulus.unwrap(), public_exponent: public_exponent.unwrap() };
    let body = STANDARD.encode(key.to_der().unwrap());
    format!("-----BEGIN RSA PUBLIC KEY-----\n{body}\n-----END RSA PUBLIC KEY-----\n")
}

#[test]
fn b81_refuses_a_secret_that_is_empty_or_under_32_bytes() {
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        for length in [0, 1, 31] {
            let secret = vec![7; length];
            let expected = Some(KeyProblem::ShortSecret);
            assert_eq!(problem(VerifyingKey::hmac(algorithm, &secret)), expected);
            assert_eq!(problem(SigningKey::hmac(algorithm, &secret)), expected);
            let jwk = format!(r#"{{"kty":"oct","alg":"{algorithm}","k":"{}"}}"#, b64(&secret));
            assert_eq!(problem(VerifyingKey::from_jwk(&jwk)), expected);
        }
        assert!(VerifyingKey::hmac(algorithm, &[7; 32]).is_ok());
    }
    let error = VerifyingKey::hmac(Algorithm::HS256, b"hunter2").unwrap_err().to_string();
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn b82_refuses_a_weak_rsa_key() {
    let rs256 = Algorithm::RS256;
    let weak = VerifyingKey::from_pem(rs256, &fixture("rsa-1024.pub.pem"));
    assert_eq!(problem(weak), Some(KeyProblem::RsaModulus));
    let signing = SigningKey::from_pem(rs256, &fixture("rsa-1024.pem"));
    assert_eq!(problem(signing), Some(KeyProblem::RsaModulus));

    let modulus = vec![0xc5; 256];
    for (modulus, exponent, expected) in [
        (vec![0xc5; 256], &[1, 0, 1][..], None),
        (vec![0xc5; 256], &[3], None),
        (modulus.clone(), &[1], Some(KeyProblem::RsaExponent)),
        (modulus.clone(), &[0], Some(KeyProblem::RsaExponent)),
        (modulus.clone(), &[2], Some(KeyProblem::RsaExponent)),
        (modulus.clone(), &[1, 0, 0], Some(KeyProblem::RsaExponent)),
        (modulus, &[3, 0, 0, 0, 1], Some(KeyProblem::RsaExponent)),
        // 2047 bits, then 8200.
        (vec![0x7f; 256], &[1, 0, 1], Some(KeyProblem::RsaModulus)),
        (vec![0xc5; 1025], &[1, 0, 1], Some(KeyProblem::RsaModulus)),
    ] {
        let key = VerifyingKey::from_pem(rs256, rsa(&modulus, exponent).as_bytes());
        assert_eq!(problem(key), expected, "{} bytes, {exponent:?}", modulus.len());
        let jwk = serde_json::json!({
            "kty": "RSA", "alg": "RS256", "n": b64(&modulus), "e": b64(exponent),
        });
        assert_eq!(problem(VerifyingKey::from_jwk(&jwk.to_string())), expected);
    }
}

#[test]
fn b82_a_key_too_long_for_the_library_is_refused_when_it_is_built_on() {
    let long = rsa(&[0xc5; 1024], &[1, 0, 1]);
    let key = VerifyingKey::from_pem(Algorithm::RS256, long.as_bytes()).unwrap();
    let rules = || IssuerRules::new(ISS, KeySet::new([key.clone()]).unwrap()).audience(AUD);
    for &backend in CryptoBackend::ALL {
        let built = Verifier::builder(Epochs::new()).issuer(rules()).crypto(backend).build();
        let expected = (backend == CryptoBackend::RustCrypto).then_some(KeyProblem::RsaModulus);
        assert_eq!(problem(built), expected, "{backend:?}");
    }
}

#[test]
fn b83_refuses_sets_that_invite_confusion() {
    let twice = KeySet::new([key(Algorithm::EdDSA), key(Algorithm::ES256)]);
    assert!(matches!(twice, Err(ConfigError::DuplicateKid { kid }) if kid == "k1"));
    let mixed = KeySet::new([key(Algorithm::HS256), key(Algorithm::RS256).with_kid("k2")]);
    assert!(matches!(mixed, Err(ConfigError::MixedKeySet)));
    assert!(matches!(KeySet::new([]), Err(ConfigError::Missing { field: "keys" })));
    let pem = fixture("ed25519.pub.pem");
    let nameless = || VerifyingKey::from_pem(Algorithm::EdDSA, &pem).unwrap();
    assert!(matches!(KeySet::new([nameless(), nameless()]), Err(ConfigError::DuplicateKid { .. })));
}

#[test]
fn b83_refuses_a_key_of_another_curve_or_type() {
    use Algorithm::*;
    use KeyProblem::{CurveMismatch, Malformed, PrivateHalf, TypeMismatch};
    for (algorithm, file, expected) in [
        (ES256, "ec-p256.pub.pem", None),
        (ES384, "ec-p384.pub.pem", None),
        (EdDSA, "ed25519.pub.pem", None),
        (PS512, "rsa-2048.pub.pem", None),
        (RS256, "rsa-2048.pkcs1.pub.pem", None),
        (ES256, "ec-p384.pub.pem", Some(CurveMismatch)),
        (ES384, "ec-p256.pub.pem", Some(CurveMismatch)),
        (ES384, "ec-p521.pub.pem", Some(CurveMismatch)),
        (EdDSA, "x25519.pub.pem", Some(CurveMismatch)),
        (EdDSA, "ec-p256.pub.pem", Some(TypeMismatch)),
        (ES256, "ed25519.pub.pem", Some(TypeMismatch)),
        (ES256, "rsa-2048.pub.pem", Some(TypeMismatch)),
        (RS256, "ec-p256.pub.pem", Some(TypeMismatch)),
        (HS256, "rsa-2048.pub.pem", Some(TypeMismatch)),
        (ES256, "ec-p256.pem", Some(PrivateHalf)),
        (RS256, "rsa-2048.pub.der", Some(Malformed)),
        (RS256, "rsa-2048.certificate.pem", Some(Malformed)),
    ] {
        let key = VerifyingKey::from_pem(algorithm, &fixture(file));
        assert_eq!(problem(key), expected, "{algorithm}: {file}");
    }
    for (algorithm, file, expected) in [
        (ES256, "ec-p256.pem", None),
        (ES384, "ec-p384.pem", None),
        (EdDSA, "ed25519.pem", None),
        (PS256, "rsa-2048.pem", None),
        (ES384, "ec-p256.pem", Some(CurveMismatch)),
        (EdDSA, "ec-p256.pem", Some(TypeMismatch)),
        (RS256, "ed25519.pem", Some(TypeMismatch)),
        (ES256, "ec-p256.pub.pem", Some(Malformed)),
    ] {
        let key = SigningKey::from_pem(algorithm, &fixture(file));
        assert_eq!(problem(key), expected, "{algorithm}: {file}");
    }
    for algorithm in [RS256, PS512] {
        let generated = SigningKey::generate(algorithm);
        assert_eq!(problem(generated), Some(KeyProblem::CannotGenerate));
    }
}

#[test]
fn b83_refuses_a_jwk_that_is_not_for_verifying() {
    use KeyProblem::{CurveMismatch, Malformed, NotForSignatures, PrivateHalf, TypeMismatch};
    let jwk = |algorithm| Jwk(parsed(&key(algorithm).to_jwk().unwrap()));
    let es256 = || jwk(Algorithm::ES256);
    let rs256 = || jwk(Algorithm::RS256);
    let zeros = b64([0; 32]);
    for (jwk, expected) in [
        (es256(), None),
        (es256().with("key_ops", r#"["verify"]"#), None),
        (es256().without("alg"), None),
        (jwk(Algorithm::EdDSA).without("alg"), None),
        (es256().with("use", r#""enc""#), Some(NotForSignatures)),
        (es256().with("key_ops", r#"["sign"]"#), Some(NotForSignatures)),
        (es256().with("key_ops", "[]"), Some(NotForSignatures)),
        (es256().with("key_ops", "1"), Some(Malformed)),
        (es256().with("d", r#""AA""#), Some(PrivateHalf)),
        (es256().with("crv", r#""P-384""#), Some(CurveMismatch)),
        (es256().with("crv", r#""secp256k1""#), Some(CurveMismatch)),
        (es256().with("alg", r#""RS256""#), Some(TypeMismatch)),
        (es256().with("alg", r#""ES256K""#), Some(KeyProblem::Algorithm)),
        (es256().with("alg", r#""none""#), Some(KeyProblem::Algorithm)),
        (es256().with("kty", r#""EC2""#), Some(KeyProblem::Algorithm)),
        (es256().with("x", r#""AA""#), Some(Malformed)),
        // A point that is not on the curve.
        (es256().with("x", &format!("{zeros:?}")), Some(Malformed)),
        (es256().without("y"), Some(Malformed)),
        // A point of order 4, whose signatures anybody can make.
        (jwk(Algorithm::EdDSA).with("x", &format!("{zeros:?}")), Some(Malformed)),
        (rs256().without("alg"), Some(KeyProblem::Algorithm)),
        (rs256().with("n", r#""+/==""#), Some(Malformed)),
    ] {
        assert_eq!(problem(VerifyingKey::from_jwk(&jwk.0.to_string())), expected, "{}", jwk.0);
    }
    let twice = r#"{"kty":"oct","kty":"oct","alg":"HS256","k":"AA"}"#;
    assert_eq!(problem(VerifyingKey::from_jwk(twice)), Some(Malformed));
}

#[test]
fn b83_one_bad_key_never_spoils_the_set() {
    let good = parsed(&key(Algorithm::ES256).to_jwk().unwrap());
    let secret = serde_json::json!({"kty": "oct", "alg": "HS256", "k": b64(SECRET), "kid": "s"});
    let encryption = serde_json::json!({"kty": "RSA", "use": "enc", "kid": "e"});
    let future = serde_json::json!({"kty": "AKP", "alg": "ML-DSA-44", "kid": "f"});
    let keys = serde_json::json!({ "keys": [secret, encryption, 1, good, future] });
    let (set, skipped) = KeySet::from_jwks(&keys.to_string()).unwrap();
    assert_eq!(skipped.len(), 4, "{skipped:?}");
    assert!(skipped.iter().any(|problem| matches!(problem, ConfigError::MixedKeySet)));
    assert_eq!(parsed(&set.to_jwks()), serde_json::json!({ "keys": [good] }));

    assert_eq!(problem(KeySet::from_jwks(r#"{"keys":[{}]}"#)), Some(KeyProblem::Malformed));
    assert!(matches!(KeySet::from_jwks(r#"{"keys":[]}"#), Err(ConfigError::Missing { .. })));
    for text in ["", "[]", r#"{"keys":1}"#, "{}"] {
        assert_eq!(problem(KeySet::from_jwks(text)), Some(KeyProblem::Malformed), "{text}");
    }
    // Secrets are never published.
    let secrets = KeySet::new([key(Algorithm::HS256)]).unwrap();
    assert_eq!(parsed(&secrets.to_jwks()), serde_json::json!({ "keys": [] }));
}

fn parsed(json: &str) -> serde_json::Value {
    serde_json::from_str(json).unwrap()
}

/// A JWK to be spoilt.
struct Jwk(serde_json::Value);

impl Jwk {
    fn with(mut self, name: &str, value: &str) -> Self {
        self.0[name] = serde_json::from_str(value).unwrap();
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.0.as_object_mut().unwrap().remove(name);
        self
    }
}

#[test]
fn b84_refuses_durations_that_make_no_sense() {
    fn field<T>(result: Result<T, ConfigError>) -> Option<&'static str> {
        match result {
            Err(ConfigError::Duration { field, .. }) => Some(field),
            _ => None,
        }
    }
    let seconds = Duration::from_secs;
    let lifetimes = |access, session, leeway| {
        field(Lifetimes::new(seconds(access), seconds(session), seconds(leeway)))
    };
    assert_eq!(lifetimes(60, 600, 59), None);
    assert_eq!(lifetimes(60, 600, 60), Some("leeway"));
    assert_eq!(lifetimes(0, 600, 0), Some("access token lifetime"));
    assert_eq!(lifetimes(600, 60, 1), Some("session lifetime"));
    let still = Epochs::builder().max_staleness(Duration::ZERO).build();
    assert_eq!(field(still), Some("max_staleness"));

    // Purging counts on the epochs' lifetimes: 15 minutes, leeway 5 seconds.
    let usual = || rules(Algorithm::EdDSA);
    assert_eq!(field(build(usual().max_lifetime(seconds(900)))), None);
    assert_eq!(field(build(usual().max_lifetime(seconds(901)))), Some("max_lifetime"));
    assert_eq!(field(build(usual().max_lifetime(seconds(5)))), Some("max_lifetime"));
    assert_eq!(field(build(usual().max_lifetime(Duration::ZERO))), Some("max_lifetime"));
    assert_eq!(field(build(usual().issue_skew(seconds(5)))), None);
    assert_eq!(field(build(usual().issue_skew(seconds(6)))), Some("issue_skew"));
    assert_eq!(field(build(usual().issue_skew(Duration::MAX))), Some("issue_skew"));
}

#[test]
fn b84_refuses_no_buckets_and_more_than_make_a_small_copy() {
    for (buckets, problem) in [
        (0, Some("is no bucket")),
        (1, None),
        (65_536, None),
        (65_537, Some("is over 65536")),
        (u32::MAX, Some("is over 65536")),
    ] {
        let found = match Epochs::builder().buckets(buckets).build() {
            Err(ConfigError::Number { field: "buckets", value, problem }) => {
                assert_eq!(value, u64::from(buckets));
                Some(problem)
            }
            Err(other) => panic!("{buckets}: {other}"),
            Ok(epochs) => {
                assert_eq!(epochs.buckets(), Some(buckets));
                None
            }
        };
        assert_eq!(found, problem, "{buckets}");
    }
    assert_eq!(Epochs::new().buckets(), None);
}

#[test]
fn b84_refuses_issuers_that_say_too_little_or_are_confused() {
    fn missing<T>(result: Result<T, ConfigError>) -> Option<&'static str> {
        match result {
            Err(ConfigError::Missing { field }) => Some(field),
            _ => None,
        }
    }
    let usual = || rules(Algorithm::EdDSA);
    let bare = |iss: &str| IssuerRules::new(iss, keys(Algorithm::EdDSA));
    assert_eq!(missing(Verifier::builder(Epochs::new()).build()), Some("issuer"));
    assert_eq!(missing(build(bare("").audience(AUD))), Some("issuer"));
    assert_eq!(missing(build(bare(ISS))), Some("audience"));
    assert!(build(bare(ISS).dangerous_any_audience()).is_ok());
    assert_eq!(missing(build(usual().groups_claim(""))), Some("groups_claim"));
    let sizeless = Verifier::builder(Epochs::new()).issuer(usual()).max_token_bytes(0).build();
    assert_eq!(missing(sizeless), Some("max_token_bytes"));
    assert!(matches!(
        build(usual().subject_prefix("a\0")),
        Err(ConfigError::Id { field: "subject_prefix", .. })
    ));

    let two = |first: IssuerRules, second: IssuerRules| {
        Verifier::builder(Epochs::new()).issuer(first).issuer(second).build()
    };
    let other = || bare("https://other.example").audience(AUD);
    assert!(matches!(two(usual(), usual()), Err(ConfigError::DuplicateIssuer { .. })));
    let shared = |result| matches!(result, Err(ConfigError::SharedSubjects { .. }));
    assert!(shared(two(usual(), other())));
    assert!(shared(two(usual().shared_subjects(), other())));
    assert!(shared(two(usual().subject_prefix("x:"), other().subject_prefix("x:"))));
    assert!(two(usual().shared_subjects(), other().shared_subjects()).is_ok());
    assert!(two(usual(), other().subject_prefix("other:")).is_ok());
}

#[test]
fn b85_with_both_libraries_aws_lc_is_used() {
    // The choice among none, one and both is tested where it is made, in `token/backend`.
    assert_eq!(CryptoBackend::ALL, [CryptoBackend::AwsLc, CryptoBackend::RustCrypto]);
    let verifier = build(rules(Algorithm::EdDSA)).unwrap();
    assert!(format!("{verifier:?}").contains("AwsLc"));
    assert!(verifier.verify::<tower_revocation::NoClaims>(b"x").is_err());
}

#[test]
fn debug_shows_no_key() {
    let secret = VerifyingKey::hmac(Algorithm::HS256, SECRET).unwrap();
    let signing = SigningKey::hmac(Algorithm::HS256, SECRET).unwrap();
    let set = KeySet::new([secret.clone()]).unwrap();
    let verifier = build(rules(Algorithm::HS256)).unwrap();
    let debug = format!("{secret:?}{signing:?}{set:?}{verifier:?}");
    assert!(!debug.contains("0123") && !debug.contains("48, 49"), "{debug}");
}
