//! What every store promises about access tokens that are renewed, and about those that belong to
//! no session.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Barrier, task::JoinSet};
use tower_revocation::{
    Demand,
    cutoff::{CutOff, Stamp, StoreTime, revoked},
    error::{Error, ErrorKind},
    lifetimes::Lifetimes,
    scope::{Id, Scope},
    store::{
        Device, EpochStore, Mint, MintFor, Minted, Presented, Revocation, SameDevice,
        SessionFilter, Ticket,
    },
};

use crate::harness::{GRACE, Harness, START, cut_off, kind, newest, user};

contract! {
    a_renewal_has_seen_every_revocation_and_keeps_the_time_of_the_login,
    a_renewal_moves_the_idle_limit_and_not_the_absolute_one,
    a_renewal_leaves_the_refresh_tokens_as_they_are,
    a_token_is_not_renewed_that_a_cut_off_of_its_own_scopes_reaches,
    a_token_is_renewed_from_the_stamp_after_a_cut_off_on,
    the_last_stamp_of_the_session_makes_no_old_token_good,
    a_spared_session_is_no_reason_to_renew_its_old_token,
    a_renewal_is_guarded_by_the_groups_of_the_token_of_the_session_and_of_now,
    a_token_that_left_a_group_is_held_against_the_groups_it_carries,
    a_purged_cut_off_still_keeps_its_tokens_from_being_renewed,
    a_clock_that_was_behind_at_a_renewal_ends_no_session,
    a_renewal_of_an_unknown_or_of_somebody_elses_session_is_refused,
    a_renewal_with_an_old_ticket_reads_again,
    a_renewal_from_ahead_of_the_store_reads_again,
    a_request_is_sealed_by_a_renewal,
    a_renewal_from_another_device_is_refused_where_that_is_asked,
    a_renewal_keeps_what_was_known_of_the_device,
    a_renewed_token_is_revoked_where_that_is_asked,
    of_many_renewals_of_a_token_that_revoke_it_one_succeeds,
    a_renewal_beside_a_revocation_is_covered_or_refused,
    a_token_without_a_session_leaves_nothing_behind,
    a_token_without_a_session_is_held_against_its_ticket,
    a_request_is_sealed_by_a_token_without_a_session,
}

/// A token of `minted`, with the id `token`.
fn presented(minted: &Minted, groups: &[&str]) -> Presented {
    Presented {
        stamp: minted.stamp,
        token: id("token"),
        groups: groups.iter().map(|group| id(group)).collect(),
        same: SameDevice::default(),
        revoke: false,
    }
}

async fn renew<H: Harness>(
    harness: &H,
    sid: &Id,
    presented: Presented,
    groups: &[&str],
) -> Result<Minted, Error> {
    let ticket = harness.store().ticket().await?;
    harness.mint(ticket, MintFor::Renew(presented), sid, "alice", groups).await
}

async fn revoke<H: Harness>(harness: &H, scope: Scope, demand: Demand) -> StoreTime {
    harness.store().revoke(Revocation::new(scope, demand)).await.unwrap().revoked_before()
}

fn id(text: &str) -> Id {
    Id::new(text).unwrap()
}

fn token_revoked(demand: Demand) -> Option<ErrorKind> {
    Some(ErrorKind::TokenRevoked(demand))
}

const ENDED: Option<ErrorKind> = Some(ErrorKind::SessionEnded);

async fn a_renewal_has_seen_every_revocation_and_keeps_the_time_of_the_login<H: Harness>() {
    let harness = H::new().await;
    let (sid, login) = harness.login("alice", &["staff"]).await;
    let latest = revoke(&harness, user("bob"), Demand::Login).await;
    harness.clock().advance(Duration::from_secs(60));
    let renewed = renew(&harness, &sid, presented(&login, &["staff"]), &["staff"]).await.unwrap();
    assert_eq!(renewed.stamp, Stamp::after(latest));
    assert_eq!(renewed.session_began, START);
    assert_eq!(renewed.issued_at, START + Duration::from_secs(60));
    // And the next one from that.
    let next = renew(&harness, &sid, presented(&renewed, &["staff"]), &[]).await.unwrap();
    assert_eq!((next.stamp, next.session_began), (renewed.stamp, START));
    // The session has the groups of its last token: it is in none now.
    revoke(&harness, Scope::group("staff").unwrap(), Demand::Login).await;
    assert!(renew(&harness, &sid, presented(&next, &[]), &[]).await.is_ok());
}

