//! Laws 1 to 9, each through the public interface.

use std::{
    convert::Infallible,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use proptest::prelude::*;
use sqlx::sqlite::SqliteConnectOptions;
use tower::{Layer, Service, ServiceExt, service_fn, util::BoxCloneService};
use tower_revocation::{
    Demand, EpochStore, Epochs, Rejection, Revocation, RevocationLayer, Scope, SqliteStore,
    clock::Clock,
    cutoff::{CutOff, Stamp, StoreTime, revoked},
    epochs::Synced,
    lifetimes::Lifetimes,
    scope::Id,
    store::{Audit, Device, Mint, MintFor},
};

use crate::{
    common::{
        instance::{Instance, START},
        place::{self, Place},
    },
    statements,
    wire::Wire,
};

fn alice() -> Scope {
    Scope::user("alice").unwrap()
}

type Protected = BoxCloneService<
    Request<Full<Bytes>>,
    Response<tower_revocation::layer::ResponseBody<Full<Bytes>>>,
    Infallible,
>;

/// The layer of `instance` around a service that counts the requests it sees.
fn counting(instance: &Instance) -> (Protected, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = seen.clone();
    let inner = service_fn(move |_: Request<Full<Bytes>>| {
        counter.fetch_add(1, Ordering::Relaxed);
        std::future::ready(Ok(Response::new(Full::default())))
    });
    let protected = RevocationLayer::new(instance.verifier.clone()).layer(inner);
    (BoxCloneService::new(protected), seen)
}

fn request(token: &str) -> Request<Full<Bytes>> {
    Request::builder()
        .header("authorization", format!("Bearer {token}"))
        .body(Full::default())
        .unwrap()
}

// ---- 1: one rule ----

proptest! {
    #[test]
    fn l1_the_highest_cut_off_of_a_tokens_scopes_decides(
        cut_offs in prop::array::uniform4(0..100_u64), stamp in 1..100_u64
    ) {
        let scopes = [
            Scope::Everyone,
            alice(),
            Scope::group("staff").unwrap(),
            Scope::session("s").unwrap(),
        ];
        let epochs = Epochs::new();
        for (scope, cut_off) in scopes.iter().zip(cut_offs) {
            epochs.raise(scope, CutOff::at(StoreTime::from_micros(cut_off), Demand::Refresh));
        }
        let stamp = Stamp::from_micros(stamp);
        let highest = StoreTime::from_micros(cut_offs.into_iter().max().unwrap());
        prop_assert_eq!(epochs.revoked(&scopes, stamp).is_some(), revoked(stamp, highest));
    }
}

// ---- 2: cut-offs only rise ----

#[tokio::test(flavor = "multi_thread")]
async fn l2_only_an_audited_clear_lowers_a_cut_off() {
    let data = Place::new().await;
    let instance = Instance::start(data.path()).await;
    let receipt = instance.revoke(alice(), Demand::Login).await;
    instance.epochs.wait_for(&receipt).await;
    let high = instance.epochs.cut_off(&alice());

    // An older row, twice, as a replay or a reload from a restored backup would bring it.
    let old = CutOff::at(StoreTime::from_micros(5), Demand::Login);
    instance.epochs.raise(&alice(), old);
    instance.epochs.raise(&alice(), old);
    assert_eq!(instance.epochs.cut_off(&alice()), high);

    let audit = Audit::new(Id::new("root").unwrap(), "by mistake");
    let cleared = instance.store.clear(&alice(), audit).await.unwrap();
    instance.epochs.wait_for(&cleared).await;
    assert_eq!(instance.epochs.cut_off(&alice()), CutOff::NONE);
}

// ---- 3: safety ----

#[tokio::test(flavor = "multi_thread")]
async fn l3_a_store_that_hangs_lets_no_revoked_token_through_after_max_staleness() {
    let data = Place::new().await;
    let mut instance = Instance::start(data.path()).await;
    let token = instance.login("alice", &[]).await.unwrap();
    let (service, seen) = counting(&instance);
    assert!(service.clone().oneshot(request(token.as_str())).await.unwrap().status().is_success());

    // From here on nothing arrives, and then alice is revoked.
    instance.sync = None;
    instance.revoke(alice(), Demand::Login).await;
    instance.clock.advance(instance.epochs.max_staleness() + Duration::from_micros(1));
    seen.store(0, Ordering::Relaxed);
    for _ in 0..100 {
        let answer = service.clone().oneshot(request(token.as_str())).await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.headers().contains_key("retry-after"));
        assert!(!answer.headers().contains_key("www-authenticate"));
    }
    assert_eq!(seen.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn l3_a_revocation_reaches_another_instance_by_itself() {
    let data = Place::new().await;
    let (one, other) = (Instance::start(data.path()).await, Instance::start(data.path()).await);
    let token = one.login("alice", &[]).await.unwrap();
    assert!(other.check(token.as_str()).is_ok());
    let receipt = one.revoke(alice(), Demand::Login).await;
    other.epochs.wait_for(&receipt).await;
    assert!(matches!(other.check(token.as_str()), Err(Rejection::Revoked(_))));
}

// ---- 4: liveness ----

#[tokio::test(flavor = "multi_thread")]
async fn l4_a_token_minted_in_the_microsecond_of_a_revocation_is_accepted_everywhere() {
    let data = Place::new().await;
    let (one, other) = (Instance::start(data.path()).await, Instance::start(data.path()).await);
    for _ in 0..50 {
        // The manual clocks stand still: all of this happens in one microsecond.
        one.revoke(alice(), Demand::Login).await;
        let token = other.login("alice", &[]).await.unwrap();
        for instance in [&one, &other] {
            assert!(instance.check(token.as_str()).is_ok());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn l4_a_login_is_accepted_however_far_the_stores_clock_steps() {
    let data = Place::new().await;
    let instance = Instance::start(data.path()).await;
    let hour = Duration::from_secs(3_600);
    for wall in [START - hour, START + hour * 24, START, START - hour * 24 * 365] {
        let receipt = instance.revoke(alice(), Demand::Login).await;
        instance.clock.set_wall(wall);
        let token = instance.login("alice", &[]).await.unwrap();
        // The stamp is above the cut-off at once; the clock is learnt with the next poll.
        assert!(!revoked(token.stamp(), receipt.revoked_before()));
        let accepted = async {
            loop {
                match instance.check(token.as_str()) {
                    Ok(_) => break,
                    Err(Rejection::Revoked(revoked)) => panic!("{revoked:?} at {wall:?}"),
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), accepted).await.expect("never accepted");
    }
}

// ---- 5: no false logout ----

#[tokio::test(flavor = "multi_thread")]
async fn l5_an_unrevoked_token_is_never_refused_as_revoked() {
    let data = Place::new().await;
    let mut instance = Instance::start(data.path()).await;
    let token = instance.login("alice", &["staff"]).await.unwrap();
    let mut last = None;
    for number in 0..200 {
        let other = format!("other-{number}");
        for scope in [
            Scope::user(&other).unwrap(),
            Scope::group(&other).unwrap(),
            Scope::session(&other).unwrap(),
            Scope::token(&other).unwrap(),
            // Namesakes in other kinds of scope.
            Scope::group("alice").unwrap(),
            Scope::user("staff").unwrap(),
        ] {
            last = Some(instance.revoke(scope, Demand::Login).await);
        }
    }
    instance.epochs.wait_for(&last.unwrap()).await;
    assert!(instance.check(token.as_str()).is_ok());

    instance.sync = None;
    instance.clock.advance(Duration::from_secs(60));
    assert!(matches!(instance.check(token.as_str()), Err(Rejection::Stale { .. })));
}

// ---- 6: purge never revives ----

#[tokio::test(flavor = "multi_thread")]
async fn l6_a_purged_cut_off_revives_no_token_whatever_the_clock_did() {
    let data = Place::new().await;
    let instance = Instance::start(data.path()).await;
    let token = instance.login("alice", &[]).await.unwrap();
    instance.revoke(alice(), Demand::Login).await;
    // The clock jumps a year ahead, everything is purged, somebody puts the clock right.
    instance.clock.set_wall(START + Duration::from_secs(366 * 86_400));
    instance.store.purge(Lifetimes::default()).await.unwrap();
    instance.clock.set_wall(START);

    // A process that starts now has never seen alice's cut-off.
    let fresh = Instance::start(data.path()).await;
    assert_eq!(fresh.epochs.cut_off(&alice()), CutOff::NONE);
    assert!(matches!(fresh.check(token.as_str()), Err(Rejection::Revoked(_))));
    let again = fresh.login("alice", &[]).await.unwrap();
    assert!(fresh.check(again.as_str()).is_ok());
}

// ---- 7: not ready before a full load ----

#[tokio::test]
async fn l7_nothing_is_accepted_before_a_full_load() {
    let data = Place::new().await;
    let instance = Instance::start(data.path()).await;
    let token = instance.login("alice", &[]).await.unwrap();
    let (clock, _) = Clock::manual(START);
    let epochs = Epochs::builder().clock(clock).build().unwrap();
    let rules = instance.issuer.rules().unwrap();
    let verifier =
        tower_revocation::Verifier::builder(epochs.clone()).issuer(rules).build().unwrap();
    // Rows that arrive before the load is whole do not make it loaded.
    epochs
        .raise(&Scope::user("bob").unwrap(), CutOff::at(StoreTime::from_micros(1), Demand::Login));
    let check = || verifier.verify::<tower_revocation::NoClaims>(token.as_str().as_bytes());
    assert_eq!(check().unwrap_err(), Rejection::NotLoaded);
    let asked_at = epochs.clock().now();
    epochs.synced(Synced {
        asked_at,
        answered_at: asked_at,
        store_clock: START,
        head: StoreTime::ZERO,
    });
    assert!(check().is_ok());
}

// ---- 8: no store call on the accept path ----

#[tokio::test(flavor = "multi_thread")]
async fn l8_a_hundred_thousand_trusted_requests_send_no_statement() {
    statements::count_from_now_on();
    let data = Place::new().await;
    let (mut instance, counter) = counted(data.path()).await;
    let token = instance.login("alice", &["staff"]).await.unwrap();
    // A revocation above the token's stamp: it is looked up, not waved through.
    let receipt = instance.revoke(Scope::user("bob").unwrap(), Demand::Login).await;
    instance.epochs.wait_for(&receipt).await;
    // The sync has its own statements; it stops, and the manual clock keeps the copy fresh.
    instance.sync = None;
    let settled = async {
        let mut before = counter.count();
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let now = counter.count();
            if now == before {
                return now;
            }
            before = now;
        }
    };
    let before = tokio::time::timeout(Duration::from_secs(10), settled).await.unwrap();
    assert!(before > 0, "the counter counts nothing");

    let (mut service, seen) = counting(&instance);
    for _ in 0..100_000 {
        let ready = service.ready().await.unwrap();
        assert!(ready.call(request(token.as_str())).await.unwrap().status().is_success());
    }
    assert_eq!(seen.load(Ordering::Relaxed), 100_000);
    assert_eq!(counter.count() - before, 0);
    assert_eq!(instance.store.statements().request, 0);

    // And the counter still counts.
    instance.login("alice", &[]).await.unwrap();
    assert!(counter.count() > before);
}

/// What arrives at the database, counted there or on the way.
enum Counter {
    /// Statements, in SQLite.
    Statements(PathBuf),
    /// Bytes, on the way to a server.
    Bytes(Wire),
}

impl Counter {
    fn count(&self) -> u64 {
        match self {
            Self::Statements(file) => statements::begun(file),
            Self::Bytes(wire) => wire.sent(),
        }
    }
}

/// An instance, and what it asks of the database.
async fn counted(data: &Path) -> (Instance, Counter) {
    match place::url(data) {
        Some(url) => {
            let wire = Wire::to(&url).await;
            (Instance::start_at(data, &wire.url).await, Counter::Bytes(wire))
        }
        None => {
            let instance = Instance::start(data).await;
            (instance, Counter::Statements(data.join("test.db")))
        }
    }
}

// ---- beside the laws: what a refresh costs ----

#[tokio::test]
async fn a_refresh_is_one_statement_and_so_is_its_replay() {
    statements::count_from_now_on();
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("test.db");
    let (clock, hand) = Clock::manual(START);
    let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
    let store = SqliteStore::connect(options, clock).await.unwrap();
    // Cut-offs of all its scopes: they are looked up, not missing.
    for scope in [Scope::Everyone, alice(), Scope::group("staff").unwrap()] {
        store.revoke(Revocation::new(scope, Demand::Login)).await.unwrap();
    }
    let ticket = store.ticket().await.unwrap();
    let sid = Id::random();
    let mint = |session| Mint {
        ticket,
        session,
        sid: sid.clone(),
        user: Id::new("alice").unwrap(),
        groups: vec![Id::new("staff").unwrap()],
        device: Device::new().with_label("phone"),
        lifetimes: Lifetimes::default(),
    };
    store.mint(&mint(MintFor::Login)).await.unwrap();
    // Of these the second is a replay while the successor is unused, the fourth within the grace
    // time.
    for (counter, successor) in [(0, 1), (0, 1), (1, 2), (0, 1), (2, 3)] {
        hand.advance(Duration::from_secs(1));
        let refresh = mint(MintFor::Refresh { counter, grace: Duration::from_secs(10) });
        let (begun, counted) = (statements::begun(&file), store.statements().session);
        let minted = store.mint(&refresh).await.unwrap();
        assert_eq!(minted.counter, successor);
        assert_eq!(statements::begun(&file) - begun, 1, "for the counter {counter}");
        assert_eq!(store.statements().session - counted, 1, "for the counter {counter}");
    }
}

// ---- 9: refuse when in doubt ----

#[tokio::test(flavor = "multi_thread")]
async fn l9_a_refused_request_has_a_reason_and_never_reaches_the_service() {
    let data = Place::new().await;
    let instance = Instance::start(data.path()).await;
    let token = instance.login("alice", &[]).await.unwrap();
    let receipt = instance.revoke(alice(), Demand::Refresh).await;
    instance.epochs.wait_for(&receipt).await;
    let (service, seen) = counting(&instance);
    for (presented, reason) in [
        ("", "malformed_header"),
        ("x", "malformed"),
        ("a.b.c", "malformed"),
        (token.as_str(), "revoked"),
    ] {
        let reasons = Arc::new(std::sync::Mutex::new(Vec::new()));
        let told = reasons.clone();
        let layer = RevocationLayer::new(instance.verifier.clone()).on_rejection(move |refusal| {
            told.lock().unwrap().push(refusal.rejection().reason());
            refusal.to_response()
        });
        let seen = seen.clone();
        let inner = service_fn(move |_: Request<Full<Bytes>>| {
            seen.fetch_add(1, Ordering::Relaxed);
            std::future::ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())))
        });
        let answer = layer.layer(inner).oneshot(request(presented)).await.unwrap();
        assert!(answer.status().is_client_error(), "{presented:?}");
        assert_eq!(*reasons.lock().unwrap(), [reason], "{presented:?}");
        let answer = service.clone().oneshot(request(presented)).await.unwrap();
        assert!(answer.status().is_client_error(), "{presented:?}");
    }
    assert_eq!(seen.load(Ordering::Relaxed), 0);
}
