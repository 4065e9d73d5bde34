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
    /// What the sync was hinted of.
    hinted: Heard,
    /// The announcements that were counted when the last poll was answered.
    counted: u64,
    /// Since when something is known that should have been announced, and was not.
    missing: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    /// The highest cut-off that was announced: by anybody, so it may be none of this store's.
    announced: StoreTime,
    /// How many announcements there were.
    count: u64,
    /// How often something may have been missed.
    gaps: u64,
}

impl Listener {
    pub(super) fn start(options: PgConnectOptions) -> Self {
        let (hints, heard) = watch::channel(Heard::default());
        let deaf = Arc::new(Notify::new());
        let task = tokio::spawn(listen(options, deaf.clone(), hints));
        Self { heard, deaf, task, hinted: Heard::default(), counted: 0, missing: None }
    }

    /// Resolves when something above `known` may have been revoked; once for each announcement, or
    /// one that is none of this store's would never end.
    pub(super) async fn hint(&mut self, known: StoreTime) {
        let Heard { announced, count, gaps } = self.hinted;
        let news = |heard: &Heard| {
            // One that is not the highest may be ours and lie behind somebody else's.
            let above = heard.announced > known || heard.announced == announced;
            heard.gaps != gaps || (heard.count != count && above)
        };
        match self.heard.wait_for(news).await.map(|heard| *heard) {
            Ok(heard) => self.hinted = heard,
            // The task has ended, with the runtime. Polls go on.
            Err(_) => std::future::pending().await,
        }
    }

    /// A poll has found all up to `head`; before, `known` was. If it found something and nothing at
    /// all was heard, not even a while later, the connection is deaf, and replaced.
    pub(super) fn found(&mut self, head: StoreTime, known: StoreTime) {
        let count = self.heard.borrow().count;
        let heard = std::mem::replace(&mut self.counted, count) != count;
        match self.missing {
            _ if heard => self.missing = None,
            Some(since) if since.elapsed() >= PATIENCE => {
                self.missing = None;
                telemetry::listener_deaf();
                self.deaf.notify_one();
            }
            None if head > known => self.missing = Some(Instant::now()),
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
                heard.count += 1;
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
