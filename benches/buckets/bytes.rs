//! What copies take, counted by the allocator.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering},
};

use tower_revocation::{
    Demand, Epochs, Scope,
    cutoff::{CutOff, StoreTime},
};

/// So many rows tell what one takes.
const ROWS: u32 = 1_000_000;

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[allow(unsafe_code, reason = "the interface of allocators; all is handed on as it came")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// By one revoked scope in an exact copy, on average.
pub(crate) fn of_a_row() -> f64 {
    taken_by(&Epochs::new()) as f64 / f64::from(ROWS)
}

/// By so many buckets, whoever is revoked.
pub(crate) fn of_buckets(buckets: u32) -> usize {
    taken_by(&Epochs::builder().buckets(buckets).build().unwrap())
        + with(|| Epochs::builder().buckets(buckets).build().unwrap())
}

fn taken_by(epochs: &Epochs) -> usize {
    with(|| {
        for user in 0..ROWS {
            let scope = Scope::user(&format!("user-{user}")).unwrap();
            let cut_off = CutOff::at(StoreTime::from_micros(u64::from(user) + 1), Demand::Login);
            epochs.raise(&scope, cut_off);
        }
    })
}

/// How much more is alive after `work` and while its result is.
fn with<T>(work: impl FnOnce() -> T) -> usize {
    let before = LIVE.load(Ordering::Relaxed);
    let result = work();
    let after = LIVE.load(Ordering::Relaxed);
    drop(result);
    after.saturating_sub(before)
}
