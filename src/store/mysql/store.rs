//! The store: its connections, and the operations of the contract.

use std::{sync::Arc, time::Duration};

use sqlx::{
    AssertSqlSafe, Executor, MySql, MySqlConnection, MySqlPool, Transaction,
    pool::{PoolConnection, PoolOptions},
    raw_sql,
};
use tokio::{sync::watch, time::timeout};

use super::{
    MySqlOptions, MySqlWatch, fleet, judge,
    options::SESSION,
    row::{flag, store_time},
    schema, session,
    tables::{Lock, MySqlTables},
};
use crate::{
    cutoff::StoreTime,
    error::Error,
    lifetimes::Lifetimes,
    scope::{Id, Scope},
    store::{
        EpochStore, Judged, Mint, MintFor, Minted, RequestId, Requested, Revocation, Session,
        SessionFilter,
        limits::{SESSION_WAIT, SYNC_WAIT, in_a_task, in_time, late, limit, limited, not_acquired},
        operations,
        sql::failed,
        statements::{Path, Statements},
        tables::ClockRow,
        writer::{self, Changing, Done, Outcome, Writer},
    },
};

/// Revocations and sessions in MySQL 8.0.16 or MariaDB 10.6, or later.
///
/// A handle, cheap to clone. Every instance of a fleet has one, on the same database: the
/// **primary**. A server that is `read_only` is taken for a replica, and proves no freshness: its
/// instances answer 503. A replica that is writable is taken for a primary, and nothing can tell
/// that it is behind.
///
/// A revocation is as durable as the server's commits are: that takes
/// `innodb_flush_log_at_trx_commit = 1` and, with the binary log, `sync_binlog = 1`. The binary log
/// has to be in the format `ROW` or `MIXED`.
///
/// ```no_run
/// # use tower_revocation::{Demand, Scope, store::{EpochStore, MySqlStore, Revocation}};
/// # async fn open() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MySqlStore::open("mysql://service@db.example/app").await?;
/// let receipt = store.revoke(Revocation::new(Scope::user("alice")?, Demand::Login)).await?;
/// println!("every token of alice up to {} is dead", receipt.revoked_before());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MySqlStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: MySqlOptions,
    pool: MySqlPool,
    statements: Arc<Statements>,
    /// Tells the sync of this process at once; it sees those of others when it polls.
    revoked: watch::Sender<()>,
}

impl MySqlStore {
    /// Opens the database at `url`, `mysql://user:password@host:port/database`, and makes the
    /// tables if they are missing.
    ///
    /// # Errors
    ///
    /// As [`connect`](MySqlStore::connect), and [`ErrorKind::Store`](crate::error::ErrorKind::Store)
    /// if the URL cannot be read.
    pub async fn open(url: &str) -> Result<Self, Error> {
        Self::connect(MySqlOptions::new(url.parse().map_err(failed)?)).await
    }

    /// Opens a database.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Store`](crate::error::ErrorKind::Store) if it cannot be reached,
    /// [`ErrorKind::StoreTimeout`](crate::error::ErrorKind::StoreTimeout) if it does not answer
    /// within 5 seconds, [`ErrorKind::Schema`](crate::error::ErrorKind::Schema) if its tables are
    /// another version's or damaged.
    pub async fn connect(options: MySqlOptions) -> Result<Self, Error> {
        let mut first = options.open().await?;
        timeout(SYNC_WAIT, schema::prepare(&mut first)).await.map_err(late)??;
        let pool = limited(PoolOptions::new(), options.connections)
            .after_connect(|connection: &mut MySqlConnection, _| {
                Box::pin(async move { connection.execute(SESSION).await.map(drop) })
            })
            .connect_lazy_with(options.connect.clone());
        let (statements, revoked) = (Arc::default(), watch::Sender::new(()));
        Ok(Self { shared: Arc::new(Shared { options, pool, statements, revoked }) })
    }

