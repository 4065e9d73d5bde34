//! Databases of a test's own, on the servers whose URLs are given: `POSTGRES_URL`, `MARIADB_URL`,
//! `PGBOUNCER_URL`. `.ci/databases` starts such servers and gives them to a command.

use std::{thread, time::Duration};

use sqlx::{
    AssertSqlSafe, Connection, MySqlConnection, PgConnection, mysql::MySqlConnectOptions,
    postgres::PgConnectOptions, raw_sql,
};
use tokio::runtime;
use tower_revocation::scope::Id;

/// A new database, dropped with this.
pub(crate) struct Database {
    server: String,
    name: String,
}

impl Database {
    /// On the server that the environment variable `variable` names.
    pub(crate) async fn on(variable: &str) -> Self {
        let server = std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set"));
        // Letters that need no quotes.
        let random: String =
            Id::random().as_str().bytes().map(|byte| format!("{byte:x}")).collect();
        Self::named(&server, &format!("test_{random}")).await
    }

    /// With this name on the server at that URL.
    pub(crate) async fn named(server: &str, name: &str) -> Self {
        let database = Self { server: server.to_owned(), name: name.to_owned() };
        database.run(format!("CREATE DATABASE {name}")).await;
        database
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        url(&self.server, &self.name)
    }

    pub(crate) fn postgres(&self) -> PgConnectOptions {
        self.url().parse().unwrap()
    }

    pub(crate) fn mysql(&self) -> MySqlConnectOptions {
        self.url().parse().unwrap()
    }

    fn is_mysql(&self) -> bool {
        self.server.starts_with("mysql")
    }

    /// Runs a statement on the server, in the database that its URL names.
    async fn run(&self, sql: String) {
        let sql = AssertSqlSafe(sql);
        if self.is_mysql() {
            let mut connection = MySqlConnection::connect(&self.server).await.unwrap();
            raw_sql(sql).execute(&mut connection).await.unwrap();
        } else {
            let mut connection = PgConnection::connect(&self.server).await.unwrap();
            raw_sql(sql).execute(&mut connection).await.unwrap();
        }
    }
}

/// The URL of the database `name` on the server that `server` is a database of.
pub(crate) fn url(server: &str, name: &str) -> String {
    let (server, _) = server.rsplit_once('/').unwrap();
    format!("{server}/{name}")
}

impl Drop for Database {
    fn drop(&mut self) {
        let force = if self.is_mysql() { "" } else { " WITH (FORCE)" };
        let drop = self.run(format!("DROP DATABASE {}{force}", self.name));
        // The runtime of the test cannot be waited for here, and may be ending.
        thread::scope(|scope| {
            scope.spawn(|| {
                let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
                // A server that hangs must not keep the tests.
                let _ = runtime
                    .block_on(async { tokio::time::timeout(Duration::from_secs(10), drop).await });
            });
        });
    }
}
