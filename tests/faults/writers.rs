//! Writers that revoke all the time, in this process and in others.

use std::{process::Stdio, time::Duration};

use rand::RngExt;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    task::JoinSet,
    time::Instant,
};
use tower_revocation::{Demand, EpochStore, Revocation, Scope};

use crate::databases::{Database, MariaDb, Postgres, Sqlite, Written};

/// How long transactions are held open at most.
const LONGEST: Duration = Duration::from_millis(25);

/// What one process writes: which database, where, by how many, for how long, and its name.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) engine: &'static str,
    pub(crate) place: String,
    pub(crate) writers: usize,
    pub(crate) time: Duration,
    pub(crate) name: String,
}

/// Where another process finds its order; without it, it is not wanted.
const ORDER: &str = "TOWER_REVOCATION_WRITERS";

/// Before each subject that another process has committed.
const COMMITTED: &str = "=> ";

/// Writes as ordered, and returns the subjects whose revocations were committed.
pub(crate) async fn write<D: Database>(database: &D, order: &Order) -> Vec<String> {
    let end = Instant::now() + order.time;
    let mut writers = JoinSet::new();
    for writer in 0..order.writers {
        let (database, name) = (database.clone(), format!("{}-{writer}", order.name));
        writers.spawn(async move {
            let mut committed = Vec::new();
            for number in 0.. {
                if Instant::now() >= end {
                    break;
                }
                let subject = format!("{name}-{number}");
                if revoke(&database, &subject).await {
                    committed.push(subject);
                }
            }
            committed
        });
    }
    writers.join_all().await.concat()
}

/// Revokes a user by one of the ways there are, and returns whether that was committed for sure.
async fn revoke<D: Database>(database: &D, subject: &str) -> bool {
    let revocation = Revocation::new(Scope::user(subject).unwrap(), Demand::Login);
    let chance = rand::rng().random_range(0..100);
    // One in five without a transaction of the caller's; of the rest, one in ten is rolled back,
    // and about half are left for others to seal.
    if chance < 20 {
        return database.store().revoke(revocation).await.is_ok();
    }
    let held = rand::rng().random_range(Duration::ZERO..=LONGEST);
    match database.transaction(subject, revocation, held, chance >= 28).await {
        Ok(Written::Committed(requested)) => {
            if chance >= 64 {
                // If this fails, others seal it.
                let _ = requested.sealed().await;
            }
            true
        }
        Ok(Written::RolledBack | Written::Unknown) | Err(_) => false,
    }
}

/// Another process that writes as ordered.
pub(crate) struct Elsewhere(Child);

impl Elsewhere {
    pub(crate) fn start(order: &Order) -> Self {
        let Order { engine, place, writers, time, name } = order;
        let told = format!("{engine} {place} {writers} {} {name}", time.as_millis());
        let process = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "writers::other_process", "--nocapture"])
            .env(ORDER, told)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        Self(process.unwrap())
    }

    /// The subjects whose revocations it has committed.
    pub(crate) async fn committed(mut self) -> Vec<String> {
        let mut lines = BufReader::new(self.0.stdout.take().unwrap()).lines();
        let mut committed = Vec::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            committed.extend(line.strip_prefix(COMMITTED).map(str::to_owned));
        }
        assert!(self.0.wait().await.unwrap().success(), "the writers failed");
        committed
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a first process; the tests of missed commits start it"]
async fn other_process() {
    // Somebody runs all ignored tests: there is nothing to do here without the first process.
    let Ok(told) = std::env::var(ORDER) else { return };
    let [engine, place, writers, millis, name] = told.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{told}")
    };
    let order = Order {
        engine: "",
        place: place.to_owned(),
        writers: writers.parse().unwrap(),
        time: Duration::from_millis(millis.parse().unwrap()),
        name: name.to_owned(),
    };
    let committed = match engine {
        "sqlite" => write(&Sqlite::open(place).await, &order).await,
        "postgres" => write(&Postgres::open(place).await, &order).await,
        "mariadb" => write(&MariaDb::open(place).await, &order).await,
        _ => panic!("{engine}"),
    };
    for subject in committed {
        println!("{COMMITTED}{subject}");
    }
}
