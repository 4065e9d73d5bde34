//! SQLite, and the naive cursor over times.

use std::time::Duration;

use sqlx::{
    SqlitePool, query, query_as,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use tokio::time::sleep;
use tower_revocation::{
    EpochStore, Revocation, SqliteStore,
    clock::{Clock, Reading},
};

use super::{ControlRow, Database, Failure, Written};

/// SQLite.
///
/// Its writers come one after the other, so a number that is taken inside the transaction misses
/// nothing. The naive cursor there is another one, as widespread: the time at which the application
/// made the row, before it waited for the lock.
#[derive(Clone)]
pub(crate) struct Sqlite {
    store: SqliteStore,
    pool: SqlitePool,
}

impl Database for Sqlite {
    type Store = SqliteStore;

    async fn open(place: &str) -> Self {
        let store = SqliteStore::open(place).await.unwrap();
        let options =
            SqliteConnectOptions::new().filename(place).busy_timeout(Duration::from_secs(20));
        let pool = SqlitePoolOptions::new().max_connections(8).connect_with(options).await.unwrap();
        let table = "CREATE TABLE IF NOT EXISTS control (id INTEGER, subject TEXT) STRICT";
        query(table).execute(&pool).await.unwrap();
        Self { store, pool }
    }

    fn store(&self) -> &SqliteStore {
        &self.store
    }

    async fn transaction(
        &self,
        subject: &str,
        revocation: Revocation,
        held: Duration,
        commit: bool,
    ) -> Result<Written<SqliteStore>, Failure> {
        let Reading { wall, .. } = Clock::system().now();
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        query("INSERT INTO control (id, subject) VALUES (?, ?)")
            .bind(i64::try_from(wall.as_micros())?)
            .bind(subject)
            .execute(&mut *transaction)
            .await?;
        let requested = self.store.revoke_in(&mut transaction, revocation).await?;
        sleep(held).await;
        if !commit {
            transaction.rollback().await?;
            return Ok(Written::RolledBack);
        }
        let committed = transaction.commit().await;
        Ok(committed.map_or(Written::Unknown, |()| Written::Committed(requested)))
    }

    async fn control(&self, cursor: i64) -> Vec<ControlRow> {
        query_as("SELECT id, subject FROM control WHERE id > ?")
            .bind(cursor)
            .fetch_all(&self.pool)
            .await
            .unwrap_or_default()
    }
}
