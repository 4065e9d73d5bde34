//! One way to make each store and to run a transaction on it.

use std::{path::Path, time::Duration};

use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tower_revocation::{
    clock::{Clock, ManualClock},
    cutoff::{CutOff, StoreTime},
    error::{Error, ErrorKind},
    lifetimes::Lifetimes,
    scope::{Id, Scope},
    store::{
        Device, EpochStore, MemoryStore, Mint, MintFor, Minted, Presented, Requested, Revocation,
        SameDevice, SqliteStore, Ticket, Watch,
    },
};

/// When the manual clocks of these tests start.
pub const START: Duration = Duration::from_secs(1_800_000_000);

/// For how long a spent refresh token is no sign of a theft in these tests.
pub const GRACE: Duration = Duration::from_secs(10);

pub trait Harness: Sized {
    type Store: EpochStore;

    async fn new() -> Self;

    fn store(&self) -> &Self::Store;

    fn clock(&self) -> &ManualClock;

    /// Writes `revocation` in a transaction and commits it or not.
    async fn request(&self, revocation: Revocation, commit: bool) -> Requested<Self::Store>;

    async fn login(&self, user: &str, groups: &[&str]) -> (Id, Minted) {
        let sid = Id::random();
        let ticket = self.store().ticket().await.unwrap();
        let minted = self.mint(ticket, MintFor::Login, &sid, user, groups).await.unwrap();
        (sid, minted)
    }

    /// Another pair of tokens, without a refresh token.
    async fn reissue(&self, sid: &Id, user: &str, groups: &[&str]) -> Result<Minted, Error> {
        let ticket = self.store().ticket().await?;
        self.mint(ticket, MintFor::Reissue, sid, user, groups).await
    }

    /// Another pair of tokens for alice, for the refresh token with `counter`.
    async fn refresh(&self, sid: &Id, counter: u64) -> Result<Minted, Error> {
        let ticket = self.store().ticket().await?;
        let session = MintFor::Refresh { counter, grace: GRACE };
        self.mint(ticket, session, sid, "alice", &[]).await
    }

    async fn mint(
        &self,
        ticket: Ticket,
        session: MintFor,
        sid: &Id,
        user: &str,
        groups: &[&str],
    ) -> Result<Minted, Error> {
        let mint = Mint {
            ticket,
            session,
            sid: sid.clone(),
            user: Id::new(user).unwrap(),
            groups: groups.iter().map(|group| Id::new(group).unwrap()).collect(),
            device: Device::new(),
            lifetimes: Lifetimes::default(),
        };
        self.store().mint(&mint).await
    }
}

pub struct Memory {
    store: MemoryStore,
    clock: ManualClock,
}

impl Harness for Memory {
    type Store = MemoryStore;

    async fn new() -> Self {
        let (clock, hand) = Clock::manual(START);
        Self { store: MemoryStore::with_clock(clock), clock: hand }
    }

    fn store(&self) -> &MemoryStore {
        &self.store
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }

    async fn request(&self, revocation: Revocation, commit: bool) -> Requested<MemoryStore> {
        let mut transaction = self.store.begin();
        let requested = self.store.revoke_in(&mut transaction, revocation).await.unwrap();
        if commit {
            transaction.commit();
        }
        requested
    }
}

pub struct Sqlite {
    pub store: SqliteStore,
    pub directory: TempDir,
    clock: ManualClock,
}

impl Sqlite {
    pub async fn new_in(directory: TempDir) -> Self {
        let (clock, hand) = Clock::manual(START);
        let store = SqliteStore::connect(options(&directory), clock).await.unwrap();
        Self { store, directory, clock: hand }
    }

    pub fn options(&self) -> SqliteConnectOptions {
        options(&self.directory)
    }

    /// A pool of the application's own on the same file.
    pub async fn application(&self) -> SqlitePool {
        SqlitePool::connect_with(self.options()).await.unwrap()
    }
}

/// For tests of many thousand durable commits: in memory, where there is a file system in it.
pub fn fast_directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let in_memory = memory.is_dir().then(|| tempfile::tempdir_in(memory).ok()).flatten();
    in_memory.unwrap_or_else(|| tempfile::tempdir().unwrap())
}

pub fn options(directory: &TempDir) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(directory.path().join("test.db")).create_if_missing(true)
}

impl Harness for Sqlite {
    type Store = SqliteStore;

    async fn new() -> Self {
        Self::new_in(tempfile::tempdir().unwrap()).await
    }

    fn store(&self) -> &SqliteStore {
        &self.store
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }

    async fn request(&self, revocation: Revocation, commit: bool) -> Requested<SqliteStore> {
        let mut transaction = self.application().await.begin().await.unwrap();
        let requested = self.store.revoke_in(&mut transaction, revocation).await.unwrap();
        if commit {
            transaction.commit().await.unwrap();
        } else {
            transaction.rollback().await.unwrap();
        }
        requested
    }
}

/// Holds the statements of a login without a limit, a refresh, a renewal and a token without a session
/// against `counts`.
pub async fn counts_of_mints<H: Harness>(harness: &H, ticket: Ticket, counts: [u64; 4]) {
    let (groups, sid) = (["staff", "admin"], Id::random());
    let [of_login, counts @ ..] = counts;
    let before = harness.store().statements().session;
    let login = harness.mint(ticket, MintFor::Login, &sid, "alice", &groups).await.unwrap();
    assert_eq!(harness.store().statements().session - before, of_login, "login");
    let presented = Presented {
        stamp: login.stamp,
        token: Id::random(),
        groups: vec![Id::new("staff").unwrap()],
        same: SameDevice::default(),
        revoke: false,
    };
    let sessions =
        [MintFor::Refresh { counter: 0, grace: GRACE }, MintFor::Renew(presented), MintFor::Token];
    for (session, count) in sessions.into_iter().zip(counts) {
        for _ in 0..2 {
            harness.clock().advance(Duration::from_secs(1));
            let before = harness.store().statements().session;
            harness.mint(ticket, session.clone(), &sid, "alice", &groups).await.unwrap();
            let sent = harness.store().statements().session - before;
            assert_eq!(sent, count, "{session:?}");
        }
    }
}

pub fn user(sub: &str) -> Scope {
    Scope::user(sub).unwrap()
}

pub fn kind(result: Result<impl Sized, Error>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

pub async fn cut_off<H: Harness>(harness: &H, scope: &Scope) -> CutOff {
    let changes = harness.store().watch().await.unwrap().load().await.unwrap();
    changes
        .entries
        .into_iter()
        .find(|entry| entry.scope == *scope)
        .map_or(CutOff::NONE, |entry| entry.cut_off)
}

pub async fn newest<H: Harness>(harness: &H) -> StoreTime {
    harness.store().watch().await.unwrap().load().await.unwrap().head
}
