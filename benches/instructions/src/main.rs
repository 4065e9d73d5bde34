//! The hot paths, run a given number of times, for callgrind to count instructions.
//!
//! `instructions PATH TIMES`, where `PATH` is `inner`, `warm`, `revoked`, `many`, `miss`, `hs256`,
//! `rs256`, `es256` or `eddsa`.
//! Whatever it takes to get ready costs the same however often the path is run, so a run with zero
//! times tells what to subtract. The clock is moved by hand: reading it is the kernel's work.

use std::{convert::Infallible, error::Error, future, hint::black_box, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header::AUTHORIZATION};
use http_body_util::Empty;
use tower::{Layer, Service, service_fn};
use tower_revocation::{
    Algorithm, Demand, Epochs, Grant, Id, Issuer, KeyRing, NoClaims, RevocationLayer, Scope,
    Verifier,
    clock::Clock,
    cutoff::{CutOff, Stamp, StoreTime},
    epochs::Synced,
    store::MemoryStore,
    token::SigningKey,
    verify::VerifierBuilder,
};

/// In seconds since 1970.
const NOW: u64 = 1_800_000_000;

/// Different ones in turn, as the work on an ES256 signature depends a little on its bits, and that
/// of a look-up on the random key of its hash.
const SAMPLES: usize = 64;

/// So many users, and as many sessions, were logged out.
const FEW: u64 = 1_000;
const MANY: u64 = 1_000_000;

/// Of 2048 bits; making one would be most of the run.
const RSA: &[u8] = include_bytes!("../../../tests/fixtures/keys/rsa-2048.pem");

type Outcome = Result<(), Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let (path, times) = (arguments.next(), arguments.next());
    let times: usize = times.as_deref().unwrap_or_default().parse()?;
    match path.as_deref() {
        Some("inner") => {
            let (_, requests) = protected(&loaded()).await?;
            serve(service_fn(inner), &requests, times).await
        }
        Some("warm") => warm(&with_cut_offs(FEW), times).await,
        Some("revoked") => after_revocations(&with_cut_offs(FEW), times).await,
        Some("many") => after_revocations(&with_cut_offs(MANY), times).await,
        Some("miss") => miss(times),
        Some("hs256") => cold(SigningKey::hmac(Algorithm::HS256, &[7; 32])?, times).await,
        Some("rs256") => cold(SigningKey::from_pem(Algorithm::RS256, RSA)?, times).await,
        Some("es256") => cold(SigningKey::generate(Algorithm::ES256)?, times).await,
        Some("eddsa") => cold(SigningKey::generate(Algorithm::EdDSA)?, times).await,
        other => Err(format!("{other:?} is no path").into()),
    }
}

/// Requests with HS256 tokens that are known and not revoked, through the layer to a service that does
/// nothing.
async fn warm(epochs: &Epochs, times: usize) -> Outcome {
    let (layer, requests) = protected(epochs).await?;
    let mut service = layer.layer(service_fn(inner));
    // Each is verified here, and known from then on.
    serve(&mut service, &requests, SAMPLES).await?;
    serve(&mut service, &requests, times).await
}

/// The same, and somebody is logged out each time that all [`SAMPLES`] have come by: so each looks for
/// the cut-offs of its own scopes at each request.
async fn after_revocations(epochs: &Epochs, times: usize) -> Outcome {
    let (layer, requests) = protected(epochs).await?;
    let mut service = layer.layer(service_fn(inner));
    let somebody = Scope::user("user-0")?;
    for round in 0..=times / SAMPLES {
        epochs.raise(&somebody, cut_off(MANY + round as u64));
        // The first only verifies them.
        serve(&mut service, &requests, SAMPLES).await?;
    }
    Ok(())
}

/// A layer, and the `Authorization` of requests.
async fn protected(epochs: &Epochs) -> Result<(RevocationLayer, Vec<HeaderValue>), Box<dyn Error>> {
    let key = SigningKey::hmac(Algorithm::HS256, &[7; 32])?;
    let (verifier, tokens) = tokens(epochs, key, Verifier::builder(epochs.clone())).await?;
    let headers = tokens.iter().map(|token| format!("Bearer {token}").try_into());
    Ok((RevocationLayer::new(verifier), headers.collect::<Result<_, _>>()?))
}