async fn a_renewal_moves_the_idle_limit_and_not_the_absolute_one<H: Harness>() {
    let harness = H::new().await;
    let (lifetimes, tick) = (Lifetimes::default(), Duration::from_micros(1));
    let (sid, mut token) = harness.login("alice", &[]).await;
    let mut now = START;
    while now + lifetimes.idle() - tick < START + lifetimes.session() {
        now += lifetimes.idle() - tick;
        harness.clock().set_wall(now);
        token = renew(&harness, &sid, presented(&token, &[]), &[]).await.unwrap();
        let listed = harness.store().sessions(&SessionFilter::Id(sid.clone()), lifetimes).await;
        assert_eq!(listed.unwrap()[0].last_refresh_at, now);
    }
    harness.clock().set_wall(START + lifetimes.session() - tick);
    token = renew(&harness, &sid, presented(&token, &[]), &[]).await.unwrap();
    harness.clock().advance(tick);
    assert_eq!(kind(renew(&harness, &sid, presented(&token, &[]), &[]).await), ENDED);

    let (sid, token) = harness.login("alice", &[]).await;
    harness.clock().advance(lifetimes.idle());
    assert_eq!(kind(renew(&harness, &sid, presented(&token, &[]), &[]).await), ENDED);
}

async fn a_renewal_leaves_the_refresh_tokens_as_they_are<H: Harness>() {
    let harness = H::new().await;
    let (sid, _) = harness.login("alice", &[]).await;
    harness.refresh(&sid, 0).await.unwrap();
    harness.clock().advance(Duration::from_secs(1));
    let second = harness.refresh(&sid, 1).await.unwrap();
    harness.clock().advance(GRACE - Duration::from_secs(1) - Duration::from_micros(1));
    let renewed = renew(&harness, &sid, presented(&second, &[]), &[]).await.unwrap();
    assert_eq!(renewed.counter, 2);
    // The last moment of the first one's grace time; and its successor's lasts a second longer.
    assert_eq!(harness.refresh(&sid, 0).await.unwrap().counted_at, START);
    harness.clock().advance(Duration::from_secs(1));
    assert_eq!(harness.refresh(&sid, 1).await.unwrap().counter, 2);
    // The current one is spent by itself alone.
    assert_eq!(harness.refresh(&sid, 2).await.unwrap().counter, 3);
    let stolen = kind(harness.refresh(&sid, 0).await);
    assert!(matches!(stolen, Some(ErrorKind::RefreshTokenReused(_))), "{stolen:?}");
}

async fn a_token_is_not_renewed_that_a_cut_off_of_its_own_scopes_reaches<H: Harness>() {
    let harness = H::new().await;
    for demand in [Demand::Refresh, Demand::Login] {
        for scope in [
            Some(Scope::Everyone),
            Some(user("alice")),
            Some(Scope::group("staff").unwrap()),
            Some(Scope::token("token").unwrap()),
            None,
        ] {
            let (sid, token) = harness.login("alice", &["staff"]).await;
            let scope = scope.unwrap_or(Scope::Session(sid.clone()));
            let of_token = scope == Scope::token("token").unwrap();
            revoke(&harness, scope.clone(), demand).await;
            let refused = kind(renew(&harness, &sid, presented(&token, &["staff"]), &[]).await);
            // Of the scopes it is the token alone that does not end its session.
            let ends = demand == Demand::Login && !of_token;
            let expected = if ends { ENDED } else { token_revoked(demand) };
            assert_eq!(refused, expected, "{scope:?} {demand:?}");
        }
    }
}

