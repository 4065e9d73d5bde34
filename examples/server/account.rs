//! The caller's own account: `GET /me`, `GET /transfer` and `POST /password`.

use axum::{Json, extract::State};
use serde::Deserialize;
use serde_json::{Value, json};
use tower_revocation::{Demand, EpochStore, Revocation, Scope, Verified, session::TokenPair};

use crate::{
    app::App,
    extract::{Body, Caller},
    fault::Fault,
    users,
};

/// The longest password, in bytes.
const MAX_PASSWORD: usize = 1_024;

pub async fn me(caller: Verified) -> Json<Value> {
    Json(json!({
        "sub": caller.subject(),
        "sid": caller.session(),
        "groups": caller.groups().collect::<Vec<_>>(),
        "iat": caller.issued_at(),
        "exp": caller.expires_at(),
        "auth_time": caller.auth_time(),
    }))
}

/// Stands for what needs more than a session. The layer of this route lets nobody through whose login
/// is too long ago.
pub async fn transfer(caller: Verified) -> Json<Value> {
    Json(json!({ "sub": caller.subject(), "auth_time": caller.auth_time() }))
}

#[derive(Deserialize)]
pub struct Change {
    old: String,
    new: String,
}

/// A new password ends all other sessions, and makes every token void that is older.
pub async fn change_password(
    State(app): State<App>,
    caller: Caller,
    Body(Change { old, new }): Body<Change>,
) -> Result<TokenPair, Fault> {
    if new.is_empty() || new.len() > MAX_PASSWORD {
        let problem = format!("the new password needs 1 to {MAX_PASSWORD} bytes");
        return Err(Fault::Malformed(problem));
    }
    let user = app.users.authenticate(caller.user.as_str(), old).await?;
    let user = user.ok_or(Fault::WrongOldPassword)?;
    let hash = app.users.hash(new).await?;

    // Both or neither. Hashing was slow, so somebody else may have changed the password since.
    let mut transaction = app.users.begin().await?;
    if !users::set_password(&mut transaction, &user, &hash).await? {
        return Err(Fault::PasswordChangedMeanwhile);
    }
    let others = Revocation::new(Scope::User(caller.user.clone()), Demand::Login)
        .sparing(caller.session.clone());
    let requested = app.issuer.store().revoke_in(&mut transaction, others).await?;
    transaction.commit().await?;

    // If the client goes away here, this function ends here. The revocation is in the database
    // all the same: the next ticket, mint or poll of any instance seals it. Only the new tokens
    // are lost, and the user logs in with the new password.
    app.seal(requested).await?;
    app.reissue(caller).await
}
