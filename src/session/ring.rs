//! Keys with their ages, one of which signs.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;

use super::rotation::Rotation;
use crate::token::{SigningKey, VerifyingKey};

/// A key and when it was made, since 1970.
#[derive(Clone)]
pub(super) struct AgedKey {
    pub(super) made_at: Duration,
    pub(super) key: SigningKey,
}

/// Keys for one purpose, oldest first. Read without a lock, replaced as a whole.
pub(super) struct Ring {
    keys: ArcSwap<Vec<AgedKey>>,
}

impl Ring {
    pub(super) fn new(keys: Vec<AgedKey>) -> Self {
        Self { keys: ArcSwap::from_pointee(keys) }
    }

    pub(super) fn replace(&self, keys: Vec<AgedKey>) {
        self.keys.store(Arc::new(keys));
    }

    /// Takes in a key made at `now`.
    pub(super) fn add(&self, key: &SigningKey, now: Duration) {
        self.keys.rcu(|keys| {
            let mut keys = Vec::clone(keys);
            keys.push(AgedKey { made_at: made_after(&keys, now), key: key.clone() });
            keys
        });
    }

    /// The key that signs at `at`; `None` if there is no key at all.
    pub(super) fn signing(&self, rotation: Rotation, at: Duration) -> Option<SigningKey> {
        let keys = self.keys.load();
        keys.get(rotation.signing(&ages(&keys), at)).map(|aged| aged.key.clone())
    }

    /// What verifies the tokens that can be alive at `now`, or are yet to be signed.
    pub(super) fn verifying(&self, rotation: Rotation, now: Duration) -> Vec<VerifyingKey> {
        let keys = self.keys.load();
        let ages = ages(&keys);
        let verifies = |index: &usize| rotation.verifies(&ages, *index, now);
        (0..keys.len()).filter(verifies).map(|index| keys[index].key.verifying_key()).collect()
    }

    /// The ids of all keys.
    pub(super) fn kids(&self) -> Vec<String> {
        self.keys.load().iter().map(|aged| aged.key.kid().to_owned()).collect()
    }
}

/// When a key made now counts as made: after all others, though they were made in the same second
/// or the clock has stepped back. Else it could sign before anybody knows it.
pub(super) fn made_after(keys: &[AgedKey], now: Duration) -> Duration {
    let newest = keys.last().map(|aged| aged.made_at.saturating_add(Duration::from_secs(1)));
    Duration::from_secs(now.as_secs()).max(newest.unwrap_or_default())
}

fn ages(keys: &[AgedKey]) -> Vec<Duration> {
    keys.iter().map(|aged| aged.made_at).collect()
}
