//! What every store promises about users who may have so many sessions and no more.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use tokio::{sync::Barrier, task::JoinSet};
use tower_revocation::{
    Demand,
    cutoff::{CutOff, Stamp, revoked},
    error::{Error, ErrorKind},
    lifetimes::Lifetimes,
    scope::{Id, Scope},
    store::{
        Device, EpochStore, Mint, MintFor, Minted, OverLimit, Revocation, SessionFilter,
        SessionLimit,
    },
};

use crate::harness::{Harness, cut_off, kind, newest, user};

contract! {
    the_session_that_logged_in_first_ends_when_there_is_one_too_many,
    a_single_session_ends_with_the_next_login_and_nobody_elses_does,
    a_login_over_the_limit_is_refused_and_changes_nothing,
    sessions_that_have_ended_leave_room,
    a_limit_that_was_lowered_ends_all_that_are_over,
    a_login_that_is_refused_for_its_ticket_ends_nothing,
    a_request_is_sealed_before_sessions_are_counted,
    a_login_without_a_limit_is_not_counted_against_one,
    a_limited_login_cannot_take_the_id_of_another_session,
    logins_at_once_leave_no_more_sessions_than_the_limit,
}

const TOO_MANY: Option<ErrorKind> = Some(ErrorKind::TooManySessions);

fn at_most(sessions: u32, over: OverLimit) -> MintFor {
    MintFor::LoginWithin(SessionLimit { sessions: NonZeroU32::new(sessions).unwrap(), over })
}

fn ending(sessions: u32) -> MintFor {
    at_most(sessions, OverLimit::EndOldest)
}

fn refusing(sessions: u32) -> MintFor {
    at_most(sessions, OverLimit::RefuseLogin)
}

/// A login, a second after the one before.
async fn login<H: Harness>(
    harness: &H,
    session: MintFor,
    user: &str,
    groups: &[&str],
) -> Result<(Id, Minted), Error> {
    harness.clock().advance(Duration::from_secs(1));
    let sid = Id::random();
    let ticket = harness.store().ticket().await?;
    Ok((sid.clone(), harness.mint(ticket, session, &sid, user, groups).await?))
}

async fn alive<H: Harness>(harness: &H, user: &str) -> Vec<Id> {
    let filter = SessionFilter::User(Id::new(user).unwrap());
    let listed = harness.store().sessions(&filter, Lifetimes::default()).await.unwrap();
    let mut alive: Vec<Id> = listed.into_iter().map(|session| session.id).collect();
    alive.sort();
    alive
}

async fn assert_alive<H: Harness, const N: usize>(harness: &H, user: &str, sids: [&Id; N]) {
    let mut sids = sids.map(Id::clone);
    sids.sort();
    assert_eq!(alive(harness, user).await, sids);
}

async fn revoke<H: Harness>(harness: &H, scope: Scope, demand: Demand) {
    harness.store().revoke(Revocation::new(scope, demand)).await.unwrap();
}

async fn the_session_that_logged_in_first_ends_when_there_is_one_too_many<H: Harness>() {
    let harness = H::new().await;
    let (first, first_token) = login(&harness, ending(2), "alice", &[]).await.unwrap();
    let (second, second_token) = login(&harness, ending(2), "alice", &[]).await.unwrap();
    assert_eq!(first_token.stamp, second_token.stamp);
    // That it was used last does not help it.
    harness.clock().advance(Duration::from_secs(1));
    harness.refresh(&first, 0).await.unwrap();
    let (third, third_token) = login(&harness, ending(2), "alice", &[]).await.unwrap();
    assert_alive(&harness, "alice", [&second, &third]).await;
    assert_eq!(kind(harness.refresh(&first, 1).await), Some(ErrorKind::SessionEnded));
    harness.refresh(&second, 0).await.unwrap();
    // By a revocation that every instance learns of, and that the new login has seen.
    let ended = cut_off(&harness, &Scope::Session(first)).await;
    assert_eq!(ended, CutOff::at(newest(&harness).await, Demand::Login));
    assert!(revoked(first_token.stamp, ended.login_before));
    assert_eq!(third_token.stamp, Stamp::after(ended.login_before));
    for sid in [second, third] {
        assert_eq!(cut_off(&harness, &Scope::Session(sid)).await, CutOff::NONE);
    }
}

