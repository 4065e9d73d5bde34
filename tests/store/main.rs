//! The contract of a store, run over every implementation, and what is SQLite's alone.

mod contract;
mod harness;
mod sqlite;
