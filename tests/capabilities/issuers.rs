//! Several issuers in one layer, and time.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tower_revocation::{
    Algorithm, Demand, EpochStore, Epochs, Follower, Id, Revocation, RevocationLayer, Scope,
    Verifier,
    clock::Clock,
    error::ConfigError,
    layer::Confirmations,
    lifetimes::Lifetimes,
    token::{IssuerRules, KeySet, TypPolicy, VerifyingKey},
};

use crate::{
    common::place::{self, Place},
    service::Service,
};

/// A foreign issuer: it signs with a secret of its own, and knows nothing of store time.
struct Foreign {
    name: &'static str,
    secret: [u8; 32],
}

impl Foreign {
    fn rules(&self) -> IssuerRules {
        let key = VerifyingKey::hmac(Algorithm::HS256, &self.secret).unwrap();
        IssuerRules::new(self.name, KeySet::new([key]).unwrap()).audience("api")
    }

    fn token(&self, typ: &str, sub: &str, iat: u64, exp: u64) -> String {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        use jsonwebtoken::{EncodingKey, crypto::aws_lc::DEFAULT_PROVIDER};

        let part = |part: Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let header = part(json!({ "alg": "HS256", "typ": typ }));
        let claims = part(json!({
            "iss": self.name, "aud": "api", "sub": sub, "iat": iat, "exp": exp,
        }));
        let message = format!("{header}.{claims}");
        let key = EncodingKey::from_secret(&self.secret);
        let signer = (DEFAULT_PROVIDER.signer_factory)(&jsonwebtoken::Algorithm::HS256, &key);
        let signature = signer.unwrap().try_sign(message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

const NOW: u64 = 1_800_000_000;
const ONE: Foreign = Foreign { name: "https://one.test", secret: [1; 32] };
const TWO: Foreign = Foreign { name: "https://two.test", secret: [2; 32] };

#[tokio::test]
async fn c49_several_issuers_in_one_layer_each_with_its_own_keys_and_rules() {
    let data = Place::new().await;
    let (clock, hand) = Clock::manual(Duration::from_secs(NOW));
    let store = place::store(data.path(), "test.db", clock.clone()).await;
    let epochs = Epochs::builder().clock(clock).build().unwrap();
    let _sync = Follower::new(store.clone(), epochs.clone()).start().unwrap();
    epochs.ready().await;
    let verifier = Verifier::builder(epochs.clone())
        .issuer(ONE.rules().subject_prefix("one:"))
        .issuer(TWO.rules().subject_prefix("two:").typ(TypPolicy::Jwt))
        .build()
        .unwrap();
    let service = Service::protected_by(verifier).await;

    let (ours, theirs) = (
        ONE.token("at+jwt", "alice", NOW - 5, NOW + 60),
        TWO.token("JWT", "alice", NOW - 5, NOW + 60),
    );
    let answer = service.me(&ours).await;
    assert_eq!(answer.text().await.unwrap(), "https://one.test alice");
    let answer = service.me(&theirs).await;
    assert_eq!(answer.text().await.unwrap(), "https://two.test alice");
    // Each by its own rules, and with its own keys.
    let wrong_typ = ONE.token("JWT", "alice", NOW - 5, NOW + 60);
    let forged = Foreign { name: ONE.name, secret: TWO.secret };
    let wrong_key = forged.token("at+jwt", "alice", NOW - 5, NOW + 60);
    for token in [wrong_typ, wrong_key] {
        assert_eq!(service.me(&token).await.status(), StatusCode::UNAUTHORIZED);
    }

    // Namesakes are different users.
    let scope = Scope::user("one:alice").unwrap();
    let receipt = store.revoke(Revocation::new(scope, Demand::Login)).await.unwrap();
    epochs.wait_for(&receipt).await;
    assert_eq!(service.me(&ours).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(service.me(&theirs).await.status(), StatusCode::OK);

    // A foreign login in the second of the revocation is refused for that second.
    hand.advance(Duration::from_millis(900));
    let same_second = ONE.token("at+jwt", "alice", NOW, NOW + 60);
    assert_eq!(service.me(&same_second).await.status(), StatusCode::UNAUTHORIZED);
    hand.advance(Duration::from_millis(100));
    let next_second = ONE.token("at+jwt", "alice", NOW + 1, NOW + 60);
    assert_eq!(service.me(&next_second).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn c54_leeway_is_explicit_and_bounded() {
    let lifetimes = Lifetimes::new(
        Duration::from_secs(900),
        Duration::from_secs(3_600),
        Duration::from_secs(7),
    )
    .unwrap();
    let (clock, _) = Clock::manual(Duration::from_secs(NOW));
    let epochs = Epochs::builder().clock(clock.clone()).lifetimes(lifetimes).build().unwrap();
    let store = tower_revocation::store::MemoryStore::with_clock(clock);
    let _sync = Follower::new(store, epochs.clone()).start().unwrap();
    epochs.ready().await;
    let verifier = Verifier::builder(epochs).issuer(ONE.rules()).build().unwrap();
    let service = Service::protected_by(verifier).await;
    for (iat, exp, status) in [
        (NOW - 60, NOW - 6, StatusCode::OK),
        (NOW - 60, NOW - 7, StatusCode::UNAUTHORIZED),
        (NOW + 7, NOW + 60, StatusCode::OK),
        (NOW + 8, NOW + 60, StatusCode::UNAUTHORIZED),
    ] {
        let token = ONE.token("at+jwt", "alice", iat, exp);
        assert_eq!(service.me(&token).await.status(), status, "iat {iat}, exp {exp}");
    }
    // It is refused where it would make a token's life meaningless.
    let life = Duration::from_secs(60);
    match Lifetimes::new(life, life, life) {
        Err(ConfigError::Duration { field, .. }) => assert_eq!(field, "leeway"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn c33_groups_from_a_function_of_the_token_are_revoked_as_a_whole() {
    let data = Place::new().await;
    let (clock, _hand) = Clock::manual(Duration::from_secs(NOW));
    let store = place::store(data.path(), "test.db", clock.clone()).await;
    // In buckets as well: the groups are asked about as any other scope.
    let epochs = Epochs::builder().clock(clock).buckets(1).build().unwrap();
    let _sync = Follower::new(store.clone(), epochs.clone()).start().unwrap();
    epochs.ready().await;
    // The mail domain is a group.
    let rules = ONE.rules().groups_from(|token| {
        let (_, domain) = token.subject().split_once('@')?;
        Some(vec![Id::new(domain).ok()?])
    });
    let verifier = Verifier::builder(epochs.clone()).issuer(rules).build().unwrap();
    let confirmations = Confirmations::new(store.clone());
    let layer = RevocationLayer::new(verifier).confirm_doubtful(confirmations);
    let service = Service::behind(layer).await;
    let of = |subject: &str| ONE.token("at+jwt", subject, NOW - 5, NOW + 60);
    let ask = async |subject: &str| service.me(&of(subject)).await.status();
    assert_eq!(ask("alice@acme.test").await, StatusCode::OK);
    assert_eq!(ask("no domain").await, StatusCode::UNAUTHORIZED);

    let acme = Scope::group("acme.test").unwrap();
    let receipt = store.revoke(Revocation::new(acme, Demand::Login)).await.unwrap();
    epochs.wait_for(&receipt).await;
    for (subject, expected) in [
        ("alice@acme.test", StatusCode::UNAUTHORIZED),
        ("bob@acme.test", StatusCode::UNAUTHORIZED),
        ("alice@umbrella.test", StatusCode::OK),
    ] {
        assert_eq!(ask(subject).await, expected, "{subject}");
    }
}
