//! What every store promises.

use std::{future::Future, pin::pin, task::Poll, time::Duration};

use tower_revocation::{
    Demand,
    cutoff::{CutOff, StoreTime, revoked},
    error::ErrorKind,
    lifetimes::Lifetimes,
    scope::{Id, Scope},
    store::{Audit, EpochStore, MintFor, Revocation, SessionFilter, Source, Watch},
};

use crate::harness::{Harness, START, cut_off, kind, newest, user};

contract! {
    cut_offs_are_unique_and_rise_when_the_clock_stands_or_steps_back,
    a_cut_off_follows_a_clock_that_runs_forward,
    a_mint_in_the_microsecond_of_a_revocation_is_stamped_above_it,
    a_login_in_flight_during_a_login_revocation_is_refused,
    a_login_in_flight_during_a_refresh_revocation_reads_again,
    a_login_is_not_disturbed_by_revocations_of_others,
    a_refresh_is_guarded_by_every_scope_of_the_session,
    a_refresh_survives_revocations_that_demand_a_refresh,
    a_refresh_with_an_old_ticket_reads_again,
    a_refresh_of_an_unknown_session_is_refused,
    a_refresh_of_another_users_session_is_refused,
    a_session_ends_with_its_longest_life,
    a_request_is_sealed_by_a_ticket,
    a_request_is_sealed_by_a_mint,
    a_request_is_sealed_by_a_poll,
    a_request_is_sealed_by_the_revoker,
    a_request_that_was_rolled_back_revokes_nothing_and_says_so,
    others_but_me_spares_the_living_caller,
    others_but_me_revives_no_dead_caller,
    a_poll_tells_what_changed_above_the_cursor_and_no_more,
    a_load_tells_everything,
    the_latest_changes_are_told_and_up_to_where_the_others_lie,
    a_request_is_sealed_before_the_latest_changes_are_told,
    revoking_many_gives_each_its_own_cut_off,
    clearing_is_told_and_lets_sessions_live,
    purging_drops_what_has_outlived_all_it_covers,
    purging_never_revives_under_a_clock_that_jumped,
    a_poll_tells_what_was_purged_before_it_was_seen,
    clearing_everyone_revives_nothing_that_was_purged,
    a_login_cannot_take_the_id_of_another_session,
    advancing_raises_and_never_lowers,
    a_revoke_whose_client_went_away_completes,
    concurrent_revocations_lose_none,
    a_change_is_hinted,
    subjects_that_differ_in_case_or_spaces_are_different,
}

async fn cut_offs_are_unique_and_rise_when_the_clock_stands_or_steps_back<H: Harness>() {
    let harness = H::new().await;
    let mut last = StoreTime::ZERO;
    for step in 0..6 {
        if step == 3 {
            harness.clock().set_wall(START - Duration::from_secs(3_600));
        }
        let revocation = Revocation::new(user("alice"), Demand::Login);
        let receipt = harness.store().revoke(revocation).await.unwrap();
        assert!(receipt.revoked_before() > last);
        last = receipt.revoked_before();
    }
    assert_eq!(newest(&harness).await, last);
}

async fn a_cut_off_follows_a_clock_that_runs_forward<H: Harness>() {
    let harness = H::new().await;
    harness.clock().advance(Duration::from_secs(7));
    let revocation = Revocation::new(Scope::Everyone, Demand::Refresh);
    let receipt = harness.store().revoke(revocation).await.unwrap();
    assert_eq!(receipt.revoked_before().as_micros(), 1_800_000_007_000_000);
}

async fn a_mint_in_the_microsecond_of_a_revocation_is_stamped_above_it<H: Harness>() {
    let harness = H::new().await;
    let (_, before) = harness.login("alice", &[]).await;
    let revocation = Revocation::new(user("alice"), Demand::Login);
    let cut_off = harness.store().revoke(revocation).await.unwrap().revoked_before();
    let (_, after) = harness.login("alice", &[]).await;
    assert!(revoked(before.stamp, cut_off));
    assert!(!revoked(after.stamp, cut_off));
}

