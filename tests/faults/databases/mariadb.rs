//! MariaDB, and the naive cursor over an `AUTO_INCREMENT`.

use std::time::Duration;

use sqlx::{MySqlPool, mysql::MySqlPoolOptions, query, query_as};
use tokio::time::sleep;
use tower_revocation::{EpochStore, Revocation, store::MySqlStore};

use super::{ControlRow, Database, Failure, Written};

/// MariaDB. A row has its number long before the commit.
#[derive(Clone)]
pub(crate) struct MariaDb {
    store: MySqlStore,
    pool: MySqlPool,
}

impl Database for MariaDb {
    type Store = MySqlStore;

    async fn open(place: &str) -> Self {
        let store = MySqlStore::open(place).await.unwrap();
        let pool = MySqlPoolOptions::new().max_connections(8).connect(place).await.unwrap();
        let table = "CREATE TABLE IF NOT EXISTS control \
                     (id BIGINT AUTO_INCREMENT PRIMARY KEY, subject TEXT NOT NULL)";
        query(table).execute(&pool).await.unwrap();
        Self { store, pool }
    }

    fn store(&self) -> &MySqlStore {
        &self.store
    }

    async fn transaction(
        &self,
        subject: &str,
        revocation: Revocation,
        held: Duration,
        commit: bool,
    ) -> Result<Written<MySqlStore>, Failure> {
        let mut transaction = self.pool.begin().await?;
        query("INSERT INTO control (subject) VALUES (?)")
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
