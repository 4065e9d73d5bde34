//! What every store answers when it is asked about one token.

use std::time::Duration;

use tower_revocation::{
    Demand,
    cutoff::{CutOff, StoreTime},
    lifetimes::Lifetimes,
    scope::{Id, Scope},
    store::{Audit, EpochStore, Judged, Revocation},
};

use crate::harness::{Harness, START, user};

contract! {
    a_store_that_has_revoked_nothing_holds_nothing_against_anybody,
    the_highest_cut_offs_of_the_scopes_and_everyones_are_joined,
    a_revocation_is_known_as_soon_as_it_has_returned,
    a_judgement_seals_what_is_pending,
    a_judgement_tells_the_clock_and_the_newest_cut_off,
    what_was_purged_is_held_against_everybody,
    what_was_cleared_is_held_against_nobody,
}

async fn judged<H: Harness>(harness: &H, scopes: &[Scope]) -> Judged {
    harness.store().judged(scopes).await.unwrap()
}

async fn revoke<H: Harness>(harness: &H, scope: Scope, demand: Demand) -> StoreTime {
    harness.store().revoke(Revocation::new(scope, demand)).await.unwrap().revoked_before()
}

async fn a_store_that_has_revoked_nothing_holds_nothing_against_anybody<H: Harness>() {
    let harness = H::new().await;
    let nothing =
        Judged { cut_off: CutOff::NONE, clock: START, newest: StoreTime::ZERO, primary: true };
    assert_eq!(judged(&harness, &[user("alice")]).await, nothing);
    assert_eq!(judged(&harness, &[]).await, nothing);
}

async fn the_highest_cut_offs_of_the_scopes_and_everyones_are_joined<H: Harness>() {
    let harness = H::new().await;
    // Quotes and more: whatever names a scope is a text to the database.
    let odd = "o'hara \"x\" \\ % _ ; -- \u{e9}";
    let scopes = [
        user(odd),
        Scope::session("s1").unwrap(),
        Scope::token("t1").unwrap(),
        Scope::group("staff").unwrap(),
        Scope::group("tenant-7").unwrap(),
    ];
    for strangers in [user("s1"), Scope::session("t1").unwrap(), Scope::group(odd).unwrap()] {
        revoke(&harness, strangers, Demand::Login).await;
    }
    assert_eq!(judged(&harness, &scopes).await.cut_off, CutOff::NONE);
    let mut expected = CutOff::NONE;
    for scope in scopes.iter().cloned().chain([Scope::Everyone]) {
        for demand in [Demand::Login, Demand::Refresh] {
            let cut_off = revoke(&harness, scope.clone(), demand).await;
            expected = expected.join(CutOff::at(cut_off, demand));
            assert_eq!(judged(&harness, &scopes).await.cut_off, expected, "{scope:?}");
        }
    }
    // Everyone's alone, for who is in no scope.
    let none = judged(&harness, &[]).await.cut_off;
    assert_eq!(none.reissue_before, expected.reissue_before);
}

async fn a_revocation_is_known_as_soon_as_it_has_returned<H: Harness>() {
    let harness = H::new().await;
    for _ in 0..20 {
        let (sid, minted) = harness.login("alice", &[]).await;
        let scopes = [user("alice"), Scope::Session(sid)];
        assert_eq!(judged(&harness, &scopes).await.cut_off.demand(minted.stamp), None);
        revoke(&harness, user("alice"), Demand::Login).await;
        let cut_off = judged(&harness, &scopes).await.cut_off;
        assert_eq!(cut_off.demand(minted.stamp), Some(Demand::Login));
    }
}

async fn a_judgement_seals_what_is_pending<H: Harness>() {
    let harness = H::new().await;
    let (_, minted) = harness.login("alice", &[]).await;
    let _forgotten = harness.request(Revocation::new(user("alice"), Demand::Login), true).await;
    let first = judged(&harness, &[user("alice")]).await;
    assert_eq!(first.cut_off.demand(minted.stamp), Some(Demand::Login));
    assert_eq!(first.cut_off.login_before, first.newest);
    let _undone = harness.request(Revocation::new(user("alice"), Demand::Login), false).await;
    assert_eq!(judged(&harness, &[user("alice")]).await, first);
}

async fn a_judgement_tells_the_clock_and_the_newest_cut_off<H: Harness>() {
    let harness = H::new().await;
    harness.clock().advance(Duration::from_millis(7_250));
    let newest = revoke(&harness, user("bob"), Demand::Refresh).await;
    harness.clock().advance(Duration::from_secs(1));
    let judged = judged(&harness, &[user("alice")]).await;
    assert_eq!(judged.clock, START + Duration::from_millis(8_250));
    assert_eq!((judged.newest, judged.cut_off), (newest, CutOff::NONE));
}

async fn what_was_purged_is_held_against_everybody<H: Harness>() {
    let harness = H::new().await;
    let (_, before) = harness.login("bob", &[]).await;
    revoke(&harness, user("alice"), Demand::Login).await;
    harness.clock().advance(Lifetimes::default().session() * 2);
    assert_eq!(harness.store().purge(Lifetimes::default()).await.unwrap(), 1);
    harness.clock().set_wall(START);
    let (_, after) = harness.login("bob", &[]).await;
    let cut_off = judged(&harness, &[user("bob")]).await.cut_off;
    assert_eq!(cut_off.demand(before.stamp), Some(Demand::Login));
    assert_eq!(cut_off.demand(after.stamp), None);
}

async fn what_was_cleared_is_held_against_nobody<H: Harness>() {
    let harness = H::new().await;
    revoke(&harness, user("alice"), Demand::Login).await;
    let audit = Audit::new(Id::new("root").unwrap(), "by mistake");
    let cleared = harness.store().clear(&user("alice"), audit).await.unwrap();
    let judged = judged(&harness, &[user("alice")]).await;
    assert_eq!(judged.cut_off, CutOff::NONE);
    assert_eq!(judged.newest, cleared.revoked_before());
}