async fn serve<S, B>(mut service: S, headers: &[HeaderValue], times: usize) -> Outcome
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = Infallible>,
{
    for header in headers.iter().cycle().take(times) {
        let mut request = Request::new(Empty::new());
        request.headers_mut().insert(AUTHORIZATION, header.clone());
        let response = service.call(request).await?;
        assert!(response.status().is_success());
    }
    Ok(())
}

/// A service that does nothing.
fn inner(_: Request<Empty<Bytes>>) -> future::Ready<Result<Response<Empty<Bytes>>, Infallible>> {
    future::ready(Ok(Response::new(Empty::new())))
}

/// The look-up of a token that is older than the newest of a thousand cut-offs and in none of them.
fn miss(times: usize) -> Outcome {
    let epochs = with_cut_offs(FEW);
    let tokens: Vec<[Scope; 4]> = (0..SAMPLES)
        .map(|number| {
            Ok([
                Scope::user(&format!("stranger-{number:02}"))?,
                Scope::session(&format!("session-{number:02}"))?,
                Scope::token(&format!("token-{number:02}"))?,
                Scope::group("staff")?,
            ])
        })
        .collect::<Result<_, Box<dyn Error>>>()?;
    let old = Stamp::from_micros(1);
    for scopes in tokens.iter().cycle().take(times) {
        let answer = epochs.revoked(black_box(scopes), black_box(old));
        assert!(answer.is_none());
    }
    Ok(())
}

/// The verification of a token of ours that is not known yet, without the layer.
async fn cold(key: SigningKey, times: usize) -> Outcome {
    let epochs = with_cut_offs(FEW);
    let forgetful = Verifier::builder(epochs.clone()).token_cache_bytes(0);
    let (verifier, tokens) = tokens(&epochs, key, forgetful).await?;
    for token in tokens.iter().cycle().take(times) {
        verifier.verify::<NoClaims>(black_box(token.as_bytes()))?;
    }
    Ok(())
}

/// Loaded, fresh as long as nobody moves the clock, and without a cut-off.
fn loaded() -> Epochs {
    let (clock, _) = Clock::manual(Duration::from_secs(NOW));
    let epochs = Epochs::builder().clock(clock).build().expect("the defaults are fine");
    let now = epochs.clock().now();
    let head = StoreTime::ZERO;
    epochs.synced(Synced { asked_at: now, answered_at: now, store_clock: now.wall, head });
    epochs
}

/// Of so many users, and as many sessions.
fn with_cut_offs(count: u64) -> Epochs {
    let epochs = loaded();
    for number in 0..count {
        let user = Scope::user(&format!("user-{number}"));
        for scope in [user, Scope::session(&format!("revoked-{number}"))] {
            epochs.raise(&scope.expect("a short name is an identifier"), cut_off(number));
        }
    }
    epochs
}

/// Newer than every token.
fn cut_off(number: u64) -> CutOff {
    CutOff::at(StoreTime::from_micros(1_000 + number), Demand::Login)
}

/// A verifier and tokens for it, minted by `key` before the newest cut-off.
async fn tokens(
    epochs: &Epochs,
    key: SigningKey,
    verifier: VerifierBuilder,
) -> Result<(Verifier, Vec<String>), Box<dyn Error>> {
    let store = MemoryStore::with_clock(epochs.clock().clone());
    let issuer = Issuer::builder(store, KeyRing::new(key))
        .issuer("https://issuer.example")
        .audience("api")
        .client_id("web")
        .build()?;
    let verifier = verifier.issuer(issuer.rules()?).build()?;
    let mut tokens = Vec::with_capacity(SAMPLES);
    for user in 0..SAMPLES {
        let ticket = issuer.ticket().await?;
        let grant =
            Grant::new(Id::new(&format!("stranger-{user:02}"))?).groups([Id::new("staff")?]);
        tokens.push(issuer.login(ticket, grant).await?.access().as_str().to_owned());
    }
    Ok((verifier, tokens))
}
