//! Revoking users, groups, everyone, single tokens; logouts; password changes.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use reqwest::{Client, StatusCode};
use serde_json::json;
use tower_revocation::{
    Algorithm, AnyStore, Demand, EpochStore, Epochs, Follower, Grant, Id, Issuer, KeyRing,
    Revocation, RevocationLayer, Scope, Verified, Verifier, clock::Clock, cutoff::CutOff,
    lifetimes::Lifetimes,
};

use crate::{
    common::place::{self, Place, PlainSql},
    fleet::{Server, claims},
    service::Service,
};

const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;
const OK: StatusCode = StatusCode::OK;

#[tokio::test]
async fn the_main_job_over_two_processes_on_one_file() {
    let data = Place::new().await;
    let (one, other) = (Server::start(data.path()).await, Server::start(data.path()).await);
    let (alice, bob) = (one.alice().await, one.bob().await);
    for server in [&one, &other] {
        assert_eq!((server.me(&alice).await, server.me(&bob).await), (OK, OK));
    }
    one.revoke(&bob, "user", "alice", "login").await;
    // Here at once, there by itself.
    assert_eq!(one.me(&alice).await, UNAUTHORIZED);
    other.until("/me", &alice, UNAUTHORIZED).await;
    for server in [&one, &other] {
        assert_eq!(server.me(&bob).await, OK);
        assert_eq!(server.me(&server.alice().await).await, OK);
        let line = "tower_revocation_store_statements_total{path=\"request\"}";
        assert_eq!(server.metric(line).await, 0);
    }
}

#[tokio::test]
async fn a_revocation_is_enforced_in_another_process_within_200_ms_in_the_median() {
    let data = Place::new().await;
    // Where nothing announces a revocation (MySQL), it waits for the next poll.
    let poll = if place::url(data.path()).is_some_and(|url| url.starts_with("mysql")) {
        &[("POLL", "0.1")][..]
    } else {
        &[]
    };
    let start = || Server::start_with(data.path(), poll);
    let (one, other) = (start().await, start().await);
    let bob = one.bob().await;
    let mut delays = Vec::new();
    for _ in 0..50 {
        let alice = one.alice().await;
        assert_eq!(other.me(&alice).await, OK);
        one.revoke(&bob, "user", "alice", "login").await;
        #[allow(clippy::disallowed_methods, reason = "the delay is what this test is about")]
        let returned = Instant::now();
        other.until("/me", &alice, UNAUTHORIZED).await;
        delays.push(returned.elapsed());
    }
    delays.sort();
    let median = delays[delays.len() / 2];
    println!("median {median:?}, longest {:?}", delays[delays.len() - 1]);
    assert!(median < Duration::from_millis(200), "{delays:?}");
}