async fn a_token_is_renewed_from_the_stamp_after_a_cut_off_on<H: Harness>() {
    let harness = H::new().await;
    let (sid, login) = harness.login("alice", &[]).await;
    let scopes = [
        Scope::Everyone,
        user("alice"),
        Scope::Session(sid.clone()),
        Scope::token("token").unwrap(),
        Scope::group("staff").unwrap(),
    ];
    for scope in scopes {
        let cut_off = revoke(&harness, scope.clone(), Demand::Refresh).await.as_micros();
        let stamped = |stamp| Presented {
            stamp: Stamp::from_micros(stamp),
            ..presented(&login, &["staff", "other"])
        };
        for stamp in [cut_off - 1, cut_off] {
            let refused = kind(renew(&harness, &sid, stamped(stamp), &[]).await);
            assert_eq!(refused, token_revoked(Demand::Refresh), "{scope:?}");
        }
        let renewed = renew(&harness, &sid, stamped(cut_off + 1), &[]).await.unwrap();
        assert_eq!(renewed.stamp.as_micros(), cut_off + 1, "{scope:?}");
    }
}

async fn the_last_stamp_of_the_session_makes_no_old_token_good<H: Harness>() {
    let harness = H::new().await;
    let (sid, old) = harness.login("alice", &[]).await;
    revoke(&harness, user("alice"), Demand::Refresh).await;
    let new = harness.refresh(&sid, 0).await.unwrap();
    let refused = kind(renew(&harness, &sid, presented(&old, &[]), &[]).await);
    assert_eq!(refused, token_revoked(Demand::Refresh));
    let renewed = renew(&harness, &sid, presented(&new, &[]), &[]).await.unwrap();
    // Nor does the last stamp sink by a renewal: a login revocation is held against it.
    assert_eq!(renewed.stamp, new.stamp);
    revoke(&harness, Scope::Session(sid.clone()), Demand::Login).await;
    assert_eq!(kind(renew(&harness, &sid, presented(&renewed, &[]), &[]).await), ENDED);
}

async fn a_spared_session_is_no_reason_to_renew_its_old_token<H: Harness>() {
    let harness = H::new().await;
    let (sid, old) = harness.login("alice", &[]).await;
    let others = Revocation::new(user("alice"), Demand::Login).sparing(sid.clone());
    harness.store().revoke(others).await.unwrap();
    // The session lives; whoever holds this token need not be its rightful holder.
    let refused = kind(renew(&harness, &sid, presented(&old, &[]), &[]).await);
    assert_eq!(refused, token_revoked(Demand::Login));
    let new = harness.reissue(&sid, "alice", &[]).await.unwrap();
    assert!(renew(&harness, &sid, presented(&new, &[]), &[]).await.is_ok());
}

async fn a_renewal_is_guarded_by_the_groups_of_the_token_of_the_session_and_of_now<H: Harness>() {
    let harness = H::new().await;
    for (group, ends) in [("presented", true), ("session's", true), ("now", true), ("other", false)]
    {
        let (sid, token) = harness.login("alice", &["session's"]).await;
        revoke(&harness, Scope::group(group).unwrap(), Demand::Login).await;
        // Above all cut-offs: only the session's last stamp is below.
        let token = Minted { stamp: Stamp::after(newest(&harness).await), ..token };
        let renewed =
            kind(renew(&harness, &sid, presented(&token, &["presented"]), &["now"]).await);
        assert_eq!(renewed, ends.then_some(ErrorKind::SessionEnded), "{group}");
    }
}

async fn a_token_that_left_a_group_is_held_against_the_groups_it_carries<H: Harness>() {
    let harness = H::new().await;
    let (sid, old) = harness.login("alice", &["before"]).await;
    let new = harness.reissue(&sid, "alice", &["after"]).await.unwrap();
    // The session has left the group; a token that carries it is revoked all the same.
    revoke(&harness, Scope::group("before").unwrap(), Demand::Refresh).await;
    let refused = kind(renew(&harness, &sid, presented(&old, &["before"]), &["after"]).await);
    assert_eq!(refused, token_revoked(Demand::Refresh));
    assert!(renew(&harness, &sid, presented(&new, &["after"]), &["after"]).await.is_ok());
    // The other way round: a group that the session has joined since is none of the old token's,
    // and a demand for new claims is what a renewal brings.
    revoke(&harness, Scope::group("after").unwrap(), Demand::Refresh).await;
    let without = Minted { stamp: new.stamp, ..old };
    let renewed = renew(&harness, &sid, presented(&without, &[]), &["after"]).await.unwrap();
    assert_eq!(renewed.stamp, Stamp::after(newest(&harness).await));
    // And it ends the session where it demands a login.
    revoke(&harness, Scope::group("after").unwrap(), Demand::Login).await;
    assert_eq!(kind(renew(&harness, &sid, presented(&renewed, &[]), &[]).await), ENDED);
}

