//! What all instances share: the database with its copies, the network to it, and the facts.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::FutureExt;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, sleep},
};
use tower_revocation::{
    Demand, EpochStore, Id, Scope,
    cutoff::StoreTime,
    error::{Error, ErrorKind},
    lifetimes::Lifetimes,
    store::{MemoryStore, Mint, Minted, Watch},
};

use crate::{
    clients::Client,
    coverage::{Coverage, Fault, Operation},
    facts::{Facts, Moment, Remembered},
    laws::{self, Held, Violation},
    machine::{Machine, START},
    plan::{Plan, Setup},
};

/// How long a fault that takes no time counts as happening.
const INSTANT: u64 = 1_000;

pub(crate) struct World {
    pub(crate) setup: Setup,
    pub(crate) machines: Vec<Arc<Machine>>,
    pub(crate) database: Arc<Machine>,
    start: Instant,
    inner: Mutex<Inner>,
}

pub(crate) struct Inner {
    pub(crate) facts: Facts,
    pub(crate) clients: Vec<Client>,
    /// The groups of each user, as the service knows them.
    pub(crate) groups: Vec<Vec<Id>>,
    pub(crate) coverage: Coverage,
    pub(crate) violation: Option<Violation>,
    pub(crate) links: Vec<Link>,
    primary: MemoryStore,
    /// How often it was put back, or another one took over.
    generation: u32,
    down_until: u64,
    backup: Copied,
    replica: Copied,
    /// Revocations that were requested in transactions that have committed.
    requests: Vec<Request>,
    underway: BTreeMap<u64, (Operation, usize)>,
    next_underway: u64,
    history: History,
    /// Up to where listeners were told that there is news.
    told: StoreTime,
}

/// An instance's connection to the database.
pub(crate) struct Link {
    random: StdRng,
    /// How often its instance was started; `None` while that is down.
    pub(crate) boot: Option<u32>,
    pub(crate) boots: u32,
    /// The start after which it has loaded everything.
    pub(crate) loaded: Option<u32>,
    /// Until when each fault happens to it.
    faults: [u64; Fault::ALL.len()],
    slow_by: u64,
    hints_late_by: u64,
    heartbeat: bool,
    listener: Option<UnboundedSender<Notice>>,
}

/// What a listener hears.
pub(crate) enum Notice {
    Hint,
    /// The connection is gone: the last thing it hears.
    Lost,
}

/// The database as it was.
struct Copied {
    store: MemoryStore,
    remembered: Remembered,
    taken: Moment,
}

struct Request {
    revocation: usize,
    committed: Moment,
    pending: bool,
}

/// What has happened: a number that stands for all of it, and the words if they are wanted.
struct History {
    hasher: DefaultHasher,
    lines: Option<Vec<String>>,
}

/// The fate of a message to the database and its answer.
#[derive(Clone, Copy)]
pub(crate) struct Fate {
    pub(crate) there: Duration,
    pub(crate) back: Duration,
    pub(crate) lost: Option<Loss>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// It never arrives, and that is known at once.
    Request,
    /// It is executed, and the connection breaks before the answer.
    Answer,
    /// Nothing is heard of it.
    Silence,
}

/// Which database a message is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Primary,
    /// The one that the instance is connected to.
    Any,
    /// The same, over the connection that was made to this generation of it.
    Over(u32),
}

/// The database that a message reaches.
pub(crate) struct Reached {
    pub(crate) store: MemoryStore,
    pub(crate) generation: u32,
    /// Of a replica, how far it is behind.
    pub(crate) behind: Option<Duration>,
    pub(crate) heartbeat: bool,
}

/// An operation that is under way until this is dropped.
pub(crate) struct Underway {
    world: Arc<World>,
    number: u64,
}

impl World {
    /// Inside the runtime, whose time it follows.
    pub(crate) fn new(plan: &Plan, in_words: bool) -> Arc<Self> {
        let start = Instant::now();
        let database = Machine::new(start);
        let primary = MemoryStore::with_clock(database.clock());
        let mut facts = Facts::default();
        let taken = facts.moment(0);
        let copied =
            || Copied { store: primary.copied(), remembered: Remembered::default(), taken };
        let setup = plan.setup.clone();
        let links = (0..setup.instances).map(|instance| Link {
            random: StdRng::seed_from_u64(plan.seed ^ (instance as u64 + 1) << 56),
            boot: None,
            boots: 0,
            loaded: None,
            faults: [0; Fault::ALL.len()],
            slow_by: 0,
            hints_late_by: 0,
            heartbeat: false,
            listener: None,
        });
        let (backup, replica) = (copied(), copied());
        let inner = Inner {
            facts,
            clients: Vec::new(),
            groups: (0..setup.users).map(|user| vec![group(user % setup.groups)]).collect(),
            coverage: Coverage::default(),
            violation: None,
            links: links.collect(),
            primary,
            generation: 0,
            down_until: 0,
            backup,
            replica,
            requests: Vec::new(),
            underway: BTreeMap::new(),
            next_underway: 0,
            history: History { hasher: DefaultHasher::new(), lines: in_words.then(Vec::new) },
            told: StoreTime::ZERO,
        };
        Arc::new(Self {
            machines: (0..setup.instances).map(|_| Machine::new(start)).collect(),
            setup,
            database,
            start,
            inner: Mutex::new(inner),
        })
    }

