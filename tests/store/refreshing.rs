//! Ten thousand rounds of clients that refresh one session at once, through the handles of a small
//! fleet: answers get lost, processes crash half-way, revocations come in between, thieves replay.

use std::{future::Future, pin::pin, sync::Arc, task::Poll, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;
use tokio::{
    sync::Barrier,
    task::{JoinSet, spawn_blocking, yield_now},
};
use tower_revocation::{
    Demand,
    clock::{Clock, ManualClock},
    cutoff::{CutOff, Receipt, Stamp, revoked},
    error::{Error, ErrorKind},
    lifetimes::Lifetimes,
    scope::{Id, Scope},
    store::{
        Device, EpochStore, Mint, MintFor, Minted, Revocation, SessionFilter, SqliteStore,
        SqliteWatch, Ticket, Watch,
    },
};

use crate::harness::{GRACE, START, fast_directory, options};

const SEED: u64 = 0x5eed_2026;

const ROUNDS: u32 = 10_000;

/// Each has a file, a session and its share of the rounds. A writer that meets another process's
/// sleeps; meanwhile another fleet has its turn.
const FLEETS: u32 = 10;

/// The processes of a fleet.
const HANDLES: usize = 3;

/// The smallest tick of the store's clock.
const TICK: Duration = Duration::from_micros(1);

/// What has happened, so that nobody believes a test in which nothing did.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    rounds: u32,
    refreshes: u32,
    lost_answers: u32,
    slow_clients: u32,
    refused_on_the_way: u32,
    read_again: u32,
    ended_by_revocation: u32,
    thefts: u32,
    refresh_crashes: Crashes,
    theft_crashes: Crashes,
}

/// Where the crashes hit.
#[derive(Clone, Copy, Debug, Default)]
struct Crashes {
    before_commit: u32,
    after_commit: u32,
    /// Of those after the commit, the ones that hit before the answer.
    unanswered: u32,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.refreshes += other.refreshes;
        self.lost_answers += other.lost_answers;
        self.slow_clients += other.slow_clients;
        self.refused_on_the_way += other.refused_on_the_way;
        self.read_again += other.read_again;
        self.ended_by_revocation += other.ended_by_revocation;
        self.thefts += other.thefts;
        self.refresh_crashes.add(other.refresh_crashes);
        self.theft_crashes.add(other.theft_crashes);
    }
}

impl Crashes {
    fn add(&mut self, other: Self) {
        self.before_commit += other.before_commit;
        self.after_commit += other.after_commit;
        self.unanswered += other.unanswered;
    }

