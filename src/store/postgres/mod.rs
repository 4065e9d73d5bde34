//! The store in PostgreSQL 13 or later: for fleets.
//!
//! Writers lock the clock row (`SELECT … FOR UPDATE`) in a transaction that holds nothing else for
//! long, and commit with `synchronous_commit = on`. A login, a refresh and a renewal are one
//! statement each, which takes no such lock. Revocations are announced by `NOTIFY`, in a statement of its own after
//! the commit, and heard on a connection of its own ([`listener`]); that is a hint and no more, as
//! every second a poll asks for what has changed.
//!
//! Every wait has a limit, on both sides: the server ends a transaction whose client is silent, so
//! that nobody holds the clock row from beyond a broken network.

mod copy;
mod fleet;
mod judge;
mod listener;
mod load;
mod options;
mod renewal;
mod row;
mod schema;
mod session;
mod store;
mod tables;
mod watch;

pub use options::PostgresOptions;
pub use store::PostgresStore;
pub use watch::PostgresWatch;

/// The channel of the announcements. A channel belongs to one database.
const CHANNEL: &str = "tower_revocation";
