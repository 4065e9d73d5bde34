//! One cell of the matrix: a revocation, and a fault before, during or after it.

use std::time::Duration;

use rand::RngExt;
use tokio::time::sleep;
use tower_revocation::Demand;

use crate::{
    clients::{ALICE, BOB, Revoked},
    fault::Fault,
    fleet::{INSTANCES, MAX_STALENESS},
    history::Scope,
    proxy::Mode,
    world::{Tally, World, any},
};

/// When the fault begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Before,
    During,
    After,
}

impl Phase {
    pub(crate) const ALL: [Self; 3] = [Self::Before, Self::During, Self::After];

    /// As the report calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::During => "during",
            Self::After => "after",
        }
    }
}

/// Slows the revocation down by this each way, where the fault is to meet it in flight.
const SLOW: Duration = Duration::from_millis(8);

/// How long such a revocation takes, about.
const FLIGHT: Duration = Duration::from_millis(90);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) fault: Fault,
    pub(crate) phase: Phase,
    pub(crate) round: usize,
}

impl Case {
    /// Scopes, demands and targets take turns, in steps that do not keep pace with each other.
    fn turn(self) -> usize {
        self.round * 7 + self.fault as usize * 3 + self.phase as usize
    }

    fn demand(self) -> Demand {
        if (self.turn() / 4).is_multiple_of(2) { Demand::Login } else { Demand::Refresh }
    }

    /// The servers that the fault hits: all, the one that revokes, or another one.
    fn hit(self, revoker: usize) -> Vec<usize> {
        match (self.turn() + self.turn() / 3) % 3 {
            0 => (0..INSTANCES).collect(),
            1 => vec![revoker],
            _ => vec![(revoker + 1) % INSTANCES],
        }
    }
}

/// The sessions that go from cell to cell, while they live: two of alice's, one of bob's, who is
/// the administrator.
#[derive(Default)]
pub(crate) struct Held {
    victim: Option<usize>,
    second: Option<usize>,
    admin: Option<usize>,
}

impl Held {
    async fn or_logged_in(&self, world: &World) -> [usize; 3] {
        let held = async |token: Option<usize>, user| match token {
            Some(token) => token,
            None => world.log_in(user).await,
        };
        [
            held(self.victim, ALICE).await,
            held(self.second, ALICE).await,
            held(self.admin, BOB).await,
        ]
    }

    /// Those of them whose tokens are still good after `scope` was revoked, with `fresh` for the
    /// first; the rest has to log in.
    fn after(world: &World, scope: &Scope, tokens: [usize; 3], fresh: Option<usize>) -> Self {
        let seen = world.clients.seen();
        let spared = |token: usize| Some(token).filter(|_| !scope.has(&seen.history.tokens[token]));
        Self { victim: fresh, second: spared(tokens[1]), admin: spared(tokens[2]) }
    }
}

/// Runs `case` and judges it.
pub(crate) async fn run(world: &World, held: &mut Held, case: Case) -> Tally {
    let clients = &world.clients;
    let [victim, second, admin] = held.or_logged_in(world).await;
    let mut tokens = [victim, second, admin];
    let scope = match case.turn() % 4 {
        0 => Scope::Session(clients.seen().history.tokens[victim].session.clone()),
        1 => Scope::User(ALICE.name.to_owned()),
        2 => Scope::Group(ALICE.group.to_owned()),
        _ => Scope::Everyone,
    };
    let demand = case.demand();
    clients.seen().watched = tokens.to_vec();
    // All of them are good everywhere, so that what follows is no accident.
    sleep(Duration::from_millis(60)).await;

    let revoker = any();
    let hit = case.hit(revoker);
    let produce = async || world.produce(case.fault, &hit, case.round).await;
    let revoke = async || clients.revoke(revoker, admin, &scope, demand).await;
    let (mut revoked, lasting) = match case.phase {
        Phase::Before => {
            let lasting = produce().await;
            sleep(Duration::from_millis(rand::rng().random_range(10..80))).await;
            (revoke().await, lasting)
        }
        Phase::During => {
            clients.fleet.set(&[revoker], Mode::Delay(SLOW));
            let moment = rand::rng().random_range(Duration::ZERO..FLIGHT);
            let strike = async {
                sleep(moment).await;
                produce().await
            };
            tokio::join!(revoke(), strike)
        }
        Phase::After => (revoke().await, produce().await),
    };
    if case.phase == Phase::During && !hit.contains(&revoker) {
        clients.fleet.set(&[revoker], Mode::Pass);
    }
    // Whoever does not know whether they have revoked tries elsewhere.
    let elsewhere = (0..INSTANCES).find(|each| !lasting.hit.contains(each));
    if let (false, Some(elsewhere)) = (revoked == Revoked::Stored, elsewhere) {
        revoked = clients.revoke(elsewhere, admin, &scope, demand).await;
    }
    // Long enough for whoever has not heard of it to accept too late, if anybody does.
    sleep(MAX_STALENESS + Duration::from_millis(150)).await;
    world.heal(lasting).await;
    clients.fleet.set(&[revoker], Mode::Pass);

    let healed = clients.now();
    if revoked != Revoked::Stored {
        world.revoke_for_sure(&mut tokens[2], &scope, demand).await;
    }
    if demand == Demand::Login {
        // The session is over, which a refresh is told.
        clients.refresh(any(), victim).await;
    }
    let fresh = world.recover(healed, victim, demand).await;
    *held = Held::after(world, &scope, tokens, fresh);
    world.judged()
}