    fn count(&mut self, committed: bool, answered: bool) {
        assert!(committed || !answered, "an answer without a commit");
        self.before_commit += u32::from(!committed);
        self.after_commit += u32::from(committed);
        self.unanswered += u32::from(committed && !answered);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_rounds_of_concurrent_refreshes_leave_one_live_successor() {
    println!("seed {SEED:#x}");
    let mut fleets = JoinSet::new();
    for number in 0..FLEETS {
        fleets.spawn(async move {
            let mut fleet = Fleet::start(SEED + u64::from(number)).await;
            for _ in 0..ROUNDS / FLEETS {
                fleet.round().await;
            }
            fleet.tally
        });
    }
    let mut tally = Tally::default();
    while let Some(done) = fleets.join_next().await {
        tally.add(done.unwrap());
    }
    println!("{tally:#?}");
    assert_eq!(tally.rounds, ROUNDS);
    for crashes in [tally.refresh_crashes, tally.theft_crashes] {
        assert!(crashes.before_commit > 0, "{tally:#?}");
        assert!(crashes.after_commit > 0, "{tally:#?}");
    }
    assert!(tally.refresh_crashes.unanswered > 0, "{tally:#?}");
    for count in [tally.lost_answers, tally.slow_clients, tally.refused_on_the_way, tally.thefts] {
        assert!(count > 100, "{tally:#?}");
    }
    assert!(tally.read_again > 0 && tally.ended_by_revocation > 0, "{tally:#?}");
}

// ---- a fleet and its session ----

struct Fleet {
    handles: Vec<SqliteStore>,
    watch: SqliteWatch,
    options: SqliteConnectOptions,
    clock: Clock,
    hand: ManualClock,
    session: Held,
    random: StdRng,
    tally: Tally,
    _directory: TempDir,
}

/// What the clients of a session know.
struct Held {
    sid: Id,
    /// Of the current refresh token.
    counter: u64,
    /// When that was handed out, which is when the one before was spent.
    counted_at: Duration,
    /// The highest stamp among its access tokens.
    highest: Stamp,
}

/// What a revocation demands while clients refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meanwhile {
    Nothing,
    Revoked(Demand),
}

/// What becomes of the first answer.
#[derive(Clone, Copy, Debug)]
enum Habit {
    Waits,
    /// It arrives nowhere, and the client asks again.
    LosesTheAnswer,
    /// The client is gone after so many polls and turns of the others, and asks again.
    GoesAway {
        polls: u32,
        turns: u32,
    },
}

impl Fleet {
    async fn start(seed: u64) -> Self {
        let directory = fast_directory();
        let (clock, hand) = Clock::manual(START);
        let mut handles = Vec::new();
        for _ in 0..HANDLES {
            let store = SqliteStore::connect(options(&directory), clock.clone()).await;
            handles.push(store.unwrap());
        }
        let session = Held {
            sid: Id::random(),
            counter: 0,
            counted_at: START,
            highest: Stamp::from_micros(1),
        };
        let mut fleet = Self {
            watch: handles[0].watch().await.unwrap(),
            handles,
            options: options(&directory),
            clock,
            hand,
            session,
            random: StdRng::seed_from_u64(seed),
            tally: Tally::default(),
            _directory: directory,
        };
        fleet.login().await;
        fleet
    }

    async fn round(&mut self) {
        self.tally.rounds += 1;
        self.hand.advance(TICK * self.random.random_range(1..4_000_000));
        let meanwhile = match self.random.random_range(0..20) {
            0 | 1 => Meanwhile::Revoked(Demand::Refresh),
            2 => Meanwhile::Revoked(Demand::Login),
            _ => Meanwhile::Nothing,
        };
        let refusals = self.random.random_ratio(1, 5);
        let stale = if refusals { Some(self.stale_ticket().await) } else { None };
        let ticket = self.any().ticket().await.unwrap();
        if self.random.random_ratio(1, 10) {
            self.crash_in_a_refresh(ticket).await;
        }
        let cut_off = self.refresh_at_once(ticket, stale, meanwhile).await;
        if let (Meanwhile::Revoked(Demand::Login), Some(cut_off)) = (meanwhile, cut_off) {
            self.tally.ended_by_revocation += 1;
            self.has_ended(cut_off).await;
            return self.login().await;
        }
        // The one successor is live, and no other.
        self.session.counter += 1;
        self.session.counted_at = self.now();
        let beyond = self.session.counter + self.random.random_range(1..4);
        assert_eq!(self.refresh(beyond).await.unwrap_err(), ErrorKind::RefreshTokenInvalid);
        if self.random.random_ratio(1, 10) {
            self.theft().await;
            self.login().await;
        }
    }

