//! Private database servers: PostgreSQL and MariaDB in temporary directories, on free ports of
//! loopback, run as a user without privileges. The machine's own are never touched.
//!
//! They do not wait for the disk (`fsync=off`; `innodb_flush_log_at_trx_commit=2` and
//! `innodb_flush_method=nosync`). Only a crash of the machine could lose a commit by that: what a
//! process has written survives `kill -9`, and every commit is written before it is acknowledged.
//!
//! Needs `port` beside it at the root of the test.

mod mariadb;
mod postgres;
mod process;
mod server;

pub(crate) use server::{Cluster, Engine};
