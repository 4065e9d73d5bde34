//! The JOSE header: it names a key and says what the token is, and nothing else is believed.

use tower_revocation::{
    Rejection, Verifier,
    error::{ConfigError, KeyProblem},
    token::{Algorithm, KeySet, VerifyingKey},
    verify::{IssuerRules, Malformed, TypPolicy},
};

use crate::support::*;

fn ed() -> Json {
    header(Algorithm::EdDSA)
}

/// A token with this header, correctly signed by the EdDSA key.
fn with_header(header: &Json) -> String {
    Forger::new(Algorithm::EdDSA).token(header.json(), payload().json())
}

#[test]
fn b40_refuses_alg_none_in_any_case() {
    assert_eq!(refused(with_header(&ed())), None);
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let header = ed().text("alg", alg);
        assert_eq!(refused(with_header(&header)), Some(Rejection::Algorithm), "{alg}");
        let unsigned = format!("{}.{}.", b64(header.json()), b64(payload().json()));
        assert_eq!(refused(unsigned), Some(Rejection::Malformed(Malformed::EmptySegment)));
    }
}

#[test]
fn b41_refuses_an_alg_that_is_missing_or_no_string() {
    assert_eq!(refused(with_header(&ed().without("alg"))), Some(Rejection::Algorithm));
    for alg in ["null", r#"["EdDSA"]"#, "1", "true", "{}"] {
        let header = ed().set("alg", alg);
        assert_eq!(refused(with_header(&header)), Some(Rejection::Algorithm), "{alg}");
    }
}

#[test]
fn b42_refuses_hs256_in_lower_case() {
    let hs256 = Algorithm::HS256;
    let verifier = verifier(rules(hs256));
    let token = |alg: &str| {
        Forger::new(hs256).token(header(hs256).text("alg", alg).json(), payload().json())
    };
    assert_eq!(check(&verifier, token("HS256")).err(), None);
    assert_eq!(check(&verifier, token("hs256")).err(), Some(Rejection::Algorithm));
    assert!("hs256".parse::<Algorithm>().is_err());
}

#[test]
fn b43_refuses_hs256_keyed_with_the_rsa_public_key() {
    let pem = fixture("rsa-2048.pub.pem");
    let spaced = [b" \n".as_slice(), &pem].concat();
    let text = String::from_utf8(pem.clone()).unwrap();
    let bare: Vec<_> = text.lines().filter(|line| !line.starts_with("-----")).collect();
    let secrets = [
        pem,
        spaced,
        bare.concat().into_bytes(),
        bare.join("\n").into_bytes(),
        fixture("rsa-2048.pub.der"),
        fixture("rsa-2048.pkcs1.pub.pem"),
        fixture("rsa-2048.certificate.pem"),
        fixture("ec-p256.pub.pem"),
    ];
    for secret in secrets {
        // Neither does the token choose the algorithm …
        let forged =
            Forger::hs256(&secret).token(header(Algorithm::HS256).json(), payload().json());
        let verifier = verifier(rules(Algorithm::RS256));
        assert_eq!(check(&verifier, forged).err(), Some(Rejection::Algorithm));
        // … nor can a public key be made a secret.
        assert!(matches!(
            VerifyingKey::hmac(Algorithm::HS256, &secret),
            Err(ConfigError::Key { problem: KeyProblem::SecretIsPublicKey, .. })
        ));
    }
}

#[test]
fn b44_refuses_an_alg_that_is_not_the_keys() {
    for &named in Algorithm::ALL {
        let header = ed().text("alg", named.as_str());
        let expected = (named != Algorithm::EdDSA).then_some(Rejection::Algorithm);
        assert_eq!(refused(with_header(&header)), expected, "{named}");
    }
    // RS256 and PS256 share keys, and still the key says which.
    let forger = Forger::new(Algorithm::PS256);
    let token = forger.token(header(Algorithm::PS256).json(), payload().json());
    assert_eq!(check(&verifier(rules(Algorithm::PS256)), &token).err(), None);
    let other = check(&verifier(rules(Algorithm::RS256)), &token).err();
    assert_eq!(other, Some(Rejection::Algorithm));
}

