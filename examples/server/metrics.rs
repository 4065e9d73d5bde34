//! `/metrics`, `/healthz` and `/readyz`.

use std::sync::OnceLock;

use axum::{Router, extract::State, http::StatusCode, routing::get};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tower_revocation::{EpochStore, Epochs, SqliteStore};

#[derive(Clone)]
struct Probes {
    epochs: Epochs,
    store: SqliteStore,
    prometheus: PrometheusHandle,
}

/// The probes' routes; they need no token.
pub fn routes(epochs: Epochs, store: SqliteStore) -> Result<Router, BuildError> {
    let probes = Probes { epochs, store, prometheus: recorder()? };
    Ok(Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(probes))
}

/// The process's one recorder; tests make several servers in a process.
fn recorder() -> Result<PrometheusHandle, BuildError> {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    if let Some(recorder) = RECORDER.get() {
        return Ok(recorder.clone());
    }
    match PrometheusBuilder::new().install_recorder() {
        Ok(recorder) => Ok(RECORDER.get_or_init(|| recorder).clone()),
        // Another thread was first, and is about to say so.
        Err(error) => RECORDER.get().cloned().ok_or(error),
    }
}

async fn ready(State(probes): State<Probes>) -> (StatusCode, String) {
    let freshness = probes.epochs.freshness(probes.epochs.clock().now());
    let status =
        if freshness.is_fresh() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, format!("{freshness:?}\n"))
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
