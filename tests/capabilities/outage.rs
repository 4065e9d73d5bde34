//! The database is away for a while.

use std::{path::Path, time::Duration};

use reqwest::StatusCode;

use crate::{
    cluster::{Cluster, Engine},
    fleet::Server,
};

const OK: StatusCode = StatusCode::OK;
const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;

/// How long the outage may last: much longer than it does.
const MAX_STALENESS: &str = "60";

/// Two servers on the database at `url`.
async fn fleet(data: &Path, url: &str) -> [Server; 2] {
    let settings = [("DATABASE_URL", url), ("MAX_STALENESS", MAX_STALENESS)];
    [Server::start_with(data, &settings).await, Server::start_with(data, &settings).await]
}

/// Alice is let in at every server while the database is away, and nobody can log in.
async fn serves_on(fleet: &[Server; 2], alice: &str) {
    for server in fleet {
        for _ in 0..50 {
            assert_eq!(server.me(alice).await, OK);
        }
        assert_eq!(server.get("/readyz", "").await.0, OK);
    }
    let credentials = serde_json::json!({ "username": "alice", "password": "wonderland" });
    let (status, problem) = fleet[0].post("/login", "", &credentials).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
}

/// The database is back: there are logins, and revocations are in force everywhere.
async fn is_back(fleet: &[Server; 2], alice: &str, bob: &str) {
    fleet[0].revoke(bob, "user", "alice", "login").await;
    for server in fleet {
        server.until("/me", alice, UNAUTHORIZED).await;
        let fresh = server.alice_on("").await;
        assert_eq!((fleet[0].me(&fresh.access).await, fleet[1].me(&fresh.access).await), (OK, OK));
    }
}

#[tokio::test]
async fn c39_instances_serve_on_while_the_database_is_away_within_max_staleness() {
    let data = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", data.path().join("server.db").display());
    let fleet = fleet(data.path(), &url).await;
    let (alice, bob) = (fleet[0].alice().await, fleet[1].bob().await);
    let (place, elsewhere) = (data.path().join("server.db"), data.path().join("gone.db"));
    std::fs::rename(&place, &elsewhere).unwrap();
    for server in &fleet {
        for _ in 0..50 {
            assert_eq!(server.me(&alice).await, OK);
        }
    }
    std::fs::rename(&elsewhere, &place).unwrap();
    is_back(&fleet, &alice, &bob).await;
}

async fn while_a_server_restarts(engine: Engine) {
    let data = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(engine).await;
    let fleet = fleet(data.path(), &cluster.url()).await;
    let (alice, bob) = (fleet[0].alice().await, fleet[1].bob().await);
    for server in &fleet {
        assert_eq!((server.me(&alice).await, server.me(&bob).await), (OK, OK));
    }
    cluster.kill();
    serves_on(&fleet, &alice).await;
    cluster.start_again().await;
    serves_again(&fleet).await;
    is_back(&fleet, &alice, &bob).await;
}

/// Waits until each server has found the database again.
async fn serves_again(fleet: &[Server; 2]) {
    let credentials = serde_json::json!({ "username": "alice", "password": "wonderland" });
    let found = async {
        for server in fleet {
            while server.post("/login", "", &credentials).await.0 != OK {
                tokio::task::yield_now().await;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), found).await.unwrap();
}

#[tokio::test]
#[ignore = "needs PostgreSQL's programs; run with cargo test --test capabilities -- --ignored"]
async fn c39_instances_serve_on_while_postgres_restarts() {
    while_a_server_restarts(Engine::Postgres).await;
}

#[tokio::test]
#[ignore = "needs MariaDB's programs; run with cargo test --test capabilities -- --ignored"]
async fn c39_instances_serve_on_while_mariadb_restarts() {
    while_a_server_restarts(Engine::MariaDb).await;
}
