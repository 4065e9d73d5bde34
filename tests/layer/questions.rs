//! Many requests, few questions; and the manners of those that wait.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use http_body_util::{Empty, Full};
use tokio::time::timeout;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_revocation::{
    cutoff::{CutOff, Demand, StoreTime},
    error::Error,
    layer::{Answer, Confirm, Confirmations, ResponseFuture, RevocationLayer},
    scope::Scope,
};

use crate::{
    Picky,
    asking::{
        Asked, Client, OK, Stale, UNAUTHORIZED, UNAVAILABLE, ask, protected, seconds_ago, settle,
        told,
    },
    gate::{Gate, NOW, good_token, token_of},
    ready, revoke, with_token,
};

#[tokio::test]
async fn the_answer_about_one_token_says_nothing_about_another() {
    let mut stale = Stale::new();
    let clients = [stale.ask(&good_token()), stale.ask(&token_of("bob", 10))];
    let questions = [stale.question().await, stale.question().await];
    let about_bob = |asked: &Asked| asked.scopes.contains(&Scope::user("bob").unwrap());
    assert_eq!(questions.iter().filter(|asked| about_bob(asked)).count(), 1);
    for question in questions {
        if about_bob(&question) {
            question.nothing_against_it();
        } else {
            question.cut_off(seconds_ago(0, Demand::Login));
        }
    }
    let [alice, bob] = clients;
    assert_eq!(alice.told().await, told(UNAUTHORIZED, "revoked"));
    assert_eq!(bob.told().await, told(OK, "bob"));
}

#[tokio::test]
async fn tokens_in_the_same_scopes_share_an_answer_and_are_judged_each_by_its_own_stamp() {
    let mut stale = Stale::new();
    let (older, younger) = (stale.ask(&good_token()), stale.ask(&token_of("alice", 9)));
    settle().await;
    stale.question().await.cut_off(seconds_ago(10, Demand::Login));
    assert_eq!(older.told().await, told(UNAUTHORIZED, "revoked"));
    assert_eq!(younger.told().await, told(OK, "alice"));
    stale.no_question().await;
}

#[tokio::test]
async fn equal_questions_are_one() {
    let mut stale = Stale::new();
    let clients: Vec<Client> = (0..100).map(|_| stale.ask(&good_token())).collect();
    let question = stale.question().await;
    stale.no_question().await;
    question.nothing_against_it();
    for client in clients {
        assert_eq!(client.told().await, told(OK, "alice"));
    }
    stale.no_question().await;
}

#[tokio::test]
async fn a_request_is_never_judged_by_an_answer_that_was_asked_for_before_it_came() {
    let mut stale = Stale::new();
    let early = stale.ask(&good_token());
    let sent_before = stale.question().await;
    // The revocation may fall in between.
    let late: Vec<Client> = (0..50).map(|_| stale.ask(&good_token())).collect();
    stale.no_question().await;
    sent_before.nothing_against_it();
    assert_eq!(early.told().await, told(OK, "alice"));
    settle().await;
    assert!(late.iter().all(Client::is_waiting));
    // One for all of them.
    let sent_after = stale.question().await;
    stale.no_question().await;
    sent_after.cut_off(seconds_ago(0, Demand::Login));
    for client in late {
        assert_eq!(client.told().await, told(UNAUTHORIZED, "revoked"));
    }
    stale.no_question().await;
}

#[tokio::test]
async fn who_waits_for_a_question_that_failed_is_asked_about_anew() {
    let mut stale = Stale::new();
    let early = stale.ask(&good_token());
    let question = stale.question().await;
    let late = stale.ask(&good_token());
    settle().await;
    drop(question);
    assert_eq!(early.status().await, UNAVAILABLE);
    stale.question().await.nothing_against_it();
    assert_eq!(late.status().await, OK);
}

#[tokio::test]
async fn a_client_that_goes_away_takes_no_answer_from_others() {
    let mut stale = Stale::new();
    let (first, second) = (stale.ask(&good_token()), stale.ask(&good_token()));
    let question = stale.question().await;
    let (third, fourth) = (stale.ask(&good_token()), stale.ask(&good_token()));
    settle().await;
    first.goes_away().await;
    third.goes_away().await;
    question.nothing_against_it();
    assert_eq!(second.status().await, OK);
    stale.question().await.nothing_against_it();
    assert_eq!(fourth.status().await, OK);
}

#[tokio::test]
async fn nothing_is_asked_for_clients_that_have_all_gone_away() {
    let mut stale = Stale::new();
    let first = stale.ask(&good_token());
    let question = stale.question().await;
    let second = stale.ask(&good_token());
    settle().await;
    second.goes_away().await;
    question.nothing_against_it();
    assert_eq!(first.status().await, OK);
    stale.no_question().await;
}

#[tokio::test]
async fn over_the_limit_a_request_is_refused_at_once() {
    let mut stale = Stale::with(|settings| settings.at_most(2));
    let clients = [stale.ask(&good_token()), stale.ask(&token_of("bob", 10))];
    let questions = [stale.question().await, stale.question().await];
    let over = stale.ask(&token_of("carol", 10));
    assert_eq!(over.told().await, told(UNAVAILABLE, "over-capacity"));
    // One that is asked about already is not over it.
    let again = stale.ask(&good_token());
    stale.no_question().await;
    assert!(again.is_waiting());
    questions.into_iter().for_each(Asked::nothing_against_it);
    for client in clients {
        assert_eq!(client.status().await, OK);
    }
    stale.question().await.nothing_against_it();
    assert_eq!(again.status().await, OK);
    settle().await;
    let carol = stale.ask(&token_of("carol", 10));
    stale.question().await.nothing_against_it();
    assert_eq!(carol.told().await, told(OK, "carol"));
}

