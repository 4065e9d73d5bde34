//! What copies and requests take, counted by the allocator. One test at a time: others would be
//! counted.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "common/gate.rs"]
mod gate;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    convert::Infallible,
    future,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderValue, Request, Response, header::AUTHORIZATION};
use http_body_util::Empty;
use tower::{Layer, Service, service_fn};
use tower_revocation::{
    Demand, Epochs, NoClaims, RevocationLayer, Scope, Verified,
    cutoff::{CutOff, Stamp, StoreTime},
    epochs::Verdict,
};

use gate::{Gate, good_token, token_of};

const USERS: u64 = 10_000_000;
const MIB: usize = 1 << 20;

/// Hands on to the system's, and counts.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// How often this thread has asked for memory.
    static ASKED: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[allow(unsafe_code, reason = "the interface of allocators; all is handed on as it came")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        ASKED.set(ASKED.get() + 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Held by the test that is counted.
static TURN: Mutex<()> = Mutex::new(());

/// Every tenth user is revoked.
fn revoke_a_tenth(epochs: &Epochs, mut after_each: impl FnMut()) {
    for user in (0..USERS).step_by(10) {
        let scope = Scope::user(&user.to_string()).unwrap();
        epochs.raise(&scope, CutOff::at(StoreTime::from_micros(user + 1), Demand::Login));
        after_each();
    }
}

#[test]
fn ten_million_users_in_4096_buckets_take_under_a_mebibyte() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let epochs = Epochs::builder().buckets(4_096).build().unwrap();
    revoke_a_tenth(&epochs, || ());
    let taken = PEAK.load(Ordering::Relaxed) - before;
    assert!(taken < MIB, "{taken} bytes");
    // It holds them all the same.
    let scope = Scope::user("9999990").unwrap();
    let stamp = Stamp::from_micros(USERS - 9);
    assert_eq!(epochs.verdict(&[scope], stamp), Verdict::Doubtful);
}

#[test]
fn a_cut_off_among_many_takes_20_bytes() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let before = LIVE.load(Ordering::Relaxed);
    let epochs = Epochs::new();
    let (mut count, mut most) = (0_u32, 0.0_f64);
    let of_each = |count| (LIVE.load(Ordering::Relaxed) - before) as f64 / f64::from(count);
    revoke_a_tenth(&epochs, || {
        count += 1;
        // It grows in steps: whatever the number, if it is not small.
        if count >= 200_000 {
            most = most.max(of_each(count));
        }
    });
    assert_eq!(epochs.len(), 1_000_000);
    assert!(most <= 20.0, "{most} bytes");
    // They are counted: a row is a key and a time.
    assert!(of_each(count) > 16.0, "{} bytes", of_each(count));
}

#[test]
fn a_known_token_takes_120_bytes_and_its_own_length() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Gate { verifier, .. } = Gate::open();
    let tokens: Vec<String> = (0..1_000).map(|user| token_of(&format!("u{user:03}"), 10)).collect();
    let verify = |token: &String| verifier.verify::<NoClaims>(token.as_bytes()).map(drop).unwrap();
    // What the first brings with it is not of the others.
    verify(&tokens[0]);
    let before = LIVE.load(Ordering::Relaxed);
    tokens[1..].iter().for_each(verify);
    let each = (LIVE.load(Ordering::Relaxed) - before) as f64 / 999.0;
    let length = tokens[0].len() as f64;
    assert!(each <= length + 120.0, "{each} bytes of a token of {length}");
    // They are there: nearly every token, and all but what it begins with.
    assert!(each > length, "{each} bytes of a token of {length}");
}

/// Answers, and drops the request.
fn inner(_: Request<Empty<Bytes>>) -> future::Ready<Result<Response<Empty<Bytes>>, Infallible>> {
    future::ready(Ok(Response::new(Empty::new())))
}

#[test]
fn a_request_with_a_known_token_allocates_no_more_than_its_extensions_do() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Gate { epochs, verifier, .. } = Gate::open();
    // Somebody's, and newer than the token: so its own are looked up.
    let newest = epochs.clock().now().wall.as_micros() as u64;
    epochs.raise(
        &Scope::user("bob").unwrap(),
        CutOff::at(StoreTime::from_micros(newest), Demand::Login),
    );
    let bearer = HeaderValue::try_from(format!("Bearer {}", good_token())).unwrap();
    let request = || {
        let mut request = Request::new(Empty::<Bytes>::new());
        request.headers_mut().insert(AUTHORIZATION, bearer.clone());
        request
    };
    let verified: Verified = verifier.verify(good_token().as_bytes()).unwrap();
    let mut layered = RevocationLayer::new(verifier).layer(service_fn(inner));

    let by_layer = request();
    let before = ASKED.get();
    assert!(layered.call(by_layer).now_or_never().unwrap().unwrap().status().is_success());
    let with_layer = ASKED.get() - before;

    let mut by_hand = request();
    let before = ASKED.get();
    by_hand.extensions_mut().insert(verified);
    assert!(inner(by_hand).now_or_never().unwrap().unwrap().status().is_success());
    let extensions = ASKED.get() - before;

    assert_eq!(with_layer, extensions);
    assert_eq!(extensions, 3);
}
