//! PostgreSQL's notifications silenced: everything else works, so nobody notices, and revocations
//! arrive by the poll.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tower_revocation::Demand;

use crate::{
    clients::{ALICE, BOB, Revoked},
    cluster::{Cluster, Engine},
    fleet::{INSTANCES, MAX_STALENESS},
    history::{Answer, Scope},
    proxy::Mode,
    report::{publish, setting},
    world::{World, any},
};

/// How long a server may be stale at a time.
const RECOVERY: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL's programs; run with `just faults`"]
async fn revocations_arrive_by_the_poll_while_notifications_are_silenced() {
    let rounds = setting("FAULTS_DEAF_ROUNDS", 10);
    let world = World::start(Some(Cluster::start(Engine::Postgres).await)).await;
    let heard = times(&world, rounds).await;
    assert_eq!(world.clients.fleet.left_out(), 0);
    world.clients.fleet.set(&[0, 1, 2], Mode::Deaf);
    let deaf = times(&world, rounds).await;
    let left_out = world.clients.fleet.left_out();
    let tally = world.judged();
    publish(
        "deaf-postgres",
        &format!(
            "| notifications | rounds | until every server refuses, median | slowest |\n\
             |---|---:|---:|---:|\n\
             | heard | {rounds} | {} | {} |\n\
             | silenced ({left_out} left out) | {rounds} | {} | {} |\n",
            millis(heard[heard.len() / 2]),
            millis(*heard.last().unwrap()),
            millis(deaf[deaf.len() / 2]),
            millis(*deaf.last().unwrap()),
        ),
    );
    assert!(tally.violations.is_empty(), "{:#?}", tally.violations);
    assert!(left_out > 0, "nothing was silenced");
    assert!(*deaf.last().unwrap() <= MAX_STALENESS);
}

/// How long it took from a revocation until every server refused, sorted.
async fn times(world: &World, rounds: u64) -> Vec<Duration> {
    let clients = &world.clients;
    let admin = world.log_in(BOB).await;
    let mut times = Vec::new();
    for _ in 0..rounds {
        let token = world.log_in(ALICE).await;
        clients.seen().watched = vec![admin, token];
        // At another moment between two polls each time.
        sleep(Duration::from_millis(100)).await;
        let scope = Scope::Session(clients.seen().history.tokens[token].session.clone());
        let revoked = clients.revoke(any(), admin, &scope, Demand::Login).await;
        let returned = Instant::now();
        assert_eq!(revoked, Revoked::Stored);
        for instance in 0..INSTANCES {
            while clients.check(instance, token).await == Answer::Accepted {}
        }
        times.push(returned.elapsed());
        // Refused as revoked. A busy machine may be stale for a moment, and then says nothing.
        for instance in 0..INSTANCES {
            let refused = async {
                while !matches!(clients.check(instance, token).await, Answer::Refused(_)) {}
            };
            timeout(RECOVERY, refused).await.expect("it is not refused as revoked");
        }
    }
    times.sort();
    times
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}
