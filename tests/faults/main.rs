//! The promise under faults: three servers on a real database, a proxy between each and the
//! database that breaks their connections, and a checker over what the clients saw.
//!
//! `cargo test` runs the tests of the apparatus. What needs PostgreSQL and MariaDB is ignored there
//! and run by `just faults`, or for each case once by `bash .ci/faults`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../common/cluster/mod.rs"]
mod cluster;
#[path = "../common/port.rs"]
mod port;
#[path = "../common/program.rs"]
mod program;

mod cell;
mod checker;
mod checker_tests;
mod clients;
mod cluster_tests;
mod commits;
mod databases;
mod deaf;
mod fault;
mod fleet;
mod history;
mod matrix;
mod notifications;
mod proxy;
mod proxy_tests;
mod report;
mod soak;
mod standby;
mod world;
mod writers;
