//! What is PostgreSQL's alone: announcements, durability, plain SQL, and what goes wrong.

use std::{process::Command, time::Duration};

use sqlx::{AssertSqlSafe, Connection, PgConnection, query_scalar, raw_sql};
use tokio::time::{Instant, timeout};
use tower_revocation::{
    Demand,
    clock::Clock,
    cutoff::StoreTime,
    error::ErrorKind,
    scope::{Id, Scope},
    store::{
        Changes, EpochStore, MintFor, PostgresOptions, PostgresStore, PostgresWatch, Presented,
        Revocation, SameDevice, Source, Watch,
    },
};

use crate::{
    databases::Database,
    harness::{Harness, START, counts_of_mints, cut_off, kind, newest, user},
    servers::Postgres,
};

const LONG: Duration = Duration::from_secs(10);

impl Postgres {
    pub(crate) async fn sql(&self) -> PgConnection {
        PgConnection::connect_with(&self.database.postgres()).await.unwrap()
    }

    /// Another instance's handle.
    async fn other(&self) -> PostgresStore {
        let (clock, _) = Clock::manual(START);
        let options = PostgresOptions::new(self.database.postgres()).clock(clock);
        PostgresStore::connect(options).await.unwrap()
    }
}

async fn revoke(store: &PostgresStore, sub: &str) -> StoreTime {
    store.revoke(Revocation::new(user(sub), Demand::Login)).await.unwrap().revoked_before()
}

/// The process ids of the connections that listen.
async fn listening(sql: &mut PgConnection) -> Vec<i32> {
    query_scalar(
        "SELECT pid FROM pg_stat_activity \
         WHERE datname = current_database() AND query LIKE 'LISTEN%' ORDER BY pid",
    )
    .fetch_all(sql)
    .await
    .unwrap()
}

