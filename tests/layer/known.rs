//! Tokens that were verified before: the signature is not, everything else is checked again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode, header::AUTHORIZATION};
use http_body_util::Empty;
use serde::Deserialize;
use tower::{Layer, ServiceExt};
use tower_revocation::{
    Demand, NoClaims, Rejection, Verified,
    cutoff::{CutOff, StoreTime},
    error::ConfigError,
    layer::RevocationLayer,
    scope::{Id, Scope},
    token::{Algorithm, KeySet, VerifyingKey},
    verify::{IssuerRules, Malformed, Verifier},
};

use crate::{
    Picky,
    asking::{OK, UNAUTHORIZED, UNAVAILABLE},
    gate::{Gate, NOW, good_token, token_of, token_saying},
    revoke,
};

const ISSUER: &str = "https://issuer.test";

/// A gate, and how often a token was verified from the beginning.
struct Counted {
    gate: Gate,
    verified: Arc<AtomicUsize>,
}

impl Counted {
    fn new() -> Self {
        let verified = Arc::new(AtomicUsize::new(0));
        let count = verified.clone();
        // Called where the claims are read, which comes after the signature.
        let gate = Gate::with(
            |settings| settings,
            |rules| {
                rules.groups_from(move |_| {
                    count.fetch_add(1, Ordering::Relaxed);
                    Some(vec![Id::new("staff").unwrap()])
                })
            },
        );
        gate.sync();
        Self { gate, verified }
    }

    async fn ask(&self, token: &str) -> StatusCode {
        ask(&RevocationLayer::new(self.gate.verifier.clone()), token).await
    }

    fn verified(&self) -> usize {
        self.verified.load(Ordering::Relaxed)
    }
}

async fn ask<C>(layer: &RevocationLayer<C>, token: &str) -> StatusCode
where
    C: serde::de::DeserializeOwned + Send + Sync + 'static,
{
    let picky = Picky::default();
    let request = Request::get("/")
        .header(AUTHORIZATION, format!("Bearer {token}"))
        .body(Empty::<Bytes>::new())
        .unwrap();
    let status = layer.layer(picky.clone()).oneshot(request).await.unwrap().status();
    // Law 9.
    assert_eq!(picky.calls.load(Ordering::SeqCst), usize::from(status == OK));
    status
}

fn keys(secret: u8) -> KeySet {
    KeySet::new([VerifyingKey::hmac(Algorithm::HS256, &[secret; 32]).unwrap()]).unwrap()
}

#[tokio::test]
async fn a_known_token_is_not_verified_again_and_is_refused_once_it_is_revoked() {
    let counted = Counted::new();
    let token = good_token();
    for _ in 0..3 {
        assert_eq!(counted.ask(&token).await, OK);
    }
    assert_eq!(counted.verified(), 1);
    revoke(&counted.gate, Demand::Login);
    assert_eq!(counted.ask(&token).await, UNAUTHORIZED);
    assert_eq!(counted.verified(), 1);
}

#[tokio::test]
async fn a_known_token_is_revoked_by_each_of_its_scopes() {
    let all = ["group staff", "user alice", "session s1", "token t1", "everyone "];
    for (kind, subject) in all.map(|scope| scope.split_once(' ').unwrap()) {
        let counted = Counted::new();
        let token = good_token();
        assert_eq!(counted.ask(&token).await, OK);
        let scope = Scope::new(kind.parse().unwrap(), subject).unwrap();
        let (before, now) = (at(NOW - 300), at(NOW));
        // One of somebody else's, and one of its own that does not cover it.
        for (scope, cut_off) in [(&Scope::user("mallory").unwrap(), now), (&scope, before)] {
            counted.gate.epochs.raise(scope, cut_off);
            assert_eq!(counted.ask(&token).await, OK, "{scope:?}");
            assert_eq!(counted.ask(&token).await, OK, "{scope:?}");
        }
        counted.gate.epochs.raise(&scope, now);
        assert_eq!(counted.ask(&token).await, UNAUTHORIZED, "{scope:?}");
        assert_eq!(counted.verified(), 1);
    }
}

