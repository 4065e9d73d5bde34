//! What a copy in buckets takes, counted by the allocator. One test alone: others would be counted.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering},
};

use tower_revocation::{
    Demand, Epochs, Scope,
    cutoff::{CutOff, Stamp, StoreTime},
    epochs::Verdict,
};

const USERS: u64 = 10_000_000;
const MIB: usize = 1 << 20;

/// Hands on to the system's, and counts.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[allow(unsafe_code, reason = "the interface of allocators; all is handed on as it came")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Every tenth user is revoked. Returns the copy, and the most that was alive meanwhile.
fn filled(epochs: impl FnOnce() -> Epochs) -> (Epochs, usize) {
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let epochs = epochs();
    for user in (0..USERS).step_by(10) {
        let scope = Scope::user(&user.to_string()).unwrap();
        epochs.raise(&scope, CutOff::at(StoreTime::from_micros(user + 1), Demand::Login));
    }
    (epochs, PEAK.load(Ordering::Relaxed) - before)
}

#[test]
fn ten_million_users_in_4096_buckets_take_under_a_mebibyte() {
    let (epochs, taken) = filled(|| Epochs::builder().buckets(4_096).build().unwrap());
    assert!(taken < MIB, "{taken} bytes");
    // It holds them all the same.
    let scope = Scope::user("9999990").unwrap();
    let stamp = Stamp::from_micros(USERS - 9);
    assert_eq!(epochs.verdict(&[scope], stamp), Verdict::Doubtful);
    drop(epochs);
    // That much is counted where there is a row for each.
    let (_, taken) = filled(Epochs::new);
    assert!(taken > 20 * MIB, "{taken} bytes");
}
