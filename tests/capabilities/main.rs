//! What users asked for, each over HTTP against the real parts: servers, a database, clients.
//!
//! The number in a test's name is that of the request in the project's catalogue.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "other suites use the rest")]
#[path = "../common/cluster/mod.rs"]
mod cluster;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/port.rs"]
mod port;
#[path = "../common/program.rs"]
mod program;

mod accounts;
mod buckets;
mod cookies;
mod devices;
mod dump;
mod elsewhere;
mod fleet;
mod freshness;
mod issuers;
mod limits;
mod outage;
mod policies;
mod receipts;
mod refreshing;
mod refusals;
mod renewing;
mod revocation;
mod service;
mod sessions;
mod strategies;
