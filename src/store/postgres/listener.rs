//! The announcements: a hint that something was revoked, milliseconds after it was.
//!
//! A task of its own listens, on a connection of its own. Whatever happens to that is a gap, in
//! which announcements may have been lost: the sync is hinted once it listens again. A connection
//! that is dead without a word looks like one on which nothing is announced, so it is asked for a
//! sign of life from time to time, and thrown away when polls find what was never announced.

use std::{sync::Arc, time::Duration};

use sqlx::{
    Executor,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::CHANNEL;
use crate::{
    cutoff::StoreTime,
    error::Error,
    store::{
        limits::{CONNECT_WAIT, in_time},
        sql::failed,
    },
    telemetry,
};

/// After so long without an announcement the connection is asked for a sign of life.
const SILENCE: Duration = Duration::from_secs(60);

/// Between two attempts to listen; doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long a revocation that a poll has found may go unannounced: it is announced after its
/// commit, so the poll may be first.
const PATIENCE: Duration = Duration::from_millis(500);

/// Listens until it is dropped.
pub(super) struct Listener {
    heard: watch::Receiver<Heard>,
    deaf: Arc<Notify>,
    task: JoinHandle<()>,
    /// The gaps that the sync was hinted of.
    gaps: u64,
    /// What polls have found that was not announced by then, and since when.
    missing: Option<(StoreTime, Instant)>,
    /// What was found before the connection was replaced does not count against the next one.
    forgiven: StoreTime,
}

#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    /// The highest cut-off that was announced.
    announced: StoreTime,
    /// How often something may have been missed.
    gaps: u64,
}

impl Listener {
    pub(super) fn start(options: PgConnectOptions) -> Self {
        let (hints, heard) = watch::channel(Heard::default());
        let deaf = Arc::new(Notify::new());
        let task = tokio::spawn(listen(options, deaf.clone(), hints));
        Self { heard, deaf, task, gaps: 0, missing: None, forgiven: StoreTime::ZERO }
    }

    /// Resolves when something above `known` may have been revoked.
    pub(super) async fn hint(&mut self, known: StoreTime) {
        let gaps = self.gaps;
        let news = |heard: &Heard| heard.announced > known || heard.gaps != gaps;
        match self.heard.wait_for(news).await.map(|heard| heard.gaps) {
            Ok(gaps) => self.gaps = gaps,
            // The task has ended, with the runtime. Polls go on.
            Err(_) => std::future::pending().await,
        }
    }

    /// A poll has found all up to `head`; before, `known` was. If something of that should have
    /// been announced long ago, the connection is deaf, and replaced.
    pub(super) fn found(&mut self, head: StoreTime, known: StoreTime) {
        let announced = self.heard.borrow().announced.max(self.forgiven);
        match self.missing {
            Some((missing, _)) if announced >= missing => self.missing = None,
            Some((_, since)) if since.elapsed() >= PATIENCE => {
                self.missing = None;
                self.forgiven = head;
                telemetry::listener_deaf();
                self.deaf.notify_one();
            }
            None if head > known && announced < head => {
                self.missing = Some((head, Instant::now()));
            }
            _ => {}
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(options: PgConnectOptions, deaf: Arc<Notify>, hints: watch::Sender<Heard>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let began = Instant::now();
        if let Err(error) = listen_once(&options, &deaf, &hints).await {
            telemetry::listener_failed(&error);
        }
        pause = if began.elapsed() > LONGEST_PAUSE { FIRST_PAUSE } else { pause * 2 };
        sleep(pause.min(LONGEST_PAUSE)).await;
    }
}

/// Listens over one connection until that fails or is found deaf.
async fn listen_once(
    options: &PgConnectOptions,
    deaf: &Notify,
    hints: &watch::Sender<Heard>,
) -> Result<(), Error> {
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(CONNECT_WAIT);
    let pool = pool.connect_lazy_with(options.clone());
    let mut listener = in_time(CONNECT_WAIT, PgListener::connect_with(&pool)).await?;
    // A lost connection is ours to replace.
    listener.eager_reconnect(false);
    in_time(CONNECT_WAIT, listener.listen(CHANNEL)).await?;
    // Now that it listens: what was announced before is to be caught up with.
    hints.send_modify(|heard| heard.gaps += 1);
    loop {
        let heard = tokio::select! {
            () = deaf.notified() => return Ok(()),
            heard = timeout(SILENCE, listener.try_recv()) => heard,
        };
        match heard {
            Ok(Ok(Some(announcement))) => hints.send_modify(|heard| {
                match announcement.payload().parse().map(StoreTime::from_micros) {
                    Ok(cut_off) => heard.announced = heard.announced.max(cut_off),
                    // Somebody else's, who may mean something all the same.
                    Err(_) => heard.gaps += 1,
                }
            }),
            // The connection was lost.
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(cause)) => return Err(failed(cause)),
            Err(_silent) => {
                in_time(CONNECT_WAIT, listener.execute("SELECT 1")).await?;
            }
        }
    }
}
