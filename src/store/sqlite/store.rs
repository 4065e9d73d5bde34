//! The store: its one writer, and the operations of the contract.

use std::{path::Path as FilePath, sync::Arc, time::Duration};

use sqlx::{
    ConnectOptions, Row, Sqlite, SqliteConnection, Transaction, query,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tokio::{
    sync::{Mutex, MutexGuard, watch},
    time::timeout,
};

use super::{
    SqliteWatch,
    file::OpenFile,
    fleet, judge,
    renewal::Renewal,
    row::store_time,
    schema,
    session::{self, Refresh},
    tables::SqliteTables,
};
use crate::{
    clock::Clock,
    cutoff::StoreTime,
    error::{Error, ErrorKind},
    lifetimes::Lifetimes,
    scope::{Id, Scope},
    store::{
        EpochStore, Judged, Mint, MintFor, Minted, RequestId, Requested, Revocation, Session,
        SessionFilter, operations,
        sql::failed,
        statements::{Path, Statements},
        writer::{self, Changing, Done, Outcome, Writer},
    },
};

/// How long a writer waits for another process's, and for its turn in this one.
const WRITE_WAIT: Duration = Duration::from_secs(5);

/// Revocations and sessions in a SQLite file.
///
/// A handle, cheap to clone. Several processes may share the file; it must be on a local disk.
///
/// ```
/// # use tower_revocation::{Demand, Scope, store::{EpochStore, Revocation, SqliteStore}};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("revocations.db");
/// let store = SqliteStore::open(&path).await?;
/// let receipt = store.revoke(Revocation::new(Scope::user("alice")?, Demand::Login)).await?;
/// println!("every token of alice up to {} is dead", receipt.revoked_before());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SqliteStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: SqliteConnectOptions,
    /// The one connection that writes: writers of one process queue up here, in order, rather
    /// than wake each other in SQLite's busy handler. It is taken out for a transaction, and put
    /// back if that went well: after an error nobody knows what state it is in.
    writer: Mutex<Option<Connected>>,
    clock: Clock,
    statements: Arc<Statements>,
    /// Tells the sync of this process at once; it learns of others by looking.
    revoked: watch::Sender<()>,
}

impl SqliteStore {
    /// Opens the file at `path`, and makes it if it is not there.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Store`] if it cannot be opened, [`ErrorKind::Schema`] if its tables are
    /// another version's or damaged, [`ErrorKind::SqliteVersion`] if the library is too old.
    pub async fn open(path: impl AsRef<FilePath>) -> Result<Self, Error> {
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
        Self::connect(options, Clock::system()).await
    }

    /// Opens a database with options of the caller's and a clock of its own.
    ///
    /// Journal mode and durability are set by the store: `WAL` and `FULL`.
    ///
    /// # Errors
    ///
    /// See [`open`](SqliteStore::open). A database in memory is refused: its connections would
    /// not share it.
    pub async fn connect(options: SqliteConnectOptions, clock: Clock) -> Result<Self, Error> {
        // A process may change its directory, and the file is looked for again and again.
        let path = std::path::absolute(options.get_filename())
            .map_err(|cause| Error::new(ErrorKind::Store, cause))?;
        let options = options
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(WRITE_WAIT);
        schema::prepare(&mut connect_patiently(&options).await?).await?;
        let writer = Mutex::new(Some(Connected::open(&options).await?));
        let (statements, revoked) = (Arc::default(), watch::Sender::new(()));
        Ok(Self { shared: Arc::new(Shared { options, writer, clock, statements, revoked }) })
    }

    /// Takes the write lock, seals what is pending, runs `change`, commits: see [`writer::write`].
    ///
    /// It all happens in a task of its own, so that it completes when a client goes away half-way.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        path: Path,
        mut change: impl for<'w> FnOnce(&'w mut Writer<SqliteTables>) -> Changing<'w, T>
        + Send
        + 'static,
    ) -> Result<T, Error> {
        let shared = self.shared.clone();
        let task = tokio::spawn(async move {
            let mut slot = shared.turn().await?;
            loop {
                let connected = shared.connected(&mut slot).await?;
                let statements = shared.statements.clone();
                let (tables, clock) =
                    SqliteTables::begin(connected, statements, path, shared.clock.clone()).await?;
                let Done { connection, outcome, revoked } =
                    writer::write(tables, clock, change).await?;
                *slot = Some(connection);
                if revoked.is_some() {
                    shared.revoked.send_replace(());
                }
                match outcome {
                    Outcome::Answer(answer) => return answer,
                    Outcome::Unmade(unmade) => change = unmade,
                }
            }
        });
        task.await.map_err(|cause| Error::new(ErrorKind::TaskEnded, cause))?
    }

    /// Mints by one statement, which is its own transaction, if that can decide.
    ///
    /// In a task of its own, like [`write`](SqliteStore::write).
    async fn at_once(&self, one: OneStatement) -> Result<Option<Minted>, Error> {
        let shared = self.shared.clone();
        let task = tokio::spawn(async move {
            let mut slot = shared.turn().await?;
            let mut connected = shared.connected(&mut slot).await?;
            shared.statements.count(Path::Session);
            let now = shared.clock.now().wall;
            let connection = &mut connected.connection;
            let minted = match one {
                OneStatement::Refresh(refresh) => refresh.at_once(connection, now).await?,
                OneStatement::Renewal(renewal) => renewal.at_once(connection, now).await?,
            };
            connected.file.check()?;
            *slot = Some(connected);
            Ok(minted)
        });
        task.await.map_err(|cause| Error::new(ErrorKind::TaskEnded, cause))?
    }

    /// `newest`, and whether requests are pending.
    async fn newest(&self) -> Result<(StoreTime, bool), Error> {
        let mut turn = self.turn(Path::Session).await?;
        let row = query(
            "SELECT newest, EXISTS (SELECT 1 FROM revocation_requests \
             WHERE revoked_before IS NULL) FROM revocation_clock",
        )
        .fetch_one(turn.run())
        .await
        .map_err(failed)?;
        turn.end()?;
        Ok((store_time(&row, 0)?, row.try_get(1).map_err(failed)?))
    }

    /// The living sessions that `filter` asks for, without the write lock: whoever holds that for
    /// long keeps no reader waiting.
    async fn listed(
        &self,
        filter: &SessionFilter,
        lifetimes: Lifetimes,
    ) -> Result<Vec<Session>, Error> {
        let mut turn = self.turn(Path::Session).await?;
        let now = self.shared.clock.now().wall;
        let sessions = session::list(filter, lifetimes, now, turn.run()).await?;
        turn.end()?;
        Ok(sessions)
    }

    /// What the cut-offs of `scopes` say, and whether requests are pending. Without the write lock.
    async fn judgement(&self, path: Path, scopes: &[Scope]) -> Result<(Judged, bool), Error> {
        let mut turn = self.turn(path).await?;
        let now = self.shared.clock.now().wall;
        let judgement = judge::read(scopes, now, turn.run()).await?;
        turn.end()?;
        Ok(judgement)
    }

    /// The connection that writes, for one statement, which is counted.
    pub(super) async fn turn(&self, path: Path) -> Result<Turn<'_>, Error> {
        let mut slot = self.shared.turn().await?;
        let connected = self.shared.connected(&mut slot).await?;
        self.shared.statements.count(path);
        Ok(Turn { slot, connected })
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    pub(super) fn count(&self, path: Path) {
        self.shared.statements.count(path);
    }
}

