//! A private database server: made, started, killed, started again, gone when dropped.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::Child,
    time::Duration,
};

use sqlx::{Connection, Executor, MySqlConnection, PgConnection};
use tempfile::TempDir;
use tokio::{
    net::TcpSocket,
    time::{sleep, timeout},
};

use super::{
    mariadb, postgres,
    process::{self, Account},
};
use crate::port;

/// How long a server may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Postgres,
    MariaDb,
}

impl Engine {
    /// As it is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::MariaDb => "MariaDB",
        }
    }

    /// Of the database `app` at `port` of this machine, for its owner.
    pub(crate) fn url(self, port: u16) -> String {
        match self {
            Self::Postgres => format!("postgres://app@127.0.0.1:{port}/app"),
            Self::MariaDb => format!("mysql://app@127.0.0.1:{port}/app"),
        }
    }

    fn admin_url(self, port: u16) -> String {
        match self {
            Self::Postgres => {
                format!("postgres://{}@127.0.0.1:{port}/postgres", postgres::ADMIN)
            }
            Self::MariaDb => format!("mysql://admin@127.0.0.1:{port}/app"),
        }
    }
}

/// A server with the database `app`. Dropping it kills the server and removes its files.
///
/// Start it from a thread that lives as long: the test's own, or a worker of its runtime.
pub(crate) struct Cluster {
    engine: Engine,
    account: Account,
    directory: TempDir,
    port: u16,
    running: Option<Child>,
    /// Keeps the port while the server is down.
    _reservation: TcpSocket,
}

#[allow(dead_code, reason = "each suite uses a part of it")]
impl Cluster {
    /// A new one, which answers.
    pub(crate) async fn start(engine: Engine) -> Self {
        let accounts = match engine {
            Engine::Postgres => postgres::ACCOUNTS,
            Engine::MariaDb => mariadb::ACCOUNTS,
        };
        let mut cluster = Self::empty(engine, Account::unprivileged(&accounts));
        match engine {
            Engine::Postgres => postgres::make(&cluster.account, &cluster.data()),
            Engine::MariaDb => mariadb::make(&cluster.account, &cluster.data()),
        }
        cluster.start_again().await;
        if engine == Engine::Postgres {
            let mut admin = PgConnection::connect(&cluster.admin_url()).await.unwrap();
            admin.execute("CREATE ROLE app LOGIN").await.unwrap();
            admin.execute("CREATE DATABASE app OWNER app").await.unwrap();
        }
        cluster
    }

    /// A hot standby of this PostgreSQL, which streams from it.
    pub(crate) async fn standby(&self) -> Self {
        assert_eq!(self.engine, Engine::Postgres);
        let mut standby = Self::empty(self.engine, self.account.clone());
        postgres::copy(&self.account, self.port, &standby.data());
        standby.start_again().await;
        standby
    }

    fn empty(engine: Engine, account: Account) -> Self {
        let directory = tempfile::Builder::new().prefix("cluster-").tempdir().unwrap();
        account.own(directory.path());
        let reservation = port::bound(0).unwrap();
        let port = reservation.local_addr().unwrap().port();
        Self { engine, account, directory, port, running: None, _reservation: reservation }
    }

    pub(crate) fn engine(&self) -> Engine {
        self.engine
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Of the database `app`, for its owner.
    pub(crate) fn url(&self) -> String {
        self.engine.url(self.port)
    }

    /// For the administrator of the server.
    pub(crate) fn admin_url(&self) -> String {
        self.engine.admin_url(self.port)
    }

    /// What the server says that it is.
    pub(crate) async fn version(&self) -> String {
        match self.engine {
            Engine::Postgres => {
                let mut admin = PgConnection::connect(&self.admin_url()).await.unwrap();
                sqlx::query_scalar("SHOW server_version").fetch_one(&mut admin).await.unwrap()
            }
            Engine::MariaDb => {
                let mut admin = MySqlConnection::connect(&self.admin_url()).await.unwrap();
                sqlx::query_scalar("SELECT version()").fetch_one(&mut admin).await.unwrap()
            }
        }
    }

    /// `kill -9`, for all of its processes.
    pub(crate) fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            process::kill(&mut running);
        }
    }

    /// Starts it on the same port and files, and waits until it answers.
    pub(crate) async fn start_again(&mut self) {
        let data = self.data();
        let log = File::options().append(true).create(true).open(self.log()).unwrap();
        let mut command = match self.engine {
            Engine::Postgres => postgres::server(&self.account, &data, self.port),
            Engine::MariaDb => mariadb::server(&self.account, &data, self.port),
        };
        self.running = Some(command.stderr(log).spawn().unwrap());
        let answered = async {
            while !self.answers().await {
                if let Some(ended) = self.running.as_mut().and_then(|it| it.try_wait().unwrap()) {
                    panic!("the database ended with {ended}: {}", self.tail());
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        if timeout(START_LIMIT, answered).await.is_err() {
            panic!("the database does not answer: {}", self.tail());
        }
    }

    async fn answers(&self) -> bool {
        match self.engine {
            Engine::Postgres => PgConnection::connect(&self.admin_url()).await.is_ok(),
            Engine::MariaDb => MySqlConnection::connect(&self.admin_url()).await.is_ok(),
        }
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// The last words of the server.
    fn tail(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kill();
    }
}
