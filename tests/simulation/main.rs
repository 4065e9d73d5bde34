//! A deterministic simulation of a fleet: the crate's own store, sync, issuer and layer, on machines,
//! a network and a database that go wrong in every way they can, in time that stands still between
//! two events. Every history is held against the laws of `SECURITY.md`.
//!
//! A seed says all about a history. `SIMULATION_SEEDS=from..to` says which seeds are run; what fails is
//! printed with its seed, shortened.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod clients;
mod coverage;
mod database;
mod facts;
mod instance;
mod laws;
mod machine;
mod network;
mod plan;
mod run;
mod seeds;
mod shorten;
mod store;
mod world;
