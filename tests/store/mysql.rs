//! What is MySQL's alone: its texts, its locks, a silent client, and revoking with plain SQL.

use std::{
    process::{Output, Stdio},
    time::Duration,
};

use sqlx::{Connection, MySqlConnection, query, query_scalar, raw_sql};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    process::Command,
    sync::watch,
    time::{Instant, timeout},
};
use tower_revocation::{
    Algorithm, Demand, Epochs, Follower, Grant, Issuer, KeyRing, NoClaims, Rejection, Verifier,
    cutoff::{CutOff, StoreTime},
    error::ErrorKind,
    lifetimes::Lifetimes,
    scope::{Id, Scope},
    store::{EpochStore, MySqlOptions, MySqlStore, Revocation, Watch},
    token::SigningKey,
};

use crate::{
    databases::Database,
    harness::{Harness, START, counts_of_mints, cut_off, kind, user},
    servers::MySql,
};

/// Waits in these tests are over long before.
const PATIENCE: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs MariaDB; run with bash .ci/databases cargo test -- --ignored"]
async fn many_processes_may_start_on_an_empty_database_at_once() {
    let database = Database::on("MARIADB_URL").await;
    let mut starts = tokio::task::JoinSet::new();
    for _ in 0..8 {
        starts.spawn(MySqlStore::connect(MySqlOptions::new(database.mysql())));
    }
    while let Some(start) = starts.join_next().await {
        start.unwrap().unwrap();
    }
}

#[tokio::test]
#[ignore = "needs MariaDB; run with bash .ci/databases cargo test -- --ignored"]
async fn b86_a_missing_table_is_refused_at_start() {
    for table in ["revocations", "revocation_clock", "revocation_requests", "revocation_sessions"] {
        let harness = MySql::new().await;
        let sql = sqlx::AssertSqlSafe(format!("DROP TABLE {table}"));
        raw_sql(sql).execute(&mut harness.application().await).await.unwrap();
        let reopened = MySqlStore::connect(MySqlOptions::new(harness.database.mysql())).await;
        assert_eq!(kind(reopened), Some(ErrorKind::Schema), "without {table}");
    }
}

#[tokio::test]
#[ignore = "needs MariaDB; run with bash .ci/databases cargo test -- --ignored"]
async fn the_defaults_of_the_server_do_not_matter() {
    let harness = MySql::new().await;
    let mut application = harness.application().await;
    raw_sql(
        "SET SESSION sql_mode = '', time_zone = '+05:00'; \
         SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE; SET NAMES latin1",
    )
    .execute(&mut application)
    .await
    .unwrap();
    // A client that says how it spells a text: in latin1, with the byte 0xE9 for é.
    raw_sql("INSERT INTO revocation_requests (scope, subject, demand) VALUES ('user', _latin1 x'e9', 'login')")
        .execute(&mut application)
        .await
        .unwrap();
    let mut transaction = application.begin().await.unwrap();
    let requested = harness
        .store()
        .revoke_in(&mut transaction, Revocation::new(user("ö"), Demand::Login))
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    requested.sealed().await.unwrap();
    for subject in ["é", "ö"] {
        assert_ne!(cut_off(&harness, &user(subject)).await, CutOff::NONE, "{subject}");
    }
}

#[tokio::test]
#[ignore = "needs MariaDB; run with bash .ci/databases cargo test -- --ignored"]
async fn a_text_that_the_server_has_cut_names_nobody() {
    let harness = MySql::new().await;
    let mut application = harness.application().await;
    raw_sql("SET SESSION sql_mode = ''").execute(&mut application).await.unwrap();
    query("INSERT INTO revocation_requests (scope, subject, demand) VALUES ('user', ?, 'login')")
        .bind("a".repeat(9_000))
        .execute(&mut application)
        .await
        .unwrap();
    let changes = harness.store().watch().await.unwrap().load().await.unwrap();
    assert_eq!(changes.entries, []);
    let refused: String = query_scalar("SELECT refused FROM revocation_requests")
        .fetch_one(&mut application)
        .await
        .unwrap();
    assert!(refused.contains("512"), "{refused}");
}

// ---- locks ----

#[tokio::test]
#[ignore = "needs MariaDB; run with bash .ci/databases cargo test -- --ignored"]
async fn logins_and_refreshes_wait_for_no_login() {
    let harness = MySql::new().await;
    let (sid, _) = harness.login("alice", &[]).await;
    let mut another = harness.application().await;
    raw_sql("BEGIN; SELECT * FROM revocation_clock LOCK IN SHARE MODE")
        .execute(&mut another)
        .await
        .unwrap();
    timeout(PATIENCE, harness.login("bob", &[])).await.expect("a login waits");
    timeout(PATIENCE, harness.refresh(&sid, 0)).await.expect("a refresh waits").unwrap();
    timeout(PATIENCE, harness.reissue(&sid, "alice", &[])).await.expect("it waits").unwrap();
    // A revocation has to.
    let revoking = harness.store().revoke(Revocation::new(user("alice"), Demand::Login));
    timeout(Duration::from_millis(300), revoking).await.expect_err("the clock row was not locked");
}

