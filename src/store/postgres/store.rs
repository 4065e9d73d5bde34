//! The store: its connections, and the operations of the contract.

use std::{sync::Arc, time::Duration};

use sqlx::{
    AssertSqlSafe, ConnectOptions, PgConnection, PgPool, Postgres, Transaction,
    pool::{PoolConnection, PoolOptions},
    query, raw_sql,
};
use tokio::{sync::watch, time::timeout};

use super::{
    CHANNEL, PostgresOptions, PostgresWatch, fleet, judge, renewal,
    row::{get, store_time},
    schema, session,
    tables::PostgresTables,
};
use crate::{
    cutoff::StoreTime,
    error::Error,
    lifetimes::Lifetimes,
    scope::{Id, Scope},
    store::{
        EpochStore, Judged, Mint, MintFor, Minted, RequestId, Requested, Revocation, Session,
        SessionFilter,
        limits::{
            CONNECT_WAIT, SERVER_WAIT, SESSION_WAIT, SYNC_WAIT, in_a_task, in_time, late, limit,
            limited, not_acquired,
        },
        operations,
        sql::failed,
        statements::{Path, Statements},
        writer::{self, Changing, Done, Outcome, Writer},
    },
    telemetry,
};

/// Revocations and sessions in PostgreSQL.
///
/// A handle, cheap to clone. Every instance of a fleet has one, on the same database.
///
/// ```no_run
/// # use tower_revocation::{Demand, Scope, store::{EpochStore, PostgresStore, Revocation}};
/// # async fn open() -> Result<(), Box<dyn std::error::Error>> {
/// let store = PostgresStore::open("postgres://service@db.example/app").await?;
/// let receipt = store.revoke(Revocation::new(Scope::user("alice")?, Demand::Login)).await?;
/// println!("every token of alice up to {} is dead", receipt.revoked_before());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PostgresStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: PostgresOptions,
    pool: PgPool,
    statements: Arc<Statements>,
    /// Tells the sync of this process at once; it hears of others by announcements.
    revoked: watch::Sender<()>,
}

impl PostgresStore {
    /// Opens the database at `url`, `postgres://user:password@host:port/database`, and makes the
    /// tables if they are missing.
    ///
    /// # Errors
    ///
    /// As [`connect`](PostgresStore::connect), and
    /// [`ErrorKind::Store`](crate::error::ErrorKind::Store) if the URL cannot be read.
    pub async fn open(url: &str) -> Result<Self, Error> {
        Self::connect(PostgresOptions::new(url.parse().map_err(failed)?)).await
    }

    /// Opens a database.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Store`](crate::error::ErrorKind::Store) if it cannot be reached,
    /// [`ErrorKind::StoreTimeout`](crate::error::ErrorKind::StoreTimeout) if it does not answer
    /// within 5 seconds, [`ErrorKind::Schema`](crate::error::ErrorKind::Schema) if its tables are
    /// another version's or damaged.
    pub async fn connect(options: PostgresOptions) -> Result<Self, Error> {
        let mut first = in_time(CONNECT_WAIT, options.connect.connect()).await?;
        timeout(SYNC_WAIT, schema::prepare(&mut first, options.pooler)).await.map_err(late)??;
        let pool = limited(PoolOptions::new(), options.connections)
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
        mut change: impl for<'w> FnOnce(&'w mut Writer<PostgresTables>) -> Changing<'w, T>
        + Send
        + 'static,
    ) -> Result<T, Error> {
        let store = self.clone();
        in_a_task(limit(path), async move {
            loop {
                let connection = store.connection().await?;
                let statements = store.shared.statements.clone();
                let (persistent, now) = (!store.shared.options.pooler, store.given_time());
                let (tables, clock) =
                    PostgresTables::begin(connection, statements, path, persistent, now).await?;
                let Done { connection, outcome, revoked } =
                    writer::write(tables, clock, change).await?;
                if let Some(newest) = revoked {
                    store.announce(newest, path, connection);
                }
                match outcome {
                    Outcome::Answer(answer) => return answer,
                    Outcome::Unmade(unmade) => change = unmade,
                }
            }
        })
        .await
    }

    /// Tells everybody that there is a revocation: this process at once, others by `NOTIFY`, which
    /// nobody waits for.
    fn announce(&self, newest: StoreTime, path: Path, mut connection: PoolConnection<Postgres>) {
        self.shared.revoked.send_replace(());
        if cfg!(plant = "notify_in_transaction") {
            return;
        }
        let store = self.clone();
        tokio::spawn(async move {
            store.count(path);
            let notify = AssertSqlSafe(format!("NOTIFY {CHANNEL}, '{newest}'"));
            let sent = in_time(SESSION_WAIT, raw_sql(notify).execute(&mut *connection)).await;
            if let Err(error) = sent {
                connection.close_on_drop();
                telemetry::announcement_failed(&error);
            }
        });
    }

    /// Mints by one statement, which is its own transaction, if that can decide.
    async fn at_once(&self, mint: &Mint) -> Result<Option<Minted>, Error> {
        let (store, mint) = (self.clone(), mint.clone());
        in_a_task(SESSION_WAIT, async move {
            let mut connection = Whole::begin(&store, Path::Session).await?;
            let (persistent, now) = (!store.shared.options.pooler, store.given_time());
            let run = connection.run();
            let minted = match &mint.session {
                MintFor::Renew(presented) => {
                    renewal::at_once(&mint, presented, now, persistent, run).await?
                }
                MintFor::Refresh { counter, grace } => {
                    let refresh = Some((*counter, *grace));
                    session::at_once(&mint, refresh, now, persistent, run).await?
                }
                _ => session::at_once(&mint, None, now, persistent, run).await?,
            };
            connection.end().await?;
            Ok(minted)
        })
        .await
    }

    /// `newest`, and whether requests are pending.
    async fn newest(&self) -> Result<(StoreTime, bool), Error> {
        let mut connection = self.connection().await?;
        self.count(Path::Session);
        // As a simple query, which needs nothing prepared.
        let asked = raw_sql(
            "SELECT newest, EXISTS (SELECT FROM revocation_requests WHERE revoked_before IS NULL) \
             FROM revocation_clock",
        )
        .fetch_one(&mut *connection);
        let row = in_time(SESSION_WAIT, asked).await.inspect_err(|_| connection.close_on_drop())?;
        Ok((store_time(&row, 0)?, get(&row, 1)?))
    }

    /// What is held against the tokens in `scopes`, and whether requests are pending.
    async fn judgement(&self, path: Path, scopes: &[Scope]) -> Result<(Judged, bool), Error> {
        // Not in a task of its own: who does not wait any more gives the connection up, and a
        // database that hangs holds no more of them than there are questions.
        let judgement = async {
            let mut connection = Whole::begin(self, path).await?;
            let (persistent, now) = (!self.shared.options.pooler, self.given_time());
            let judgement = judge::read(scopes, now, persistent, connection.run()).await?;
            connection.end().await?;
            Ok(judgement)
        };
        timeout(limit(path), judgement).await.map_err(late)?
    }

    async fn connection(&self) -> Result<PoolConnection<Postgres>, Error> {
        self.shared.pool.acquire().await.map_err(not_acquired)
    }

    /// The time, where it is not the database's to tell.
    pub(super) fn given_time(&self) -> Option<Duration> {
        self.shared.options.clock.as_ref().map(|clock| clock.now().wall)
    }

    pub(super) fn options(&self) -> &PostgresOptions {
        &self.shared.options
    }

    pub(super) fn count(&self, path: Path) {
        self.shared.statements.count(path);
    }
}

