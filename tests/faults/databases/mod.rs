//! What the test of missed commits needs of a database: its store, transactions of the caller's,
//! and a table for the control.

mod mariadb;
mod postgres;
mod sqlite;

use std::{error::Error as StdError, time::Duration};

use tower_revocation::{EpochStore, Revocation, store::Requested};

pub(crate) use mariadb::MariaDb;
pub(crate) use postgres::Postgres;
pub(crate) use sqlite::Sqlite;

pub(crate) type Failure = Box<dyn StdError + Send + Sync>;

/// What came of a transaction.
pub(crate) enum Written<S> {
    Committed(Requested<S>),
    RolledBack,
    /// The commit failed: nobody knows.
    Unknown,
}

/// A row of the control, which a cursor over `id` is to find.
pub(crate) type ControlRow = (i64, String);

/// One database, opened by one process.
pub(crate) trait Database: Clone + Send + Sync + Sized + 'static {
    type Store: EpochStore;

    /// At this place: a URL, or the path of a file. Makes the table of the control if it is
    /// missing.
    async fn open(place: &str) -> Self;

    fn store(&self) -> &Self::Store;

    /// A transaction that writes a row of the control, then `revocation`, is held open for a while,
    /// and then committed or rolled back.
    fn transaction(
        &self,
        subject: &str,
        revocation: Revocation,
        held: Duration,
        commit: bool,
    ) -> impl Future<Output = Result<Written<Self::Store>, Failure>> + Send;

    /// The rows of the control above `cursor`.
    fn control(&self, cursor: i64) -> impl Future<Output = Vec<ControlRow>> + Send;
}
