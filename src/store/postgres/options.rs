//! How a store in PostgreSQL is reached.

use std::{fmt, time::Duration};

use sqlx::postgres::PgConnectOptions;

use crate::{clock::Clock, error::ConfigError};

/// Shorter heartbeats write more than they tell.
const SHORTEST_HEARTBEAT: Duration = Duration::from_millis(10);

/// How a [`PostgresStore`](super::PostgresStore) is reached.
#[derive(Clone)]
pub struct PostgresOptions {
    pub(super) connect: PgConnectOptions,
    pub(super) connections: u32,
    pub(super) pooler: bool,
    pub(super) heartbeat: Option<Duration>,
    pub(super) clock: Option<Clock>,
}

impl PostgresOptions {
    /// The database that `connect` names. Tables are made in, and looked for in, the schema that
    /// is the first of its `search_path`.
    ///
    /// At most 8 connections for logins, refreshes and revocations, made as they are needed, and
    /// two more for the sync; a third while it loads a large table, if that can be had.
    pub fn new(connect: PgConnectOptions) -> Self {
        Self { connect, connections: 8, pooler: false, heartbeat: None, clock: None }
    }

    /// At most so many connections for logins, refreshes and revocations; at least one.
    #[must_use]
    pub fn connections(mut self, connections: u32) -> Self {
        self.connections = connections.max(1);
        self
    }

    /// The server is reached through a pooler that shares connections between transactions, like
    /// PgBouncer in transaction mode: no announcements are listened to, and no statements stay
    /// prepared on the server. Revocations arrive by polling.
    #[must_use]
    pub fn behind_transaction_pooler(mut self) -> Self {
        self.pooler = true;
        self
    }

    /// Writes a heartbeat into the database with a poll, if the last one is `interval` old: the
    /// instances together write about one in each interval.
    ///
    /// For instances that read from a standby: its age is how far the standby is behind, by the
    /// clocks of both machines, which have to agree. Without a heartbeat a standby never proves
    /// that it is fresh, and its instances answer 503.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Duration`] if it is under 10 ms.
    pub fn heartbeat(mut self, interval: Duration) -> Result<Self, ConfigError> {
        if interval < SHORTEST_HEARTBEAT {
            let (field, problem) = ("heartbeat", "is under 10 ms");
            return Err(ConfigError::Duration { field, value: interval, problem });
        }
        self.heartbeat = Some(interval);
        Ok(self)
    }

    /// Takes the time from `clock` in place of the database's own, for tests that drive it by hand.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }
}

// By hand: a password may be among the options.
impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("host", &self.connect.get_host())
            .field("database", &self.connect.get_database())
            .field("connections", &self.connections)
            .field("pooler", &self.pooler)
            .field("heartbeat", &self.heartbeat)
            .finish_non_exhaustive()
    }
}
