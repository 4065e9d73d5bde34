//! What the group `admin` may do.

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tower_revocation::{
    Demand, EpochStore, Id, Revocation, Scope,
    scope::{InvalidId, ScopeKind},
};

use crate::{
    app::App,
    extract::{Admin, Body, Named},
    fault::Fault,
    sessions::told,
    users,
};

#[derive(Deserialize)]
pub struct Order {
    scope: String,
    #[serde(default)]
    subject: String,
    demand: String,
}

/// `POST /admin/revoke`: whatever there is.
pub async fn revoke(
    State(app): State<App>,
    _: Admin,
    Body(order): Body<Order>,
) -> Result<Json<Value>, Fault> {
    let kind: ScopeKind = order.scope.parse().map_err(Fault::malformed)?;
    let demand: Demand = order.demand.parse().map_err(Fault::malformed)?;
    let scope = Scope::new(kind, &order.subject)
        .map_err(|problem| Fault::Malformed(format!("the subject {problem}")))?;
    let receipt = app.revoke(Revocation::new(scope, demand)).await?;
    let revoked_before = receipt.revoked_before().as_micros();
    // Cut-offs are unique and rise in the order of commits: they are the sequence, too.
    Ok(Json(json!({ "revoked_before": revoked_before, "seq": revoked_before })))
}

/// `PUT /admin/users/{name}/groups`: tokens with the old ones are refused, and their bearers fetch
/// new ones.
pub async fn set_groups(
    State(app): State<App>,
    _: Admin,
    Named(name): Named,
    Body(groups): Body<Vec<String>>,
) -> Result<StatusCode, Fault> {
    let groups: Result<Vec<Id>, InvalidId> = groups.iter().map(|group| Id::new(group)).collect();
    let groups = groups.map_err(|problem| Fault::Malformed(format!("a group {problem}")))?;
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
pub async fn suspend(
    State(app): State<App>,
    _: Admin,
    Named(name): Named,
) -> Result<StatusCode, Fault> {
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
pub async fn reinstate(
    State(app): State<App>,
    _: Admin,
    Named(name): Named,
) -> Result<StatusCode, Fault> {
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
    Admin(caller): Admin,
    Named(name): Named,
) -> Result<Json<Value>, Fault> {
    let user = app.users.find(&name).await?.ok_or(Fault::NoSuchUser)?;
    let sessions = app.issuer.sessions(&user.id).await?;
    Ok(Json(sessions.iter().map(|session| told(session, &caller)).collect()))
}

/// `GET /admin/online`: the sessions that may hold an access token which has not expired.
pub async fn online(State(app): State<App>, Admin(caller): Admin) -> Result<Json<Value>, Fault> {
    let sessions = app.issuer.online(app.epochs.lifetimes().access()).await?;
    let online = sessions.iter().map(|session| {
        let mut told = told(session, &caller);
        told["user"] = session.user.as_str().into();
        told
    });
    Ok(Json(online.collect()))
}