async fn a_login_in_flight_during_a_login_revocation_is_refused<H: Harness>() {
    for scope in [user("alice"), Scope::group("staff").unwrap(), Scope::Everyone] {
        let harness = H::new().await;
        let ticket = harness.store().ticket().await.unwrap();
        harness.store().revoke(Revocation::new(scope, Demand::Login)).await.unwrap();
        let late = harness.mint(ticket, MintFor::Login, &Id::random(), "alice", &["staff"]).await;
        assert_eq!(kind(late), Some(ErrorKind::RevokedMeanwhile(Demand::Login)));
    }
}

async fn a_login_in_flight_during_a_refresh_revocation_reads_again<H: Harness>() {
    let harness = H::new().await;
    let ticket = harness.store().ticket().await.unwrap();
    harness.store().revoke(Revocation::new(user("alice"), Demand::Refresh)).await.unwrap();
    let sid = Id::random();
    let late = harness.mint(ticket, MintFor::Login, &sid, "alice", &[]).await;
    assert_eq!(kind(late), Some(ErrorKind::RevokedMeanwhile(Demand::Refresh)));
    let ticket = harness.store().ticket().await.unwrap();
    assert!(harness.mint(ticket, MintFor::Login, &sid, "alice", &[]).await.is_ok());
}

async fn a_login_is_not_disturbed_by_revocations_of_others<H: Harness>() {
    let harness = H::new().await;
    let ticket = harness.store().ticket().await.unwrap();
    for scope in [user("bob"), Scope::group("staff").unwrap(), Scope::token("alice").unwrap()] {
        harness.store().revoke(Revocation::new(scope, Demand::Login)).await.unwrap();
    }
    let login = harness.mint(ticket, MintFor::Login, &Id::random(), "alice", &["guests"]).await;
    assert!(login.is_ok());
}

async fn a_refresh_is_guarded_by_every_scope_of_the_session<H: Harness>() {
    let harness = H::new().await;
    for (scope, ends) in [
        (user("alice"), true),
        (Scope::Everyone, true),
        (Scope::group("before").unwrap(), true),
        (Scope::group("now").unwrap(), true),
        (Scope::group("other").unwrap(), false),
        (user("bob"), false),
    ] {
        let (sid, _) = harness.login("alice", &["before"]).await;
        harness.store().revoke(Revocation::new(scope.clone(), Demand::Login)).await.unwrap();
        let refreshed = kind(harness.reissue(&sid, "alice", &["now"]).await);
        assert_eq!(refreshed, ends.then_some(ErrorKind::SessionEnded), "{scope:?}");
    }
    let (sid, _) = harness.login("alice", &[]).await;
    let scope = Scope::session(sid.as_str()).unwrap();
    harness.store().revoke(Revocation::new(scope, Demand::Login)).await.unwrap();
    let refreshed = harness.reissue(&sid, "alice", &[]).await;
    assert_eq!(kind(refreshed), Some(ErrorKind::SessionEnded));
}

async fn a_refresh_survives_revocations_that_demand_a_refresh<H: Harness>() {
    let harness = H::new().await;
    let (sid, first) = harness.login("alice", &["staff"]).await;
    harness.store().revoke(Revocation::new(user("alice"), Demand::Refresh)).await.unwrap();
    let cut_off = cut_off(&harness, &user("alice")).await;
    assert_eq!(cut_off.demand(first.stamp), Some(Demand::Refresh));
    let second = harness.reissue(&sid, "alice", &["staff"]).await.unwrap();
    assert_eq!(cut_off.demand(second.stamp), None);
    assert_eq!(second.session_began, first.session_began);
}

async fn a_refresh_with_an_old_ticket_reads_again<H: Harness>() {
    let harness = H::new().await;
    let (sid, _) = harness.login("alice", &[]).await;
    let ticket = harness.store().ticket().await.unwrap();
    harness.store().revoke(Revocation::new(user("alice"), Demand::Refresh)).await.unwrap();
    let late = harness.mint(ticket, MintFor::Reissue, &sid, "alice", &[]).await;
    assert_eq!(kind(late), Some(ErrorKind::RevokedMeanwhile(Demand::Refresh)));
}

