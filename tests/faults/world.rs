//! A fleet, its database and its clients, with sessions that are checked all the time.

use std::time::Duration;

use rand::RngExt;
use tokio::{sync::Mutex, task::JoinSet, time::sleep};
use tower_revocation::Demand;

use crate::{
    checker::{Bounds, Violation, judge},
    clients::{ALICE, BOB, Clients, Revoked, Seen, User},
    cluster::Cluster,
    fleet::{Fleet, INSTANCES, MAX_STALENESS},
    history::{Answer, Moment, Outcome, Recovery, Scope},
};

/// What is promised.
pub(crate) const BOUNDS: Bounds =
    Bounds { max_staleness: MAX_STALENESS, recovery: Duration::from_secs(10) };

/// How long anything is waited for that has to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a server may go on with a revocation whose client has given up.
const UNKNOWN_FOR: Duration = Duration::from_secs(13);

/// How many clients check at a time.
const CHECKERS: usize = 6;

pub(crate) struct World {
    pub(crate) clients: Clients,
    cluster: Option<Mutex<Cluster>>,
    _checkers: JoinSet<()>,
}

/// What a piece of history came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) checks: usize,
    /// Checks that were answered 503.
    pub(crate) unavailable: usize,
    /// Checks that no server was there to answer.
    pub(crate) unanswered: usize,
    pub(crate) refreshes: usize,
    pub(crate) revocations: usize,
    /// Revocations of which nobody knows whether they were stored.
    pub(crate) unknown: usize,
    pub(crate) violations: Vec<Violation>,
    pub(crate) slowest_recovery: Duration,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.checks += other.checks;
        self.unavailable += other.unavailable;
        self.unanswered += other.unanswered;
        self.refreshes += other.refreshes;
        self.revocations += other.revocations;
        self.unknown += other.unknown;
        self.violations.extend(other.violations);
        self.slowest_recovery = self.slowest_recovery.max(other.slowest_recovery);
    }
}

impl World {
    /// Three servers on `cluster`, or on SQLite, and clients that check whatever is watched.
    pub(crate) async fn start(cluster: Option<Cluster>) -> Self {
        let clients = Clients::new(Fleet::start(cluster.as_ref()).await);
        clients.give_alice_her_group().await;
        let mut checkers = JoinSet::new();
        for _ in 0..CHECKERS {
            checkers.spawn(check_for_ever(clients.clone()));
        }
        Self { clients, cluster: cluster.map(Mutex::new), _checkers: checkers }
    }

    pub(crate) async fn kill_database(&self) {
        self.cluster.as_ref().unwrap().lock().await.kill();
    }

    pub(crate) async fn start_database_again(&self) {
        self.cluster.as_ref().unwrap().lock().await.start_again().await;
    }

    /// The database's name and version.
    pub(crate) async fn database(&self) -> String {
        let Some(cluster) = &self.cluster else { return "SQLite".to_owned() };
        let cluster = cluster.lock().await;
        format!("{} {}", cluster.engine().name(), cluster.version().await)
    }

    /// A new session of `user`, at whichever server lets them in.
    pub(crate) async fn log_in(&self, user: User) -> usize {
        self.until(async || self.clients.login(any(), user).await)
            .await
            .expect("nobody lets them in")
    }

    /// The next token of the session of `token`, or a new session if `demand` is to log in.
    async fn renew(&self, token: usize, demand: Demand) -> Option<usize> {
        let user = match self.clients.seen().history.tokens[token].user.as_str() {
            name if name == BOB.name => BOB,
            _ => ALICE,
        };
        self.until(async || match demand {
            Demand::Login => self.clients.login(any(), user).await,
            // Ended by a revocation whose client has given up, and which came through after all.
            // Whether there was one, the checker finds out.
            _ if self.clients.is_over(token) => self.clients.login(any(), user).await,
            _ => self.clients.refresh(any(), token).await,
        })
        .await
    }

