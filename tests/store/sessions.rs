//! What every store promises about sessions and their refresh tokens.

use std::{future::Future, pin::pin, task::Poll, time::Duration};

use tower_revocation::{
    Demand,
    cutoff::{CutOff, StoreTime, revoked},
    error::ErrorKind,
    lifetimes::Lifetimes,
    scope::{Id, Scope},
    store::{Device, EpochStore, Mint, MintFor, Revocation, SessionFilter, Ticket},
};

use crate::harness::{GRACE, Harness, START, cut_off, kind, newest, user};

contract! {
    a_refresh_token_is_spent_and_gets_the_same_successor_again,
    within_the_grace_time_a_used_successor_is_handed_out_again,
    a_reused_refresh_token_ends_its_session_once_and_no_other,
    a_counter_that_was_never_handed_out_is_refused_and_harms_nobody,
    an_idle_session_ends_and_its_tokens_are_no_theft,
    others_but_me_makes_refresh_tokens_from_before_void,
    a_ticket_from_ahead_of_the_store_reads_again,
    sessions_are_listed_while_they_are_alive,
    a_session_tells_of_its_device,
    idle_sessions_are_purged_and_living_ones_stay,
    a_refresh_whose_client_went_away_completes,
    a_clock_that_was_behind_for_a_moment_ends_no_session,
    a_clock_that_was_ahead_for_a_moment_hides_no_later_theft,
    who_is_online_for_ever_is_everybody,
    of_two_that_log_all_others_out_at_once_the_first_stays,
    refreshes_and_reissues_at_once_lose_no_count,
}

async fn a_refresh_token_is_spent_and_gets_the_same_successor_again<H: Harness>() {
    let harness = H::new().await;
    let (sid, login) = harness.login("alice", &[]).await;
    assert_eq!(login.counter, 0);
    let first = harness.refresh(&sid, 0).await.unwrap();
    assert_eq!((first.counter, first.counted_at), (1, START));
    // Its successor is unused: however late, it is the same.
    harness.clock().advance(Duration::from_secs(3_600));
    let again = harness.refresh(&sid, 0).await.unwrap();
    assert_eq!((again.counter, again.counted_at), (1, START));
    assert_eq!(again.issued_at, START + Duration::from_secs(3_600));
    let second = harness.refresh(&sid, 1).await.unwrap();
    assert_eq!((second.counter, second.counted_at), (2, START + Duration::from_secs(3_600)));
    // The first is older than the grace time now, and its successor is used.
    let stolen = kind(harness.refresh(&sid, 0).await);
    assert!(matches!(stolen, Some(ErrorKind::RefreshTokenReused(_))), "{stolen:?}");
}

async fn within_the_grace_time_a_used_successor_is_handed_out_again<H: Harness>() {
    let harness = H::new().await;
    let (sid, _) = harness.login("alice", &[]).await;
    for counter in 0..5 {
        harness.refresh(&sid, counter).await.unwrap();
        harness.clock().advance(Duration::from_secs(1));
    }
    // Spent 5, 4, 3, 2 and 1 seconds ago.
    for counter in 0..5 {
        let again = harness.refresh(&sid, counter).await.unwrap();
        assert_eq!(again.counter, counter + 1);
        assert_eq!(again.counted_at, START + Duration::from_secs(counter));
    }
    // Using it has not extended it: the first was spent 10 seconds ago, the second 9.
    harness.clock().advance(Duration::from_secs(5));
    assert_eq!(harness.refresh(&sid, 1).await.unwrap().counter, 2);
    let stolen = kind(harness.refresh(&sid, 0).await);
    assert!(matches!(stolen, Some(ErrorKind::RefreshTokenReused(_))), "{stolen:?}");
}

async fn a_reused_refresh_token_ends_its_session_once_and_no_other<H: Harness>() {
    let harness = H::new().await;
    let (sid, first) = harness.login("alice", &[]).await;
    let (other, _) = harness.login("alice", &[]).await;
    harness.refresh(&sid, 0).await.unwrap();
    harness.refresh(&sid, 1).await.unwrap();
    harness.clock().advance(GRACE);
    let Some(ErrorKind::RefreshTokenReused(receipt)) = kind(harness.refresh(&sid, 0).await) else {
        panic!("no theft");
    };
    let ended = cut_off(&harness, &Scope::Session(sid.clone())).await;
    assert_eq!(ended, CutOff::at(receipt.revoked_before(), Demand::Login));
    assert!(revoked(first.stamp, ended.login_before));
    for counter in [0, 1, 2] {
        assert_eq!(kind(harness.refresh(&sid, counter).await), Some(ErrorKind::SessionEnded));
    }
    assert_eq!(newest(&harness).await, receipt.revoked_before());
    assert_eq!(harness.refresh(&other, 0).await.unwrap().counter, 1);
}

