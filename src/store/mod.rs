//! The database: the truth.
//!
//! [`EpochStore`] is what the rest of the crate asks of it; `SqliteStore`, `PostgresStore` and
//! `MySqlStore` (features of these names), [`MemoryStore`], and [`AnyStore`] answer. The order of
//! revocations is made here and nowhere else:
//!
//! - **Revoke**: under the lock of the clock row, as the last thing before commit, a revocation is
//!   *sealed*: `cut-off = max(newest + 1, database clock)` and `newest = cut-off`. Cut-offs are
//!   unique and rise in the order of commits whatever the clock does, so they are the cursor of the
//!   poll too.
//! - **Mint**: the stamp is `newest + 1`, read in the snapshot of the statement that writes the
//!   session. No clock is in it.
//! - **Ticket**: `newest`, noted before the password or the claims are read. A cut-off above it at
//!   the mint means that what was read may be older than the revocation.
//! - **Guard**: a session whose last stamp is at or below a `login_before` of its scopes is over.
//! - **Count**: the refresh tokens of a session differ by a counter. The current one is spent by
//!   the statement that mints; one that comes back long after is a theft, and ends the session in
//!   a transaction that commits although the refresh is refused.
//! - **Renew**: the stamp of the *presented* access token is held against every cut-off of its own
//!   scopes, exactly, and the session against the guard; the new stamp is that of a mint. So a
//!   renewal never makes a token good again that a cut-off covers.
//! - **Request**: a revocation inside the caller's transaction is written unsealed, and sealed by
//!   whoever meets it first after the commit: the revoker, a mint, a ticket or a poll.
//!
//! - **Enlist**: an instance that acknowledges is in the roster before it loads. So whoever reads the
//!   roster once a revocation has committed knows of every copy that may lack it.
//!
//! The decisions are in `order.rs` and `family.rs`, apart from any database; what happens under the
//! lock of the clock row is in `writer.rs`, over the single statements of `tables.rs`, which each SQL
//! database words.

mod any;
mod confirm;
mod enforcement;
mod family;
mod instance;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod limits;
mod memory;
mod mint;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "_sql")]
mod operations;
mod order;
#[cfg(feature = "postgres")]
mod postgres;
mod revocation;
mod session;
#[cfg(feature = "_sql")]
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;
mod statements;
#[cfg(feature = "_sql")]
mod tables;
mod traits;
#[cfg(feature = "_sql")]
mod writer;

pub use any::{AnyStore, AnyTransaction, AnyWatch};
pub use enforcement::{Enforced, Enforcement, How};
pub use instance::{Enlisted, Instance, Roster};
pub use memory::{MemoryStore, MemoryTransaction, MemoryWatch};
pub use mint::{Mint, MintFor, Minted, OverLimit, Presented, SameDevice, SessionLimit, Ticket};
#[cfg(feature = "mysql")]
pub use mysql::{MySqlOptions, MySqlStore, MySqlWatch};
#[cfg(feature = "postgres")]
pub use postgres::{PostgresOptions, PostgresStore, PostgresWatch};
pub use revocation::{Audit, Entry, RequestId, Requested, Revocation};
pub use session::{Device, MAX_DEVICE_TEXT, Session, SessionFilter};
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteStore, SqliteWatch};
pub use statements::StatementCounts;
pub use traits::{Changes, EpochStore, Judged, Latest, MAX_LISTED, Source, StoreId, Watch};
