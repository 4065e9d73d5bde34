//! Tower middleware that revokes JWTs at once, without a database query per request.

#![warn(missing_debug_implementations, missing_docs, unreachable_pub)]

#[cfg(feature = "axum")]
pub mod axum;
pub mod clock;
pub mod cutoff;
pub mod epochs;
pub mod error;
pub mod layer;
pub mod lifetimes;
pub mod scope;
pub mod session;
pub mod store;
pub mod sync;
mod telemetry;
pub mod token;
pub mod verify;

pub use cutoff::Demand;
pub use epochs::Epochs;
pub use layer::RevocationLayer;
pub use scope::{Id, Scope};
pub use session::{Grant, Issuer, KeyRing};
#[cfg(feature = "sqlite")]
pub use store::SqliteStore;
pub use store::{EpochStore, Revocation};
pub use sync::{Follower, SyncHandle};
pub use token::Algorithm;
pub use verify::{NoClaims, Rejection, Verified, Verifier};
