//! The store in SQLite: embedded, for one machine; several processes may share the file.
//!
//! Writers take `BEGIN IMMEDIATE`, so the write lock of the file is the lock of the clock row.
//! Commits are durable before they return (`synchronous=FULL`). The sync has a connection of its
//! own that never writes: `PRAGMA data_version`, a few microseconds, tells it of commits by anyone.
//!
//! A refresh and a renewal are one statement each.
//!
//! The database's clock is that of the process, as SQLite has none of its own.

mod file;
mod fleet;
mod judge;
mod load;
mod renewal;
mod row;
mod schema;
mod session;
mod store;
mod tables;
mod watch;

pub use store::SqliteStore;
pub use watch::SqliteWatch;
