//! Revocations that the whole fleet acknowledges: law 3 with a receipt, over three server processes.

use std::{path::Path, time::Duration};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{common::place::Place, fleet::Server};

const OK: StatusCode = StatusCode::OK;

/// In milliseconds.
const MAX_STALENESS: u64 = 2_000;

/// What one waits longer for a silent instance than its bound: two clocks may run apart by 0.2 %.
const DRIFT: u64 = MAX_STALENESS / 500;

async fn three_servers(data: &Path) -> [Server; 3] {
    let settings = [("MAX_STALENESS", "2"), ("POLL", "0.25")];
    let start = || Server::start_with(data, &settings);
    [start().await, start().await, start().await]
}

/// Revokes alice at `server`, and waits until that is enforced everywhere. Returns the instances.
async fn revoke_everywhere(server: &Server, bob: &str) -> Vec<Value> {
    let order = json!({ "scope": "user", "subject": "alice", "demand": "login" });
    let (status, done) = server.post("/admin/revoke?wait=60", bob, &order).await;
    assert_eq!((status, &done["enforced_everywhere"]), (OK, &json!(true)), "{done}");
    done["instances"].as_array().unwrap().clone()
}

fn are(instances: &[Value], how: &str) -> usize {
    instances.iter().filter(|instance| instance["enforced"] == how).count()
}

#[tokio::test]
async fn a_revocation_that_is_enforced_everywhere_is_in_force_at_each_server() {
    let place = Place::new().await;
    let fleet = three_servers(place.path()).await;
    let bob = fleet[0].bob().await;
    for round in 0..20 {
        let alice = fleet[round % 3].alice().await;
        for server in &fleet {
            server.until("/me", &alice, OK).await;
        }
        let instances = revoke_everywhere(&fleet[(round + 1) % 3], &bob).await;
        assert_eq!(are(&instances, "acknowledged"), 3, "{instances:?}");
        for server in &fleet {
            assert_eq!(server.me(&alice).await, StatusCode::UNAUTHORIZED, "{round}");
        }
    }
    let (status, instances) = fleet[0].get("/admin/instances", &bob).await;
    assert_eq!((status, instances.as_array().unwrap().len()), (OK, 3), "{instances}");
    for instance in instances.as_array().unwrap() {
        assert_eq!((&instance["up_to_date"], &instance["bound_ms"]), (&json!(true), &json!(2_000)));
    }
}

#[tokio::test]
async fn a_server_that_is_stopped_is_outwaited_and_accepts_nothing_once_it_goes_on() {
    let place = Place::new().await;
    let fleet = three_servers(place.path()).await;
    let [here, _, stopped] = &fleet;
    let (alice, bob) = (here.alice().await, here.bob().await);
    stopped.until("/me", &alice, OK).await;
    stopped.stop();
    // Some are under way to it: they are checked once it goes on.
    let waiting = futures_util::future::join_all((0..8).map(|_| stopped.me(&alice)));
    let (waiting, ()) = tokio::join!(waiting, async {
        let instances = revoke_everywhere(here, &bob).await;
        assert_eq!((are(&instances, "acknowledged"), are(&instances, "outwaited")), (2, 1));
        for instance in instances {
            let lag = instance["lag_ms"].as_u64().unwrap();
            if instance["enforced"] == "outwaited" {
                // And what a busy machine takes to notice.
                let longest = MAX_STALENESS + DRIFT + 500;
                assert!((MAX_STALENESS + DRIFT..longest).contains(&lag), "{lag} ms");
            } else {
                assert!(lag < MAX_STALENESS, "{lag} ms");
            }
        }
        stopped.go_on();
    });
    assert!(!waiting.contains(&OK), "{waiting:?}");
    // Until it is fresh, and after.
    for _ in 0..200 {
        assert_ne!(stopped.me(&alice).await, OK);
    }
    stopped.until("/readyz", "", OK).await;
    assert_eq!(stopped.me(&alice).await, StatusCode::UNAUTHORIZED);
    let again = here.alice().await;
    stopped.until("/me", &again, OK).await;
    assert_eq!(are(&revoke_everywhere(stopped, &bob).await, "acknowledged"), 3);
    assert_eq!(stopped.me(&again).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn who_waits_for_less_is_told_who_was_silent() {
    let place = Place::new().await;
    let fleet = three_servers(place.path()).await;
    let bob = fleet[0].bob().await;
    fleet[2].stop();
    let order = json!({ "scope": "user", "subject": "alice", "demand": "refresh" });
    let (status, done) = fleet[0].post("/admin/revoke?wait=0.2", &bob, &order).await;
    assert_eq!((status, &done["enforced_everywhere"]), (OK, &json!(false)), "{done}");
    let instances = done["instances"].as_array().unwrap();
    assert!(are(instances, "no") >= 1, "{done}");
    let silent = instances.iter().find(|instance| instance["enforced"] == "no").unwrap();
    assert!(silent["applied"].as_u64() < done["revoked_before"].as_u64());
    let lag = Duration::from_millis(silent["lag_ms"].as_u64().unwrap());
    assert!(lag >= Duration::from_millis(200), "{lag:?}");
}