    /// All clients at once. Returns the cut-off of a revocation that came in between.
    async fn refresh_at_once(
        &mut self,
        ticket: Ticket,
        stale: Option<Ticket>,
        meanwhile: Meanwhile,
    ) -> Option<Receipt> {
        let (counter, spent_at) = (self.session.counter, self.now());
        let count = self.clients();
        let strangers = if stale.is_some() { self.random.random_range(1..=4) } else { 0 };
        let revokers = usize::from(meanwhile != Meanwhile::Nothing);
        let together = Arc::new(Barrier::new(count + strangers + revokers));

        let mut refused = JoinSet::new();
        for _ in 0..strangers {
            let (store, together) = (self.any(), together.clone());
            let (mint, why) = match stale {
                Some(stale) if self.random.random() => {
                    (self.mint(stale, counter), ErrorKind::RevokedMeanwhile(Demand::Refresh))
                }
                _ => {
                    let user = Id::new("mallory").unwrap();
                    (Mint { user, ..self.mint(ticket, counter) }, ErrorKind::SessionEnded)
                }
            };
            refused.spawn(async move {
                together.wait().await;
                (store.mint(&mint).await.unwrap_err().kind(), why)
            });
        }
        let mut revoker = JoinSet::new();
        if let Meanwhile::Revoked(demand) = meanwhile {
            let (store, together) = (self.any(), together.clone());
            let revocation = Revocation::new(self.any_scope(), demand);
            revoker.spawn(async move {
                together.wait().await;
                store.revoke(revocation).await.unwrap()
            });
        }
        let mut clients = JoinSet::new();
        for client in 0..count {
            let within_grace = spent_at < self.session.counted_at + GRACE;
            let slow = client > 0 && counter > 0 && within_grace && self.random.random_ratio(1, 8);
            let presented = counter - u64::from(slow);
            let (habit, mint) = (self.habit(), self.mint(ticket, presented));
            let (first, second, together) = (self.any(), self.any(), together.clone());
            self.tally.slow_clients += u32::from(slow);
            clients.spawn(async move {
                together.wait().await;
                let read_again = &mut 0;
                let lost = match habit {
                    Habit::Waits => 0,
                    Habit::LosesTheAnswer => {
                        let _lost = patiently(&first, mint.clone(), read_again).await;
                        1
                    }
                    Habit::GoesAway { polls, turns } => {
                        give_up(first.mint(&mint), polls, turns).await;
                        1
                    }
                };
                let answer = patiently(&second, mint, read_again).await;
                (presented, answer, lost, *read_again)
            });
        }

        let cut_off = revoker.join_next().await.map(|receipt| receipt.unwrap());
        let may_end = meanwhile == Meanwhile::Revoked(Demand::Login);
        while let Some(answer) = clients.join_next().await {
            let (presented, answer, lost, read_again) = answer.unwrap();
            self.tally.refreshes += 1 + lost + read_again;
            self.tally.lost_answers += lost;
            self.tally.read_again += read_again;
            match answer {
                Ok(minted) => {
                    let counted_at =
                        if presented == counter { spent_at } else { self.session.counted_at };
                    let same = (presented + 1, counted_at);
                    assert_eq!((minted.counter, minted.counted_at), same, "another successor");
                    if may_end {
                        let cut_off = cut_off.unwrap().revoked_before();
                        assert!(revoked(minted.stamp, cut_off), "minted after its session's end");
                    }
                    self.session.highest = self.session.highest.max(minted.stamp);
                }
                Err(kind) => assert!(may_end && kind == ErrorKind::SessionEnded, "{kind:?}"),
            }
        }
        while let Some(refusal) = refused.join_next().await {
            let (kind, why) = refusal.unwrap();
            assert!(kind == why || may_end && kind == ErrorKind::SessionEnded, "{kind:?}");
            self.tally.refreshes += 1;
            self.tally.refused_on_the_way += 1;
        }
        cut_off
    }

