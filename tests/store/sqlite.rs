//! What is SQLite's alone: the file, its schema, other writers.

use std::time::Duration;

use sqlx::{
    Connection, Executor, SqliteConnection, SqlitePool, query, query_scalar,
    sqlite::SqliteConnectOptions,
};
use tower_revocation::{
    Demand,
    clock::Clock,
    cutoff::StoreTime,
    error::ErrorKind,
    lifetimes::Lifetimes,
    scope::{Id, Scope},
    store::{Device, EpochStore, Mint, MintFor, Revocation, SessionFilter, SqliteStore, Watch},
};

use crate::harness::{GRACE, Harness, START, Sqlite, counts_of_mints, kind, options, user};

async fn reopen(harness: &Sqlite) -> Result<SqliteStore, ErrorKind> {
    SqliteStore::connect(harness.options(), Clock::system()).await.map_err(|error| error.kind())
}

#[tokio::test]
async fn two_handles_on_one_file_are_one_store() {
    let harness = Sqlite::new().await;
    let other = reopen(&harness).await.unwrap();
    let receipt =
        harness.store.revoke(Revocation::new(user("alice"), Demand::Login)).await.unwrap();
    let seen = other.watch().await.unwrap().poll(StoreTime::ZERO).await.unwrap();
    assert_eq!(seen.head, receipt.revoked_before());
}

#[tokio::test]
async fn the_applications_own_migrations_do_not_collide() {
    let harness = Sqlite::new().await;
    let tables: Vec<String> =
        query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE '%migr%'")
            .fetch_all(&harness.application().await)
            .await
            .unwrap();
    assert_eq!(tables, ["revocation_migrations"]);
}

#[tokio::test]
async fn many_processes_may_start_on_an_empty_file_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let options = crate::harness::options(&directory);
    let mut starts = tokio::task::JoinSet::new();
    for _ in 0..8 {
        starts.spawn(SqliteStore::connect(options.clone(), Clock::system()));
    }
    while let Some(start) = starts.join_next().await {
        start.unwrap().unwrap();
    }
}

/// SQLite's lock is not handed on in turn: beside busy writers a start might wait in vain.
#[tokio::test]
async fn a_start_does_not_wait_for_writers() {
    let harness = Sqlite::new().await;
    let mut application = SqliteConnection::connect_with(&harness.options()).await.unwrap();
    let writing = application.begin_with("BEGIN IMMEDIATE").await.unwrap();
    reopen(&harness).await.unwrap();
    writing.rollback().await.unwrap();
}

#[tokio::test]
async fn b86_a_missing_table_is_refused_at_start() {
    for table in ["revocations", "revocation_clock", "revocation_requests", "revocation_sessions"] {
        let harness = Sqlite::new().await;
        let sql = sqlx::AssertSqlSafe(format!("DROP TABLE {table}"));
        harness.application().await.execute(sql).await.unwrap();
        assert_eq!(reopen(&harness).await.err(), Some(ErrorKind::Schema), "{table}");
    }
}

#[tokio::test]
async fn b86_a_newer_schema_is_refused_at_start() {
    let harness = Sqlite::new().await;
    query(
        "INSERT INTO revocation_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'from the future', true, x'00', 0)",
    )
    .execute(&harness.application().await)
    .await
    .unwrap();
    assert_eq!(reopen(&harness).await.err(), Some(ErrorKind::Schema));
}

#[tokio::test]
async fn b86_a_changed_schema_is_refused_at_start() {
    let harness = Sqlite::new().await;
    query("UPDATE revocation_migrations SET checksum = x'00'")
        .execute(&harness.application().await)
        .await
        .unwrap();
    assert_eq!(reopen(&harness).await.err(), Some(ErrorKind::Schema));
}

#[tokio::test]
async fn b87_a_cut_off_above_newest_fails_the_load_and_is_named() {
    let harness = Sqlite::new().await;
    query(
        "INSERT INTO revocations (scope, subject, login_before, changed_at) \
         VALUES ('user', 'alice', 9000000000000000, 1)",
    )
    .execute(&harness.application().await)
    .await
    .unwrap();
    let error = harness.store.watch().await.unwrap().load().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("above newest"), "{cause}");
}

