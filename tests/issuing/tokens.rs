//! What the tokens say, and the settings of an issuer.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tower_revocation::{
    Algorithm, Demand, EpochStore, Epochs, Grant, Id, Issuer, KeyRing, Rejection, Scope, Verified,
    error::{ConfigError, ErrorKind},
    lifetimes::Lifetimes,
    store::MemoryStore,
    token::SigningKey,
};

use crate::{
    common::instance::{Instance, START, grant},
    part,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_an_access_token_of_rfc_9068_with_our_claims() {
    let data = tempfile::tempdir().unwrap();
    let instance = Instance::start(data.path()).await;
    let token = instance.login("alice", &["staff", "staff", "admin"]).await.unwrap();
    let header = part(token.as_str(), 0);
    assert_eq!((&header["typ"], &header["alg"]), (&"at+jwt".into(), &"EdDSA".into()));
    let claims = part(token.as_str(), 1);
    for (name, value) in [
        ("iss", Value::from("https://login.test")),
        ("aud", "test".into()),
        ("client_id", "tests".into()),
        ("sub", "alice".into()),
        ("iat", START.as_secs().into()),
        ("exp", (START.as_secs() + 900).into()),
        ("auth_time", START.as_secs().into()),
        ("oat", START.as_secs().into()),
        ("sid", token.session().as_str().into()),
        ("jti", token.id().as_str().into()),
        ("rvs", token.stamp().as_micros().into()),
        ("groups", vec!["staff", "admin"].into()),
    ] {
        assert_eq!(claims[name], value, "{name}");
    }
    assert_eq!(claims.as_object().unwrap().len(), 12);
    assert_eq!(token.expires_in(), Duration::from_secs(900));
    let shown = format!("{token:?}");
    assert!(!shown.contains(token.as_str().rsplit('.').next().unwrap()));
}

#[derive(Debug, Deserialize, PartialEq)]
struct Own {
    plan: String,
    seats: u32,
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_of_the_service_reach_it_typed() {
    let data = tempfile::tempdir().unwrap();
    let instance = Instance::start(data.path()).await;
    let ticket = instance.issuer.ticket().await.unwrap();
    let grant = grant("alice", &[])
        .permissions("read write")
        .acr("mfa")
        .claim("plan", "gold")
        .unwrap()
        .claim("seats", 7)
        .unwrap();
    let pair = instance.issuer.login(ticket, grant).await.unwrap();
    let token = pair.access();
    let verified: Verified<Own> = instance.verifier.verify(token.as_str().as_bytes()).unwrap();
    assert_eq!(*verified.claims(), Own { plan: "gold".to_owned(), seats: 7 });
    assert_eq!(verified.permissions().collect::<Vec<_>>(), ["read", "write"]);
    assert_eq!(verified.acr(), Some("mfa"));
    assert_eq!(verified.stamp(), token.stamp());
    assert_eq!(verified.session(), Some(token.session().as_str()));
}

#[test]
fn claims_that_the_issuer_writes_cannot_be_forged() {
    for name in ["iss", "sub", "exp", "rvs", "sid", "jti", "groups", "scope", "oat", "acr"] {
        let grant = Grant::new(Id::new("alice").unwrap()).claim(name, 1);
        assert_eq!(grant.unwrap_err().kind(), ErrorKind::Claims, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_keeps_the_session_and_its_login_time() {
    let data = tempfile::tempdir().unwrap();
    let instance = Instance::start(data.path()).await;
    let first = instance.login("alice", &[]).await.unwrap();
    instance.clock.advance(Duration::from_secs(60));
    let receipt = instance.revoke(Scope::user("alice").unwrap(), Demand::Refresh).await;
    instance.epochs.wait_for(&receipt).await;
    let refused = instance.check(first.as_str());
    assert!(matches!(refused, Err(Rejection::Revoked(why)) if why.demand == Demand::Refresh));

    let (alice, sid) = (Id::new("alice").unwrap(), first.session().clone());
    let claims = async |_| Ok(grant("alice", &["staff"]));
    let second = instance.issuer.reissue(alice, sid, claims).await.unwrap();
    let second = second.access();
    let verified = instance.check(second.as_str()).unwrap();
    assert_eq!(second.session(), first.session());
    assert_eq!(verified.auth_time(), Some(START.as_secs()));
    assert_eq!(verified.issued_at(), START.as_secs() + 60);
    assert_eq!(verified.groups().collect::<Vec<_>>(), ["staff"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_a_session_is_one_statement_and_is_revoked_like_any() {
    let data = tempfile::tempdir().unwrap();
    let instance = Instance::start(data.path()).await;
    let (issuer, alice) = (&instance.issuer, Id::new("alice").unwrap());
    for scope in [
        None,
        Some(Scope::user("alice").unwrap()),
        Some(Scope::group("staff").unwrap()),
        Some(Scope::Everyone),
    ] {
        let ticket = issuer.ticket().await.unwrap();
        let before = instance.store.statements().session;
        let token = issuer.issue(ticket, grant("alice", &["staff"])).await.unwrap();
        assert_eq!(instance.store.statements().session - before, 1);
        let verified = instance.check(token.as_str()).unwrap();
        assert_eq!(verified.session(), Some(token.session().as_str()));
        assert_eq!(verified.auth_time(), Some(START.as_secs()));
        assert_eq!(token.expires_in(), Duration::from_secs(900));
        assert!(issuer.sessions(&alice).await.unwrap().is_empty());

        let scope = scope.unwrap_or(Scope::Session(token.session().clone()));
        let receipt = instance.revoke(scope, Demand::Login).await;
        instance.epochs.wait_for(&receipt).await;
        let refused = instance.check(token.as_str());
        assert!(matches!(refused, Err(Rejection::Revoked(why)) if why.demand == Demand::Login));
        // There is nothing to be refreshed, and no session to go on with.
        let claims = async |_| Ok(grant("alice", &[]));
        let again = issuer.reissue(alice.clone(), token.session().clone(), claims).await;
        assert_eq!(again.unwrap_err().kind(), ErrorKind::SessionEnded);
    }
    let ticket = issuer.ticket().await.unwrap();
    instance.revoke(Scope::user("alice").unwrap(), Demand::Login).await;
    let late = issuer.issue(ticket, grant("alice", &[])).await;
    assert_eq!(late.unwrap_err().kind(), ErrorKind::RevokedMeanwhile(Demand::Login));
}

#[test]
fn b84_an_issuer_that_makes_no_sense_is_refused_and_the_field_named() {
    let builder = || {
        let keys = KeyRing::new(SigningKey::generate(Algorithm::EdDSA).unwrap());
        Issuer::builder(MemoryStore::new(), keys)
    };
    let complete = || builder().issuer("https://login.test").audience("a").client_id("c");
    let field = |error| match error {
        Some(ConfigError::Missing { field } | ConfigError::Duration { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert!(complete().build().is_ok());
    assert_eq!(field(builder().build().err()), "issuer");
    assert_eq!(field(builder().issuer("i").build().err()), "audience");
    assert_eq!(field(builder().issuer("i").audience("a").build().err()), "client_id");
    for lifetime in [Duration::ZERO, Duration::from_secs(901), Duration::from_millis(900_001)] {
        let refused = complete().access_lifetime(lifetime).build();
        assert_eq!(field(refused.err()), "access_lifetime", "{lifetime:?}");
    }
    assert!(complete().access_lifetime(Duration::from_millis(1)).build().is_ok());
    let jitter = complete().access_jitter(Duration::from_secs(900)).build();
    assert_eq!(field(jitter.err()), "access_jitter");
    let grace = complete().refresh_grace(Duration::from_secs(61)).build();
    assert_eq!(field(grace.err()), "refresh_grace");
    let lifetimes = Lifetimes::default();
    let longer = lifetimes.with_idle(lifetimes.session()).unwrap();
    let differ = complete().lifetimes(longer).epochs(Epochs::new()).build();
    assert!(matches!(differ.err(), Some(ConfigError::LifetimesDiffer)));
    for idle in [Duration::from_secs(899), lifetimes.session() + Duration::from_secs(1)] {
        assert_eq!(field(lifetimes.with_idle(idle).err()), "idle lifetime", "{idle:?}");
    }
}