async fn a_refresh_of_an_unknown_session_is_refused<H: Harness>() {
    let harness = H::new().await;
    let refreshed = harness.reissue(&Id::random(), "alice", &[]).await;
    assert_eq!(kind(refreshed), Some(ErrorKind::SessionEnded));
}

async fn a_refresh_of_another_users_session_is_refused<H: Harness>() {
    let harness = H::new().await;
    let (sid, _) = harness.login("alice", &[]).await;
    let refreshed = harness.reissue(&sid, "bob", &[]).await;
    assert_eq!(kind(refreshed), Some(ErrorKind::SessionEnded));
}

async fn a_session_ends_with_its_longest_life<H: Harness>() {
    let harness = H::new().await;
    let (sid, _) = harness.login("alice", &[]).await;
    // Never idle for long.
    let steps = 15;
    let step = Lifetimes::default().session() / steps;
    for _ in 1..steps {
        harness.clock().advance(step);
        assert!(harness.reissue(&sid, "alice", &[]).await.is_ok());
    }
    harness.clock().advance(step - Duration::from_secs(1));
    assert!(harness.reissue(&sid, "alice", &[]).await.is_ok());
    harness.clock().advance(Duration::from_secs(1));
    let refreshed = harness.reissue(&sid, "alice", &[]).await;
    assert_eq!(kind(refreshed), Some(ErrorKind::SessionEnded));
}

async fn a_request_is_sealed_by_a_ticket<H: Harness>() {
    let harness = H::new().await;
    let (_, before) = harness.login("alice", &[]).await;
    let _forgotten = harness.request(Revocation::new(user("alice"), Demand::Login), true).await;
    let ticket = harness.store().ticket().await.unwrap();
    // The password was read after the commit, so this login is not one in flight.
    let sid = Id::random();
    let after = harness.mint(ticket, MintFor::Login, &sid, "alice", &[]).await.unwrap();
    let cut_off = cut_off(&harness, &user("alice")).await;
    assert_eq!(cut_off.demand(before.stamp), Some(Demand::Login));
    assert_eq!(cut_off.demand(after.stamp), None);
}

async fn a_request_is_sealed_by_a_mint<H: Harness>() {
    let harness = H::new().await;
    let ticket = harness.store().ticket().await.unwrap();
    let _forgotten = harness.request(Revocation::new(user("alice"), Demand::Login), true).await;
    let late = harness.mint(ticket, MintFor::Login, &Id::random(), "alice", &[]).await;
    assert_eq!(kind(late), Some(ErrorKind::RevokedMeanwhile(Demand::Login)));
}

async fn a_request_is_sealed_by_a_poll<H: Harness>() {
    let harness = H::new().await;
    let mut watch = harness.store().watch().await.unwrap();
    let head = watch.load().await.unwrap().head;
    let _forgotten = harness.request(Revocation::new(user("alice"), Demand::Login), true).await;
    let changes = watch.poll(head).await.unwrap();
    assert_eq!(changes.entries.len(), 1);
    assert!(changes.entries[0].cut_off.login_before > head);
}

async fn a_request_is_sealed_by_the_revoker<H: Harness>() {
    let harness = H::new().await;
    let requested = harness.request(Revocation::new(user("alice"), Demand::Login), true).await;
    let receipt = requested.sealed().await.unwrap();
    let cut_off = cut_off(&harness, &user("alice")).await;
    assert_eq!(cut_off.login_before, receipt.revoked_before());
}

async fn a_request_that_was_rolled_back_revokes_nothing_and_says_so<H: Harness>() {
    let harness = H::new().await;
    let requested = harness.request(Revocation::new(user("alice"), Demand::Login), false).await;
    assert_eq!(kind(requested.sealed().await), Some(ErrorKind::NotCommitted));
    assert_eq!(cut_off(&harness, &user("alice")).await, CutOff::NONE);
}

