//! Log in, call a protected route, log out everywhere, and see the token refused at once.

use std::{error::Error, path::Path};

use axum::{Router, extract::State, http::StatusCode, routing};
use tower_revocation::{
    Algorithm, Demand, EpochStore, Epochs, Follower, Grant, Id, Issuer, KeyRing, Revocation,
    RevocationLayer, Scope, SqliteStore, SyncHandle, Verified, Verifier,
};

async fn app(data: &Path) -> Result<(Router, SyncHandle), Box<dyn Error>> {
    let keys = KeyRing::open(data.join("keys"), Algorithm::ES256)?;
    let store = SqliteStore::open(data.join("quickstart.db")).await?;
    let epochs = Epochs::new();
    let sync = Follower::new(store.clone(), epochs.clone()).start()?;
    let issuer = Issuer::builder(store, keys)
        .issuer("http://127.0.0.1:3000")
        .audience("quickstart")
        .client_id("curl")
        .build()?;
    let verifier = Verifier::builder(epochs).issuer(issuer.rules()?).build()?;
    let app = Router::new()
        .route("/me", routing::get(async |caller: Verified| caller.subject().to_owned()))
        .route("/logout", routing::post(logout))
        .route_layer(RevocationLayer::new(verifier))
        .route("/login", routing::post(login))
        .with_state(issuer);
    Ok((app, sync))
}

/// Whoever asks is alice. A real service checks a password, after it has taken the ticket.
async fn login(State(issuer): State<Issuer<SqliteStore>>) -> Result<String, StatusCode> {
    let ticket = issuer.ticket().await.map_err(failed)?;
    let alice = Grant::new(Id::new("alice").map_err(failed)?);
    let tokens = issuer.login(ticket, alice).await.map_err(failed)?;
    Ok(tokens.access().as_str().to_owned())
}

async fn logout(issuer: State<Issuer<SqliteStore>>, caller: Verified) -> Result<(), StatusCode> {
    let everywhere = Scope::user(caller.subject()).map_err(failed)?;
    let revocation = Revocation::new(everywhere, Demand::Login);
    issuer.store().revoke(revocation).await.map(drop).map_err(failed)
}

fn failed(error: impl Error) -> StatusCode {
    eprintln!("{error}");
    StatusCode::SERVICE_UNAVAILABLE
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (app, _sync) = app("data".as_ref()).await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    Ok(axum::serve(listener, app).await?)
}
#[cfg(test)]
mod tests;