    /// Milliseconds since the start.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(Instant::now().duration_since(self.start).as_millis()).unwrap()
    }

    pub(crate) fn moment(&self) -> Moment {
        self.inner().facts.moment(self.now())
    }

    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- what is written down ----

    pub(crate) fn note(&self, line: impl FnOnce(&Facts) -> String) {
        let now = self.now();
        let mut inner = self.inner();
        let line = line(&inner.facts);
        inner.history.note(now, line);
    }

    pub(crate) fn hold(&self, held: Held) {
        if let Err(violation) = held {
            let now = self.now();
            let mut inner = self.inner();
            inner.history.note(now, violation.to_string());
            inner.violation.get_or_insert(violation);
        }
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.inner().violation.is_some()
    }

    /// A number that stands for all that has happened, and its words.
    pub(crate) fn history(&self) -> (u64, Vec<String>) {
        let mut inner = self.inner();
        let lines = inner.history.lines.take().unwrap_or_default();
        (inner.history.hasher.finish(), lines)
    }

    // ---- faults ----

    /// Something goes wrong at `instance`, or everywhere, for so many milliseconds.
    pub(crate) fn fault(&self, fault: Fault, instance: Option<usize>, lasts: u64) {
        let until = self.now() + lasts.max(INSTANT);
        let mut inner = self.inner();
        let Inner { coverage, underway, links, .. } = &mut *inner;
        for (at, link) in links.iter_mut().enumerate() {
            if instance.is_none_or(|instance| instance == at) {
                link.faults[fault as usize] = link.faults[fault as usize].max(until);
            }
        }
        for (operation, at) in underway.values() {
            if instance.is_none_or(|instance| instance == *at) {
                coverage.meet(fault, *operation);
            }
        }
    }

    pub(crate) fn slow(&self, instance: usize, by: u64, lasts: u64) {
        self.inner().links[instance].slow_by = by;
        self.fault(Fault::Slow, Some(instance), lasts);
    }

    pub(crate) fn delay_hints(&self, instance: usize, by: u64, lasts: u64) {
        self.inner().links[instance].hints_late_by = by;
        self.fault(Fault::DelayedHint, Some(instance), lasts);
    }

    pub(crate) fn go_to_replica(&self, instance: usize, heartbeat: bool, lasts: u64) {
        self.inner().links[instance].heartbeat = heartbeat;
        self.fault(Fault::Replica, Some(instance), lasts);
    }

    pub(crate) fn lose_listener(&self, instance: usize) {
        if let Some(listener) = self.inner().links[instance].listener.take() {
            // An error: its instance is down.
            let _ = listener.send(Notice::Lost);
        }
        self.fault(Fault::LostListener, Some(instance), 0);
    }

    /// Nothing goes wrong any more.
    pub(crate) fn heal(&self) {
        for link in &mut self.inner().links {
            link.faults = [0; Fault::ALL.len()];
        }
    }

    pub(crate) fn begin(self: &Arc<Self>, operation: Operation, instance: usize) -> Underway {
        let now = self.now();
        let mut inner = self.inner();
        let Inner { coverage, links, underway, next_underway, .. } = &mut *inner;
        for fault in Fault::ALL {
            if links[instance].has(fault, now) {
                coverage.meet(fault, operation);
            }
        }
        *next_underway += 1;
        underway.insert(*next_underway, (operation, instance));
        Underway { world: self.clone(), number: *next_underway }
    }

    // ---- the network ----

    /// Waits while the instance stands still; for ever, if it has crashed meanwhile.
    pub(crate) async fn running(&self, instance: usize, boot: u32) {
        self.machines[instance].running().await;
        if self.inner().links[instance].boot != Some(boot) {
            std::future::pending::<()>().await;
        }
    }

    /// What becomes of the next message of `instance`.
    pub(crate) fn fate(&self, instance: usize) -> Fate {
        let now = self.now();
        let link = &mut self.inner().links[instance];
        let (slow, failing) = (link.has(Fault::Slow, now), link.has(Fault::Failing, now));
        let most = if slow { link.slow_by } else { 8 };
        let random = &mut link.random;
        let mut delay = || Duration::from_millis(random.random_range(1..=most.max(1)));
        let (there, back) = (delay(), delay());
        let lost = match random.random_range(0..8) {
            0 | 1 if failing => Some(Loss::Request),
            2 | 3 if failing => Some(Loss::Answer),
            4 | 5 if failing => Some(Loss::Silence),
            _ => None,
        };
        Fate { there, back, lost }
    }

    /// The database that a message of `instance` reaches; `None` if there is none.
    pub(crate) fn reached(&self, instance: usize, asked: Asked) -> Option<Reached> {
        let now = self.now();
        let inner = self.inner();
        let link = &inner.links[instance];
        let (generation, heartbeat) = (inner.generation, link.heartbeat);
        if let Asked::Over(connection) = asked
            && connection != generation
            && !self.setup.pooled
        {
            return None;
        }
        if asked != Asked::Primary && link.has(Fault::Replica, now) {
            let behind = Some(Duration::from_millis(now - inner.replica.taken.at));
            let store = inner.replica.store.clone();
            return Some(Reached { store, generation, behind, heartbeat });
        }
        let store = inner.primary.clone();
        (now >= inner.down_until).then_some(Reached { store, generation, behind: None, heartbeat })
    }

    pub(crate) fn generation(&self) -> u32 {
        self.inner().generation
    }

    /// The latest that the database's clock can be thought to say now.
    pub(crate) fn latest(&self) -> Duration {
        START + Duration::from_millis(self.now()) + self.database.furthest_ahead()
    }

    /// A new listener of `instance`, in the place of the one before.
    pub(crate) fn listen(&self, instance: usize) -> UnboundedReceiver<Notice> {
        let (sender, receiver) = unbounded_channel();
        self.inner().links[instance].listener = Some(sender);
        receiver
    }

    /// The primary has executed something, so what was pending is sealed. To be called before the
    /// facts learn what it was.
    pub(crate) fn executed(&self) {
        let primary = self.inner().primary.clone();
        if self.inner().requests.iter().any(|request| request.pending) {
            let mut watch = primary.watch().now_or_never().unwrap().unwrap();
            let changes = watch.load().now_or_never().unwrap().unwrap();
            let at = self.now();
            let inner = &mut *self.inner();
            for request in inner.requests.iter_mut().filter(|request| request.pending) {
                request.pending = false;
                let revocation = &inner.facts.revocations[request.revocation];
                let entry = changes.entries.iter().find(|entry| entry.scope == revocation.scope);
                let cut_off = entry.expect("it was sealed").cut_off;
                let cut_off = match revocation.demand {
                    Demand::Refresh => cut_off.reissue_before,
                    _ => cut_off.login_before,
                };
                inner.facts.sealed(request.revocation, cut_off, at);
            }
        }
    }

    /// Tells all that listen of what was revoked since they were told last.
    pub(crate) fn tell_news(&self) {
        let (newest, told) = {
            let inner = &mut *self.inner();
            let newest = inner.facts.remembered.newest;
            (newest, std::mem::replace(&mut inner.told, newest))
        };
        if newest > told {
            self.announce();
        }
    }

    /// Tells all that listen that there may be news.
    fn announce(&self) {
        let now = self.now();
        for link in &mut self.inner().links {
            let Some(listener) = &link.listener else { continue };
            let lost = link.has(Fault::LostHint, now) && link.random.random_ratio(3, 4);
            let times = match (lost, link.has(Fault::DuplicatedHint, now)) {
                (true, _) => 0,
                (_, true) => 3,
                _ => 1,
            };
            let late = if link.has(Fault::DelayedHint, now) { link.hints_late_by } else { 8 };
            for _ in 0..times {
                let delay = Duration::from_millis(link.random.random_range(1..=late));
                let listener = listener.clone();
                tokio::spawn(async move {
                    sleep(delay).await;
                    // An error: it has gone.
                    let _ = listener.send(Notice::Hint);
                });
            }
        }
    }

    /// A revocation is called. Returns its place among the facts.
    pub(crate) fn call(&self, scope: &Scope, demand: Demand, spared: Option<Id>) -> usize {
        let now = self.now();
        self.inner().facts.called(scope.clone(), demand, spared, now)
    }

    /// A transaction has committed that requests a revocation.
    pub(crate) fn requested(&self, revocation: usize) {
        let committed = self.moment();
        self.inner().requests.push(Request { revocation, committed, pending: true });
        self.announce();
    }

    // ---- what the database has executed ----

    pub(crate) fn sealed(&self, revocation: usize, cut_off: StoreTime) {
        let now = self.now();
        let inner = &mut *self.inner();
        inner.facts.sealed(revocation, cut_off, now);
    }

    pub(crate) fn returned(&self, revocation: usize) {
        let now = self.now();
        let inner = &mut *self.inner();
        let returned = inner.facts.moment(now);
        inner.facts.revocations[revocation].returned = Some(returned);
    }

    /// It has minted, or refused to; its clock was set within `range` so far.
    pub(crate) fn minted(&self, mint: &Mint, minted: &Result<Minted, Error>, range: Duration) {
        match minted {
            Ok(minted) => {
                let held = laws::mint(&self.inner().facts, mint, minted);
                self.hold(held);
                self.inner().facts.minted(mint, minted);
            }
            Err(refused) => {
                if let ErrorKind::RefreshTokenReused(receipt) = refused.kind() {
                    // Called by the database itself.
                    let stolen = Scope::Session(mint.sid.clone());
                    let revocation = self.call(&stolen, Demand::Login, None);
                    self.sealed(revocation, receipt.revoked_before());
                }
                let now = self.database.reading().wall;
                let held = laws::refusal(&self.inner().facts, mint, refused.kind(), now, range);
                self.hold(held);
            }
        }
    }

    pub(crate) fn advanced(&self, newest: StoreTime) {
        let inner = &mut *self.inner();
        let remembered = &mut inner.facts.remembered;
        remembered.newest = remembered.newest.max(newest);
    }

    pub(crate) fn purged(&self, lifetimes: Lifetimes) {
        let now = self.database.reading().wall;
        let sessions = &mut self.inner().facts.remembered.sessions;
        sessions.retain(|_, session| {
            !laws::is_over(session.began, session.refreshed_at, now, lifetimes)
        });
    }

    /// An instance got the answer to a full load.
    pub(crate) fn loaded(&self, instance: usize, boot: u32) {
        self.inner().links[instance].loaded = Some(boot);
    }

    // ---- copies of the database ----

    /// Takes a backup, or has the replica catch up.
    pub(crate) fn copy(&self, backup: bool) {
        // What is pending is sealed on the way, as anybody may do.
        let primary = self.inner().primary.clone();
        let _ = primary.ticket().now_or_never().unwrap().unwrap();
        self.executed();
        let taken = self.moment();
        let inner = &mut *self.inner();
        let remembered = inner.facts.remembered.clone();
        let copied = Copied { store: primary.copied(), remembered, taken };
        *(if backup { &mut inner.backup } else { &mut inner.replica }) = copied;
    }

    /// The backup is put in the place of the database, or the replica takes over.
    pub(crate) fn go_back(&self, to_backup: bool, down: u64) {
        let now = self.now();
        {
            let inner = &mut *self.inner();
            let copied = if to_backup { &inner.backup } else { &inner.replica };
            let taken = copied.taken;
            inner.primary = copied.store.copied();
            inner.facts.go_back(copied.remembered.clone(), taken, now);
            inner.generation += 1;
            inner.down_until = now + down;
            // What was committed by then was sealed by then, too.
            inner.requests.retain(|request| request.committed < taken && !request.pending);
            if !self.setup.pooled {
                for link in &mut inner.links {
                    if let Some(listener) = link.listener.take() {
                        let _ = listener.send(Notice::Lost);
                    }
                }
            }
        }
        self.fault(if to_backup { Fault::Restore } else { Fault::Failover }, None, 0);
    }
}

impl Inner {
    /// The groups that `user` is in, as the service knows them now.
    pub(crate) fn groups_of(&self, user: &Id) -> Vec<Id> {
        let number = user.as_str().strip_prefix("user-").and_then(|number| number.parse().ok());
        number.map_or(Vec::new(), |number: usize| self.groups[number].clone())
    }
}

impl Link {
    pub(crate) fn has(&self, fault: Fault, now: u64) -> bool {
        self.faults[fault as usize] > now
    }
}

impl History {
    fn note(&mut self, now: u64, line: String) {
        (now, &line).hash(&mut self.hasher);
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{now:>6} ms  {line}"));
        }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.world.inner().underway.remove(&self.number);
    }
}

pub(crate) fn group(number: usize) -> Id {
    Id::new(&format!("group-{number}")).unwrap()
}

pub(crate) fn user(number: usize) -> Id {
    Id::new(&format!("user-{number}")).unwrap()
}
