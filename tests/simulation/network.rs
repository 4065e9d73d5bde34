//! The network between the instances and the database: what becomes of messages, and of hints.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::sleep,
};
use tower_revocation::store::MemoryStore;

use crate::{
    coverage::Fault,
    machine::START,
    world::{Inner, World},
};

/// How long a fault that takes no time counts as happening.
const INSTANT: u64 = 1_000;

/// An instance's connection to the database.
pub(crate) struct Link {
    pub(crate) random: StdRng,
    /// How often its instance was started; `None` while that is down.
    pub(crate) boot: Option<u32>,
    pub(crate) boots: u32,
    /// The start after which it has loaded everything.
    pub(crate) loaded: Option<u32>,
    /// Until when each fault happens to it.
    pub(crate) faults: [u64; Fault::ALL.len()],
    slow_by: u64,
    hints_late_by: u64,
    heartbeat: bool,
    pub(crate) listener: Option<UnboundedSender<Notice>>,
}

/// What a listener hears.
pub(crate) enum Notice {
    Hint,
    /// The connection is gone: the last thing it hears.
    Lost,
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

impl Link {
    pub(crate) fn new(seed: u64, instance: usize) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed ^ (instance as u64 + 1) << 56),
            boot: None,
            boots: 0,
            loaded: None,
            faults: [0; Fault::ALL.len()],
            slow_by: 0,
            hints_late_by: 0,
            heartbeat: false,
            listener: None,
        }
    }

    pub(crate) fn has(&self, fault: Fault, now: u64) -> bool {
        self.faults[fault as usize] > now
    }
}

impl World {
    // ---- what goes wrong ----

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

    // ---- messages ----

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

    /// An instance got the answer to a full load.
    pub(crate) fn loaded(&self, instance: usize, boot: u32) {
        self.inner().links[instance].loaded = Some(boot);
    }

    // ---- hints ----

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
    pub(crate) fn announce(&self) {
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
}
