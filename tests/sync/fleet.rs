//! Instances that acknowledge, and who waits for them. Their clock follows the runtime's, which is
//! paused.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tower_revocation::{
    Demand, EpochStore, Epochs, Follower, Id, Revocation, RevocationLayer, Verifier,
    clock::{Clock, Reading},
    cutoff::{CutOff, Receipt, Stamp},
    error::ErrorKind,
    store::{Enforcement, How, MemoryStore, Roster},
    sync::SyncHandle,
    token::{Algorithm, KeySet, SigningKey},
    verify::IssuerRules,
};

use super::{Faults, Faulty, START, alice};

const SECOND: Duration = Duration::from_secs(1);

/// More than any bound here.
const LONG: Duration = Duration::from_secs(1_000);

/// Several instances on one database.
struct Fleet {
    clock: Clock,
    store: MemoryStore,
}

struct Running {
    store: Faulty,
    epochs: Epochs,
    _sync: SyncHandle,
}

impl Fleet {
    fn new() -> Self {
        let start = Instant::now();
        let clock = Clock::simulated(move || {
            let monotonic = start.elapsed();
            Reading { monotonic, wall: START + monotonic }
        });
        Self { store: MemoryStore::with_clock(clock.clone()), clock }
    }

    /// One that is up.
    async fn start(&self, name: &str) -> Running {
        let running = self.start_with(name, |_| {});
        running.epochs.ready().await;
        // Its bound is announced, and it has acknowledged.
        sleep(SECOND).await;
        running
    }

    fn start_with(&self, name: &str, prepare: impl FnOnce(&Faults)) -> Running {
        let store = Faulty { store: self.store.clone(), faults: Arc::default() };
        prepare(&store.faults);
        let epochs = Epochs::builder().clock(self.clock.clone()).build().unwrap();
        let follower =
            Follower::new(store.clone(), epochs.clone()).in_fleet(Id::new(name).unwrap());
        let sync = follower.without_jitter().start().unwrap();
        Running { store, epochs, _sync: sync }
    }

    async fn revoke(&self) -> Receipt {
        self.store.revoke(Revocation::new(alice(), Demand::Login)).await.unwrap()
    }

    async fn roster(&self) -> Roster {
        self.store.roster().await.unwrap()
    }

    async fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            self.roster().await.instances.iter().map(|it| named(&it.instance.name)).collect();
        names.sort();
        names
    }
}

fn named(name: &Id) -> String {
    name.as_str().to_owned()
}

impl Running {
    fn hangs(&self, hangs: bool) {
        self.store.faults.hangs.store(hangs, Ordering::Relaxed);
    }

    fn is_fresh(&self) -> bool {
        self.epochs.freshness(self.epochs.clock().now()).is_fresh()
    }

    /// Whether a token of alice's from before everything would be accepted.
    fn accepts(&self) -> bool {
        self.is_fresh() && self.epochs.revoked([&alice()], Stamp::from_micros(1)).is_none()
    }
}

fn names_of(enforcement: &Enforcement, how: How) -> Vec<String> {
    let of_kind = enforcement.instances.iter().filter(|enforced| enforced.how == how);
    let mut names: Vec<_> = of_kind.map(|enforced| named(&enforced.instance.name)).collect();
    names.sort();
    names
}

