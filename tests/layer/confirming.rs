//! Asking the store about each token while the copy is stale.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Empty};
use tokio::sync::mpsc;
use tower::ServiceExt;
use tower_revocation::{
    cutoff::{CutOff, Demand, StoreTime},
    error::Error,
    layer::{Answer, Confirm, Confirmations, RevocationLayer},
    scope::Scope,
};

use crate::{
    asking::{
        OK, Stale, Store, UNAUTHORIZED, UNAVAILABLE, ask, protected, seconds_ago, settle, told,
    },
    gate::{Gate, NOW, good_token},
    revoke, with_token,
};

// ---- what an answer does ----

#[tokio::test]
async fn a_fresh_copy_asks_nothing() {
    let mut stale = Stale::new();
    stale.gate.sync();
    assert_eq!(stale.ask(&good_token()).told().await, told(OK, "alice"));
    stale.no_question().await;
}

#[tokio::test]
async fn the_store_is_asked_about_every_scope_of_the_token() {
    let mut stale = Stale::new();
    let client = stale.ask(&good_token());
    let question = stale.question().await;
    let scopes = [Scope::user("alice"), Scope::session("s1"), Scope::token("t1")];
    assert_eq!(question.scopes, scopes.map(Result::unwrap));
    question.nothing_against_it();
    assert_eq!(client.told().await, told(OK, "alice"));
}

#[tokio::test]
async fn what_the_store_has_revoked_is_refused_as_ever() {
    for demand in [Demand::Refresh, Demand::Login] {
        let mut stale = Stale::new();
        let client = stale.ask(&good_token());
        stale.question().await.cut_off(seconds_ago(10, demand));
        let response = client.0.await.unwrap().unwrap();
        assert_eq!(response.status(), UNAUTHORIZED);
        let problem = crate::problem(response).await;
        assert_eq!(problem["type"], "urn:tower-revocation:problem:revoked");
        assert_eq!(problem["demand"], demand.as_str());
    }
}

#[tokio::test]
async fn a_cut_off_from_before_the_token_refuses_nobody() {
    let mut stale = Stale::new();
    let client = stale.ask(&good_token());
    stale.question().await.cut_off(seconds_ago(11, Demand::Login));
    assert_eq!(client.status().await, OK);
}

#[tokio::test]
async fn the_stores_clock_decides_about_the_times() {
    for (clock, expected) in [
        // `exp` lies at `NOW + 300`, `iat` at `NOW - 10`; the leeway is 5 seconds.
        (NOW + 304, told(OK, "alice")),
        (NOW + 305, told(UNAUTHORIZED, "expired")),
        (NOW - 15, told(OK, "alice")),
        (NOW - 16, told(UNAUTHORIZED, "issued-in-future")),
    ] {
        let mut stale = Stale::new();
        // Whatever this machine's clock says.
        stale.gate.clock.advance(Duration::from_secs(9_999));
        let client = stale.ask(&good_token());
        let clock = Duration::from_secs(clock);
        let newest = StoreTime::MAX;
        stale.question().await.answers(Answer { cut_off: CutOff::NONE, clock, newest });
        assert_eq!(client.told().await, expected, "{clock:?}");
    }
}

#[tokio::test]
async fn what_the_copy_holds_against_a_token_is_not_accepted_and_not_401() {
    // The store was restored from a backup, or the cut-off was cleared: nobody knows yet.
    let mut stale = Stale::new();
    revoke(&stale.gate, Demand::Login);
    let client = stale.ask(&good_token());
    stale.question().await.nothing_against_it();
    assert_eq!(client.told().await, told(UNAVAILABLE, "unconfirmed"));
}

#[tokio::test]
async fn a_store_that_knows_of_less_than_the_copy_confirms_nothing() {
    let mut stale = Stale::new();
    let bob = Scope::user("bob").unwrap();
    stale.gate.epochs.raise(&bob, CutOff::at(StoreTime::from_micros(1_000), Demand::Login));
    let clock = Duration::from_secs(NOW);
    let everything = CutOff::at(StoreTime::MAX, Demand::Login);
    for (newest, cut_off, expected) in [
        (1_000, CutOff::NONE, told(OK, "alice")),
        (999, CutOff::NONE, told(UNAVAILABLE, "unconfirmed")),
        (999, everything, told(UNAVAILABLE, "unconfirmed")),
    ] {
        let client = stale.ask(&good_token());
        let newest = StoreTime::from_micros(newest);
        stale.question().await.answers(Answer { cut_off, clock, newest });
        assert_eq!(client.told().await, expected, "{newest}");
    }
}

// ---- no answer ----

#[tokio::test]
async fn a_store_that_fails_is_a_503_and_asked_again_by_the_next_request() {
    let mut stale = Stale::new();
    let client = stale.ask(&good_token());
    drop(stale.question().await);
    assert_eq!(client.told().await, told(UNAVAILABLE, "unconfirmed"));
    let client = stale.ask(&good_token());
    stale.question().await.nothing_against_it();
    assert_eq!(client.status().await, OK);
}

