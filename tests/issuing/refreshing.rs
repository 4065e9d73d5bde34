//! Refreshes through the issuer.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use tower_revocation::{
    Demand, EpochStore, Id, Revocation, Scope,
    error::{Error, ErrorKind},
    lifetimes::Lifetimes,
    session::TokenPair,
};

use crate::{
    common::instance::{Instance, START, grant},
    part,
};

async fn login(instance: &Instance, user: &str) -> TokenPair {
    let ticket = instance.issuer.ticket().await.unwrap();
    instance.issuer.login(ticket, grant(user, &[])).await.unwrap()
}

async fn refresh(instance: &Instance, pair: &TokenPair) -> Result<TokenPair, Error> {
    let claims = async |user: Id| Ok(grant(user.as_str(), &[]));
    instance.issuer.refresh(pair.refresh().as_str(), claims).await
}

fn kind<T>(result: Result<T, Error>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_serializes_as_the_answer_of_a_token_endpoint() {
    let data = tempfile::tempdir().unwrap();
    let instance = Instance::start(data.path()).await;
    let ticket = instance.issuer.ticket().await.unwrap();
    let pair =
        instance.issuer.login(ticket, grant("alice", &[]).permissions("read")).await.unwrap();
    let answer = serde_json::to_value(&pair).unwrap();
    for (member, value) in [
        ("access_token", serde_json::Value::from(pair.access().as_str())),
        ("refresh_token", pair.refresh().as_str().into()),
        ("token_type", "Bearer".into()),
        ("expires_in", 900.into()),
        ("scope", "read".into()),
    ] {
        assert_eq!(answer[member], value, "{member}");
    }
    let plain = serde_json::to_value(login(&instance, "alice").await).unwrap();
    assert_eq!(plain.as_object().unwrap().len(), 4);
    assert!(!format!("{pair:?}").contains(pair.refresh().as_str().rsplit('.').next().unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_is_one_statement_after_a_revocation_too() {
    let data = tempfile::tempdir().unwrap();
    let instance = Instance::start(data.path()).await;
    let mut pair = login(&instance, "alice").await;
    let count = || instance.store.statements().session;
    for _ in 0..3 {
        let before = count();
        pair = refresh(&instance, &pair).await.unwrap();
        assert_eq!(count() - before, 1);
        let receipt = instance.revoke(Scope::user("alice").unwrap(), Demand::Refresh).await;
        instance.epochs.wait_for(&receipt).await;
        assert!(instance.check(pair.access().as_str()).is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_that_went_stale_under_way_are_read_again() {
    let data = tempfile::tempdir().unwrap();
    let instance = Instance::start(data.path()).await;
    let pair = login(&instance, "alice").await;
    let reads = AtomicUsize::new(0);
    let (reads, store) = (&reads, &instance.store);
    let next = instance
        .issuer
        .refresh(pair.refresh().as_str(), |user| async move {
            // A role is taken away while the first answer is on its way.
            let group = match reads.fetch_add(1, Ordering::Relaxed) {
                0 => {
                    let revocation = Revocation::new(Scope::User(user.clone()), Demand::Refresh);
                    store.revoke(revocation).await?;
                    "admin"
                }
                _ => "nobody",
            };
            Ok(grant(user.as_str(), &[group]))
        })
        .await
        .unwrap();
    assert_eq!(reads.load(Ordering::Relaxed), 2);
    assert_eq!(part(next.access().as_str(), 1)["groups"], serde_json::json!(["nobody"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn revocations_that_do_not_stop_are_given_up_on_and_the_token_is_not_spent() {
    let data = tempfile::tempdir().unwrap();
    let instance = Instance::start(data.path()).await;
    let pair = login(&instance, "alice").await;
    let store = &instance.store;
    let refused = instance.issuer.refresh(pair.refresh().as_str(), |user| async move {
        store.revoke(Revocation::new(Scope::User(user.clone()), Demand::Refresh)).await?;
        Ok(grant(user.as_str(), &[]))
    });
    assert_eq!(kind(refused.await), Some(ErrorKind::RevokedMeanwhile(Demand::Refresh)));
    let next = refresh(&instance, &pair).await.unwrap();
    assert!(refresh(&instance, &next).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_refused_or_unreadable_harms_nobody() {
    let data = tempfile::tempdir().unwrap();
    let instance = Instance::start(data.path()).await;
    let pair = login(&instance, "alice").await;
    let token = pair.refresh().as_str();
    let issuer = &instance.issuer;
    let refused = issuer.refresh(token, async |_| Err(Error::account_refused("suspended")));
    assert_eq!(kind(refused.await), Some(ErrorKind::AccountRefused));
    let failed = issuer.refresh(token, async |_| Err(Error::account_unavailable("no database")));
    assert_eq!(kind(failed.await), Some(ErrorKind::AccountUnavailable));
    let mixed_up = issuer.refresh(token, async |_| Ok(grant("bob", &[])));
    assert_eq!(kind(mixed_up.await), Some(ErrorKind::Claims));
    assert!(refresh(&instance, &pair).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn thirty_two_refreshes_at_once_get_equal_successors() {
    let data = tempfile::tempdir().unwrap();
    let (one, other) = (Instance::start(data.path()).await, Instance::start(data.path()).await);
    let pair = login(&one, "alice").await;
    let results = futures_util::future::join_all((0..32).map(|index| {
        let instance = if index % 2 == 0 { &one } else { &other };
        refresh(instance, &pair)
    }));
    let results: Vec<TokenPair> = results.await.into_iter().map(Result::unwrap).collect();
    let successor = results[0].refresh().as_str();
    assert!(results.iter().all(|result| result.refresh().as_str() == successor));
    assert!(refresh(&other, &results[31]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_of_secrets_refuses_no_token_and_changes_no_successor() {
    let data = tempfile::tempdir().unwrap();
    let instance = Instance::start(data.path()).await;
    let first = login(&instance, "alice").await;
    let second = refresh(&instance, &first).await.unwrap();
    instance.issuer.keys().rotate_refresh().unwrap();
    instance.clock.advance(Duration::from_secs(61));
    // Spent before the new secret was in use: the same successor, to the letter.
    let again = refresh(&instance, &first).await.unwrap();
    assert_eq!(again.refresh().as_str(), second.refresh().as_str());
    let third = refresh(&instance, &second).await.unwrap();
    let kid = |pair: &TokenPair| {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

        let (payload, _) = pair.refresh().as_str().split_once('.').unwrap();
        let payload = URL_SAFE_NO_PAD.decode(payload.strip_prefix("rt1-").unwrap()).unwrap();
        serde_json::from_slice::<serde_json::Value>(&payload).unwrap()[0].clone()
    };
    assert_eq!(kid(&first), kid(&second));
    assert_ne!(kid(&second), kid(&third));
    assert!(refresh(&instance, &third).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hook_hears_of_a_theft_though_the_client_went_away() {
    let data = tempfile::tempdir().unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let hook = told.clone();
    let instance = Instance::start_with(data.path(), Lifetimes::default(), |issuer| {
        issuer.on_reuse(move |reuse| hook.lock().unwrap().push(reuse.clone()))
    })
    .await;
    let first = login(&instance, "alice").await;
    let second = refresh(&instance, &first).await.unwrap();
    refresh(&instance, &second).await.unwrap();
    instance.clock.advance(Duration::from_secs(10));
    {
        let mut theft = pin!(refresh(&instance, &first));
        let polled = std::future::poll_fn(|context| Poll::Ready(theft.as_mut().poll(context)));
        assert!(polled.await.is_pending());
    }
    let heard = async {
        while told.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), heard).await.unwrap();
    assert_eq!(kind(refresh(&instance, &second).await), Some(ErrorKind::SessionEnded));
    assert_eq!(told.lock().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_access_token_outlives_its_session() {
    let data = tempfile::tempdir().unwrap();
    let (life, leeway) = (Duration::from_secs(1_000), Duration::from_secs(5));
    let lifetimes = Lifetimes::new(Duration::from_secs(900), life, leeway).unwrap();
    let instance = Instance::start_with(data.path(), lifetimes, |issuer| issuer).await;
    let pair = login(&instance, "alice").await;
    assert_eq!(pair.access().expires_in(), Duration::from_secs(900));
    instance.clock.advance(Duration::from_secs(300));
    let last = refresh(&instance, &pair).await.unwrap();
    assert_eq!(last.access().expires_in(), Duration::from_secs(700));
    let exp = part(last.access().as_str(), 1)["exp"].as_u64().unwrap();
    assert_eq!(exp, (START + life).as_secs());
    instance.clock.advance(Duration::from_secs(700));
    assert_eq!(kind(refresh(&instance, &last).await), Some(ErrorKind::SessionEnded));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_refreshed_to_the_last_moment_of_its_life() {
    let data = tempfile::tempdir().unwrap();
    let (life, leeway) = (Duration::from_secs(2), Duration::from_millis(500));
    let lifetimes = Lifetimes::new(Duration::from_secs(1), life, leeway).unwrap();
    let instance = Instance::start_with(data.path(), lifetimes, |issuer| issuer).await;
    // Logged in at the end of a second.
    instance.clock.advance(Duration::from_millis(800));
    let mut pair = login(&instance, "alice").await;
    for _ in 0..19 {
        instance.clock.advance(Duration::from_millis(100));
        pair = refresh(&instance, &pair).await.unwrap();
        let claims = part(pair.access().as_str(), 1);
        assert!(claims["exp"].as_u64() <= Some(START.as_secs() + 3), "{claims}");
    }
    instance.clock.advance(Duration::from_millis(100));
    assert_eq!(kind(refresh(&instance, &pair).await), Some(ErrorKind::SessionEnded));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_learns_of_a_secret_by_the_first_token_of_it() {
    let data = tempfile::tempdir().unwrap();
    let (one, other) = (Instance::start(data.path()).await, Instance::start(data.path()).await);
    one.issuer.keys().rotate_refresh().unwrap();
    one.clock.advance(Duration::from_secs(61));
    other.clock.advance(Duration::from_secs(61));
    let pair = login(&one, "alice").await;
    assert!(refresh(&other, &pair).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_keys_cannot_be_read_an_unknown_secret_is_no_final_refusal() {
    let data = tempfile::tempdir().unwrap();
    let (one, other) = (Instance::start(data.path()).await, Instance::start(data.path()).await);
    one.issuer.keys().rotate_refresh().unwrap();
    one.clock.advance(Duration::from_secs(61));
    other.clock.advance(Duration::from_secs(61));
    let pair = login(&one, "alice").await;
    let damaged = data.path().join("keys").join("damaged.secret");
    std::fs::write(&damaged, "?").unwrap();
    for _ in 0..2 {
        assert_eq!(kind(refresh(&other, &pair).await), Some(ErrorKind::Keys));
    }
    std::fs::remove_file(&damaged).unwrap();
    // The folder is read once a second at most, whoever asks.
    assert_eq!(kind(refresh(&other, &pair).await), Some(ErrorKind::Keys));
    other.clock.advance(Duration::from_secs(1));
    assert!(refresh(&other, &pair).await.is_ok());
    // A ring that was read is believed.
    let forged = pair.refresh().as_str().replace("rt1-W", "rt1-X");
    let claims = async |user: Id| Ok(grant(user.as_str(), &[]));
    let refused = kind(other.issuer.refresh(&forged, claims).await);
    assert_eq!(refused, Some(ErrorKind::RefreshTokenInvalid));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_current_refresh_token_outlives_reissues_and_its_secrets_turn() {
    let data = tempfile::tempdir().unwrap();
    let instance = Instance::start(data.path()).await;
    let first = login(&instance, "alice").await;
    instance.issuer.keys().rotate_refresh().unwrap();
    let sid = first.access().session();
    for _ in 0..10 {
        instance.clock.advance(Duration::from_secs(4 * 86_400));
        let claims = async |user: Id| Ok(grant(user.as_str(), &[]));
        let alice = Id::new("alice").unwrap();
        // The answers are lost, or only their access tokens are of interest.
        instance.issuer.reissue(alice, sid.clone(), claims).await.unwrap();
    }
    assert!(refresh(&instance, &first).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_is_minted_that_its_own_verifier_refuses() {
    let data = tempfile::tempdir().unwrap();
    let instance = Instance::start(data.path()).await;
    let group = |index: usize| Id::new(&format!("group-{index}")).unwrap();
    let login = async |groups: usize, padding: usize| {
        let ticket = instance.issuer.ticket().await.unwrap();
        let grant = grant("alice", &[]).groups((0..groups).map(group));
        let grant = grant.claim("padding", "x".repeat(padding)).unwrap();
        instance.issuer.login(ticket, grant).await
    };
    for (groups, padding) in [(256, 0), (0, 5_000)] {
        let pair = login(groups, padding).await.unwrap();
        assert!(instance.check(pair.access().as_str()).is_ok(), "{groups} {padding}");
    }
    for (groups, padding) in [(257, 0), (0, 8_000)] {
        let refused = login(groups, padding).await;
        assert_eq!(kind(refused), Some(ErrorKind::Claims), "{groups} {padding}");
    }
    // Claims are read to a depth of 32.
    for (depth, fits) in [(20, true), (40, false)] {
        let deep = (0..depth).fold(serde_json::json!(1), |inner, _| serde_json::json!([inner]));
        let ticket = instance.issuer.ticket().await.unwrap();
        let grant = grant("bob", &[]).claim("deep", deep).unwrap();
        let pair = instance.issuer.login(ticket, grant).await;
        let accepted = pair.is_ok_and(|pair| instance.check(pair.access().as_str()).is_ok());
        assert_eq!(accepted, fits, "{depth}");
    }
    // Nobody is left with a session that has no token.
    for (user, count) in [("alice", 2), ("bob", 1)] {
        let sessions = instance.issuer.sessions(&Id::new(user).unwrap()).await.unwrap();
        assert_eq!(sessions.len(), count);
    }
}