async fn others_but_me_spares_the_living_caller<H: Harness>() {
    let harness = H::new().await;
    let (me, my_token) = harness.login("alice", &[]).await;
    let (other, _) = harness.login("alice", &[]).await;
    let (newer, newer_token) = harness.login("alice", &[]).await;
    let others = Revocation::new(user("alice"), Demand::Login).sparing(me.clone());
    let cut_off = harness.store().revoke(others).await.unwrap().revoked_before();
    assert!(revoked(my_token.stamp, cut_off));
    assert!(revoked(newer_token.stamp, cut_off));
    // And again: the session's last stamp does not sink.
    for _ in 0..2 {
        let next = harness.reissue(&me, "alice", &[]).await.unwrap();
        assert!(!revoked(next.stamp, cut_off));
    }
    for dead in [other, newer] {
        let refreshed = harness.reissue(&dead, "alice", &[]).await;
        assert_eq!(kind(refreshed), Some(ErrorKind::SessionEnded));
    }
    // Spared once, not for ever.
    harness.store().revoke(Revocation::new(user("alice"), Demand::Login)).await.unwrap();
    let refreshed = harness.reissue(&me, "alice", &[]).await;
    assert_eq!(kind(refreshed), Some(ErrorKind::SessionEnded));
}

async fn others_but_me_revives_no_dead_caller<H: Harness>() {
    let harness = H::new().await;
    let (me, _) = harness.login("alice", &[]).await;
    let mine = Scope::session(me.as_str()).unwrap();
    harness.store().revoke(Revocation::new(mine, Demand::Login)).await.unwrap();
    let others = Revocation::new(user("alice"), Demand::Login).sparing(me.clone());
    harness.store().revoke(others).await.unwrap();
    let refreshed = harness.reissue(&me, "alice", &[]).await;
    assert_eq!(kind(refreshed), Some(ErrorKind::SessionEnded));
}

async fn a_poll_tells_what_changed_above_the_cursor_and_no_more<H: Harness>() {
    let harness = H::new().await;
    let mut watch = harness.store().watch().await.unwrap();
    let store = harness.store();
    store.revoke(Revocation::new(user("alice"), Demand::Login)).await.unwrap();
    let first = watch.poll(StoreTime::ZERO).await.unwrap();
    assert_eq!(first.entries.len(), 1);
    assert!(watch.poll(first.head).await.unwrap().entries.is_empty());

    let receipt = store.revoke(Revocation::new(user("bob"), Demand::Refresh)).await.unwrap();
    let second = watch.poll(first.head).await.unwrap();
    assert_eq!(second.head, receipt.revoked_before());
    assert_eq!(second.store, first.store);
    assert_eq!(second.source, Source::Primary);
    let [bob] = &second.entries[..] else { panic!("one entry: {second:?}") };
    assert_eq!(bob.scope, user("bob"));
    assert_eq!(bob.cut_off, CutOff::at(receipt.revoked_before(), Demand::Refresh));
}

async fn the_latest_changes_are_told_and_up_to_where_the_others_lie<H: Harness>() {
    let harness = H::new().await;
    let mut watch = harness.store().watch().await.unwrap();
    let nothing = watch.latest(StoreTime::ZERO, 1).await.unwrap();
    assert_eq!((nothing.changes.entries.len(), nothing.untold), (0, StoreTime::ZERO));
    let mut cut_offs = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let revocation = Revocation::new(user(name), Demand::Login);
        cut_offs.push(harness.store().revoke(revocation).await.unwrap().revoked_before());
    }
    for (cursor, at_most, told, untold) in [
        (StoreTime::ZERO, 4, &["a", "b", "c", "d"][..], StoreTime::ZERO),
        (StoreTime::ZERO, 3, &["b", "c", "d"], cut_offs[0]),
        (StoreTime::ZERO, 1, &["d"], cut_offs[2]),
        (cut_offs[0], 3, &["b", "c", "d"], StoreTime::ZERO),
        (cut_offs[0], 2, &["c", "d"], cut_offs[1]),
        (cut_offs[3], 1, &[], StoreTime::ZERO),
    ] {
        let latest = watch.latest(cursor, at_most).await.unwrap();
        let mut names: Vec<&str> =
            latest.changes.entries.iter().map(|entry| entry.scope.subject()).collect();
        names.sort_unstable();
        assert_eq!((&names[..], latest.untold), (told, untold), "{cursor} {at_most}");
        assert_eq!(latest.changes.head, cut_offs[3]);
        assert_eq!(latest.changes.source, Source::Primary);
        assert_eq!(latest.changes.store, nothing.changes.store);
        for entry in &latest.changes.entries {
            assert!(entry.cut_off.login_before > untold);
        }
    }
    // Revoked anew, a scope is among the latest.
    harness.store().revoke(Revocation::new(user("a"), Demand::Login)).await.unwrap();
    let latest = watch.latest(StoreTime::ZERO, 1).await.unwrap();
    assert_eq!(latest.changes.entries[0].scope, user("a"));
    assert_eq!(latest.untold, cut_offs[3]);
}

