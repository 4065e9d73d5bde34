//! The task that follows the store.

use std::{convert::Infallible, future::Future, time::Duration};

use tokio::{
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    apply::{Asked, Cursor, Next},
    backoff::{Backoff, Jitter},
    member::Member,
};
use crate::{
    cutoff::StoreTime,
    epochs::Epochs,
    error::{ConfigError, Error, ErrorKind},
    scope::Id,
    store::{Changes, EpochStore, Latest, Source, Watch},
    telemetry,
};

/// Longer intervals are mistakes.
const LONGEST_INTERVAL: Duration = Duration::from_secs(86_400);

/// How long a purge may take.
const PURGE_LIMIT: Duration = Duration::from_secs(60);

/// Before a task that panicked is started again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Keeps an [`Epochs`] in step with a store.
///
/// Needs a tokio runtime with its timer enabled.
#[derive(Clone, Debug)]
pub struct Follower<S> {
    store: S,
    epochs: Epochs,
    poll_interval: Duration,
    query_timeout: Duration,
    reload_interval: Duration,
    purge_interval: Duration,
    jitter: Jitter,
    /// Its name in the fleet, if it acknowledges.
    member: Option<Id>,
}

impl<S: EpochStore> Follower<S> {
    /// Polls each second and whenever the store hints, gives a query 2 seconds, loads everything
    /// every 5 minutes, purges every 10.
    pub fn new(store: S, epochs: Epochs) -> Self {
        Self {
            store,
            epochs,
            poll_interval: Duration::from_secs(1),
            query_timeout: Duration::from_secs(2),
            reload_interval: Duration::from_secs(300),
            purge_interval: Duration::from_secs(600),
            jitter: Jitter::Random,
            member: None,
        }
    }

    /// How often to poll when nothing hints, give or take a tenth.
    #[must_use]
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    /// How long the store may take to answer. A full load may take as long as the epochs'
    /// [`max_staleness`](crate::epochs::EpochsBuilder::max_staleness), if that is longer; no poll
    /// runs meanwhile.
    #[must_use]
    pub fn query_timeout(mut self, limit: Duration) -> Self {
        self.query_timeout = limit;
        self
    }

    /// How often to load everything, give or take a fifth.
    #[must_use]
    pub fn reload_interval(mut self, interval: Duration) -> Self {
        self.reload_interval = interval;
        self
    }

    /// How often to purge memory and store, give or take a fifth.
    #[must_use]
    pub fn purge_interval(mut self, interval: Duration) -> Self {
        self.purge_interval = interval;
        self
    }

    /// Waits exactly as long as it was told, for tests that are to go the same way each time. A fleet
    /// without jitter polls, and reconnects, in step.
    #[must_use]
    pub fn without_jitter(mut self) -> Self {
        self.jitter = Jitter::None;
        self
    }

    /// Acknowledges revocations under `name`, so that whoever revokes can
    /// [wait](crate::cutoff::Receipt::enforced_everywhere) until they are enforced everywhere.
    ///
    /// This has to be called in every instance of the fleet, and of every follower of these epochs, or
    /// "everywhere" does not mean it. The name is for people: `api-3`, or a host and a port. Two may
    /// share one.
    ///
    /// The instance enlists in the store before it loads, acknowledges each revocation once it is in
    /// force here, and is heard of every third of its
    /// [bound](crate::Epochs::longest_staleness), each time by a small statement and one that reads
    /// the list of instances. If the store does not take note of it, the copy grows
    /// stale as if it could not be read. One that has not been heard of for twice its bound is struck
    /// off by the others; until then, whoever waits waits for one that was shut down, too.
    ///
    /// The store has to be a primary's. A copy that follows a standby cannot acknowledge: its sync
    /// fails.
    #[must_use]
    pub fn in_fleet(mut self, name: Id) -> Self {
        self.member = Some(name);
        self
    }