#[tokio::test]
async fn layers_with_the_same_confirmations_share_questions_and_limit() {
    let mut stale = Stale::with(|settings| settings.at_most(1));
    let other = protected(stale.layer.clone().realm("other").unwrap());
    let clients = [stale.ask(&good_token()), ask(&other, &good_token())];
    settle().await;
    assert_eq!(ask(&other, &token_of("bob", 10)).status().await, UNAVAILABLE);
    stale.question().await.nothing_against_it();
    for client in clients {
        assert_eq!(client.status().await, OK);
    }
    stale.no_question().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_forgotten_between_two_questions() {
    #[derive(Clone)]
    struct Fast;
    impl Confirm for Fast {
        async fn confirm(&self, _: &[Scope]) -> Result<Answer, Error> {
            let clock = Duration::from_secs(NOW);
            Ok(Answer { cut_off: CutOff::NONE, clock, newest: StoreTime::ZERO })
        }
    }
    let gate = Gate::open();
    gate.clock.advance(Duration::from_secs(11));
    let layer = RevocationLayer::new(gate.verifier).confirm_while_stale(Confirmations::new(Fast));
    let service = protected(layer);
    let clients = (0..8).map(|_| {
        let (service, token) = (service.clone(), good_token());
        tokio::spawn(async move {
            for _ in 0..5_000 {
                assert_eq!(ask(&service, &token).status().await, OK);
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
}

// ---- manners ----

#[tokio::test]
async fn a_request_that_waits_keeps_the_service_that_was_made_ready() {
    let mut stale = Stale::new();
    let picky = Picky::default();
    let mut service = ServiceBuilder::new()
        .layer(stale.layer.clone())
        .concurrency_limit(1)
        .service(picky.clone());
    let request = || with_token().body(Empty::<Bytes>::new()).unwrap();
    let first = tokio::spawn(ready(&mut service).await.call(request()));
    let question = stale.question().await;
    // It holds the one permit; who was never ready must not be called.
    let mut clone = service.clone();
    assert!(timeout(Duration::from_millis(50), ready(&mut clone)).await.is_err());
    // It queues for the permit as long as it lives.
    drop(clone);
    question.nothing_against_it();
    assert_eq!(first.await.unwrap().unwrap().status(), OK);

    let second = tokio::spawn(ready(&mut service).await.call(request()));
    stale.question().await.cut_off(seconds_ago(0, Demand::Login));
    assert_eq!(second.await.unwrap().unwrap().status(), UNAUTHORIZED);
    assert_eq!(picky.calls.load(Ordering::SeqCst), 1);
    // And gives it back when it is refused.
    timeout(Duration::from_secs(10), ready(&mut service)).await.unwrap();
}

#[tokio::test]
async fn a_proof_of_an_outer_layer_does_not_get_past_an_inner_one() {
    let mut stale = Stale::new();
    let outer = RevocationLayer::new(Gate::open().verifier);
    let both = ServiceBuilder::new().layer(outer).layer(stale.layer.clone());
    let picky = Picky::default();
    let service = both.service(picky.clone());
    let request = with_token().body(Empty::<Bytes>::new()).unwrap();
    let response = tokio::spawn(service.oneshot(request));
    drop(stale.question().await);
    assert_eq!(response.await.unwrap().unwrap().status(), UNAVAILABLE);
    assert_eq!(picky.calls.load(Ordering::SeqCst), 0);
}

#[test]
fn responses_may_be_sent_to_other_threads() {
    fn is_send<T: Send>() {}
    is_send::<ResponseFuture<Picky, (), Full<Bytes>>>();
    is_send::<Confirmations>();
    fn is_shareable<T: Send + Sync + Clone + std::fmt::Debug>() {}
    is_shareable::<Confirmations>();
}

#[test]
fn each_confirmation_is_counted_by_its_outcome() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let mut stale = Stale::with(|settings| settings.at_most(1));
            for cut_off in [CutOff::NONE, seconds_ago(0, Demand::Login)] {
                let clients = [stale.ask(&good_token()), stale.ask(&good_token())];
                let question = stale.question().await;
                assert_eq!(stale.ask(&token_of("bob", 1)).status().await, UNAVAILABLE);
                question.cut_off(cut_off);
                for client in clients {
                    client.status().await;
                }
                settle().await;
            }
            let failed = stale.ask(&good_token());
            drop(stale.question().await);
            failed.status().await;
            settle().await;
            revoke(&stale.gate, Demand::Login);
            let contradicted = stale.ask(&good_token());
            stale.question().await.nothing_against_it();
            contradicted.status().await;
        });
    });
    let counted = recorder.handle().render();
    for line in [
        "tower_revocation_confirmations_total{outcome=\"confirmed\",why=\"stale\"} 2\n",
        "tower_revocation_confirmations_total{outcome=\"revoked\",why=\"stale\"} 2\n",
        "tower_revocation_confirmations_total{outcome=\"over_capacity\",why=\"stale\"} 2\n",
        "tower_revocation_confirmations_total{outcome=\"failed\",why=\"stale\"} 1\n",
        "tower_revocation_confirmations_total{outcome=\"contradicted\",why=\"stale\"} 1\n",
        "tower_revocation_accepted_total 2\n",
        "tower_revocation_refused_total{reason=\"revoked\"} 2\n",
        "tower_revocation_refused_total{reason=\"over_capacity\"} 2\n",
        "tower_revocation_refused_total{reason=\"unconfirmed\"} 2\n",
    ] {
        assert!(counted.contains(line), "{line}{counted}");
    }
}
