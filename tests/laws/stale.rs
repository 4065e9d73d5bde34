//! Laws 3 and 5 for each thing that a layer can be told to do while its copy is stale.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use proptest::prelude::*;
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_revocation::{
    AnyStore, Demand, EpochStore, Epochs, RevocationLayer, Scope, Verifier,
    epochs::Synced,
    error::Error,
    layer::{Answer, Confirm, Confirmations, ResponseBody},
    store::Watch,
};

use crate::common::{instance::Instance, place::Place};

const OK: StatusCode = StatusCode::OK;
const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;
const SECOND: Duration = Duration::from_secs(1);

type Protected =
    BoxCloneSyncService<Request<Full<Bytes>>, Response<ResponseBody<Full<Bytes>>>, Infallible>;

fn protected(layer: &RevocationLayer) -> Protected {
    let inner = service_fn(|_: Request<Full<Bytes>>| {
        std::future::ready(Ok(Response::new(Full::default())))
    });
    BoxCloneSyncService::new(layer.layer(inner))
}

async fn ask(service: &Protected, token: &str) -> StatusCode {
    let request = Request::builder().header("authorization", format!("Bearer {token}"));
    let request = request.body(Full::default()).unwrap();
    service.clone().oneshot(request).await.unwrap().status()
}

/// An instance whose sync has stopped.
async fn stopped() -> (Instance, Place) {
    let data = Place::fast().await;
    let mut instance = Instance::start(data.path()).await;
    instance.sync = None;
    (instance, data)
}

/// A poll by hand.
async fn poll(instance: &Instance, copies: &[&Epochs]) {
    let asked_at = instance.epochs.clock().now();
    let changes = instance.store.watch().await.unwrap().load().await.unwrap();
    for epochs in copies {
        for entry in &changes.entries {
            epochs.raise(&entry.scope, entry.cut_off);
        }
        let answered_at = instance.epochs.clock().now();
        let (store_clock, head) = (changes.clock, changes.head);
        epochs.synced(Synced { asked_at, answered_at, store_clock, head });
    }
}

/// A layer, the bound it promises, and whether it knows everything while it is stale.
struct Promise {
    service: Protected,
    bound: Duration,
    stale_after: Duration,
    asks: bool,
}

/// A copy of the same instance's with a single bucket: whoever is revoked, all are in doubt.
fn in_a_bucket(instance: &Instance) -> (Epochs, RevocationLayer) {
    let settings = Epochs::builder().clock(instance.epochs.clock().clone());
    let epochs = settings.buckets(1).build().unwrap();
    let rules = instance.issuer.rules().unwrap();
    let verifier = Verifier::builder(epochs.clone()).issuer(rules).build().unwrap();
    let confirmations = Confirmations::new(instance.store.clone());
    let layer = RevocationLayer::new(verifier).confirm_doubtful(confirmations.clone());
    (epochs, layer.confirm_while_stale(confirmations))
}

fn promises(instance: &Instance, in_a_bucket: RevocationLayer) -> Vec<Promise> {
    let layer = RevocationLayer::new(instance.verifier.clone());
    let confirmations = Confirmations::new(instance.store.clone());
    let confirming = layer.clone().confirm_while_stale(confirmations);
    let trusting = layer.clone().dangerous_trust_while_stale(SECOND * 20).unwrap();
    let promise = |layer: &RevocationLayer, bound: u32, stale_after: u32, asks| Promise {
        service: protected(layer),
        bound: SECOND * bound,
        stale_after: SECOND * stale_after,
        asks,
    };
    vec![
        promise(&layer, 10, 10, false),
        promise(&layer.clone().require_fresh(SECOND * 3).unwrap(), 3, 3, false),
        promise(&confirming, 10, 10, true),
        promise(&confirming.clone().require_fresh(SECOND * 3).unwrap(), 3, 3, true),
        promise(&trusting, 30, 10, false),
        promise(&in_a_bucket, 10, 10, true),
        promise(&in_a_bucket.clone().refuse_while_stale(), 10, 10, false),
        promise(&in_a_bucket.dangerous_trust_while_stale(SECOND * 20).unwrap(), 30, 10, false),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Login(usize),
    Revoke(usize),
    Pass(u64),
    Sleep(u64),
    Poll,
    Check,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3_usize).prop_map(Step::Login),
        (0..3_usize).prop_map(Step::Revoke),
        (0..9_000_u64).prop_map(Step::Pass),
        (0..9_000_u64).prop_map(Step::Sleep),
        Just(Step::Poll),
        Just(Step::Check),
        Just(Step::Check),
    ]
}