#[tokio::test]
#[ignore = "needs MariaDB; run with bash .ci/databases cargo test -- --ignored"]
async fn a_login_waits_for_a_revocation_and_is_above_it() {
    let harness = MySql::new().await;
    let mut another = harness.application().await;
    raw_sql("BEGIN; SELECT * FROM revocation_clock FOR UPDATE")
        .execute(&mut another)
        .await
        .unwrap();
    let login = harness.login("alice", &[]);
    let revocation = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        raw_sql("UPDATE revocation_clock SET newest = 1800000000000777; COMMIT")
            .execute(&mut another)
            .await
            .unwrap();
    };
    let ((_, minted), ()) = tokio::join!(login, revocation);
    assert_eq!(minted.stamp.as_micros(), 1_800_000_000_000_778);
}

#[tokio::test]
#[ignore = "needs MariaDB; run with bash .ci/databases cargo test -- --ignored"]
async fn nobody_waits_for_a_transaction_that_has_requested_a_revocation() {
    let harness = MySql::new().await;
    let store = harness.store().clone();
    let old = harness.request(Revocation::new(user("bob"), Demand::Login), true).await;
    timeout(PATIENCE, old.sealed()).await.unwrap().unwrap();

    let mut application = harness.application().await;
    let mut open = application.begin().await.unwrap();
    let requested = store.revoke_in(&mut open, Revocation::new(user("alice"), Demand::Login));
    let requested = requested.await.unwrap();
    // Others seal, mint, poll, list and purge meanwhile.
    let other = harness.request(Revocation::new(user("carol"), Demand::Login), true).await;
    timeout(PATIENCE, other.sealed()).await.expect("sealing waits").unwrap();
    timeout(PATIENCE, harness.login("alice", &[])).await.expect("a login waits");
    let mut watch = store.watch().await.unwrap();
    timeout(PATIENCE, watch.poll(StoreTime::ZERO)).await.expect("a poll waits").unwrap();
    let lifetimes = Lifetimes::default();
    harness.clock().set_wall(START + lifetimes.session() * 2);
    timeout(PATIENCE, store.purge(lifetimes)).await.expect("a purge waits").unwrap();
    let requests: i64 = query_scalar("SELECT COUNT(*) FROM revocation_requests")
        .fetch_one(&mut harness.application().await)
        .await
        .unwrap();
    assert_eq!(requests, 0, "what is done is purged");

    open.commit().await.unwrap();
    requested.sealed().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs MariaDB; run with bash .ci/databases cargo test -- --ignored"]
async fn a_silent_client_loses_the_clock_row() {
    let harness = MySql::new().await;
    let options = harness.database.mysql();
    let port = silent_once(options.get_port(), b"FROM revocation_clock FOR UPDATE").await;
    let through = MySqlOptions::new(options.port(port));
    let far = MySqlStore::connect(through).await.unwrap();
    let began = Instant::now();
    let silent = tokio::spawn(async move {
        far.revoke(Revocation::new(user("alice"), Demand::Login)).await.map(drop)
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    // The first may wait until just before the lock is free.
    while let Err(error) = harness.store().revoke(Revocation::new(user("bob"), Demand::Login)).await
    {
        assert!(began.elapsed() < Duration::from_secs(10), "the lock is held: {error:?}");
    }
    assert_eq!(kind(silent.await.unwrap()), Some(ErrorKind::StoreTimeout));
    assert_eq!(cut_off(&harness, &user("alice")).await, CutOff::NONE);
}

/// Listens for a client of the server at `port`, and carries what they say until the client has
/// said `words`: that arrives, and nothing does from then on.
async fn silent_once(port: u16, words: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let ((from_client, to_client), (from_server, to_server)) =
                (client.into_split(), server.into_split());
            let (silence, silent) = watch::channel(false);
            let said = move |bytes: &[u8]| {
                if bytes.windows(words.len()).any(|window| window == words) {
                    silence.send_replace(true);
                }
            };
            tokio::spawn(carry(from_client, to_server, silent.clone(), said));
            tokio::spawn(carry(from_server, to_client, silent, |_| {}));
        }
    });
    at
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    silent: watch::Receiver<bool>,
    said: impl Fn(&[u8]),
) {
    let mut bytes = vec![0; 65_536];
    while !*silent.borrow() {
        let Ok(count) = from.read(&mut bytes).await else { return };
        if count == 0 {
            return;
        }
        let before = *silent.borrow();
        said(&bytes[..count]);
        if before || to.write_all(&bytes[..count]).await.is_err() {
            break;
        }
    }
    // Open at both ends, for longer than the test.
    tokio::time::sleep(Duration::from_secs(60)).await;
}