#[tokio::test]
async fn b87_a_line_feed_in_a_subject_fails_the_load_and_is_named() {
    for subject in ["a\n", "a\nb", "a\n0\n0\n0\nuser\nb"] {
        let harness = Sqlite::new().await;
        query("INSERT INTO revocations (scope, subject, changed_at) VALUES ('user', ?, 0)")
            .bind(subject)
            .execute(&harness.application().await)
            .await
            .unwrap();
        let error = harness.store.watch().await.unwrap().load().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{subject:?}");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("line feed"), "{cause}");
    }
}

#[tokio::test]
async fn b87_a_cut_off_before_1970_cannot_be_written() {
    let harness = Sqlite::new().await;
    let written = query(
        "INSERT INTO revocations (scope, subject, login_before, changed_at) \
         VALUES ('user', 'alice', -1, 1)",
    )
    .execute(&harness.application().await)
    .await;
    assert!(written.is_err());
}

#[tokio::test]
async fn b88_a_request_by_plain_sql_is_sealed_and_a_bad_one_stops_nobody() {
    let harness = Sqlite::new().await;
    let application = harness.application().await;
    let long = "x".repeat(10_240);
    for subject in ["", "a\0b", &long, "jose\u{301}", "alice"] {
        query(
            "INSERT INTO revocation_requests (scope, subject, demand) VALUES ('user', ?, 'login')",
        )
        .bind(subject)
        .execute(&application)
        .await
        .unwrap();
    }
    // Latin-1, which SQLite takes for text.
    query(
        "INSERT INTO revocation_requests (scope, subject, demand) \
         VALUES ('user', CAST(x'6a6f73e9' AS TEXT), 'login')",
    )
    .execute(&application)
    .await
    .unwrap();
    let sealed = harness.store.watch().await.unwrap().load().await.unwrap();
    let mut scopes: Vec<Scope> = sealed.entries.into_iter().map(|entry| entry.scope).collect();
    scopes.sort();
    assert_eq!(scopes, [user("alice"), user("jos\u{e9}")]);
    let refused: Vec<String> = query_scalar(
        "SELECT refused FROM revocation_requests WHERE refused IS NOT NULL ORDER BY seq",
    )
    .fetch_all(&application)
    .await
    .unwrap();
    assert_eq!(
        refused,
        ["is empty", "holds a control character", "is longer than 512 bytes", "is not UTF-8"]
    );
}

#[tokio::test]
async fn b88_a_request_that_spares_no_session_revokes_all_the_same() {
    let harness = Sqlite::new().await;
    for (subject, spared) in [("alice", ""), ("bob", "a\0b")] {
        query(
            "INSERT INTO revocation_requests (scope, subject, demand, spared) \
             VALUES ('user', ?, 'login', ?)",
        )
        .bind(subject)
        .bind(spared)
        .execute(&harness.application().await)
        .await
        .unwrap();
    }
    let sealed = harness.store.watch().await.unwrap().load().await.unwrap();
    assert_eq!(sealed.entries.len(), 2);
}

#[tokio::test]
async fn a_refused_mint_leaves_sealed_what_it_has_sealed() {
    let harness = Sqlite::new().await;
    let ticket = harness.store.ticket().await.unwrap();
    let _forgotten = harness.request(Revocation::new(user("alice"), Demand::Login), true).await;
    let sid = Id::random();
    assert!(harness.mint(ticket, MintFor::Login, &sid, "alice", &[]).await.is_err());
    let pending: i64 =
        query_scalar("SELECT count(*) FROM revocation_requests WHERE revoked_before IS NULL")
            .fetch_one(&harness.application().await)
            .await
            .unwrap();
    assert_eq!(pending, 0);
}

#[cfg(unix)]
#[tokio::test]
async fn b90_a_file_put_in_the_databases_place_is_noticed() {
    let (harness, other) = (Sqlite::new().await, Sqlite::new().await);
    let mut watch = harness.store.watch().await.unwrap();
    watch.load().await.unwrap();
    // A backup is moved into place, as `mv` does it.
    query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&other.application().await).await.unwrap();
    let place = harness.directory.path().join("test.db");
    for leftover in ["test.db-wal", "test.db-shm"] {
        let _ = std::fs::remove_file(harness.directory.path().join(leftover));
    }
    std::fs::rename(other.directory.path().join("test.db"), &place).unwrap();

    // The old connection is on a file without a name: its answers prove nothing.
    assert_eq!(watch.load().await.unwrap_err().kind(), ErrorKind::Store);
    assert!(watch.poll(StoreTime::ZERO).await.is_err());
    // Writers and new watches are on the new one.
    let receipt =
        harness.store.revoke(Revocation::new(user("alice"), Demand::Login)).await.unwrap();
    let told = harness.store.watch().await.unwrap().load().await.unwrap();
    assert_eq!(told.head, receipt.revoked_before());
}

