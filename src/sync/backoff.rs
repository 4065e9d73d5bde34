//! Pauses between attempts, and jitter, so that a fleet does not act in step.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);

/// Doubling pauses up to two seconds, give or take the half.
#[derive(Debug)]
pub(super) struct Backoff(Duration);

impl Backoff {
    pub(super) fn new() -> Self {
        Self(FIRST)
    }

    pub(super) fn reset(&mut self) {
        self.0 = FIRST;
    }

    /// The next pause, jittered by half.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (self.0 * 2).min(LONGEST);
        jittered(pause, 0.5)
    }
}

/// `duration` give or take the share `spread` of it.
pub(super) fn jittered(duration: Duration, spread: f64) -> Duration {
    duration.mul_f64(1.0 + spread * (2.0 * rand::random::<f64>() - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_start_over() {
        let mut backoff = Backoff::new();
        for _ in 0..20 {
            assert!(backoff.pause() <= LONGEST.mul_f64(1.5));
        }
        assert_eq!(backoff.0, LONGEST);
        backoff.reset();
        assert!(backoff.pause() <= FIRST.mul_f64(1.5));
    }
}