impl Shared {
    /// Waits for the writers before us.
    async fn turn(&self) -> Result<MutexGuard<'_, Option<Connected>>, Error> {
        let timed_out = |elapsed| Error::new(ErrorKind::StoreTimeout, elapsed);
        timeout(WRITE_WAIT, self.writer.lock()).await.map_err(timed_out)
    }

    /// The connection of before, if it is still on the database's file, or else a new one.
    async fn connected(&self, slot: &mut Option<Connected>) -> Result<Connected, Error> {
        match slot.take() {
            Some(connected) if connected.file.check().is_ok() => Ok(connected),
            _ => Connected::open(&self.options).await,
        }
    }
}

/// What is done by one statement.
enum OneStatement {
    Refresh(Refresh),
    Renewal(Renewal),
}

/// The connection that writes, taken out of its place. If this is dropped before its
/// [end](Turn::end), so is the connection: nobody knows what state that is in.
pub(super) struct Turn<'s> {
    slot: MutexGuard<'s, Option<Connected>>,
    connected: Connected,
}

impl Turn<'_> {
    pub(super) fn run(&mut self) -> &mut SqliteConnection {
        &mut self.connected.connection
    }

    /// It went well, if this was the database's file.
    pub(super) fn end(mut self) -> Result<(), Error> {
        self.connected.file.check()?;
        *self.slot = Some(self.connected);
        Ok(())
    }
}

/// A connection, and the file that it is on.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) connection: SqliteConnection,
    pub(super) file: OpenFile,
}

impl Connected {
    /// The file is there already.
    async fn open(options: &SqliteConnectOptions) -> Result<Self, Error> {
        let file = OpenFile::at(options.get_filename())?;
        let connection = connect_patiently(options).await?;
        file.check()?;
        Ok(Self { connection, file })
    }
}

/// Connects, and asks again while the file is busy: the switch to a write-ahead log, when several
/// processes make the file at once, does not wait for its lock as everything else does.
async fn connect_patiently(options: &SqliteConnectOptions) -> Result<SqliteConnection, Error> {
    /// The last byte of its code; the others tell what it is busy with.
    const SQLITE_BUSY: u32 = 5;
    let is_busy = |code: &str| code.parse().is_ok_and(|code: u32| code & 0xff == SQLITE_BUSY);
    let attempts = async {
        loop {
            match options.connect().await {
                Err(sqlx::Error::Database(busy))
                    if busy.code().is_some_and(|code| is_busy(&code)) =>
                {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                done => return done.map_err(failed),
            }
        }
    };
    let timed_out = |elapsed| Error::new(ErrorKind::StoreTimeout, elapsed);
    timeout(WRITE_WAIT, attempts).await.map_err(timed_out)?
}

impl EpochStore for SqliteStore {
    type Transaction<'t> = Transaction<'t, Sqlite>;
    type Watch = SqliteWatch;

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
             VALUES (?, ?, ?, ?, ?)",
        )
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
        let minted = match mint.session.clone() {
            MintFor::Refresh { counter, grace } => {
                let refresh = Refresh { mint: mint.clone(), counter, grace };
                self.at_once(OneStatement::Refresh(refresh)).await?
            }
            MintFor::Renew(presented) if mint.revocation().is_none() => {
                let renewal = Renewal { mint: mint.clone(), presented };
                self.at_once(OneStatement::Renewal(renewal)).await?
            }
            MintFor::Token => {
                let (judged, pending) = self.judgement(Path::Session, &mint.scopes()).await?;
                writer::mint_apart(mint, judged, pending)
            }
            _ => None,
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
        self.listed(filter, lifetimes).await
    }

    async fn watch(&self) -> Result<SqliteWatch, Error> {
        let connected = Connected::open(&self.shared.options).await?;
        Ok(SqliteWatch::new(self.clone(), connected, self.shared.revoked.subscribe()))
    }
}
