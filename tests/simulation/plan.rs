//! From a seed to a plan: how the fleet is set up, and what happens when. All that is random about
//! a history is in here and in the delays of the network, which go by the same seed.

use std::{fmt, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tower_revocation::{Demand, lifetimes::Lifetimes};

use crate::machine::Suspension;

/// What is done to the fleet.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) setup: Setup,
    pub(crate) steps: Vec<Step>,
}

/// How the fleet is set up. Times are in milliseconds.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) instances: usize,
    pub(crate) users: usize,
    pub(crate) groups: usize,
    pub(crate) poll: u64,
    pub(crate) query_timeout: u64,
    pub(crate) max_staleness: u64,
    pub(crate) reload: u64,
    pub(crate) purge: u64,
    /// What each instance does while its copy is stale.
    pub(crate) stale: Vec<WhileStale>,
    /// How many buckets the copy of each instance has; none if it is exact. One holds all, whatever
    /// the key of the hash, which is random.
    pub(crate) buckets: Vec<Option<u32>>,
    /// Whether connections survive a restore or a failover, as behind a pooler.
    pub(crate) pooled: bool,
    /// When the last step is over and all is healed.
    pub(crate) heal_at: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhileStale {
    Refuse,
    Confirm,
    Trust { extra: u64 },
}

/// Something that happens at an instance, or to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// In milliseconds from the start.
    pub(crate) at: u64,
    pub(crate) instance: usize,
    pub(crate) action: Action,
}

/// What happens. Numbers that choose one of several count around; times are in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    // ---- what clients do ----
    /// Reads the password `think` after the ticket.
    Login {
        user: usize,
        think: u64,
    },
    /// With the refresh token as it was so many refreshes ago.
    Refresh {
        session: usize,
        back: usize,
        think: u64,
    },
    /// A request through the layer, which may renew, with the token so many ago.
    Request {
        session: usize,
        back: usize,
    },
    /// A check of each living token of which nothing happens but that it is interrupted.
    Check {
        session: usize,
        back: usize,
        interrupted: u64,
    },
    Revoke {
        target: Target,
        demand: Demand,
        /// For it to be enforced everywhere, at most so long.
        waits: Option<u64>,
    },
    /// A revocation in the caller's transaction.
    Transaction {
        target: Target,
        demand: Demand,
        open: u64,
        end: End,
        waits: Option<u64>,
    },
    /// "All others but me", and the pair of tokens that follows.
    Others {
        session: usize,
    },
    Move {
        user: usize,
        groups: usize,
        revoke: bool,
    },
    Purge,
    // ---- what goes wrong ----
    Slow {
        by: u64,
        lasts: u64,
    },
    Fail {
        lasts: u64,
    },
    LoseHints {
        lasts: u64,
    },
    DuplicateHints {
        lasts: u64,
    },
    DelayHints {
        by: u64,
        lasts: u64,
    },
    LoseListener,
    /// The instance is connected to the replica; whether that knows how far it is behind.
    Replica {
        heartbeat: bool,
        lasts: u64,
    },
    Suspend {
        how: Suspension,
        lasts: u64,
    },
    StepWall {
        by: i64,
    },
    StepDatabase {
        by: i64,
    },
    Crash {
        down: u64,
    },
    /// A backup is taken, and the replica catches up.
    Copy {
        backup: bool,
    },
    Restore,
    Failover,
}

/// What becomes of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    RolledBack,
    Committed,
    /// Committed, and the receipt is awaited.
    Sealed,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    Everyone,
    Group(usize),
    User(usize),
    Session(usize),
    Token(usize),
}

/// As short as they can be for all the limits to be met within a minute.
pub(crate) fn lifetimes() -> Lifetimes {
    let seconds = Duration::from_secs;
    Lifetimes::new(seconds(10), seconds(45), seconds(5))
        .and_then(|lifetimes| lifetimes.with_idle(seconds(30)))
        .unwrap()
}

/// How far the wall clocks step, in microseconds.
const STEP: i64 = 5_000_000;

