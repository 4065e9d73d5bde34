//! A layer over a copy in buckets: who is in doubt is asked about, and nobody else.

use std::time::Duration;

use tower_revocation::{
    cutoff::{CutOff, Demand, StoreTime},
    epochs::Synced,
    layer::{Answer, RevocationLayer},
    scope::Scope,
};

use crate::{
    asking::{
        Asked, OK, Stale, UNAUTHORIZED, UNAVAILABLE, ask, protected, seconds_ago, settle, told,
    },
    gate::{Gate, NOW, good_token, token_of},
};

/// In store time.
fn micros(seconds_ago: u64) -> StoreTime {
    StoreTime::from_micros((NOW - seconds_ago) * 1_000_000)
}

/// Somebody else is revoked, so many seconds ago: with one bucket, that is a doubt about all tokens
/// from before.
fn revoke_bob(gate: &Gate, seconds_ago: u64) {
    let bob = Scope::user("bob").unwrap();
    gate.epochs.raise(&bob, CutOff::at(micros(seconds_ago), Demand::Login));
}

/// The store's answer: nothing covers the token, as of so many seconds ago.
fn confirm(asked: Asked, seconds_ago: u64) {
    let (clock, newest) = (Duration::from_secs(NOW), micros(seconds_ago));
    asked.answers(Answer { cut_off: CutOff::NONE, clock, newest });
}

#[tokio::test]
async fn a_token_from_after_all_revocations_of_its_bucket_is_trusted() {
    let mut doubt = Stale::in_doubt(1);
    revoke_bob(&doubt.gate, 11);
    assert_eq!(doubt.ask(&good_token()).told().await, told(OK, "alice"));
    doubt.no_question().await;
}

#[tokio::test]
async fn a_token_of_a_bucket_that_nobody_was_revoked_in_is_trusted() {
    let mut doubt = Stale::in_doubt(65_536);
    revoke_bob(&doubt.gate, 0);
    assert_eq!(doubt.ask(&good_token()).told().await, told(OK, "alice"));
    doubt.no_question().await;
}

#[tokio::test]
async fn the_store_is_asked_about_a_token_in_doubt() {
    let mut doubt = Stale::in_doubt(1);
    revoke_bob(&doubt.gate, 5);
    let client = doubt.ask(&good_token());
    let question = doubt.question().await;
    let scopes = [Scope::user("alice"), Scope::session("s1"), Scope::token("t1")];
    assert_eq!(question.scopes, scopes.map(Result::unwrap));
    confirm(question, 5);
    assert_eq!(client.told().await, told(OK, "alice"));
}

#[tokio::test]
async fn whom_the_store_has_revoked_is_refused_and_asked_about_each_time() {
    let mut doubt = Stale::in_doubt(1);
    revoke_bob(&doubt.gate, 5);
    for demand in [Demand::Refresh, Demand::Login] {
        let client = doubt.ask(&good_token());
        doubt.question().await.cut_off(seconds_ago(10, demand));
        let response = client.0.await.unwrap().unwrap();
        assert_eq!(response.status(), UNAUTHORIZED);
        let problem = crate::problem(response).await;
        assert_eq!(problem["type"], "urn:tower-revocation:problem:revoked");
        assert_eq!(problem["demand"], demand.as_str());
    }
}

#[tokio::test]
async fn a_confirmed_token_is_asked_about_again_after_the_next_revocation_of_its_bucket_alone() {
    let mut doubt = Stale::in_doubt(1);
    for seconds_ago in [5, 4, 3] {
        revoke_bob(&doubt.gate, seconds_ago);
        let client = doubt.ask(&good_token());
        confirm(doubt.question().await, seconds_ago);
        assert_eq!(client.told().await, told(OK, "alice"));
        for _ in 0..10 {
            assert_eq!(doubt.ask(&good_token()).told().await, told(OK, "alice"));
        }
        doubt.no_question().await;
    }
    // Another token of hers is another token.
    let client = doubt.ask(&token_of("alice", 9));
    confirm(doubt.question().await, 3);
    assert_eq!(client.told().await, told(OK, "alice"));
}

#[tokio::test]
async fn an_answer_from_before_a_revocation_does_not_outlast_it() {
    let mut doubt = Stale::in_doubt(1);
    revoke_bob(&doubt.gate, 5);
    let client = doubt.ask(&good_token());
    let question = doubt.question().await;
    // It arrives here while the answer is on its way, and is not in that.
    revoke_bob(&doubt.gate, 4);
    confirm(question, 5);
    // The request began before that revocation was known.
    assert_eq!(client.told().await, told(OK, "alice"));
    let client = doubt.ask(&good_token());
    doubt.question().await.cut_off(seconds_ago(4, Demand::Login));
    assert_eq!(client.told().await, told(UNAUTHORIZED, "revoked"));
}

