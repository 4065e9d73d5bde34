//! What goes on beside the requests: following the store, and following the signing keys.

use std::time::Duration;

use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::sleep,
};
use tower_revocation::{AnyStore, Issuer, SyncHandle, Verifier};

use crate::fault::Failure;

/// How often keys that other instances have made are looked for. New keys are published for a
/// minute before they sign.
const KEY_INTERVAL: Duration = Duration::from_secs(15);

/// Dropping it stops the work: the server then answers 503.
pub struct Background {
    _sync: SyncHandle,
    keys: JoinHandle<()>,
}

impl Background {
    pub fn start(sync: SyncHandle, issuer: Issuer<AnyStore>, verifier: Verifier) -> Self {
        let keys = tokio::spawn(async move {
            loop {
                sleep(KEY_INTERVAL).await;
                let (issuer, verifier) = (issuer.clone(), verifier.clone());
                match spawn_blocking(move || follow_keys(&issuer, &verifier)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::error!(error = &*error, "keys stay as they were"),
                    Err(error) => tracing::error!(%error, "keys stay as they were"),
                }
            }
        });
        Self { _sync: sync, keys }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.keys.abort();
    }
}

fn follow_keys(issuer: &Issuer<AnyStore>, verifier: &Verifier) -> Result<(), Failure> {
    issuer.keys().reload()?;
    let keys = issuer.keys().key_set(verifier.epochs().lifetimes())?;
    verifier.replace_keys(issuer.name(), keys)?;
    Ok(())
}
