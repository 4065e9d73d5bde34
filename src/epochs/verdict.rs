//! What the copy says about a token.

use crate::cutoff::Revoked;

/// What the copy in memory says about a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No cut-off covers it.
    Good,
    /// A cut-off covers it.
    Revoked(Revoked),
    /// The copy is [one of buckets](super::EpochsBuilder::buckets), and somebody in a bucket of the
    /// token's was revoked after it was issued. Only the store knows who.
    Doubtful,
}

impl Verdict {
    /// Whether a cut-off is known to cover the token.
    pub(crate) fn is_revoked(self) -> bool {
        matches!(self, Self::Revoked(_))
    }
}