    /// The successor is used, the grace time passes, and several have a copy of an old token.
    async fn theft(&mut self) {
        let spent = self.session.counter - 1;
        self.hand.advance(GRACE - TICK);
        let used = self.refresh(spent + 1).await.unwrap();
        assert_eq!((used.counter, used.counted_at), (spent + 2, self.now()));
        // The last moment of the grace time.
        let again = self.refresh(spent).await.unwrap();
        assert_eq!((again.counter, again.counted_at), (spent + 1, self.session.counted_at));
        self.hand.advance(TICK);

        let stolen = spent.saturating_sub(self.random.random_range(0..4));
        let ticket = self.any().ticket().await.unwrap();
        let mint = self.mint(ticket, stolen);
        let (mut left, mut crashed) = (false, None);
        match self.random.random_range(0..6) {
            0 | 1 => {
                let answered = self.crash(mint.clone(), 40).await;
                crashed = Some((answered, self.listed().await.is_none()));
            }
            // What was begun completes, and one who is gone may be the one who is told.
            2 => {
                left = true;
                let polls = self.random.random_range(1..4);
                give_up(self.any().mint(&mint), polls, 0).await;
            }
            _ => {}
        }
        let count = self.clients().min(16);
        let together = Arc::new(Barrier::new(count + 1));
        let mut thieves = JoinSet::new();
        for _ in 0..count {
            let (store, mint, together) = (self.any(), mint.clone(), together.clone());
            thieves.spawn(async move {
                together.wait().await;
                store.mint(&mint).await.map_err(|error| error.kind())
            });
        }
        let (store, rightful) = (self.any(), self.mint(ticket, spent + 2));
        let client = tokio::spawn(async move {
            together.wait().await;
            store.mint(&rightful).await.map_err(|error| error.kind())
        });

        let mut told = None;
        while let Some(answer) = thieves.join_next().await {
            match answer.unwrap().expect_err("a replay got tokens") {
                ErrorKind::RefreshTokenReused(receipt) => {
                    assert!(told.replace(receipt).is_none(), "one theft was told twice");
                }
                kind => assert_eq!(kind, ErrorKind::SessionEnded),
            }
        }
        match crashed {
            None => assert!(told.is_some() || left, "a true replay was not caught"),
            Some((answered, committed)) => {
                assert!(!committed || told.is_none(), "one theft was told twice");
                // Its commit may still have been under way when we looked.
                self.tally.theft_crashes.count(told.is_none(), answered);
            }
        }
        let entry = self.session_cut_off().await;
        if let Some(receipt) = told {
            assert_eq!(entry.login_before, receipt.revoked_before());
        }
        match client.await.unwrap() {
            Ok(minted) => self.session.highest = self.session.highest.max(minted.stamp),
            // The victim is told to log in; if it was the first to present a token, it got one.
            Err(kind) => assert_eq!(kind, ErrorKind::SessionEnded),
        }
        self.tally.thefts += 1;
        self.tally.refreshes += 3 + count as u32;
        self.has_ended(Receipt::new(entry.login_before)).await;
    }

    // ---- crashes ----

    /// A process of its own dies while it refreshes. Nobody gets its answer.
    async fn crash_in_a_refresh(&mut self, ticket: Ticket) {
        let mint = self.mint(ticket, self.session.counter);
        let answered = self.crash(mint, 10).await;
        let committed = self.listed().await.expect("a crash harmed its session") == self.now();
        self.tally.refresh_crashes.count(committed, answered);
        self.tally.refreshes += 1;
    }