async fn a_purged_cut_off_still_keeps_its_tokens_from_being_renewed<H: Harness>() {
    let harness = H::new().await;
    let lifetimes = Lifetimes::default();
    let (sid, old) = harness.login("alice", &[]).await;
    revoke(&harness, Scope::token("token").unwrap(), Demand::Refresh).await;
    let new = harness.refresh(&sid, 0).await.unwrap();
    harness.clock().advance(lifetimes.idle() - Duration::from_secs(1));
    harness.refresh(&sid, 1).await.unwrap();
    harness.clock().advance(lifetimes.leeway() * 2 + Duration::from_secs(2));
    assert_eq!(harness.store().purge(lifetimes).await.unwrap(), 1);
    // The clock was wrong: the token is young again.
    harness.clock().set_wall(START);
    let refused = kind(renew(&harness, &sid, presented(&old, &[]), &[]).await);
    assert_eq!(refused, token_revoked(Demand::Refresh));
    assert!(renew(&harness, &sid, presented(&new, &[]), &[]).await.is_ok());
}

async fn a_clock_that_was_behind_at_a_renewal_ends_no_session<H: Harness>() {
    let harness = H::new().await;
    let (sid, token) = harness.login("alice", &[]).await;
    harness.clock().set_wall(START - Lifetimes::default().idle() * 2);
    let renewed = renew(&harness, &sid, presented(&token, &[]), &[]).await.unwrap();
    assert_eq!(renewed.stamp, token.stamp);
    // Nor does it change what is revoked.
    let cut_off = revoke(&harness, user("alice"), Demand::Refresh).await;
    assert!(revoked(renewed.stamp, cut_off));
    harness.clock().set_wall(START + Duration::from_secs(60));
    let refused = kind(renew(&harness, &sid, presented(&renewed, &[]), &[]).await);
    assert_eq!(refused, token_revoked(Demand::Refresh));
    let next = harness.refresh(&sid, 0).await.unwrap();
    assert!(renew(&harness, &sid, presented(&next, &[]), &[]).await.is_ok());
}

async fn a_renewal_of_an_unknown_or_of_somebody_elses_session_is_refused<H: Harness>() {
    let harness = H::new().await;
    let (_, token) = harness.login("alice", &[]).await;
    let unknown = renew(&harness, &Id::random(), presented(&token, &[]), &[]).await;
    assert_eq!(kind(unknown), ENDED);
    let (bobs, _) = harness.login("bob", &[]).await;
    assert_eq!(kind(renew(&harness, &bobs, presented(&token, &[]), &[]).await), ENDED);
}

async fn a_renewal_with_an_old_ticket_reads_again<H: Harness>() {
    let harness = H::new().await;
    let (sid, token) = harness.login("alice", &[]).await;
    let ticket = harness.store().ticket().await.unwrap();
    // Of a group that the token does not carry, and the next one will.
    revoke(&harness, Scope::group("new").unwrap(), Demand::Refresh).await;
    let renewal = MintFor::Renew(presented(&token, &[]));
    let late = harness.mint(ticket, renewal.clone(), &sid, "alice", &["new"]).await;
    assert_eq!(kind(late), Some(ErrorKind::RevokedMeanwhile(Demand::Refresh)));
    let ticket = harness.store().ticket().await.unwrap();
    assert!(harness.mint(ticket, renewal, &sid, "alice", &["new"]).await.is_ok());
}

