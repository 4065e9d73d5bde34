//! Whatever bytes come: no panic, and no token but the one that was signed.

use std::sync::LazyLock;

use proptest::prelude::*;
use tower_revocation::{Verifier, token::Algorithm};

use crate::support::*;

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| verifier(rules(Algorithm::EdDSA)));
static GOOD: LazyLock<String> = LazyLock::new(|| good(&payload()));

/// One change to a text.
#[derive(Clone, Debug)]
enum Mutation {
    Set(prop::sample::Index, u8),
    Insert(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Truncate(prop::sample::Index),
    Swap(prop::sample::Index, prop::sample::Index),
}

impl Mutation {
    fn apply(&self, token: &mut Vec<u8>) {
        if token.is_empty() {
            return;
        }
        let length = token.len();
        match self {
            Self::Set(at, byte) => token[at.index(length)] = *byte,
            Self::Insert(at, byte) => token.insert(at.index(length), *byte),
            Self::Remove(at) => drop(token.remove(at.index(length))),
            Self::Truncate(at) => token.truncate(at.index(length)),
            Self::Swap(a, b) => token.swap(a.index(length), b.index(length)),
        }
    }
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = any::<prop::sample::Index>;
    // Mostly bytes that could stand there.
    let byte = || prop_oneof![9 => proptest::char::range('-', 'z').prop_map(|c| c as u8), 1 => any::<u8>()];
    prop_oneof![
        (at(), byte()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (at(), byte()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        at().prop_map(Mutation::Remove),
        at().prop_map(Mutation::Truncate),
        (at(), at()).prop_map(|(a, b)| Mutation::Swap(a, b)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn never_accepts_arbitrary_bytes(token in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(check(&VERIFIER, token).is_err());
    }

    #[test]
    fn never_accepts_a_mutated_token(mutations in prop::collection::vec(mutation(), 1..4)) {
        let mut token = GOOD.clone().into_bytes();
        mutations.iter().for_each(|mutation| mutation.apply(&mut token));
        let untouched = token == GOOD.as_bytes();
        prop_assert_eq!(check(&VERIFIER, token).is_ok(), untouched);
    }

    #[test]
    fn never_panics_on_signed_nonsense(
        header in "\\PC{0,60}",
        payload in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let token = Forger::new(Algorithm::EdDSA).token(header, payload);
        prop_assert!(check(&VERIFIER, token).is_err());
    }

    #[test]
    fn never_panics_on_any_value_of_any_claim(
        name in prop::sample::select(vec!["iss", "aud", "sub", "exp", "nbf", "iat", "jti", "sid",
            "rvs", "auth_time", "acr", "oat", "client_id", "scope", "groups", "typ", "own"]),
        value in prop_oneof![
            any::<f64>().prop_map(|number| serde_json::json!(number).to_string()),
            any::<i128>().prop_map(|number| number.to_string()),
            "\\PC{0,40}".prop_map(|text| serde_json::json!(text).to_string()),
            "\\PC{0,40}",
            prop::collection::vec("[a-c]{0,2}", 0..4)
                .prop_map(|texts| serde_json::json!(texts).to_string()),
        ],
    ) {
        let _ = check(&VERIFIER, good(&payload().set(name, value)));
    }
}