async fn a_request_is_sealed_before_the_latest_changes_are_told<H: Harness>() {
    let harness = H::new().await;
    let mut watch = harness.store().watch().await.unwrap();
    let _forgotten = harness.request(Revocation::new(user("alice"), Demand::Login), true).await;
    let latest = watch.latest(StoreTime::ZERO, 9).await.unwrap();
    let [alice] = &latest.changes.entries[..] else { panic!("one entry: {latest:?}") };
    assert_eq!(alice.cut_off.login_before, latest.changes.head);
}

async fn a_load_tells_everything<H: Harness>() {
    let harness = H::new().await;
    let scopes = [
        Scope::Everyone,
        user("alice"),
        Scope::group("a").unwrap(),
        Scope::session("s").unwrap(),
        Scope::token("t").unwrap(),
    ];
    for scope in &scopes {
        for demand in [Demand::Refresh, Demand::Login] {
            harness.store().revoke(Revocation::new(scope.clone(), demand)).await.unwrap();
        }
    }
    let loaded = harness.store().watch().await.unwrap().load().await.unwrap();
    assert_eq!(loaded.clock, START);
    let mut told: Vec<Scope> = loaded.entries.iter().map(|entry| entry.scope.clone()).collect();
    told.sort();
    assert_eq!(told, {
        let mut all = scopes.to_vec();
        all.sort();
        all
    });
    for entry in loaded.entries {
        assert!(entry.cut_off.reissue_before > StoreTime::ZERO);
        assert!(entry.cut_off.login_before > entry.cut_off.reissue_before);
    }
}

async fn revoking_many_gives_each_its_own_cut_off<H: Harness>() {
    let harness = H::new().await;
    let revocations: Vec<_> = (0..100)
        .map(|number| Revocation::new(user(&format!("user-{number}")), Demand::Login))
        .collect();
    let receipt = harness.store().revoke_many(&revocations).await.unwrap();
    let loaded = harness.store().watch().await.unwrap().load().await.unwrap();
    let mut cut_offs: Vec<_> =
        loaded.entries.iter().map(|entry| entry.cut_off.login_before).collect();
    cut_offs.sort();
    cut_offs.dedup();
    assert_eq!(cut_offs.len(), 100);
    assert_eq!(cut_offs.last(), Some(&receipt.revoked_before()));
}

async fn clearing_is_told_and_lets_sessions_live<H: Harness>() {
    let harness = H::new().await;
    let (sid, _) = harness.login("alice", &[]).await;
    harness.store().revoke(Revocation::new(user("alice"), Demand::Login)).await.unwrap();
    let head = newest(&harness).await;
    let audit = Audit::new(Id::new("bob").unwrap(), "revoked by mistake");
    let receipt = harness.store().clear(&user("alice"), audit).await.unwrap();
    assert!(receipt.revoked_before() > head);
    let told = harness.store().watch().await.unwrap().poll(head).await.unwrap();
    assert_eq!(told.entries.len(), 1);
    assert_eq!(told.entries[0].cleared_at, receipt.revoked_before());
    assert_eq!(told.entries[0].cut_off, CutOff::NONE);
    assert!(harness.reissue(&sid, "alice", &[]).await.is_ok());
}

