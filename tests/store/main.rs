//! The contract of a store, run over every implementation, and what is SQLite's alone.

#![allow(unreachable_pub, reason = "a test binary has no outside")]

mod contract;
mod harness;
mod sqlite;
