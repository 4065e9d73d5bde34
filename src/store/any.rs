//! The store that a URL names, for services that learn of their database when they start.

#[cfg(feature = "_sql")]
use super::sql::failed;
use super::{
    Audit, Changes, Enlisted, EpochStore, Instance, Judged, Latest, MemoryStore, MemoryTransaction,
    MemoryWatch, Mint, Minted, RequestId, Requested, Revocation, Roster, Session, SessionFilter,
    StatementCounts, Ticket, Watch,
};
#[cfg(feature = "mysql")]
use super::{MySqlStore, MySqlWatch};
#[cfg(feature = "postgres")]
use super::{PostgresStore, PostgresWatch};
#[cfg(feature = "sqlite")]
use super::{SqliteStore, SqliteWatch};
use crate::{
    cutoff::{Receipt, StoreTime},
    error::{Error, ErrorKind},
    lifetimes::Lifetimes,
    scope::{Id, Scope},
};

/// One of the stores that are compiled in.
///
/// A service that knows its database names the store itself: [`Transaction`](EpochStore::Transaction)
/// is then that database's own.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AnyStore {
    /// In memory, of one process.
    Memory(MemoryStore),
    /// In a SQLite file.
    #[cfg(feature = "sqlite")]
    Sqlite(SqliteStore),
    /// In PostgreSQL.
    #[cfg(feature = "postgres")]
    Postgres(PostgresStore),
    /// In MySQL or MariaDB.
    #[cfg(feature = "mysql")]
    MySql(MySqlStore),
}

