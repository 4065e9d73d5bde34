//! Runs a plan. What is on the machines runs in a runtime whose time is paused, and moves to the next
//! event when nothing is left to do; what happens to them, and checks, are done between two events.

use std::{collections::BTreeMap, rc::Rc, sync::Arc, time::Duration};

use tokio::{
    runtime::{Builder, Runtime},
    time::{sleep, timeout},
};
use tower_revocation::{Demand, EpochStore, Grant, NoClaims, Rejection, Revocation, Scope};

use crate::{
    clients,
    coverage::{Coverage, Fault, Operation},
    facts::Token,
    instance::Running,
    laws::{self, Law, Violation},
    machine::{START, Suspension, interrupted},
    plan::{Action, Plan, Target},
    world::{World, group, user},
};

/// What has come of a plan.
#[derive(Debug)]
pub(crate) struct Run {
    /// The same for the same history.
    pub(crate) history: u64,
    pub(crate) lines: Vec<String>,
    pub(crate) violation: Option<Violation>,
    pub(crate) coverage: Coverage,
}

/// How often the copies are looked at when nothing else happens, in milliseconds.
const LOOK: u64 = 1_000;

/// How long a database is down when it is put back.
const DOWN: u64 = 200;

/// How long a revocation may take to reach an instance where all is well.
const PUSH: Duration = Duration::from_millis(100);

/// How far the database's wall clock may be off, in microseconds.
const MOST_OFF: i64 = 5_000_000;

pub(crate) fn run(plan: &Plan, in_words: bool) -> Run {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let runtime = Rc::new(runtime);
    let guard = runtime.enter();
    let world = World::new(plan, in_words);
    let mut fleet = Fleet::new(runtime.clone(), world.clone());
    fleet.go_through(plan);
    if !world.is_broken() {
        fleet.recover(plan);
    }
    drop(fleet);
    let (history, lines) = world.history();
    let (violation, coverage) = {
        let inner = &mut *world.inner();
        (inner.violation.take(), std::mem::take(&mut inner.coverage))
    };
    drop(guard);
    Run { history, lines, violation, coverage }
}

struct Fleet {
    runtime: Rc<Runtime>,
    world: Arc<World>,
    instances: Vec<Option<Running>>,
    agenda: BTreeMap<(u64, usize), Event>,
    number: usize,
}

enum Event {
    Step(usize),
    Restart(usize),
    Resume(usize, Suspension),
    Look,
}

impl Fleet {
    fn new(runtime: Rc<Runtime>, world: Arc<World>) -> Self {
        let instances = (0..world.setup.instances).map(|at| Some(Running::start(&world, at)));
        let instances = instances.collect();
        Self { runtime, world, instances, agenda: BTreeMap::new(), number: 0 }
    }

    fn go_through(&mut self, plan: &Plan) {
        for (index, step) in plan.steps.iter().enumerate() {
            self.at(step.at, Event::Step(index));
        }
        for at in (LOOK..plan.setup.heal_at).step_by(LOOK as usize) {
            self.at(at, Event::Look);
        }
        while let Some(((at, _), event)) = self.agenda.pop_first() {
            self.wait_until(at);
            if self.world.is_broken() || at >= plan.setup.heal_at {
                break;
            }
            match event {
                Event::Step(index) => {
                    let step = &plan.steps[index];
                    self.act(step.instance, step.action);
                }
                Event::Restart(at) => self.restart(at),
                Event::Resume(at, how) => self.resume(at, how),
                Event::Look => {}
            }
            self.look();
        }
    }

    fn at(&mut self, at: u64, event: Event) {
        self.number += 1;
        self.agenda.insert((at, self.number), event);
    }

    fn after(&mut self, by: u64, event: Event) {
        self.at(self.world.now() + by, event);
    }

    /// Lets the machines run.
    fn wait_until(&self, at: u64) {
        self.wait(at.saturating_sub(self.world.now()));
    }

    fn wait(&self, millis: u64) {
        self.runtime.block_on(sleep(Duration::from_millis(millis)));
    }

    // ---- what happens ----

