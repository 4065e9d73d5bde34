//! How a store in MySQL or MariaDB is reached.

use std::{fmt, time::Duration};

use sqlx::{ConnectOptions, Executor, MySqlConnection, mysql::MySqlConnectOptions};

use crate::{
    clock::Clock,
    error::Error,
    store::limits::{CONNECT_WAIT, in_time},
};

/// What a connection of ours is told first, whatever the server's defaults are.
///
/// Texts and answers are cut nowhere in silence; no transaction follows another by itself; waiting for a lock has a limit
/// ([`SERVER_WAIT`](crate::store::limits::SERVER_WAIT)); a statement sees what is committed and
/// nothing else.
pub(super) const SESSION: &str = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', \
     time_zone = '+00:00', innodb_lock_wait_timeout = 5, \
     lock_wait_timeout = 5, autocommit = 1, completion_type = 0, sql_safe_updates = 0, \
     sql_select_limit = 18446744073709551615; \
     SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";

/// How a [`MySqlStore`](super::MySqlStore) is reached.
#[derive(Clone)]
pub struct MySqlOptions {
    pub(super) connect: MySqlConnectOptions,
    pub(super) connections: u32,
    pub(super) clock: Option<Clock>,
}

impl MySqlOptions {
    /// The database that `connect` names; a name is needed.
    ///
    /// At most 8 connections for logins, refreshes and revocations, made as they are needed, and
    /// one more for the sync.
    pub fn new(connect: MySqlConnectOptions) -> Self {
        // Names and times in one spelling, whatever the caller has set.
        let connect = connect.charset("utf8mb4").set_names(true).timezone("+00:00".to_owned());
        Self { connect, connections: 8, clock: None }
    }

    /// At most so many connections for logins, refreshes and revocations; at least one.
    #[must_use]
    pub fn connections(mut self, connections: u32) -> Self {
        self.connections = connections.max(1);
        self
    }

    /// Takes the time from `clock` in place of the database's own, for tests that drive it by hand.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// A connection that stands alone.
    pub(super) async fn open(&self) -> Result<MySqlConnection, Error> {
        in_time(CONNECT_WAIT, async {
            let mut connection = self.connect.connect().await?;
            connection.execute(SESSION).await?;
            Ok(connection)
        })
        .await
    }

    /// The time, where it is not the database's to tell.
    pub(super) fn given_time(&self) -> Option<Duration> {
        self.clock.as_ref().map(|clock| clock.now().wall)
    }
}

// By hand: a password may be among the options.
impl fmt::Debug for MySqlOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MySqlOptions")
            .field("host", &self.connect.get_host())
            .field("database", &self.connect.get_database())
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}
