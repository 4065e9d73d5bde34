//! Tests: what is read in one pass is read as by the slow reader, or not at all.
//!
//! Texts are made of what the two could differ in: names and values that are nearly right, members
//! twice, escapes, spellings of numbers, depths about the bound, and damage to any byte of it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fmt::Debug;

use proptest::{
    prelude::*,
    sample::select,
    test_runner::{TestCaseResult, TestRunner},
};

use super::{
    Algorithm, Header, IssuerRules, KeySet, Payload, VerifyingKey,
    plain::{NAMES, Plain},
};
use crate::scope::Id;

/// A second or two of `cargo test`.
const SOME: u32 = 4_000;
/// Some minutes.
const MANY: u32 = 2_000_000;

#[test]
fn payloads_are_read_alike_in_one_pass_and_one_by_one() {
    check(SOME, payload(), payloads_agree(&rules()));
}

#[test]
#[ignore = "long; run with `just nightly`"]
fn many_payloads_are_read_alike_in_one_pass_and_one_by_one() {
    check(MANY, payload(), payloads_agree(&rules()));
}

#[test]
fn headers_are_read_alike_in_one_pass_and_one_by_one() {
    check(SOME, header(), headers_agree);
}

#[test]
#[ignore = "long; run with `just nightly`"]
fn many_headers_are_read_alike_in_one_pass_and_one_by_one() {
    check(MANY, header(), headers_agree);
}

#[test]
fn payloads_of_common_issuers_are_read_in_one_pass() {
    for payload in [
        r#"{"iss":"i","sub":"s","exp":2,"iat":1}"#,
        // RFC 9068, section 2.2.
        r#"{"iss": "https:\/\/issuer.example\/", "sub": "5ba552d67", "aud": "https://rs.example/",
            "exp": 1639528912, "iat": 1618354090, "jti": "dbe39bf3a3ba4238a513f51d6e1691c4",
            "client_id": "s6BhdRkqt3", "scope": "openid profile reademail"}"#,
        // Keycloak.
        r#"{"exp":1700000300,"iat":1700000000,"auth_time":1700000000,"jti":"onrtac:1","iss":
            "https://k.example/realms/r","aud":["api","account"],"sub":"f:1","typ":"Bearer","azp":"web",
            "sid":"s","acr":"1","allowed-origins":["https:\/\/k.example"],"realm_access":{"roles":
            ["a","b"]},"resource_access":{"account":{"roles":["m"]}},"scope":"openid","name":
            "J\u00f6rg","email_verified":true,"groups":["/a","/b","/c"],"x":-1.5e3}"#,
    ] {
        assert!(Plain::read(payload).is_some(), "{payload}");
    }
}

#[test]
fn what_is_odd_about_a_payload_is_left_to_the_slow_reader() {
    let groups: Vec<String> = (0..257).map(|group| group.to_string()).collect();
    let too_many = serde_json::json!(groups).to_string();
    let with = |member: &str| format!(r#"{{"iss":"i","sub":"s","exp":2,"iat":1{member}}}"#);
    assert!(Plain::read(&with("")).is_some());
    for member in [
        r#","iss":"i""#,
        r#","\u0069ss":"i""#,
        r#","x":1,"x":1"#,
        r#","x":{"a":1,"a":1}"#,
        r#","aud":[]"#,
        r#","aud":["a",1]"#,
        r#","jti":null"#,
        r#","nbf":253402300800"#,
        r#","rvs":9223372036854775809"#,
        r#","oat":1.0"#,
        r#","oat":-0"#,
        r#","groups":"a""#,
        r#","groups":["a","\u0061"]"#,
        &format!(r#","groups":{too_many}"#),
        "}",
        ",",
    ] {
        assert!(Plain::read(&with(member)).is_none(), "{member}");
    }
    for missing in [r#""iss":"i","#, r#""sub":"s","#, r#""exp":2,"#, r#","iat":1"#] {
        assert!(Plain::read(&with("").replace(missing, "")).is_none(), "{missing}");
    }
}

fn check<T: Debug>(
    cases: u32,
    texts: impl Strategy<Value = T>,
    agree: impl Fn(T) -> TestCaseResult,
) {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) };
    TestRunner::new(config).run(&texts, agree).unwrap();
}