#[tokio::test]
async fn a_refusal_after_the_wait_is_told_as_any_other() {
    let mut stale = Stale::new();
    let grpc = with_token().header(CONTENT_TYPE, "application/grpc");
    let response = protected(stale.layer.clone()).oneshot(grpc.body(Empty::new()).unwrap());
    let response = tokio::spawn(response);
    drop(stale.question().await);
    let response = response.await.unwrap().unwrap();
    assert_eq!(response.headers()["grpc-status"], "14");
    assert_eq!(response.headers()["revocation-reason"], "unconfirmed");

    stale.layer = stale.layer.on_rejection(|refusal| {
        let mut response = refusal.to_response();
        *response.body_mut() = refusal.rejection().reason().into();
        response
    });
    let response = protected(stale.layer.clone()).oneshot(with_token().body(Empty::new()).unwrap());
    let response = tokio::spawn(response);
    stale.question().await.cut_off(seconds_ago(10, Demand::Login));
    let response = response.await.unwrap().unwrap();
    assert_eq!(response.status(), UNAUTHORIZED);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "revoked");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_late_is_a_503_for_who_waits_for_it_and_for_its_end() {
    let mut stale = Stale::with(|settings| settings.time_limit(Duration::from_secs(3)));
    let began = tokio::time::Instant::now();
    let first = stale.ask(&good_token());
    let question = stale.question().await;
    tokio::time::sleep(Duration::from_millis(2_900)).await;
    let second = stale.ask(&good_token());
    settle().await;
    assert!(first.is_waiting() && second.is_waiting());
    for client in [first, second] {
        assert_eq!(client.told().await, told(UNAVAILABLE, "unconfirmed"));
        assert!(began.elapsed() < Duration::from_millis(3_010), "{:?}", began.elapsed());
    }
    // Too late.
    question.nothing_against_it();
    stale.no_question().await;
}

#[tokio::test]
async fn a_panic_in_the_store_is_a_503_and_survived() {
    #[derive(Clone)]
    struct Panics;
    impl Confirm for Panics {
        async fn confirm(&self, _: &[Scope]) -> Result<Answer, Error> {
            panic!("planted")
        }
    }
    let gate = Gate::open();
    gate.clock.advance(Duration::from_secs(11));
    let layer = RevocationLayer::new(gate.verifier)
        .confirm_while_stale(Confirmations::builder(Panics).at_most(1).build().unwrap());
    for _ in 0..3 {
        let client = ask(&protected(layer.clone()), &good_token());
        assert_eq!(client.told().await, told(UNAVAILABLE, "unconfirmed"));
    }
}

#[test]
fn without_a_runtime_nothing_is_confirmed() {
    let stale = Stale::new();
    let request = with_token().body(Empty::<Bytes>::new()).unwrap();
    let mut response = pin!(protected(stale.layer).oneshot(request));
    let Poll::Ready(response) = response.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    else {
        panic!("it waits for nobody")
    };
    assert_eq!(response.unwrap().status(), UNAVAILABLE);
}

// ---- who is asked about, and who is not ----

#[tokio::test]
async fn nobody_is_asked_about_before_the_first_load() {
    let (store, mut asked) = mpsc::unbounded_channel();
    let layer = RevocationLayer::new(Gate::not_loaded().verifier)
        .confirm_while_stale(Confirmations::new(Store(store)));
    let client = ask(&protected(layer), &good_token());
    assert_eq!(client.told().await, told(UNAVAILABLE, "not-loaded"));
    assert!(asked.try_recv().is_err());
}

#[tokio::test]
async fn a_bad_token_causes_no_question() {
    let mut stale = Stale::new();
    let forged = format!("{}AA", good_token());
    for token in ["", "a.b.c", &forged] {
        let status = stale.ask(token).status().await;
        assert!(status.is_client_error(), "{token:?}: {status}");
    }
    stale.no_question().await;
}

#[tokio::test]
async fn an_optional_layer_asks_about_tokens_alone() {
    let mut stale = Stale::new();
    stale.layer = stale.layer.clone().optional();
    let request = Request::get("/").body(Empty::<Bytes>::new()).unwrap();
    let stranger = protected(stale.layer.clone()).oneshot(request).await.unwrap();
    assert_eq!(stranger.status(), OK);
    stale.no_question().await;

    let revoked = stale.ask(&good_token());
    stale.question().await.cut_off(seconds_ago(0, Demand::Login));
    assert_eq!(revoked.status().await, UNAUTHORIZED);
    let fine = stale.ask(&good_token());
    stale.question().await.nothing_against_it();
    assert_eq!(fine.told().await, told(OK, "alice"));
    let failed = stale.ask(&good_token());
    drop(stale.question().await);
    // Not as nobody.
    assert_eq!(failed.status().await, UNAVAILABLE);
}
