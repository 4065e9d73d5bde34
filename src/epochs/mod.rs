//! The copy of the revocations in memory: what a request reads.
//!
//! [`Epochs`] is a handle, cheap to clone. The sync writes it, requests read it, and nothing in it
//! waits: no lock that a writer holds for long, no await, no database.
//!
//! Four reads decide about a token, in this order, and each reversal would accept a revoked one:
//! first the *freshness* (was this copy equal to the store recently enough?), then *newest* (has
//! the token seen every revocation there is?), then the *table* of cut-offs, then the *floor* that
//! purged ones leave behind.
//!
//! In place of the table there may be *buckets*, of a fixed size
//! ([`EpochsBuilder::buckets`]). Then a [`Verdict`] may be that only the store knows.

mod atomic;
mod buckets;
mod builder;
mod confirmed;
mod freshness;
mod handle;
mod table;
mod verdict;

pub use builder::EpochsBuilder;
pub use freshness::Freshness;
pub use handle::{Epochs, StoreClock, Synced};
pub use verdict::Verdict;
