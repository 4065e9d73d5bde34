//! What the benchmarks share: short runs, epochs that stay fresh, and one token per algorithm with
//! all that ours and the bare library need to check it.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]
#![allow(dead_code, reason = "no benchmark needs all of it")]

use std::time::Duration;

use criterion::Criterion;
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation, crypto::aws_lc};
use serde::{Deserialize, Serialize};
use tower_revocation::{
    Verifier,
    cutoff::StoreTime,
    epochs::{Epochs, Synced},
    token::{Algorithm, CryptoBackend, KeySet, VerifyingKey},
    verify::{IssuerRules, VerifierBuilder},
};

const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "api";
const SECRET: &[u8] = &[7; 32];

/// Many short runs tell more than few long ones on a machine that does other things too.
pub(crate) fn short() -> Criterion {
    Criterion::default()
        .sample_size(40)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .without_plots()
}

/// Loaded epochs without a cut-off, on the machine's clock, fresh until the benchmark is over.
///
/// `newest` is what the store would have issued last.
pub(crate) fn loaded(newest: StoreTime) -> Epochs {
    let epochs = Epochs::builder().max_staleness(Duration::from_secs(3600)).build().unwrap();
    let now = epochs.clock().now();
    epochs.synced(Synced { asked_at: now, answered_at: now, store_clock: now.wall, head: newest });
    epochs
}

/// A token of one algorithm, and how the bare library checks it.
pub(crate) struct Sample {
    pub(crate) algorithm: Algorithm,
    pub(crate) token: String,
    key: VerifyingKey,
    bare_key: DecodingKey,
    validation: Validation,
}

/// The claims, as a service would have them read.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Claims {
    pub(crate) iss: String,
    pub(crate) aud: String,
    pub(crate) sub: String,
    sid: String,
    jti: String,
    client_id: String,
    groups: Vec<String>,
    iat: u64,
    exp: u64,
}

impl Sample {
    pub(crate) fn new(algorithm: Algorithm, jwa: jsonwebtoken::Algorithm) -> Self {
        // Two providers are compiled in, so `encode` and `decode` need to be told which to use.
        // An error only says that another sample was first.
        let _ = aws_lc::DEFAULT_PROVIDER.install_default();
        let (signing, key, bare_key) = keys(algorithm);
        let now = Epochs::new().clock().now().wall.as_secs();
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: "8f4d3c1a-alice".to_owned(),
            sid: "1VnVJ0pXx3wmJq0mGqYkYw".to_owned(),
            jti: "yZxjv0b1S1m4Hn0m3QYk3g".to_owned(),
            client_id: "web".to_owned(),
            groups: vec!["staff".to_owned()],
            iat: now - 10,
            exp: now + 600,
        };
        let header = Header { typ: Some("at+jwt".to_owned()), ..Header::new(jwa) };
        let token = jsonwebtoken::encode(&header, &claims, &signing).unwrap();
        let mut validation = Validation::new(jwa);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        Self { algorithm, token, key, bare_key, validation }
    }

    /// Ours, with this crypto library and these epochs.
    pub(crate) fn verifier(&self, backend: CryptoBackend, epochs: &Epochs) -> Verifier {
        self.settings(backend, epochs).build().unwrap()
    }

    /// The same, to which every token is a new one.
    pub(crate) fn cold_verifier(&self, backend: CryptoBackend, epochs: &Epochs) -> Verifier {
        self.settings(backend, epochs).token_cache_bytes(0).build().unwrap()
    }

    fn settings(&self, backend: CryptoBackend, epochs: &Epochs) -> VerifierBuilder {
        let keys = KeySet::new([self.key.clone()]).unwrap();
        let rules = IssuerRules::new(ISSUER, keys).audience(AUDIENCE);
        Verifier::builder(epochs.clone()).issuer(rules).crypto(backend)
    }

    /// `jsonwebtoken::decode`, on aws-lc, with issuer, audience and expiry checked.
    pub(crate) fn decode(&self, token: &str) -> Claims {
        jsonwebtoken::decode(token, &self.bare_key, &self.validation).unwrap().claims
    }
}

fn keys(algorithm: Algorithm) -> (EncodingKey, VerifyingKey, DecodingKey) {
    /// The private and the public half of a key of the tests.
    macro_rules! pem {
        ($name:literal) => {
            (
                include_bytes!(concat!("../../tests/fixtures/keys/", $name, ".pem")).as_slice(),
                include_bytes!(concat!("../../tests/fixtures/keys/", $name, ".pub.pem")).as_slice(),
            )
        };
    }
    let ours = |public| VerifyingKey::from_pem(algorithm, public).unwrap();
    match algorithm {
        Algorithm::RS256 | Algorithm::PS256 => {
            let (private, public) = pem!("rsa-2048");
            (
                EncodingKey::from_rsa_pem(private).unwrap(),
                ours(public),
                DecodingKey::from_rsa_pem(public).unwrap(),
            )
        }
        Algorithm::ES256 | Algorithm::ES384 => {
            let (private, public) =
                if algorithm == Algorithm::ES256 { pem!("ec-p256") } else { pem!("ec-p384") };
            (
                EncodingKey::from_ec_pem(private).unwrap(),
                ours(public),
                DecodingKey::from_ec_pem(public).unwrap(),
            )
        }
        Algorithm::EdDSA => {
            let (private, public) = pem!("ed25519");
            (
                EncodingKey::from_ed_pem(private).unwrap(),
                ours(public),
                DecodingKey::from_ed_pem(public).unwrap(),
            )
        }
        _ => (
            EncodingKey::from_secret(SECRET),
            VerifyingKey::hmac(algorithm, SECRET).unwrap(),
            DecodingKey::from_secret(SECRET),
        ),
    }
}
