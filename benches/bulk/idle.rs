//! What one idle instance sends to the database, counted there.

use std::time::Duration;

use tower_revocation::{Follower, epochs::Epochs, store::EpochStore};

use crate::stores::Server;

const TIME: Duration = Duration::from_secs(40);

/// The server tells its counts with a delay of some seconds.
const DELAY: Duration = Duration::from_secs(12);

pub(crate) async fn run<B: Server>() {
    let mut bare = B::new().await;
    let epochs = Epochs::new();
    let sync = Follower::new(bare.store().clone(), epochs.clone()).start().unwrap();
    epochs.ready().await;
    tokio::time::sleep(DELAY).await;
    let (before, sent_before) = (bare.statements().await, bare.store().statements().sync);
    tokio::time::sleep(TIME).await;
    let (after, sent_after) = (bare.statements().await, bare.store().statements().sync);
    drop(sync);
    println!(
        "an idle instance, {}: {:.2} statements a second by the server's count, {:.2} by our own",
        B::NAME,
        (after - before) as f64 / TIME.as_secs_f64(),
        (sent_after - sent_before) as f64 / TIME.as_secs_f64(),
    );
}
