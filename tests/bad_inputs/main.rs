//! Every bad input of the catalogue gets a refusal with a name, and its good twin is accepted.
//!
//! The number in a test's name is that of the catalogue.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod authorization;
mod claims;
mod configuration;
#[path = "../common/gate.rs"]
mod gate;
mod groups;
mod jose_header;
mod properties;
mod signature;
mod structure;
mod support;
mod verdict;
