//! Both stores live through the same random histories and must answer alike, step by step.
//!
//! SQLite decides a refresh in one statement; the store in memory decides by the plain code that
//! SQLite falls back to. Histories are aimed at the limits where two spellings of one decision
//! part: the last microsecond of a grace time or a life, a counter that was made void, a group
//! that is new, a ticket from ahead.

use std::{fmt::Debug, time::Duration};

use proptest::prelude::*;
use sqlx::{SqlitePool, sqlite::SqlitePoolOptions};
use tempfile::TempDir;
use tower_revocation::{
    Demand,
    clock::{Clock, ManualClock},
    cutoff::{CutOff, Receipt, StoreTime},
    error::{Error, ErrorKind},
    lifetimes::Lifetimes,
    scope::{Id, Scope},
    store::{
        Audit, Changes, Device, Entry, EpochStore, MemoryStore, MemoryWatch, Mint, MintFor, Minted,
        Requested, Revocation, Session, SessionFilter, SqliteStore, SqliteWatch, Ticket, Watch,
    },
};

use crate::harness::{GRACE, START, fast_directory, options};

const TICK: Duration = Duration::from_micros(1);

/// A second longer than the other, as when a fleet is being reconfigured.
const LONGER_GRACE: Duration = Duration::from_secs(11);

/// How many moments of spending a store keeps.
const REMEMBERED: u64 = 100;

/// Of access tokens 20 seconds, of sessions 100, of which `idle` may pass without a refresh.
fn lifetimes(idle: u64) -> Lifetimes {
    let seconds = Duration::from_secs;
    Lifetimes::new(seconds(20), seconds(100), seconds(1)).unwrap().with_idle(seconds(idle)).unwrap()
}

// ---- histories ----

#[derive(Clone, Debug)]
enum Operation {
    Login {
        slot: usize,
        user: usize,
        groups: usize,
        ticket: Asked,
    },
    Refresh {
        slot: usize,
        counter: i64,
        grace: Duration,
        at: At,
        who: Who,
    },
    /// More refreshes within one grace time than are remembered, then two that are at the limit.
    Burst {
        slot: usize,
    },
    Reissue {
        slot: usize,
        at: At,
        who: Who,
    },
    Revoke(Vec<Asks>),
    Request {
        asks: Asks,
        committed: bool,
        sealed: bool,
    },
    /// Asks for the receipt of a request that was left pending.
    Seal,
    Clear(Over),
    Clock(At),
    Purge,
    Sessions(Filter),
    Load,
    Poll,
    /// Raises `newest` by so much.
    Advance(u64),
}

/// Which ticket a mint is asked with.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Fresh,
    /// The highest known to a copy in memory, so many revocations ago.
    Old(usize),
    Ahead(u64),
}

/// As whom a session goes on.
#[derive(Clone, Copy, Debug)]
struct Who {
    ticket: Asked,
    groups: usize,
    stranger: bool,
}

/// Where the clock is set to.
#[derive(Clone, Copy, Debug)]
enum At {
    Now,
    Later(Duration),
    /// So many ticks around the end of a limit of the session.
    Around {
        slot: usize,
        limit: Limit,
        ticks: u32,
    },
}

#[derive(Clone, Copy, Debug)]
enum Limit {
    /// The grace time of the counter that is this far from the current one.
    Grace(i64),
    Idle,
    Life,
    /// Until cut-offs of now are purged: those that demand a refresh, and those for a login.
    Reissues,
    Logins,
}

