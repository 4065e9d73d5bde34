//! The store in SQLite: embedded, for one machine; several processes may share the file.
//!
//! Writers take `BEGIN IMMEDIATE`, so the write lock of the file is the lock of the clock row.
//! Commits are durable before they return (`synchronous=FULL`). The sync has a connection of its
//! own that never writes: `PRAGMA data_version`, a few microseconds, tells it of commits by anyone.
//!
//! The database's clock is that of the process, as SQLite has none of its own.

mod file;
mod judge;
mod row;
mod schema;
mod session;
mod store;
mod transaction;
mod watch;

pub use store::SqliteStore;
pub use watch::SqliteWatch;

use crate::error::{Error, ErrorKind};

/// What SQLite said, as the cause of our own error.
fn failed(cause: sqlx::Error) -> Error {
    Error::new(ErrorKind::Store, cause)
}

/// A whole number that must not be negative.
fn unsigned(number: i64) -> Result<u64, Error> {
    u64::try_from(number).map_err(|cause| Error::new(ErrorKind::Corrupt, cause))
}
