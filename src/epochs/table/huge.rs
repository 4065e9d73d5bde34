//! Memory in large pages.
//!
//! A table of many megabytes has more pages of 4 KiB than a processor keeps translations for. In pages
//! of 2 MiB a look-up among ten million cut-offs takes a third less.

use std::mem::MaybeUninit;

/// Asks the system to back `memory`, which nobody has touched yet, by large pages. Nothing happens
/// where it has none, or does not want to.
#[cfg(all(target_os = "linux", not(miri)))]
#[allow(unsafe_code, reason = "the interface of the system")]
pub(super) fn advise<T>(memory: &mut [MaybeUninit<T>]) {
    let bytes = size_of_val(memory);
    if bytes >= WORTH_IT {
        // SAFETY: the range is the slice's own. This advice changes neither what the memory holds nor
        // whether it may be read and written. An address that the system does not like is an error,
        // and all is as it was; so whatever is returned, there is nothing to do.
        let _ = unsafe { libc::madvise(memory.as_mut_ptr().cast(), bytes, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
pub(super) fn advise<T>(_: &mut [MaybeUninit<T>]) {}

/// Less than a few large pages gain nothing.
#[cfg(all(target_os = "linux", not(miri)))]
const WORTH_IT: usize = 4 << 20;