#[tokio::test]
async fn an_instance_that_lost_its_database_answers_503_and_recovers() {
    let data = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", data.path().join("server.db").display());
    let settings = [("MAX_STALENESS", "0.6"), ("DATABASE_URL", &url)];
    let server = Server::start_with(data.path(), &settings).await;
    let alice = server.alice().await;
    server.until("/me", &alice, OK).await;
    let (place, elsewhere) = (data.path().join("server.db"), data.path().join("gone.db"));
    std::fs::rename(&place, &elsewhere).unwrap();
    // Never a 401: the client would throw its session away.
    let answered = async {
        loop {
            match server.me(&alice).await {
                OK => tokio::task::yield_now().await,
                status => break status,
            }
        }
    };
    let status = tokio::time::timeout(Duration::from_secs(10), answered).await.unwrap();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(server.get("/readyz", "").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(server.get("/healthz", "").await.0, OK);
    std::fs::rename(&elsewhere, &place).unwrap();
    server.until("/me", &alice, OK).await;
}

/// A service with passwords in a table of its own, which change together with a revocation.
#[derive(Clone)]
struct Passwords {
    data: PathBuf,
    issuer: Issuer<AnyStore>,
}

async fn log_in(State(app): State<Passwords>, password: String) -> Result<String, StatusCode> {
    let ticket = app.issuer.ticket().await.unwrap();
    let mut database = PlainSql::connect(&app.data, "app.db").await;
    if database.texts("SELECT password FROM users").await != [password] {
        return Err(UNAUTHORIZED);
    }
    let grant = Grant::new(Id::new("alice").unwrap());
    Ok(app.issuer.login(ticket, grant).await.unwrap().access().as_str().to_owned())
}

async fn change(State(app): State<Passwords>, caller: Verified, new: String) -> StatusCode {
    let mut transaction = place::begin(&app.data, "app.db").await;
    let update = format!("UPDATE users SET password = '{new}'");
    place::run_in(&mut transaction, &update).await;
    let all = Revocation::new(Scope::user(caller.subject()).unwrap(), Demand::Login);
    let requested = app.issuer.store().revoke_in(&mut transaction, all).await.unwrap();
    if new == "refused by policy" {
        drop(transaction);
        return StatusCode::UNPROCESSABLE_ENTITY;
    }
    transaction.commit().await.unwrap();
    requested.sealed().await.unwrap();
    StatusCode::NO_CONTENT
}

#[tokio::test]
async fn c25_a_password_change_kills_every_older_token_and_no_newer_one() {
    let data = Place::new().await;
    let store = place::store(data.path(), "app.db", Clock::system()).await;
    let mut database = PlainSql::connect(data.path(), "app.db").await;
    database.run(["CREATE TABLE users (password VARCHAR(20))"; 3]).await;
    database.run(["INSERT INTO users VALUES ('old')"; 3]).await;
    let epochs = Epochs::new();
    let _sync = Follower::new(store.clone(), epochs.clone()).start().unwrap();
    epochs.ready().await;
    let keys = KeyRing::open(data.path().join("keys"), Algorithm::ES256).unwrap();
    let issuer = Issuer::builder(store, keys)
        .issuer("https://login.test")
        .audience("test")
        .client_id("tests")
        .build()
        .unwrap();
    let rules = issuer.rules().unwrap();
    let verifier = Verifier::builder(epochs.clone()).issuer(rules).build().unwrap();
    let app = Router::new()
        .route("/password", post(change))
        .route("/me", get(async |caller: Verified| caller.subject().to_owned()))
        .route_layer(RevocationLayer::new(verifier))
        .route("/login", post(log_in))
        .with_state(Passwords { data: data.path().to_owned(), issuer });
    let service = Service::start(app).await;
    let send = async |path: &str, token: &str, body: &'static str| {
        let request = Client::new().post(service.url(path)).bearer_auth(token).body(body);
        let answer = request.send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    };

    let (_, phone) = send("/login", "", "old").await;
    let (_, laptop) = send("/login", "", "old").await;
    // What is rolled back revokes nothing.
    let (status, _) = send("/password", &phone, "refused by policy").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(service.me(&laptop).await.status(), OK);

    let before = epochs.newest();
    assert_eq!(send("/password", &phone, "new").await.0, StatusCode::NO_CONTENT);
    let applied = async {
        while epochs.newest() == before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), applied).await.unwrap();
    for token in [&phone, &laptop] {
        assert_eq!(service.me(token).await.status(), UNAUTHORIZED);
    }
    assert_eq!(send("/login", "", "old").await.0, UNAUTHORIZED);
    let (_, fresh) = send("/login", "", "new").await;
    assert_eq!(service.me(&fresh).await.status(), OK);
}

#[tokio::test]
async fn c27_cut_offs_are_in_memory_loaded_at_start_newest_per_user_and_purged() {
    let data = Place::new().await;
    let (alice, last) = {
        let server = Server::start(data.path()).await;
        let (alice, bob) = (server.alice().await, server.bob().await);
        server.revoke(&bob, "user", "alice", "refresh").await;
        (alice, server.revoke(&bob, "user", "alice", "login").await)
    };
    // Loaded at start: a new process knows.
    let server = Server::start(data.path()).await;
    assert_eq!(server.me(&alice).await, UNAUTHORIZED);
    // The database is asked on change only: requests add nothing to the session's statements.
    let fresh = server.alice().await;
    let line = "tower_revocation_store_statements_total{path=\"session\"}";
    let before = server.metric(line).await;
    for _ in 0..200 {
        assert_eq!(server.me(&fresh).await, OK);
    }
    assert_eq!(server.metric(line).await, before);
    drop(server);

    // One entry per user, the newest; purged after the longest token's life.
    let (clock, hand) = Clock::manual(Duration::from_micros(last));
    let store = place::store(data.path(), "server.db", clock.clone()).await;
    let epochs = Epochs::builder().clock(clock).build().unwrap();
    let _sync = Follower::new(store.clone(), epochs.clone()).start().unwrap();
    epochs.ready().await;
    let user = Scope::user("alice").unwrap();
    assert_eq!(epochs.len(), 1);
    assert_eq!(epochs.cut_off(&user).revoked_before().as_micros(), last);
    let lifetimes = Lifetimes::default();
    hand.advance(lifetimes.session() + lifetimes.leeway() * 3);
    assert_eq!(epochs.purge(epochs.clock().now()), 1);
    assert_eq!(store.purge(lifetimes).await.unwrap(), 1);
    assert_eq!(epochs.cut_off(&user), CutOff::NONE);
}