    fn act(&mut self, at: usize, action: Action) {
        let world = self.world.clone();
        match action {
            Action::Slow { by, lasts } => world.slow(at, by, lasts),
            Action::Fail { lasts } => world.fault(Fault::Failing, Some(at), lasts),
            Action::LoseHints { lasts } => world.fault(Fault::LostHint, Some(at), lasts),
            Action::DuplicateHints { lasts } => world.fault(Fault::DuplicatedHint, Some(at), lasts),
            Action::DelayHints { by, lasts } => world.delay_hints(at, by, lasts),
            Action::LoseListener => world.lose_listener(at),
            Action::Replica { heartbeat, lasts } => world.go_to_replica(at, heartbeat, lasts),
            Action::Suspend { how, lasts } => self.suspend(at, how, lasts),
            Action::StepWall { by } => {
                world.machines[at].step(by);
                world.fault(if by < 0 { Fault::WallBack } else { Fault::WallForward }, Some(at), 0);
            }
            Action::StepDatabase { by } => {
                let stepped = world.database.stepped();
                world.database.step((stepped + by).clamp(-MOST_OFF, MOST_OFF) - stepped);
                let fault = if by < 0 { Fault::DatabaseBack } else { Fault::DatabaseForward };
                world.fault(fault, None, 0);
            }
            Action::Crash { down } => self.crash(at, down),
            Action::Copy { backup } => world.copy(backup),
            Action::Restore => world.go_back(true, DOWN),
            Action::Failover => world.go_back(false, DOWN),
            Action::Check { session, back, interrupted } => {
                self.check(at, session, back, interrupted);
            }
            of_clients => return self.serve(at, of_clients),
        }
        world.note(|_| format!("at {at}: {action:?}"));
    }

    /// What an instance does for clients; nothing, while it is down.
    fn serve(&mut self, at: usize, action: Action) {
        let world = self.world.clone();
        let Some(running) = &mut self.instances[at] else { return };
        let instance = running.instance.clone();
        match action {
            Action::Login { user: number, think } => {
                running.spawn(clients::login(instance, user(number), think));
            }
            Action::Refresh { session, back, think } => {
                let Some(client) = client(&world, session) else { return };
                running.spawn(clients::refresh(instance, client, back, think));
            }
            Action::Request { session, back } => {
                let Some((client, token)) = token_of(&world, session, back) else { return };
                running.spawn(clients::request(instance, client, token));
            }
            Action::Revoke { target, demand, waits } => {
                let Some(scope) = scope(&world, target) else { return };
                running.spawn(clients::revoke(instance, scope, demand, waits));
            }
            Action::Transaction { target, demand, open, end, waits } => {
                let Some(scope) = scope(&world, target) else { return };
                running.spawn(clients::transaction(instance, scope, demand, open, end, waits));
            }
            Action::Others { session } => {
                let Some(client) = client(&world, session) else { return };
                running.spawn(clients::others(instance, client));
            }
            Action::Move { user: number, groups, revoke } => {
                let all = (0..world.setup.groups).filter(|group| groups >> group & 1 == 1);
                world.inner().groups[number] = all.map(group).collect();
                if revoke {
                    let scope = Scope::User(user(number));
                    running.spawn(clients::revoke(instance, scope, Demand::Refresh, None));
                }
            }
            _ => running.spawn(clients::purge(instance)),
        }
    }

    fn suspend(&mut self, at: usize, how: Suspension, lasts: u64) {
        if !self.world.machines[at].is_suspended() {
            self.world.machines[at].suspend(how);
            self.world.fault(fault_of(how), Some(at), lasts);
            self.after(lasts, Event::Resume(at, how));
        }
    }

    fn resume(&mut self, at: usize, how: Suspension) {
        self.world.machines[at].resume();
        // What is done first, too.
        self.world.fault(fault_of(how), Some(at), 0);
        self.world.note(|_| format!("resumes {at}"));
    }

    fn crash(&mut self, at: usize, down: u64) {
        self.world.fault(Fault::Crash, Some(at), down + 1_000);
        if self.instances[at].take().is_some() {
            self.after(down, Event::Restart(at));
        }
        self.world.machines[at].resume();
    }

