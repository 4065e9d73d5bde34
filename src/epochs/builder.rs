//! The settings of an [`Epochs`].

use std::time::Duration;

use super::{Epochs, buckets::MOST_BUCKETS};
use crate::{clock::Clock, error::ConfigError, lifetimes::Lifetimes};

/// The settings of an [`Epochs`].
#[derive(Clone, Debug)]
pub struct EpochsBuilder {
    pub(super) lifetimes: Lifetimes,
    pub(super) max_staleness: Duration,
    pub(super) clock: Clock,
    pub(super) buckets: Option<u32>,
}

impl Default for EpochsBuilder {
    fn default() -> Self {
        Self {
            lifetimes: Lifetimes::default(),
            max_staleness: Duration::from_secs(10),
            clock: Clock::system(),
            buckets: None,
        }
    }
}

impl EpochsBuilder {
    /// The lifetimes, the same in the whole fleet.
    #[must_use]
    pub fn lifetimes(mut self, lifetimes: Lifetimes) -> Self {
        self.lifetimes = lifetimes;
        self
    }

    /// The revocation bound: no covered token is accepted in a check that starts this long after
    /// `revoke` returned. 10 seconds by default, at least three polls.
    #[must_use]
    pub fn max_staleness(mut self, max_staleness: Duration) -> Self {
        self.max_staleness = max_staleness;
        self
    }

    /// Keeps a cut-off for each of so many buckets, in place of one for each scope: the copy takes
    /// 208 bytes for each bucket, and not one more however many are revoked. 1 to 65,536.
    ///
    /// Users, sessions, groups and tokens fall into buckets by a hash. A token that was issued after
    /// everything that was revoked in its buckets is trusted, as ever. About another the copy cannot
    /// say whether it is the one that was revoked: its [verdict](super::Verdict) is *doubtful*, and
    /// the store has to be asked, by a layer that
    /// [may](crate::layer::RevocationLayer::confirm_doubtful). One that may not answers 503. What the
    /// store has confirmed is remembered for the last 8 tokens for each bucket, until somebody else
    /// in their buckets is revoked.
    ///
    /// `Everyone` is always exact. See the [advice](super#exact-or-buckets) on when to use it.
    #[must_use]
    pub fn buckets(mut self, buckets: u32) -> Self {
        self.buckets = Some(buckets);
        self
    }

    /// Another clock, for tests.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Builds the empty copy.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Duration`] if `max_staleness` is zero, [`ConfigError::Number`] if there are to
    /// be no buckets or more than 65,536.
    pub fn build(self) -> Result<Epochs, ConfigError> {
        if self.max_staleness.is_zero() {
            return Err(ConfigError::Duration {
                field: "max_staleness",
                value: self.max_staleness,
                problem: "is zero",
            });
        }
        let (field, value) = ("buckets", self.buckets.map(u64::from));
        match value {
            Some(value @ 0) => Err(ConfigError::Number { field, value, problem: "is no bucket" }),
            Some(value) if value > MOST_BUCKETS.into() => {
                Err(ConfigError::Number { field, value, problem: "is over 65536" })
            }
            _ => Ok(Epochs::with(self)),
        }
    }
}
