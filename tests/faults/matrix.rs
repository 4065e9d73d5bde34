//! Every fault, before, during and after a revocation, on every database.

use crate::{
    cell::{self, Case, Held, Phase},
    cluster::{Cluster, Engine},
    fault::Fault,
    report::{HEAD, publish, row, setting},
    world::{Tally, World},
};

/// How many violations are told in full.
const TOLD: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL's programs; run with `just faults`"]
async fn matrix_on_postgres() {
    let cluster = Cluster::start(Engine::Postgres).await;
    run("matrix-postgres", Some(cluster), &Fault::ALL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs MariaDB's programs; run with `just faults`"]
async fn matrix_on_mariadb() {
    let cluster = Cluster::start(Engine::MariaDb).await;
    run("matrix-mariadb", Some(cluster), &Fault::ALL).await;
}

/// SQLite has no connections that could break.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute; run with `just faults`"]
async fn matrix_on_sqlite() {
    run("matrix-sqlite", None, &[Fault::KillServer]).await;
}

async fn run(name: &str, cluster: Option<Cluster>, faults: &[Fault]) {
    let rounds = setting("FAULTS_ROUNDS", 1) as usize;
    let world = World::start(cluster).await;
    let mut held = Held::default();
    let mut table = format!("### {}\n\n{HEAD}", world.database().await);
    let mut all = Tally::default();
    for &fault in faults {
        for phase in Phase::ALL {
            let mut tally = Tally::default();
            for round in 0..rounds {
                let case = Case { fault, phase, round };
                let judged = cell::run(&world, &mut held, case).await;
                for violation in judged.violations.iter().take(TOLD) {
                    eprintln!("{name}, {case:?}: {violation}");
                }
                tally.add(judged);
            }
            let row = row(fault.name(), phase.name(), rounds, &tally);
            eprint!("{name}: {row}");
            table += &row;
            all.add(tally);
        }
    }
    table += &row("all", "", rounds * faults.len() * Phase::ALL.len(), &all);
    publish(name, &table);
    assert!(all.checks > 0);
    assert!(all.violations.is_empty(), "{} violations", all.violations.len());
}