#[tokio::test]
async fn c37_revoking_one_user_needs_no_key_of_its_own() {
    let data = Place::new().await;
    let server = Server::start(data.path()).await;
    let kid = |token: &str| {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

        let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
        serde_json::from_slice::<serde_json::Value>(&header).unwrap()["kid"].clone()
    };
    let (alice, bob) = (server.alice().await, server.bob().await);
    server.revoke(&bob, "user", "alice", "login").await;
    let again = server.alice().await;
    assert_eq!(server.me(&alice).await, UNAUTHORIZED);
    assert_eq!((server.me(&bob).await, server.me(&again).await), (OK, OK));
    assert_eq!(kid(&alice), kid(&again));
    assert_eq!(kid(&alice), kid(&bob));
}

#[tokio::test]
async fn c45_tokens_from_before_a_logout_stay_dead() {
    let data = Place::new().await;
    let (dead, alive) = {
        let server = Server::start(data.path()).await;
        let (phone, laptop) = (server.alice().await, server.alice().await);
        let (status, _) = server.post("/logout", &phone, &json!(null)).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
        assert_eq!(server.me(&phone).await, UNAUTHORIZED);
        assert_eq!(server.me(&laptop).await, OK);
        let (status, _) = server.post("/logout/everywhere", &laptop, &json!(null)).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
        (vec![phone, laptop], server.alice().await)
    };
    // Through a restart, and on an instance that never saw the logout.
    for server in [Server::start(data.path()).await, Server::start(data.path()).await] {
        for token in &dead {
            let (status, problem) = server.get("/me", token).await;
            assert_eq!((status, &problem["demand"]), (UNAUTHORIZED, &json!("login")));
        }
        assert_eq!(server.me(&alive).await, OK);
    }
}

#[tokio::test]
async fn c46_group_and_everyone_cut_offs_compose_by_max() {
    let data = Place::new().await;
    let server = Server::start(data.path()).await;
    let (alice, bob) = (server.alice().await, server.bob().await);
    // Bob alone is in the group.
    server.revoke(&bob, "group", "admin", "refresh").await;
    let (status, problem) = server.get("/me", &bob).await;
    assert_eq!((status, &problem["demand"]), (UNAUTHORIZED, &json!("refresh")));
    assert_eq!(server.me(&alice).await, OK);

    let bob = server.bob().await;
    server.revoke(&bob, "everyone", "", "login").await;
    for token in [&alice, &bob] {
        let (status, problem) = server.get("/me", token).await;
        assert_eq!((status, &problem["demand"]), (UNAUTHORIZED, &json!("login")));
    }
    // The maximum rules, not the last written: an older group's cut-off changes nothing.
    let (alice, bob) = (server.alice().await, server.bob().await);
    server.revoke(&bob, "group", "elsewhere", "login").await;
    assert_eq!((server.me(&alice).await, server.me(&bob).await), (OK, OK));
    server.revoke(&bob, "user", "alice", "refresh").await;
    assert_eq!((server.me(&alice).await, server.me(&bob).await), (UNAUTHORIZED, OK));
}

#[tokio::test]
async fn c47_a_single_token_is_revoked_by_its_jti() {
    let data = Place::new().await;
    let server = Server::start(data.path()).await;
    let (one, other, bob) = (server.alice().await, server.alice().await, server.bob().await);
    let jti = claims(&one)["jti"].as_str().unwrap().to_owned();
    server.revoke(&bob, "token", &jti, "refresh").await;
    assert_eq!(server.me(&one).await, UNAUTHORIZED);
    assert_eq!((server.me(&other).await, server.me(&bob).await), (OK, OK));
}
