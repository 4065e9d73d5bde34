//! How long ago the copy was known to equal the store.

use std::time::Duration;

/// How long ago the copy was known to equal the store, against its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Freshness {
    /// The revocations were never loaded: nothing can be said about any token.
    NotLoaded,
    /// Within the bound.
    Fresh {
        /// Since the instant before the last successful poll was sent.
        age: Duration,
    },
    /// Over the bound: nothing can be said about any token.
    Stale {
        /// Since the instant before the last successful poll was sent.
        age: Duration,
    },
}

impl Freshness {
    /// Whether tokens can be judged.
    pub fn is_fresh(self) -> bool {
        matches!(self, Self::Fresh { .. })
    }

    /// The age; `None` before the first load.
    pub fn age(self) -> Option<Duration> {
        match self {
            Self::NotLoaded => None,
            Self::Fresh { age } | Self::Stale { age } => Some(age),
        }
    }
}
