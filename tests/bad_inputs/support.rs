//! A verifier with a clock that stands still, and a forger that signs whatever it is given.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderValue, Request, Response, header::AUTHORIZATION};
use http_body_util::Full;
use jsonwebtoken::{Algorithm as Jwa, EncodingKey, crypto::aws_lc::DEFAULT_PROVIDER};
use tower::{Layer, Service, service_fn};
use tower_revocation::{
    NoClaims, Rejection, RevocationLayer, Verified, Verifier,
    clock::{Clock, ManualClock},
    cutoff::StoreTime,
    epochs::{Epochs, Synced},
    token::{Algorithm, KeySet, VerifyingKey},
    verify::{ClaimProblem, IssuerRules},
};

/// What every clock says, in seconds since 1970.
pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const ISS: &str = "https://id.example";
pub(crate) const AUD: &str = "https://api.example";
pub(crate) const SECRET: &[u8] =
    b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A file of `tests/fixtures/keys`.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/keys/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Signs any header over any payload.
pub(crate) struct Forger {
    algorithm: Jwa,
    key: EncodingKey,
}

impl Forger {
    /// The private half of the fixture for `algorithm`.
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        let jwa: Jwa = algorithm.as_str().parse().unwrap();
        let key = match algorithm.as_str() {
            "EdDSA" => EncodingKey::from_ed_pem(&fixture("ed25519.pem")),
            "ES256" => EncodingKey::from_ec_pem(&fixture("ec-p256.pem")),
            "ES384" => EncodingKey::from_ec_pem(&fixture("ec-p384.pem")),
            "HS256" | "HS384" | "HS512" => Ok(EncodingKey::from_secret(SECRET)),
            _ => EncodingKey::from_rsa_pem(&fixture("rsa-2048.pem")),
        };
        Self { algorithm: jwa, key: key.unwrap() }
    }

    /// HMAC with any secret at all.
    pub(crate) fn hs256(secret: &[u8]) -> Self {
        Self { algorithm: Jwa::HS256, key: EncodingKey::from_secret(secret) }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signer = (DEFAULT_PROVIDER.signer_factory)(&self.algorithm, &self.key).unwrap();
        signer.try_sign(message).unwrap()
    }

    pub(crate) fn token(&self, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
        self.segments(&b64(header), &b64(payload))
    }

    /// Signs two segments as they are.
    pub(crate) fn segments(&self, header: &str, payload: &str) -> String {
        let message = format!("{header}.{payload}");
        let signature = b64(self.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// An object as text, with values that no serializer would write.
#[derive(Clone)]
pub(crate) struct Json(Vec<(String, String)>);

impl Json {
    /// Sets a member to a value given as JSON text.
    pub(crate) fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.0.retain(|(n, _)| n != name);
        self.0.push((name.to_owned(), value.to_string()));
        self
    }

    /// Sets a member to a string.
    pub(crate) fn text(self, name: &str, value: &str) -> Self {
        self.set(name, serde_json::Value::from(value))
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.0.retain(|(n, _)| n != name);
        self
    }

    /// Adds a member, even if it stands there already; the name is written as it is.
    pub(crate) fn again(mut self, name: &str, value: &str) -> Self {
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn json(&self) -> String {
        let members: Vec<_> = self.0.iter().map(|(n, v)| format!("\"{n}\":{v}")).collect();
        format!("{{{}}}", members.join(","))
    }
}

/// The header of a good token.
pub(crate) fn header(algorithm: Algorithm) -> Json {
    Json(Vec::new()).text("alg", algorithm.as_str()).text("typ", "at+jwt").text("kid", "k1")
}

/// The payload of a good token.
pub(crate) fn payload() -> Json {
    Json(Vec::new())
        .text("iss", ISS)
        .text("aud", AUD)
        .text("sub", "alice")
        .set("iat", NOW - 10)
        .set("exp", NOW + 600)
        .text("jti", "t1")
        .text("sid", "s1")
        .set("groups", r#"["admins","tenant-7"]"#)
}

/// The public half of the fixture, under the id `k1`.
pub(crate) fn key(algorithm: Algorithm) -> VerifyingKey {
    let key = match algorithm.as_str() {
        "EdDSA" => VerifyingKey::from_pem(algorithm, &fixture("ed25519.pub.pem")),
        "ES256" => VerifyingKey::from_pem(algorithm, &fixture("ec-p256.pub.pem")),
        "ES384" => VerifyingKey::from_pem(algorithm, &fixture("ec-p384.pub.pem")),
        "HS256" | "HS384" | "HS512" => VerifyingKey::hmac(algorithm, SECRET),
        _ => VerifyingKey::from_pem(algorithm, &fixture("rsa-2048.pub.pem")),
    };
    key.unwrap().with_kid("k1")
}

pub(crate) fn keys(algorithm: Algorithm) -> KeySet {
    KeySet::new([key(algorithm)]).unwrap()
}

/// The usual rules for the usual issuer.
pub(crate) fn rules(algorithm: Algorithm) -> IssuerRules {
    IssuerRules::new(ISS, keys(algorithm)).audience(AUD)
}

/// Epochs that were never loaded, and the hand on their clock.
pub(crate) fn unloaded() -> (Epochs, ManualClock) {
    let (clock, hand) = Clock::manual(Duration::from_secs(NOW));
    (Epochs::builder().clock(clock).build().unwrap(), hand)
}

/// Epochs that are loaded, fresh and empty.
pub(crate) fn epochs() -> (Epochs, ManualClock) {
    let (epochs, hand) = unloaded();
    load(&epochs);
    (epochs, hand)
}

/// A poll that succeeds now and finds nothing new.
pub(crate) fn load(epochs: &Epochs) {
    let asked_at = epochs.clock().now();
    let head = epochs.newest().max(StoreTime::ZERO);
    epochs.synced(Synced { asked_at, store_clock: asked_at.wall, head });
}

pub(crate) fn verifier(rules: IssuerRules) -> Verifier {
    Verifier::builder(epochs().0).issuer(rules).build().unwrap()
}

/// Checks a token, and sees to it that through the layer it reaches the service exactly if it is
/// good.
pub(crate) fn check(verifier: &Verifier, token: impl AsRef<[u8]>) -> Result<Verified, Rejection> {
    let token = token.as_ref();
    let verdict = verifier.verify::<NoClaims>(token);
    let presented = [b"Bearer ", token].concat();
    // What no header can hold is sent over sockets, in `authorization.rs`.
    if let Ok(presented) = HeaderValue::from_bytes(&presented) {
        let reached = AtomicUsize::new(0);
        let inner = service_fn(|_: Request<()>| {
            reached.fetch_add(1, Ordering::Relaxed);
            std::future::ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())))
        });
        let request = Request::builder().header(AUTHORIZATION, presented).body(()).unwrap();
        let call = RevocationLayer::new(verifier.clone()).layer(inner).call(request);
        let answer = call.now_or_never().expect("nothing is waited for").unwrap();
        assert_eq!(answer.status().is_success(), verdict.is_ok());
        assert_eq!(reached.into_inner(), usize::from(verdict.is_ok()));
    }
    verdict
}

/// Against the usual rules, with the EdDSA key.
pub(crate) fn refused(token: impl AsRef<[u8]>) -> Option<Rejection> {
    check(&verifier(rules(Algorithm::EdDSA)), token).err()
}

/// Against the usual rules, with the payload signed by the EdDSA key.
pub(crate) fn refused_payload(payload: &Json) -> Option<Rejection> {
    refused_by(rules(Algorithm::EdDSA), payload)
}

/// Against other rules, with the payload signed by the EdDSA key.
pub(crate) fn refused_by(rules: IssuerRules, payload: &Json) -> Option<Rejection> {
    check(&verifier(rules), good(payload)).err()
}

/// The payload under a good header and signature.
pub(crate) fn good(payload: &Json) -> String {
    let algorithm = Algorithm::EdDSA;
    Forger::new(algorithm).token(header(algorithm).json(), payload.json())
}

pub(crate) fn claim(name: &'static str, problem: ClaimProblem) -> Option<Rejection> {
    Some(Rejection::Claim { name, problem })
}
