//! Pauses between attempts, and jitter, so that a fleet does not act in step.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);

/// Doubling pauses up to two seconds, give or take the half.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    jitter: Jitter,
}

impl Backoff {
    pub(super) fn new(jitter: Jitter) -> Self {
        Self { next: FIRST, jitter }
    }

    pub(super) fn reset(&mut self) {
        self.next = FIRST;
    }

    /// The next pause, jittered by half.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (self.next * 2).min(LONGEST);
        self.jitter.of(pause, 0.5)
    }
}

/// Whether pauses differ by chance.
#[derive(Clone, Copy, Debug)]
pub(super) enum Jitter {
    Random,
    None,
}

impl Jitter {
    /// `duration` give or take the share `spread` of it.
    pub(super) fn of(self, duration: Duration, spread: f64) -> Duration {
        match self {
            Self::Random => duration.mul_f64(1.0 + spread * (2.0 * rand::random::<f64>() - 1.0)),
            Self::None => duration,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_start_over() {
        let mut backoff = Backoff::new(Jitter::Random);
        for _ in 0..20 {
            assert!(backoff.pause() <= LONGEST.mul_f64(1.5));
        }
        assert_eq!(backoff.next, LONGEST);
        backoff.reset();
        assert!(backoff.pause() <= FIRST.mul_f64(1.5));
    }
}
