//! What the group `admin` may do. The layer of these routes lets nobody else through.

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tower_revocation::{
    Demand, EpochStore, Id, Revocation, Scope,
    scope::{InvalidId, ScopeKind},
};

use crate::{
    app::App,
    extract::{Body, Caller, Named, Queried},
    fault::Fault,
    fleet,
    sessions::told,
    users,
};

/// The most that a user's groups may take in a token.
const MAX_GROUPS_BYTES: usize = 1_024;

#[derive(Deserialize)]
pub struct Order {
    scope: String,
    #[serde(default)]
    subject: String,
    demand: String,
}

/// `POST /admin/revoke`: whatever there is. With `?wait=5` it waits until that is enforced by all
/// instances, for five seconds at most, and says by which it is.
pub async fn revoke(
    State(app): State<App>,
    Queried(parameters): Queried<fleet::Parameters>,
    Body(order): Body<Order>,
) -> Result<Json<Value>, Fault> {
    let kind: ScopeKind = order.scope.parse().map_err(Fault::malformed)?;
    let demand: Demand = order.demand.parse().map_err(Fault::malformed)?;
    let scope = Scope::new(kind, &order.subject)
        .map_err(|problem| Fault::Malformed(format!("the subject {problem}")))?;
    let wait = parameters.wait()?;
    let receipt = app.revoke(Revocation::new(scope, demand)).await?;
    let revoked_before = receipt.revoked_before().as_micros();
    // Cut-offs are unique and rise in the order of commits: they are the sequence, too.
    let mut done = json!({ "revoked_before": revoked_before, "seq": revoked_before });
    if let Some(wait) = wait {
        let enforced = fleet::enforced(&app, &receipt, wait).await;
        for name in ["enforced_everywhere", "instances"] {
            done[name] = enforced[name].clone();
        }
    }
    Ok(Json(done))
}

/// `PUT /admin/users/{name}/groups`: tokens with the old ones are refused, and their bearers fetch
/// new ones.
pub async fn set_groups(
    State(app): State<App>,
    Named(name): Named,
    Body(groups): Body<Vec<String>>,
) -> Result<StatusCode, Fault> {
    let groups: Result<Vec<Id>, InvalidId> = groups.iter().map(|group| Id::new(group)).collect();
    let groups = groups.map_err(|problem| Fault::Malformed(format!("a group {problem}")))?;
    // They have to fit into a token, or their bearer could not log in any more.
    if groups.iter().map(|group| group.as_str().len() + 4).sum::<usize>() > MAX_GROUPS_BYTES {
        return Err(Fault::Malformed(format!("groups are over {MAX_GROUPS_BYTES} bytes together")));
    }
    let mut transaction = app.users.begin().await?;
    if !users::set_groups(&mut transaction, &name, &groups).await? {
        return Err(Fault::NoSuchUser);
    }
    let stale = Revocation::new(Scope::user(&name)?, Demand::Refresh);
    let requested = app.issuer.store().revoke_in(&mut transaction, stale).await?;
    transaction.commit().await?;
    app.seal(requested).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /admin/users/{name}/suspend`: ends all sessions, and lets nobody begin another.
pub async fn suspend(State(app): State<App>, Named(name): Named) -> Result<StatusCode, Fault> {
    let mut transaction = app.users.begin().await?;
    if !users::set_suspended(&mut transaction, &name, true).await? {
        return Err(Fault::NoSuchUser);
    }
    let all = Revocation::new(Scope::user(&name)?, Demand::Login);
    let requested = app.issuer.store().revoke_in(&mut transaction, all).await?;
    transaction.commit().await?;
    app.seal(requested).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /admin/users/{name}/reinstate`: they can log in again. What was revoked stays so.
pub async fn reinstate(State(app): State<App>, Named(name): Named) -> Result<StatusCode, Fault> {
    let mut transaction = app.users.begin().await?;
    if !users::set_suspended(&mut transaction, &name, false).await? {
        return Err(Fault::NoSuchUser);
    }
    transaction.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /admin/users/{name}/sessions`
pub async fn sessions(
    State(app): State<App>,
    caller: Caller,
    Named(name): Named,
) -> Result<Json<Value>, Fault> {
    let user = app.users.find(&name).await?.ok_or(Fault::NoSuchUser)?;
    let sessions = app.issuer.sessions(&user.id).await?;
    Ok(Json(sessions.iter().map(|session| told(session, &caller)).collect()))
}

/// `GET /admin/online`: the sessions that were refreshed within the life of an access token.
pub async fn online(State(app): State<App>, caller: Caller) -> Result<Json<Value>, Fault> {
    let sessions = app.issuer.online(app.epochs.lifetimes().access()).await?;
    let online = sessions.iter().map(|session| {
        let mut told = told(session, &caller);
        told["user"] = session.user.as_str().into();
        told
    });
    Ok(Json(online.collect()))
}
