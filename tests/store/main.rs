//! The contract of a store, run over every implementation, and what is SQLite's alone.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod contract;
mod harness;
mod sqlite;
