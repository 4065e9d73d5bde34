//! Our layer over epochs that were loaded by hand.

use std::{hint::black_box, rc::Rc, sync::Arc, time::Duration};

use axum::body::Body;
use http::Request;
use jsonwebtoken::Algorithm as Jwa;
use tokio::runtime::Runtime;
use tower::{Layer, service_fn};
use tower_revocation::{
    Demand, Epochs, RevocationLayer, Scope, Verified, Verifier,
    cutoff::{CutOff, StoreTime},
    epochs::Synced,
    token::{Algorithm, KeySet, VerifyingKey},
    verify::{IssuerRules, VerifierBuilder},
};

use crate::{
    fixture::{self, AUDIENCE, EC, ED, ISSUER, KID, RSA, Requests, SECRET},
    inner,
    rounds::Contender,
};

/// Cut-offs of so many users, of whom none has a token here. All are newer than the tokens, so
/// every token looks for those of its own scopes.
pub(crate) fn epochs(cut_offs: u64) -> Epochs {
    let epochs = Epochs::builder()
        .max_staleness(Duration::from_secs(24 * 3_600))
        .build()
        .expect("a day is long enough");
    let now = epochs.clock().now();
    let micros = now.wall.as_micros() as u64;
    for user in 0..cut_offs {
        let user_id = format!("c1d2e3f4-0000-4000-8000-{user:012}");
        let scope = Scope::user(&user_id).expect("a UUID is an identifier");
        let before = StoreTime::from_micros(micros - cut_offs + user);
        epochs.raise(&scope, CutOff::at(before, Demand::Login));
    }
    epochs.synced(Synced {
        asked_at: now,
        answered_at: now,
        store_clock: now.wall,
        head: epochs.newest(),
    });
    epochs
}

pub(crate) fn verifier(algorithm: Jwa, epochs: &Epochs) -> Verifier {
    builder(algorithm, epochs).build().expect("the rules are complete")
}

/// One to which every token is new.
pub(crate) fn forgetful(algorithm: Jwa, epochs: &Epochs) -> Verifier {
    builder(algorithm, epochs).token_cache_bytes(0).build().expect("the rules are complete")
}

fn builder(algorithm: Jwa, epochs: &Epochs) -> VerifierBuilder {
    let key = match algorithm {
        Jwa::RS256 => VerifyingKey::from_pem(Algorithm::RS256, RSA.as_bytes()),
        Jwa::ES256 => VerifyingKey::from_pem(Algorithm::ES256, EC.as_bytes()),
        Jwa::EdDSA => VerifyingKey::from_pem(Algorithm::EdDSA, ED.as_bytes()),
        _ => VerifyingKey::hmac(Algorithm::HS256, SECRET.as_bytes()),
    };
    let key = key.expect("the keys of the tests are keys").with_kid(KID);
    let keys = KeySet::new([key]).expect("one key is a set");
    let rules = IssuerRules::new(ISSUER, keys).audience(AUDIENCE);
    Verifier::builder(epochs.clone()).issuer(rules)
}

pub(crate) fn contender(
    runtime: &Rc<Runtime>,
    algorithm: Jwa,
    epochs: &Epochs,
    requests: &Requests,
) -> Contender {
    let layer = RevocationLayer::new(verifier(algorithm, epochs));
    let layered = layer.layer(service_fn(async |request: Request<Body>| {
        let caller: &Verified = request.extensions().get().expect("the layer has put it there");
        black_box(caller.subject());
        inner::answer()
    }));
    Contender::new(NAME, runtime, requests, layered, inner::bare())
}

/// The same, and somebody is logged out before each turn. Among many tokens, nearly every request of a
/// turn is the first of its token since, and looks for the cut-offs of its scopes.
pub(crate) fn after_a_revocation(
    runtime: &Rc<Runtime>,
    algorithm: Jwa,
    epochs: &Epochs,
    requests: &Requests,
) -> Contender {
    let somebody = Scope::user("somebody").expect("a name is an identifier");
    let revoked = epochs.clone();
    let revoke = move || {
        let next = StoreTime::from_micros(revoked.newest().as_micros() + 1);
        revoked.raise(&somebody, CutOff::at(next, Demand::Login));
    };
    contender(runtime, algorithm, epochs, requests).after(AFTER_A_REVOCATION, revoke)
}

/// What any layer costs that hands a handler something: a pointer is put among the extensions, and no
/// question asked.
pub(crate) fn least(runtime: &Rc<Runtime>, requests: &Requests) -> Contender {
    let caller = Arc::new(());
    let layered = service_fn(move |mut request: Request<Body>| {
        request.extensions_mut().insert(caller.clone());
        async move {
            black_box(request.extensions().get::<Arc<()>>());
            inner::answer()
        }
    });
    Contender::new("an Arc put among the extensions", runtime, requests, layered, inner::bare())
}

/// On one token, whose signature no longer matters.
pub(crate) fn warm(runtime: &Rc<Runtime>) -> Contender {
    let requests = Requests::bearing(&fixture::tokens(Jwa::RS256, 1));
    contender(runtime, Jwa::RS256, &epochs(1_000), &requests)
}

pub(crate) const NAME: &str = "tower-revocation";
const AFTER_A_REVOCATION: &str = "the same, after a revocation";
