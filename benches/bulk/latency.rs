//! From a revocation to its enforcement in another process, on PostgreSQL, beside the bare
//! statements: commit one upsert, `NOTIFY`, and the other side hears it and asks.
//!
//! The other process is this benchmark once more. Both read the same clock, of the machine they are
//! both on.

use std::{env, process::Stdio, time::Duration};

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, postgres::PgListener, query, raw_sql};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};
use tower_revocation::{
    Demand, Follower,
    clock::Clock,
    cutoff::Receipt,
    epochs::Epochs,
    scope::Scope,
    store::{EpochStore, PostgresStore, Revocation},
};

use crate::databases::Database;

const TURNS: usize = 1_000;

/// How the other process is told what it is, with the URL behind.
pub(crate) const FOLLOW: &str = "follow";

pub(crate) async fn run() {
    let database = Database::on("POSTGRES_URL").await;
    let store = PostgresStore::open(&database.url()).await.unwrap();
    let mut bare = PgConnection::connect_with(&database.postgres()).await.unwrap();
    raw_sql("CREATE TABLE bare (subject text PRIMARY KEY, cut_off bigint NOT NULL)")
        .execute(&mut bare)
        .await
        .unwrap();
    let mut other = Other::start(&database.url()).await;
    let clock = Clock::system();
    let (mut ours, mut beside) = (Vec::new(), Vec::new());
    for turn in 0..TURNS {
        let began = clock.now().wall;
        query(
            "INSERT INTO bare AS b (subject, cut_off) VALUES ($1, $2) ON CONFLICT (subject) \
             DO UPDATE SET cut_off = greatest(b.cut_off, excluded.cut_off)",
        )
        .bind(format!("user-{turn}"))
        .bind(turn as i64 + 1)
        .execute(&mut bare)
        .await
        .unwrap();
        raw_sql(AssertSqlSafe(format!("NOTIFY bare, '{turn}'"))).execute(&mut bare).await.unwrap();
        beside.push(other.enforced("bare", turn as u64 + 1).await - began);

        let scope = Scope::user(&format!("user-{turn}")).unwrap();
        let began = clock.now().wall;
        let receipt = store.revoke(Revocation::new(scope, Demand::Login)).await.unwrap();
        ours.push(other.enforced("ours", receipt.revoked_before().as_micros()).await - began);
    }
    other.child.kill().await.unwrap();
    ours.sort();
    beside.sort();
    for (name, place) in [("p50", TURNS / 2), ("p99", TURNS * 99 / 100)] {
        println!(
            "revocation to enforcement in another process, {name} of {TURNS}: {:.2?}, bare {:.2?}: \
             {:.2} times as long",
            ours[place],
            beside[place],
            ours[place].div_duration_f64(beside[place]),
        );
    }
}

/// The other process.
struct Other {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Other {
    async fn start(url: &str) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args([FOLLOW, url])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("ready"));
        Self { child, lines }
    }

    /// When it enforced `cut_off`.
    async fn enforced(&mut self, whose: &str, cut_off: u64) -> Duration {
        loop {
            let line = self.lines.next_line().await.unwrap().unwrap();
            let words: Vec<&str> = line.split(' ').collect();
            if words[0] == whose && words[1].parse::<u64>().unwrap() >= cut_off {
                return Duration::from_nanos(words[2].parse().unwrap());
            }
        }
    }
}

/// What the other process does: follows both, and says when it got to know what.
pub(crate) async fn follow(url: &str) {
    let store = PostgresStore::open(url).await.unwrap();
    let epochs = Epochs::new();
    let _sync = Follower::new(store, epochs.clone()).start().unwrap();
    let mut listener = PgListener::connect(url).await.unwrap();
    listener.listen("bare").await.unwrap();
    let mut connection = PgConnection::connect(url).await.unwrap();
    epochs.ready().await;
    // Until the store's listener listens, too.
    tokio::time::sleep(Duration::from_millis(500)).await;
    println!("ready");
    let clock = epochs.clock().clone();
    let say = |whose: &str, cut_off: u64| {
        println!("{whose} {cut_off} {}", clock.now().wall.as_nanos());
    };
    let bare = async {
        let mut cursor = 0_i64;
        loop {
            listener.recv().await.unwrap();
            let rows = query("SELECT subject, cut_off FROM bare WHERE cut_off > $1")
                .bind(cursor)
                .fetch_all(&mut connection)
                .await
                .unwrap();
            cursor = rows.iter().map(|row| row.get(1)).fold(cursor, i64::max);
            say("bare", cursor as u64);
        }
    };
    let ours = async {
        loop {
            let next = epochs.newest().next().unwrap();
            epochs.wait_for(&Receipt::new(next)).await;
            say("ours", epochs.newest().as_micros());
        }
    };
    tokio::join!(bare, ours);
}