#[derive(Clone, Copy, Debug)]
struct Asks {
    over: Over,
    demand: Demand,
    sparing: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
enum Over {
    Everyone,
    User(usize),
    Group(usize),
    Session(usize),
    Token,
}

#[derive(Clone, Copy, Debug)]
enum Filter {
    Session(usize),
    User(usize),
    /// Refreshed within so many ticks less or more than since the session's last refresh.
    Around {
        slot: usize,
        ticks: u32,
    },
}

const SLOTS: usize = 3;
const USERS: [&str; 2] = ["alice", "bob"];
const GROUPS: [&[&str]; 4] = [&[], &["staff"], &["admins"], &["admins", "staff"]];

fn slot() -> impl Strategy<Value = usize> {
    0..SLOTS
}

fn asked() -> impl Strategy<Value = Asked> {
    prop_oneof![
        8 => Just(Asked::Fresh),
        3 => (0..4_usize).prop_map(Asked::Old),
        1 => (1..=2_u64).prop_map(Asked::Ahead),
    ]
}

fn who() -> impl Strategy<Value = Who> {
    (asked(), 0..GROUPS.len(), prop::bool::weighted(0.05))
        .prop_map(|(ticket, groups, stranger)| Who { ticket, groups, stranger })
}

fn limit() -> impl Strategy<Value = Limit> {
    prop_oneof![
        6 => (-4..0_i64).prop_map(Limit::Grace),
        2 => Just(Limit::Idle),
        1 => Just(Limit::Life),
        1 => Just(Limit::Reissues),
        1 => Just(Limit::Logins),
    ]
}

/// Mostly about `slot`, so that the limit is that of the session which is asked for.
fn at(slot: usize) -> impl Strategy<Value = At> {
    let later = prop_oneof![Just(TICK), Just(TICK * 1_000_000), Just(GRACE / 2), Just(GRACE)];
    prop_oneof![
        5 => Just(At::Now),
        3 => later.prop_map(At::Later),
        4 => (limit(), 0..3_u32).prop_map(move |(limit, ticks)| At::Around { slot, limit, ticks }),
    ]
}

fn refresh() -> impl Strategy<Value = Operation> {
    let counter = prop_oneof![
        8 => Just(0), 3 => Just(-1), 3 => Just(-2), 2 => Just(-3), 1 => Just(-4), 1 => 1..=2_i64
    ];
    let grace = prop_oneof![8 => Just(GRACE), 1 => Just(LONGER_GRACE), 1 => Just(Duration::ZERO)];
    slot().prop_flat_map(move |slot| {
        // A token that is presented at the end of its own grace time.
        let on_time = (-4..-1_i64, 0..3_u32, who()).prop_map(move |(counter, ticks, who)| {
            let at = At::Around { slot, limit: Limit::Grace(counter), ticks };
            Operation::Refresh { slot, counter, grace: GRACE, at, who }
        });
        let any = (counter.clone(), grace.clone(), at(slot), who()).prop_map(
            move |(counter, grace, at, who)| Operation::Refresh { slot, counter, grace, at, who },
        );
        prop_oneof![1 => on_time, 5 => any]
    })
}

fn over() -> impl Strategy<Value = Over> {
    prop_oneof![
        1 => Just(Over::Everyone),
        3 => (0..USERS.len()).prop_map(Over::User),
        4 => (0..2_usize).prop_map(Over::Group),
        3 => slot().prop_map(Over::Session),
        1 => Just(Over::Token),
    ]
}

fn asks() -> impl Strategy<Value = Asks> {
    let demand = prop_oneof![Just(Demand::Refresh), Just(Demand::Login)];
    (over(), demand, prop::option::of(slot())).prop_map(|(over, demand, sparing)| Asks {
        over,
        demand,
        sparing,
    })
}

fn operation() -> impl Strategy<Value = Operation> {
    let filter = prop_oneof![
        slot().prop_map(Filter::Session),
        (0..USERS.len()).prop_map(Filter::User),
        (slot(), 0..3_u32).prop_map(|(slot, ticks)| Filter::Around { slot, ticks }),
    ];
    prop_oneof![
        24 => refresh(),
        1 => slot().prop_map(|slot| Operation::Burst { slot }),
        6 => (slot(), 0..USERS.len(), 0..GROUPS.len(), asked()).prop_map(
            |(slot, user, groups, ticket)| Operation::Login { slot, user, groups, ticket },
        ),
        3 => slot().prop_flat_map(|slot| {
            (at(slot), who()).prop_map(move |(at, who)| Operation::Reissue { slot, at, who })
        }),
        4 => prop::collection::vec(asks(), 1..3).prop_map(Operation::Revoke),
        4 => (asks(), prop::bool::weighted(0.8), any::<bool>()).prop_map(
            |(asks, committed, sealed)| Operation::Request { asks, committed, sealed },
        ),
        1 => Just(Operation::Seal),
        1 => over().prop_map(Operation::Clear),
        2 => slot().prop_flat_map(at).prop_map(Operation::Clock),
        2 => Just(Operation::Purge),
        3 => filter.prop_map(Operation::Sessions),
        1 => Just(Operation::Load),
        1 => Just(Operation::Poll),
        1 => (0..3_u64).prop_map(Operation::Advance),
    ]
}

// ---- both stores ----

/// What a store told of its entries: all but its identity.
#[derive(Debug, PartialEq)]
struct Told {
    head: StoreTime,
    clock: Duration,
    floor: CutOff,
    entries: Vec<Entry>,
}

impl Told {
    fn new(mut changes: Changes) -> Self {
        changes.entries.sort_by(|one, other| one.scope.cmp(&other.scope));
        let Changes { head, clock, floor, entries, .. } = changes;
        Self { head, clock, floor, entries }
    }
}

/// A session as its clients know it.
#[derive(Clone, Debug)]
struct Held {
    sid: Id,
    user: usize,
    counter: u64,
    began: Duration,
    /// When the counters were handed out: the moment at which the ones before were spent.
    counted_at: Vec<(u64, Duration)>,
}

struct Both {
    memory: MemoryStore,
    memory_watch: MemoryWatch,
    sqlite: SqliteStore,
    sqlite_watch: SqliteWatch,
    application: SqlitePool,
    clock: Clock,
    hand: ManualClock,
    lifetimes: Lifetimes,
    held: Vec<Held>,
    /// What `newest` has been, as far as anybody was told.
    newest: Vec<StoreTime>,
    /// The head of the last answer to both watches.
    cursor: StoreTime,
    pending: Vec<(Requested<MemoryStore>, Requested<SqliteStore>)>,
    logins: u32,
    _directory: TempDir,
}

type Outcome<T> = Result<T, TestCaseError>;

/// What both have answered, if it is the same.
fn alike<T: PartialEq + Debug>(
    memory: Result<T, Error>,
    sqlite: Result<T, Error>,
) -> Outcome<Result<T, ErrorKind>> {
    let (memory, sqlite) =
        (memory.map_err(|error| error.kind()), sqlite.map_err(|error| error.kind()));
    prop_assert_eq!(&memory, &sqlite, "in memory and in SQLite");
    Ok(memory)
}

impl Both {
    async fn new(lifetimes: Lifetimes) -> Self {
        let directory = fast_directory();
        let (clock, hand) = Clock::manual(START);
        let memory = MemoryStore::with_clock(clock.clone());
        let sqlite = SqliteStore::connect(options(&directory), clock.clone()).await.unwrap();
        let application = SqlitePoolOptions::new().max_connections(1);
        let mut both = Self {
            memory_watch: memory.watch().await.unwrap(),
            memory,
            sqlite_watch: sqlite.watch().await.unwrap(),
            sqlite,
            application: application.connect_with(options(&directory)).await.unwrap(),
            clock,
            hand,
            lifetimes,
            held: Vec::new(),
            newest: vec![StoreTime::ZERO],
            cursor: StoreTime::ZERO,
            pending: Vec::new(),
            logins: 0,
            _directory: directory,
        };
        for slot in 0..SLOTS {
            both.held.push(both.nobody());
            both.login(slot, slot % USERS.len(), slot, Asked::Fresh).await.unwrap();
        }
        both
    }

