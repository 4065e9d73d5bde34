//! A long run of random faults, while clients log in, refresh, revoke and check without a pause.
//! What they saw is judged piece by piece, so that it may go on for as long as one likes.

use std::{collections::VecDeque, time::Duration};

use rand::{RngExt, seq::IndexedRandom};
use tokio::time::{Instant, sleep};
use tower_revocation::Demand;

use crate::{
    clients::{ALICE, BOB, Clients, User},
    cluster::{Cluster, Engine},
    fault::Fault,
    fleet::INSTANCES,
    history::Scope,
    report::{publish, row, setting},
    world::{Tally, World, any},
};

/// The sessions that live at a time.
const SESSIONS: [User; 6] = [ALICE, ALICE, ALICE, ALICE, BOB, BOB];

/// How many tokens are checked that others have replaced.
const REPLACED: usize = 24;

/// At least so many checks a second: 200,000 in ten minutes.
const CHECKS_PER_SECOND: usize = 334;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL's programs; run with `just faults`"]
async fn soak_on_postgres() {
    let cluster = Cluster::start(Engine::Postgres).await;
    run("soak-postgres", Some(cluster), &Fault::ALL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs MariaDB's programs; run with `just faults`"]
async fn soak_on_mariadb() {
    let cluster = Cluster::start(Engine::MariaDb).await;
    run("soak-mariadb", Some(cluster), &Fault::ALL).await;
}

/// SQLite has no connections that could break.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes long; run with `just faults`"]
async fn soak_on_sqlite() {
    run("soak-sqlite", None, &[Fault::KillServer]).await;
}

async fn run(name: &str, cluster: Option<Cluster>, faults: &[Fault]) {
    let time = Duration::from_secs(setting("FAULTS_SOAK_SECONDS", 10));
    let world = World::start(cluster).await;
    let end = Instant::now() + time;
    let mut sessions = Vec::new();
    for user in SESSIONS {
        sessions.push(world.log_in(user).await);
    }
    world.clients.seen().watched.clone_from(&sessions);
    let (renewing, revoking) = (
        tokio::spawn(renew_for_ever(world.clients.clone(), sessions)),
        tokio::spawn(revoke_for_ever(world.clients.clone())),
    );
    let (mut tally, mut produced) = (Tally::default(), 0);
    while Instant::now() < end {
        let fault = *faults.choose(&mut rand::rng()).unwrap();
        let first = any();
        // One server, two, or all.
        let hit: Vec<usize> = (0..=any()).map(|next| (first + next) % INSTANCES).collect();
        let lasting = world.produce(fault, &hit, produced).await;
        pause(100..2_000).await;
        world.heal(lasting).await;
        let healed = world.clients.now();
        let token = world.clients.seen().watched[0];
        world.speak_again(healed, token).await;
        pause(0..500).await;
        let judged = world.judged();
        for violation in &judged.violations {
            eprintln!("{name}, {fault:?} at {hit:?}: {violation}");
        }
        tally.add(judged);
        produced += 1;
    }
    renewing.abort();
    revoking.abort();
    tally.add(world.judged());
    let database = world.database().await;
    publish(
        name,
        &format!(
            "{}{}\n",
            row(&database, &format!("{} s", time.as_secs()), produced, &tally).trim_end(),
            format_args!(" {} |", tally.refreshes)
        ),
    );
    assert!(tally.checks >= CHECKS_PER_SECOND * time.as_secs() as usize, "{}", tally.checks);
    assert!(tally.violations.is_empty(), "{} violations", tally.violations.len());
}

async fn pause(millis: std::ops::Range<u64>) {
    let millis = rand::rng().random_range(millis);
    sleep(Duration::from_millis(millis)).await;
}

/// Keeps as many sessions alive: each is refreshed, or begun anew where that is refused.
async fn renew_for_ever(clients: Clients, mut sessions: Vec<usize>) {
    let mut replaced = VecDeque::new();
    loop {
        let slot = rand::rng().random_range(0..sessions.len());
        let token = sessions[slot];
        let next = match clients.refresh(any(), token).await {
            None if clients.is_over(token) => clients.login(any(), SESSIONS[slot]).await,
            next => next,
        };
        if let Some(next) = next {
            sessions[slot] = next;
            replaced.push_back(token);
            if replaced.len() > REPLACED {
                replaced.pop_front();
            }
            let watched = sessions.iter().chain(&replaced).copied().collect();
            clients.seen().watched = watched;
        }
        pause(50..250).await;
    }
}

/// Revokes this and that, about twice a second.
async fn revoke_for_ever(clients: Clients) {
    loop {
        let (admin, scope) = {
            let seen = clients.seen();
            let token = |place: usize| &seen.history.tokens[seen.watched[place]];
            let slot = rand::rng().random_range(0..SESSIONS.len());
            let scope = match rand::rng().random_range(0..20) {
                0 => Scope::Everyone,
                1..3 => Scope::Group(BOB.group.to_owned()),
                3..6 => Scope::Group(ALICE.group.to_owned()),
                6..10 => Scope::User(ALICE.name.to_owned()),
                _ => Scope::Session(token(slot).session.clone()),
            };
            // The sessions come first, and the last of them are administrators.
            (seen.watched[SESSIONS.len() - 1 - rand::rng().random_range(0..2)], scope)
        };
        let demand = if rand::random() { Demand::Login } else { Demand::Refresh };
        clients.revoke(any(), admin, &scope, demand).await;
        pause(200..700).await;
    }
}
