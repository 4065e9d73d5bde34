//! `POST /login`.

use axum::extract::State;
use serde::Deserialize;
use tower_revocation::{
    Demand,
    error::{Error, ErrorKind},
    session::TokenPair,
};

use crate::{
    app::App,
    extract::{JsonOrForm, Seen},
    fault::Fault,
};

/// How often a login whose claims went stale under way starts over.
const ATTEMPTS: usize = 5;

#[derive(Deserialize)]
pub struct Credentials {
    username: String,
    password: String,
    /// What the user calls this device.
    label: Option<String>,
}

pub async fn login(
    State(app): State<App>,
    Seen(mut device): Seen,
    JsonOrForm(credentials): JsonOrForm<Credentials>,
) -> Result<TokenPair, Fault> {
    let Credentials { username, password, label } = credentials;
    if let Some(label) = label {
        device = device.with_label(&label);
    }
    for _ in 0..ATTEMPTS {
        // Before the user is read: a revocation after this refuses the login.
        let ticket = app.issuer.ticket().await?;
        let user = app.users.authenticate(&username, password.clone()).await?;
        let user = user.ok_or(Fault::WrongPassword)?;
        if user.suspended {
            return Err(Fault::AccountSuspended);
        }
        let grant = user.grant().device(device.clone());
        match app.issuer.login(ticket, grant).await {
            // The groups may have changed since they were read.
            Err(stale) if stale.kind() == ErrorKind::RevokedMeanwhile(Demand::Refresh) => {}
            done => return Ok(done?),
        }
    }
    Err(Error::from(ErrorKind::RevokedMeanwhile(Demand::Refresh)).into())
}
