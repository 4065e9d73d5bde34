//! When a token is due: decided from its age, and from how often it was presented. Pure.

use std::{num::NonZeroU32, time::Duration};

use crate::lifetimes::Lifetimes;

/// From when on a token is renewed: whichever comes first.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Thresholds {
    /// This old.
    pub(super) age: Option<Duration>,
    /// This share of its life, in percent, is over.
    pub(super) share: Option<u32>,
    /// Presented so often.
    pub(super) requests: Option<NonZeroU32>,
    /// But not as long as it is younger than this.
    pub(super) interval: Duration,
}

/// When a token was made and how long it lives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    pub(super) age: Duration,
    pub(super) length: Duration,
}

impl Thresholds {
    /// Whether any of them is set.
    pub(super) fn are_set(&self) -> bool {
        self.age.is_some() || self.share.is_some() || self.requests.is_some()
    }

    /// Whether a token that is alive, and was presented `requests` times, is to be renewed.
    pub(super) fn reached(&self, life: Life, requests: u32) -> bool {
        life.age >= self.interval
            && (self.reached_by_age(life)
                || self.requests.is_some_and(|limit| requests >= limit.get()))
    }

    /// Whether it is old enough, however often it was presented.
    pub(super) fn reached_by_age(&self, Life { age, length }: Life) -> bool {
        age >= self.interval
            && (self.age.is_some_and(|limit| age >= limit)
                || self.share.is_some_and(|percent| age * 100 >= length * percent))
    }
}

/// Whether the session of a token has room for another of that length: near its end the last one is
/// left to lapse. `logged_in_at` and `now` are since 1970.
pub(super) fn has_room(
    logged_in_at: Duration,
    length: Duration,
    lifetimes: Lifetimes,
    now: Duration,
) -> bool {
    logged_in_at + lifetimes.session() > now + length
}

/// Whether a token that was issued at `issued_at` has been unused for too long, whatever became of
/// its session since. All since 1970.
pub(super) fn is_idle(issued_at: Duration, lifetimes: Lifetimes, now: Duration) -> bool {
    now >= issued_at + lifetimes.idle()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn life(age: u64, length: u64) -> Life {
        Life { age: seconds(age), length: seconds(length) }
    }

    #[test]
    fn a_token_is_due_by_whichever_threshold_comes_first() {
        let share = Thresholds { share: Some(50), ..Thresholds::default() };
        let age = Thresholds { age: Some(seconds(100)), ..Thresholds::default() };
        let requests = Thresholds { requests: NonZeroU32::new(3), ..Thresholds::default() };
        let all = Thresholds { age: age.age, share: share.share, ..requests };
        for (thresholds, life, count, due) in [
            (share, life(449, 900), 9, false),
            (share, life(450, 900), 0, true),
            (share, life(0, 1), 0, false),
            (age, life(99, 900), 9, false),
            (age, life(100, 900), 0, true),
            (requests, life(899, 900), 2, false),
            (requests, life(0, 900), 3, true),
            (all, life(99, 900), 2, false),
            (all, life(99, 900), 3, true),
            (all, life(100, 900), 0, true),
            (all, life(50, 100), 0, true),
        ] {
            assert_eq!(thresholds.reached(life, count), due, "{thresholds:?} {life:?} {count}");
        }
    }

    #[test]
    fn no_threshold_counts_within_the_interval() {
        let thresholds = Thresholds {
            age: Some(seconds(1)),
            share: Some(1),
            requests: NonZeroU32::new(1),
            interval: seconds(86_400),
        };
        assert!(!thresholds.reached(life(86_399, 172_800), 1_000));
        assert!(!thresholds.reached_by_age(life(86_399, 172_800)));
        assert!(thresholds.reached(life(86_400, 172_800), 0));
    }

    #[test]
    fn the_last_token_of_a_session_is_left_to_lapse() {
        let lifetimes = Lifetimes::new(seconds(100), seconds(1_000), seconds(5)).unwrap();
        assert!(has_room(seconds(5_000), seconds(100), lifetimes, seconds(5_899)));
        assert!(!has_room(seconds(5_000), seconds(100), lifetimes, seconds(5_900)));
    }

    #[test]
    fn a_token_as_old_as_the_idle_limit_is_idle() {
        let lifetimes = Lifetimes::new(seconds(100), seconds(1_000), seconds(5)).unwrap();
        let lifetimes = lifetimes.with_idle(seconds(300)).unwrap();
        assert!(!is_idle(seconds(5_000), lifetimes, seconds(5_299)));
        assert!(is_idle(seconds(5_000), lifetimes, seconds(5_300)));
    }
}