async fn a_renewal_from_ahead_of_the_store_reads_again<H: Harness>() {
    let harness = H::new().await;
    let (sid, token) = harness.login("alice", &[]).await;
    let newest = newest(&harness).await;
    let again = Some(ErrorKind::RevokedMeanwhile(Demand::Refresh));
    // Of a copy in memory that remembers more than the database, which went back.
    let ahead = Ticket::new(newest.next().unwrap());
    let renewal = MintFor::Renew(presented(&token, &[]));
    assert_eq!(kind(harness.mint(ahead, renewal, &sid, "alice", &[]).await), again);
    // And a token from before it went: the next cut-off need not be above its stamp.
    let stamp = Stamp::from_micros(token.stamp.as_micros() + 1);
    for revoke in [false, true] {
        let ahead = Presented { stamp, revoke, ..presented(&token, &[]) };
        assert_eq!(kind(renew(&harness, &sid, ahead, &[]).await), again);
    }
}

async fn a_request_is_sealed_by_a_renewal<H: Harness>() {
    let harness = H::new().await;
    let (sid, token) = harness.login("alice", &[]).await;
    let ticket = harness.store().ticket().await.unwrap();
    let revocation = Revocation::new(user("alice"), Demand::Refresh);
    let _forgotten = harness.request(revocation, true).await;
    let renewal = MintFor::Renew(presented(&token, &[]));
    let refused = kind(harness.mint(ticket, renewal, &sid, "alice", &[]).await);
    assert_eq!(refused, token_revoked(Demand::Refresh));
    // It is sealed, though nothing was minted.
    assert_ne!(cut_off(&harness, &user("alice")).await, CutOff::NONE);
}

// ---- the device ----

fn phone() -> Device {
    Device::new().with_ip([192, 0, 2, 1].into()).with_user_agent("phone")
}

/// A session of alice on `device`.
async fn on<H: Harness>(harness: &H, device: Device) -> (Id, Minted) {
    let sid = Id::random();
    let minted = mint_on(harness, MintFor::Login, &sid, device).await.unwrap();
    (sid, minted)
}

async fn mint_on<H: Harness>(
    harness: &H,
    session: MintFor,
    sid: &Id,
    device: Device,
) -> Result<Minted, Error> {
    let mint = Mint {
        ticket: harness.store().ticket().await.unwrap(),
        session,
        sid: sid.clone(),
        user: id("alice"),
        groups: Vec::new(),
        device,
        lifetimes: Lifetimes::default(),
    };
    harness.store().mint(&mint).await
}

async fn a_renewal_from_another_device_is_refused_where_that_is_asked<H: Harness>() {
    let harness = H::new().await;
    let moved = || phone().with_ip([192, 0, 2, 2].into());
    let updated = || phone().with_user_agent("Phone");
    let unseen = Device::new;
    for (known, seen, same_ip, same_user_agent) in [
        (phone(), phone().with_label("mine"), true, true),
        (phone(), phone().with_ip("::ffff:192.0.2.1".parse().unwrap()), true, true),
        (phone(), moved(), false, true),
        (phone(), updated(), true, false),
        (phone(), unseen(), false, false),
        (unseen(), phone(), false, false),
        (unseen(), unseen(), false, false),
    ] {
        for (ip, user_agent) in [(false, false), (true, false), (false, true), (true, true)] {
            let (sid, token) = on(&harness, known.clone()).await;
            for revoke in [false, true] {
                let same = SameDevice { ip, user_agent };
                let renewal = Presented { same, revoke, ..presented(&token, &[]) };
                let refused = (ip && !same_ip) || (user_agent && !same_user_agent);
                let token = Id::random();
                let renewal = MintFor::Renew(Presented { token, ..renewal });
                let renewed = kind(mint_on(&harness, renewal, &sid, seen.clone()).await);
                let differs = refused.then_some(ErrorKind::DeviceDiffers);
                assert_eq!(renewed, differs, "{known:?} {seen:?} {same:?}");
                if known == unseen() {
                    // A renewal has told what was not known.
                    break;
                }
            }
        }
    }
}