#[test]
fn b45_refuses_crit_in_any_form() {
    for crit in [r#"["exp"]"#, "[]", r#"["alg"]"#, r#"["b64"]"#, "null", r#""x""#] {
        let header = ed().set("crit", crit);
        let expected = Some(Rejection::ForbiddenHeader("crit"));
        assert_eq!(refused(with_header(&header)), expected, "{crit}");
    }
}

#[test]
fn b46_refuses_b64() {
    for value in ["false", "true"] {
        let header = ed().set("b64", value);
        assert_eq!(refused(with_header(&header)), Some(Rejection::ForbiddenHeader("b64")));
    }
}

#[test]
fn b47_refuses_a_key_in_the_header() {
    let jwk = key(Algorithm::EdDSA).to_jwk().unwrap();
    let header = ed().set("jwk", jwk);
    assert_eq!(refused(with_header(&header)), Some(Rejection::ForbiddenHeader("jwk")));
}

#[test]
fn b48_refuses_the_address_of_a_key() {
    for name in ["jku", "x5u"] {
        let header = ed().text(name, "https://evil.example/keys");
        assert_eq!(refused(with_header(&header)), Some(Rejection::ForbiddenHeader(name)));
    }
}

#[test]
fn b49_refuses_a_certificate_in_the_header() {
    let header = ed().set("x5c", r#"["MIIB"]"#);
    assert_eq!(refused(with_header(&header)), Some(Rejection::ForbiddenHeader("x5c")));
    // Thumbprints choose nothing, and are ignored like unknown members.
    for name in ["x5t", "x5t#S256", "made-up"] {
        assert_eq!(refused(with_header(&ed().text(name, "x"))), None, "{name}");
    }
}

#[test]
fn b50_refuses_a_kid_that_names_no_key() {
    for kid in ["unknown", "", "K1", "k1 ", "../k1", "k1' OR '1'='1", "k1\0"] {
        let header = ed().text("kid", kid);
        assert_eq!(refused(with_header(&header)), Some(Rejection::UnknownKey), "{kid:?}");
    }
    assert_eq!(refused(with_header(&ed().without("kid"))), Some(Rejection::UnknownKey));
    for kid in ["1", "null", r#"["k1"]"#] {
        let expected = Some(Rejection::Malformed(Malformed::Json));
        assert_eq!(refused(with_header(&ed().set("kid", kid))), expected, "{kid}");
    }
    let long = with_header(&ed().text("kid", &"k".repeat(10 * 1024)));
    assert_eq!(refused(&long), Some(Rejection::TooLarge));
    let roomy = Verifier::builder(epochs().0)
        .issuer(rules(Algorithm::EdDSA))
        .max_token_bytes(64 * 1024)
        .build()
        .unwrap();
    assert_eq!(check(&roomy, long).err(), Some(Rejection::UnknownKey));
}

#[test]
fn b50_a_token_without_kid_is_held_against_the_key_without_kid_alone() {
    let pem = fixture("ed25519.pub.pem");
    let nameless = VerifyingKey::from_pem(Algorithm::EdDSA, &pem).unwrap();
    let keys = KeySet::new([nameless, key(Algorithm::ES256).with_kid("k2")]).unwrap();
    let verifier = verifier(IssuerRules::new(ISS, keys).audience(AUD));
    let check = |header: &Json| check(&verifier, with_header(header)).err();
    assert_eq!(check(&ed().without("kid")), None);
    assert_eq!(check(&ed()), Some(Rejection::UnknownKey));
    assert_eq!(check(&ed().text("kid", "k2")), Some(Rejection::Algorithm));
    assert_eq!(check(&ed().without("kid").text("alg", "ES256")), Some(Rejection::Algorithm));
}

#[test]
fn b51_refuses_alg_twice() {
    for (name, value) in
        [("alg", r#""EdDSA""#), ("alg", r#""none""#), ("kid", r#""k1""#), ("typ", "1")]
    {
        let expected = Some(Rejection::Malformed(Malformed::DuplicateMember));
        assert_eq!(refused(with_header(&ed().again(name, value))), expected, "{name}");
    }
}

#[test]
fn b52_refuses_a_kid_twice_in_the_key_set() {
    let twice = KeySet::new([key(Algorithm::EdDSA), key(Algorithm::ES256)]);
    assert!(matches!(twice, Err(ConfigError::DuplicateKid { kid }) if kid == "k1"));
    // In a set from outside the first stays, and the other is reported.
    let [first, second] = [Algorithm::EdDSA, Algorithm::ES256].map(|it| key(it).to_jwk().unwrap());
    let jwks = format!("{{\"keys\":[{first},{second}]}}");
    let (keys, skipped) = KeySet::from_jwks(&jwks).unwrap();
    assert!(matches!(&skipped[..], [ConfigError::DuplicateKid { kid }] if kid == "k1"));
    let verifier = verifier(IssuerRules::new(ISS, keys).audience(AUD));
    assert_eq!(check(&verifier, good(&payload())).err(), None);
}

#[test]
fn b53_refuses_a_typ_that_is_not_an_access_tokens() {
    let exactly = |typ: &str| TypPolicy::Exactly(typ.to_owned());
    let cases: [(TypPolicy, &[&str], &[&str]); 4] = [
        (
            TypPolicy::AccessToken,
            &["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"],
            &["JWT", "", "at+jwt ", "text/at+jwt", "application/", "refresh+jwt", "dpop+jwt"],
        ),
        (TypPolicy::Jwt, &["JWT", "jwt", "at+jwt"], &["", "logout+jwt", "JOSE"]),
        (exactly("passport"), &["passport", "Passport"], &["at+jwt", "JWT"]),
        (exactly("application/x+jwt"), &["x+jwt"], &["at+jwt"]),
    ];
    for (policy, accepted, others) in cases {
        let verifier = verifier(rules(Algorithm::EdDSA).typ(policy.clone()));
        let check = |header: &Json| check(&verifier, with_header(header)).err();
        for typ in accepted {
            assert_eq!(check(&ed().text("typ", typ)), None, "{policy:?}: {typ}");
        }
        for typ in others {
            let refused = check(&ed().text("typ", typ));
            assert_eq!(refused, Some(Rejection::Type), "{policy:?}: {typ}");
        }
        let missing = (policy != TypPolicy::Jwt).then_some(Rejection::Type);
        assert_eq!(check(&ed().without("typ")), missing, "{policy:?}");
        let number = check(&ed().set("typ", "1"));
        assert_eq!(number, Some(Rejection::Malformed(Malformed::Json)));
    }
}

#[test]
fn b54_refuses_zip_enc_and_cty() {
    for (name, value) in [("zip", "DEF"), ("enc", "A128GCM"), ("cty", "JWT")] {
        let header = ed().text(name, value);
        assert_eq!(refused(with_header(&header)), Some(Rejection::ForbiddenHeader(name)));
    }
}

#[test]
fn b55_refuses_an_escaped_member_name() {
    let escaped = Some(Rejection::Malformed(Malformed::EscapedName));
    let alone = ed().without("alg").again(r"\u0061lg", r#""EdDSA""#);
    assert_eq!(refused(with_header(&alone)), escaped);
    assert_eq!(refused(with_header(&ed().again(r"\u0063rit", "[]"))), escaped);
    // Both spellings at once are the same member twice.
    let both = ed().again(r"\u0061lg", r#""none""#);
    let expected = Some(Rejection::Malformed(Malformed::DuplicateMember));
    assert_eq!(refused(with_header(&both)), expected);
}
