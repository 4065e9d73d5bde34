//! Every store lives through the same random histories as the one in memory, and must answer alike,
//! step by step.
//!
//! SQLite and PostgreSQL decide a refresh or a renewal in one statement, MySQL under a lock that is shared; the
//! store in memory decides by the plain code that those fall back to. Histories are aimed at the
//! limits where two spellings of one decision part: the last microsecond of a grace time or a life,
//! a counter that was made void, a group that is new, a ticket from ahead.

use std::{fmt::Debug, time::Duration};

use proptest::{prelude::*, test_runner::TestRunner};
use tower_revocation::{
    cutoff::{CutOff, Receipt, Stamp, StoreTime},
    error::{Error, ErrorKind},
    lifetimes::Lifetimes,
    scope::{Id, Scope},
    store::{
        Audit, Changes, Device, Entry, EpochStore, MemoryStore, MemoryWatch, Mint, MintFor, Minted,
        Presented, Requested, Revocation, Session, SessionFilter, SessionLimit, Ticket, Watch,
    },
};

use crate::{
    harness::{GRACE, Harness, Memory, START, Sqlite, fast_directory},
    histories::*,
    servers::{MySql, PgBouncer, Postgres},
};

/// How many moments of spending a store keeps.
const REMEMBERED: u64 = 100;

/// Of access tokens 20 seconds, of sessions 100, of which `idle` may pass without a refresh.
fn lifetimes(idle: u64) -> Lifetimes {
    let seconds = Duration::from_secs;
    Lifetimes::new(seconds(20), seconds(100), seconds(1)).unwrap().with_idle(seconds(idle)).unwrap()
}

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
    /// Its access tokens.
    tokens: Vec<Token>,
}

#[derive(Clone, Debug)]
struct Token {
    id: Id,
    stamp: Stamp,
    groups: usize,
}

/// The store in memory, and another.
struct Both<H: Harness> {
    memory: Memory,
    memory_watch: MemoryWatch,
    other: H,
    other_watch: <H::Store as EpochStore>::Watch,
    now: Duration,
    lifetimes: Lifetimes,
    held: Vec<Held>,
    /// What `newest` has been, as far as anybody was told.
    newest: Vec<StoreTime>,
    /// The head of the last answer to both watches.
    cursor: StoreTime,
    pending: Vec<RequestedOfBoth<H>>,
    logins: u32,
    tokens: u32,
}

/// A request to both.
type RequestedOfBoth<H> = (Requested<MemoryStore>, Requested<<H as Harness>::Store>);

type Outcome<T> = Result<T, TestCaseError>;

/// What both have answered, if it is the same.
fn alike<T: PartialEq + Debug>(
    memory: Result<T, Error>,
    other: Result<T, Error>,
) -> Outcome<Result<T, ErrorKind>> {
    let (memory, other) =
        (memory.map_err(|error| error.kind()), other.map_err(|error| error.kind()));
    prop_assert_eq!(&memory, &other, "in memory and in the other");
    Ok(memory)
}

impl<H: Harness> Both<H> {
    async fn new(other: H, lifetimes: Lifetimes) -> Self {
        let memory = Memory::new().await;
        let mut both = Self {
            memory_watch: memory.store().watch().await.unwrap(),
            memory,
            other_watch: other.store().watch().await.unwrap(),
            other,
            now: START,
            lifetimes,
            held: Vec::new(),
            newest: vec![StoreTime::ZERO],
            cursor: StoreTime::ZERO,
            pending: Vec::new(),
            logins: 0,
            tokens: 0,
        };
        for slot in 0..SLOTS {
            both.held.push(both.nobody());
            both.login(slot, slot % USERS.len(), slot, Asked::Fresh, None).await.unwrap();
        }
        both
    }

