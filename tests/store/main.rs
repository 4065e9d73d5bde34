//! The contract of a store, run over every implementation, and what is SQLite's alone.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

/// Runs each test over every store.
macro_rules! contract {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name::<crate::harness::Memory>().await;
            })*
        }
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name::<crate::harness::Sqlite>().await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs PostgreSQL; run with bash .ci/databases cargo test -- --ignored"]
            async fn $name() {
                super::$name::<crate::servers::Postgres>().await;
            })*
        }
        mod pgbouncer {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs PgBouncer; run with bash .ci/databases cargo test -- --ignored"]
            async fn $name() {
                super::$name::<crate::servers::PgBouncer>().await;
            })*
        }
        mod mysql {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs MariaDB; run with bash .ci/databases cargo test -- --ignored"]
            async fn $name() {
                super::$name::<crate::servers::MySql>().await;
            })*
        }
    };
}

mod bulk;
mod commits;
mod contract;
#[allow(dead_code, reason = "a part of it is for other suites")]
#[path = "../common/databases.rs"]
mod databases;
mod halves;
mod harness;
mod histories;
mod judging;
mod limiting;
mod model;
mod mysql;
mod postgres;
mod refreshing;
mod renewing;
mod rosters;
mod servers;
mod sessions;
mod sqlite;
