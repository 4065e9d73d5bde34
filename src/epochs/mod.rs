//! The copy of the revocations in memory: what a request reads.
//!
//! [`Epochs`] is a handle, cheap to clone. The sync writes it, requests read it, and nothing in it
//! waits: no lock that a writer holds for long, no await, no database.
//!
//! Four reads decide about a token, in this order, and each reversal would accept a revoked one:
//! first the *freshness* (was this copy equal to the store recently enough?), then *newest* (has
//! the token seen every revocation there is?), then the *table* of cut-offs, then the *floor* that
//! purged ones leave behind.

mod floor;
mod freshness;
mod handle;
mod table;

pub use freshness::Freshness;
pub use handle::{Epochs, EpochsBuilder, StoreClock, Synced};