#[tokio::test(start_paused = true)]
async fn a_revocation_is_enforced_everywhere_once_all_have_acknowledged() {
    let fleet = Fleet::new();
    let running = [fleet.start("a").await, fleet.start("b").await, fleet.start("c").await];
    let receipt = fleet.revoke().await;
    let enforcement = receipt.enforced_everywhere(&fleet.store, LONG).await.unwrap();
    assert!(enforcement.is_everywhere());
    assert_eq!(names_of(&enforcement, How::Acknowledged), ["a", "b", "c"]);
    assert_eq!(enforcement.unacknowledged().count(), 0);
    for enforced in &enforcement.instances {
        assert!(enforced.lag < Duration::from_millis(100), "{enforced:?}");
        assert_eq!(enforced.applied, receipt.revoked_before());
    }
    for instance in &running {
        assert_eq!(instance.epochs.cut_off(&alice()).login_before, receipt.revoked_before());
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_silent_is_outwaited_and_accepts_nothing_by_then() {
    let fleet = Fleet::new();
    let (healthy, silent) = (fleet.start("healthy").await, fleet.start("silent").await);
    silent.hangs(true);
    let receipt = fleet.revoke().await;
    let returned = Instant::now();
    let enforcement = receipt.enforced_everywhere(&fleet.store, LONG).await.unwrap();
    let waited = returned.elapsed();
    assert!(enforcement.is_everywhere());
    assert_eq!(names_of(&enforcement, How::Acknowledged), ["healthy"]);
    assert_eq!(names_of(&enforcement, How::Outwaited), ["silent"]);
    // The bound is ten seconds, and two clocks may run apart by 0.2 %.
    assert!(
        (Duration::from_millis(10_020)..Duration::from_millis(10_100)).contains(&waited),
        "{waited:?}"
    );
    assert!(enforcement.unacknowledged().all(|enforced| enforced.lag >= 10 * SECOND));
    assert!(!silent.is_fresh());
    assert_eq!(silent.epochs.cut_off(&alice()), CutOff::NONE);
    assert!(healthy.is_fresh());
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_less_than_the_bound_is_told_who_was_silent() {
    let fleet = Fleet::new();
    let (_healthy, silent) = (fleet.start("healthy").await, fleet.start("silent").await);
    silent.hangs(true);
    let receipt = fleet.revoke().await;
    let enforcement = receipt.enforced_everywhere(&fleet.store, 3 * SECOND).await.unwrap();
    assert!(!enforcement.is_everywhere());
    assert_eq!(names_of(&enforcement, How::Silent), ["silent"]);
    let silent: Vec<_> = enforcement.unacknowledged().collect();
    assert!(silent[0].applied < receipt.revoked_before());
    assert!((3 * SECOND..Duration::from_millis(3_100)).contains(&silent[0].lag), "{silent:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_falls_silent_keeps_nobody_beyond_the_bound() {
    let fleet = Fleet::new();
    let silent = fleet.start("silent").await;
    silent.hangs(true);
    let asked = Faulty { store: fleet.store.clone(), faults: Arc::default() };
    let receipt = fleet.revoke().await;
    let (enforcement, ()) = tokio::join!(receipt.enforced_everywhere(&asked, LONG), async {
        sleep(SECOND).await;
        asked.faults.hangs.store(true, Ordering::Relaxed);
    });
    assert_eq!(names_of(&enforcement.unwrap(), How::Outwaited), ["silent"]);
    assert!(!silent.is_fresh());
    // One that never answers at all says nothing.
    let failed = receipt.enforced_everywhere(&asked, SECOND).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::StoreTimeout);
    asked.faults.hangs.store(false, Ordering::Relaxed);
    asked.faults.read_only.store(true, Ordering::Relaxed);
    let failed = receipt.enforced_everywhere(&asked, SECOND).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Store);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_everywhere_where_no_instance_acknowledges() {
    let fleet = Fleet::new();
    let receipt = fleet.revoke().await;
    let failed = receipt.enforced_everywhere(&fleet.store, LONG).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::NoInstances);
}

#[tokio::test(start_paused = true)]
async fn an_instance_enlists_before_it_loads() {
    let fleet = Fleet::new();
    let running =
        fleet.start_with("new", |faults| faults.hangs_at_load.store(true, Ordering::Relaxed));
    sleep(SECOND).await;
    assert!(!running.epochs.is_loaded());
    assert_eq!(fleet.names().await, ["new"]);
}

#[tokio::test(start_paused = true)]
async fn who_cannot_enlist_does_not_become_ready() {
    let fleet = Fleet::new();
    let read_only = |faults: &Faults| faults.read_only.store(true, Ordering::Relaxed);
    let running = fleet.start_with("new", read_only);
    sleep(5 * SECOND).await;
    assert!(!running.epochs.is_loaded());
    running.store.faults.read_only.store(false, Ordering::Relaxed);
    running.epochs.ready().await;
    assert_eq!(fleet.names().await, ["new"]);
}

#[tokio::test(start_paused = true)]
async fn who_is_not_heard_of_grows_stale_and_recovers() {
    let fleet = Fleet::new();
    let running = fleet.start("a").await;
    running.store.faults.read_only.store(true, Ordering::Relaxed);
    // Its answers count for two thirds of the bound after its last beat, and are believed for the bound;
    // it is struck off after twice that.
    sleep(17 * SECOND).await;
    assert!(!running.is_fresh());
    running.store.faults.read_only.store(false, Ordering::Relaxed);
    sleep(5 * SECOND).await;
    assert!(running.is_fresh());
}

#[tokio::test(start_paused = true)]
async fn the_dead_are_struck_off_after_twice_their_bound() {
    let fleet = Fleet::new();
    let (_alive, dead) = (fleet.start("alive").await, fleet.start("dead").await);
    drop(dead);
    sleep(19 * SECOND).await;
    assert_eq!(fleet.names().await, ["alive", "dead"]);
    sleep(6 * SECOND).await;
    assert_eq!(fleet.names().await, ["alive"]);
    // From then on nobody waits for it.
    let receipt = fleet.revoke().await;
    let asked = Instant::now();
    assert!(receipt.enforced_everywhere(&fleet.store, LONG).await.unwrap().is_everywhere());
    assert!(asked.elapsed() < SECOND);
}

#[tokio::test(start_paused = true)]
async fn who_was_struck_off_enlists_before_it_is_fresh_again() {
    let fleet = Fleet::new();
    let (_other, stopped) = (fleet.start("other").await, fleet.start("stopped").await);
    fleet.revoke().await;
    stopped.hangs(true);
    sleep(30 * SECOND).await;
    assert_eq!(fleet.names().await, ["other"]);
    stopped.hangs(false);
    while !stopped.is_fresh() {
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(fleet.names().await, ["other", "stopped"]);
    // And says what is in force there.
    sleep(5 * SECOND).await;
    let receipt = Receipt::new(fleet.roster().await.newest);
    let enforcement = receipt.enforced_everywhere(&fleet.store, SECOND).await.unwrap();
    assert_eq!(names_of(&enforcement, How::Acknowledged), ["other", "stopped"]);
}

#[tokio::test(start_paused = true)]
async fn a_roster_that_answers_slowly_makes_no_copy_stale() {
    let fleet = Fleet::new();
    let running = fleet.start("slow").await;
    running.store.faults.roster_takes.store(1_900, Ordering::Relaxed);
    for _ in 0..60 {
        sleep(SECOND).await;
        assert!(running.is_fresh());
    }
}

#[tokio::test(start_paused = true)]
async fn no_revocation_is_enforced_everywhere_while_a_token_it_covers_is_accepted() {
    let fleet = Fleet::new();
    let (_other, stopped) = (fleet.start("other").await, fleet.start("stopped").await);
    // It stops for less and for more than it takes to be struck off.
    for stops in [1, 3, 9, 11, 19, 21, 25, 40] {
        let cleared = fleet.store.clear(&alice(), audit()).await.unwrap();
        stopped.epochs.wait_for(&cleared).await;
        stopped.hangs(true);
        let (accepted, everywhere) = tokio::join!(
            async {
                let end = Instant::now() + stops * SECOND + 5 * SECOND;
                let mut last = None;
                while Instant::now() < end {
                    if Instant::now() + 5 * SECOND >= end {
                        stopped.hangs(false);
                    }
                    if stopped.accepts() {
                        last = Some(Instant::now());
                    }
                    sleep(Duration::from_millis(7)).await;
                }
                last.unwrap()
            },
            async {
                sleep(SECOND / 2).await;
                let receipt = fleet.revoke().await;
                let enforcement = receipt.enforced_everywhere(&fleet.store, LONG).await.unwrap();
                assert!(enforcement.is_everywhere());
                Instant::now()
            }
        );
        assert!(accepted <= everywhere, "after {stops} s: {:?}", accepted - everywhere);
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_for_which_a_layer_trusts_a_stale_copy_is_waited_for() {
    let fleet = Fleet::new();
    let running = fleet.start("a").await;
    let trusts = 30 * SECOND;
    let _layer = layer(&running.epochs).dangerous_trust_while_stale(trusts).unwrap();
    assert_eq!(running.epochs.longest_staleness(), 40 * SECOND);
    sleep(3 * SECOND).await;
    assert_eq!(fleet.roster().await.instances[0].instance.bound, 40 * SECOND);
    running.hangs(true);
    let receipt = fleet.revoke().await;
    let asked = Instant::now();
    let enforcement = receipt.enforced_everywhere(&fleet.store, LONG).await.unwrap();
    assert_eq!(names_of(&enforcement, How::Outwaited), ["a"]);
    assert!(asked.elapsed() >= 40 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_bound_that_could_not_be_raised_is_raised_later() {
    let fleet = Fleet::new();
    let running = fleet.start("a").await;
    running.store.faults.read_only.store(true, Ordering::Relaxed);
    let _layer = layer(&running.epochs).dangerous_trust_while_stale(30 * SECOND).unwrap();
    sleep(3 * SECOND).await;
    assert_eq!(fleet.roster().await.instances[0].instance.bound, 10 * SECOND);
    running.store.faults.read_only.store(false, Ordering::Relaxed);
    sleep(3 * SECOND).await;
    assert_eq!(fleet.roster().await.instances[0].instance.bound, 40 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn who_was_struck_off_comes_back_as_another() {
    let fleet = Fleet::new();
    let _running = fleet.start("a").await;
    let before = fleet.roster().await.instances;
    assert_eq!(fleet.store.dismiss(&before).await.unwrap(), 1);
    sleep(5 * SECOND).await;
    let after = fleet.roster().await.instances;
    assert_eq!(after.len(), 1);
    assert_ne!(after[0].instance.id, before[0].instance.id);
}

#[tokio::test(start_paused = true)]
async fn an_answer_as_of_a_moment_before_it_enlisted_proves_nothing() {
    let fleet = Fleet::new();
    // Of a standby that is three seconds behind.
    let running = fleet.start_with("a", |faults| {
        faults.replica.store(true, Ordering::Relaxed);
        faults.behind.store(3_000, Ordering::Relaxed);
    });
    sleep(5 * SECOND / 2).await;
    assert_eq!(fleet.names().await, ["a"]);
    assert!(!running.epochs.is_loaded());
    sleep(2 * SECOND).await;
    assert!(running.is_fresh());
}

/// What a service has, around these epochs.
fn layer(epochs: &Epochs) -> RevocationLayer {
    let key = SigningKey::generate(Algorithm::EdDSA).unwrap();
    let keys = KeySet::new([key.verifying_key()]).unwrap();
    let rules = IssuerRules::new("https://login.test", keys).audience("test");
    RevocationLayer::new(Verifier::builder(epochs.clone()).issuer(rules).build().unwrap())
}

fn audit() -> tower_revocation::store::Audit {
    tower_revocation::store::Audit::new(Id::new("tests").unwrap(), "again")
}