    fn restart(&mut self, at: usize) {
        if self.instances[at].is_none() {
            self.instances[at] = Some(Running::start(&self.world, at));
            self.world.note(|_| format!("starts {at}"));
        }
    }

    // ---- what is held against the laws ----

    /// A check of one token, while others are at work for so many milliseconds each time that it
    /// reads a clock.
    fn check(&self, at: usize, session: usize, back: usize, others: u64) {
        let world = &self.world;
        let Some((_, token)) = token_of(world, session, back) else { return };
        let Some(Running { instance, .. }) = &self.instances[at] else { return };
        if world.machines[at].is_suspended() {
            return;
        }
        let instance = instance.clone();
        let _underway = world.begin(Operation::Check, at);
        let called = world.moment();
        let bound = instance.bound();
        let text = world.inner().facts.tokens[token].text.clone();
        let verify = || instance.verifier.verify::<NoClaims>(text.as_bytes());
        let verdict = if others == 0 {
            verify()
        } else {
            let runtime = self.runtime.clone();
            let wait = move || runtime.block_on(sleep(Duration::from_millis(others)));
            interrupted(Box::new(wait), verify)
        };
        // By now: it may have happened while the check was interrupted.
        let by = instance.answerer(bound);
        let said = verdict.as_ref().map_or_else(Rejection::reason, |_| "accepted");
        world.note(|_| format!("check of token {token} at {at}: {said}"));
        let held = {
            let facts = &world.inner().facts;
            match verdict {
                Ok(_) => laws::accepted(facts, &facts.tokens[token], called, by),
                Err(refused) => clients::refused(world, facts, token, refused.reason(), at),
            }
        };
        world.hold(held);
    }

    /// Looks into the copies of all instances that run.
    fn look(&mut self) {
        for at in 0..self.instances.len() {
            if !self.world.machines[at].is_suspended() {
                self.look_into(at);
            }
        }
    }

    fn look_into(&mut self, at: usize) {
        let world = self.world.clone();
        let Some(Running { instance, known, .. }) = &mut self.instances[at] else { return };
        let now = world.now();
        let called = world.moment();
        let freshness = instance.epochs.freshness(instance.epochs.clock().now());
        let by = instance.answerer(instance.bound());
        let blind = by.blind;
        let inner = world.inner();
        let facts = &inner.facts;
        let mut held = Ok(());
        for (index, revocation) in facts.revocations.iter().enumerate() {
            let Some((sealed, cut_off)) = revocation.sealed else { continue };
            let entry = (index, cut_off.as_micros());
            let scopes = std::slice::from_ref(&revocation.scope);
            let in_force = !instance.lets_pass(scopes, cut_off.as_micros());
            let broken = |law, what: &str| {
                let which = facts.name(&revocation.scope);
                let story = format!("instance {at} {what}, {which} ({})", revocation.demand);
                Err(Violation { law, story })
            };
            match (in_force, known.contains(&entry)) {
                (true, false) => known.push(entry),
                (false, true) => held = held.and(broken(Law::CutOffFell, "has forgotten one")),
                _ => {}
            }
            let as_of = freshness.age().and_then(|age| {
                let age = u64::try_from((age + blind).as_millis()).unwrap_or(u64::MAX);
                now.checked_sub(age)
            });
            // To the millisecond.
            let is_told = as_of.is_some_and(|as_of| sealed.at + 1 < as_of);
            if is_told && !in_force && !revocation.forgotten && !revocation.behind {
                held = held.and(broken(Law::FreshAndBehind, "is younger than one and lacks it"));
            }
        }
        if freshness.is_fresh() {
            let alive = |token: &&Token| START.as_secs() + now / 1_000 <= token.expires_at;
            for token in facts.tokens.iter().rev().take(12).filter(alive) {
                if instance.lets_pass(&token.scopes, token.stamp.as_micros()) {
                    held = held.and(laws::accepted(facts, token, called, by));
                }
            }
        }
        drop(inner);
        world.hold(held);
    }

