//! Silent renewal: clients that do no more than keep the newest token they have seen. The clock is
//! driven by hand.

use std::{num::NonZeroU32, path::Path, time::Duration};

use axum::http::StatusCode;
use serde_json::Value;
use tower_revocation::{
    Demand, EpochStore, Id, Issuer, Revocation, Scope,
    layer::{Renewal, RenewalBuilder},
    lifetimes::Lifetimes,
    scope::ScopeKind,
};

use crate::{
    common::{
        instance::{Instance, grant},
        place::{self, Place},
    },
    devices::Devices,
    fleet::claims,
};

const OK: StatusCode = StatusCode::OK;
const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// A service that renews, with the default lifetimes: 15 minutes, 5 days, 60 days.
async fn renewing(data: &Path) -> Devices {
    renewing_with(data, Lifetimes::default(), |settings| settings).await
}

async fn renewing_with(
    data: &Path,
    lifetimes: Lifetimes,
    settings: impl FnOnce(RenewalBuilder) -> RenewalBuilder,
) -> Devices {
    Devices::start_layered(data, lifetimes, |instance, layer| {
        layer.renew(settings(renewal(instance)).build().unwrap()).unwrap()
    })
    .await
}

fn renewal(instance: &Instance) -> RenewalBuilder {
    let claims = async |user: Id| Ok(grant(user.as_str(), &[]));
    Renewal::builder(instance.issuer.renewing(claims))
}

/// A client that knows one token: the newest that it was given.
struct Client<'d> {
    devices: &'d Devices,
    token: String,
}

impl<'d> Client<'d> {
    async fn login(devices: &'d Devices) -> Self {
        Self { devices, token: devices.login("alice").await.access }
    }

    async fn uses(&mut self) -> StatusCode {
        self.uses_with(&[]).await
    }

    async fn uses_with(&mut self, headers: &[(&str, &str)]) -> StatusCode {
        let (status, next) = ask(self.devices, &self.token, headers).await;
        self.token = next.unwrap_or(std::mem::take(&mut self.token));
        status
    }
}

/// The status, and the successor.
async fn ask(
    devices: &Devices,
    token: &str,
    headers: &[(&str, &str)],
) -> (StatusCode, Option<String>) {
    let answer = devices.ask(token, headers).await;
    let next = answer.headers().get("x-jwt").map(|token| token.to_str().unwrap().to_owned());
    (answer.status(), next)
}

