//! The stores on database servers, each test with a database of its own.

use sqlx::{Connection, MySqlConnection, PgConnection};
use tower_revocation::{
    clock::{Clock, ManualClock},
    store::{
        EpochStore, MySqlOptions, MySqlStore, PostgresOptions, PostgresStore, Requested, Revocation,
    },
};

use crate::{
    databases::Database,
    harness::{Harness, START},
};

pub struct Postgres {
    store: PostgresStore,
    clock: ManualClock,
    // Last: dropped when the connections are.
    pub database: Database,
}

impl Postgres {
    pub async fn on(
        variable: &str,
        settings: impl FnOnce(PostgresOptions) -> PostgresOptions,
    ) -> Self {
        let (clock, hand) = Clock::manual(START);
        let database = Database::on(variable).await;
        let options = settings(PostgresOptions::new(database.postgres()).clock(clock));
        let store = PostgresStore::connect(options).await.unwrap();
        Self { store, clock: hand, database }
    }

    /// Another handle on the same database.
    pub fn with(store: PostgresStore, other: Self) -> Self {
        Self { store, ..other }
    }

    async fn application(&self) -> PgConnection {
        PgConnection::connect_with(&self.database.postgres()).await.unwrap()
    }
}

impl Harness for Postgres {
    type Store = PostgresStore;

    async fn new() -> Self {
        Self::on("POSTGRES_URL", |options| options).await
    }

    fn store(&self) -> &PostgresStore {
        &self.store
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }

    async fn request(&self, revocation: Revocation, commit: bool) -> Requested<PostgresStore> {
        let mut application = self.application().await;
        let mut transaction = application.begin().await.unwrap();
        let requested = self.store.revoke_in(&mut transaction, revocation).await.unwrap();
        if commit {
            transaction.commit().await.unwrap();
        } else {
            transaction.rollback().await.unwrap();
        }
        requested
    }
}

/// PostgreSQL behind PgBouncer in transaction mode.
pub struct PgBouncer(Postgres);

impl Harness for PgBouncer {
    type Store = PostgresStore;

    async fn new() -> Self {
        // Made on the server itself; PgBouncer hands on whatever database is asked for.
        Self(Postgres::on("PGBOUNCER_URL", PostgresOptions::behind_transaction_pooler).await)
    }

    fn store(&self) -> &PostgresStore {
        self.0.store()
    }

    fn clock(&self) -> &ManualClock {
        self.0.clock()
    }

    async fn request(&self, revocation: Revocation, commit: bool) -> Requested<PostgresStore> {
        self.0.request(revocation, commit).await
    }
}

/// MariaDB.
pub struct MySql {
    store: MySqlStore,
    clock: ManualClock,
    // Last: dropped when the connections are.
    pub database: Database,
}

impl MySql {
    pub async fn application(&self) -> MySqlConnection {
        MySqlConnection::connect_with(&self.database.mysql()).await.unwrap()
    }
}

impl Harness for MySql {
    type Store = MySqlStore;

    async fn new() -> Self {
        let (clock, hand) = Clock::manual(START);
        let database = Database::on("MARIADB_URL").await;
        let options = MySqlOptions::new(database.mysql()).clock(clock);
        let store = MySqlStore::connect(options).await.unwrap();
        Self { store, clock: hand, database }
    }

    fn store(&self) -> &MySqlStore {
        &self.store
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }

    async fn request(&self, revocation: Revocation, commit: bool) -> Requested<MySqlStore> {
        let mut application = self.application().await;
        let mut transaction = application.begin().await.unwrap();
        let requested = self.store.revoke_in(&mut transaction, revocation).await.unwrap();
        if commit {
            transaction.commit().await.unwrap();
        } else {
            transaction.rollback().await.unwrap();
        }
        requested
    }
}