/// A transaction of the caller's on the database of an [`AnyStore`].
#[non_exhaustive]
pub enum AnyTransaction<'t> {
    /// In memory.
    Memory(MemoryTransaction<'t>),
    /// In a SQLite file.
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::Transaction<'t, sqlx::Sqlite>),
    /// In PostgreSQL.
    #[cfg(feature = "postgres")]
    Postgres(sqlx::Transaction<'t, sqlx::Postgres>),
    /// In MySQL or MariaDB.
    #[cfg(feature = "mysql")]
    MySql(sqlx::Transaction<'t, sqlx::MySql>),
}

/// The sync's connection to an [`AnyStore`].
#[derive(Debug)]
#[non_exhaustive]
pub enum AnyWatch {
    /// In memory.
    Memory(MemoryWatch),
    /// In a SQLite file.
    #[cfg(feature = "sqlite")]
    Sqlite(SqliteWatch),
    /// In PostgreSQL.
    #[cfg(feature = "postgres")]
    Postgres(PostgresWatch),
    /// In MySQL or MariaDB.
    #[cfg(feature = "mysql")]
    MySql(MySqlWatch),
}

/// The same for each store.
macro_rules! each {
    ($any:expr, $one:ident => $answer:expr) => {
        match $any {
            Self::Memory($one) => $answer,
            #[cfg(feature = "sqlite")]
            Self::Sqlite($one) => $answer,
            #[cfg(feature = "postgres")]
            Self::Postgres($one) => $answer,
            #[cfg(feature = "mysql")]
            Self::MySql($one) => $answer,
        }
    };
}

impl AnyStore {
    /// Opens the database at `url`: `sqlite:path/to/file`, `postgres://…`, `mysql://…` or, for tests,
    /// `memory:`; and makes what is missing there.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::UnsupportedDatabase`] if no store is compiled in for such a URL; otherwise as
    /// that store's own `open`.
    pub async fn open(url: &str) -> Result<Self, Error> {
        match url.split_once(':') {
            Some(("memory", "")) => Ok(Self::Memory(MemoryStore::new())),
            #[cfg(feature = "sqlite")]
            Some(("sqlite", path)) => {
                let path = path.strip_prefix("//").unwrap_or(path);
                SqliteStore::open(path).await.map(Self::Sqlite)
            }
            #[cfg(feature = "postgres")]
            Some(("postgres" | "postgresql", _)) => {
                PostgresStore::open(url).await.map(Self::Postgres)
            }
            #[cfg(feature = "mysql")]
            Some(("mysql" | "mariadb", _)) => MySqlStore::open(url).await.map(Self::MySql),
            // The rest of the URL may hold a password.
            Some((scheme, _)) => {
                Err(Error::new(ErrorKind::UnsupportedDatabase, format!("of the kind {scheme:?}")))
            }
            None => Err(Error::new(ErrorKind::UnsupportedDatabase, "it is no URL")),
        }
    }
}

impl EpochStore for AnyStore {
    type Transaction<'t> = AnyTransaction<'t>;
    type Watch = AnyWatch;

    async fn revoke_many(&self, revocations: &[Revocation]) -> Result<Receipt, Error> {
        each!(self, store => store.revoke_many(revocations).await)
    }

    async fn revoke_in<'t>(
        &self,
        transaction: &mut Self::Transaction<'t>,
        revocation: Revocation,
    ) -> Result<Requested<Self>, Error> {
        let id = match (self, transaction) {
            (Self::Memory(store), AnyTransaction::Memory(transaction)) => {
                store.revoke_in(transaction, revocation).await?.into_id()
            }
            #[cfg(feature = "sqlite")]
            (Self::Sqlite(store), AnyTransaction::Sqlite(transaction)) => {
                store.revoke_in(transaction, revocation).await?.into_id()
            }
            #[cfg(feature = "postgres")]
            (Self::Postgres(store), AnyTransaction::Postgres(transaction)) => {
                store.revoke_in(transaction, revocation).await?.into_id()
            }
            #[cfg(feature = "mysql")]
            (Self::MySql(store), AnyTransaction::MySql(transaction)) => {
                store.revoke_in(transaction, revocation).await?.into_id()
            }
            #[allow(unreachable_patterns, reason = "without features there is no other")]
            _ => {
                let why = "the transaction is one of another database";
                return Err(Error::new(ErrorKind::Store, why));
            }
        };
        Ok(Requested::new(self.clone(), id))
    }

    async fn seal(&self, id: &RequestId) -> Result<Receipt, Error> {
        each!(self, store => store.seal(id).await)
    }

    async fn clear(&self, scope: &Scope, audit: Audit) -> Result<Receipt, Error> {
        each!(self, store => store.clear(scope, audit).await)
    }

    async fn ticket(&self) -> Result<Ticket, Error> {
        each!(self, store => store.ticket().await)
    }

    async fn mint(&self, mint: &Mint) -> Result<Minted, Error> {
        each!(self, store => store.mint(mint).await)
    }

    async fn sessions(
        &self,
        filter: &SessionFilter,
        lifetimes: Lifetimes,
    ) -> Result<Vec<Session>, Error> {
        each!(self, store => store.sessions(filter, lifetimes).await)
    }

    async fn judged(&self, scopes: &[Scope]) -> Result<Judged, Error> {
        each!(self, store => store.judged(scopes).await)
    }

    async fn advance(&self, newest: StoreTime) -> Result<(), Error> {
        each!(self, store => store.advance(newest).await)
    }

    async fn purge(&self, lifetimes: Lifetimes) -> Result<u64, Error> {
        each!(self, store => store.purge(lifetimes).await)
    }

    async fn enlist(&self, instance: &Instance) -> Result<(), Error> {
        each!(self, store => store.enlist(instance).await)
    }

    async fn acknowledge(&self, id: &Id, applied: StoreTime) -> Result<bool, Error> {
        each!(self, store => store.acknowledge(id, applied).await)
    }

    async fn roster(&self) -> Result<Roster, Error> {
        each!(self, store => store.roster().await)
    }

    async fn dismiss(&self, silent: &[Enlisted]) -> Result<u64, Error> {
        each!(self, store => store.dismiss(silent).await)
    }

    async fn watch(&self) -> Result<AnyWatch, Error> {
        match self {
            Self::Memory(store) => store.watch().await.map(AnyWatch::Memory),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(store) => store.watch().await.map(AnyWatch::Sqlite),
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => store.watch().await.map(AnyWatch::Postgres),
            #[cfg(feature = "mysql")]
            Self::MySql(store) => store.watch().await.map(AnyWatch::MySql),
        }
    }

    fn statements(&self) -> StatementCounts {
        each!(self, store => store.statements())
    }
}

impl Watch for AnyWatch {
    async fn load(&mut self) -> Result<Changes, Error> {
        each!(self, watch => watch.load().await)
    }

    async fn poll(&mut self, cursor: StoreTime) -> Result<Changes, Error> {
        each!(self, watch => watch.poll(cursor).await)
    }

    async fn latest(&mut self, cursor: StoreTime, at_most: u32) -> Result<Latest, Error> {
        each!(self, watch => watch.latest(cursor, at_most).await)
    }

    async fn hint(&mut self) -> Result<(), Error> {
        each!(self, watch => watch.hint().await)
    }
}

impl AnyTransaction<'_> {
    /// Commits it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Store`] if the database does not.
    pub async fn commit(self) -> Result<(), Error> {
        match self {
            Self::Memory(transaction) => {
                transaction.commit();
                Ok(())
            }
            #[cfg(feature = "sqlite")]
            Self::Sqlite(transaction) => transaction.commit().await.map_err(failed),
            #[cfg(feature = "postgres")]
            Self::Postgres(transaction) => transaction.commit().await.map_err(failed),
            #[cfg(feature = "mysql")]
            Self::MySql(transaction) => transaction.commit().await.map_err(failed),
        }
    }
}

impl std::fmt::Debug for AnyTransaction<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AnyTransaction").finish_non_exhaustive()
    }
}