async fn a_counter_that_was_never_handed_out_is_refused_and_harms_nobody<H: Harness>() {
    let harness = H::new().await;
    let (sid, _) = harness.login("alice", &[]).await;
    let invalid = Some(ErrorKind::RefreshTokenInvalid);
    for counter in [1, 2, u64::MAX, u64::MAX - 1, i64::MAX as u64, i64::MAX as u64 - 1] {
        assert_eq!(kind(harness.refresh(&sid, counter).await), invalid, "{counter}");
    }
    assert_eq!(harness.refresh(&sid, 0).await.unwrap().counter, 1);
}

async fn an_idle_session_ends_and_its_tokens_are_no_theft<H: Harness>() {
    let harness = H::new().await;
    let idle = Lifetimes::default().idle();
    let (sid, _) = harness.login("alice", &[]).await;
    harness.clock().advance(idle - Duration::from_micros(1));
    harness.refresh(&sid, 0).await.unwrap();
    harness.clock().advance(idle - Duration::from_micros(1));
    harness.refresh(&sid, 1).await.unwrap();
    // Asking again does not move the deadline.
    harness.clock().advance(idle - Duration::from_micros(1));
    assert_eq!(harness.refresh(&sid, 1).await.unwrap().counter, 2);
    harness.clock().advance(Duration::from_micros(1));
    for counter in [0, 1, 2, 3] {
        assert_eq!(kind(harness.refresh(&sid, counter).await), Some(ErrorKind::SessionEnded));
    }
    assert_eq!(kind(harness.reissue(&sid, "alice", &[]).await), Some(ErrorKind::SessionEnded));
    assert_eq!(newest(&harness).await, StoreTime::ZERO);
}

async fn others_but_me_makes_refresh_tokens_from_before_void<H: Harness>() {
    let harness = H::new().await;
    let (me, _) = harness.login("alice", &[]).await;
    let (other, _) = harness.login("alice", &[]).await;
    harness.refresh(&me, 0).await.unwrap();
    let revocation = Revocation::new(user("alice"), Demand::Login).sparing(me.clone());
    harness.store().revoke(revocation).await.unwrap();
    let invalid = Some(ErrorKind::RefreshTokenInvalid);
    for counter in [0, 1] {
        assert_eq!(kind(harness.refresh(&me, counter).await), invalid);
    }
    assert_eq!(kind(harness.refresh(&other, 0).await), Some(ErrorKind::SessionEnded));
    // Twice the same: two answers to one click are both good.
    for _ in 0..2 {
        assert_eq!(harness.reissue(&me, "alice", &[]).await.unwrap().counter, 2);
    }
    assert_eq!(harness.refresh(&me, 2).await.unwrap().counter, 3);
    harness.clock().advance(GRACE);
    assert_eq!(kind(harness.refresh(&me, 1).await), invalid);
    assert_eq!(harness.refresh(&me, 3).await.unwrap().counter, 4);
}

async fn a_ticket_from_ahead_of_the_store_reads_again<H: Harness>() {
    let harness = H::new().await;
    let (sid, _) = harness.login("alice", &[]).await;
    let ahead = Ticket::new(newest(&harness).await.next().unwrap());
    let refresh = MintFor::Refresh { counter: 0, grace: GRACE };
    for (session, sid) in
        [(refresh, &sid), (MintFor::Reissue, &sid), (MintFor::Login, &Id::random())]
    {
        let early = harness.mint(ahead, session, sid, "alice", &[]).await;
        assert_eq!(kind(early), Some(ErrorKind::RevokedMeanwhile(Demand::Refresh)));
    }
}