#[tokio::test]
async fn a_token_that_is_too_long_to_be_kept_is_verified_each_time() {
    let counted = Counted::new();
    let token = token_saying(&serde_json::json!({ "note": "x".repeat(5_800) }));
    assert!(token.len() > 8_000, "{}", token.len());
    for verified in 1..=2 {
        assert_eq!(counted.ask(&token).await, OK);
        assert_eq!(counted.verified(), verified);
    }
    revoke(&counted.gate, Demand::Login);
    assert_eq!(counted.ask(&token).await, UNAUTHORIZED);
}

#[tokio::test]
async fn a_known_token_is_refused_by_the_floor() {
    let counted = Counted::new();
    let token = good_token();
    assert_eq!(counted.ask(&token).await, OK);
    counted.gate.epochs.raise_floor(at(NOW));
    assert_eq!(counted.ask(&token).await, UNAUTHORIZED);
}

#[tokio::test]
async fn a_known_token_is_in_doubt_once_somebody_in_its_bucket_is_revoked() {
    let gate = Gate::with(|settings| settings.buckets(64), |rules| rules);
    gate.sync();
    let token = good_token();
    let layer = RevocationLayer::new(gate.verifier.clone());
    for _ in 0..2 {
        assert_eq!(ask(&layer, &token).await, OK);
    }
    gate.epochs.raise(&Scope::user("alice").unwrap(), at(NOW));
    assert_eq!(ask(&layer, &token).await, UNAVAILABLE);
    assert!(matches!(
        gate.verifier.verify::<NoClaims>(token.as_bytes()),
        Err(Rejection::Doubtful { .. })
    ));
}

/// A cut-off, in seconds since 1970.
fn at(seconds: u64) -> CutOff {
    CutOff::at(StoreTime::from_micros(seconds * 1_000_000), Demand::Refresh)
}

#[tokio::test]
async fn a_known_token_expires() {
    let counted = Counted::new();
    let token = good_token();
    assert_eq!(counted.ask(&token).await, OK);
    counted.gate.clock.advance(Duration::from_secs(400));
    counted.gate.sync();
    let refused = counted.gate.verifier.verify::<NoClaims>(token.as_bytes()).unwrap_err();
    assert_eq!(refused, Rejection::Expired);
    assert_eq!(counted.ask(&token).await, UNAUTHORIZED);
}

#[tokio::test]
async fn a_known_token_is_not_trusted_while_the_copy_is_stale() {
    let counted = Counted::new();
    let token = good_token();
    assert_eq!(counted.ask(&token).await, OK);
    counted.gate.clock.advance(Duration::from_secs(11));
    assert_eq!(counted.ask(&token).await, UNAVAILABLE);
    counted.gate.sync();
    assert_eq!(counted.ask(&token).await, OK);
    assert_eq!(counted.verified(), 1);
}

#[tokio::test]
async fn a_known_token_is_refused_once_its_key_is_gone() {
    let counted = Counted::new();
    let token = good_token();
    assert_eq!(counted.ask(&token).await, OK);
    let verifier = &counted.gate.verifier;
    verifier.replace_keys(ISSUER, keys(8)).unwrap();
    assert_eq!(counted.ask(&token).await, UNAUTHORIZED);
    let refused = verifier.verify::<NoClaims>(token.as_bytes()).unwrap_err();
    assert_eq!(refused, Rejection::Signature);
    verifier.replace_keys(ISSUER, keys(7)).unwrap();
    assert_eq!(counted.ask(&token).await, OK);
    assert_eq!(counted.verified(), 2);
    assert_eq!(counted.ask(&token).await, OK);
    assert_eq!(counted.verified(), 2);
}

#[tokio::test]
async fn what_is_refused_is_not_kept() {
    let counted = Counted::new();
    revoke(&counted.gate, Demand::Login);
    for times in 1..4 {
        assert_eq!(counted.ask(&good_token()).await, UNAUTHORIZED);
        assert_eq!(counted.verified(), times);
    }
}