impl Plan {
    pub(crate) fn of(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let long = random.random_ratio(1, 4);
        let setup = Setup::random(&mut random, long);
        // Each history has a mixture of its own, in which some things never happen.
        let weights: Vec<u32> =
            KINDS.iter().map(|(_, weight)| weight * random.random_range(0..=3)).collect();
        let count = random.random_range(15..if long { 60 } else { 45 });
        let last = setup.heal_at - 500;
        let mut steps: Vec<Step> = (0..count)
            .map(|_| Step {
                at: random.random_range(0..last),
                instance: random.random_range(0..setup.instances),
                action: action(&mut random, &setup, &weights),
            })
            .collect();
        // Somebody to begin with.
        for at in 0..random.random_range(1..=3) {
            let action = Action::Login { user: random.random_range(0..setup.users), think: 0 };
            steps.push(Step { at: 100 + at, instance: 0, action });
        }
        steps.sort_by_key(|step| step.at);
        Self { seed, setup, steps }
    }

    /// The same without some of the steps.
    pub(crate) fn with(&self, steps: Vec<Step>) -> Self {
        Self { seed: self.seed, setup: self.setup.clone(), steps }
    }
}

impl Setup {
    /// The longest time for which an instance may accept what is revoked.
    pub(crate) fn longest_bound(&self) -> u64 {
        let trusts = |stale: &WhileStale| match stale {
            WhileStale::Trust { extra } => *extra,
            _ => 0,
        };
        self.max_staleness + self.stale.iter().map(trusts).max().unwrap_or(0)
    }

    fn random(random: &mut StdRng, long: bool) -> Self {
        let instances = random.random_range(1..=if long { 2 } else { 5 });
        let poll = if long { 1_000 } else { [250, 500, 1_000][random.random_range(0..3)] };
        let max_staleness = poll * [3, 4, 6][random.random_range(0..3)];
        let stale: Vec<WhileStale> = (0..instances)
            .map(|_| match random.random_range(0..4) {
                0 => WhileStale::Confirm,
                1 => WhileStale::Trust { extra: 2_000 },
                _ => WhileStale::Refuse,
            })
            .collect();
        let buckets: Vec<Option<u32>> =
            (0..instances).map(|_| random.random_ratio(1, 5).then_some(1)).collect();
        Self {
            instances,
            users: random.random_range(1..=3),
            groups: random.random_range(1..=3),
            poll,
            query_timeout: poll * [1, 2, 4][random.random_range(0..3)],
            max_staleness,
            reload: [3_000, 20_000][random.random_range(0..2)],
            purge: [3_000, 9_000][random.random_range(0..2)],
            stale,
            buckets,
            pooled: random.random_ratio(1, 3),
            heal_at: if long { 70_000 } else { random.random_range(8_000..25_000) },
        }
    }
}

/// What can happen, and how often.
const KINDS: [(Kind, u32); 20] = [
    (Kind::Login, 8),
    (Kind::Refresh, 10),
    (Kind::Request, 12),
    (Kind::Check, 12),
    (Kind::Revoke, 10),
    (Kind::Transaction, 4),
    (Kind::Others, 2),
    (Kind::Move, 2),
    (Kind::Purge, 1),
    (Kind::Slow, 3),
    (Kind::Fail, 3),
    (Kind::Hints, 5),
    (Kind::Replica, 2),
    (Kind::Suspend, 3),
    (Kind::StepWall, 2),
    (Kind::StepDatabase, 3),
    (Kind::Crash, 2),
    (Kind::Copy, 3),
    (Kind::Restore, 1),
    (Kind::Failover, 1),
];

#[derive(Clone, Copy)]
enum Kind {
    Login,
    Refresh,
    Request,
    Check,
    Revoke,
    Transaction,
    Others,
    Move,
    Purge,
    Slow,
    Fail,
    Hints,
    Replica,
    Suspend,
    StepWall,
    StepDatabase,
    Crash,
    Copy,
    Restore,
    Failover,
}

