//! Groups by a function of the service's own, each under a good signature.

use std::num::NonZeroU32;

use tower_revocation::{
    Demand, Id, Rejection, Scope,
    cutoff::{CutOff, StoreTime},
    scope::InvalidId,
    token::Algorithm,
    verify::{ClaimProblem, IssuerRules, TokenClaims},
};

use crate::support::*;

fn usual() -> IssuerRules {
    rules(Algorithm::EdDSA)
}

/// The tenant, out of a claim that is an object.
fn tenant(token: &TokenClaims<'_>) -> Option<Vec<Id>> {
    let account: serde_json::Value = token.get("account")?;
    Some(vec![Id::new(account["tenant"].as_str()?).ok()?])
}

#[test]
fn b71_refuses_a_token_whose_groups_cannot_be_told() {
    let rules = usual().groups_from(tenant);
    for (account, problem) in [
        (r#"{"tenant":"acme"}"#, None),
        (r#"{"tenant":7}"#, Some(ClaimProblem::NoGroups)),
        (r#"{"tenant":""}"#, Some(ClaimProblem::NoGroups)),
        ("{}", Some(ClaimProblem::NoGroups)),
    ] {
        let refused = refused_by(rules.clone(), &payload().set("account", account));
        let expected = problem.and_then(|problem| claim("groups", problem));
        assert_eq!(refused, expected, "{account}");
    }
    assert_eq!(refused_by(rules, &payload()), claim("groups", ClaimProblem::NoGroups));
}

#[test]
fn b71_refuses_more_groups_than_a_claim_may_hold_and_names_that_are_too_long() {
    let many = |count: usize| {
        usual().groups_from(move |_| (0..count).map(|at| Id::new(&at.to_string()).ok()).collect())
    };
    assert_eq!(refused_by(many(256), &payload()), None);
    assert_eq!(refused_by(many(257), &payload()), claim("groups", ClaimProblem::TooMany));
    // An identifier by itself, and none with the issuer's prefix in front.
    let long =
        usual().subject_prefix("id:").groups_from(|_| Some(vec![Id::new(&"x".repeat(510)).ok()?]));
    let too_long = ClaimProblem::Id(InvalidId::TooLong);
    assert_eq!(refused_by(long, &payload()), claim("groups", too_long));
}

#[test]
fn the_claim_is_checked_even_where_a_function_tells_the_groups() {
    let rules = usual().groups_from(|_| Some(vec![]));
    let twice = payload().set("groups", r#"["a","a"]"#);
    assert_eq!(refused_by(rules, &twice), claim("groups", ClaimProblem::Duplicate));
}

#[test]
fn what_the_function_tells_are_the_groups_of_the_token() {
    let rules = usual().subject_prefix("id:").groups_from(|token| {
        let mut told = vec![Id::new(token.session()?).ok()?, Id::new(token.subject()).ok()?];
        told.extend(
            token.groups().filter_map(|group| Id::new(group.strip_prefix("tenant-")?).ok()),
        );
        // Twice is once.
        told.push(told[0].clone());
        Some(told)
    });
    let verified = check(&verifier(rules), good(&payload())).unwrap();
    assert_eq!(verified.groups().collect::<Vec<_>>(), ["s1", "alice", "7"]);
    let scopes = verified.scopes();
    assert!(scopes.contains(&Scope::group("id:7").unwrap()), "{scopes:?}");
    assert!(!scopes.contains(&Scope::group("id:admins").unwrap()), "{scopes:?}");
}

#[test]
fn a_revoked_group_refuses_the_tokens_that_the_function_puts_into_it() {
    let verifier = verifier(usual().groups_from(tenant));
    let of =
        |tenant: &str| good(&payload().set("account", serde_json::json!({ "tenant": tenant })));
    let now = StoreTime::from_micros(NOW * 1_000_000);
    let acme = Scope::group("acme").unwrap();
    verifier.epochs().raise(&acme, CutOff::at(now, Demand::Refresh));
    let refused = check(&verifier, of("acme")).unwrap_err();
    assert!(matches!(refused, Rejection::Revoked(_)), "{refused:?}");
    assert!(check(&verifier, of("umbrella")).is_ok());
}

#[test]
fn a_user_is_on_the_same_place_on_every_instance() {
    // The reference values of FNV-1a, 64 bits, and so of every machine and version.
    for (subject, hash) in [("a", 0xaf63_dc4c_8601_ec8c_u64), ("foobar", 0x8594_4171_f739_67e8)] {
        for buckets in [1, 2, 1_000, u32::MAX] {
            let rules = usual().groups_from(move |token| {
                let bucket = token.bucket(NonZeroU32::new(buckets)?);
                Some(vec![Id::new(&bucket.to_string()).ok()?])
            });
            let token = good(&payload().text("sub", subject));
            let verified = check(&verifier(rules), token).unwrap();
            let expected = (hash % u64::from(buckets)).to_string();
            assert_eq!(verified.groups().collect::<Vec<_>>(), [&expected]);
        }
    }
}