    /// Locks the clock row, seals what is pending, runs `change`, commits: see [`writer::write`].
    ///
    /// It all happens in a task of its own, so that it completes when a client goes away half-way.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        path: Path,
        mut change: impl for<'w> FnOnce(&'w mut Writer<MySqlTables>) -> Changing<'w, T> + Send + 'static,
    ) -> Result<T, Error> {
        let store = self.clone();
        in_a_task(limit(path), async move {
            loop {
                let (tables, clock) = store.begin(path, Lock::Exclusive).await?;
                let Done { connection, outcome, revoked } =
                    writer::write(tables, clock, change).await?;
                drop(connection);
                if revoked.is_some() {
                    store.shared.revoked.send_replace(());
                }
                match outcome {
                    Outcome::Answer(answer) => return answer,
                    Outcome::Unmade(unmade) => change = unmade,
                }
            }
        })
        .await
    }

    /// Mints under a lock that others share who do the same, if that can decide.
    async fn mint_beside(&self, mint: &Mint) -> Result<Option<Minted>, Error> {
        let (store, mint) = (self.clone(), mint.clone());
        in_a_task(SESSION_WAIT, async move {
            let (tables, clock) = store.begin(Path::Session, Lock::Shared).await?;
            writer::mint_beside(tables, clock, &mint).await
        })
        .await
    }

    async fn begin(&self, path: Path, lock: Lock) -> Result<(MySqlTables, ClockRow), Error> {
        let (connection, statements) = (self.connection().await?, self.shared.statements.clone());
        MySqlTables::begin(connection, statements, path, lock, self.given_time()).await
    }

    /// `newest`, and whether requests are pending.
    async fn newest(&self) -> Result<(StoreTime, bool), Error> {
        let mut connection = self.connection().await?;
        self.count(Path::Session);
        let asked = raw_sql(
            "SELECT newest, EXISTS (SELECT 1 FROM revocation_requests WHERE revoked_before IS NULL) \
             FROM revocation_clock",
        )
        .fetch_one(&mut *connection);
        let row = in_time(SESSION_WAIT, asked).await.inspect_err(|_| connection.close_on_drop())?;
        Ok((store_time(&row, 0)?, flag(&row, 1)?))
    }

    /// What is held against the tokens in `scopes`, and whether requests are pending.
    async fn judgement(&self, path: Path, scopes: &[Scope]) -> Result<(Judged, bool), Error> {
        // Not in a task of its own: who does not wait any more gives the connection up, and a
        // database that hangs holds no more of them than there are questions.
        let mut asking = Asking::begin(self, path).await?;
        let asked = judge::read(scopes, self.given_time(), &mut asking.connection);
        let judgement = timeout(limit(path), asked).await.map_err(late)??;
        asking.answered = true;
        Ok(judgement)
    }

    async fn connection(&self) -> Result<PoolConnection<MySql>, Error> {
        self.shared.pool.acquire().await.map_err(not_acquired)
    }

    /// The time, where it is not the database's to tell.
    pub(super) fn given_time(&self) -> Option<Duration> {
        self.shared.options.given_time()
    }

    pub(super) fn options(&self) -> &MySqlOptions {
        &self.shared.options
    }

    pub(super) fn count(&self, path: Path) {
        self.shared.statements.count(path);
    }
}

impl EpochStore for MySqlStore {
    type Transaction<'t> = Transaction<'t, MySql>;
    type Watch = MySqlWatch;

    operations::by_the_writer!();

    async fn revoke_in<'t>(
        &self,
        transaction: &mut Self::Transaction<'t>,
        revocation: Revocation,
    ) -> Result<Requested<Self>, Error> {
        let id = RequestId(Id::random());
        self.count(Path::Session);
        // The connection is the application's. A prepared statement of ours would stay on it, or be
        // closed by a message that the server does not answer, and behind that the application's
        // next one, its COMMIT, waits 40 ms: the one is not acknowledged before, and the other not
        // sent (delayed acknowledgement, Nagle). As bytes: what the connection takes texts for is
        // not to matter.
        let spared = revocation.spared.as_ref();
        let insert = format!(
            "INSERT INTO revocation_requests (id, scope, subject, demand, spared) \
             VALUES ({}, {}, {}, {}, {})",
            bytes(id.0.as_str()),
            bytes(revocation.scope.kind().as_str()),
            bytes(revocation.scope.subject()),
            bytes(revocation.demand.as_str()),
            spared.map_or_else(|| "NULL".to_owned(), |sid| bytes(sid.as_str())),
        );
        raw_sql(AssertSqlSafe(insert)).execute(&mut **transaction).await.map_err(failed)?;
        Ok(Requested::new(self.clone(), id))
    }

    async fn mint(&self, mint: &Mint) -> Result<Minted, Error> {
        let minted = match mint.session {
            MintFor::Token => {
                let (judged, pending) = self.judgement(Path::Session, &mint.scopes()).await?;
                writer::mint_apart(mint, judged, pending)
            }
            MintFor::LoginWithin(_) => None,
            _ if mint.revocation().is_some() => None,
            _ => self.mint_beside(mint).await?,
        };
        if let Some(minted) = minted {
            return Ok(minted);
        }
        let mint = mint.clone();
        self.write(Path::Session, |writer| Box::pin(async move { writer.mint(&mint).await })).await
    }

    async fn sessions(
        &self,
        filter: &SessionFilter,
        lifetimes: Lifetimes,
    ) -> Result<Vec<Session>, Error> {
        let (_, pending) = self.newest().await?;
        if pending {
            self.write(Path::Session, |_| Box::pin(async { Ok(()) })).await?;
        }
        let (store, filter) = (self.clone(), filter.clone());
        in_a_task(SESSION_WAIT, async move {
            let mut connection = store.connection().await?;
            store.count(Path::Session);
            session::list(&filter, lifetimes, store.given_time(), &mut connection).await
        })
        .await
    }

    async fn watch(&self) -> Result<MySqlWatch, Error> {
        MySqlWatch::open(self.clone(), self.shared.revoked.subscribe()).await
    }
}

/// A connection that is closed when it is dropped before it was answered: nobody knows what is still
/// to come on it.
pub(super) struct Asking {
    pub(super) connection: PoolConnection<MySql>,
    pub(super) answered: bool,
}

impl Asking {
    pub(super) async fn begin(store: &MySqlStore, path: Path) -> Result<Self, Error> {
        let connection = store.connection().await?;
        store.count(path);
        Ok(Self { connection, answered: false })
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if !self.answered {
            self.connection.close_on_drop();
        }
    }
}

/// `text` in SQL, as a literal of its bytes.
fn bytes(text: &str) -> String {
    let digits: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("X'{digits}'")
}