    // ---- at the end ----

    /// All is healed: each instance is to be fresh soon, to accept new tokens, and to hear of a
    /// revocation at once.
    fn recover(&mut self, plan: &Plan) {
        let world = self.world.clone();
        world.heal();
        world.note(|_| "all is healed".to_owned());
        for at in 0..self.instances.len() {
            world.machines[at].resume();
            self.restart(at);
        }
        let setup = &plan.setup;
        // What hangs is given up, a pause is made, and what follows is quick.
        self.wait(setup.query_timeout.max(setup.max_staleness) + setup.query_timeout + 3_500);
        self.look();
        let held = self.is_well();
        world.hold(held);
    }

    fn is_well(&mut self) -> laws::Held {
        let broken = |law, story: String| Err(Violation { law, story });
        let running = || self.instances.iter().flatten().map(|running| &running.instance);
        for instance in running() {
            let freshness = instance.epochs.freshness(instance.epochs.clock().now());
            if !freshness.is_fresh() {
                return broken(Law::NoRecovery, format!("{} is {freshness:?}", instance.number));
            }
        }
        let first = running().next().expect("all were started").clone();
        let somebody = user(0);
        let login = async {
            let ticket = first.issuer.ticket().await?;
            let read = self.world.moment().order;
            let grant = Grant::new(somebody.clone()).claim("read", read)?;
            first.issuer.login(ticket, grant).await
        };
        let pair = match self.runtime.block_on(timeout(Duration::from_secs(1), login)) {
            Ok(Ok(pair)) => pair,
            Ok(Err(error)) => return broken(Law::NoRecovery, format!("no login: {error}")),
            Err(_) => return broken(Law::NoRecovery, "no login in time".to_owned()),
        };
        let token = pair.access().as_str().as_bytes();
        for instance in running() {
            if let Err(refused) = instance.verifier.verify::<NoClaims>(token) {
                let story = format!("instance {} says {}", instance.number, refused.reason());
                return broken(Law::NewTokenRefused, story);
            }
        }
        let revocation = Revocation::new(Scope::User(somebody.clone()), Demand::Login);
        let revoked = first.remote.revoke(revocation);
        match self.runtime.block_on(timeout(Duration::from_secs(1), revoked)) {
            Ok(Ok(_)) => {}
            _ => return broken(Law::NoRecovery, "no revocation".to_owned()),
        }
        self.runtime.block_on(sleep(PUSH));
        for instance in running() {
            if instance.verifier.verify::<NoClaims>(token).is_ok() {
                let story = format!("instance {} has not heard in {PUSH:?}", instance.number);
                return broken(Law::NotPushed, story);
            }
        }
        Ok(())
    }
}

fn fault_of(how: Suspension) -> Fault {
    match how {
        Suspension::Sleep => Fault::Sleep,
        Suspension::Stop => Fault::Stop,
    }
}

/// The client that a number chooses; `None` if there is none yet.
fn client(world: &World, number: usize) -> Option<usize> {
    let count = world.inner().clients.len();
    (count > 0).then(|| number % count)
}

/// The client, and its token so many back.
fn token_of(world: &World, number: usize, back: usize) -> Option<(usize, usize)> {
    let client = client(world, number)?;
    let tokens = &world.inner().clients[client].tokens;
    let last = tokens.len() - 1;
    Some((client, tokens[last - back.min(last)]))
}

fn scope(world: &World, target: Target) -> Option<Scope> {
    Some(match target {
        Target::Everyone => Scope::Everyone,
        Target::Group(number) => Scope::Group(group(number)),
        Target::User(number) => Scope::User(user(number)),
        Target::Session(number) => {
            let client = client(world, number)?;
            Scope::Session(world.inner().clients[client].session.clone())
        }
        Target::Token(number) => {
            let inner = world.inner();
            let tokens = &inner.facts.tokens;
            let token = tokens.get(number % tokens.len().max(1))?;
            let id = token.scopes.iter().find(|scope| matches!(scope, Scope::Token(_)));
            id.cloned()?
        }
    })
}