    async fn step(&mut self, operation: Operation) -> Outcome<()> {
        match operation {
            Operation::Login { slot, user, groups, ticket } => {
                self.login(slot, user, groups, ticket).await?;
            }
            Operation::Refresh { slot, counter, grace, at, who } => {
                self.set_clock(at);
                let counter = self.held[slot].counter.saturating_add_signed(counter);
                self.go_on(slot, MintFor::Refresh { counter, grace }, who).await?;
            }
            Operation::Burst { slot } => self.burst(slot).await?,
            Operation::Reissue { slot, at, who } => {
                self.set_clock(at);
                self.go_on(slot, MintFor::Reissue, who).await?;
            }
            Operation::Revoke(asks) => {
                let revocations: Vec<_> =
                    asks.into_iter().map(|asks| self.revocation(asks)).collect();
                let receipt = alike(
                    self.memory.revoke_many(&revocations).await,
                    self.sqlite.revoke_many(&revocations).await,
                )?;
                self.learn(receipt);
            }
            Operation::Request { asks, committed, sealed } => {
                self.request(asks, committed, sealed).await?;
            }
            Operation::Seal => {
                if let Some(requested) = self.pending.pop() {
                    self.seal(requested).await?;
                }
            }
            Operation::Clear(over) => {
                let (scope, audit) = (self.scope(over), Audit::new(id("root"), "by mistake"));
                let receipt = alike(
                    self.memory.clear(&scope, audit.clone()).await,
                    self.sqlite.clear(&scope, audit).await,
                )?;
                self.learn(receipt);
            }
            Operation::Clock(at) => self.set_clock(at),
            Operation::Purge => {
                let lifetimes = self.lifetimes;
                alike(self.memory.purge(lifetimes).await, self.sqlite.purge(lifetimes).await)?
                    .unwrap();
            }
            Operation::Sessions(filter) => {
                self.sessions(self.filter(filter)).await?;
            }
            Operation::Load => self.told(None).await?,
            Operation::Poll => self.told(Some(self.cursor)).await?,
            Operation::Advance(by) => {
                let newest = StoreTime::from_micros(self.known(0).as_micros() + by);
                alike(self.memory.advance(newest).await, self.sqlite.advance(newest).await)?
                    .unwrap();
            }
        }
        Ok(())
    }