#[tokio::test]
async fn b89_a_full_disk_fails_loudly_and_is_survived() {
    let directory = tempfile::tempdir().unwrap();
    let options = crate::harness::options(&directory).pragma("max_page_count", "40");
    let store = SqliteStore::connect(options, Clock::system()).await.unwrap();
    let many: Vec<_> = (0..5_000)
        .map(|number| Revocation::new(user(&format!("user-{number}")), Demand::Login))
        .collect();
    assert_eq!(store.revoke_many(&many).await.unwrap_err().kind(), ErrorKind::Store);
    // Nothing of it is stored, and there is room for one.
    store.revoke(Revocation::new(user("alice"), Demand::Login)).await.unwrap();
    let loaded = store.watch().await.unwrap().load().await.unwrap();
    assert_eq!(loaded.entries.len(), 1);
}

#[tokio::test]
async fn a_database_in_memory_is_refused() {
    let options = SqliteConnectOptions::new().in_memory(true);
    let error = SqliteStore::connect(options, Clock::system()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store);
}

#[tokio::test]
async fn b89_a_file_that_is_no_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("noise.db");
    std::fs::write(&path, [0x5a; 8192]).unwrap();
    let error = SqliteStore::open(&path).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store);
}

#[tokio::test]
async fn b89_a_locked_database_fails_loudly_and_stores_nothing() {
    let harness = Sqlite::new().await;
    let mut application = harness.application().await.acquire().await.unwrap();
    query("BEGIN IMMEDIATE").execute(&mut *application).await.unwrap();
    let revoking = tokio::spawn({
        let store = harness.store.clone();
        async move { store.revoke(Revocation::new(user("alice"), Demand::Login)).await }
    });
    let error = tokio::time::timeout(Duration::from_secs(30), revoking)
        .await
        .expect("it must give up")
        .unwrap()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store);
    query("ROLLBACK").execute(&mut *application).await.unwrap();
    let loaded = harness.store.watch().await.unwrap().load().await.unwrap();
    assert!(loaded.entries.is_empty());
}

