//! What the crate tells about itself: through `metrics` and `tracing` where these features are
//! on, to nobody otherwise. Names are an interface; the README lists them.

use std::fmt::Display;

use crate::{cutoff::StoreTime, error::Error, scope::Id};

/// A request was let through.
pub(crate) fn accepted() {
    #[cfg(feature = "metrics")]
    metrics::counter!("tower_revocation_accepted_total").increment(1);
}

/// The token of a request was not known from before, and is verified from the beginning.
pub(crate) fn token_unknown() {
    #[cfg(feature = "metrics")]
    metrics::counter!("tower_revocation_token_cache_misses_total").increment(1);
}

/// A request was refused. Never logs the token or a part of it.
pub(crate) fn refused(reason: &'static str, rejection: &dyn Display) {
    #[cfg(feature = "metrics")]
    metrics::counter!("tower_revocation_refused_total", "reason" => reason).increment(1);
    #[cfg(feature = "tracing")]
    tracing::debug!(reason, %rejection, "request refused");
    let _ = (reason, rejection);
}

/// A request waited for the store's word on its token, or would have.
pub(crate) fn confirmation(why: &'static str, outcome: &'static str) {
    #[cfg(feature = "metrics")]
    metrics::counter!(
        "tower_revocation_confirmations_total", "outcome" => outcome, "why" => why
    )
    .increment(1);
    let _ = (why, outcome);
}

/// A copy in buckets is in doubt about a token, and its layer was given no store to ask.
pub(crate) fn nobody_to_ask() {
    confirmation("doubt", "nobody_to_ask");
    #[cfg(feature = "tracing")]
    {
        static ONCE: std::sync::Once = std::sync::Once::new();
        ONCE.call_once(|| {
            tracing::error!(
                "tokens are refused that a copy in buckets is in doubt about: \
                 a layer lacks confirm_doubtful"
            );
        });
    }
}

/// The store did not answer a question about a token.
pub(crate) fn confirmation_failed(error: &Error) {
    #[cfg(feature = "tracing")]
    tracing::error!(error = error as &dyn std::error::Error, "the store confirmed no token");
    let _ = error;
}

/// A request was let through by a copy that is too old.
pub(crate) fn trusted_while_stale() {
    #[cfg(feature = "metrics")]
    metrics::counter!("tower_revocation_trusted_while_stale_total").increment(1);
}

/// A token was renewed on the way, or was not.
pub(crate) fn renewal(outcome: &'static str) {
    #[cfg(feature = "metrics")]
    metrics::counter!("tower_revocation_renewals_total", "outcome" => outcome).increment(1);
    let _ = outcome;
}

/// A token could not be renewed. Never logs the token or a part of it.
pub(crate) fn renewal_failed(error: &Error) {
    #[cfg(feature = "tracing")]
    tracing::error!(error = error as &dyn std::error::Error, "a renewal failed");
    let _ = error;
}

/// A successor could not be handed out in a cookie.
pub(crate) fn successor_unfit(problem: &dyn Display) {
    #[cfg(feature = "metrics")]
    metrics::counter!("tower_revocation_renewals_total", "outcome" => "unfit").increment(1);
    #[cfg(feature = "tracing")]
    tracing::error!(%problem, "a renewed token was not handed out");
    let _ = problem;
}

/// An answer of the store was applied.
pub(crate) fn synced(cut_offs: usize, newest: StoreTime) {
    #[cfg(feature = "metrics")]
    {
        metrics::counter!("tower_revocation_syncs_total").increment(1);
        metrics::gauge!("tower_revocation_cut_offs").set(cut_offs as f64);
        metrics::gauge!("tower_revocation_newest_micros").set(newest.as_micros() as f64);
    }
    let _ = (cut_offs, newest);
}

/// A connection, a poll or a purge failed; the work goes on.
pub(crate) fn sync_failed(error: &Error) {
    #[cfg(feature = "metrics")]
    metrics::counter!("tower_revocation_sync_failures_total").increment(1);
    #[cfg(feature = "tracing")]
    tracing::error!(error = error as &dyn std::error::Error, "the revocation sync failed");
    let _ = error;
}

/// Whoever waits for a revocation to be enforced everywhere was not told who has acknowledged it.
pub(crate) fn roster_failed(error: &Error) {
    #[cfg(feature = "tracing")]
    tracing::warn!(error = error as &dyn std::error::Error, "the store tells no instances");
    let _ = error;
}