    async fn step(&mut self, operation: Operation) -> Outcome<()> {
        match operation {
            Operation::Login { slot, user, groups, ticket, limit } => {
                self.login(slot, user, groups, ticket, limit).await?;
            }
            Operation::Refresh { slot, counter, grace, at, who } => {
                self.set_clock(at);
                let counter = self.held[slot].counter.saturating_add_signed(counter);
                self.go_on(slot, MintFor::Refresh { counter, grace }, who).await?;
            }
            Operation::Burst { slot } => self.burst(slot).await?,
            Operation::Zigzag { slot, steps } => {
                let who = Who { ticket: Asked::Fresh, groups: 0, stranger: false };
                for Step { half_graces, counter } in steps {
                    let (now, by) = (self.now, GRACE / 2 * half_graces.unsigned_abs());
                    let then = if half_graces < 0 { now.saturating_sub(by) } else { now + by };
                    self.set_time(then);
                    let counter = self.held[slot].counter.saturating_add_signed(counter);
                    self.go_on(slot, MintFor::Refresh { counter, grace: GRACE }, who).await?;
                }
            }
            Operation::Reissue { slot, at, who } => {
                self.set_clock(at);
                self.go_on(slot, MintFor::Reissue, who).await?;
            }
            Operation::Renew { slot, back, lift, same, seen, revoke, at, who } => {
                self.set_clock(at);
                let tokens = &self.held[slot].tokens;
                if let Some(index) = tokens.len().checked_sub(back + 1) {
                    let Token { id, stamp, groups } = tokens[index].clone();
                    let stamp = Stamp::from_micros(stamp.as_micros().saturating_add_signed(lift));
                    let groups = ids(groups);
                    let renewal = Presented { stamp, token: id, groups, same, revoke };
                    self.renew(slot, renewal, seen, who).await?;
                }
            }
            Operation::Issue { user, groups, ticket } => {
                self.logins += 1;
                let apart = Held { user, ..self.nobody() };
                let mint = self.mint(&apart, MintFor::Token, ticket, groups).await?;
                let _ = self.minted(&mint).await?;
            }
            Operation::Revoke(asks) => {
                let revocations: Vec<_> =
                    asks.into_iter().map(|asks| self.revocation(asks)).collect();
                let receipt = alike(
                    self.memory.store().revoke_many(&revocations).await,
                    self.other.store().revoke_many(&revocations).await,
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
                    self.memory.store().clear(&scope, audit.clone()).await,
                    self.other.store().clear(&scope, audit).await,
                )?;
                self.learn(receipt);
            }
            Operation::Clock(at) => self.set_clock(at),
            Operation::Purge => {
                let lifetimes = self.lifetimes;
                alike(
                    self.memory.store().purge(lifetimes).await,
                    self.other.store().purge(lifetimes).await,
                )?
                .unwrap();
            }
            Operation::Sessions(filter) => {
                self.sessions(self.filter(filter)).await?;
            }
            Operation::Load => self.told(None).await?,
            Operation::Poll => self.told(Some(self.cursor)).await?,
            Operation::Advance(by) => {
                let newest = StoreTime::from_micros(self.known(0).as_micros() + by);
                alike(
                    self.memory.store().advance(newest).await,
                    self.other.store().advance(newest).await,
                )?
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
        limit: Option<SessionLimit>,
    ) -> Outcome<()> {
        self.logins += 1;
        let held = Held { user, ..self.nobody() };
        let session = limit.map_or(MintFor::Login, MintFor::LoginWithin);
        let mint = self.mint(&held, session, ticket, groups).await?;
        if let Ok(minted) = self.minted(&mint).await? {
            self.held[slot] = held;
            self.hold(slot, minted, groups);
        }
        Ok(())
    }

    async fn renew(
        &mut self,
        slot: usize,
        presented: Presented,
        seen: usize,
        who: Who,
    ) -> Outcome<()> {
        let held = self.held[slot].clone();
        let mut mint = self.mint(&held, MintFor::Renew(presented), who.ticket, who.groups).await?;
        mint.device = device(seen);
        if who.stranger {
            mint.user = id("mallory");
        }
        if let Ok(minted) = self.minted(&mint).await? {
            self.hold_token(slot, minted, who.groups);
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
            self.hold(slot, minted, who.groups);
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
        let requested = (
            self.memory.request(revocation.clone(), committed).await,
            self.other.request(revocation, committed).await,
        );
        if sealed {
            self.seal(requested).await
        } else {
            self.pending.push(requested);
            Ok(())
        }
    }

    async fn seal(&mut self, (memory, other): RequestedOfBoth<H>) -> Outcome<()> {
        let receipt = alike(memory.sealed().await, other.sealed().await)?;
        self.learn(receipt);
        Ok(())
    }

    async fn told(&mut self, cursor: Option<StoreTime>) -> Outcome<()> {
        let (memory, other) = match cursor {
            None => (self.memory_watch.load().await, self.other_watch.load().await),
            Some(cursor) => {
                (self.memory_watch.poll(cursor).await, self.other_watch.poll(cursor).await)
            }
        };
        let told = alike(memory.map(Told::new), other.map(Told::new))?.unwrap();
        self.cursor = told.head;
        self.newest.push(told.head);
        Ok(())
    }

    async fn sessions(&mut self, filter: SessionFilter) -> Outcome<Vec<Session>> {
        let lifetimes = self.lifetimes;
        let sessions = alike(
            self.memory.store().sessions(&filter, lifetimes).await,
            self.other.store().sessions(&filter, lifetimes).await,
        )?;
        Ok(sessions.unwrap())
    }

    async fn minted(&mut self, mint: &Mint) -> Outcome<Result<Minted, ErrorKind>> {
        let minted =
            alike(self.memory.store().mint(mint).await, self.other.store().mint(mint).await)?;
        if let Err(ErrorKind::RefreshTokenReused(receipt)) = minted {
            self.newest.push(receipt.revoked_before());
        }
        Ok(minted)
    }

    // ---- what the clients know ----

    fn nobody(&self) -> Held {
        let sid = id(&format!("session-{}", self.logins));
        let (counted_at, tokens) = (Vec::new(), Vec::new());
        Held { sid, user: 0, counter: 0, began: START, counted_at, tokens }
    }

    fn hold(&mut self, slot: usize, minted: Minted, groups: usize) {
        let held = &mut self.held[slot];
        held.counter = held.counter.max(minted.counter);
        held.began = minted.session_began;
        held.counted_at.push((minted.counter, minted.counted_at));
        self.hold_token(slot, minted, groups);
    }

    fn hold_token(&mut self, slot: usize, minted: Minted, groups: usize) {
        self.tokens += 1;
        let id = id(&format!("token-{}", self.tokens));
        self.newest.push(StoreTime::from_micros(minted.stamp.as_micros() - 1));
        self.held[slot].tokens.push(Token { id, stamp: minted.stamp, groups });
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
            Asked::Fresh => {
                alike(self.memory.store().ticket().await, self.other.store().ticket().await)?
                    .unwrap()
            }
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
        let device = device(groups).with_label(&format!("device {}", ticket.stamp()));
        Ok(Mint {
            ticket,
            session,
            sid: held.sid.clone(),
            user: id(USERS[held.user]),
            groups: ids(groups),
            device: if groups == 0 { Device::new() } else { device },
            lifetimes: self.lifetimes,
        })
    }

    fn set_time(&mut self, now: Duration) {
        self.now = now;
        self.memory.clock().set_wall(now);
        self.other.clock().set_wall(now);
    }

    fn set_clock(&mut self, at: At) {
        match at {
            At::Now => {}
            At::Later(by) => self.set_time(self.now + by),
            At::Around { slot, limit, ticks } => {
                let end = self.end(slot, limit);
                // One tick before, at the end, or one after it.
                self.set_time(end + TICK * ticks - TICK);
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
            Limit::Reissues => cut_off + lifetimes.idle() + leeways,
            Limit::Logins => cut_off + lifetimes.session() + leeways,
        }
    }

    fn scope(&self, over: Over) -> Scope {
        match over {
            Over::Everyone => Scope::Everyone,
            Over::User(user) => Scope::User(id(USERS[user])),
            Over::Group(group) => Scope::Group(id(GROUPS[3][group])),
            Over::Session(slot) => Scope::Session(self.held[slot].sid.clone()),
            Over::Token(slot) => {
                let last = self.held[slot].tokens.last().map(|token| token.id.clone());
                Scope::Token(last.unwrap_or_else(|| id("token")))
            }
        }
    }

    fn revocation(&self, asks: Asks) -> Revocation {
        let revocation = Revocation::new(self.scope(asks.over), asks.demand);
        match asks.sparing {
            Some(slot) if asks.asked => revocation.asked_by(self.held[slot].sid.clone()),
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
                let since = self.now.saturating_sub(last);
                SessionFilter::RefreshedWithin((since + TICK * ticks).saturating_sub(TICK))
            }
        }
    }
}

fn id(text: &str) -> Id {
    Id::new(text).unwrap()
}

fn ids(groups: usize) -> Vec<Id> {
    GROUPS[groups].iter().map(|group| id(group)).collect()
}

fn device(number: usize) -> Device {
    let (ip, user_agent) = DEVICES[number];
    let device = user_agent.map_or(Device::new(), |seen| Device::new().with_user_agent(seen));
    ip.map_or(device.clone(), |seen| device.with_ip(seen.into()))
}

/// Holds `cases` histories of the store that `make` makes against those of the store in memory.
fn agree<H: Harness>(cases: u32, make: impl AsyncFn() -> H) {
    let config = ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: cases,
        ..ProptestConfig::with_cases(cases)
    };
    // With the longer one a session reaches the end of its life.
    let idle = prop_oneof![Just(40), Just(100)];
    let histories = (idle, prop::collection::vec(operation(), 1..60));
    let outcome = TestRunner::new(config).run(&histories, |(idle, history)| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut both = Both::new(make().await, lifetimes(idle)).await;
            for operation in history {
                both.step(operation).await?;
            }
            both.settle().await
        })
    });
    if let Err(parted) = outcome {
        panic!("{parted}");
    }
}

#[test]
fn sqlite_agrees_with_memory_on_every_history() {
    agree(400, async || Sqlite::new_in(fast_directory()).await);
}

#[test]
#[ignore = "needs PostgreSQL; run with bash .ci/databases cargo test -- --ignored"]
fn postgres_agrees_with_memory_on_every_history() {
    agree(100, Postgres::new);
}

#[test]
#[ignore = "needs PgBouncer; run with bash .ci/databases cargo test -- --ignored"]
fn pgbouncer_agrees_with_memory_on_every_history() {
    agree(20, PgBouncer::new);
}

#[test]
#[ignore = "needs MariaDB; run with bash .ci/databases cargo test -- --ignored"]
fn mysql_agrees_with_memory_on_every_history() {
    agree(100, MySql::new);
}