// ---- few statements ----

#[tokio::test]
#[ignore = "needs MariaDB; run with bash .ci/databases cargo test -- --ignored"]
async fn a_renewal_is_as_few_statements_as_a_refresh() {
    let harness = MySql::new().await;
    let ticket = harness.store().ticket().await.unwrap();
    // The lock, what is pending, the row, the cut-offs, the row again, the commit.
    counts_of_mints(&harness, ticket, [5, 6, 6, 1]).await;
}

// ---- many rows ----

#[tokio::test]
#[ignore = "needs MariaDB; run with bash .ci/databases cargo test -- --ignored"]
async fn ten_thousand_revocations_are_five_statements() {
    let harness = MySql::new().await;
    let revocations: Vec<_> = (0..10_000)
        .map(|number| Revocation::new(user(&format!("user-{number}")), Demand::Login))
        .collect();
    let before = harness.store().statements().session;
    let receipt = harness.store().revoke_many(&revocations).await.unwrap();
    assert_eq!(harness.store().statements().session - before, 5);
    let changes = harness.store().watch().await.unwrap().load().await.unwrap();
    assert_eq!((changes.entries.len(), changes.head), (10_000, receipt.revoked_before()));
}

#[tokio::test]
#[ignore = "needs MariaDB; run with bash .ci/databases cargo test -- --ignored"]
async fn a_load_of_many_pages_tells_every_row_once() {
    let harness = MySql::new().await;
    // Of every length, with spaces and letters of two bytes.
    raw_sql(
        "UPDATE revocation_clock SET newest = 30000; \
         INSERT INTO revocations (scope, subject, login_before, changed_at) \
         SELECT 'user', CONCAT(seq, REPEAT('é ', seq % 150)), seq, seq FROM seq_1_to_20000; \
         INSERT INTO revocations (scope, subject, login_before, changed_at) \
         SELECT 'group', CONCAT(seq, ' '), seq, seq FROM seq_20001_to_30000",
    )
    .execute(&mut harness.application().await)
    .await
    .unwrap();
    let changes = harness.store().watch().await.unwrap().load().await.unwrap();
    let mut told: Vec<u64> =
        changes.entries.iter().map(|entry| entry.cut_off.login_before.as_micros()).collect();
    told.sort_unstable();
    assert!(told.into_iter().eq(1..=30_000));
}

// ---- plain SQL ----

/// Runs `sql` as a user does, in the client program.
async fn client(database: &Database, sql: &str) -> Output {
    let options = database.mysql();
    Command::new("mariadb")
        .args([
            "--no-defaults",
            "--batch",
            "--skip-column-names",
            "--default-character-set=utf8mb4",
        ])
        .args(["--host", options.get_host(), "--user", options.get_username()])
        .args(["--port", &options.get_port().to_string(), "--execute", sql])
        .arg(options.get_database().unwrap())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap()
}