async fn a_single_session_ends_with_the_next_login_and_nobody_elses_does<H: Harness>() {
    let harness = H::new().await;
    let (bobs, _) = login(&harness, ending(1), "bob", &[]).await.unwrap();
    let mut last = None;
    for _ in 0..3 {
        let (sid, _) = login(&harness, ending(1), "alice", &[]).await.unwrap();
        assert_alive(&harness, "alice", [&sid]).await;
        if let Some(ended) = last.replace(sid) {
            assert_eq!(kind(harness.refresh(&ended, 0).await), Some(ErrorKind::SessionEnded));
        }
    }
    assert_alive(&harness, "bob", [&bobs]).await;
}

async fn a_login_over_the_limit_is_refused_and_changes_nothing<H: Harness>() {
    let harness = H::new().await;
    let (first, _) = login(&harness, refusing(2), "alice", &[]).await.unwrap();
    let (second, _) = login(&harness, refusing(2), "alice", &[]).await.unwrap();
    let before = newest(&harness).await;
    assert_eq!(kind(login(&harness, refusing(2), "alice", &[]).await), TOO_MANY);
    assert_alive(&harness, "alice", [&first, &second]).await;
    assert_eq!(newest(&harness).await, before);
    // Others are none of its business, and one more may be one more.
    login(&harness, refusing(2), "bob", &[]).await.unwrap();
    let (third, _) = login(&harness, refusing(3), "alice", &[]).await.unwrap();
    assert_alive(&harness, "alice", [&first, &second, &third]).await;
    // A logout makes room.
    revoke(&harness, Scope::Session(first), Demand::Login).await;
    revoke(&harness, Scope::Session(second), Demand::Login).await;
    let (fourth, _) = login(&harness, refusing(2), "alice", &[]).await.unwrap();
    assert_alive(&harness, "alice", [&third, &fourth]).await;
}

async fn sessions_that_have_ended_leave_room<H: Harness>() {
    let harness = H::new().await;
    let lifetimes = Lifetimes::default();
    let group = || Scope::group("staff").unwrap();
    for scope in [user("alice"), group(), Scope::Everyone] {
        let (ended, _) = login(&harness, refusing(1), "alice", &["staff"]).await.unwrap();
        // One that its tokens are refreshed after is alive.
        revoke(&harness, scope.clone(), Demand::Refresh).await;
        assert_eq!(kind(login(&harness, refusing(1), "alice", &[]).await), TOO_MANY, "{scope:?}");
        revoke(&harness, scope, Demand::Login).await;
        for session in [ending(1), refusing(1)] {
            let (sid, _) = login(&harness, session, "alice", &[]).await.unwrap();
            revoke(&harness, Scope::Session(sid), Demand::Login).await;
        }
        // Nobody ended it for the second time.
        assert_eq!(cut_off(&harness, &Scope::Session(ended)).await, CutOff::NONE);
    }
    // Nor do those count that were not used for too long, or lived for too long.
    let (idle, _) = login(&harness, refusing(1), "alice", &[]).await.unwrap();
    harness.clock().advance(lifetimes.idle() - Duration::from_secs(2));
    assert_eq!(kind(login(&harness, refusing(1), "alice", &[]).await), TOO_MANY);
    harness.clock().advance(Duration::from_secs(1));
    let (sid, _) = login(&harness, refusing(1), "alice", &[]).await.unwrap();
    assert_alive(&harness, "alice", [&sid]).await;
    assert_eq!(kind(harness.refresh(&idle, 0).await), Some(ErrorKind::SessionEnded));
}

async fn a_limit_that_was_lowered_ends_all_that_are_over<H: Harness>() {
    let harness = H::new().await;
    let mut sids = Vec::new();
    for _ in 0..6 {
        sids.push(login(&harness, MintFor::Login, "alice", &[]).await.unwrap().0);
    }
    let (new, token) = login(&harness, ending(3), "alice", &[]).await.unwrap();
    assert_alive(&harness, "alice", [&sids[4], &sids[5], &new]).await;
    for sid in &sids[..4] {
        let ended = cut_off(&harness, &Scope::Session(sid.clone())).await;
        assert!(ended.login_before > CutOff::NONE.login_before);
        assert!(!revoked(token.stamp, ended.login_before));
    }
}