    /// All that is left is asked for: what was told, who is alive, and every counter.
    async fn settle(mut self) -> Outcome<()> {
        self.told(None).await?;
        for filter in [
            SessionFilter::RefreshedWithin(self.lifetimes.session()),
            SessionFilter::User(id(USERS[0])),
            SessionFilter::User(id(USERS[1])),
        ] {
            self.sessions(filter).await?;
        }
        let who = Who { ticket: Asked::Fresh, groups: 0, stranger: false };
        for slot in 0..SLOTS {
            self.go_on(slot, MintFor::Reissue, who).await?;
            let current = self.held[slot].counter;
            // From above, since the first that is too old ends the session.
            for counter in (current.saturating_sub(6)..current + 2).rev() {
                self.go_on(slot, MintFor::Refresh { counter, grace: GRACE }, who).await?;
            }
        }
        self.told(None).await
    }

    // ---- operations ----

    async fn login(
        &mut self,
        slot: usize,
        user: usize,
        groups: usize,
        ticket: Asked,
    ) -> Outcome<()> {
        self.logins += 1;
        let held = Held { user, ..self.nobody() };
        let mint = self.mint(&held, MintFor::Login, ticket, groups).await?;
        if let Ok(minted) = self.minted(&mint).await? {
            self.held[slot] = held;
            self.hold(slot, minted);
        }
        Ok(())
    }

    async fn go_on(&mut self, slot: usize, session: MintFor, who: Who) -> Outcome<()> {
        let held = self.held[slot].clone();
        let mut mint = self.mint(&held, session, who.ticket, who.groups).await?;
        if who.stranger {
            mint.user = id("mallory");
        }
        if let Ok(minted) = self.minted(&mint).await? {
            self.hold(slot, minted);
        }
        Ok(())
    }