#[tokio::test]
async fn clearing_is_written_to_the_audit() {
    use tower_revocation::store::Audit;

    let harness = Sqlite::new().await;
    let receipt =
        harness.store.revoke(Revocation::new(user("alice"), Demand::Login)).await.unwrap();
    let audit = Audit::new(Id::new("bob").unwrap(), "by mistake");
    harness.store.clear(&user("alice"), audit).await.unwrap();
    let (scope, subject, before, by, reason): (String, String, i64, String, String) =
        sqlx::query_as(
            "SELECT scope, subject, login_before, cleared_by, reason FROM revocation_audit",
        )
        .fetch_one(&harness.application().await)
        .await
        .unwrap();
    assert_eq!((scope.as_str(), subject.as_str()), ("user", "alice"));
    assert_eq!(u64::try_from(before).ok(), Some(receipt.revoked_before().as_micros()));
    assert_eq!((by.as_str(), reason.as_str()), ("bob", "by mistake"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_is_one_statement_and_so_is_the_same_again() {
    let harness = Sqlite::new().await;
    let groups = ["staff", "admin"];
    let (sid, _) = harness.login("alice", &groups).await;
    let ticket = harness.store.ticket().await.unwrap();
    for counter in [0, 1, 2, 2, 1] {
        let session = MintFor::Refresh { counter, grace: GRACE };
        let before = harness.store.statements().session;
        harness.mint(ticket, session, &sid, "alice", &groups).await.unwrap();
        assert_eq!(harness.store.statements().session - before, 1, "{counter}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_is_one_statement_and_so_is_a_token_without_a_session() {
    let harness = Sqlite::new().await;
    let ticket = harness.store.ticket().await.unwrap();
    counts_of_mints(&harness, ticket, [6, 1, 1, 1]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_whose_commit_fails_hands_out_nothing() {
    let harness = Sqlite::new().await;
    let (sid, _) = harness.login("alice", &[]).await;
    let app = harness.application().await;
    // The commit checks this, after the statement has told its row. So would a full disk.
    sqlx::raw_sql(
        "CREATE UNIQUE INDEX counters ON revocation_sessions (counter); \
         CREATE TABLE held (counter INTEGER REFERENCES revocation_sessions (counter) \
             DEFERRABLE INITIALLY DEFERRED); \
         INSERT INTO held VALUES (0);",
    )
    .execute(&app)
    .await
    .unwrap();
    assert_eq!(kind(harness.refresh(&sid, 0).await), Some(ErrorKind::Store));
    sqlx::raw_sql("DELETE FROM held").execute(&app).await.unwrap();
    assert_eq!(harness.refresh(&sid, 0).await.unwrap().counter, 1);
    assert_eq!(harness.refresh(&sid, 1).await.unwrap().counter, 2);
}

#[tokio::test]
async fn the_migration_to_refresh_tokens_keeps_sessions_and_what_refers_to_them() {
    let directory = tempfile::tempdir().unwrap();
    let (clock, _) = Clock::manual(START);
    drop(SqliteStore::connect(options(&directory), clock.clone()).await.unwrap());
    let app = SqlitePool::connect_with(options(&directory)).await.unwrap();
    // As version 1 left it, with a table of the application beside.
    sqlx::raw_sql(
        "DROP TABLE revocation_sessions; DELETE FROM revocation_migrations WHERE version = 2; \
         CREATE TABLE revocation_sessions (id TEXT PRIMARY KEY, user TEXT NOT NULL, \
             groups TEXT NOT NULL, began INTEGER NOT NULL, last_stamp INTEGER NOT NULL) STRICT; \
         CREATE INDEX revocation_sessions_began ON revocation_sessions (began); \
         INSERT INTO revocation_sessions VALUES ('old', 'alice', '[]', 1800000000000000, 1); \
         CREATE TABLE carts (sid TEXT REFERENCES revocation_sessions (id) ON DELETE CASCADE); \
         INSERT INTO carts VALUES ('old');",
    )
    .execute(&app)
    .await
    .unwrap();

    let store = SqliteStore::connect(options(&directory), clock).await.unwrap();
    let carts: i64 =
        sqlx::query_scalar("SELECT count(*) FROM carts").fetch_one(&app).await.unwrap();
    assert_eq!(carts, 1);
    let mint = Mint {
        ticket: store.ticket().await.unwrap(),
        session: MintFor::Refresh { counter: 0, grace: GRACE },
        sid: Id::new("old").unwrap(),
        user: Id::new("alice").unwrap(),
        groups: Vec::new(),
        device: Device::new(),
        lifetimes: Lifetimes::default(),
    };
    assert_eq!(store.mint(&mint).await.unwrap().counter, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_listed_while_somebody_holds_the_write_lock() {
    let harness = Sqlite::new().await;
    let (sid, _) = harness.login("alice", &[]).await;
    let writer = harness.application().await.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let filter = SessionFilter::User(Id::new("alice").unwrap());
    let listed = harness.store.sessions(&filter, Lifetimes::default()).await.unwrap();
    assert_eq!(listed.iter().map(|session| &session.id).collect::<Vec<_>>(), [&sid]);
    writer.rollback().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_judgement_is_one_statement_of_the_request_path_without_the_write_lock() {
    let harness = Sqlite::new().await;
    let writer = harness.application().await.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let before = harness.store.statements();
    harness.store.judged(&[user("alice")]).await.unwrap();
    let after = harness.store.statements();
    assert_eq!((after.request, after.session), (before.request + 1, before.session));
    writer.rollback().await.unwrap();
}

#[tokio::test]
async fn b90_a_file_that_was_moved_away_judges_nothing() {
    let harness = Sqlite::new().await;
    harness.store.judged(&[user("alice")]).await.unwrap();
    let place = harness.directory.path().join("test.db");
    std::fs::rename(&place, harness.directory.path().join("gone.db")).unwrap();
    let judged = harness.store.judged(&[user("alice")]).await;
    assert_eq!(kind(judged), Some(ErrorKind::Store));
}