async fn sessions_are_listed_while_they_are_alive<H: Harness>() {
    let harness = H::new().await;
    let lifetimes = Lifetimes::default();
    let listed = async |filter: SessionFilter| {
        let sessions = harness.store().sessions(&filter, lifetimes).await.unwrap();
        sessions.into_iter().map(|session| session.id).collect::<Vec<_>>()
    };
    let of_alice = || SessionFilter::User(Id::new("alice").unwrap());
    let mut sids = Vec::new();
    for (user, groups) in [("alice", &["staff"][..]), ("alice", &[]), ("bob", &["staff"])] {
        sids.push(harness.login(user, groups).await.0);
        harness.clock().advance(Duration::from_secs(60));
    }
    assert_eq!(listed(of_alice()).await, [sids[1].clone(), sids[0].clone()]);
    harness.refresh(&sids[0], 0).await.unwrap();
    assert_eq!(listed(of_alice()).await, [sids[0].clone(), sids[1].clone()]);
    let online = |seconds| SessionFilter::RefreshedWithin(Duration::from_secs(seconds));
    assert_eq!(listed(online(60)).await, [sids[0].clone()]);
    assert_eq!(listed(online(61)).await, [sids[0].clone(), sids[2].clone()]);
    assert_eq!(listed(online(9_999)).await.len(), 3);
    assert_eq!(listed(SessionFilter::Id(sids[2].clone())).await, [sids[2].clone()]);
    assert!(listed(SessionFilter::Id(Id::random())).await.is_empty());
    // A refresh has taken the first one out of the group.
    let staff = Scope::group("staff").unwrap();
    harness.store().revoke(Revocation::new(staff, Demand::Login)).await.unwrap();
    assert_eq!(listed(online(9_999)).await, [sids[0].clone(), sids[1].clone()]);
    harness.store().revoke(Revocation::new(user("alice"), Demand::Refresh)).await.unwrap();
    assert_eq!(listed(of_alice()).await.len(), 2);
    let session = Scope::Session(sids[1].clone());
    harness.request(Revocation::new(session, Demand::Login), true).await.sealed().await.unwrap();
    assert_eq!(listed(of_alice()).await, [sids[0].clone()]);
    harness.clock().advance(lifetimes.idle());
    assert!(listed(of_alice()).await.is_empty());
}

async fn a_session_tells_of_its_device<H: Harness>() {
    let harness = H::new().await;
    let (sid, ticket) = (Id::random(), harness.store().ticket().await.unwrap());
    let user_agent = "Mozilla/5.0 (\"quoted\"; 'x')";
    let mut mint = Mint {
        ticket,
        session: MintFor::Login,
        sid: sid.clone(),
        user: Id::new("alice").unwrap(),
        groups: Vec::new(),
        device: Device::new()
            .with_label("Zoë's phone")
            .with_ip("2001:db8::1".parse().unwrap())
            .with_user_agent(user_agent),
        lifetimes: Lifetimes::default(),
    };
    harness.store().mint(&mint).await.unwrap();
    let told = async || {
        let filter = SessionFilter::Id(sid.clone());
        harness.store().sessions(&filter, mint.lifetimes).await.unwrap().remove(0)
    };
    let first = told().await;
    assert_eq!((first.created_at, first.last_refresh_at), (START, START));
    assert_eq!(first.device, mint.device);
    harness.clock().advance(Duration::from_secs(60));
    // On the way to the next counter, and on the way of everything else.
    let refresh = MintFor::Refresh { counter: 0, grace: GRACE };
    for (session, ip) in [(refresh, "192.0.2.7"), (MintFor::Reissue, "::ffff:192.0.2.8")] {
        mint.session = session;
        mint.device = Device::new().with_ip(ip.parse().unwrap());
        harness.store().mint(&mint).await.unwrap();
    }
    let later = told().await;
    assert_eq!((later.created_at, later.last_refresh_at), (START, START + Duration::from_secs(60)));
    assert_eq!(later.device.label(), Some("Zoë's phone"));
    assert_eq!(later.device.user_agent(), Some(user_agent));
    assert_eq!(later.device.ip(), Some("192.0.2.8".parse().unwrap()));
}

async fn idle_sessions_are_purged_and_living_ones_stay<H: Harness>() {
    let harness = H::new().await;
    let lifetimes = Lifetimes::default();
    let (idle, _) = harness.login("alice", &[]).await;
    harness.clock().advance(lifetimes.idle() - Duration::from_secs(1));
    let (alive, _) = harness.login("alice", &[]).await;
    harness.clock().advance(Duration::from_secs(1));
    harness.store().purge(lifetimes).await.unwrap();
    // With a longer limit it would be alive, were it still there.
    let longer = lifetimes.with_idle(lifetimes.session()).unwrap();
    let filter = SessionFilter::User(Id::new("alice").unwrap());
    let left = harness.store().sessions(&filter, longer).await.unwrap();
    assert_eq!(left.iter().map(|session| &session.id).collect::<Vec<_>>(), [&alive]);
    assert_eq!(kind(harness.refresh(&idle, 0).await), Some(ErrorKind::SessionEnded));
}