    /// Revokes at whichever server can, as the administrator with the token `admin`, who logs in
    /// anew if they were revoked themselves.
    pub(crate) async fn revoke_for_sure(&self, admin: &mut usize, scope: &Scope, demand: Demand) {
        let mut token = *admin;
        let stored = self.until(async || {
            let instance = any();
            match self.clients.revoke(instance, token, scope, demand).await {
                Revoked::Stored => Some(token),
                Revoked::Unknown => None,
                Revoked::NotAsked => {
                    if let Answer::Refused(_) = self.clients.check(instance, token).await {
                        token = self.clients.login(any(), BOB).await.unwrap_or(token);
                    }
                    None
                }
            }
        });
        *admin = stored.await.expect("nobody can revoke");
    }

    /// Waits until every instance refuses `revoked` and accepts a fresh token of the same user, which
    /// is returned, and writes down how long that took.
    pub(crate) async fn recover(
        &self,
        healed: Moment,
        revoked: usize,
        demand: Demand,
    ) -> Option<usize> {
        let mut fresh = self.renew(revoked, demand).await;
        let mut well = fresh.is_some();
        for instance in 0..INSTANCES {
            let right = self.until(async || {
                let accepted = match self.clients.check(instance, fresh?).await {
                    // As at the end of a session.
                    Answer::Refused(_) => {
                        fresh = self.renew(fresh?, Demand::Login).await;
                        false
                    }
                    answer => answer == Answer::Accepted,
                };
                let refused = self.clients.check(instance, revoked).await;
                (accepted && matches!(refused, Answer::Refused(_))).then_some(())
            });
            well &= right.await.is_some();
        }
        let recovered = well.then(|| self.clients.now());
        self.clients.seen().history.recoveries.push(Recovery { healed, recovered });
        fresh
    }

    /// Waits until every instance says something about `token`, whatever it is, and writes it down.
    pub(crate) async fn speak_again(&self, healed: Moment, token: usize) {
        let mut well = true;
        for instance in 0..INSTANCES {
            let spoken = self.until(async || match self.clients.check(instance, token).await {
                Answer::Accepted | Answer::Refused(_) => Some(()),
                _ => None,
            });
            well &= spoken.await.is_some();
        }
        let recovered = well.then(|| self.clients.now());
        self.clients.seen().history.recoveries.push(Recovery { healed, recovered });
    }

    /// Asks until there is something, for as long as patience lasts.
    async fn until<T>(&self, mut ask: impl AsyncFnMut() -> Option<T>) -> Option<T> {
        let end = self.clients.now() + PATIENCE;
        while self.clients.now() < end {
            if let Some(something) = ask().await {
                return Some(something);
            }
            sleep(Duration::from_millis(20)).await;
        }
        None
    }

    /// Judges what was seen since the last time, and forgets it.
    pub(crate) fn judged(&self) -> Tally {
        let now = self.clients.now();
        let mut seen = self.clients.seen();
        let Seen { history, judged, .. } = &mut *seen;
        let revocations =
            &history.revocations[std::mem::replace(judged, history.revocations.len())..];
        let unknown = revocations.iter().filter(|it| matches!(it.outcome, Outcome::Unknown(_)));
        let (revocations, unknown) = (revocations.len(), unknown.count());
        history.settle(now.saturating_sub(UNKNOWN_FOR), now);
        let with =
            |wanted: Answer| history.checks.iter().filter(|check| check.answer == wanted).count();
        let took = history.recoveries.iter().map(|it| it.recovered.unwrap_or(now) - it.healed);
        let tally = Tally {
            checks: history.checks.len(),
            unavailable: with(Answer::Unavailable),
            unanswered: with(Answer::Nothing),
            refreshes: history.refreshes.len(),
            revocations,
            unknown,
            violations: judge(history, BOUNDS),
            slowest_recovery: took.max().unwrap_or_default(),
        };
        history.forget_the_judged();
        tally
    }
}

/// One of the instances.
pub(crate) fn any() -> usize {
    rand::rng().random_range(0..INSTANCES)
}

async fn check_for_ever(clients: Clients) {
    loop {
        let watched = clients.seen().watched.clone();
        if !watched.is_empty() {
            let token = watched[rand::rng().random_range(0..watched.len())];
            clients.check(any(), token).await;
        }
        let pause = rand::rng().random_range(4_000..12_000);
        sleep(Duration::from_micros(pause)).await;
    }
}
