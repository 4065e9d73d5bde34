//! The same request and the same token for all: keys, claims, tokens, requests.

use std::{hint::black_box, rc::Rc};

use axum::body::Body;
use http::{HeaderName, HeaderValue, Request, header::AUTHORIZATION};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation,
    jwk::{Jwk, JwkSet},
};
use rand::{RngExt, seq::SliceRandom};
use serde::{Deserialize, Serialize};
use tower_revocation::clock::Clock;

pub(crate) const ISSUER: &str = "https://issuer.example";
pub(crate) const AUDIENCE: &str = "api";
pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";
pub(crate) const KID: &str = "2026-11";

/// The public halves of the keys of the tests.
pub(crate) const RSA: &str = include_str!("../../../tests/fixtures/keys/rsa-2048.pub.pem");
pub(crate) const EC: &str = include_str!("../../../tests/fixtures/keys/ec-p256.pub.pem");
pub(crate) const ED: &str = include_str!("../../../tests/fixtures/keys/ed25519.pub.pem");
const RSA_PRIVATE: &str = include_str!("../../../tests/fixtures/keys/rsa-2048.pem");
const EC_PRIVATE: &str = include_str!("../../../tests/fixtures/keys/ec-p256.pem");
const ED_PRIVATE: &str = include_str!("../../../tests/fixtures/keys/ed25519.pem");

/// What a token says, as a service has it read: owned.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Claims {
    pub(crate) iss: String,
    pub(crate) aud: String,
    pub(crate) sub: String,
    pub(crate) sid: String,
    pub(crate) jti: String,
    pub(crate) client_id: String,
    pub(crate) scope: String,
    pub(crate) groups: Vec<String>,
    pub(crate) iat: u64,
    pub(crate) exp: u64,
}

/// Tokens of so many users, which are good for a quarter of an hour, as ours allow by default.
pub(crate) fn tokens(algorithm: Algorithm, users: usize) -> Vec<String> {
    let key = encoding_key(algorithm);
    let header = Header {
        typ: Some("at+jwt".to_owned()),
        kid: Some(KID.to_owned()),
        ..Header::new(algorithm)
    };
    let now = Clock::system().now().wall.as_secs();
    (0..users)
        .map(|user| {
            let claims = Claims {
                iss: ISSUER.to_owned(),
                aud: AUDIENCE.to_owned(),
                sub: subject(user),
                sid: format!("{user:06}pXx3wmJq0mGqYkYw"),
                jti: format!("{user:06}S1m4Hn0m3QYk3gVn"),
                client_id: "web".to_owned(),
                scope: "orders:read orders:write".to_owned(),
                groups: vec!["staff".to_owned()],
                iat: now - 10,
                exp: now + 880,
            };
            jsonwebtoken::encode(&header, &claims, &key).expect("the key fits the algorithm")
        })
        .collect()
}

/// Of 36 characters, as UUIDs have.
pub(crate) fn subject(user: usize) -> String {
    format!("5f0f3c1a-7b60-4c58-9d3e-{user:012}")
}

fn encoding_key(algorithm: Algorithm) -> EncodingKey {
    match algorithm {
        Algorithm::RS256 => EncodingKey::from_rsa_pem(RSA_PRIVATE.as_bytes()),
        Algorithm::ES256 => EncodingKey::from_ec_pem(EC_PRIVATE.as_bytes()),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(ED_PRIVATE.as_bytes()),
        _ => Ok(EncodingKey::from_secret(SECRET.as_bytes())),
    }
    .expect("the keys of the tests are keys")
}

pub(crate) fn decoding_key(algorithm: Algorithm) -> DecodingKey {
    match algorithm {
        Algorithm::RS256 => DecodingKey::from_rsa_pem(RSA.as_bytes()),
        Algorithm::ES256 => DecodingKey::from_ec_pem(EC.as_bytes()),
        Algorithm::EdDSA => DecodingKey::from_ed_pem(ED.as_bytes()),
        _ => Ok(DecodingKey::from_secret(SECRET.as_bytes())),
    }
    .expect("the keys of the tests are keys")
}

/// Issuer, audience and expiry, which is what the others check as well.
pub(crate) fn validation(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation
}

/// The key as an issuer publishes it.
pub(crate) fn jwks(algorithm: Algorithm) -> String {
    let mut jwk = Jwk::from_encoding_key(&encoding_key(algorithm), algorithm)
        .expect("the keys of the tests can be published");
    jwk.common.key_id = Some(KID.to_owned());
    serde_json::to_string(&JwkSet { keys: vec![jwk] }).expect("keys are JSON")
}

/// Requests that differ in one header.
#[derive(Clone)]
pub(crate) struct Requests {
    name: HeaderName,
    values: Rc<[HeaderValue]>,
    /// Which value comes next: each once, and again, in another order each time.
    order: Rc<[u32]>,
    place: usize,
}

impl Requests {
    pub(crate) fn bearing(tokens: &[String]) -> Self {
        Self::with(AUTHORIZATION, tokens.iter().map(|token| format!("Bearer {token}")))
    }

    pub(crate) fn with(name: HeaderName, values: impl Iterator<Item = String>) -> Self {
        let values: Rc<[HeaderValue]> = values
            .map(|value| HeaderValue::try_from(value).expect("it can stand in a header"))
            .collect();
        let mut order = Vec::new();
        for _ in 0..PERMUTATIONS {
            let mut once: Vec<u32> = (0..values.len() as u32).collect();
            once.shuffle(&mut rand::rng());
            order.extend(once);
        }
        Self { name, values, order: order.into(), place: 0 }
    }

    /// How many there are before the first comes again.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// Begins anywhere, so that rounds do not repeat each other.
    pub(crate) fn wander(&mut self) {
        self.place = rand::rng().random_range(0..self.order.len());
    }

    pub(crate) fn next(&mut self) -> Request<Body> {
        let value = &self.values[self.order[self.place] as usize];
        self.place = if self.place + 1 == self.order.len() { 0 } else { self.place + 1 };
        // A server has just read the header from its socket: the bytes are in the cache.
        for line in value.as_bytes().chunks(CACHE_LINE) {
            black_box(line[0]);
        }
        let mut request = Request::new(Body::empty());
        request.headers_mut().insert(&self.name, value.clone());
        request
    }
}

const PERMUTATIONS: usize = 8;
const CACHE_LINE: usize = 64;