async fn a_refresh_whose_client_went_away_completes<H: Harness>() {
    let harness = H::new().await;
    let (sid, _) = harness.login("alice", &[]).await;
    {
        let mut refresh = pin!(harness.refresh(&sid, 0));
        // Polled until it waits for the store, and dropped.
        let polled = std::future::poll_fn(|context| Poll::Ready(refresh.as_mut().poll(context)));
        let _ = polled.await;
    }
    assert_eq!(harness.refresh(&sid, 0).await.unwrap().counter, 1);
    assert_eq!(harness.refresh(&sid, 1).await.unwrap().counter, 2);
}

async fn a_clock_that_was_behind_for_a_moment_ends_no_session<H: Harness>() {
    let harness = H::new().await;
    let (sid, _) = harness.login("alice", &[]).await;
    harness.clock().set_wall(START - Lifetimes::default().idle() * 2);
    harness.refresh(&sid, 0).await.unwrap();
    harness.reissue(&sid, "alice", &[]).await.unwrap();
    harness.clock().set_wall(START + Duration::from_secs(60));
    assert_eq!(harness.refresh(&sid, 1).await.unwrap().counter, 2);
}

async fn a_clock_that_was_ahead_for_a_moment_hides_no_later_theft<H: Harness>() {
    let harness = H::new().await;
    let (sid, _) = harness.login("alice", &[]).await;
    harness.clock().set_wall(START + Duration::from_secs(3_600));
    harness.refresh(&sid, 0).await.unwrap();
    harness.clock().set_wall(START);
    harness.refresh(&sid, 1).await.unwrap();
    harness.clock().set_wall(START + Duration::from_secs(900));
    harness.refresh(&sid, 2).await.unwrap();
    // The moment of the first must not be taken for that of the second, which is long over.
    harness.clock().set_wall(START + Duration::from_secs(1_800));
    let stolen = kind(harness.refresh(&sid, 1).await);
    assert!(matches!(stolen, Some(ErrorKind::RefreshTokenReused(_))), "{stolen:?}");
}

async fn who_is_online_for_ever_is_everybody<H: Harness>() {
    let harness = H::new().await;
    harness.login("alice", &[]).await;
    let filter = SessionFilter::RefreshedWithin(Duration::MAX);
    let online = harness.store().sessions(&filter, Lifetimes::default()).await.unwrap();
    assert_eq!(online.len(), 1);
}

async fn of_two_that_log_all_others_out_at_once_the_first_stays<H: Harness>() {
    let harness = H::new().await;
    let (first, _) = harness.login("alice", &[]).await;
    let (second, _) = harness.login("alice", &[]).await;
    let others = |me: &Id| Revocation::new(user("alice"), Demand::Login).asked_by(me.clone());
    let bystander = Revocation::new(user("bob"), Demand::Login);
    harness.store().revoke(others(&first)).await.unwrap();
    let before = newest(&harness).await;
    // Neither is anything else that was asked for with it.
    let both = [bystander, others(&second)];
    let refused = kind(harness.store().revoke_many(&both).await);
    assert_eq!(refused, Some(ErrorKind::SessionEnded));
    assert_eq!(newest(&harness).await, before);
    assert!(harness.reissue(&first, "alice", &[]).await.is_ok());
    assert_eq!(kind(harness.reissue(&second, "alice", &[]).await), Some(ErrorKind::SessionEnded));
}

async fn refreshes_and_reissues_at_once_lose_no_count<H: Harness>() {
    let harness = H::new().await;
    let (sid, _) = harness.login("alice", &[]).await;
    for counter in 0..40 {
        let (refreshed, one, other) = tokio::join!(
            harness.refresh(&sid, counter),
            harness.reissue(&sid, "alice", &[]),
            harness.reissue(&sid, "alice", &[]),
        );
        assert_eq!(refreshed.unwrap().counter, counter + 1);
        one.unwrap();
        other.unwrap();
        // Were the refresh written over, the successor would be from ahead of the store.
        let now = harness.reissue(&sid, "alice", &[]).await.unwrap();
        assert_eq!(now.counter, counter + 1);
    }
}
