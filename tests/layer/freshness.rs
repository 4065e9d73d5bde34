//! What happens while the copy is stale, layer by layer.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::Empty;
use tower::{Layer, ServiceExt, service_fn};
use tower_revocation::{
    cutoff::Demand,
    error::ConfigError,
    layer::{Answer, Confirm, Confirmations, RevocationLayer},
    scope::Scope,
};

use crate::{
    gate::{Gate, NOW},
    hello, problem, revoke, with_token,
};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// `ok`, or the kind of the problem.
async fn told(layer: &RevocationLayer) -> String {
    let request = with_token().body(Empty::<Bytes>::new()).unwrap();
    let response = layer.layer(service_fn(hello)).oneshot(request).await.unwrap();
    let status = response.status();
    if status.is_success() {
        return "ok".to_owned();
    }
    let problem = problem(response).await;
    let kind = problem["type"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
    let unavailable = ["stale", "not-loaded", "unconfirmed"].contains(&kind.as_str());
    assert_eq!(unavailable, status == StatusCode::SERVICE_UNAVAILABLE, "{kind}: {status}");
    kind
}

/// A store that has revoked nothing, and knows no less than anybody.
struct Fine;

impl Confirm for Fine {
    async fn confirm(&self, _: &[Scope]) -> Result<Answer, tower_revocation::error::Error> {
        Ok(Answer {
            cut_off: tower_revocation::cutoff::CutOff::NONE,
            clock: Duration::from_secs(NOW),
            newest: tower_revocation::cutoff::StoreTime::MAX,
        })
    }
}

// ---- refusing ----

#[tokio::test]
async fn law_5_a_stale_copy_refuses_unless_told_otherwise() {
    let gate = Gate::open();
    let layer = RevocationLayer::new(gate.verifier.clone());
    let told_so = layer
        .clone()
        .confirm_while_stale(Confirmations::new(Fine))
        .dangerous_trust_while_stale(SECOND)
        .unwrap()
        .refuse_while_stale();
    gate.clock.advance(SECOND * 10);
    assert_eq!(told(&layer).await, "ok");
    gate.clock.advance(MILLISECOND);
    for layer in [layer, told_so] {
        assert_eq!(told(&layer).await, "stale");
    }
}

/// Both clocks of a machine: one stands still while it sleeps.
#[tokio::test]
async fn a_machine_that_slept_refuses_until_the_next_poll() {
    for asleep in [11, 3_600] {
        let gate = Gate::open();
        let layer = RevocationLayer::new(gate.verifier.clone());
        assert_eq!(told(&layer).await, "ok");
        let before = gate.epochs.clock().now().monotonic;
        gate.clock.suspend(SECOND * asleep);
        assert_eq!(gate.epochs.clock().now().monotonic, before);
        for _ in 0..3 {
            assert_eq!(told(&layer).await, "stale");
        }
        gate.clock.set_wall(Duration::from_secs(NOW + 20));
        gate.sync();
        assert_eq!(told(&layer).await, "ok");
    }
}

#[tokio::test]
async fn a_machine_that_slept_is_trusted_for_no_longer_by_its_sleep() {
    for (asleep, expected) in [(10, "ok"), (14, "ok"), (16, "stale")] {
        let gate = Gate::open();
        let layer = RevocationLayer::new(gate.verifier.clone());
        let layer = layer.dangerous_trust_while_stale(SECOND * 5).unwrap();
        gate.clock.suspend(SECOND * asleep);
        assert_eq!(told(&layer).await, expected, "{asleep} s");
    }
}

// ---- trusting ----

#[tokio::test]
async fn trust_ends_with_its_bound() {
    let gate = Gate::open();
    let layer = RevocationLayer::new(gate.verifier.clone());
    let trusting = layer.clone().dangerous_trust_while_stale(SECOND * 5).unwrap();
    gate.clock.advance(SECOND * 10 + MILLISECOND);
    assert_eq!((told(&layer).await, told(&trusting).await), ("stale".into(), "ok".into()));
    gate.clock.advance(SECOND * 5 - MILLISECOND);
    assert_eq!((told(&layer).await, told(&trusting).await), ("stale".into(), "ok".into()));
    gate.clock.advance(MILLISECOND);
    assert_eq!(told(&trusting).await, "stale");
    gate.sync();
    assert_eq!((told(&layer).await, told(&trusting).await), ("ok".into(), "ok".into()));
}

#[tokio::test]
async fn law_7_nothing_is_trusted_or_confirmed_before_the_first_load() {
    let gate = Gate::not_loaded();
    let layer = RevocationLayer::new(gate.verifier.clone());
    let trusting = layer.clone().dangerous_trust_while_stale(SECOND * 86_400).unwrap();
    let confirming = layer.confirm_while_stale(Confirmations::new(Fine));
    for layer in [trusting, confirming] {
        assert_eq!(told(&layer).await, "not-loaded");
    }
}

/// Law 5: a clear, or a clock that was set, may not have arrived here.
#[tokio::test]
async fn what_a_trusted_copy_would_refuse_is_a_503_and_never_a_401() {
    let trusting = |gate: &Gate| {
        let layer = RevocationLayer::new(gate.verifier.clone());
        layer.dangerous_trust_while_stale(SECOND * 600).unwrap()
    };
    let revoked = Gate::open();
    revoke(&revoked, Demand::Login);
    assert_eq!(told(&trusting(&revoked)).await, "revoked");
    revoked.clock.advance(SECOND * 11);
    assert_eq!(told(&trusting(&revoked)).await, "stale");

    let expired = Gate::open();
    let layer = trusting(&expired);
    expired.clock.advance(SECOND * 304);
    assert_eq!(told(&layer).await, "ok");
    expired.clock.advance(SECOND);
    assert_eq!(told(&layer).await, "stale");
}

#[tokio::test]
async fn a_token_that_expired_while_the_machine_slept_is_not_trusted() {
    let gate = Gate::open();
    let layer = RevocationLayer::new(gate.verifier.clone());
    let layer = layer.dangerous_trust_while_stale(SECOND * 600).unwrap();
    gate.clock.suspend(SECOND * 305);
    assert_eq!(told(&layer).await, "stale");
}

// ---- fresher than others ----

#[tokio::test]
async fn a_layer_may_require_a_fresher_copy_than_others() {
    let gate = Gate::open();
    let layer = RevocationLayer::new(gate.verifier.clone());
    let strict = layer.clone().require_fresh(SECOND * 2).unwrap();
    let asking = strict.clone().confirm_while_stale(Confirmations::new(Fine));
    gate.clock.advance(SECOND * 2);
    assert_eq!((told(&layer).await, told(&strict).await), ("ok".into(), "ok".into()));
    gate.clock.advance(MILLISECOND);
    assert_eq!((told(&layer).await, told(&strict).await), ("ok".into(), "stale".into()));
    assert_eq!(told(&asking).await, "ok");
    // A cut-off that the copy knows of is none that it would forget.
    revoke(&gate, Demand::Login);
    assert_eq!(told(&layer).await, "revoked");
    assert_eq!(told(&strict).await, "stale");
    assert_eq!(told(&asking).await, "unconfirmed");
}

// ---- mistakes ----

#[test]
fn bounds_that_make_no_sense_are_refused_and_named() {
    let layer = || RevocationLayer::new(Gate::open().verifier);
    let day = SECOND * 86_400;
    for within in [Duration::ZERO, MILLISECOND * 9, SECOND * 10 + MILLISECOND, Duration::MAX] {
        let error = layer().require_fresh(within).unwrap_err();
        let named = matches!(error, ConfigError::Duration { field: "require_fresh", .. });
        assert!(named, "{within:?}: {error:?}");
    }
    for extra in [Duration::ZERO, day + MILLISECOND, Duration::MAX] {
        let error = layer().dangerous_trust_while_stale(extra).unwrap_err();
        let field = "dangerous_trust_while_stale";
        let named = matches!(error, ConfigError::Duration { field: it, .. } if it == field);
        assert!(named, "{extra:?}: {error:?}");
    }
    for limit in [Duration::ZERO, SECOND * 61, Duration::MAX] {
        let error = Confirmations::builder(Fine).time_limit(limit).build().unwrap_err();
        let named = matches!(error, ConfigError::Duration { field: "time_limit", .. });
        assert!(named, "{limit:?}: {error:?}");
    }
    let error = Confirmations::builder(Fine).at_most(0).build().unwrap_err();
    assert!(matches!(error, ConfigError::Missing { field: "at_most" }), "{error:?}");
    for within in [MILLISECOND * 10, SECOND * 10] {
        assert!(layer().require_fresh(within).is_ok());
    }
    for extra in [MILLISECOND, day] {
        assert!(layer().dangerous_trust_while_stale(extra).is_ok());
    }
}

#[test]
fn a_layer_that_requires_a_fresh_copy_does_not_trust_a_stale_one() {
    let layer = || RevocationLayer::new(Gate::open().verifier);
    let trusting = layer().dangerous_trust_while_stale(SECOND).unwrap();
    let strict = layer().require_fresh(SECOND).unwrap();
    for error in [
        trusting.clone().require_fresh(SECOND).unwrap_err(),
        strict.dangerous_trust_while_stale(SECOND).unwrap_err(),
    ] {
        assert!(matches!(error, ConfigError::Contradiction { .. }), "{error:?}");
    }
    assert!(trusting.refuse_while_stale().require_fresh(SECOND).is_ok());
}

#[test]
fn each_trusted_request_is_counted() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        let gate = Gate::open();
        let layer = RevocationLayer::new(gate.verifier.clone());
        let layer = layer.dangerous_trust_while_stale(SECOND).unwrap();
        for age in [5, 11, 12] {
            gate.sync();
            gate.clock.advance(SECOND * age);
            runtime.block_on(told(&layer));
        }
    });
    let counted = recorder.handle().render();
    for line in [
        "tower_revocation_accepted_total 2\n",
        "tower_revocation_trusted_while_stale_total 1\n",
        "tower_revocation_refused_total{reason=\"stale\"} 1\n",
    ] {
        assert!(counted.contains(line), "{line}{counted}");
    }
}

#[test]
fn debug_tells_what_happens_while_stale_and_nothing_of_the_store() {
    let layer = RevocationLayer::new(Gate::open().verifier)
        .confirm_while_stale(Confirmations::new(Fine))
        .require_fresh(SECOND * 3)
        .unwrap();
    let shown = format!("{layer:?} {:?}", Confirmations::builder(Fine));
    assert!(shown.contains("fresh_within: 3s") && shown.contains("at_most: 64"), "{shown}");
}
