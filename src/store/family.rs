//! The refresh tokens of a session, apart from any database.

use std::time::Duration;

/// The refresh tokens of a session. They differ by a counter.
#[derive(Clone, Debug, Default)]
pub(super) struct Family {
    /// That of the current one.
    pub(super) counter: u64,
    /// Those below are void: no copy of them is any use, and none is a sign of a theft.
    pub(super) void_below: u64,
    /// When the ones before the current one were spent, newest first.
    pub(super) spent: Vec<Duration>,
}

/// What presenting a refresh token means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// It is spent now.
    Current,
    /// It was spent, for the first time at this moment, and gets its successor again.
    Again(Duration),
    /// It was made void, or never handed out by the store as it is now.
    Invalid,
    /// It was spent, its successor too, and the grace time is over: somebody has a copy.
    Reused,
}

impl Family {
    /// How many moments of spending are kept within a grace time. Whoever refreshes more often
    /// than that, and comes with a token from before, is taken for a thief: were they not, a thief
    /// could refresh fast enough never to be one.
    pub(super) const REMEMBERED: usize = 100;

    pub(super) fn presented(&self, counter: u64, grace: Duration, now: Duration) -> Use {
        if counter < self.void_below || counter > self.counter {
            return Use::Invalid;
        }
        let Some(successors) = self.counter.checked_sub(counter + 1) else {
            return Use::Current;
        };
        let spent = usize::try_from(successors).ok().and_then(|index| self.spent.get(index));
        match spent {
            // Its successor is the current one, and unused.
            Some(&spent) if successors == 0 || now < spent.saturating_add(grace) => {
                Use::Again(spent)
            }
            // Too late, or forgotten.
            _ => Use::Reused,
        }
    }

    /// The current one is spent at `now`, and the next one is current.
    pub(super) fn spend(&mut self, grace: Duration, now: Duration) {
        self.counter += 1;
        // From the first that is too old on: a moment's place says whose it is, also after the
        // clock was set.
        let kept = self.spent.iter().take_while(|spent| now < spent.saturating_add(grace)).count();
        self.spent.truncate(kept.min(Self::REMEMBERED - 1));
        self.spent.insert(0, now);
    }

    /// All so far are void.
    pub(super) fn void(&mut self) {
        self.counter += 1;
        self.void_below = self.counter;
        self.spent.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_spent_token_gets_its_successor_while_that_is_unused_or_within_the_grace_time() {
        let mut family = Family::default();
        assert_eq!(family.presented(0, GRACE, at(100)), Use::Current);
        family.spend(GRACE, at(100));
        // However late: nobody has used the successor.
        for now in [100, 105, 9_999] {
            assert_eq!(family.presented(0, GRACE, at(now)), Use::Again(at(100)));
        }
        family.spend(GRACE, at(104));
        assert_eq!(family.presented(0, GRACE, at(109)), Use::Again(at(100)));
        assert_eq!(family.presented(0, GRACE, at(110)), Use::Reused);
        assert_eq!(family.presented(1, GRACE, at(9_999)), Use::Again(at(104)));
        assert_eq!(family.presented(2, GRACE, at(9_999)), Use::Current);
        assert_eq!(family.presented(3, GRACE, at(100)), Use::Invalid);
        assert_eq!(family.presented(u64::MAX, GRACE, at(100)), Use::Invalid);
    }

    #[test]
    fn what_was_made_void_is_invalid_and_no_theft() {
        let mut family = Family::default();
        family.spend(GRACE, at(100));
        family.void();
        for counter in [0, 1] {
            assert_eq!(family.presented(counter, GRACE, at(100)), Use::Invalid);
        }
        assert_eq!(family.presented(2, GRACE, at(9_999)), Use::Current);
        family.spend(GRACE, at(101));
        family.spend(GRACE, at(102));
        assert_eq!(family.presented(2, GRACE, at(9_999)), Use::Reused);
        assert_eq!(family.presented(1, GRACE, at(9_999)), Use::Invalid);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut family = Family::default();
        for second in 0..1_000 {
            family.spend(GRACE, at(second));
            assert!(family.spent.len() <= 10);
        }
        for _ in 0..1_000 {
            family.spend(GRACE, at(1_000));
        }
        assert_eq!(family.spent.len(), Family::REMEMBERED);
        assert_eq!(family.presented(family.counter - 100, GRACE, at(1_001)), Use::Again(at(1_000)));
        let forgotten = family.counter - 101;
        assert_eq!(family.presented(forgotten, GRACE, at(1_001)), Use::Reused);
    }
}
