//! The private database servers: killed, started again, followed by a standby.

use std::time::Duration;

use sqlx::{Connection, Executor, MySqlConnection, PgConnection, query, query_scalar};
use tokio::time::{sleep, timeout};

use crate::cluster::{Cluster, Engine};

const TABLE: &str = "CREATE TABLE kept (number INTEGER PRIMARY KEY)";

#[tokio::test]
#[ignore = "needs PostgreSQL's programs; run with `just faults`"]
async fn postgres_keeps_what_was_committed_before_it_is_killed() {
    let mut cluster = Cluster::start(Engine::Postgres).await;
    let mut connection = PgConnection::connect(&cluster.url()).await.unwrap();
    connection.execute(TABLE).await.unwrap();
    for number in 0..5_i32 {
        let insert = query("INSERT INTO kept VALUES ($1)").bind(number);
        insert.execute(&mut connection).await.unwrap();
        cluster.kill();
        assert!(connection.ping().await.is_err());
        cluster.start_again().await;
        connection = PgConnection::connect(&cluster.url()).await.unwrap();
        let kept: i64 =
            query_scalar("SELECT count(*) FROM kept").fetch_one(&mut connection).await.unwrap();
        assert_eq!(kept, i64::from(number) + 1);
    }
}

#[tokio::test]
#[ignore = "needs MariaDB's programs; run with `just faults`"]
async fn mariadb_keeps_what_was_committed_before_it_is_killed() {
    let mut cluster = Cluster::start(Engine::MariaDb).await;
    let mut connection = MySqlConnection::connect(&cluster.url()).await.unwrap();
    connection.execute(TABLE).await.unwrap();
    for number in 0..5_i32 {
        let insert = query("INSERT INTO kept VALUES (?)").bind(number);
        insert.execute(&mut connection).await.unwrap();
        cluster.kill();
        assert!(connection.ping().await.is_err());
        cluster.start_again().await;
        connection = MySqlConnection::connect(&cluster.url()).await.unwrap();
        let kept: i64 =
            query_scalar("SELECT count(*) FROM kept").fetch_one(&mut connection).await.unwrap();
        assert_eq!(kept, i64::from(number) + 1);
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL's programs; run with `just faults`"]
async fn a_standby_follows_its_primary_and_takes_no_writes() {
    let cluster = Cluster::start(Engine::Postgres).await;
    let standby = cluster.standby().await;
    let mut primary = PgConnection::connect(&cluster.url()).await.unwrap();
    primary.execute(TABLE).await.unwrap();
    primary.execute("INSERT INTO kept VALUES (1)").await.unwrap();
    let mut replica = PgConnection::connect(&standby.url()).await.unwrap();
    let arrived = async {
        while replica.execute("SELECT number FROM kept").await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(10), arrived).await.unwrap();
    let in_recovery: bool =
        query_scalar("SELECT pg_is_in_recovery()").fetch_one(&mut replica).await.unwrap();
    assert!(in_recovery && replica.execute("INSERT INTO kept VALUES (2)").await.is_err());
}