/// A connection for one statement, and what comes with it behind a pooler: there a transaction
/// keeps what is parsed and what is run on one connection of the server.
pub(super) struct Whole {
    connection: PoolConnection<Postgres>,
    pooler: bool,
    ended: bool,
}

impl Whole {
    pub(super) async fn begin(store: &PostgresStore, path: Path) -> Result<Self, Error> {
        let pooler = store.shared.options.pooler;
        let mut whole = Self { connection: store.connection().await?, pooler, ended: false };
        store.count(path);
        if pooler {
            store.count(path);
            let wait = SERVER_WAIT.as_millis();
            // Whoever falls silent behind this holds no row for longer.
            let begin = format!(
                "BEGIN; SET LOCAL lock_timeout = {wait}; \
                 SET LOCAL idle_in_transaction_session_timeout = {wait}"
            );
            raw_sql(AssertSqlSafe(begin)).execute(whole.run()).await.map_err(failed)?;
        }
        Ok(whole)
    }

    pub(super) fn run(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    pub(super) async fn end(mut self) -> Result<(), Error> {
        if self.pooler {
            raw_sql("COMMIT").execute(self.run()).await.map_err(failed)?;
        }
        self.ended = true;
        Ok(())
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        if !self.ended {
            // After an error nobody knows what state it is in.
            self.connection.close_on_drop();
        }
    }
}

impl EpochStore for PostgresStore {
    type Transaction<'t> = Transaction<'t, Postgres>;
    type Watch = PostgresWatch;

    operations::by_the_writer!();

    async fn revoke_in<'t>(
        &self,
        transaction: &mut Self::Transaction<'t>,
        revocation: Revocation,
    ) -> Result<Requested<Self>, Error> {
        let id = RequestId(Id::random());
        self.count(Path::Session);
        query(
            "INSERT INTO revocation_requests (id, scope, subject, demand, spared) \
             VALUES ($1, $2, $3, $4, $5)",
        )
        // The connection is the application's: nothing of ours stays on it.
        .persistent(false)
        .bind(id.0.as_str())
        .bind(revocation.scope.kind().as_str())
        .bind(revocation.scope.subject())
        .bind(revocation.demand.as_str())
        .bind(revocation.spared.as_ref().map(Id::as_str))
        .execute(&mut **transaction)
        .await
        .map_err(failed)?;
        Ok(Requested::new(self.clone(), id))
    }

    async fn mint(&self, mint: &Mint) -> Result<Minted, Error> {
        let minted = match mint.session {
            MintFor::Login | MintFor::Refresh { .. } => self.at_once(mint).await?,
            MintFor::Renew(_) if mint.revocation().is_none() => self.at_once(mint).await?,
            MintFor::Token => {
                let (judged, pending) = self.judgement(Path::Session, &mint.scopes()).await?;
                writer::mint_apart(mint, judged, pending)
            }
            MintFor::LoginWithin(_) | MintFor::Renew(_) | MintFor::Reissue => None,
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
            let mut connection = Whole::begin(&store, Path::Session).await?;
            let (persistent, now) = (!store.shared.options.pooler, store.given_time());
            let sessions =
                session::list(&filter, lifetimes, now, persistent, connection.run()).await?;
            connection.end().await?;
            Ok(sessions)
        })
        .await
    }

    async fn watch(&self) -> Result<PostgresWatch, Error> {
        PostgresWatch::open(self.clone(), self.shared.revoked.subscribe()).await
    }
}
