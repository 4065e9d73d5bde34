//! Users who may have so many sessions and no more. Two servers are the fleet.

use reqwest::StatusCode;
use tokio::task::JoinSet;

use crate::{
    common::place::Place,
    fleet::{Pair, Server},
};

const OK: StatusCode = StatusCode::OK;

/// Two servers on the same data, on which a user may have `most` sessions.
async fn limited(data: &Place, most: &str, over: &str) -> [Server; 2] {
    let settings = [("MAX_SESSIONS", most), ("OVER_LIMIT", over)];
    [
        Server::start_with(data.path(), &settings).await,
        Server::start_with(data.path(), &settings).await,
    ]
}

#[tokio::test]
async fn c35_the_oldest_session_ends_at_every_instance() {
    let data = Place::new().await;
    let [one, other] = limited(&data, "2", "end").await;
    let bob = one.bob_on("bob").await;
    let (phone, laptop) = (one.alice_on("phone").await, other.alice_on("laptop").await);
    // That it was used last does not help it.
    let phone = one.renewed(&phone.refresh).await;
    one.assert_alive(&laptop).await;
    assert_eq!(other.me(&phone.access).await, OK);
    let tablet = other.alice_on("tablet").await;
    for server in [&one, &other] {
        server.assert_ended(&phone).await;
        assert_eq!(server.me(&tablet.access).await, OK);
        assert_eq!(server.labels(&tablet.access).await, ["laptop", "tablet"]);
    }
    one.assert_alive(&bob).await;
}

#[tokio::test]
async fn c35_a_single_session_ends_with_the_next_login() {
    let data = Place::new().await;
    let [one, other] = limited(&data, "1", "end").await;
    let mut last = one.alice_on("0").await;
    for (number, server) in [&other, &one, &one, &other].into_iter().enumerate() {
        let next = server.alice_on(&number.to_string()).await;
        // Its stamp is above the revocation of the one before, which no instance holds against it.
        assert_eq!(server.me(&next.access).await, OK);
        one.assert_ended(&last).await;
        other.assert_ended(&last).await;
        assert_eq!(one.me(&next.access).await, OK);
        last = next;
    }
}

#[tokio::test]
async fn c35_a_login_over_the_limit_is_refused_until_a_session_ends() {
    let data = Place::new().await;
    let [one, other] = limited(&data, "2", "refuse").await;
    let (phone, laptop) = (one.alice_on("phone").await, other.alice_on("laptop").await);
    for server in [&one, &other] {
        let (status, answer) = server.try_login("alice", "wonderland").await;
        assert_eq!(status, StatusCode::CONFLICT, "{answer}");
        assert_eq!(answer["type"], "https://demo.example/problems/too-many-sessions");
        // Who does not know the password learns nothing of it.
        assert_eq!(server.try_login("alice", "wrong").await.0, StatusCode::UNAUTHORIZED);
    }
    one.bob_on("bob").await;
    one.assert_alive(&phone).await;
    let ended = one.delete(&format!("/sessions/{}", phone.sid()), &laptop.access).await;
    assert_eq!(ended, StatusCode::NO_CONTENT);
    let tablet = other.alice_on("tablet").await;
    assert_eq!(one.labels(&tablet.access).await, ["laptop", "tablet"]);
}

#[tokio::test]
async fn c35_logins_at_once_at_both_servers_leave_no_more_than_the_limit() {
    for (over, refused) in [("end", 0), ("refuse", 5)] {
        let data = Place::new().await;
        let servers = limited(&data, "3", over).await.map(std::sync::Arc::new);
        let mut logins = JoinSet::new();
        for number in 0..8 {
            let server = servers[number % 2].clone();
            logins.spawn(async move { server.try_login("alice", "wonderland").await });
        }
        let answers = logins.join_all().await;
        let (ok, not): (Vec<_>, Vec<_>) =
            answers.into_iter().partition(|(status, _)| *status == OK);
        assert_eq!(not.len(), refused, "{over}");
        assert!(not.iter().all(|(status, _)| *status == StatusCode::CONFLICT), "{not:?}");
        let pairs: Vec<Pair> = ok.iter().map(|(_, answer)| Pair::of(answer)).collect();
        let mut alive = 0;
        for pair in &pairs {
            let (status, _) = servers[0].refresh(&pair.refresh).await;
            alive += usize::from(status == OK);
        }
        assert_eq!(alive, 3, "{over}");
    }
}
