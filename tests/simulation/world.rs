//! What all instances share: the database with its copies, the network to it, and the facts.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;
use tower_revocation::{Id, cutoff::StoreTime, store::MemoryStore};

use crate::{
    clients::Client,
    coverage::{Coverage, Fault, Operation},
    database::{Copied, Request},
    facts::{Facts, Moment, Remembered},
    laws::{Held, Violation},
    machine::Machine,
    network::Link,
    plan::{Plan, Setup},
};

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
    pub(crate) primary: MemoryStore,
    /// How often it was put back, or another one took over.
    pub(crate) generation: u32,
    pub(crate) down_until: u64,
    pub(crate) backup: Copied,
    pub(crate) replica: Copied,
    /// Revocations that were requested in transactions that have committed.
    pub(crate) requests: Vec<Request>,
    pub(crate) underway: BTreeMap<u64, (Operation, usize)>,
    next_underway: u64,
    history: History,
    /// Up to where listeners were told that there is news.
    pub(crate) told: StoreTime,
}

/// What has happened: a number that stands for all of it, and the words if they are wanted.
struct History {
    hasher: DefaultHasher,
    lines: Option<Vec<String>>,
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
        let links = (0..setup.instances).map(|instance| Link::new(plan.seed, instance));
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

    // ---- what is under way ----

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
}

impl Inner {
    /// The groups that `user` is in, as the service knows them now.
    pub(crate) fn groups_of(&self, user: &Id) -> Vec<Id> {
        let number = user.as_str().strip_prefix("user-").and_then(|number| number.parse().ok());
        number.map_or(Vec::new(), |number: usize| self.groups[number].clone())
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