    async fn burst(&mut self, slot: usize) -> Outcome<()> {
        let who = Who { ticket: Asked::Fresh, groups: 0, stranger: false };
        let grace = GRACE;
        for _ in 0..=REMEMBERED {
            let counter = self.held[slot].counter;
            self.go_on(slot, MintFor::Refresh { counter, grace }, who).await?;
        }
        for back in [REMEMBERED - 1, REMEMBERED, REMEMBERED + 1] {
            let counter = self.held[slot].counter.saturating_sub(back);
            self.go_on(slot, MintFor::Refresh { counter, grace }, who).await?;
        }
        Ok(())
    }

    async fn request(&mut self, asks: Asks, committed: bool, sealed: bool) -> Outcome<()> {
        let revocation = self.revocation(asks);
        let mut one = self.memory.begin();
        let mut other = self.application.begin().await.unwrap();
        let requested = (
            self.memory.revoke_in(&mut one, revocation.clone()).await.unwrap(),
            self.sqlite.revoke_in(&mut other, revocation).await.unwrap(),
        );
        if committed {
            one.commit();
            other.commit().await.unwrap();
        } else {
            other.rollback().await.unwrap();
        }
        if sealed {
            self.seal(requested).await
        } else {
            self.pending.push(requested);
            Ok(())
        }
    }

    async fn seal(
        &mut self,
        (memory, sqlite): (Requested<MemoryStore>, Requested<SqliteStore>),
    ) -> Outcome<()> {
        let receipt = alike(memory.sealed().await, sqlite.sealed().await)?;
        self.learn(receipt);
        Ok(())
    }

    async fn told(&mut self, cursor: Option<StoreTime>) -> Outcome<()> {
        let (memory, sqlite) = match cursor {
            None => (self.memory_watch.load().await, self.sqlite_watch.load().await),
            Some(cursor) => {
                (self.memory_watch.poll(cursor).await, self.sqlite_watch.poll(cursor).await)
            }
        };
        let told = alike(memory.map(Told::new), sqlite.map(Told::new))?.unwrap();
        self.cursor = told.head;
        self.newest.push(told.head);
        Ok(())
    }

    async fn sessions(&mut self, filter: SessionFilter) -> Outcome<Vec<Session>> {
        let lifetimes = self.lifetimes;
        let sessions = alike(
            self.memory.sessions(&filter, lifetimes).await,
            self.sqlite.sessions(&filter, lifetimes).await,
        )?;
        Ok(sessions.unwrap())
    }

    async fn minted(&mut self, mint: &Mint) -> Outcome<Result<Minted, ErrorKind>> {
        let minted = alike(self.memory.mint(mint).await, self.sqlite.mint(mint).await)?;
        if let Err(ErrorKind::RefreshTokenReused(receipt)) = minted {
            self.newest.push(receipt.revoked_before());
        }
        Ok(minted)
    }

    // ---- what the clients know ----

    fn nobody(&self) -> Held {
        let sid = id(&format!("session-{}", self.logins));
        Held { sid, user: 0, counter: 0, began: START, counted_at: Vec::new() }
    }

    fn hold(&mut self, slot: usize, minted: Minted) {
        let held = &mut self.held[slot];
        held.counter = held.counter.max(minted.counter);
        held.began = minted.session_began;
        held.counted_at.push((minted.counter, minted.counted_at));
    }

    fn learn(&mut self, receipt: Result<Receipt, ErrorKind>) {
        self.newest.extend(receipt.map(|receipt| receipt.revoked_before()));
    }

    /// The newest revocation that a copy knew of, so many answers ago.
    fn known(&self, ago: usize) -> StoreTime {
        let index = self.newest.len().saturating_sub(ago + 1);
        self.newest[..=index].iter().copied().max().unwrap_or_default()
    }

