//! Which key signs and which keys verify: decided from their ages alone.

use std::time::Duration;

/// How long keys are known before they sign, and needed after they have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rotation {
    /// How long a new key is published before it signs, so that every verifier knows it.
    pub(super) publish_ahead: Duration,
    /// How long a token outlives its signing.
    pub(super) token_life: Duration,
}

impl Rotation {
    /// Which of the keys made at `made_at`, oldest first, signs at `now`.
    ///
    /// The newest that has been published long enough; the oldest while none has.
    pub(super) fn signing(&self, made_at: &[Duration], now: Duration) -> usize {
        made_at.iter().rposition(|made| self.signs_from(*made) <= now).unwrap_or(0)
    }

    /// Whether tokens of key `index` can still be alive, or yet to come, at `now`.
    ///
    /// A key signs until its successor does, and is needed until its last token has expired.
    pub(super) fn verifies(&self, made_at: &[Duration], index: usize, now: Duration) -> bool {
        made_at
            .get(index + 1)
            .is_none_or(|next| now < self.signs_from(*next).saturating_add(self.token_life))
    }

    /// When a key has been published long enough. A date that no clock reaches is never.
    fn signs_from(&self, made_at: Duration) -> Duration {
        made_at.saturating_add(self.publish_ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROTATION: Rotation =
        Rotation { publish_ahead: Duration::from_secs(60), token_life: Duration::from_secs(900) };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_new_key_is_published_before_it_signs() {
        let keys = [at(1_000), at(5_000)];
        for (now, signing) in [(1_000, 0), (5_000, 0), (5_059, 0), (5_060, 1), (9_999, 1)] {
            assert_eq!(ROTATION.signing(&keys, at(now)), signing, "at {now}");
            assert!(ROTATION.verifies(&keys, 1, at(now)));
        }
    }

    #[test]
    fn an_old_key_verifies_until_its_last_token_has_expired() {
        let keys = [at(1_000), at(5_000)];
        assert!(ROTATION.verifies(&keys, 0, at(5_959)));
        assert!(!ROTATION.verifies(&keys, 0, at(5_960)));
    }

    #[test]
    fn a_clock_before_every_key_signs_with_the_oldest() {
        assert_eq!(ROTATION.signing(&[at(1_000), at(5_000)], at(0)), 0);
    }

    #[test]
    fn a_key_from_the_end_of_time_never_signs() {
        let keys = [at(1_000), at(u64::MAX)];
        assert_eq!(ROTATION.signing(&keys, at(1_900_000_000)), 0);
        assert!(ROTATION.verifies(&keys, 0, at(1_900_000_000)));
    }
}
