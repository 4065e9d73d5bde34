//! The caller's sessions, one on each device: see them, end them.

use axum::{Json, extract::State, http::StatusCode};
use serde_json::{Value, json};
use tower_revocation::{Demand, Id, Revocation, Scope, session::TokenPair, store::Session};

use crate::{
    app::App,
    extract::{Caller, Named},
    fault::Fault,
};

/// `GET /sessions`
pub async fn list(State(app): State<App>, caller: Caller) -> Result<Json<Value>, Fault> {
    let sessions = app.issuer.sessions(&caller.user).await?;
    Ok(Json(sessions.iter().map(|session| told(session, &caller)).collect()))
}

/// `DELETE /sessions/{id}`: one's own, or anybody's for administrators.
pub async fn end(
    State(app): State<App>,
    caller: Caller,
    Named(id): Named,
) -> Result<StatusCode, Fault> {
    let id = Id::new(&id).map_err(|_| Fault::NoSuchSession)?;
    let session = app.issuer.session(&id).await?.ok_or(Fault::NoSuchSession)?;
    if session.user != caller.user && !caller.is_admin() {
        // That there is one is nobody else's business.
        return Err(Fault::NoSuchSession);
    }
    app.revoke(Revocation::new(Scope::Session(id), Demand::Login)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /logout`: this session.
pub async fn logout(State(app): State<App>, caller: Caller) -> Result<StatusCode, Fault> {
    app.revoke(Revocation::new(Scope::Session(caller.session), Demand::Login)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /logout/others`: all but this one, which goes on with new tokens.
pub async fn logout_others(State(app): State<App>, caller: Caller) -> Result<TokenPair, Fault> {
    let others = Revocation::new(Scope::User(caller.user.clone()), Demand::Login)
        .asked_by(caller.session.clone());
    app.revoke(others).await?;
    app.reissue(caller).await
}

/// `POST /logout/everywhere`: all of them.
pub async fn logout_everywhere(
    State(app): State<App>,
    caller: Caller,
) -> Result<StatusCode, Fault> {
    app.revoke(Revocation::new(Scope::User(caller.user), Demand::Login)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A session in JSON. Label and user agent are the client's words: escape them where they are
/// shown.
pub fn told(session: &Session, caller: &Caller) -> Value {
    json!({
        "id": session.id.as_str(),
        "label": session.device.label(),
        "ip": session.device.ip(),
        "user_agent": session.device.user_agent(),
        "created_at": session.created_at.as_secs(),
        "last_refresh_at": session.last_refresh_at.as_secs(),
        "current": session.id == caller.session,
    })
}