/// What the client is told to do.
async fn demand(devices: &Devices, token: &str) -> (StatusCode, String) {
    let answer = devices.ask(token, &[]).await;
    let status = answer.status();
    let problem: Value = answer.json().await.unwrap();
    (status, problem["demand"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn c19_an_old_or_expired_token_is_renewed_on_the_way() {
    let data = Place::new().await;
    let devices = renewing(data.path()).await;
    let first = devices.login("alice").await.access;
    // Young: there is nothing to do.
    assert_eq!(ask(&devices, &first, &[]).await, (OK, None));
    // Past half of its life.
    devices.pass(8 * MINUTE);
    let answer = devices.ask(&first, &[]).await;
    let second = answer.headers()["x-jwt"].to_str().unwrap().to_owned();
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert_eq!(answer.headers()["access-control-expose-headers"], "x-jwt");
    assert_eq!(answer.text().await.unwrap(), "alice");
    assert_eq!(ask(&devices, &second, &[]).await, (OK, None));
    // Expired.
    devices.pass(DAY);
    let (status, third) = ask(&devices, &second, &[]).await;
    assert_eq!(status, OK);
    let (old, new) = (claims(&second), claims(&third.unwrap()));
    for name in ["sub", "sid", "oat", "auth_time", "aud", "iss", "client_id"] {
        assert_eq!(old[name], new[name], "{name}");
    }
    assert!(old["exp"].as_u64() < new["iat"].as_u64());
    assert_ne!(old["jti"], new["jti"]);
}

#[tokio::test]
async fn c19_what_was_revoked_is_never_renewed() {
    let data = Place::new().await;
    let devices = renewing(data.path()).await;
    for (kind, name, requested) in [
        (ScopeKind::User, "sub", Demand::Login),
        (ScopeKind::User, "sub", Demand::Refresh),
        (ScopeKind::Session, "sid", Demand::Login),
        (ScopeKind::Token, "jti", Demand::Refresh),
    ] {
        let token = devices.login("alice").await.access;
        let scope = Scope::new(kind, claims(&token)[name].as_str().unwrap()).unwrap();
        let receipt = devices.instance.revoke(scope, requested).await;
        devices.instance.epochs.wait_for(&receipt).await;
        devices.pass(16 * MINUTE);
        let expected = (UNAUTHORIZED, requested.as_str().to_owned());
        assert_eq!(demand(&devices, &token).await, expected);
    }
}

#[tokio::test]
async fn c20_address_and_user_agent_must_match_where_that_is_wanted() {
    let data = Place::new().await;
    let devices = renewing_with(data.path(), Lifetimes::default(), |settings| {
        settings
            .client_ip(|headers, _| headers.get("x-real-ip")?.to_str().ok()?.parse().ok())
            .require_same_ip()
            .require_same_user_agent()
    })
    .await;
    let home = [("x-real-ip", "192.0.2.1"), ("user-agent", "phone")];
    let elsewhere = [("x-real-ip", "192.0.2.2"), ("user-agent", "phone")];
    let other = [("x-real-ip", "192.0.2.1"), ("user-agent", "curl")];
    let nowhere = [("user-agent", "phone")];
    let token = devices.login_from("alice", "192.0.2.1", "phone").await.access;
    devices.pass(14 * MINUTE);
    // The token is good; it is only not renewed for them.
    for headers in [&elsewhere[..], &other, &nowhere] {
        assert_eq!(ask(&devices, &token, headers).await, (OK, None));
        devices.pass(2 * SECOND);
    }
    let (status, next) = ask(&devices, &token, &home).await;
    assert_eq!((status, next.is_some()), (OK, true));
    devices.pass(DAY);
    let token = next.unwrap();
    for headers in [&elsewhere[..], &other, &nowhere] {
        assert_eq!(ask(&devices, &token, headers).await, (UNAUTHORIZED, None));
    }
    let (status, next) = ask(&devices, &token, &home).await;
    assert_eq!((status, next.is_some()), (OK, true));
}

#[tokio::test]
async fn c21_no_renewal_for_a_session_too_old_or_too_long_unused() {
    let data = Place::new().await;
    let devices = renewing(data.path()).await;
    let mut alice = Client::login(&devices).await;
    devices.pass(5 * DAY - SECOND);
    assert_eq!(alice.uses().await, OK);
    devices.pass(5 * DAY);
    assert_eq!(alice.uses().await, UNAUTHORIZED);

    let mut alice = Client::login(&devices).await;
    for _ in 0..14 {
        devices.pass(4 * DAY);
        assert_eq!(alice.uses().await, OK);
    }
    devices.pass(4 * DAY);
    assert_eq!(alice.uses().await, UNAUTHORIZED);
}

#[tokio::test]
async fn c21_a_token_left_behind_is_not_renewed_though_its_session_lives() {
    let data = Place::new().await;
    let devices = renewing(data.path()).await;
    let mut alice = Client::login(&devices).await;
    let left_behind = alice.token.clone();
    for _ in 0..2 {
        devices.pass(3 * DAY);
        assert_eq!(alice.uses().await, OK);
    }
    assert_eq!(ask(&devices, &left_behind, &[]).await, (UNAUTHORIZED, None));
}

#[tokio::test]
async fn c29_a_token_is_renewed_after_so_many_requests_and_the_previous_one_revoked() {
    let data = Place::new().await;
    let devices = renewing_with(data.path(), Lifetimes::default(), |settings| {
        settings.after_requests(NonZeroU32::new(3).unwrap()).revoke_previous()
    })
    .await;
    let first = devices.login("alice").await.access;
    let mut token = first.clone();
    for _ in 0..3 {
        for _ in 0..2 {
            assert_eq!(ask(&devices, &token, &[]).await, (OK, None));
        }
        let (status, next) = ask(&devices, &token, &[]).await;
        assert_eq!(status, OK);
        let previous = std::mem::replace(&mut token, next.unwrap());
        while devices.me(&previous).await == OK {
            tokio::task::yield_now().await;
        }
        assert_eq!(demand(&devices, &previous).await, (UNAUTHORIZED, "refresh".to_owned()));
    }
    assert_eq!(claims(&first)["sid"], claims(&token)["sid"]);
}

#[tokio::test]
async fn c38_a_phone_that_loses_the_network_and_answers_stays_logged_in() {
    let data = Place::new().await;
    let devices = renewing(data.path()).await;
    let mut phone = Client::login(&devices).await;
    for day in 1..=59 {
        devices.pass(DAY);
        if day % 2 == 0 {
            // The answer gets lost, and the successor with it.
            assert_eq!(ask(&devices, &phone.token, &[]).await.0, OK, "day {day}");
        }
        assert_eq!(phone.uses().await, OK, "day {day}");
    }
}

#[tokio::test]
async fn c38_sixty_days_at_one_use_every_four_and_out_on_day_sixty_one() {
    let data = Place::new().await;
    let devices = renewing(data.path()).await;
    let mut phone = Client::login(&devices).await;
    let began = claims(&phone.token)["oat"].clone();
    for day in (4..=56).step_by(4) {
        devices.pass(4 * DAY);
        assert_eq!(phone.uses().await, OK, "day {day}");
        assert_eq!(claims(&phone.token)["oat"], began);
    }
    // The last day: as long as there is room for a token.
    devices.pass(4 * DAY - 16 * MINUTE);
    assert_eq!(phone.uses().await, OK, "day 60");
    devices.pass(DAY);
    assert_eq!(phone.uses().await, UNAUTHORIZED, "day 61");

    let mut pausing = Client::login(&devices).await;
    devices.pass(4 * DAY);
    assert_eq!(pausing.uses().await, OK);
    devices.pass(6 * DAY);
    assert_eq!(pausing.uses().await, UNAUTHORIZED);
}

#[tokio::test]
async fn c38_a_purge_of_what_was_revoked_for_others_logs_nobody_out() {
    let data = Place::new().await;
    let devices = renewing(data.path()).await;
    let alice = devices.login("alice").await.access;
    // Bob's role changes.
    let receipt = devices.instance.revoke(Scope::user("bob").unwrap(), Demand::Refresh).await;
    devices.instance.epochs.wait_for(&receipt).await;
    let epochs = &devices.instance.epochs;
    for time in [16 * MINUTE, 4 * DAY] {
        devices.pass(time);
        devices.synced().await;
        // As a follower does every ten minutes.
        epochs.purge(epochs.clock().now());
        devices.instance.store.purge(epochs.lifetimes()).await.unwrap();
        let (status, next) = ask(&devices, &alice, &[]).await;
        assert_eq!((status, next.is_some()), (OK, true));
    }
}

#[tokio::test]
async fn c42_renewed_only_while_there_is_room_for_another_token() {
    let data = Place::new().await;
    let lifetimes = Lifetimes::new(10 * MINUTE, 60 * MINUTE, SECOND).unwrap();
    let devices = renewing_with(data.path(), lifetimes, |settings| settings).await;
    let mut alice = Client::login(&devices).await;
    for _ in 0..8 {
        devices.pass(6 * MINUTE);
        let before = alice.token.clone();
        assert_eq!(alice.uses().await, OK);
        assert_ne!(alice.token, before);
    }
    // 54 minutes: a token of ten would outlive the session. This one lapses by itself.
    devices.pass(6 * MINUTE);
    let last = alice.token.clone();
    assert_eq!(alice.uses().await, OK);
    assert_eq!(alice.token, last);
    devices.pass(4 * MINUTE + 2 * SECOND);
    assert_eq!(demand(&devices, &last).await.0, UNAUTHORIZED);
}

#[tokio::test]
async fn c43_renewed_once_a_day_at_most() {
    let data = Place::new().await;
    let lifetimes = Lifetimes::new(5 * DAY, 60 * DAY, SECOND).unwrap();
    let devices = renewing_with(data.path(), lifetimes, |settings| {
        settings.after_share(1).at_most_every(DAY)
    })
    .await;
    let mut alice = Client::login(&devices).await;
    let mut renewals = 0;
    for _ in 0..20 {
        // Four uses a day.
        devices.pass(DAY / 4);
        let before = alice.token.clone();
        assert_eq!(alice.uses().await, OK);
        renewals += usize::from(alice.token != before);
    }
    assert_eq!(renewals, 5);
}

#[tokio::test]
async fn c56_many_tabs_with_one_token_get_one_successor_by_one_statement() {
    let data = Place::new().await;
    let devices = renewing(data.path()).await;
    let session_statements = || devices.instance.store.statements().session;
    let (token, other) = (devices.login("alice").await.access, devices.login("bob").await.access);
    // What one renewal costs: a statement, where the database can do it in one.
    devices.pass(8 * MINUTE);
    let before = session_statements();
    assert!(ask(&devices, &other, &[]).await.1.is_some());
    let one = session_statements() - before;
    let in_transaction = place::url(data.path()).is_some_and(|url| url.starts_with("mysql"));
    assert!(one == 1 || in_transaction, "{one}");
    for life in [MINUTE, DAY] {
        devices.pass(life);
        // So that none of them waits for the sync.
        assert_eq!(devices.me(&token).await, OK);
        devices.pass(15 * MINUTE);
        devices.synced().await;
        let before = session_statements();
        let tabs: Vec<_> = (0..64).map(|_| devices.ask_at_once(&token)).collect();
        let mut successors = std::collections::HashSet::new();
        for tab in tabs {
            let answer = tab.await.unwrap();
            assert_eq!(answer.status(), OK);
            successors.insert(answer.headers()["x-jwt"].to_str().unwrap().to_owned());
        }
        assert_eq!(successors.len(), 1);
        assert_eq!(session_statements() - before, one);
        // And one that comes late.
        let (_, again) = ask(&devices, &token, &[]).await;
        assert!(successors.contains(&again.unwrap()));
        assert_eq!(session_statements() - before, one);
    }
}

#[tokio::test]
async fn c56_tabs_on_several_instances_are_all_served() {
    let data = Place::new().await;
    let (one, other) = (renewing(data.path()).await, renewing(data.path()).await);
    let token = one.login("alice").await.access;
    for devices in [&one, &other] {
        devices.pass(DAY);
        devices.synced().await;
    }
    let mut tokens = Vec::new();
    for devices in [&one, &other, &one, &other] {
        let (status, next) = ask(devices, &token, &[]).await;
        assert_eq!(status, OK);
        tokens.push(next.unwrap());
    }
    for devices in [&one, &other] {
        for token in &tokens {
            assert_eq!(devices.me(token).await, OK);
        }
    }
    // One session, and no alarm.
    let user = Id::new("alice").unwrap();
    assert_eq!(one.instance.issuer.sessions(&user).await.unwrap().len(), 1);
    assert!(one.reuses.lock().unwrap().is_empty());
}

#[tokio::test]
async fn c19_a_session_that_is_spared_does_not_renew_its_old_token() {
    // "Others but me" raises the last stamp of the caller's session. Its old token stays dead.
    let data = Place::new().await;
    let devices = renewing(data.path()).await;
    let token = devices.login("alice").await.access;
    let sid = Id::new(claims(&token)["sid"].as_str().unwrap()).unwrap();
    let others = Revocation::new(Scope::user("alice").unwrap(), Demand::Login).sparing(sid.clone());
    let receipt = devices.instance.store.revoke(others).await.unwrap();
    devices.instance.epochs.wait_for(&receipt).await;
    assert!(devices.instance.issuer.session(&sid).await.unwrap().is_some());
    devices.pass(16 * MINUTE);
    assert_eq!(demand(&devices, &token).await.0, UNAUTHORIZED);
}

#[tokio::test]
async fn c19_a_token_of_one_application_is_not_renewed_to_one_of_another() {
    let data = Place::new().await;
    let devices = renewing(data.path()).await;
    let instance = &devices.instance;
    // On the same store, with the same keys, and accepted by the same verifier.
    let partner = Issuer::builder(instance.store.clone(), instance.issuer.keys().clone())
        .issuer(instance.issuer.name())
        .audience("test")
        .client_id("partner")
        .access_jitter(Duration::ZERO)
        .build()
        .unwrap();
    let ticket = partner.ticket().await.unwrap();
    let pair = partner.login(ticket, grant("alice", &[])).await.unwrap();
    let token = pair.access().as_str();
    let before = instance.store.statements().session;
    devices.pass(8 * MINUTE);
    assert_eq!(ask(&devices, token, &[]).await, (OK, None));
    devices.pass(DAY);
    assert_eq!(demand(&devices, token).await, (UNAUTHORIZED, "refresh".to_owned()));
    assert_eq!(instance.store.statements().session, before);
}

#[tokio::test]
async fn c19_a_token_without_a_session_is_never_renewed_nor_asked_about() {
    let data = Place::new().await;
    let devices = renewing(data.path()).await;
    let issuer = &devices.instance.issuer;
    let ticket = issuer.ticket().await.unwrap();
    let token = issuer.issue(ticket, grant("alice", &[])).await.unwrap();
    devices.pass(8 * MINUTE);
    let before = devices.instance.store.statements().session;
    assert_eq!(ask(&devices, token.as_str(), &[]).await, (OK, None));
    devices.pass(8 * MINUTE);
    assert_eq!(ask(&devices, token.as_str(), &[]).await, (UNAUTHORIZED, None));
    assert_eq!(devices.instance.store.statements().session, before);
}
