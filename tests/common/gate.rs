//! A verifier with its epochs, a clock to drive by hand, and tokens to show it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm as Alg, EncodingKey, crypto::aws_lc::DEFAULT_PROVIDER};
use serde_json::{Value, json};
use tower_revocation::{
    clock::{Clock, ManualClock},
    cutoff::StoreTime,
    epochs::{Epochs, EpochsBuilder, Synced},
    token::{Algorithm, KeySet, VerifyingKey},
    verify::{IssuerRules, Verifier},
};

/// When all tests happen, in seconds since 1970.
pub(crate) const NOW: u64 = 1_800_000_000;

const SECRET: &[u8] = &[7; 32];

pub(crate) struct Gate {
    pub(crate) epochs: Epochs,
    #[allow(dead_code, reason = "time stands still in some of the tests")]
    pub(crate) clock: ManualClock,
    pub(crate) verifier: Verifier,
}

impl Gate {
    /// With its revocations loaded, and fresh as long as the clock stands.
    pub(crate) fn open() -> Self {
        let gate = Self::not_loaded();
        gate.sync();
        gate
    }

    pub(crate) fn not_loaded() -> Self {
        Self::with(|settings| settings, |rules| rules)
    }

    /// With epochs of other settings and other rules for the tokens, not loaded.
    pub(crate) fn with(
        settings: impl FnOnce(EpochsBuilder) -> EpochsBuilder,
        rules: impl FnOnce(IssuerRules) -> IssuerRules,
    ) -> Self {
        let (clock, hand) = Clock::manual(Duration::from_secs(NOW));
        let epochs = settings(Epochs::builder().clock(clock)).build().unwrap();
        let key = VerifyingKey::hmac(Algorithm::HS256, SECRET).unwrap();
        let issuer = IssuerRules::new("https://issuer.test", KeySet::new([key]).unwrap());
        let rules = rules(issuer.audience("api"));
        let verifier = Verifier::builder(epochs.clone()).issuer(rules).build().unwrap();
        Self { epochs, clock: hand, verifier }
    }

    /// A poll has just found the store as this copy is.
    pub(crate) fn sync(&self) {
        let now = self.epochs.clock().now();
        let head = StoreTime::ZERO;
        self.epochs.synced(Synced { asked_at: now, answered_at: now, store_clock: now.wall, head });
    }
}

/// A good token of alice's, issued ten seconds ago.
pub(crate) fn good_token() -> String {
    token_of("alice", 10)
}

/// A good token of `subject`'s, issued so many seconds ago.
pub(crate) fn token_of(subject: &str, seconds_ago: u64) -> String {
    token(&claims(subject, seconds_ago))
}

/// A good token of alice's that says this, too.
#[allow(dead_code, reason = "most tokens say the same")]
pub(crate) fn token_saying(more: &Value) -> String {
    let mut claims = claims("alice", 10);
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    token(&claims)
}

fn claims(subject: &str, seconds_ago: u64) -> Value {
    json!({
        "iss": "https://issuer.test", "aud": "api", "sub": subject, "sid": "s1", "jti": "t1",
        "client_id": "web", "iat": NOW - seconds_ago, "exp": NOW + 300, "plan": "gold",
    })
}

/// A token with these claims and a signature that verifies.
pub(crate) fn token(claims: &Value) -> String {
    let header = json!({ "alg": "HS256", "typ": "at+jwt" });
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let message = format!("{}.{}", encode(&header), encode(claims));
    let key = EncodingKey::from_secret(SECRET);
    let signer = (DEFAULT_PROVIDER.signer_factory)(&Alg::HS256, &key).unwrap();
    let signature = signer.try_sign(message.as_bytes()).unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}
