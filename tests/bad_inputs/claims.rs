//! Claims, each under a good signature.

use std::time::Duration;

use serde::Deserialize;
use tower_revocation::{
    Rejection, Verified, Verifier,
    scope::{InvalidId, Scope},
    token::Algorithm,
    verify::{
        ClaimProblem::{self, Contradiction, Duplicate, Id, Missing, TooMany, WrongType},
        IssuerRules, Malformed, TypPolicy,
    },
};

use crate::support::*;

fn usual() -> IssuerRules {
    rules(Algorithm::EdDSA)
}

/// What no time may be.
const NO_TIMES: &[&str] = &[
    r#""1800000600""#,
    "null",
    "-1",
    "-0",
    "1e19",
    "10000000000000000000",
    "100000000000000000000",
    "1e400",
    "1800000600.5",
    "1800000600.0",
    "18e8",
    "true",
    "[1800000600]",
    "{}",
    "253402300800",
];

/// Holds values of one claim against the rules.
fn table(rules: &IssuerRules, name: &str, cases: &[(&str, Option<ClaimProblem>)]) {
    for &(value, problem) in cases {
        let refused = refused_by(rules.clone(), &payload().set(name, value));
        let expected = problem.map(|problem| Rejection::Claim { name: leak(name), problem });
        assert_eq!(refused, expected, "{name}: {value}");
    }
}

fn leak(name: &str) -> &'static str {
    name.to_owned().leak()
}

#[test]
fn b62_refuses_an_exp_that_is_no_whole_number() {
    for value in NO_TIMES {
        let refused = refused_payload(&payload().set("exp", value));
        assert_eq!(refused, claim("exp", WrongType), "{value}");
    }
    assert_eq!(refused_payload(&payload().without("exp")), claim("exp", Missing));
}

#[test]
fn b62_exp_is_over_at_its_second_plus_the_leeway() {
    // The default leeway is 5 seconds.
    let old = |exp: u64| payload().set("iat", NOW - 300).set("exp", exp);
    assert_eq!(refused_payload(&old(NOW - 4)), None);
    assert_eq!(refused_payload(&old(NOW - 5)), Some(Rejection::Expired));
    assert_eq!(refused_payload(&old(NOW - 100)), Some(Rejection::Expired));
}

#[test]
fn b63_refuses_an_nbf_in_the_future_and_one_that_is_no_number() {
    assert_eq!(refused_payload(&payload().set("nbf", NOW + 5)), None);
    assert_eq!(refused_payload(&payload().set("nbf", NOW + 6)), Some(Rejection::NotYetValid));
    for value in NO_TIMES {
        let refused = refused_payload(&payload().set("nbf", value));
        assert_eq!(refused, claim("nbf", WrongType), "{value}");
    }
}

#[test]
fn b64_refuses_an_iat_that_is_missing_or_no_whole_number() {
    assert_eq!(refused_payload(&payload().without("iat")), claim("iat", Missing));
    for value in NO_TIMES {
        let refused = refused_payload(&payload().set("iat", value));
        assert_eq!(refused, claim("iat", WrongType), "{value}");
    }
    let twice = payload().again("iat", &NOW.to_string());
    let expected = Some(Rejection::Malformed(Malformed::DuplicateMember));
    assert_eq!(refused_payload(&twice), expected);
}

#[test]
fn b65_refuses_an_iat_in_the_future() {
    assert_eq!(refused_payload(&payload().set("iat", NOW + 5)), None);
    assert_eq!(refused_payload(&payload().set("iat", NOW + 6)), Some(Rejection::IssuedInFuture));
}

#[test]
fn b66_refuses_an_iat_after_exp() {
    let refused = |iat: u64, exp: u64| refused_payload(&payload().set("iat", iat).set("exp", exp));
    assert_eq!(refused(NOW + 4, NOW + 3), claim("iat", Contradiction));
    assert_eq!(refused(NOW + 3, NOW + 3), None);
}

#[test]
fn b67_refuses_a_life_over_the_maximum() {
    let lives = |seconds: u64| payload().set("iat", NOW).set("exp", NOW + seconds);
    assert_eq!(refused_payload(&lives(900)), None);
    assert_eq!(refused_payload(&lives(901)), Some(Rejection::LifetimeTooLong));
    let shorter = usual().max_lifetime(Duration::from_secs(60));
    assert_eq!(refused_by(shorter.clone(), &lives(60)), None);
    assert_eq!(refused_by(shorter, &lives(61)), Some(Rejection::LifetimeTooLong));
}

