//! Refresh tokens: rotation, theft, and the limits of a session. The clock is driven by hand.

use std::{collections::HashSet, time::Duration};

use axum::http::StatusCode;
use tower_revocation::{EpochStore, lifetimes::Lifetimes};

use crate::{
    common::{
        instance::START,
        place::{Place, PlainSql},
    },
    devices::Devices,
    fleet::{Pair, Server, claims},
};

const OK: StatusCode = StatusCode::OK;
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// The default limits: 5 days idle, 60 days in all.
fn limits() -> (Duration, Duration) {
    let lifetimes = Lifetimes::default();
    (lifetimes.idle(), lifetimes.session())
}

#[tokio::test]
async fn c08_orphaned_sessions_are_purged_in_small_batches_and_each_refresh_moves_the_deadline() {
    let data = Place::new().await;
    let devices = Devices::start(data.path()).await;
    let (idle, _) = limits();
    let mut used = devices.login("alice").await;
    let orphan = devices.login("alice").await;
    let mut database = PlainSql::connect(data.path(), "test.db").await;
    database
        .run([
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 100000) \
             INSERT INTO revocation_sessions \
                 (id, user, groups, began, refreshed_at, last_stamp, counter, void_below, spent) \
             SELECT 'orphan ' || n, 'alice', '[]', began, refreshed_at, last_stamp, 0, 0, '[]' \
             FROM n CROSS JOIN (SELECT * FROM revocation_sessions LIMIT 1)",
            "INSERT INTO revocation_sessions \
                 (id, user_id, groups, began, refreshed_at, last_stamp, counter, void_below, spent) \
             SELECT 'orphan ' || n, 'alice', '{}', began, refreshed_at, last_stamp, 0, 0, '{}' \
             FROM generate_series(1, 100000) AS n \
             CROSS JOIN (SELECT * FROM revocation_sessions LIMIT 1) AS one",
            "INSERT INTO revocation_sessions \
                 (id, user_id, in_groups, began, refreshed_at, last_stamp, counter, void_below, \
                  spent) \
             WITH RECURSIVE digit(d) AS (SELECT 0 UNION ALL SELECT d + 1 FROM digit WHERE d < 9) \
             SELECT concat('orphan ', a.d, b.d, c.d, e.d, f.d), 'alice', '[]', began, \
                    refreshed_at, last_stamp, 0, 0, '[]' \
             FROM digit AS a, digit AS b, digit AS c, digit AS e, digit AS f, \
                  (SELECT * FROM revocation_sessions LIMIT 1) AS one",
        ])
        .await;
    let count =
        format!("SELECT count(*) FROM revocation_sessions WHERE {} = 'alice'", database.user());
    devices.pass(idle - SECOND);
    used = devices.renewed(&used.refresh).await;
    devices.pass(SECOND);
    let store = devices.instance.store.clone();
    let before = store.statements().sync;
    let purge = tokio::spawn({
        let store = store.clone();
        async move { store.purge(Lifetimes::default()).await }
    });
    // Others see it shrink by and by, and are served in between.
    let mut seen = HashSet::new();
    let mut left: i64 = 100_002;
    while left > 1 {
        left = database.numbers(&count).await[0];
        seen.insert(left);
        devices.login("bob").await;
    }
    purge.await.unwrap().unwrap();
    assert!(seen.iter().any(|left| (2..100_002).contains(left)), "{seen:?}");
    // A hundred batches, each a transaction of five statements at least.
    let statements = store.statements().sync - before;
    assert!(statements >= 500, "{statements}");
    devices.assert_refused(&orphan.refresh).await;
    devices.renewed(&used.refresh).await;
}

#[tokio::test]
async fn c09_the_life_of_a_session_and_of_its_refresh_token_is_one_setting() {
    let data = Place::new().await;
    let idle = Duration::from_secs(1_000);
    let lifetimes = Lifetimes::default().with_idle(idle).unwrap();
    let devices = Devices::start_with(data.path(), lifetimes).await;
    let watched = devices.login("alice").await;
    devices.pass(idle - SECOND);
    let observer = devices.login("alice").await;
    let alive = devices.sessions(&observer.access).await;
    assert_eq!(alive.len(), 2);
    devices.pass(SECOND);
    assert_eq!(devices.sessions(&observer.access).await, [observer.sid()]);
    devices.assert_refused(&watched.refresh).await;
    devices.renewed(&observer.refresh).await;
}