    async fn ticket(&mut self, asked: Asked) -> Outcome<Ticket> {
        Ok(match asked {
            Asked::Fresh => alike(self.memory.ticket().await, self.sqlite.ticket().await)?.unwrap(),
            Asked::Old(ago) => Ticket::new(self.known(ago)),
            Asked::Ahead(by) => Ticket::new(StoreTime::from_micros(self.known(0).as_micros() + by)),
        })
    }

    async fn mint(
        &mut self,
        held: &Held,
        session: MintFor,
        ticket: Asked,
        groups: usize,
    ) -> Outcome<Mint> {
        let ticket = self.ticket(ticket).await?;
        let device = Device::new().with_label(&format!("device {}", ticket.stamp()));
        Ok(Mint {
            ticket,
            session,
            sid: held.sid.clone(),
            user: id(USERS[held.user]),
            groups: GROUPS[groups].iter().map(|group| id(group)).collect(),
            device: if groups == 0 { Device::new() } else { device },
            lifetimes: self.lifetimes,
        })
    }

    fn set_clock(&self, at: At) {
        match at {
            At::Now => {}
            At::Later(by) => self.hand.advance(by),
            At::Around { slot, limit, ticks } => {
                let end = self.end(slot, limit);
                // One tick before, at the end, or one after it.
                self.hand.set_wall(end + TICK * ticks - TICK);
            }
        }
    }

    /// When a limit of the session is over, as far as is known.
    fn end(&self, slot: usize, limit: Limit) -> Duration {
        let (held, lifetimes) = (&self.held[slot], self.lifetimes);
        let last = held.counted_at.last().map_or(START, |last| last.1);
        let leeways = lifetimes.leeway() * 2;
        let cut_off = Duration::from_micros(self.known(0).as_micros()).max(START);
        match limit {
            Limit::Grace(back) => {
                let successor = held.counter.saturating_add_signed(back + 1);
                let spent = held.counted_at.iter().find(|counted| counted.0 == successor);
                spent.map_or(last, |spent| spent.1) + GRACE
            }
            Limit::Idle => last + lifetimes.idle(),
            Limit::Life => held.began + lifetimes.session(),
            Limit::Reissues => cut_off + lifetimes.access() + leeways,
            Limit::Logins => cut_off + lifetimes.session() + leeways,
        }
    }

    fn scope(&self, over: Over) -> Scope {
        match over {
            Over::Everyone => Scope::Everyone,
            Over::User(user) => Scope::User(id(USERS[user])),
            Over::Group(group) => Scope::Group(id(GROUPS[3][group])),
            Over::Session(slot) => Scope::Session(self.held[slot].sid.clone()),
            Over::Token => Scope::token("token").unwrap(),
        }
    }

    fn revocation(&self, asks: Asks) -> Revocation {
        let revocation = Revocation::new(self.scope(asks.over), asks.demand);
        match asks.sparing {
            Some(slot) => revocation.sparing(self.held[slot].sid.clone()),
            None => revocation,
        }
    }

    fn filter(&self, filter: Filter) -> SessionFilter {
        match filter {
            Filter::Session(slot) => SessionFilter::Id(self.held[slot].sid.clone()),
            Filter::User(user) => SessionFilter::User(id(USERS[user])),
            Filter::Around { slot, ticks } => {
                let last = self.held[slot].counted_at.last().map_or(START, |last| last.1);
                let since = self.clock.now().wall.saturating_sub(last);
                SessionFilter::RefreshedWithin((since + TICK * ticks).saturating_sub(TICK))
            }
        }
    }
}

fn id(text: &str) -> Id {
    Id::new(text).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn both_stores_agree_on_every_history(
        // With the longer one a session reaches the end of its life.
        idle in prop_oneof![Just(40), Just(100)],
        history in prop::collection::vec(operation(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut both = Both::new(lifetimes(idle)).await;
            for operation in history {
                both.step(operation).await?;
            }
            both.settle().await
        })?;
    }
}
