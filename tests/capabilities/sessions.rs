//! Many devices per user: logins, logouts, lists of devices. Two servers are the fleet.

use std::collections::HashSet;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    common::place::{Place, PlainSql},
    fleet::{Pair, Server, claims},
};

const OK: StatusCode = StatusCode::OK;
const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;
const NO_CONTENT: StatusCode = StatusCode::NO_CONTENT;

async fn fleet(data: &Place) -> [Server; 2] {
    [Server::start(data.path()).await, Server::start(data.path()).await]
}

#[tokio::test]
async fn c01_login_keeps_other_sessions() {
    let data = Place::new().await;
    let [one, other] = fleet(&data).await;
    let mut devices = Vec::new();
    for label in ["phone", "laptop", "tablet"] {
        devices.push(one.alice_on(label).await);
    }
    devices.push(other.alice_on("desktop").await);
    let sids: HashSet<String> = devices.iter().map(Pair::sid).collect();
    assert_eq!(sids.len(), 4);
    assert_eq!(one.labels(&devices[0].access).await, ["desktop", "laptop", "phone", "tablet"]);
    for device in &devices {
        one.assert_alive(device).await;
        assert_eq!(other.me(&device.access).await, OK);
    }
}

#[tokio::test]
async fn c02_another_devices_session_is_ended_at_once() {
    let data = Place::new().await;
    let [one, other] = fleet(&data).await;
    let (phone, laptop) = (one.alice_on("phone").await, one.alice_on("laptop").await);
    assert_eq!(other.me(&phone.access).await, OK);
    assert_eq!(one.delete(&format!("/sessions/{}", phone.sid()), &laptop.access).await, NO_CONTENT);
    // Here by the next request, there by itself, and no refresh at either.
    assert_eq!(one.me(&phone.access).await, UNAUTHORIZED);
    other.assert_ended(&phone).await;
    one.assert_ended(&phone).await;
    assert_eq!(one.labels(&laptop.access).await, ["laptop"]);
    one.assert_alive(&laptop).await;
    // There is nothing left to end.
    let again = one.delete(&format!("/sessions/{}", phone.sid()), &laptop.access).await;
    assert_eq!(again, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn c04_all_others_are_logged_out_and_the_caller_stays() {
    let data = Place::new().await;
    let [one, other] = fleet(&data).await;
    let (older, me, newer) =
        (one.alice_on("older").await, one.alice_on("me").await, other.alice_on("newer").await);
    let bob = one.bob_on("bob").await;
    let (status, answer) = one.post("/logout/others", &me.access, &json!(null)).await;
    assert_eq!(status, OK, "{answer}");
    let fresh = Pair::of(&answer);
    for server in [&one, &other] {
        server.assert_ended(&older).await;
        server.assert_ended(&newer).await;
        // The caller's own old tokens too; what he has now is fresh, in the same session.
        server.assert_ended(&me).await;
        assert_eq!(server.me(&fresh.access).await, OK);
    }
    assert_eq!(fresh.sid(), me.sid());
    assert_eq!(claims(&fresh.access)["oat"], claims(&me.access)["oat"]);
    assert_eq!(one.labels(&fresh.access).await, ["me"]);
    other.assert_alive(&fresh).await;
    other.assert_alive(&bob).await;
}

#[tokio::test]
async fn c05_a_user_logs_out_everywhere() {
    let data = Place::new().await;
    let [one, other] = fleet(&data).await;
    let devices = [one.alice_on("phone").await, other.alice_on("laptop").await];
    let bob = one.bob_on("bob").await;
    let (status, _) = other.post("/logout/everywhere", &devices[0].access, &json!(null)).await;
    assert_eq!(status, NO_CONTENT);
    for server in [&one, &other] {
        for device in &devices {
            server.assert_ended(device).await;
        }
    }
    one.assert_alive(&bob).await;
    other.assert_alive(&one.alice_on("again").await).await;
}

#[tokio::test]
async fn c06_a_logout_ends_the_presented_tokens_session_only() {
    let data = Place::new().await;
    let [one, other] = fleet(&data).await;
    let (phone, laptop) = (one.alice_on("phone").await, one.alice_on("laptop").await);
    let newer = one.renewed(&phone.refresh).await;
    assert_eq!(other.post("/logout", &phone.access, &json!(null)).await.0, NO_CONTENT);
    for server in [&one, &other] {
        // Every token of that session, the one it was not called with too.
        server.assert_ended(&phone).await;
        server.assert_ended(&newer).await;
        assert_eq!(server.me(&laptop.access).await, OK);
    }
    one.assert_alive(&laptop).await;
}

#[tokio::test]
async fn c10_refresh_tokens_live_in_rows_of_their_own_many_per_user() {
    let data = Place::new().await;
    let server = Server::start(data.path()).await;
    let mut devices = vec![server.alice_on("one").await, server.alice_on("two").await];
    devices.push(server.alice_on("three").await);
    server.bob_on("bob").await;
    for _ in 0..3 {
        devices[1] = server.renewed(&devices[1].refresh).await;
    }
    // A row per family: its refresh tokens differ by a counter.
    let mut database = PlainSql::connect(data.path(), "server.db").await;
    let of_alice =
        format!("FROM revocation_sessions WHERE {} = 'alice' ORDER BY began", database.user());
    assert_eq!(database.texts(&format!("SELECT label {of_alice}")).await, ["one", "two", "three"]);
    assert_eq!(database.numbers(&format!("SELECT counter {of_alice}")).await, [0, 3, 0]);
}

#[tokio::test]
async fn c13_each_session_tells_what_is_needed_to_choose_which_to_end() {
    let data = Place::new().await;
    let server = Server::start(data.path()).await;
    let (phone, laptop) = (server.alice_on("Zoë's phone").await, server.alice_on("").await);
    server.renewed(&phone.refresh).await;
    let (_, sessions) = server.get("/sessions", &laptop.access).await;
    let find = |pair: &Pair| {
        let is_it = |session: &&Value| session["id"] == json!(pair.sid());
        sessions.as_array().unwrap().iter().find(is_it).unwrap()
    };
    let began = claims(&phone.access)["iat"].as_u64().unwrap();
    for (pair, label, current) in
        [(&phone, json!("Zoë's phone"), false), (&laptop, json!(null), true)]
    {
        let session = find(pair);
        let members: HashSet<&str> =
            session.as_object().unwrap().keys().map(String::as_str).collect();
        let wanted =
            ["id", "label", "ip", "user_agent", "created_at", "last_refresh_at", "current"];
        assert_eq!(members, HashSet::from(wanted));
        assert_eq!((&session["label"], &session["current"]), (&label, &json!(current)));
        assert_eq!(
            (&session["ip"], &session["user_agent"]),
            (&json!("127.0.0.1"), &json!("capabilities"))
        );
        let created_at = session["created_at"].as_u64().unwrap();
        assert!(created_at.abs_diff(began) <= 10, "{session}");
        assert!(session["last_refresh_at"].as_u64().unwrap() >= created_at);
    }
}

#[tokio::test]
async fn c14_a_device_that_never_logged_out_and_its_new_login_coexist() {
    let data = Place::new().await;
    let server = Server::start(data.path()).await;
    let forgotten = server.alice_on("phone").await;
    let line = "tower_revocation_store_statements_total{path=\"session\"}";
    let new = server.alice_on("phone").await;
    assert_eq!(server.labels(&new.access).await, ["phone", "phone"]);
    server.assert_alive(&forgotten).await;
    server.assert_alive(&new).await;
    // Nobody polls to clean up: while nothing happens, sessions cost no statement.
    let before = server.metric(line).await;
    for _ in 0..100 {
        assert_eq!(server.me(&new.access).await, OK);
    }
    assert_eq!(server.metric(line).await, before);
    let ended = server.delete(&format!("/sessions/{}", forgotten.sid()), &new.access).await;
    assert_eq!(ended, NO_CONTENT);
    assert_eq!(server.labels(&new.access).await, ["phone"]);
}

#[tokio::test]
async fn c22_one_some_or_all_of_a_users_sessions_are_ended() {
    let data = Place::new().await;
    let [one, other] = fleet(&data).await;
    let mut devices = Vec::new();
    for label in ["lost phone", "laptop", "tablet", "desktop"] {
        devices.push(one.alice_on(label).await);
    }
    let [lost, laptop, tablet, desktop] = &devices[..] else { unreachable!() };
    // One, from another device and another server; then another one; then all.
    for ended in [lost, tablet] {
        let path = format!("/sessions/{}", ended.sid());
        assert_eq!(other.delete(&path, &laptop.access).await, NO_CONTENT);
        one.assert_ended(ended).await;
    }
    assert_eq!(one.labels(&laptop.access).await, ["desktop", "laptop"]);
    one.assert_alive(desktop).await;
    let (status, _) = other.post("/logout/everywhere", &laptop.access, &json!(null)).await;
    assert_eq!(status, NO_CONTENT);
    one.assert_ended(desktop).await;
    one.assert_ended(laptop).await;
}

#[tokio::test]
async fn c31_session_and_device_are_visible_to_handlers() {
    let data = Place::new().await;
    let server = Server::start(data.path()).await;
    let (phone, laptop) = (server.alice_on("phone").await, server.alice_on("laptop").await);
    for (pair, label) in [(&phone, "phone"), (&laptop, "laptop")] {
        let (_, me) = server.get("/me", &pair.access).await;
        assert_eq!(me["sid"], json!(pair.sid()));
        let (_, sessions) = server.get("/sessions", &pair.access).await;
        let is_current = |session: &&Value| session["current"] == json!(true);
        let current: Vec<&Value> = sessions.as_array().unwrap().iter().filter(is_current).collect();
        assert_eq!(current.len(), 1);
        assert_eq!((&current[0]["id"], &current[0]["label"]), (&me["sid"], &json!(label)));
        // A refresh changes neither.
        let next = server.renewed(&pair.refresh).await;
        assert_eq!(server.get("/me", &next.access).await.1["sid"], me["sid"]);
    }
}

#[tokio::test]
async fn c34_an_administrator_lists_any_users_sessions_and_ends_one() {
    let data = Place::new().await;
    let [one, other] = fleet(&data).await;
    let (phone, laptop) = (one.alice_on("phone").await, one.alice_on("laptop").await);
    let bob = other.bob_on("office").await;
    let (status, sessions) = other.get("/admin/users/alice/sessions", &bob.access).await;
    assert_eq!(status, OK, "{sessions}");
    let ids: HashSet<&str> =
        sessions.as_array().unwrap().iter().map(|each| each["id"].as_str().unwrap()).collect();
    assert_eq!(ids, HashSet::from([&*phone.sid(), &*laptop.sid()]));
    assert_eq!(other.delete(&format!("/sessions/{}", phone.sid()), &bob.access).await, NO_CONTENT);
    one.assert_ended(&phone).await;
    one.assert_alive(&laptop).await;
    // Whoever is none sees and ends nobody else's.
    let (status, _) = one.get("/admin/users/bob/sessions", &laptop.access).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let path = format!("/sessions/{}", bob.sid());
    assert_eq!(one.delete(&path, &laptop.access).await, StatusCode::NOT_FOUND);
    one.assert_alive(&bob).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c56_thirty_two_tabs_that_refresh_at_once_get_equal_successors() {
    let data = Place::new().await;
    let [one, other] = fleet(&data).await;
    let alice = one.alice_on("browser").await;
    let tabs = (0..32).map(|tab| {
        let server = if tab % 2 == 0 { &one } else { &other };
        server.renewed(&alice.refresh)
    });
    let pairs: Vec<Pair> = futures_util::future::join_all(tabs).await;
    for pair in &pairs {
        assert_eq!(pair.refresh, pairs[0].refresh);
        assert_eq!((one.me(&pair.access).await, other.me(&pair.access).await), (OK, OK));
    }
    // One family still, and no alarm.
    assert_eq!(one.labels(&pairs[31].access).await, ["browser"]);
    one.assert_alive(&pairs[31]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c04_of_two_devices_that_log_all_others_out_at_once_one_stays() {
    let data = Place::new().await;
    let [one, other] = fleet(&data).await;
    for _ in 0..5 {
        let (phone, laptop) = (one.alice_on("phone").await, other.alice_on("laptop").await);
        let nothing = json!(null);
        let (first, second) = tokio::join!(
            one.post("/logout/others", &phone.access, &nothing),
            other.post("/logout/others", &laptop.access, &nothing),
        );
        let (stays, goes) = if first.0 == OK { (first, second) } else { (second, first) };
        assert_eq!((stays.0, goes.0), (OK, UNAUTHORIZED), "{stays:?} {goes:?}");
        assert_eq!(goes.1["demand"], "login");
        one.assert_alive(&Pair::of(&stays.1)).await;
    }
}