async fn a_renewal_keeps_what_was_known_of_the_device<H: Harness>() {
    let harness = H::new().await;
    let told = async |sid: &Id| {
        let filter = SessionFilter::Id(sid.clone());
        let mut told = harness.store().sessions(&filter, Lifetimes::default()).await.unwrap();
        told.remove(0).device
    };
    let (sid, token) = on(&harness, Device::new().with_ip([192, 0, 2, 1].into())).await;
    let elsewhere = Device::new()
        .with_ip([192, 0, 2, 2].into())
        .with_user_agent("phone")
        .with_label("Zoë's phone");
    for revoke in [false, true] {
        let renewal = Presented { revoke, ..presented(&token, &[]) };
        mint_on(&harness, MintFor::Renew(renewal), &sid, elsewhere.clone()).await.unwrap();
        // One renewal without the condition does not move what the next one is held against.
        let known = elsewhere.clone().with_ip([192, 0, 2, 1].into());
        assert_eq!(told(&sid).await, known);
    }
    // A refresh does.
    let refresh = MintFor::Refresh { counter: 0, grace: GRACE };
    mint_on(&harness, refresh, &sid, elsewhere.clone()).await.unwrap();
    assert_eq!(told(&sid).await, elsewhere);
}

// ---- revoking what is renewed ----

async fn a_renewed_token_is_revoked_where_that_is_asked<H: Harness>() {
    let harness = H::new().await;
    let (sid, token) = harness.login("alice", &[]).await;
    let renewal = Presented { revoke: true, ..presented(&token, &[]) };
    let renewed = renew(&harness, &sid, renewal.clone(), &[]).await.unwrap();
    let of_token = cut_off(&harness, &Scope::token("token").unwrap()).await;
    assert_eq!(of_token, CutOff::at(newest(&harness).await, Demand::Refresh));
    assert_eq!(of_token.demand(token.stamp), Some(Demand::Refresh));
    assert_eq!(renewed.stamp, Stamp::after(of_token.reissue_before));
    assert_eq!(cut_off(&harness, &Scope::Session(sid.clone())).await, CutOff::NONE);
    // Its last stamp is that of the new one.
    revoke(&harness, Scope::Session(sid.clone()), Demand::Refresh).await;
    for revoke in [false, true] {
        let again = Presented { revoke, ..renewal.clone() };
        let refused = kind(renew(&harness, &sid, again, &[]).await);
        assert_eq!(refused, token_revoked(Demand::Refresh));
    }
    // What is refused revokes nothing.
    let before = newest(&harness).await;
    let other = Presented { token: id("other"), ..renewal };
    assert_eq!(kind(renew(&harness, &Id::random(), other, &[]).await), ENDED);
    assert_eq!(newest(&harness).await, before);
}

async fn of_many_renewals_of_a_token_that_revoke_it_one_succeeds<H: Harness>() {
    let harness = H::new().await;
    let (sid, token) = harness.login("alice", &[]).await;
    let ticket = harness.store().ticket().await.unwrap();
    let mint = Mint {
        ticket,
        session: MintFor::Renew(Presented { revoke: true, ..presented(&token, &[]) }),
        sid,
        user: id("alice"),
        groups: Vec::new(),
        device: Device::new(),
        lifetimes: Lifetimes::default(),
    };
    let mut renewals = JoinSet::new();
    for _ in 0..8 {
        let (store, mint) = (harness.store().clone(), mint.clone());
        renewals.spawn(async move { store.mint(&mint).await });
    }
    let (mut renewed, mut refused) = (0, 0);
    while let Some(answer) = renewals.join_next().await {
        match answer.unwrap() {
            Ok(_) => renewed += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::TokenRevoked(Demand::Refresh));
                refused += 1;
            }
        }
    }
    assert_eq!((renewed, refused), (1, 7));
}

async fn a_renewal_beside_a_revocation_is_covered_or_refused<H: Harness>() {
    let harness = H::new().await;
    for round in 0..20 {
        let (sid, token) = harness.login("alice", &["staff"]).await;
        let ticket = harness.store().ticket().await.unwrap();
        let scope = match round % 4 {
            0 => user("alice"),
            1 => Scope::group("staff").unwrap(),
            2 => Scope::Session(sid.clone()),
            _ => Scope::Everyone,
        };
        let demand = if round % 8 < 4 { Demand::Refresh } else { Demand::Login };
        let together = Arc::new(Barrier::new(5));
        let mut renewals = JoinSet::new();
        for number in 0..4 {
            let mint = Mint {
                ticket,
                session: MintFor::Renew(presented(&token, &["staff"])),
                sid: sid.clone(),
                user: id("alice"),
                groups: vec![id("staff")],
                device: Device::new(),
                lifetimes: Lifetimes::default(),
            };
            let (store, together) = (harness.store().clone(), together.clone());
            renewals.spawn(async move {
                together.wait().await;
                for _ in 0..number {
                    tokio::task::yield_now().await;
                }
                store.mint(&mint).await
            });
        }
        together.wait().await;
        let cut_off = revoke(&harness, scope, demand).await;
        while let Some(answer) = renewals.join_next().await {
            match answer.unwrap() {
                Ok(renewed) => assert!(revoked(renewed.stamp, cut_off), "laundered"),
                Err(error) => {
                    let ended = demand == Demand::Login;
                    let expected = if ended { ENDED } else { token_revoked(demand) };
                    assert_eq!(Some(error.kind()), expected);
                }
            }
        }
        // After it has returned there is none any more.
        assert!(renew(&harness, &sid, presented(&token, &["staff"]), &["staff"]).await.is_err());
    }
}

