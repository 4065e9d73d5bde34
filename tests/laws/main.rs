//! The laws of the design, one test or more each: `l1_…` to `l9_…`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../common/instance.rs"]
mod instance;
mod laws;
mod processes;
mod stale;
mod statements;
