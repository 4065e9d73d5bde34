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
    };
}

mod contract;
mod harness;
mod histories;
mod judging;
mod model;
mod refreshing;
mod sessions;
mod sqlite;