// ---- without a session ----

async fn a_token_without_a_session_leaves_nothing_behind<H: Harness>() {
    let harness = H::new().await;
    let latest = revoke(&harness, user("bob"), Demand::Login).await;
    let ticket = harness.store().ticket().await.unwrap();
    let sid = Id::random();
    let minted = harness.mint(ticket, MintFor::Token, &sid, "alice", &["staff"]).await.unwrap();
    assert_eq!(minted.stamp, Stamp::after(latest));
    assert_eq!((minted.issued_at, minted.session_began), (START, START));
    let filter = SessionFilter::RefreshedWithin(Duration::MAX);
    assert!(harness.store().sessions(&filter, Lifetimes::default()).await.unwrap().is_empty());
    assert_eq!(newest(&harness).await, latest);
    // It can be revoked as if there were one.
    let cut_off = revoke(&harness, Scope::Session(sid.clone()), Demand::Login).await;
    assert!(revoked(minted.stamp, cut_off));
    assert_eq!(kind(harness.reissue(&sid, "alice", &[]).await), ENDED);
    assert_eq!(kind(renew(&harness, &sid, presented(&minted, &[]), &[]).await), ENDED);
}

async fn a_token_without_a_session_is_held_against_its_ticket<H: Harness>() {
    let harness = H::new().await;
    let apart = async |ticket, sid: &Id| {
        kind(harness.mint(ticket, MintFor::Token, sid, "alice", &["staff"]).await)
    };
    for demand in [Demand::Refresh, Demand::Login] {
        let sid = Id::random();
        for scope in [
            Scope::Everyone,
            user("alice"),
            Scope::group("staff").unwrap(),
            Scope::Session(sid.clone()),
        ] {
            let ticket = harness.store().ticket().await.unwrap();
            assert_eq!(apart(ticket, &sid).await, None);
            revoke(&harness, scope.clone(), demand).await;
            let late = apart(ticket, &sid).await;
            assert_eq!(late, Some(ErrorKind::RevokedMeanwhile(demand)), "{scope:?}");
        }
        let ticket = harness.store().ticket().await.unwrap();
        revoke(&harness, user("bob"), demand).await;
        assert_eq!(apart(ticket, &sid).await, None);
    }
    let ahead = Ticket::new(newest(&harness).await.next().unwrap());
    let late = apart(ahead, &Id::random()).await;
    assert_eq!(late, Some(ErrorKind::RevokedMeanwhile(Demand::Refresh)));
}

async fn a_request_is_sealed_by_a_token_without_a_session<H: Harness>() {
    let harness = H::new().await;
    let ticket = harness.store().ticket().await.unwrap();
    let _forgotten = harness.request(Revocation::new(user("alice"), Demand::Login), true).await;
    let late = harness.mint(ticket, MintFor::Token, &Id::random(), "alice", &[]).await;
    assert_eq!(kind(late), Some(ErrorKind::RevokedMeanwhile(Demand::Login)));
    assert_ne!(cut_off(&harness, &user("alice")).await, CutOff::NONE);
    let ticket = harness.store().ticket().await.unwrap();
    let after = harness.mint(ticket, MintFor::Token, &Id::random(), "alice", &[]).await.unwrap();
    assert_eq!(after.stamp, Stamp::after(newest(&harness).await));
}
