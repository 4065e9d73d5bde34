//! The laws of the design, one test or more each: `l1_…` to `l9_…`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../common/mod.rs"]
mod common;
mod laws;
mod processes;
mod stale;
mod statements;
mod wire;
