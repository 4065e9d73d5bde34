//! A store in memory: for tests, and as the shortest complete implementation to read.

mod state;
mod store;
mod watch;

pub use store::{MemoryStore, MemoryTransaction};
pub use watch::MemoryWatch;