fn action(random: &mut StdRng, setup: &Setup, weights: &[u32]) -> Action {
    let all: u32 = weights.iter().sum();
    let mut left = random.random_range(0..all.max(1));
    let chosen = weights.iter().position(|weight| {
        let here = left < *weight;
        left = left.saturating_sub(*weight);
        here
    });
    let Some(chosen) = chosen else { return Action::Purge };
    let any = |random: &mut StdRng| random.random_range(0..16_usize);
    let back = |random: &mut StdRng| {
        if random.random_ratio(2, 3) { 0 } else { random.random_range(0..4) }
    };
    let lasts = |random: &mut StdRng| random.random_range(500..8_000_u64);
    let step = |random: &mut StdRng| if random.random() { STEP } else { -STEP };
    match KINDS[chosen].0 {
        Kind::Login => Action::Login {
            user: random.random_range(0..setup.users),
            think: random.random_range(0..400),
        },
        Kind::Refresh => Action::Refresh {
            session: any(random),
            back: if random.random_ratio(9, 10) { 0 } else { random.random_range(1..4) },
            think: random.random_range(0..400),
        },
        Kind::Request => Action::Request { session: any(random), back: back(random) },
        Kind::Check => Action::Check {
            session: any(random),
            back: back(random),
            interrupted: if random.random() { 0 } else { random.random_range(1..1_500) },
        },
        Kind::Revoke => Action::Revoke {
            target: target(random, setup),
            demand: demand(random),
            waits: waits(random),
        },
        Kind::Transaction => Action::Transaction {
            target: target(random, setup),
            demand: demand(random),
            open: random.random_range(0..300),
            end: [End::RolledBack, End::Committed, End::Sealed, End::Sealed]
                [random.random_range(0..4)],
            waits: waits(random),
        },
        Kind::Others => Action::Others { session: any(random) },
        Kind::Move => Action::Move {
            user: random.random_range(0..setup.users),
            groups: random.random_range(0..1 << setup.groups),
            revoke: random.random(),
        },
        Kind::Purge => Action::Purge,
        Kind::Slow => Action::Slow { by: random.random_range(50..2_500), lasts: lasts(random) },
        Kind::Fail => Action::Fail { lasts: lasts(random) },
        Kind::Hints => match random.random_range(0..4) {
            0 => Action::LoseHints { lasts: lasts(random) },
            1 => Action::DuplicateHints { lasts: lasts(random) },
            2 => Action::DelayHints { by: random.random_range(50..3_000), lasts: lasts(random) },
            _ => Action::LoseListener,
        },
        Kind::Replica => Action::Replica { heartbeat: random.random(), lasts: lasts(random) },
        Kind::Suspend => Action::Suspend {
            how: if random.random() { Suspension::Sleep } else { Suspension::Stop },
            lasts: random.random_range(500..20_000),
        },
        Kind::StepWall => Action::StepWall { by: step(random) },
        Kind::StepDatabase => Action::StepDatabase { by: step(random) },
        Kind::Crash => Action::Crash { down: random.random_range(50..5_000) },
        Kind::Copy => Action::Copy { backup: random.random() },
        Kind::Restore => Action::Restore,
        Kind::Failover => Action::Failover,
    }
}

fn target(random: &mut StdRng, setup: &Setup) -> Target {
    match random.random_range(0..10) {
        0 => Target::Everyone,
        1 | 2 => Target::Group(random.random_range(0..setup.groups)),
        3..6 => Target::User(random.random_range(0..setup.users)),
        6..8 => Target::Session(random.random_range(0..16)),
        _ => Target::Token(random.random_range(0..16)),
    }
}

fn waits(random: &mut StdRng) -> Option<u64> {
    random.random_ratio(2, 3).then(|| random.random_range(100..15_000))
}

fn demand(random: &mut StdRng) -> Demand {
    if random.random() { Demand::Refresh } else { Demand::Login }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6} ms  instance {}  {:?}", self.at, self.instance, self.action)
    }
}