async fn answer(database: &Database, sql: &str) -> String {
    let output = client(database, sql).await;
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs MariaDB; run with bash .ci/databases cargo test -- --ignored"]
async fn c58_an_instance_refuses_what_plain_sql_has_revoked() {
    let database = Database::on("MARIADB_URL").await;
    let store = MySqlStore::open(&database.url()).await.unwrap();
    let epochs = Epochs::new();
    let _sync = Follower::new(store.clone(), epochs.clone()).start().unwrap();
    let keys = KeyRing::new(SigningKey::generate(Algorithm::EdDSA).unwrap());
    let issuer = Issuer::builder(store, keys)
        .issuer("https://login.test")
        .audience("test")
        .client_id("tests")
        .build()
        .unwrap();
    let verifier =
        Verifier::builder(epochs.clone()).issuer(issuer.rules().unwrap()).build().unwrap();
    epochs.ready().await;
    // The second one's name is in Normalization Form C, as all that tokens carry; what is called
    // is not.
    for (subject, called) in [("alice", "'alice'"), ("josé", "CONCAT('jose', _utf8mb4 x'cc81')")] {
        let token = async || {
            let ticket = issuer.ticket().await.unwrap();
            let pair = issuer.login(ticket, Grant::new(Id::new(subject).unwrap())).await.unwrap();
            pair.access().clone()
        };
        let old = token().await;
        let check = |token: &str| verifier.verify::<NoClaims>(token.as_bytes()).map(drop);
        assert_eq!(check(old.as_str()), Ok(()));
        let sql = format!("CALL revocation_revoke('user', {called}, 'login', @c); SELECT @c");
        let cut_off = answer(&database, &sql).await;
        assert_eq!(cut_off == "NULL", subject != "alice", "{cut_off}");
        let refused = async {
            while !matches!(check(old.as_str()), Err(Rejection::Revoked(_))) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(10), refused).await.expect("no poll told of it");
        assert_eq!(check(token().await.as_str()), Ok(()));
    }
}

#[tokio::test]
#[ignore = "needs MariaDB; run with bash .ci/databases cargo test -- --ignored"]
async fn a_cut_off_by_plain_sql_is_above_all_before_it_and_joins_them() {
    let harness = MySql::new().await;
    // The clock of this store is ahead of the server's.
    let receipt =
        harness.store().revoke(Revocation::new(user("alice"), Demand::Login)).await.unwrap();
    let call = "CALL revocation_revoke('user', 'alice', 'refresh', @c); SELECT @c";
    let called: u64 = answer(&harness.database, call).await.parse().unwrap();
    assert_eq!(called, receipt.revoked_before().as_micros() + 1);
    let cut_off = cut_off(&harness, &user("alice")).await;
    assert_eq!(cut_off.login_before, receipt.revoked_before());
    assert_eq!(cut_off.reissue_before.as_micros(), called);
    let call = "CALL revocation_revoke('everyone', NULL, 'login', @c); SELECT @c";
    let called: u64 = answer(&harness.database, call).await.parse().unwrap();
    let changes = harness.store().watch().await.unwrap().load().await.unwrap();
    assert_eq!(changes.head.as_micros(), called);
    assert!(changes.entries.iter().any(|entry| entry.scope == Scope::Everyone));
}

#[tokio::test]
#[ignore = "needs MariaDB; run with bash .ci/databases cargo test -- --ignored"]
async fn plain_sql_is_told_what_is_wrong_and_changes_nothing() {
    let harness = MySql::new().await;
    let long = format!("'user', '{}', 'login'", "a".repeat(513));
    for (arguments, problem) in [
        ("'users', 'alice', 'login'", "unknown scope"),
        ("'USER', 'alice', 'login'", "unknown scope"),
        ("'user ', 'alice', 'login'", "unknown scope"),
        ("NULL, 'alice', 'login'", "unknown scope"),
        ("'user', 'alice', 'logout'", "unknown demand"),
        ("'user', 'alice', NULL", "unknown demand"),
        ("'everyone', 'alice', 'login'", "must be empty"),
        ("'everyone', ' ', 'login'", "must be empty"),
        ("'user', '', 'login'", "1 to 512 bytes"),
        ("'user', NULL, 'login'", "1 to 512 bytes"),
        (&*long, "1 to 512 bytes"),
        ("'user', 'al\\nice', 'login'", "control character"),
        ("'user', 'al\\0ice', 'login'", "control character"),
        ("'user', CONVERT(x'61c285' USING utf8mb4), 'login'", "control character"),
    ] {
        for mode in ["", "STRICT_ALL_TABLES"] {
            let sql = format!("SET sql_mode = '{mode}'; CALL revocation_revoke({arguments}, @c)");
            let output = client(&harness.database, &sql).await;
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success(), "{arguments}");
            assert!(said.contains("(45000)") && said.contains(problem), "{arguments}: {said}");
        }
    }
    let changes = harness.store().watch().await.unwrap().load().await.unwrap();
    assert_eq!((changes.entries.len(), changes.head), (0, StoreTime::ZERO));
}

#[tokio::test]
#[ignore = "needs MariaDB; run with bash .ci/databases cargo test -- --ignored"]
async fn a_call_that_fails_leaves_no_lock() {
    let harness = MySql::new().await;
    let mut application: MySqlConnection = harness.application().await;
    // At its very last statement.
    raw_sql(
        "UPDATE revocation_clock SET newest = 5; \
         CREATE TRIGGER full BEFORE UPDATE ON revocation_clock FOR EACH ROW \
         SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'full'",
    )
    .execute(&mut application)
    .await
    .unwrap();
    let called = raw_sql("CALL revocation_revoke('user', 'alice', 'login', @c)");
    let error = called.execute(&mut application).await.unwrap_err();
    assert!(error.to_string().contains("full"), "{error}");
    raw_sql("DROP TRIGGER full").execute(&mut harness.application().await).await.unwrap();
    assert_eq!(cut_off(&harness, &user("alice")).await, CutOff::NONE);
    let revoking = harness.store().revoke(Revocation::new(user("bob"), Demand::Login));
    timeout(PATIENCE, revoking).await.expect("the lock is held").unwrap();
}
