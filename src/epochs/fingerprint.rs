//! By what the copy knows a scope.

use std::hash::{BuildHasher, Hasher, RandomState};

use crate::scope::ScopeRef;

/// A keyed 64-bit hash of a scope, in place of its name.
///
/// The key is random per [`Epochs`](super::Epochs), so nobody can choose subjects that collide, and a
/// fingerprint means nothing to another copy. A collision merges two scopes by max, so it refuses.
/// (Only between a clear and the load that follows it could it accept: once in 2^63, for microseconds.
/// The table of cut-offs compares that many bits.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint(u64);

/// What fingerprints are made with: SipHash, since whoever chooses a subject must not choose its
/// place.
pub(super) struct FingerprintKey(RandomState);

impl Fingerprint {
    #[cfg(test)]
    pub(super) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    /// Which of `count` places it falls on.
    pub(super) fn place(self, count: usize) -> usize {
        spread(self.0, count)
    }
}

impl FingerprintKey {
    pub(super) fn random() -> Self {
        Self(RandomState::new())
    }

    pub(super) fn fingerprint(&self, scope: ScopeRef<'_>) -> Fingerprint {
        let mut hasher = self.0.build_hasher();
        // Unambiguous, as the last byte is the kind. With `Hash`, which puts eight bytes for the kind
        // before the subject and one for its end behind, it would take twice as long.
        hasher.write(scope.subject.as_bytes());
        hasher.write_u8(scope.kind as u8);
        Fingerprint(hasher.finish())
    }
}

/// Which of `count` places a hash falls on.
pub(super) fn spread(hash: u64, count: usize) -> usize {
    // Below `count`, as `hash` is below 2^64.
    ((u128::from(hash) * count as u128) >> 64) as usize
}