async fn a_login_that_is_refused_for_its_ticket_ends_nothing<H: Harness>() {
    let harness = H::new().await;
    let (first, _) = login(&harness, ending(1), "alice", &[]).await.unwrap();
    let ticket = harness.store().ticket().await.unwrap();
    revoke(&harness, Scope::group("staff").unwrap(), Demand::Login).await;
    let before = newest(&harness).await;
    let late = harness.mint(ticket, ending(1), &Id::random(), "alice", &["staff"]).await;
    assert_eq!(kind(late), Some(ErrorKind::RevokedMeanwhile(Demand::Login)));
    assert_alive(&harness, "alice", [&first]).await;
    assert_eq!(newest(&harness).await, before);
}

async fn a_request_is_sealed_before_sessions_are_counted<H: Harness>() {
    let harness = H::new().await;
    let (first, _) = login(&harness, refusing(1), "alice", &[]).await.unwrap();
    let ticket = harness.store().ticket().await.unwrap();
    let logout = Revocation::new(Scope::Session(first), Demand::Login);
    let _forgotten = harness.request(logout, true).await;
    let sid = Id::random();
    harness.mint(ticket, refusing(1), &sid, "alice", &[]).await.unwrap();
    assert_alive(&harness, "alice", [&sid]).await;
}

async fn a_login_without_a_limit_is_not_counted_against_one<H: Harness>() {
    let harness = H::new().await;
    let (first, _) = login(&harness, refusing(1), "alice", &[]).await.unwrap();
    let (second, _) = login(&harness, MintFor::Login, "alice", &[]).await.unwrap();
    let ticket = harness.store().ticket().await.unwrap();
    let apart = harness.mint(ticket, MintFor::Token, &Id::random(), "alice", &[]).await;
    assert!(apart.is_ok());
    assert_alive(&harness, "alice", [&first, &second]).await;
    // But it counts, and so does none that belongs to no session.
    assert_eq!(kind(login(&harness, refusing(2), "alice", &[]).await), TOO_MANY);
    assert!(login(&harness, refusing(3), "alice", &[]).await.is_ok());
}

async fn a_limited_login_cannot_take_the_id_of_another_session<H: Harness>() {
    let harness = H::new().await;
    let (bobs, _) = login(&harness, ending(1), "bob", &[]).await.unwrap();
    let (alices, _) = login(&harness, ending(1), "alice", &[]).await.unwrap();
    let before = newest(&harness).await;
    let ticket = harness.store().ticket().await.unwrap();
    let stolen = harness.mint(ticket, ending(1), &bobs, "alice", &[]).await;
    assert_eq!(kind(stolen), Some(ErrorKind::Store));
    // What it would have ended lives.
    assert_eq!(newest(&harness).await, before);
    assert_alive(&harness, "alice", [&alices]).await;
    assert_alive(&harness, "bob", [&bobs]).await;
}

async fn logins_at_once_leave_no_more_sessions_than_the_limit<H: Harness>() {
    const AT_ONCE: usize = 8;
    let harness = H::new().await;
    for limit in [1, 3] {
        for session in [ending(limit), refusing(limit)] {
            let name = format!("{limit} {session:?}").replace(|c: char| !c.is_alphanumeric(), "");
            let together = Arc::new(Barrier::new(AT_ONCE));
            let mut logins = JoinSet::new();
            for _ in 0..AT_ONCE {
                let mint = Mint {
                    ticket: harness.store().ticket().await.unwrap(),
                    session: session.clone(),
                    sid: Id::random(),
                    user: Id::new(&name).unwrap(),
                    groups: Vec::new(),
                    device: Device::new(),
                    lifetimes: Lifetimes::default(),
                };
                let (store, together) = (harness.store().clone(), together.clone());
                logins.spawn(async move {
                    together.wait().await;
                    store.mint(&mint).await.map(|minted| (mint.sid, minted))
                });
            }
            let (mut minted, mut refused) = (Vec::new(), 0);
            while let Some(login) = logins.join_next().await {
                match login.unwrap() {
                    Ok(login) => minted.push(login),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::TooManySessions);
                        refused += 1;
                    }
                }
            }
            let alive = alive(&harness, &name).await;
            assert_eq!(alive.len(), limit as usize, "{session:?}");
            let refuses = session == refusing(limit);
            let room = if refuses { AT_ONCE - limit as usize } else { 0 };
            assert_eq!(refused, room, "{session:?}");
            // Each token is as good as its session.
            for (sid, minted) in minted {
                let cut_off = cut_off(&harness, &Scope::Session(sid.clone())).await;
                let dead = revoked(minted.stamp, cut_off.revoked_before());
                assert_eq!(dead, !alive.contains(&sid), "{session:?}");
            }
        }
    }
}
