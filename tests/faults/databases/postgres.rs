//! PostgreSQL, and the naive cursor over a sequence.

use std::time::Duration;

use sqlx::{PgPool, postgres::PgPoolOptions, query, query_as};
use tokio::time::sleep;
use tower_revocation::{EpochStore, Revocation, store::PostgresStore};

use super::{ControlRow, Database, Failure, Written};

/// PostgreSQL. The sequence is asked for a number long before the commit.
#[derive(Clone)]
pub(crate) struct Postgres {
    store: PostgresStore,
    pool: PgPool,
}

impl Database for Postgres {
    type Store = PostgresStore;

    async fn open(place: &str) -> Self {
        let store = PostgresStore::open(place).await.unwrap();
        let pool = PgPoolOptions::new().max_connections(8).connect(place).await.unwrap();
        // `IF NOT EXISTS` does not help those who make it at the same time: the first one makes it
        // before the others start.
        let table = "CREATE TABLE IF NOT EXISTS control (id BIGSERIAL PRIMARY KEY, subject TEXT)";
        query(table).execute(&pool).await.unwrap();
        Self { store, pool }
    }

    fn store(&self) -> &PostgresStore {
        &self.store
    }

    async fn transaction(
        &self,
        subject: &str,
        revocation: Revocation,
        held: Duration,
        commit: bool,
    ) -> Result<Written<PostgresStore>, Failure> {
        let mut transaction = self.pool.begin().await?;
        query("INSERT INTO control (subject) VALUES ($1)")
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
        query_as("SELECT id, subject FROM control WHERE id > $1")
            .bind(cursor)
            .fetch_all(&self.pool)
            .await
            .unwrap_or_default()
    }
}