/// The same refusal, or the same answer to everything that is asked of a payload.
fn payloads_agree(rules: &[IssuerRules]) -> impl Fn(String) -> TestCaseResult {
    move |text| {
        let (quick, slow) = match (Payload::parse(&text), Payload::parse_odd(&text)) {
            (Ok(quick), Ok(slow)) => (quick, slow),
            (quick, slow) => {
                prop_assert_eq!(quick.err(), slow.err());
                return Ok(());
            }
        };
        prop_assert_eq!(quick.issuer(), slow.issuer());
        for name in NAMES.iter().chain(OTHER_NAMES) {
            prop_assert_eq!(quick.has(name), slow.has(name), "{}", name);
            prop_assert_eq!(quick.string(name), slow.string(name));
            let value = |payload: &Payload<'_>| payload.read_as::<serde_json::Value>(name);
            prop_assert_eq!(value(&quick), value(&slow));
        }
        if slow.claims(&rules[0]).is_ok() {
            prop_assert_eq!(quick.stamp(), slow.stamp());
        }
        for rules in rules {
            prop_assert_eq!(quick.claims(rules), slow.claims(rules), "{}", rules.groups_claim);
        }
        Ok(())
    }
}

fn headers_agree(text: String) -> TestCaseResult {
    prop_assert_eq!(Header::parse(&text), Header::parse_odd(&text));
    Ok(())
}

fn rules() -> Vec<IssuerRules> {
    let key = VerifyingKey::hmac(Algorithm::HS256, &[7; 32]).unwrap();
    let rules = IssuerRules::new("i", KeySet::new([key]).unwrap());
    vec![
        rules.clone(),
        rules.clone().subject_prefix("p:").groups_claim("roles"),
        // One that is read for another purpose, too.
        rules.clone().groups_claim("aud"),
        rules.groups_from(|token| {
            let told = token.groups().map(str::to_owned).chain(token.get::<String>("sub"));
            told.chain(token.get::<Vec<String>>("roles")?).map(|id| Id::new(&id).ok()).collect()
        }),
    ]
}

// ---- texts ----