#[tokio::test]
async fn a_token_that_differs_in_one_byte_is_not_the_known_one() {
    let counted = Counted::new();
    let token = good_token();
    assert_eq!(counted.ask(&token).await, OK);
    for at in 0..token.len() {
        let mut other = token.clone().into_bytes();
        other[at] = if other[at] == b'A' { b'B' } else { b'A' };
        assert_eq!(counted.ask(std::str::from_utf8(&other).unwrap()).await, UNAUTHORIZED, "{at}");
    }
    // Another payload before the same signature, too.
    let (bobs, alices) = (token_of("bob", 10), token.rsplit_once('.').unwrap().1);
    let forged = format!("{}.{alices}", bobs.rsplit_once('.').unwrap().0);
    assert_eq!(counted.ask(&forged).await, UNAUTHORIZED);
    // And what no token can be is told as before.
    assert_eq!(counted.ask(&format!("{token},")).await, StatusCode::BAD_REQUEST);
    assert_eq!(counted.verified(), 1);
}

#[derive(Debug, Deserialize)]
struct Plan {
    plan: String,
}

#[derive(Debug, Deserialize)]
struct Seats {
    #[serde(rename = "seats")]
    _seats: u32,
}

#[test]
fn each_layer_gets_the_claims_that_it_asks_for() {
    let Gate { verifier, .. } = Gate::open();
    let token = token_saying(&serde_json::json!({ "plan": "silver" }));
    for _ in 0..2 {
        let none: Verified = verifier.verify(token.as_bytes()).unwrap();
        assert_eq!(none.subject(), "alice");
        let plan: Verified<Plan> = verifier.verify(token.as_bytes()).unwrap();
        assert_eq!((plan.subject(), &*plan.claims().plan), ("alice", "silver"));
        let seats = verifier.verify::<Seats>(token.as_bytes()).unwrap_err();
        assert_eq!(seats, Rejection::CustomClaims);
    }
}

#[tokio::test]
async fn a_route_asks_the_same_of_a_known_token() {
    let Gate { verifier, .. } = Gate::open();
    let token = token_saying(&serde_json::json!({ "scope": "read" }));
    let open = RevocationLayer::new(verifier.clone());
    let closed = RevocationLayer::new(verifier).require_permission("write").unwrap();
    for _ in 0..2 {
        assert_eq!(ask(&open, &token).await, OK);
        assert_eq!(ask(&closed, &token).await, StatusCode::FORBIDDEN);
    }
}

#[test]
fn without_a_cache_each_token_is_verified_each_time() {
    let verified = Arc::new(AtomicUsize::new(0));
    let count = verified.clone();
    let gate = Gate::open();
    let rules = IssuerRules::new(ISSUER, keys(7)).audience("api").groups_from(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        Some(Vec::new())
    });
    let builder = Verifier::builder(gate.epochs.clone()).issuer(rules);
    let verifier = builder.clone().token_cache_bytes(0).build().unwrap();
    for times in 1..4 {
        verifier.verify::<NoClaims>(good_token().as_bytes()).unwrap();
        assert_eq!(verified.load(Ordering::Relaxed), times);
    }
    for useless in [1, 16 * 1024 - 1] {
        let refused = builder.clone().token_cache_bytes(useless).build().unwrap_err();
        assert!(matches!(refused, ConfigError::Number { field: "token_cache_bytes", .. }));
    }
    assert!(builder.token_cache_bytes(16 * 1024).build().is_ok());
}

#[test]
fn the_shortest_of_tokens_is_refused_as_ever() {
    let Gate { verifier, .. } = Gate::open();
    for token in ["", "a", "a.b.c"] {
        let refused = verifier.verify::<NoClaims>(token.as_bytes()).unwrap_err();
        assert!(matches!(refused, Rejection::Malformed(_)), "{token:?}");
    }
    let refused = verifier.verify::<NoClaims>(b"0123456789abcdef").unwrap_err();
    assert_eq!(refused, Rejection::Malformed(Malformed::Segments));
}