#[tokio::test]
async fn c11_a_refresh_replaces_exactly_the_token_presented() {
    let data = Place::new().await;
    let devices = Devices::start(data.path()).await;
    let mut pairs = Vec::new();
    for _ in 0..3 {
        pairs.push(devices.login("alice").await);
    }
    let next = devices.renewed(&pairs[1].refresh).await;
    assert_ne!(next.refresh, pairs[1].refresh);
    devices.renewed(&next.refresh).await;
    devices.pass(Duration::from_secs(11));
    // The others are the current ones still, and the replaced one is not.
    for untouched in [&pairs[0], &pairs[2]] {
        assert_eq!(devices.me(&untouched.access).await, OK);
        devices.renewed(&untouched.refresh).await;
    }
    devices.assert_refused(&pairs[1].refresh).await;
}

#[tokio::test]
async fn c15_who_is_online_is_told_by_the_last_refresh() {
    let data = Place::new().await;
    let devices = Devices::start(data.path()).await;
    let access = Lifetimes::default().access();
    let early = devices.login("alice").await;
    devices.pass(access / 2);
    devices.login("bob").await;
    assert_eq!(devices.online(access).await, ["bob", "alice"]);
    devices.pass(access / 2);
    assert_eq!(devices.online(access).await, ["bob"]);
    devices.renewed(&early.refresh).await;
    assert_eq!(devices.online(access).await, ["alice", "bob"]);
    devices.pass(access);
    assert!(devices.online(access).await.is_empty());
}

#[tokio::test]
async fn c16_the_idle_limit_is_the_refresh_tokens_life_and_each_refresh_extends_it() {
    let data = Place::new().await;
    let devices = Devices::start(data.path()).await;
    let (idle, _) = limits();
    let mut pair = devices.login("alice").await;
    for _ in 0..5 {
        devices.pass(idle - SECOND);
        pair = devices.renewed(&pair.refresh).await;
    }
    devices.pass(idle);
    devices.assert_refused(&pair.refresh).await;
    assert!(devices.reuses.lock().unwrap().is_empty());
}

#[tokio::test]
async fn c17_a_client_may_refresh_before_expiry() {
    let data = Place::new().await;
    let devices = Devices::start(data.path()).await;
    let first = devices.login("alice").await;
    let second = devices.renewed(&first.refresh).await;
    let third = devices.renewed(&second.refresh).await;
    for pair in [&first, &second, &third] {
        assert_eq!(devices.me(&pair.access).await, OK);
    }
}

#[tokio::test]
async fn c18_a_spent_refresh_token_ends_its_session_and_its_access_tokens_and_is_told() {
    let data = Place::new().await;
    let devices = Devices::start(data.path()).await;
    let (stolen, other) = (devices.login("alice").await, devices.login("alice").await);
    let second = devices.renewed(&stolen.refresh).await;
    let third = devices.renewed(&second.refresh).await;
    // Using it meanwhile does not extend the grace time.
    devices.pass(Duration::from_secs(9));
    assert_eq!(devices.renewed(&stolen.refresh).await.refresh, second.refresh);
    assert!(devices.reuses.lock().unwrap().is_empty());
    devices.pass(Duration::from_secs(1));
    devices.assert_refused(&stolen.refresh).await;
    let told = devices.reuses.lock().unwrap().clone();
    let [reuse] = &told[..] else { panic!("{told:?}") };
    assert_eq!((reuse.user.as_str(), reuse.session.as_str()), ("alice", &*stolen.sid()));
    devices.instance.epochs.wait_for(&reuse.receipt).await;
    for pair in [&stolen, &second, &third] {
        assert_eq!(devices.me(&pair.access).await, StatusCode::UNAUTHORIZED);
        devices.assert_refused(&pair.refresh).await;
    }
    // Told once, and the other device is left alone.
    assert_eq!(devices.reuses.lock().unwrap().len(), 1);
    assert_eq!(devices.me(&other.access).await, OK);
    devices.renewed(&other.refresh).await;
}