/// Mostly an object with all that a token needs, and more.
fn payload() -> impl Strategy<Value = String> {
    let good = vec![
        ("iss", r#""i""#),
        ("sub", r#""alice""#),
        ("exp", "1800000600"),
        ("iat", "1800000000"),
    ];
    let names = [&NAMES[..], &NAMES, OTHER_NAMES].concat();
    object(good, names)
}

fn header() -> impl Strategy<Value = String> {
    let good = vec![("alg", r#""HS256""#)];
    object(good, vec!["alg", "kid", "typ", "kid", "typ", "x5t", "jku", "crit", "é", "al\\u0067"])
}

/// The `good` members, with others among them and now and then one missing, and then damaged.
fn object(
    good: Vec<(&'static str, &'static str)>,
    names: Vec<&'static str>,
) -> impl Strategy<Value = String> {
    let any_member = (select(names), value());
    // One of the few names that lists stand under, with a list or nearly.
    let list_member = (select(vec!["aud", "groups", "roles"]), list());
    let member = (prop_oneof![3 => any_member, 1 => list_member], any::<prop::sample::Index>());
    let space =
        || prop_oneof![20 => Just(""), 2 => Just(" "), 1 => Just("\r\n\t"), 1 => Just("\u{a0}")];
    let members = prop::collection::vec(member, 0..8);
    let missing = prop::option::weighted(0.1, any::<prop::sample::Index>());
    let end = prop_oneof![20 => Just(""), 1 => Just("\n "), 1 => Just("x"), 1 => Just("{}")];
    (members, missing, space(), space(), end, damage()).prop_map(
        move |(members, missing, before, after, end, damage)| {
            let mut all: Vec<(&str, String)> =
                good.iter().map(|&(name, value)| (name, value.to_owned())).collect();
            if let Some(missing) = missing {
                all.remove(missing.index(all.len()));
            }
            for ((name, value), at) in members {
                all.insert(at.index(all.len() + 1), (name, value));
            }
            let all: Vec<String> = all
                .iter()
                .map(|(name, value)| format!("{before}\"{name}\"{after}:{before}{value}{after}"))
                .collect();
            let text = format!("{before}{{{}}}{after}{end}", all.join(","));
            damaged(text, &damage)
        },
    )
}

fn value() -> impl Strategy<Value = String> {
    let within = |open: &str, value: &str, close: &str, depth: usize| {
        format!("{}{value}{}", open.repeat(depth), close.repeat(depth))
    };
    prop_oneof![
        8 => select(vec!["0", "1", "1800000000", "253402300799", "253402300800",
            "9223372036854775808", "9223372036854775809", "18446744073709551615",
            "18446744073709551616", "-1", "-0", "0.0", "1.0", "1e3", "1E400", "01", "+1", "1.", "1e",
            "-", ".5", "0x1", "1_000"]).prop_map(str::to_owned),
        8 => select(vec![r#""""#, r#""a""#, r#""b c""#, r#""\u0061""#, r#""\ud800""#, r#""\ud83d\ude00""#,
            "\"é\"", "\"e\u{301}\"", r#""\/\"""#, "\"\t\"", r#""\x""#, "\"", "'a'", r#""\u00""#])
            .prop_map(str::to_owned),
        2 => select(vec!["null", "true", "false", "nul", "", "NaN"]).prop_map(str::to_owned),
        4 => list(),
        4 => select(vec!["{}", r#"{"a":1}"#, r#"{"a":1,"a":2}"#, r#"{"a":1,"\u0061":2}"#,
            r#"[{"a":[{"b":1,"b":1}]}]"#, r#"{"a":1,}"#, r#"{a:1}"#, r#"{"a" 1}"#,
            r#"{"$serde_json::private::Number":"1"}"#, r#"{"$serde_json::private::RawValue":"1"}"#])
            .prop_map(str::to_owned),
        1 => (15_usize..19).prop_map(|count| {
            let members: Vec<String> = (0..count).map(|name| format!("\"{}\":0", name % 17)).collect();
            format!("{{{}}}", members.join(","))
        }),
        1 => (30_usize..34).prop_map(move |depth| within("[", "", "]", depth)),
        1 => (30_usize..34).prop_map(move |depth| within(r#"{"a":"#, "1", "}", depth)),
        1 => Just(within("[", "", "]", 200)),
        1 => any::<f64>().prop_map(|number| number.to_string()),
        1 => any::<u64>().prop_map(|number| number.to_string()),
        2 => "\\PC{0,12}".prop_map(|text| serde_json::json!(text).to_string()),
    ]
}

fn list() -> impl Strategy<Value = String> {
    let many = |count: usize| {
        let entries: Vec<String> = (0..count).map(|entry| format!("\"{entry}\"")).collect();
        format!("[{}]", entries.join(","))
    };
    prop_oneof![
        9 => select(vec!["[]", r#"["a"]"#, r#"["a","b"]"#, r#"["a","a"]"#, r#"["a","\u0061"]"#,
            r#"["a",1]"#, r#"[["a"]]"#, r#"["a",]"#, r#"[,]"#, r#"[ "a" , "b" , "c" ]"#, r#"["a"}"#])
            .prop_map(str::to_owned),
        1 => select(vec![16, 17, 255, 256, 257]).prop_map(many),
    ]
}

/// Bytes to set, insert or remove. Mostly none.
fn damage() -> impl Strategy<Value = Vec<(u8, prop::sample::Index, u8)>> {
    let byte = prop_oneof![4 => select(b"{}[]\",:\\ue0-.1 \0\x7f\xc3".to_vec()), 1 => any::<u8>()];
    let change = (0..3_u8, any::<prop::sample::Index>(), byte);
    prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(change, 1..4)]
}

fn damaged(text: String, damage: &[(u8, prop::sample::Index, u8)]) -> String {
    let mut bytes = text.into_bytes();
    for (kind, at, byte) in damage {
        let at = at.index(bytes.len().max(1));
        match kind {
            _ if at >= bytes.len() => {}
            0 => bytes[at] = *byte,
            1 => bytes.insert(at, *byte),
            _ => drop(bytes.remove(at)),
        }
    }
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into())
}

const OTHER_NAMES: &[&str] = &[
    "typ",
    "nonce",
    "events",
    "roles",
    "x",
    "",
    "is",
    "Iss",
    "é",
    r"\u0069ss",
    r"\u0078",
    r"\ud800",
    "$serde_json::private::Number",
    "$serde_json::private::RawValue",
];