/// A watch that listens and has caught up.
async fn listens(store: &PostgresStore, sql: &mut PgConnection) -> PostgresWatch {
    let before = listening(sql).await;
    let mut watch = store.watch().await.unwrap();
    watch.load().await.unwrap();
    let started = async {
        while listening(sql).await.len() <= before.len() {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, started).await.unwrap();
    // The one hint for what was announced before it listened.
    timeout(LONG, watch.hint()).await.unwrap().unwrap();
    watch
}

async fn hinted(watch: &mut PostgresWatch, cursor: StoreTime) -> Changes {
    timeout(LONG, watch.hint()).await.expect("nothing was announced").unwrap();
    watch.poll(cursor).await.unwrap()
}

#[tokio::test]
#[ignore = "needs PostgreSQL; run with bash .ci/databases cargo test -- --ignored"]
async fn a_revocation_is_announced_to_other_instances() {
    let harness = Postgres::new().await;
    let other = harness.other().await;
    let mut watch = listens(&other, &mut harness.sql().await).await;
    let head = revoke(harness.store(), "alice").await;
    assert_eq!(hinted(&mut watch, StoreTime::ZERO).await.head, head);
    // What it knows is not announced to it again.
    assert!(timeout(Duration::from_millis(300), watch.hint()).await.is_err());
}

#[tokio::test]
#[ignore = "needs PostgreSQL; run with bash .ci/databases cargo test -- --ignored"]
async fn after_a_gap_the_sync_is_hinted_of_what_it_missed() {
    let harness = Postgres::new().await;
    let (other, mut sql) = (harness.other().await, harness.sql().await);
    let mut watch = listens(&other, &mut sql).await;
    let pid = listening(&mut sql).await[0];
    let end = AssertSqlSafe(format!("SELECT pg_terminate_backend({pid})"));
    raw_sql(end).execute(&mut sql).await.unwrap();
    // Nobody hears of this one.
    let head = revoke(harness.store(), "alice").await;
    assert_eq!(hinted(&mut watch, StoreTime::ZERO).await.head, head);
    let back = async {
        while listening(&mut sql).await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, back).await.unwrap();
    assert_ne!(listening(&mut sql).await, [pid]);
}

#[tokio::test]
#[ignore = "needs PostgreSQL; run with bash .ci/databases cargo test -- --ignored"]
async fn a_listener_that_hears_nothing_is_replaced_when_polls_find_what_was_never_announced() {
    let harness = Postgres::new().await;
    let (other, mut sql) = (harness.other().await, harness.sql().await);
    let mut watch = listens(&other, &mut sql).await;
    let deaf = listening(&mut sql).await;
    // By somebody who does not announce.
    let mut cursor = StoreTime::ZERO;
    let replaced = async {
        for round in 1_u64.. {
            let at = round * 1_000;
            let silent = AssertSqlSafe(format!(
                "UPDATE revocation_clock SET newest = {at}; \
                 INSERT INTO revocations (scope, subject, login_before, changed_at) \
                 VALUES ('user', 'user {round}', {at}, {at})"
            ));
            raw_sql(silent).execute(&mut sql).await.unwrap();
            cursor = watch.poll(cursor).await.unwrap().head;
            let now = listening(&mut sql).await;
            if !now.is_empty() && now != deaf {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(LONG, replaced).await.unwrap();
}

#[tokio::test]
#[ignore = "needs PostgreSQL; run with bash .ci/databases cargo test -- --ignored"]
async fn commits_are_durable_whatever_the_connection_has_set() {
    let lazy = |options: PostgresOptions| options;
    let harness = Postgres::on("POSTGRES_URL", lazy).await;
    let mut sql = harness.sql().await;
    let off = AssertSqlSafe(format!(
        "ALTER DATABASE {} SET synchronous_commit = off",
        harness.database.postgres().get_database().unwrap()
    ));
    raw_sql(off).execute(&mut sql).await.unwrap();
    let store = harness.other().await;
    let mut sql = harness.sql().await;
    let setting: String =
        query_scalar("SHOW synchronous_commit").fetch_one(&mut sql).await.unwrap();
    assert_eq!(setting, "off");

    /// Where the log is written to, and flushed to, in bytes.
    async fn log(sql: &mut PgConnection, place: &str) -> i64 {
        let text = format!("SELECT pg_wal_lsn_diff(pg_current_wal_{place}_lsn(), '0/0')::bigint");
        query_scalar(AssertSqlSafe(text)).fetch_one(sql).await.unwrap()
    }

    let sid = Id::random();
    for what in ["revoke", "login", "refresh", "renewal", "plain SQL"] {
        let written = log(&mut sql, "insert").await;
        let ticket = store.ticket().await.unwrap();
        match what {
            "revoke" => drop(revoke(&store, "alice").await),
            "login" => {
                harness.mint(ticket, MintFor::Login, &sid, "alice", &[]).await.unwrap();
            }
            "refresh" => {
                harness.refresh(&sid, 0).await.unwrap();
            }
            "renewal" => {
                let presented = Presented {
                    stamp: ticket.stamp(),
                    token: Id::random(),
                    groups: Vec::new(),
                    same: SameDevice::default(),
                    revoke: false,
                };
                harness.mint(ticket, MintFor::Renew(presented), &sid, "alice", &[]).await.unwrap();
            }
            "plain SQL" => {
                let revoke = "SELECT revocation_revoke('user', 'bob', 'login')";
                raw_sql(revoke).execute(&mut sql).await.unwrap();
            }
            _ => unreachable!(),
        }
        assert!(log(&mut sql, "flush").await > written, "{what}");
    }
    // The control: a commit of somebody else's is not flushed with it. Other tests flush the same log, so
    // it may be all the same, now and then.
    let mut unflushed = false;
    for _ in 0..200 {
        let written = log(&mut sql, "insert").await;
        let other = "UPDATE revocation_heartbeat SET beat_at = 1";
        raw_sql(other).execute(&mut sql).await.unwrap();
        unflushed |= log(&mut sql, "flush").await <= written;
    }
    assert!(unflushed, "every commit is flushed");
}

#[tokio::test]
#[ignore = "needs PostgreSQL; run with bash .ci/databases cargo test -- --ignored"]
async fn a_login_and_a_refresh_are_one_statement_each() {
    let harness = Postgres::new().await;
    revoke(harness.store(), "alice").await;
    let ticket = harness.store().ticket().await.unwrap();
    let sid = Id::random();
    let session = || harness.store().statements().session;
    let before = session();
    harness.mint(ticket, MintFor::Login, &sid, "alice", &["staff"]).await.unwrap();
    assert_eq!(session() - before, 1);
    for (counter, successor) in [(0, 1), (0, 1), (1, 2), (0, 1), (2, 3)] {
        harness.clock().advance(Duration::from_secs(1));
        let grace = Duration::from_secs(10);
        let refresh = MintFor::Refresh { counter, grace };
        let before = session();
        let minted = harness.mint(ticket, refresh, &sid, "alice", &["staff"]).await.unwrap();
        assert_eq!((minted.counter, session() - before), (successor, 1));
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL; run with bash .ci/databases cargo test -- --ignored"]
async fn a_renewal_is_one_statement_and_so_is_a_token_without_a_session() {
    let harness = Postgres::new().await;
    revoke(harness.store(), "alice").await;
    let ticket = harness.store().ticket().await.unwrap();
    counts_of_mints(&harness, ticket, [1, 1, 1, 1]).await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL; run with bash .ci/databases cargo test -- --ignored"]
async fn plain_sql_revokes_exactly_as_the_store_does() {
    let harness = Postgres::new().await;
    let (sid, before) = harness.login("alice", &[]).await;
    let mut sql = harness.sql().await;
    let cut_offs: Vec<i64> = query_scalar(
        "SELECT revocation_revoke('user', subject, demand) \
         FROM (VALUES ('alice', 'login'), ('bob', 'refresh')) AS asked (subject, demand)",
    )
    .fetch_all(&mut sql)
    .await
    .unwrap();
    assert!(cut_offs[0] < cut_offs[1] && before.stamp.as_micros() <= cut_offs[0] as u64);
    assert_eq!(newest(&harness).await.as_micros(), cut_offs[1] as u64);
    let alice = cut_off(&harness, &user("alice")).await;
    assert_eq!(
        (alice.login_before.as_micros(), alice.reissue_before),
        (cut_offs[0] as u64, StoreTime::ZERO)
    );
    let bob = cut_off(&harness, &user("bob")).await;
    assert_eq!(bob.reissue_before.as_micros(), cut_offs[1] as u64);
    assert_eq!(kind(harness.refresh(&sid, 0).await), Some(ErrorKind::SessionEnded));
    // A cut-off never sinks, and the next of the store is above it.
    assert!(revoke(harness.store(), "alice").await.as_micros() > cut_offs[1] as u64);

    let long = format!("'{}'", "x".repeat(513));
    for (scope, subject, demand) in [
        ("'planet'", "'earth'", "'login'"),
        ("NULL", "'alice'", "'login'"),
        ("'user'", "'alice'", "'logout'"),
        ("'user'", "'alice'", "NULL"),
        ("'user'", "''", "'login'"),
        ("'user'", "NULL", "'login'"),
        ("'user'", "E'a\\u0007b'", "'login'"),
        ("'user'", "E'a\\u0085b'", "'login'"),
        ("'user'", &long, "'login'"),
        ("'everyone'", "'alice'", "'login'"),
    ] {
        let asked = format!("SELECT revocation_revoke({scope}, {subject}, {demand})");
        let refused = raw_sql(AssertSqlSafe(asked)).execute(&mut sql).await.unwrap_err();
        let code = refused.as_database_error().unwrap().code().unwrap().into_owned();
        assert_eq!(code, "22023", "{scope} {subject} {demand}: {refused}");
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL and psql; run with bash .ci/databases cargo test -- --ignored"]
async fn psql_revokes_and_instances_hear_of_it() {
    let harness = Postgres::new().await;
    let mut watch = listens(harness.store(), &mut harness.sql().await).await;
    let told = Command::new("psql")
        .args([&harness.database.url(), "-X", "-A", "-t", "-c"])
        .arg("SELECT revocation_revoke(scope => 'everyone', subject => '', demand => 'login')")
        .output()
        .unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let cut_off: u64 = String::from_utf8(told.stdout).unwrap().trim().parse().unwrap();
    let changes = hinted(&mut watch, StoreTime::ZERO).await;
    assert_eq!(changes.head.as_micros(), cut_off);
    assert_eq!(changes.entries[0].scope, Scope::Everyone);
}

#[tokio::test]
#[ignore = "needs PostgreSQL; run with bash .ci/databases cargo test -- --ignored"]
async fn nobody_holds_the_clock_row_who_has_fallen_silent() {
    let harness = Postgres::new().await;
    let mut silent = harness.sql().await;
    // As the store begins, and then nothing.
    raw_sql(
        "BEGIN; SET LOCAL idle_in_transaction_session_timeout = 5000; \
         SELECT newest FROM revocation_clock FOR UPDATE",
    )
    .execute(&mut silent)
    .await
    .unwrap();
    // Those who wait for it fail loudly, or get it once the server has ended him.
    let began = Instant::now();
    let waited = async {
        while harness.store().revoke(Revocation::new(user("alice"), Demand::Login)).await.is_err() {
        }
    };
    timeout(Duration::from_secs(20), waited).await.unwrap();
    assert!(began.elapsed() > Duration::from_secs(3), "he was not silent for long enough");
}

#[tokio::test]
#[ignore = "needs PostgreSQL; run with bash .ci/databases cargo test -- --ignored"]
async fn a_heartbeat_is_written_by_one_poll_in_each_interval() {
    let beating = |options: PostgresOptions| options.heartbeat(Duration::from_secs(3_600)).unwrap();
    let harness = Postgres::on("POSTGRES_URL", beating).await;
    let mut sql = harness.sql().await;
    let beat = "SELECT beat_at FROM revocation_heartbeat";
    let mut watch = harness.store().watch().await.unwrap();
    let mut beats = Vec::new();
    for _ in 0..3 {
        let changes = watch.poll(StoreTime::ZERO).await.unwrap();
        assert_eq!(changes.source, Source::Primary);
        beats.push(query_scalar::<_, i64>(beat).fetch_one(&mut sql).await.unwrap());
    }
    assert!(beats[0] > 0 && beats.iter().all(|beat| *beat == beats[0]), "{beats:?}");
}

#[tokio::test]
#[ignore = "needs PostgreSQL; run with bash .ci/databases cargo test -- --ignored"]
async fn a_heartbeat_is_written_for_a_copy_in_buckets_too() {
    let beating = |options: PostgresOptions| options.heartbeat(Duration::from_secs(3_600)).unwrap();
    let harness = Postgres::on("POSTGRES_URL", beating).await;
    let mut watch = harness.store().watch().await.unwrap();
    for _ in 0..2 {
        revoke(harness.store(), "alice").await;
        let latest = watch.latest(StoreTime::ZERO, 1).await.unwrap();
        assert_eq!(latest.changes.entries.len(), 1);
        let beat = query_scalar::<_, i64>("SELECT beat_at FROM revocation_heartbeat");
        assert!(beat.fetch_one(&mut harness.sql().await).await.unwrap() > 0);
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL; run with bash .ci/databases cargo test -- --ignored"]
async fn many_instances_may_start_on_an_empty_database_at_once() {
    let database = Database::on("POSTGRES_URL").await;
    let mut starts = tokio::task::JoinSet::new();
    for _ in 0..8 {
        starts.spawn(PostgresStore::connect(PostgresOptions::new(database.postgres())));
    }
    while let Some(start) = starts.join_next().await {
        start.unwrap().unwrap();
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL; run with bash .ci/databases cargo test -- --ignored"]
async fn b86_a_schema_that_is_damaged_or_from_the_future_is_refused_at_start() {
    for damage in [
        "DROP TABLE revocations",
        "DROP TABLE revocation_heartbeat",
        "ALTER TABLE revocation_sessions DROP COLUMN counter",
        "DELETE FROM revocation_clock",
        "INSERT INTO revocation_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'from the future', true, '', 0)",
    ] {
        let harness = Postgres::new().await;
        raw_sql(damage).execute(&mut harness.sql().await).await.unwrap();
        let options = PostgresOptions::new(harness.database.postgres());
        let opened = PostgresStore::connect(options).await;
        assert_eq!(kind(opened), Some(ErrorKind::Schema), "{damage}");
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL; run with bash .ci/databases cargo test -- --ignored"]
async fn b87_a_cut_off_above_newest_is_corrupt_and_stops_nobody_from_being_refused() {
    let harness = Postgres::new().await;
    let mut watch = harness.store().watch().await.unwrap();
    let future = "INSERT INTO revocations (scope, subject, login_before, changed_at) \
                  VALUES ('user', 'alice', 9000000000000000, 9000000000000000)";
    raw_sql(future).execute(&mut harness.sql().await).await.unwrap();
    assert_eq!(kind(watch.poll(StoreTime::ZERO).await), Some(ErrorKind::Corrupt));
    assert_eq!(kind(watch.load().await), Some(ErrorKind::Corrupt));
    // The table refuses what lies before 1970 itself.
    let past = "UPDATE revocations SET login_before = -1";
    assert!(raw_sql(past).execute(&mut harness.sql().await).await.is_err());
}

#[tokio::test]
#[ignore = "needs PostgreSQL; run with bash .ci/databases cargo test -- --ignored"]
async fn b89_a_database_that_cannot_be_written_to_fails_loudly_and_is_still_followed() {
    let harness = Postgres::new().await;
    let (store, mut sql) = (harness.other().await, harness.sql().await);
    let name = harness.database.postgres().get_database().unwrap().to_owned();
    let head = revoke(harness.store(), "bob").await;
    let read_only = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
    raw_sql(AssertSqlSafe(read_only)).execute(&mut sql).await.unwrap();
    let alice = Revocation::new(user("alice"), Demand::Login);
    assert_eq!(kind(store.revoke(alice).await), Some(ErrorKind::Store));
    let ticket = store.ticket().await.unwrap();
    let reader = Postgres::with(store, harness);
    let login = reader.mint(ticket, MintFor::Login, &Id::random(), "alice", &[]).await;
    assert_eq!(kind(login), Some(ErrorKind::Store));
    let mut watch = reader.store().watch().await.unwrap();
    assert_eq!(watch.load().await.unwrap().head, head);
}

#[tokio::test]
#[ignore = "needs PostgreSQL; run with bash .ci/databases cargo test -- --ignored"]
async fn b89_a_database_that_is_not_there_is_refused_at_start() {
    let database = Database::on("POSTGRES_URL").await;
    let (server, _) =
        database.url().rsplit_once('/').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    for url in ["postgres://test@127.0.0.1:1/nowhere", "banana", &format!("{server}/nowhere")] {
        assert_eq!(kind(PostgresStore::open(url).await), Some(ErrorKind::Store), "{url}");
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL; run with bash .ci/databases cargo test -- --ignored"]
async fn plain_sql_leaves_what_is_not_ascii_to_the_instances_and_tells_them() {
    let harness = Postgres::new().await;
    let mut sql = harness.sql().await;
    let mut watch = listens(harness.store(), &mut sql).await;
    // Decomposed; the second pair is composed since Unicode 16, which PostgreSQL 15 does not know.
    for (subject, composed) in [("jose\u{301}", "jos\u{e9}"), ("\u{105d2}\u{307}", "\u{105c9}")] {
        let asked = "SELECT revocation_revoke('user', $1, 'login')";
        let cut_off: Option<i64> =
            query_scalar(asked).bind(subject).fetch_one(&mut sql).await.unwrap();
        assert_eq!(cut_off, None);
        let changes = hinted(&mut watch, StoreTime::ZERO).await;
        let found = changes.entries.iter().find(|entry| entry.cut_off.login_before == changes.head);
        assert_eq!(found.map(|entry| &entry.scope), Some(&user(composed)), "{subject:?}");
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL; run with bash .ci/databases cargo test -- --ignored"]
async fn a_row_that_names_no_valid_subject_stops_nobody() {
    let harness = Postgres::new().await;
    let head = revoke(harness.store(), "alice").await;
    let rows = "INSERT INTO revocations (scope, subject, login_before, changed_at) \
         VALUES ('user', E'a\\nb', 1, 1), ('group', 'e' || U&'\\0301', 1, 1)";
    raw_sql(rows).execute(&mut harness.sql().await).await.unwrap();
    let mut watch = harness.store().watch().await.unwrap();
    for changes in [watch.load().await.unwrap(), watch.poll(StoreTime::ZERO).await.unwrap()] {
        let scopes: Vec<&Scope> = changes.entries.iter().map(|entry| &entry.scope).collect();
        assert_eq!((scopes, changes.head), (vec![&user("alice")], head));
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL; run with bash .ci/databases cargo test -- --ignored"]
async fn an_announcement_of_somebody_elses_is_a_hint_once() {
    let harness = Postgres::new().await;
    let mut sql = harness.sql().await;
    let mut watch = listens(harness.store(), &mut sql).await;
    raw_sql("NOTIFY tower_revocation, '9000000000000000'").execute(&mut sql).await.unwrap();
    timeout(LONG, watch.hint()).await.unwrap().unwrap();
    assert!(timeout(Duration::from_millis(300), watch.hint()).await.is_err());
    // And hides none of ours, which lie below it.
    let head = revoke(&harness.other().await, "alice").await;
    assert_eq!(hinted(&mut watch, StoreTime::ZERO).await.head, head);
}

#[tokio::test]
#[ignore = "needs PostgreSQL; run with bash .ci/databases cargo test -- --ignored"]
async fn many_pending_requests_are_sealed_by_the_slice() {
    let harness = Postgres::new().await;
    let requests = "INSERT INTO revocation_requests (scope, subject, demand) \
         SELECT 'user', 'user ' || number, 'login' FROM generate_series(1, 7000) AS number";
    raw_sql(requests).execute(&mut harness.sql().await).await.unwrap();
    let loaded = harness.store().watch().await.unwrap().load().await.unwrap();
    assert_eq!(loaded.entries.len(), 7_000);
    let mut versions: Vec<i64> = query_scalar(
        "SELECT DISTINCT xmin::text::bigint FROM revocation_requests WHERE revoked_before > 0",
    )
    .fetch_all(&mut harness.sql().await)
    .await
    .unwrap();
    versions.sort_unstable();
    assert_eq!(versions.len(), 4, "7,000 in slices of 2,000: {versions:?}");
}

#[tokio::test]
#[ignore = "needs PgBouncer; run with bash .ci/databases cargo test -- --ignored"]
async fn behind_a_pooler_nothing_stays_prepared_and_everybody_can_start() {
    let database = Database::on("PGBOUNCER_URL").await;
    let open = async || {
        let options = PostgresOptions::new(database.postgres()).behind_transaction_pooler();
        let beating = options.heartbeat(Duration::from_secs(3_600)).unwrap();
        PostgresStore::connect(beating).await.unwrap()
    };
    for _ in 0..4 {
        let store = open().await;
        revoke(&store, "alice").await;
        let mut watch = store.watch().await.unwrap();
        watch.poll(StoreTime::ZERO).await.unwrap();
        watch.latest(StoreTime::ZERO, 9).await.unwrap();
        let mut sql = PgConnection::connect_with(&database.postgres()).await.unwrap();
        // Without a statement of its own, which would be one of them.
        let left = raw_sql("SELECT name FROM pg_prepared_statements").fetch_all(&mut sql).await;
        assert_eq!(left.unwrap().len(), 0);
        let beat = raw_sql("SELECT beat_at FROM revocation_heartbeat WHERE beat_at > 0");
        assert_eq!(beat.fetch_all(&mut sql).await.unwrap().len(), 1);
    }
}
