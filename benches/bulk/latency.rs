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
    scope::{Id, Scope},
    store::{EpochStore, PostgresStore, Revocation},
};

use crate::databases::Database;

const TURNS: usize = 1_000;

/// What the other process is, which it is told with the URL behind.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Follows,
    /// And acknowledges.
    IsOfAFleet,
}

impl Role {
    pub(crate) fn of(name: &str) -> Option<Self> {
        [Self::Follows, Self::IsOfAFleet].into_iter().find(|role| role.as_str() == name)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Follows => "follows",
            Self::IsOfAFleet => "is-of-a-fleet",
        }
    }
}

/// The bare statements: one upsert, committed, and `NOTIFY`.
pub(crate) struct Bare(PgConnection);

impl Bare {
    pub(crate) async fn make(database: &Database) -> Self {
        let mut bare = PgConnection::connect_with(&database.postgres()).await.unwrap();
        raw_sql("CREATE TABLE bare (subject text PRIMARY KEY, cut_off bigint NOT NULL)")
            .execute(&mut bare)
            .await
            .unwrap();
        Self(bare)
    }

    pub(crate) async fn revoke(&mut self, turn: usize) {
        query(
            "INSERT INTO bare AS b (subject, cut_off) VALUES ($1, $2) ON CONFLICT (subject) \
             DO UPDATE SET cut_off = greatest(b.cut_off, excluded.cut_off)",
        )
        .bind(format!("user-{turn}"))
        .bind(turn as i64 + 1)
        .execute(&mut self.0)
        .await
        .unwrap();
        let notify = AssertSqlSafe(format!("NOTIFY bare, '{turn}'"));
        raw_sql(notify).execute(&mut self.0).await.unwrap();
    }
}

pub(crate) async fn run() {
    let database = Database::on("POSTGRES_URL").await;
    let store = PostgresStore::open(&database.url()).await.unwrap();
    let mut bare = Bare::make(&database).await;
    let mut other = Other::start(&database.url(), Role::Follows).await;
    let clock = Clock::system();
    let (mut ours, mut beside) = (Vec::new(), Vec::new());
    for turn in 0..TURNS {
        let began = clock.now().wall;
        bare.revoke(turn).await;
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
pub(crate) struct Other {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Other {
    pub(crate) async fn start(url: &str, role: Role) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args([role.as_str(), url])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("ready"));
        Self { child, lines }
    }

    /// When it enforced `cut_off`.
    pub(crate) async fn enforced(&mut self, whose: &str, cut_off: u64) -> Duration {
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
pub(crate) async fn follow(url: &str, role: Role) {
    let store = PostgresStore::open(url).await.unwrap();
    let epochs = Epochs::new();
    let mut follower = Follower::new(store, epochs.clone());
    if role == Role::IsOfAFleet {
        follower = follower.in_fleet(Id::new("another").unwrap());
    }
    let _sync = follower.start().unwrap();
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
