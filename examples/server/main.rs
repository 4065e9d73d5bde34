//! A complete service: logins, devices, protected routes, revocation, metrics.
//!
//! `cargo run --example server`, then the curl lines of the README. Its database is a SQLite file in
//! `DATA_DIR`, or the one that `DATABASE_URL` names. Several of them on one database and one
//! `DATA_DIR` are a fleet: a revocation in one is enforced in all.

mod account;
mod admin;
mod app;
mod background;
mod config;
mod database;
mod extract;
mod fault;
mod fleet;
mod login;
mod metrics;
mod passwords;
mod sessions;
#[cfg(test)]
mod tests;
mod users;

use std::{net::SocketAddr, process::ExitCode};

use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

use crate::{app::app, config::Config, fault::Failure};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With its causes, in words.
            eprintln!("error: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Failure> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).init();

    let config = Config::from_env()?;
    let listener = TcpListener::bind(config.address).await?;
    let (app, _background) = app(&config).await?;
    println!("listening on http://{}", listener.local_addr()?);
    // With the client's address, for the list of devices.
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).with_graceful_shutdown(stopped()).await?;
    Ok(())
}

/// Resolves at Ctrl-C or, where there is one, SIGTERM.
async fn stopped() {
    let interrupted = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};

        if let Ok(mut terminated) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = interrupted => {}
                _ = terminated.recv() => {}
            }
            return;
        }
    }
    let _ = interrupted.await;
}
