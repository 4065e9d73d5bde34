//! The fleet: who is part of it, and how far a revocation is enforced there.

use std::time::Duration;

use axum::{Json, extract::State};
use serde::Deserialize;
use serde_json::{Value, json};
use tower_revocation::{
    EpochStore,
    cutoff::Receipt,
    store::{Enforced, Enlisted, How, Instance, Roster},
};

use crate::{app::App, fault::Fault};

/// Nobody keeps a request open for longer.
const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// Of `POST /admin/revoke`.
#[derive(Deserialize)]
pub struct Parameters {
    /// For how many seconds to wait until the revocation is enforced everywhere.
    wait: Option<f64>,
}

impl Parameters {
    pub fn wait(&self) -> Result<Option<Duration>, Fault> {
        let Some(seconds) = self.wait else { return Ok(None) };
        match Duration::try_from_secs_f64(seconds) {
            Ok(wait) if wait <= LONGEST_WAIT => Ok(Some(wait)),
            _ => Err(Fault::Malformed(format!(
                "wait has to be 0 to {} seconds",
                LONGEST_WAIT.as_secs()
            ))),
        }
    }
}

/// Waits until the revocation of `receipt` is enforced everywhere, or for so long, and tells by whom
/// it is.
///
/// The revocation is stored whatever comes of this: that nothing is known is no failure.
pub async fn enforced(app: &App, receipt: &Receipt, wait: Duration) -> Value {
    let enforcement = match receipt.enforced_everywhere(app.issuer.store(), wait).await {
        Ok(enforcement) => enforcement,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "nobody knows the instances");
            return json!({ "enforced_everywhere": null, "instances": [] });
        }
    };
    let told = |enforced: &Enforced| {
        let mut told = of(&enforced.instance);
        told["enforced"] = match enforced.how {
            How::Acknowledged => "acknowledged",
            // Too old to accept anything.
            How::Outwaited => "outwaited",
            _ => "no",
        }
        .into();
        told["applied"] = enforced.applied.as_micros().into();
        told["lag_ms"] = millis(enforced.lag).into();
        told
    };
    let instances: Vec<Value> = enforcement.instances.iter().map(told).collect();
    json!({ "enforced_everywhere": enforcement.is_everywhere(), "instances": instances })
}

/// `GET /admin/instances`
pub async fn instances(State(app): State<App>) -> Result<Json<Value>, Fault> {
    let Roster { newest, instances } = app.issuer.store().roster().await?;
    let told = |enlisted: &Enlisted| {
        let mut told = of(&enlisted.instance);
        told["applied"] = enlisted.applied.as_micros().into();
        told["up_to_date"] = (enlisted.applied >= newest).into();
        told["silent_ms"] = millis(enlisted.silent_for).into();
        told
    };
    Ok(Json(instances.iter().map(told).collect()))
}

fn of(instance: &Instance) -> Value {
    let Instance { id, name, bound } = instance;
    json!({ "id": id.as_str(), "name": name.as_str(), "bound_ms": millis(*bound) })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