async fn purging_drops_what_has_outlived_all_it_covers<H: Harness>() {
    let harness = H::new().await;
    let lifetimes = Lifetimes::default();
    harness.store().revoke(Revocation::new(user("alice"), Demand::Refresh)).await.unwrap();
    harness.store().revoke(Revocation::new(user("bob"), Demand::Login)).await.unwrap();
    assert_eq!(harness.store().purge(lifetimes).await.unwrap(), 0);

    harness.clock().advance(lifetimes.idle() + lifetimes.leeway() * 2 + Duration::from_secs(1));
    assert_eq!(harness.store().purge(lifetimes).await.unwrap(), 1);
    assert_eq!(cut_off(&harness, &user("alice")).await, CutOff::NONE);
    assert_ne!(cut_off(&harness, &user("bob")).await, CutOff::NONE);

    harness.clock().advance(lifetimes.session());
    assert_eq!(harness.store().purge(lifetimes).await.unwrap(), 1);
    assert_eq!(cut_off(&harness, &user("bob")).await, CutOff::NONE);
}

async fn purging_never_revives_under_a_clock_that_jumped<H: Harness>() {
    let harness = H::new().await;
    let (sid, token) = harness.login("alice", &[]).await;
    harness.store().revoke(Revocation::new(user("alice"), Demand::Login)).await.unwrap();
    harness.clock().advance(Lifetimes::default().session() * 2);
    assert_eq!(harness.store().purge(Lifetimes::default()).await.unwrap(), 1);
    // The clock was wrong, and somebody puts it right: the token and the session are young again.
    harness.clock().set_wall(START);
    let floor = harness.store().watch().await.unwrap().load().await.unwrap().floor;
    assert_eq!(floor.demand(token.stamp), Some(Demand::Login));
    let refreshed = harness.reissue(&sid, "alice", &[]).await;
    assert_eq!(kind(refreshed), Some(ErrorKind::SessionEnded));
    let (_, fresh) = harness.login("alice", &[]).await;
    assert_eq!(floor.demand(fresh.stamp), None);
}

async fn a_poll_tells_what_was_purged_before_it_was_seen<H: Harness>() {
    let harness = H::new().await;
    let mut watch = harness.store().watch().await.unwrap();
    // Everyone's own cut-off, long known, must not hide what follows.
    harness.store().revoke(Revocation::new(Scope::Everyone, Demand::Refresh)).await.unwrap();
    let head = watch.load().await.unwrap().head;
    let (_, token) = harness.login("alice", &[]).await;
    harness.store().revoke(Revocation::new(user("alice"), Demand::Login)).await.unwrap();
    harness.clock().advance(Lifetimes::default().session() * 2);
    harness.store().purge(Lifetimes::default()).await.unwrap();
    harness.clock().set_wall(START);
    let changes = watch.poll(head).await.unwrap();
    assert_eq!(changes.floor.demand(token.stamp), Some(Demand::Login));
}

async fn clearing_everyone_revives_nothing_that_was_purged<H: Harness>() {
    let harness = H::new().await;
    let (sid, token) = harness.login("alice", &[]).await;
    harness.store().revoke(Revocation::new(user("alice"), Demand::Login)).await.unwrap();
    harness.clock().advance(Lifetimes::default().session() * 2);
    harness.store().purge(Lifetimes::default()).await.unwrap();
    harness.clock().set_wall(START);
    let audit = Audit::new(Id::new("bob").unwrap(), "everybody was logged out");
    harness.store().clear(&Scope::Everyone, audit).await.unwrap();
    let floor = harness.store().watch().await.unwrap().load().await.unwrap().floor;
    assert_eq!(floor.demand(token.stamp), Some(Demand::Login));
    let refreshed = harness.reissue(&sid, "alice", &[]).await;
    assert_eq!(kind(refreshed), Some(ErrorKind::SessionEnded));
}

async fn a_login_cannot_take_the_id_of_another_session<H: Harness>() {
    let harness = H::new().await;
    let (sid, _) = harness.login("alice", &[]).await;
    let ticket = harness.store().ticket().await.unwrap();
    let stolen = harness.mint(ticket, MintFor::Login, &sid, "bob", &[]).await;
    assert_eq!(kind(stolen), Some(ErrorKind::Store));
    assert!(harness.reissue(&sid, "alice", &[]).await.is_ok());
}