#[tokio::test]
async fn c24_access_lifetimes_are_short_and_jittered_downward() {
    let data = Place::new().await;
    let server = Server::start_with(data.path(), &[("ACCESS_TTL", "600")]).await;
    let mut pair = server.alice_on("phone").await;
    let mut lives = HashSet::new();
    for _ in 0..40 {
        let (claims, expires_in) = (claims(&pair.access), pair.expires_in);
        let life = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
        assert_eq!(life, expires_in);
        assert!((540..=600).contains(&life), "{life}");
        lives.insert(life);
        pair = server.renewed(&pair.refresh).await;
    }
    // Of 61 lives, all the same forty times: not by chance.
    assert!(lives.len() > 5, "{lives:?}");
}

#[tokio::test]
async fn c24_what_a_stolen_refresh_token_harvested_dies_with_the_session() {
    let data = Place::new().await;
    let devices = Devices::start(data.path()).await;
    let mut thief = devices.login("alice").await;
    let mut harvest: Vec<Pair> = Vec::new();
    for _ in 0..10 {
        devices.pass(Duration::from_secs(60));
        thief = devices.renewed(&thief.refresh).await;
        harvest.push(thief.clone());
    }
    // Left alone, each lives as long as any access token; here the session is ended before.
    devices.assert_refused(&harvest[0].refresh).await;
    let receipt = devices.reuses.lock().unwrap()[0].receipt;
    devices.instance.epochs.wait_for(&receipt).await;
    for pair in &harvest {
        assert_eq!(devices.me(&pair.access).await, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn c41_the_first_logins_time_is_kept_through_refreshes() {
    let data = Place::new().await;
    let devices = Devices::start(data.path()).await;
    let mut pair = devices.login("alice").await;
    for refreshes in 1..5_u64 {
        devices.pass(DAY);
        pair = devices.renewed(&pair.refresh).await;
        let claims = claims(&pair.access);
        assert_eq!(claims["oat"], START.as_secs());
        assert_eq!(claims["auth_time"], START.as_secs());
        assert_eq!(claims["iat"], START.as_secs() + refreshes * DAY.as_secs());
    }
}

#[tokio::test]
async fn c44_idle_and_absolute_limits_are_two_settings() {
    let data = Place::new().await;
    let devices = Devices::start(data.path()).await;
    assert_eq!(limits(), (5 * DAY, 60 * DAY));
    let (mut used, paused) = (devices.login("alice").await, devices.login("alice").await);
    for day in (4..60).step_by(4) {
        devices.pass(4 * DAY);
        used = devices.renewed(&used.refresh).await;
        if day > 5 {
            devices.assert_refused(&paused.refresh).await;
        }
    }
    // Used all the time; and no access token outlives its session.
    devices.pass(4 * DAY - Duration::from_secs(60));
    used = devices.renewed(&used.refresh).await;
    assert_eq!(used.expires_in, 60);
    devices.pass(Duration::from_secs(60));
    devices.assert_refused(&used.refresh).await;
}

#[tokio::test]
async fn c44_each_limit_alone_bounds_the_access_tokens_too() {
    for (limit, settings) in [
        (2, [("MAX_TTL", "2"), ("ISSUER", "http://127.0.0.1:3000")]),
        (3, [("MAX_TTL", "9"), ("IDLE_TTL", "3.5")]),
        (1, [("MAX_TTL", "0.5"), ("ACCESS_TTL", "0.2")]),
    ] {
        let data = Place::new().await;
        let server = Server::start_with(data.path(), &settings).await;
        let pair = server.alice_on("phone").await;
        assert_eq!(pair.expires_in, limit, "{settings:?}");
        assert_eq!(server.me(&pair.access).await, OK);
    }
}
