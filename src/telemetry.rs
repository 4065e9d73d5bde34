//! What the crate tells about itself: through `metrics` and `tracing` where these features are
//! on, to nobody otherwise. Names are an interface; the README lists them.

/// A request was let through.
pub(crate) fn accepted() {
    #[cfg(feature = "metrics")]
    metrics::counter!("tower_revocation_accepted_total").increment(1);
}

/// A request was refused. Never logs the token or a part of it.
pub(crate) fn refused(rejection: &crate::verify::Rejection) {
    #[cfg(feature = "metrics")]
    metrics::counter!("tower_revocation_refused_total", "reason" => rejection.reason())
        .increment(1);
    #[cfg(feature = "tracing")]
    tracing::debug!(reason = rejection.reason(), %rejection, "request refused");
    let _ = rejection;
}

/// A handler asked for what no layer provides: the service is built wrongly.
#[cfg(feature = "axum")]
pub(crate) fn misconfigured(problem: &crate::axum::MissingLayer) {
    #[cfg(feature = "tracing")]
    tracing::error!(%problem, "service misconfigured");
    let _ = problem;
}