#[test]
fn b68_refuses_an_iss_that_is_no_known_string() {
    let problem = Some(WrongType);
    table(&usual(), "iss", &[("1", problem), ("{}", problem), ("[]", problem), ("null", problem)]);
    table(&usual(), "iss", &[(r#"["https://id.example"]"#, problem)]);
    assert_eq!(refused_payload(&payload().without("iss")), claim("iss", Missing));
    for iss in ["", "https://id.example/", "HTTPS://id.example", "https://evil.example"] {
        let refused = refused_payload(&payload().text("iss", iss));
        assert_eq!(refused, Some(Rejection::UnknownIssuer), "{iss}");
    }
}

#[test]
fn b68_a_token_is_held_against_the_keys_of_its_issuer_alone() {
    let other = IssuerRules::new("https://other.example", keys(Algorithm::ES256))
        .audience(AUD)
        .subject_prefix("other:");
    let verifier = Verifier::builder(epochs().0).issuer(usual()).issuer(other).build().unwrap();
    let token = |algorithm: Algorithm, iss: &str| {
        let payload = payload().text("iss", iss).json();
        Forger::new(algorithm).token(header(algorithm).json(), payload)
    };
    let check = |algorithm, iss| check(&verifier, token(algorithm, iss)).err();
    assert_eq!(check(Algorithm::EdDSA, ISS), None);
    assert_eq!(check(Algorithm::ES256, "https://other.example"), None);
    // Signed by one issuer, in the name of the other.
    assert_eq!(check(Algorithm::ES256, ISS), Some(Rejection::Algorithm));
    assert_eq!(check(Algorithm::EdDSA, "https://other.example"), Some(Rejection::Algorithm));
}

#[test]
fn b69_refuses_an_aud_that_is_not_ours() {
    let wrong = Some(WrongType);
    let cases = [
        ("1", wrong),
        ("{}", wrong),
        ("[]", wrong),
        ("[1]", wrong),
        (r#"["https://api.example",1]"#, wrong),
        ("null", wrong),
        (r#""https://api.example""#, None),
        (r#"["x","https://api.example"]"#, None),
    ];
    table(&usual(), "aud", &cases);
    assert_eq!(refused_payload(&payload().without("aud")), claim("aud", Missing));
    for aud in [r#""https://other.example""#, r#"["x","y"]"#, r#""""#] {
        let refused = refused_payload(&payload().set("aud", aud));
        assert_eq!(refused, Some(Rejection::Audience), "{aud}");
    }
    // Whoever accepts any audience still accepts no other type.
    let any = IssuerRules::new(ISS, keys(Algorithm::EdDSA)).dangerous_any_audience();
    table(&any, "aud", &[("[1]", wrong), ("[]", wrong), (r#""other""#, None)]);
    assert_eq!(refused_by(any, &payload().without("aud")), None);
}

#[test]
fn b70_refuses_a_sub_that_is_no_identifier() {
    let id = |problem| Some(Id(problem));
    let cases = [
        ("1", Some(WrongType)),
        ("null", Some(WrongType)),
        (r#"["alice"]"#, Some(WrongType)),
        (r#""""#, id(InvalidId::Empty)),
        (r#""a\u0000b""#, id(InvalidId::ControlCharacter)),
        (r#""a\nb""#, id(InvalidId::ControlCharacter)),
        ("\"jose\u{301}\"", id(InvalidId::NotNormalized)),
        (r#""jose\u0301""#, id(InvalidId::NotNormalized)),
        ("\"jos\u{e9}\"", None),
        (r#""jos\u00e9""#, None),
        (r#""\ud800""#, Some(WrongType)),
    ];
    table(&usual(), "sub", &cases);
    assert_eq!(refused_payload(&payload().without("sub")), claim("sub", Missing));
    for (name, value) in [("sid", ""), ("jti", "a\0"), ("jti", "jose\u{301}")] {
        let refused = refused_payload(&payload().text(name, value));
        assert!(matches!(refused, Some(Rejection::Claim { problem: Id(_), .. })), "{name}");
    }
    let long = payload().text("sub", &"x".repeat(10 * 1024));
    assert_eq!(refused_payload(&long), Some(Rejection::TooLarge));
    let longer = payload().text("sub", &"x".repeat(513));
    assert_eq!(refused_payload(&longer), claim("sub", Id(InvalidId::TooLong)));
    assert_eq!(refused_payload(&payload().text("sub", &"x".repeat(512))), None);
}

#[test]
fn b70_the_prefix_counts_towards_an_identifier() {
    let prefixed = usual().subject_prefix("id:");
    let sub = |length| payload().text("sub", &"x".repeat(length));
    assert_eq!(refused_by(prefixed.clone(), &sub(509)), None);
    let long = refused_by(prefixed.clone(), &sub(510));
    assert_eq!(long, claim("sub", Id(InvalidId::TooLong)));
    let empty = refused_by(prefixed.clone(), &payload().text("sub", ""));
    assert_eq!(empty, claim("sub", Id(InvalidId::Empty)));
    // With the colon in front, the accent would have nothing to stand on.
    let verified = check(&verifier(prefixed), good(&payload())).unwrap();
    assert_eq!(verified.subject(), "alice");
    assert!(verified.scopes().contains(&Scope::user("id:alice").unwrap()));
}

#[test]
fn b71_refuses_groups_that_are_no_array_of_different_names() {
    let many = |count: usize| {
        let groups: Vec<_> = (0..count).map(|at| at.to_string()).collect();
        serde_json::to_string(&groups).unwrap()
    };
    let cases = [
        (r#""admins""#, Some(WrongType)),
        ("null", Some(WrongType)),
        ("{}", Some(WrongType)),
        (r#"["admins",1]"#, Some(WrongType)),
        (r#"["admins","users","admins"]"#, Some(Duplicate)),
        (r#"["a","\u0061"]"#, Some(Duplicate)),
        (r#"[""]"#, Some(Id(InvalidId::Empty))),
        ("[]", None),
        (&many(256), None),
        (&many(257), Some(TooMany)),
    ];
    table(&usual(), "groups", &cases);
    assert_eq!(refused_payload(&payload().without("groups")), None);
    let roomy =
        Verifier::builder(epochs().0).issuer(usual()).max_token_bytes(1 << 20).build().unwrap();
    let token = good(&payload().set("groups", many(10_000)));
    assert_eq!(check(&roomy, token).err(), claim("groups", TooMany));
    // Another claim may hold them, and then `groups` is any claim.
    let roles = usual().groups_claim("roles");
    let payload = payload().set("groups", "1").set("roles", r#"["r1"]"#);
    let verified = check(&verifier(roles), good(&payload)).unwrap();
    assert_eq!(verified.groups().collect::<Vec<_>>(), ["r1"]);
}

#[test]
fn b72_refuses_a_missing_sid_where_one_is_required() {
    let without = payload().without("sid");
    assert_eq!(refused_payload(&without), None);
    assert_eq!(refused_by(usual().require_session(), &without), claim("sid", Missing));
    assert_eq!(refused_by(usual().require_session(), &payload()), None);
    table(&usual(), "sid", &[("1", Some(WrongType)), ("null", Some(WrongType))]);
}

#[test]
fn b73_refuses_rvs_from_a_foreign_issuer() {
    for value in ["1", "9223372036854775808"] {
        let refused = refused_payload(&payload().set("rvs", value));
        assert_eq!(refused, claim("rvs", Contradiction), "{value}");
    }
}

#[test]
fn b73_requires_rvs_jti_and_sid_of_our_own_issuer() {
    let own = || usual().store_time();
    let minted = payload().set("rvs", 7);
    assert_eq!(refused_by(own(), &minted), None);
    for name in ["rvs", "jti", "sid"] {
        let refused = refused_by(own(), &minted.clone().without(name));
        assert_eq!(refused, claim(name, Missing));
    }
    for value in ["-1", "1.5", r#""7""#, "null", "1e19", "9223372036854775809"] {
        let refused = refused_by(own(), &payload().set("rvs", value));
        assert_eq!(refused, claim("rvs", WrongType), "{value}");
    }
    assert_eq!(refused_by(own(), &payload().set("rvs", "9223372036854775808")), None);
}

#[test]
fn b74_refuses_a_custom_claim_twice() {
    let duplicate = Some(Rejection::Malformed(Malformed::DuplicateMember));
    let custom = payload().set("role", r#""user""#);
    assert_eq!(refused_payload(&custom), None);
    assert_eq!(refused_payload(&custom.clone().again("role", r#""admin""#)), duplicate);
    assert_eq!(refused_payload(&custom.again(r"r\u006fle", r#""admin""#)), duplicate);
    let nested = payload().set("acl", r#"{"x":[{"read":1,"read":2}]}"#);
    assert_eq!(refused_payload(&nested), duplicate);
}

#[test]
fn b74_custom_claims_of_another_form_are_refused() {
    #[derive(Debug, Deserialize)]
    struct Own {
        tier: u8,
    }
    let verifier = verifier(usual());
    let check = |tier: &str| -> Result<Verified<Own>, Rejection> {
        verifier.verify(good(&payload().set("tier", tier)).as_bytes())
    };
    assert_eq!(check("3").unwrap().claims().tier, 3);
    assert_eq!(check("256").err(), Some(Rejection::CustomClaims));
    assert_eq!(check(r#""3""#).err(), Some(Rejection::CustomClaims));
}

#[test]
fn b75_refuses_an_id_or_refresh_token_used_as_an_access_token() {
    let verifier = verifier(usual().typ(TypPolicy::Jwt));
    let check = |payload: &Json| {
        let header = header(Algorithm::EdDSA).text("typ", "JWT").json();
        let token = Forger::new(Algorithm::EdDSA).token(header, payload.json());
        assert_eq!(refused(&token), Some(Rejection::Type), "the strict policy tells by the header");
        check(&verifier, token).err()
    };
    assert_eq!(check(&payload()), None);
    assert_eq!(check(&payload().text("typ", "Bearer")), None);
    for name in ["at_hash", "c_hash", "s_hash", "nonce", "events"] {
        assert_eq!(check(&payload().text(name, "x")), Some(Rejection::Type), "{name}");
        assert_eq!(check(&payload().set(name, "null")), Some(Rejection::Type), "{name}");
    }
    for typ in ["ID", "Refresh", "Offline", "Logout", "refresh"] {
        assert_eq!(check(&payload().text("typ", typ)), Some(Rejection::Type), "{typ}");
    }
    assert_eq!(check(&payload().set("typ", "1")), claim("typ", WrongType));
}

#[test]
fn a_forger_learns_nothing_about_claims() {
    // Expired, for another audience and malformed: without a key, all are a bad signature.
    let bad = [
        payload().set("exp", 1).set("iat", 0),
        payload().text("aud", "other"),
        payload().set("sub", "1"),
        payload().without("exp"),
        payload().set("rvs", 1),
    ];
    for payload in bad {
        let token = good(&payload);
        let (message, _) = token.rsplit_once('.').unwrap();
        let forged = format!("{message}.{}", b64([7; 64]));
        assert_eq!(refused(forged), Some(Rejection::Signature));
    }
}

#[test]
fn what_the_token_says_can_be_read() {
    let payload = payload()
        .text("scope", "read  write")
        .text("client_id", "app")
        .set("auth_time", NOW - 60)
        .text("acr", "mfa")
        .set("oat", NOW - 90)
        .set("aud", format!(r#"["{AUD}","b"]"#));
    let verified = check(&verifier(usual()), good(&payload)).unwrap();
    assert_eq!((verified.issuer(), verified.subject()), (ISS, "alice"));
    assert_eq!((verified.session(), verified.token_id()), (Some("s1"), Some("t1")));
    assert_eq!(verified.client_id(), Some("app"));
    assert_eq!(verified.groups().collect::<Vec<_>>(), ["admins", "tenant-7"]);
    assert_eq!(verified.permissions().collect::<Vec<_>>(), ["read", "write"]);
    assert_eq!(verified.audience().collect::<Vec<_>>(), [AUD, "b"]);
    assert_eq!((verified.issued_at(), verified.expires_at()), (NOW - 10, NOW + 600));
    assert_eq!((verified.auth_time(), verified.logged_in_at()), (Some(NOW - 60), Some(NOW - 90)));
    assert_eq!(verified.acr(), Some("mfa"));
    assert_eq!(verified.stamp().as_micros(), (NOW - 10) * 1_000_000);
    let debug = format!("{verified:?}");
    assert!(!debug.contains("alice") && !debug.contains("admins"), "{debug}");
}