/// A token, whose it is, and when a revocation that covers it had returned.
struct Token {
    text: String,
    user: usize,
    revoked_at: Option<Duration>,
}

async fn run(steps: Vec<Step>) {
    let (instance, _data) = stopped().await;
    let (buckets, in_a_bucket) = in_a_bucket(&instance);
    let promises = promises(&instance, in_a_bucket);
    let copies = [&instance.epochs, &buckets];
    poll(&instance, &copies).await;
    let users = ["alice", "bob", "carol"];
    let now = || instance.epochs.clock().now().wall;
    let (mut tokens, mut polled_at) = (Vec::<Token>::new(), now());
    for step in steps {
        match step {
            Step::Login(user) => {
                let token = instance.login(users[user], &[]).await.unwrap();
                tokens.push(Token { text: token.as_str().to_owned(), user, revoked_at: None });
            }
            Step::Revoke(user) => {
                instance.revoke(Scope::user(users[user]).unwrap(), Demand::Login).await;
                for token in tokens.iter_mut().filter(|token| token.user == user) {
                    token.revoked_at.get_or_insert(now());
                }
            }
            Step::Pass(milliseconds) => instance.clock.advance(Duration::from_millis(milliseconds)),
            Step::Sleep(milliseconds) => {
                instance.clock.suspend(Duration::from_millis(milliseconds))
            }
            Step::Poll => {
                poll(&instance, &copies).await;
                polled_at = now();
            }
            Step::Check => {
                for (index, promise) in promises.iter().enumerate() {
                    for Token { text, user, revoked_at } in &tokens {
                        let status = ask(&promise.service, text).await;
                        let since = revoked_at.map(|at| now() - at);
                        let about =
                            format!("layer {index}, {user}, revoked {since:?} ago: {status}");
                        let late = since.is_some_and(|since| since > promise.bound);
                        assert!(status != OK || !late, "{about}");
                        assert!(status != UNAUTHORIZED || since.is_some(), "{about}");
                        assert!(!promise.asks || since.is_some() || status == OK, "{about}");
                        if promise.asks && now() - polled_at > promise.stale_after {
                            let told = if since.is_some() { UNAUTHORIZED } else { OK };
                            assert_eq!(status, told, "{about}");
                        }
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn l3_l5_whatever_is_done_while_stale_keeps_its_bound_and_logs_nobody_out(
        steps in prop::collection::vec(step(), 1..40)
    ) {
        // All tokens outlive this: 40 steps of 9 seconds at most.
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap()
            .block_on(run(steps));
    }
}

/// A store whose answers are a while on their way: what it has found may be history by then.
struct Slow(AnyStore);

impl Confirm for Slow {
    async fn confirm(&self, scopes: &[Scope]) -> Result<Answer, Error> {
        let answer = self.0.confirm(scopes).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
        answer
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l3_a_confirmed_request_that_starts_after_revoke_returned_is_refused() {
    let (instance, _data) = stopped().await;
    instance.clock.advance(SECOND * 11);
    let layer = RevocationLayer::new(instance.verifier.clone())
        .confirm_while_stale(Confirmations::new(Slow(instance.store.clone())));
    let service = protected(&layer);
    for round in 0..100 {
        let token = instance.login("alice", &[]).await.unwrap();
        // Others ask about the same token all the time, so that there is always a question under
        // way.
        let others: Vec<_> = (0..4)
            .map(|_| {
                let (service, token) = (service.clone(), token.clone());
                tokio::spawn(async move {
                    let mut accepted = 0;
                    while ask(&service, token.as_str()).await == OK {
                        accepted += 1;
                    }
                    accepted
                })
            })
            .collect();
        while ask(&service, token.as_str()).await != OK {}
        instance.revoke(Scope::user("alice").unwrap(), Demand::Login).await;
        assert_eq!(ask(&service, token.as_str()).await, UNAUTHORIZED, "round {round}");
        for other in others {
            other.await.unwrap();
        }
    }
    assert!(instance.store.statements().request > 100);
}