    /// Asks for `mint` in a thread with a runtime and a store of its own, all of which is dropped
    /// after up to `awaits` steps. Returns whether the answer came before.
    async fn crash(&mut self, mint: Mint, awaits: u32) -> bool {
        let (options, clock) = (self.options.clone(), self.clock.clone());
        let steps = self.random.random_range(0..=awaits);
        // Either the crash hits while SQLite is at work, or between two awaits.
        let settle = if self.random.random() { Duration::ZERO } else { TICK * 150 };
        let process = move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let store = SqliteStore::connect(options, clock).await.unwrap();
                let refresh = tokio::spawn(async move { store.mint(&mint).await });
                for _ in 0..steps {
                    yield_now().await;
                    // No waiting for a condition: SQLite's thread gets time to answer or not.
                    std::thread::sleep(settle);
                }
                refresh.is_finished()
            })
        };
        spawn_blocking(process).await.unwrap()
    }

    // ---- what the others do ----

    async fn login(&mut self) {
        let sid = Id::random();
        let ticket = self.any().ticket().await.unwrap();
        self.session.sid = sid;
        let mint = Mint { session: MintFor::Login, ..self.mint(ticket, 0) };
        let minted = self.any().mint(&mint).await.unwrap();
        self.session.counter = minted.counter;
        self.session.counted_at = minted.counted_at;
        self.session.highest = minted.stamp;
    }

    /// One client, alone.
    async fn refresh(&mut self, counter: u64) -> Result<Minted, ErrorKind> {
        let ticket = self.any().ticket().await.unwrap();
        let minted = self.any().mint(&self.mint(ticket, counter)).await;
        minted
            .inspect(|minted| self.session.highest = self.session.highest.max(minted.stamp))
            .map_err(|error| error.kind())
    }

    /// A ticket from before a revocation that the session survives.
    async fn stale_ticket(&mut self) -> Ticket {
        let ticket = self.any().ticket().await.unwrap();
        let revocation = Revocation::new(self.any_scope(), Demand::Refresh);
        self.any().revoke(revocation).await.unwrap();
        ticket
    }

    /// The session's end is in the store at `cut_off`, covers all its tokens, and is final.
    async fn has_ended(&mut self, cut_off: Receipt) {
        assert!(revoked(self.session.highest, cut_off.revoked_before()));
        assert_eq!(self.listed().await, None);
        let counter = (self.session.counter + 2).saturating_sub(self.random.random_range(0..4));
        assert_eq!(self.refresh(counter).await.unwrap_err(), ErrorKind::SessionEnded);
    }

    /// The cut-off of the session as a fleet member would learn it.
    async fn session_cut_off(&mut self) -> CutOff {
        let scope = Scope::Session(self.session.sid.clone());
        let entries = self.watch.load().await.unwrap().entries;
        let entry = entries.into_iter().find(|entry| entry.scope == scope);
        entry.expect("the session's end is not in the store").cut_off
    }

    /// When the session was last refreshed, if it is alive.
    async fn listed(&mut self) -> Option<Duration> {
        let filter = SessionFilter::Id(self.session.sid.clone());
        let listed = self.any().sessions(&filter, Lifetimes::default()).await.unwrap();
        listed.first().map(|session| session.last_refresh_at)
    }

    // ---- at random ----

    fn any(&mut self) -> SqliteStore {
        self.handles[self.random.random_range(0..HANDLES)].clone()
    }

    /// 2 to 64, as many times between 2 and 4 as between 32 and 64.
    fn clients(&mut self) -> usize {
        let exponent = self.random.random_range(1.0..=6.0_f64);
        exponent.exp2().round() as usize
    }

    /// Whose revocation ends or outdates the session.
    fn any_scope(&mut self) -> Scope {
        match self.random.random_range(0..4) {
            0 => Scope::Everyone,
            1 => Scope::group("staff").unwrap(),
            2 => Scope::user("alice").unwrap(),
            _ => Scope::Session(self.session.sid.clone()),
        }
    }

    fn habit(&mut self) -> Habit {
        match self.random.random_range(0..6) {
            0 => Habit::LosesTheAnswer,
            1 => Habit::GoesAway {
                polls: self.random.random_range(0..4),
                turns: self.random.random_range(0..20),
            },
            _ => Habit::Waits,
        }
    }

    fn now(&self) -> Duration {
        self.clock.now().wall
    }

    fn mint(&self, ticket: Ticket, counter: u64) -> Mint {
        Mint {
            ticket,
            session: MintFor::Refresh { counter, grace: GRACE },
            sid: self.session.sid.clone(),
            user: Id::new("alice").unwrap(),
            groups: vec![Id::new("staff").unwrap()],
            device: Device::new(),
            lifetimes: Lifetimes::default(),
        }
    }
}

/// As an issuer does it: claims that went stale under way are read again.
async fn patiently(
    store: &SqliteStore,
    mut mint: Mint,
    read_again: &mut u32,
) -> Result<Minted, ErrorKind> {
    loop {
        match store.mint(&mint).await.as_ref().map_err(Error::kind) {
            // There is one revocation in a round.
            Err(ErrorKind::RevokedMeanwhile(Demand::Refresh)) if *read_again < 2 => {
                *read_again += 1;
                mint.ticket = store.ticket().await.unwrap();
            }
            answer => return answer.copied(),
        }
    }
}

/// Drops `future` after so many polls, and then so many turns of the scheduler.
async fn give_up(future: impl Future, polls: u32, turns: u32) {
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Pending if left > 0 => Poll::Pending,
            _ => Poll::Ready(()),
        }
    })
    .await;
    for _ in 0..turns {
        yield_now().await;
    }
}