async fn advancing_raises_and_never_lowers<H: Harness>() {
    let harness = H::new().await;
    let high = StoreTime::from_micros(1_900_000_000_000_000);
    let identity = async || harness.store().watch().await.unwrap().load().await.unwrap().store;
    let before = identity().await;
    harness.store().advance(high).await.unwrap();
    // Whoever has not seen the database go back must load everything.
    let raised = identity().await;
    assert_ne!(raised, before);
    harness.store().advance(StoreTime::from_micros(5)).await.unwrap();
    assert_eq!(identity().await, raised);
    assert_eq!(newest(&harness).await, high);
    let (_, minted) = harness.login("alice", &[]).await;
    assert!(!revoked(minted.stamp, high));
}

async fn a_revoke_whose_client_went_away_completes<H: Harness>() {
    let harness = H::new().await;
    {
        let store = harness.store().clone();
        let mut revoke = pin!(store.revoke(Revocation::new(user("alice"), Demand::Login)));
        std::future::poll_fn(|context| {
            let _ = revoke.as_mut().poll(context);
            Poll::Ready(())
        })
        .await;
    }
    let mut watch = harness.store().watch().await.unwrap();
    let told = async {
        while watch.load().await.unwrap().entries.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), told).await.expect("the revocation was lost");
}

async fn concurrent_revocations_lose_none<H: Harness>() {
    let harness = H::new().await;
    let mut watch = harness.store().watch().await.unwrap();
    let writers = (0..8).map(|writer| {
        let store = harness.store().clone();
        async move {
            for number in 0..10 {
                let scope = user(&format!("{writer}-{number}"));
                store.revoke(Revocation::new(scope, Demand::Login)).await.unwrap();
            }
        }
    });
    let writing = async {
        let mut tasks = tokio::task::JoinSet::new();
        writers.for_each(|writer| drop(tasks.spawn(writer)));
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    };
    let polling = async {
        let (mut cursor, mut told) = (StoreTime::ZERO, 0);
        while told < 80 {
            let changes = watch.poll(cursor).await.unwrap();
            assert!(changes.head >= cursor);
            told += changes.entries.len();
            cursor = changes.head;
            tokio::task::yield_now().await;
        }
        told
    };
    let both = async { tokio::join!(writing, polling) };
    let ((), told) =
        tokio::time::timeout(Duration::from_secs(60), both).await.expect("polls lost a commit");
    assert_eq!(told, 80);
}

async fn a_change_is_hinted<H: Harness>() {
    let harness = H::new().await;
    let mut watch = harness.store().watch().await.unwrap();
    watch.load().await.unwrap();
    // The first may come at once: nothing was seen yet.
    let _ = tokio::time::timeout(Duration::from_millis(200), watch.hint()).await;
    let store = harness.store().clone();
    let (hint, revoked) = tokio::join!(
        tokio::time::timeout(Duration::from_secs(10), watch.hint()),
        store.revoke(Revocation::new(user("alice"), Demand::Login)),
    );
    revoked.unwrap();
    hint.expect("no hint came").unwrap();
}

async fn subjects_that_differ_in_case_or_spaces_are_different<H: Harness>() {
    let harness = H::new().await;
    let subjects = ["alice", "alice ", " alice", "Alice", "alíce", "ALICE  "];
    let mut sessions = Vec::new();
    for subject in subjects {
        sessions.push((subject, harness.login(subject, &[subject]).await.0));
    }
    for (revoked, subject) in subjects.iter().enumerate() {
        let scope = if revoked % 2 == 0 { user(subject) } else { Scope::group(subject).unwrap() };
        harness.store().revoke(Revocation::new(scope, Demand::Login)).await.unwrap();
        for (place, (user, sid)) in sessions.iter().enumerate() {
            let alive = harness.reissue(sid, user, &[]).await.is_ok();
            assert_eq!(alive, place > revoked, "{user:?} after {subject:?} was revoked");
        }
        // They have left their groups, and are to be in them again.
        for (user, sid) in &sessions[revoked + 1..] {
            harness.reissue(sid, user, &[user]).await.unwrap();
            let lists = SessionFilter::User(Id::new(user).unwrap());
            let listed = harness.store().sessions(&lists, Lifetimes::default()).await.unwrap();
            assert_eq!(listed.iter().map(|session| &session.id).collect::<Vec<_>>(), [sid]);
        }
    }
    let changes = harness.store().watch().await.unwrap().load().await.unwrap();
    assert_eq!(changes.entries.len(), subjects.len());
}