/// Instances that have been silent for long are struck off.
pub(crate) fn dismissed(instances: u64) {
    #[cfg(feature = "metrics")]
    metrics::counter!("tower_revocation_instances_dismissed_total").increment(instances);
    #[cfg(feature = "tracing")]
    tracing::info!(instances, "silent instances were struck off");
    let _ = instances;
}

/// The store has forgotten revocations that this copy holds.
pub(crate) fn store_went_back(head: StoreTime, known: StoreTime) {
    #[cfg(feature = "metrics")]
    metrics::counter!("tower_revocation_store_went_back_total").increment(1);
    #[cfg(feature = "tracing")]
    tracing::error!(%head, %known, "the revocation store went back: was it restored?");
    let _ = (head, known);
}

/// Cut-offs that had outlived all they covered are gone.
pub(crate) fn purged(forgotten: usize, deleted: u64) {
    #[cfg(feature = "metrics")]
    metrics::counter!("tower_revocation_purged_total").increment(deleted);
    #[cfg(feature = "tracing")]
    tracing::debug!(forgotten, deleted, "purged cut-offs");
    let _ = (forgotten, deleted);
}

/// A handler asked for what no layer provides: the service is built wrongly.
#[cfg(feature = "axum")]
pub(crate) fn misconfigured(problem: &dyn Display) {
    #[cfg(feature = "tracing")]
    tracing::error!(%problem, "service misconfigured");
    let _ = problem;
}

/// A revocation that somebody requested by plain SQL names no valid scope.
#[cfg(feature = "_sql")]
pub(crate) fn request_refused(problem: &dyn Display) {
    #[cfg(feature = "metrics")]
    metrics::counter!("tower_revocation_invalid_sql_revocations_total").increment(1);
    #[cfg(feature = "tracing")]
    tracing::error!(%problem, "a requested revocation was refused");
    let _ = problem;
}

/// Others learn of a revocation by their next poll.
#[cfg(feature = "postgres")]
pub(crate) fn announcement_failed(error: &Error) {
    #[cfg(feature = "metrics")]
    metrics::counter!("tower_revocation_announcement_failures_total").increment(1);
    #[cfg(feature = "tracing")]
    tracing::warn!(error = error as &dyn std::error::Error, "a revocation was not announced");
    let _ = error;
}

/// Revocations of others arrive by polls until it listens again.
#[cfg(feature = "postgres")]
pub(crate) fn listener_failed(error: &Error) {
    #[cfg(feature = "metrics")]
    metrics::counter!("tower_revocation_listener_failures_total").increment(1);
    #[cfg(feature = "tracing")]
    tracing::warn!(error = error as &dyn std::error::Error, "the listener failed");
    let _ = error;
}

/// A poll has found what was never announced: the listener's connection is replaced.
#[cfg(feature = "postgres")]
pub(crate) fn listener_deaf() {
    #[cfg(feature = "metrics")]
    metrics::counter!("tower_revocation_listener_failures_total").increment(1);
    #[cfg(feature = "tracing")]
    tracing::warn!("the listener is deaf: its connection is replaced");
}

/// A spent refresh token came back, and its session was revoked.
pub(crate) fn refresh_token_reused(session: &Id) {
    #[cfg(feature = "metrics")]
    metrics::counter!("tower_revocation_refresh_tokens_reused_total").increment(1);
    #[cfg(feature = "tracing")]
    tracing::warn!(%session, "a spent refresh token came back: its session is revoked");
    let _ = session;
}

/// A refresh was refused for good. Never logs the token or a part of it.
#[cfg(feature = "routes")]
pub(crate) fn refresh_refused(error: &Error) {
    #[cfg(feature = "tracing")]
    tracing::debug!(error = error as &dyn std::error::Error, "refresh refused");
    let _ = error;
}

/// A refresh failed, and the client was asked to try again.
#[cfg(feature = "routes")]
pub(crate) fn refresh_failed(error: &Error) {
    #[cfg(feature = "tracing")]
    tracing::error!(error = error as &dyn std::error::Error, "a refresh failed");
    let _ = error;
}

/// The body of a request broke off.
#[cfg(feature = "routes")]
pub(crate) fn body_failed(error: &(dyn std::error::Error + 'static)) {
    #[cfg(feature = "tracing")]
    tracing::debug!(error, "the body of a request broke off");
    let _ = error;
}

/// A background task panicked; it is started again.
pub(crate) fn task_panicked(panic: &dyn Display) {
    #[cfg(feature = "metrics")]
    metrics::counter!("tower_revocation_sync_failures_total").increment(1);
    #[cfg(feature = "tracing")]
    tracing::error!(%panic, "a task of the revocation sync panicked");
    let _ = panic;
}
