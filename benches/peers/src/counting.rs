//! An allocator that hands on to the system's, and counts while it is told to.
//!
//! Only then: counting costs some nanoseconds an allocation, of which the peers make many.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering},
};

struct Counting;

static ON: AtomicBool = AtomicBool::new(false);
/// Bytes that came alive since it is on, less those that died.
static LIVE: AtomicIsize = AtomicIsize::new(0);
/// Allocations since it is on.
static MADE: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How many bytes are alive after `work`, while its result is, that were not before.
pub(crate) fn bytes<T>(work: impl FnOnce() -> T) -> isize {
    let (result, _) = counted(work);
    let bytes = LIVE.load(Ordering::Relaxed);
    drop(result);
    bytes
}

/// How many allocations `work` makes.
pub(crate) fn allocations(work: impl FnOnce()) -> usize {
    counted(work).1
}

/// On one thread: whatever others allocate would be counted, too.
fn counted<T>(work: impl FnOnce() -> T) -> (T, usize) {
    LIVE.store(0, Ordering::Relaxed);
    MADE.store(0, Ordering::Relaxed);
    ON.store(true, Ordering::Relaxed);
    let result = work();
    ON.store(false, Ordering::Relaxed);
    (result, MADE.load(Ordering::Relaxed))
}

fn count(bytes: isize, made: usize) {
    if ON.load(Ordering::Relaxed) {
        LIVE.fetch_add(bytes, Ordering::Relaxed);
        MADE.fetch_add(made, Ordering::Relaxed);
    }
}

#[allow(unsafe_code, reason = "the interface of allocators; all is handed on as it came")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed(), 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed(), 1);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size.cast_signed() - layout.size().cast_signed(), 1);
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed(), 0);
        unsafe { System.dealloc(pointer, layout) }
    }
}