#[tokio::test]
async fn many_requests_with_one_token_in_doubt_are_one_question() {
    let mut doubt = Stale::in_doubt(1);
    revoke_bob(&doubt.gate, 5);
    let clients: Vec<_> = (0..64).map(|_| doubt.ask(&good_token())).collect();
    settle().await;
    let question = doubt.question().await;
    doubt.no_question().await;
    confirm(question, 5);
    for client in clients {
        assert_eq!(client.told().await, told(OK, "alice"));
    }
    doubt.no_question().await;
}

#[tokio::test]
async fn everyone_is_refused_without_a_question() {
    let mut doubt = Stale::in_doubt(1);
    doubt.gate.epochs.raise(&Scope::Everyone, seconds_ago(5, Demand::Login));
    assert_eq!(doubt.ask(&good_token()).told().await, told(UNAUTHORIZED, "revoked"));
    assert_eq!(doubt.ask(&token_of("alice", 4)).told().await, told(OK, "alice"));
    doubt.no_question().await;
}

#[tokio::test]
async fn an_expired_token_is_refused_without_a_question() {
    let mut doubt = Stale::in_doubt(1);
    revoke_bob(&doubt.gate, 5);
    doubt.gate.clock.advance(Duration::from_secs(400));
    doubt.gate.sync();
    assert_eq!(doubt.ask(&good_token()).told().await, told(UNAUTHORIZED, "expired"));
    doubt.no_question().await;
}

// ---- no answer ----

#[tokio::test]
async fn a_doubt_that_nobody_clears_up_is_a_503() {
    let mut doubt = Stale::in_doubt(1);
    revoke_bob(&doubt.gate, 5);
    let client = doubt.ask(&good_token());
    drop(doubt.question().await);
    assert_eq!(client.told().await, told(UNAVAILABLE, "unconfirmed"));
    // A store that knows of less than the copy was restored from a backup.
    let client = doubt.ask(&good_token());
    confirm(doubt.question().await, 6);
    assert_eq!(client.told().await, told(UNAVAILABLE, "unconfirmed"));
    // Neither was remembered as good.
    let client = doubt.ask(&good_token());
    confirm(doubt.question().await, 5);
    assert_eq!(client.told().await, told(OK, "alice"));
}

#[tokio::test]
async fn without_a_store_to_ask_a_doubt_is_a_503_with_a_name_of_its_own() {
    let doubt = Stale::in_doubt(1);
    revoke_bob(&doubt.gate, 5);
    let layer = RevocationLayer::new(doubt.gate.verifier.clone());
    let response = ask(&protected(layer), &good_token()).0.await.unwrap().unwrap();
    assert_eq!(response.status(), UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "1");
    let problem = crate::problem(response).await;
    assert_eq!(problem["type"], "urn:tower-revocation:problem:doubtful");
    assert_eq!(problem.get("demand"), None);

    let verified =
        doubt.gate.verifier.verify::<tower_revocation::NoClaims>(good_token().as_bytes());
    let rejection = verified.unwrap_err();
    assert!(rejection.is_unavailable(), "{rejection:?}");
    assert_eq!((rejection.reason(), rejection.demand()), ("doubtful", None));
}

// ---- while stale ----

#[tokio::test]
async fn a_stale_copy_in_buckets_does_what_its_layer_was_told_for_stale_ones() {
    let mut doubt = Stale::in_doubt(1);
    revoke_bob(&doubt.gate, 5);
    doubt.gate.clock.advance(Duration::from_secs(11));
    assert_eq!(doubt.ask(&good_token()).told().await, told(UNAVAILABLE, "stale"));
    // Trusted is what the copy knows to be good, not what it is in doubt about.
    doubt.layer = doubt.layer.dangerous_trust_while_stale(Duration::from_secs(60)).unwrap();
    assert_eq!(doubt.ask(&good_token()).told().await, told(UNAVAILABLE, "stale"));
    assert_eq!(doubt.ask(&token_of("alice", 4)).told().await, told(OK, "alice"));
    doubt.no_question().await;
    let confirmations = doubt.confirmations();
    doubt.layer = doubt.layer.confirm_while_stale(confirmations);
    let client = doubt.ask(&token_of("alice", 4));
    confirm(doubt.question().await, 5);
    assert_eq!(client.told().await, told(OK, "alice"));
}

#[tokio::test]
async fn what_was_confirmed_while_stale_need_not_be_asked_about_when_fresh_again() {
    let mut doubt = Stale::in_doubt(1);
    revoke_bob(&doubt.gate, 5);
    doubt.gate.clock.advance(Duration::from_secs(11));
    let confirmations = doubt.confirmations();
    doubt.layer = doubt.layer.confirm_while_stale(confirmations);
    let client = doubt.ask(&good_token());
    confirm(doubt.question().await, 5);
    assert_eq!(client.told().await, told(OK, "alice"));
    let now = doubt.gate.epochs.clock().now();
    let (store_clock, head) = (now.wall, micros(5));
    doubt.gate.epochs.synced(Synced { asked_at: now, answered_at: now, store_clock, head });
    assert_eq!(doubt.ask(&good_token()).told().await, told(OK, "alice"));
    doubt.no_question().await;
}
