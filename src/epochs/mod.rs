//! The copy of the revocations in memory: what a request reads.
//!
//! [`Epochs`] is a handle, cheap to clone. The sync writes it, requests read it, and nothing in it
//! waits: no lock that a writer holds for long, no await, no database.
//!
//! Five reads decide about a token, in this order, and each reversal would accept a revoked one:
//! first the *freshness* (was this copy equal to the store recently enough?), then the *count of changes*
//! (has anything come since the token was found good?), then *newest* (has the token seen every revocation
//! there is?), then the *table* of cut-offs, then the *floor* that purged ones leave behind. It is written
//! the other way round: the cut-off, newest, the count, and at the end of a poll the freshness.
//!
//! # Exact or buckets
//!
//! The table has a row for each revoked scope, until that is purged. In its place there may be
//! [*buckets*](EpochsBuilder::buckets), a fixed number of them, and each with the highest cut-off of
//! all that falls into it by a hash. A token from after that is trusted. One from before is
//! *doubtful*: the [`Verdict`] is that only the store knows. Nobody is refused for a neighbour, and
//! no revoked token is let through; what a full bucket costs is a question to the store.
//!
//! The sync reads no more than the buckets have room for: the latest revocations, as many as there
//! are buckets. What lies below those is in doubt as a whole.
//!
//! A database restored from a backup has forgotten revocations. An exact copy still holds them. A
//! copy in buckets cannot tell whose they were: a token that one of them may cover is revoked here
//! until it expires, with the demand to refresh.

mod atomic_cut_off;
#[cfg(test)]
mod bars;
mod bound;
mod buckets;
mod builder;
mod changes;
mod confirmed;
mod fingerprint;
mod freshness;
mod handle;
mod synced;
mod table;
#[cfg(test)]
mod tests;
mod verdict;

use std::sync::{Mutex, atomic};

pub use builder::EpochsBuilder;
pub(crate) use changes::FoundGood;
pub(crate) use fingerprint::Fingerprint;
pub use freshness::Freshness;
pub use handle::Epochs;
pub(crate) use handle::Fingerprints;
pub(crate) use synced::LastSynced;
pub use synced::{StoreClock, Synced};
pub use verdict::Verdict;
