//! `/metrics`, `/healthz` and `/readyz`.

use std::sync::{Mutex, PoisonError};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tower_revocation::{AnyStore, EpochStore, Epochs};

#[derive(Clone)]
struct Probes {
    epochs: Epochs,
    store: AnyStore,
    prometheus: PrometheusHandle,
}

/// The probes' routes; they need no token.
pub fn routes(epochs: Epochs, store: AnyStore) -> Result<Router, BuildError> {
    let probes = Probes { epochs, store, prometheus: recorder()? };
    Ok(Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(probes))
}

/// The process's one recorder; tests make several servers in a process, at once.
fn recorder() -> Result<PrometheusHandle, BuildError> {
    static RECORDER: Mutex<Option<PrometheusHandle>> = Mutex::new(None);
    // Locked until it is installed: the second would be refused in between.
    let mut recorder = RECORDER.lock().unwrap_or_else(PoisonError::into_inner);
    match &*recorder {
        Some(recorder) => Ok(recorder.clone()),
        None => Ok(recorder.insert(PrometheusBuilder::new().install_recorder()?).clone()),
    }
}

async fn ready(State(probes): State<Probes>) -> Response {
    let freshness = probes.epochs.freshness(probes.epochs.clock().now());
    let body = format!("{freshness:?}\n");
    if freshness.is_fresh() {
        body.into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], body).into_response()
    }
}

async fn metrics(State(probes): State<Probes>) -> String {
    let statements = probes.store.statements();
    for (path, count) in [
        ("request", statements.request),
        ("sync", statements.sync),
        ("session", statements.session),
    ] {
        metrics::counter!("tower_revocation_store_statements_total", "path" => path)
            .absolute(count);
    }
    if let Some(age) = probes.epochs.freshness(probes.epochs.clock().now()).age() {
        metrics::gauge!("tower_revocation_freshness_age_seconds").set(age.as_secs_f64());
    }
    probes.prometheus.render()
}
