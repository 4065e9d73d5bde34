//! What every store promises about the instances that acknowledge.

use std::time::Duration;

use tower_revocation::{
    Demand,
    cutoff::StoreTime,
    scope::{Id, Scope},
    store::{Enlisted, EpochStore, Instance, Revocation, Roster},
};

use crate::harness::Harness;

contract! {
    who_has_enlisted_is_in_the_roster,
    a_bound_only_rises,
    what_was_applied_only_rises,
    who_is_not_in_the_roster_is_told_so,
    who_has_been_heard_of_since_is_not_struck_off,
    a_roster_is_no_revocation,
}

const BOUND: Duration = Duration::from_secs(10);

fn instance(name: &str) -> Instance {
    Instance { id: Id::random(), name: Id::new(name).unwrap(), bound: BOUND }
}

async fn roster<H: Harness>(harness: &H) -> Roster {
    harness.store().roster().await.unwrap()
}

async fn enlisted<H: Harness>(harness: &H, id: &Id) -> Enlisted {
    let Roster { instances, .. } = roster(harness).await;
    instances.into_iter().find(|it| it.instance.id == *id).unwrap()
}

async fn revoke<H: Harness>(harness: &H) -> StoreTime {
    let revocation = Revocation::new(Scope::user("alice").unwrap(), Demand::Login);
    harness.store().revoke(revocation).await.unwrap().revoked_before()
}

async fn who_has_enlisted_is_in_the_roster<H: Harness>() {
    let harness = H::new().await;
    assert_eq!(roster(&harness).await, Roster { newest: StoreTime::ZERO, instances: vec![] });
    // Names are for people: these two are not the same.
    let mut all = [instance("ä \u{1f5a7}"), instance("ä \u{1f5a7}"), instance("another")];
    for one in &all {
        harness.store().enlist(one).await.unwrap();
    }
    harness.clock().advance(Duration::from_secs(3));
    let newest = revoke(&harness).await;
    let Roster { newest: told, instances } = roster(&harness).await;
    assert_eq!(told, newest);
    all.sort_by(|one, other| one.id.cmp(&other.id));
    assert_eq!(instances.len(), all.len());
    for (enlisted, instance) in instances.iter().zip(all) {
        let silent_for = Duration::from_secs(3);
        let (applied, beats) = (StoreTime::ZERO, 1);
        assert_eq!(*enlisted, Enlisted { instance, applied, beats, silent_for });
    }
}

async fn a_bound_only_rises<H: Harness>() {
    let harness = H::new().await;
    let one = instance("one");
    for (bound, known) in [(BOUND, BOUND), (BOUND * 7, BOUND * 7), (BOUND, BOUND * 7)] {
        harness.store().enlist(&Instance { bound, ..one.clone() }).await.unwrap();
        assert_eq!(enlisted(&harness, &one.id).await.instance.bound, known);
    }
    assert_eq!(enlisted(&harness, &one.id).await.beats, 3);
}

async fn what_was_applied_only_rises<H: Harness>() {
    let harness = H::new().await;
    let one = instance("one");
    harness.store().enlist(&one).await.unwrap();
    let (first, second) = (revoke(&harness).await, revoke(&harness).await);
    for (applied, known) in [
        (first, first),
        (StoreTime::ZERO, first),
        (second, second),
        (first, second),
        (StoreTime::MAX, StoreTime::MAX),
    ] {
        harness.clock().advance(Duration::from_secs(1));
        assert!(harness.store().acknowledge(&one.id, applied).await.unwrap());
        let enlisted = enlisted(&harness, &one.id).await;
        assert_eq!((enlisted.applied, enlisted.silent_for), (known, Duration::ZERO));
    }
    // To enlist anew, under the same id, takes nothing back.
    harness.store().enlist(&one).await.unwrap();
    let enlisted = enlisted(&harness, &one.id).await;
    assert_eq!((enlisted.applied, enlisted.beats), (StoreTime::MAX, 7));
}

async fn who_is_not_in_the_roster_is_told_so<H: Harness>() {
    let harness = H::new().await;
    harness.store().enlist(&instance("another")).await.unwrap();
    assert!(!harness.store().acknowledge(&Id::random(), StoreTime::ZERO).await.unwrap());
    assert_eq!(roster(&harness).await.instances.len(), 1);
}

async fn who_has_been_heard_of_since_is_not_struck_off<H: Harness>() {
    let harness = H::new().await;
    let (silent, heard_of, other) = (instance("silent"), instance("heard of"), instance("other"));
    for one in [&silent, &heard_of, &other] {
        harness.store().enlist(one).await.unwrap();
    }
    let seen = [enlisted(&harness, &silent.id).await, enlisted(&harness, &heard_of.id).await];
    harness.store().acknowledge(&heard_of.id, StoreTime::ZERO).await.unwrap();
    assert_eq!(harness.store().dismiss(&seen).await.unwrap(), 1);
    let mut left: Vec<Id> =
        roster(&harness).await.instances.into_iter().map(|it| it.instance.id).collect();
    left.sort();
    let mut expected = [heard_of.id, other.id];
    expected.sort();
    assert_eq!(left, expected);
    assert!(!harness.store().acknowledge(&silent.id, StoreTime::ZERO).await.unwrap());
    assert_eq!(harness.store().dismiss(&seen).await.unwrap(), 0);
}

async fn a_roster_is_no_revocation<H: Harness>() {
    let harness = H::new().await;
    let newest = revoke(&harness).await;
    let one = instance("one");
    harness.store().enlist(&one).await.unwrap();
    harness.store().acknowledge(&one.id, newest).await.unwrap();
    let seen = [enlisted(&harness, &one.id).await];
    harness.store().dismiss(&seen).await.unwrap();
    assert_eq!(roster(&harness).await.newest, newest);
    assert!(revoke(&harness).await > newest);
}