    /// Starts the work. It goes on, through every failure, until the handle is dropped.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Duration`] if an interval is zero or over a day, or the staleness bound of
    /// the epochs is under three polls.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn start(self) -> Result<SyncHandle, ConfigError> {
        let refuse = |field, value, problem| Err(ConfigError::Duration { field, value, problem });
        for (field, value) in [
            ("poll_interval", self.poll_interval),
            ("query_timeout", self.query_timeout),
            ("reload_interval", self.reload_interval),
            ("purge_interval", self.purge_interval),
        ] {
            if value.is_zero() {
                return refuse(field, value, "is zero");
            }
            if value > LONGEST_INTERVAL {
                return refuse(field, value, "is over a day");
            }
        }
        let max_staleness = self.epochs.max_staleness();
        if max_staleness < self.poll_interval * 3 {
            return refuse("max_staleness", max_staleness, "is under three poll intervals");
        }
        if self.member.is_some() {
            self.epochs.bound().begin_to_announce();
        }
        let purger = self.clone();
        Ok(SyncHandle {
            tasks: [
                tokio::spawn(supervise(move || self.clone().follow())),
                tokio::spawn(supervise(move || purger.clone().purge())),
            ],
        })
    }

    async fn follow(self) -> Infallible {
        let mut backoff = Backoff::new(self.jitter);
        let mut cursor = None;
        let member = self.member.clone();
        let mut member = member.map(|name| Member::new(name, &self.epochs));
        loop {
            let Err(error) = self.follow_one(&mut cursor, &mut member, &mut backoff).await;
            telemetry::sync_failed(&error);
            sleep(backoff.pause()).await;
        }
    }

    /// Follows over one connection, until that fails. `followed` is where the one before has ended.
    async fn follow_one(
        &self,
        followed: &mut Option<Cursor>,
        member: &mut Option<Member>,
        backoff: &mut Backoff,
    ) -> Result<Infallible, Error> {
        let mut watch = self.in_time(self.store.watch()).await?;
        let cursor = self.load(&mut watch, followed.as_ref(), member).await?;
        let cursor = followed.insert(cursor);
        let _ = self.poll(&mut watch, cursor, member).await?;
        backoff.reset();
        let mut reload_at = self.next_reload();
        loop {
            let pause = self.jitter.of(self.poll_interval, 0.1);
            tokio::select! {
                // A hint before the pause, so that the same events make the same polls.
                biased;
                hint = watch.hint() => match hint {
                    Err(_) if cfg!(plant = "listener_error_ignored") => {}
                    #[cfg(plant = "hint_as_data")]
                    Ok(()) => {
                        cursor.hinted(&self.epochs);
                        continue;
                    }
                    hint => hint?,
                },
                () = sleep(pause) => {}
            }
            let due = Instant::now() >= reload_at;
            if due || self.poll(&mut watch, cursor, member).await? == Next::Reload {
                *cursor = self.load(&mut watch, Some(&*cursor), member).await?;
                // If this asks for another load, the next poll does so too, after a pause.
                let _ = self.poll(&mut watch, cursor, member).await?;
                reload_at = self.next_reload();
            }
        }
    }

    async fn poll(
        &self,
        watch: &mut S::Watch,
        cursor: &mut Cursor,
        member: &mut Option<Member>,
    ) -> Result<Next, Error> {
        let asked = self.ask(member).await?;
        let latest = self.in_time(self.changes(watch, cursor.head())).await?;
        #[cfg(plant = "freshness_after_poll")]
        let asked = Asked { at: self.epochs.clock().now(), ..asked };
        let next = cursor.poll(&self.epochs, latest, asked);
        telemetry::synced(self.epochs.len(), self.epochs.newest());
        // Not to another database what this one has told.
        if next == Next::Poll {
            self.acknowledge(cursor, member).await;
        }
        Ok(next)
    }

    /// The moment that an answer will be as of: before it is sent, as what commits while that is under
    /// way may be missing from it; and with this instance in the roster, if it is of a fleet.
    async fn ask(&self, member: &mut Option<Member>) -> Result<Asked, Error> {
        let at = self.epochs.clock().now();
        let Some(member) = member else { return Ok(Asked { at, enlisted: None }) };
        if cfg!(plant = "registers_after_loading") && !self.epochs.is_loaded() {
            return Ok(Asked { at, enlisted: None });
        }
        let mut beat = Ok(());
        if member.is_due(&self.epochs, at) {
            beat = self.in_time(member.beat(&self.store, &self.epochs, at)).await;
        }
        // Once more: it may have taken long.
        let at = self.epochs.clock().now();
        if member.is_heard_of(at) {
            // There is time for another beat.
            beat.unwrap_or_else(|failed| telemetry::roster_failed(&failed));
            return Ok(Asked { at, enlisted: member.enlisted() });
        }
        beat?;
        Err(Error::new(ErrorKind::StoreTimeout, "a beat took longer than it counts"))
    }

    /// Has the store hear that an answer was applied. That it does not for now is no reason to begin anew:
    /// the next poll tries again.
    async fn acknowledge(&self, cursor: &Cursor, member: &mut Option<Member>) {
        let Some(member) = member else { return };
        let told = async {
            self.in_time(member.applied(&self.store, cursor.head())).await?;
            self.in_time(member.look_around(&self.store, &self.epochs)).await
        };
        told.await.unwrap_or_else(|failed| telemetry::roster_failed(&failed));
    }

    /// Loads everything. It may take longer than a poll: a load that ends too late to be fresh
    /// is followed by a poll, which is.
    async fn load(
        &self,
        watch: &mut S::Watch,
        followed: Option<&Cursor>,
        member: &mut Option<Member>,
    ) -> Result<Cursor, Error> {
        let limit = self.query_timeout.max(self.epochs.max_staleness());
        let mut asked = self.ask(member).await?;
        let mut latest = within(limit, self.everything(watch)).await?;
        let (head, known) = (latest.changes.head, self.epochs.newest());
        if latest.changes.source == Source::Primary && head < known {
            // Restored from a backup. Our cut-offs stay; the store must mint above them, or
            // whoever logs in now would be refused by what it has forgotten.
            telemetry::store_went_back(head, known);
            self.epochs.forgotten_above(head);
            self.in_time(self.store.advance(known)).await?;
            asked = self.ask(member).await?;
            latest = within(limit, self.everything(watch)).await?;
            if latest.changes.head < known {
                return Err(Error::new(ErrorKind::Corrupt, "the store does not advance"));
            }
        } else if followed.is_some_and(|cursor| cursor.is_of_another(&latest.changes)) {
            // Another one, or restored and advanced by another instance: nobody knows from where.
            self.epochs.forgotten_above(StoreTime::ZERO);
        }
        let cursor = Cursor::load(&self.epochs, latest, asked);
        telemetry::synced(self.epochs.len(), self.epochs.newest());
        self.acknowledge(&cursor, member).await;
        Ok(cursor)
    }

    /// All that the copy has room for.
    async fn everything(&self, watch: &mut S::Watch) -> Result<Latest, Error> {
        match self.epochs.buckets() {
            Some(buckets) => watch.latest(StoreTime::ZERO, buckets).await,
            None => watch.load().await.map(all_told),
        }
    }

    /// What has changed above `cursor`, as far as the copy has room for it. (With more revocations
    /// than there are buckets, nearly every bucket has one, and to doubt what is older costs little.)
    async fn changes(&self, watch: &mut S::Watch, cursor: StoreTime) -> Result<Latest, Error> {
        match self.epochs.buckets() {
            Some(buckets) => watch.latest(cursor, buckets).await,
            None => watch.poll(cursor).await.map(all_told),
        }
    }

    async fn purge(self) -> Infallible {
        loop {
            sleep_until(Instant::now() + self.jitter.of(self.purge_interval, 0.2)).await;
            let forgotten = self.epochs.purge(self.epochs.clock().now());
            match within(PURGE_LIMIT, self.store.purge(self.epochs.lifetimes())).await {
                Ok(deleted) => telemetry::purged(forgotten, deleted),
                Err(error) => telemetry::sync_failed(&error),
            }
        }
    }

    fn next_reload(&self) -> Instant {
        Instant::now() + self.jitter.of(self.reload_interval, 0.2)
    }

    async fn in_time<T>(&self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        within(self.query_timeout, answer).await
    }
}

fn all_told(changes: Changes) -> Latest {
    Latest { changes, untold: StoreTime::ZERO }
}

async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    timeout(limit, answer).await.map_err(|late| Error::new(ErrorKind::StoreTimeout, late))?
}

/// Runs `task` for ever, and anew should it panic: in a store of somebody else's, for instance.
async fn supervise<F>(task: impl Fn() -> F)
where
    F: Future<Output = Infallible> + Send + 'static,
{
    loop {
        // The set aborts its task when this one is.
        let mut running = JoinSet::new();
        running.spawn(task());
        if let Some(Err(ended)) = running.join_next().await {
            telemetry::task_panicked(&ended);
        }
        sleep(RESTART_PAUSE).await;
    }
}

/// The running sync. Dropping it stops the work: the copy grows stale, and requests are refused.
#[derive(Debug)]
#[must_use = "dropping the handle stops the sync"]
pub struct SyncHandle {
    tasks: [JoinHandle<()>; 2],
}

impl SyncHandle {
    /// Whether the work goes on. It ends by itself only if the runtime does.
    pub fn is_running(&self) -> bool {
        self.tasks.iter().all(|task| !task.is_finished())
    }
}

impl Drop for SyncHandle {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
