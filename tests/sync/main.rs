//! The follower, over stores that behave and stores that do not. Time is paused.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod buckets;
mod fleet;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::{Layer, ServiceExt, service_fn};
use tower_revocation::{
    Algorithm, Demand, Epochs, Grant, Issuer, KeyRing, RevocationLayer, Scope, Verifier,
    clock::{Clock, ManualClock},
    cutoff::{CutOff, Receipt, StoreTime},
    epochs::{EpochsBuilder, Freshness},
    error::{ConfigError, Error, ErrorKind},
    layer::Confirm,
    lifetimes::Lifetimes,
    scope::Id,
    store::{
        Audit, Changes, Device, Enlisted, EpochStore, Instance, Judged, Latest, MemoryStore,
        MemoryTransaction, MemoryWatch, Mint, Minted, RequestId, Requested, Revocation, Roster,
        Session, SessionFilter, Source, StatementCounts, StoreId, Ticket, Watch,
    },
    sync::Follower,
    token::SigningKey,
};

const START: Duration = Duration::from_secs(1_800_000_000);

/// A store whose sync can be made to hang, to fail, or to answer for another database.
#[derive(Clone)]
struct Faulty {
    store: MemoryStore,
    faults: Arc<Faults>,
}

#[derive(Default)]
struct Faults {
    hangs: AtomicBool,
    fails: AtomicBool,
    replica: AtomicBool,
    /// By how many milliseconds the replica says that it is behind, if it says so.
    behind: AtomicU64,
    hangs_at_load: AtomicBool,
    /// The roster is out of reach.
    read_only: AtomicBool,
    /// Whatever is asked of it takes so many milliseconds.
    roster_takes: AtomicU64,
    other_database: AtomicBool,
    /// Answers are held back for this many milliseconds after they were found.
    slow: AtomicU64,
    /// Polls say that nothing was ever revoked.
    forgets: AtomicBool,
    panics: AtomicBool,
    loads: AtomicUsize,
    polls: AtomicUsize,
    latest: AtomicUsize,
}

struct FaultyWatch {
    watch: MemoryWatch,
    faults: Arc<Faults>,
}

impl FaultyWatch {
    async fn answer(&self, answer: Result<Changes, Error>) -> Result<Changes, Error> {
        if self.faults.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if self.faults.fails.load(Ordering::Relaxed) {
            return Err(ErrorKind::Store.into());
        }
        assert!(!self.faults.panics.swap(false, Ordering::Relaxed), "planted");
        let slow = Duration::from_millis(self.faults.slow.load(Ordering::Relaxed));
        tokio::time::sleep(slow).await;
        let mut changes = answer?;
        if self.faults.replica.load(Ordering::Relaxed) {
            let behind = self.faults.behind.load(Ordering::Relaxed);
            let behind = (behind > 0).then_some(Duration::from_millis(behind));
            changes.source = Source::Replica { behind };
        }
        if self.faults.other_database.load(Ordering::Relaxed) {
            changes.store = StoreId("another".to_owned());
        }
        Ok(changes)
    }
}

impl Watch for FaultyWatch {
    async fn load(&mut self) -> Result<Changes, Error> {
        self.faults.loads.fetch_add(1, Ordering::Relaxed);
        if self.faults.hangs_at_load.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        let answer = self.watch.load().await;
        self.answer(answer).await
    }

    async fn poll(&mut self, cursor: StoreTime) -> Result<Changes, Error> {
        self.faults.polls.fetch_add(1, Ordering::Relaxed);
        let mut answer = self.watch.poll(cursor).await;
        if self.faults.forgets.load(Ordering::Relaxed) {
            answer =
                answer.map(|changes| Changes { head: StoreTime::ZERO, entries: vec![], ..changes });
        }
        self.answer(answer).await
    }

    async fn latest(&mut self, cursor: StoreTime, at_most: u32) -> Result<Latest, Error> {
        self.faults.latest.fetch_add(1, Ordering::Relaxed);
        let Latest { mut changes, untold } = self.watch.latest(cursor, at_most).await?;
        if self.faults.forgets.load(Ordering::Relaxed) {
            changes = Changes { head: StoreTime::ZERO, entries: vec![], ..changes };
        }
        self.answer(Ok(changes)).await.map(|changes| Latest { changes, untold })
    }

    async fn hint(&mut self) -> Result<(), Error> {
        self.watch.hint().await
    }
}

impl EpochStore for Faulty {
    type Transaction<'t> = MemoryTransaction<'t>;
    type Watch = FaultyWatch;

    async fn revoke_many(&self, revocations: &[Revocation]) -> Result<Receipt, Error> {
        self.store.revoke_many(revocations).await
    }

    async fn revoke_in<'t>(
        &self,
        _: &mut Self::Transaction<'t>,
        _: Revocation,
    ) -> Result<Requested<Self>, Error> {
        Err(ErrorKind::Store.into())
    }

    async fn seal(&self, id: &RequestId) -> Result<Receipt, Error> {
        self.store.seal(id).await
    }

    async fn clear(&self, scope: &Scope, audit: Audit) -> Result<Receipt, Error> {
        self.store.clear(scope, audit).await
    }

    async fn ticket(&self) -> Result<Ticket, Error> {
        self.store.ticket().await
    }

    async fn sessions(
        &self,
        filter: &SessionFilter,
        lifetimes: Lifetimes,
    ) -> Result<Vec<Session>, Error> {
        self.store.sessions(filter, lifetimes).await
    }

    async fn mint(&self, mint: &Mint) -> Result<Minted, Error> {
        self.store.mint(mint).await
    }

    async fn judged(&self, scopes: &[Scope]) -> Result<Judged, Error> {
        let mut judged = self.store.judged(scopes).await?;
        judged.primary = !self.faults.replica.load(Ordering::Relaxed);
        if self.faults.forgets.load(Ordering::Relaxed) {
            judged.newest = StoreTime::ZERO;
        }
        Ok(judged)
    }

    async fn advance(&self, newest: StoreTime) -> Result<(), Error> {
        self.store.advance(newest).await
    }

    async fn purge(&self, lifetimes: Lifetimes) -> Result<u64, Error> {
        self.store.purge(lifetimes).await
    }

    async fn enlist(&self, instance: &Instance) -> Result<(), Error> {
        self.roster_is_in_reach().await?;
        self.store.enlist(instance).await
    }

    async fn acknowledge(&self, id: &Id, applied: StoreTime) -> Result<bool, Error> {
        self.roster_is_in_reach().await?;
        self.store.acknowledge(id, applied).await
    }

    async fn roster(&self) -> Result<Roster, Error> {
        self.roster_is_in_reach().await?;
        self.store.roster().await
    }

    async fn dismiss(&self, silent: &[Enlisted]) -> Result<u64, Error> {
        self.roster_is_in_reach().await?;
        self.store.dismiss(silent).await
    }

    async fn watch(&self) -> Result<FaultyWatch, Error> {
        Ok(FaultyWatch { watch: self.store.watch().await?, faults: self.faults.clone() })
    }

    fn statements(&self) -> StatementCounts {
        self.store.statements()
    }
}

impl Faulty {
    /// Whether the roster is within reach.
    async fn roster_is_in_reach(&self) -> Result<(), Error> {
        if self.faults.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        let takes = self.faults.roster_takes.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(takes)).await;
        match self.faults.read_only.load(Ordering::Relaxed) {
            true => Err(ErrorKind::Store.into()),
            false => Ok(()),
        }
    }
}

struct Setup {
    store: Faulty,
    epochs: Epochs,
    hand: ManualClock,
}

fn setup() -> Setup {
    setup_with(|settings| settings)
}

fn setup_with(settings: impl FnOnce(EpochsBuilder) -> EpochsBuilder) -> Setup {
    let (clock, hand) = Clock::manual(START);
    let store = MemoryStore::with_clock(clock.clone());
    let epochs = settings(Epochs::builder().clock(clock)).build().unwrap();
    Setup { store: Faulty { store, faults: Arc::default() }, epochs, hand }
}

impl Setup {
    fn follower(&self) -> Follower<Faulty> {
        Follower::new(self.store.clone(), self.epochs.clone())
    }

    /// Lets time pass for the runtime and the clock alike.
    async fn pass(&self, duration: Duration) {
        let step = Duration::from_millis(100);
        let mut passed = Duration::ZERO;
        while passed < duration {
            self.hand.advance(step);
            tokio::time::sleep(step).await;
            passed += step;
        }
    }

    fn freshness(&self) -> Freshness {
        self.epochs.freshness(self.epochs.clock().now())
    }

    async fn revoke(&self, scope: Scope) -> Receipt {
        self.store.revoke(Revocation::new(scope, Demand::Login)).await.unwrap()
    }
}

fn alice() -> Scope {
    Scope::user("alice").unwrap()
}

#[tokio::test(start_paused = true)]
async fn loads_what_was_revoked_before_the_start() {
    let setup = setup();
    let receipt = setup.revoke(alice()).await;
    let _sync = setup.follower().start().unwrap();
    setup.epochs.ready().await;
    assert_eq!(setup.epochs.cut_off(&alice()).login_before, receipt.revoked_before());
}

#[tokio::test(start_paused = true)]
async fn a_receipt_is_waited_for_until_it_is_applied() {
    let setup = setup();
    let _sync = setup.follower().start().unwrap();
    setup.epochs.ready().await;
    let receipt = setup.revoke(alice()).await;
    setup.epochs.wait_for(&receipt).await;
    assert_eq!(setup.epochs.cut_off(&alice()).login_before, receipt.revoked_before());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_makes_the_copy_stale_and_its_return_fresh() {
    let setup = setup();
    let _sync = setup.follower().start().unwrap();
    setup.epochs.ready().await;
    setup.store.faults.hangs.store(true, Ordering::Relaxed);
    setup.pass(Duration::from_secs(12)).await;
    assert!(matches!(setup.freshness(), Freshness::Stale { .. }));
    let missed = setup.revoke(alice()).await;
    setup.store.faults.hangs.store(false, Ordering::Relaxed);
    setup.pass(Duration::from_secs(10)).await;
    assert!(setup.freshness().is_fresh());
    assert_eq!(setup.epochs.cut_off(&alice()).login_before, missed.revoked_before());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_lets_no_token_revoked_meanwhile_through_the_layer() {
    let setup = setup();
    let _sync = setup.follower().start().unwrap();
    setup.epochs.ready().await;
    let keys = KeyRing::new(SigningKey::generate(Algorithm::EdDSA).unwrap());
    let issuer = Issuer::builder(setup.store.clone(), keys)
        .issuer("https://login.test")
        .audience("test")
        .client_id("tests")
        .build()
        .unwrap();
    let rules = issuer.rules().unwrap();
    let verifier = Verifier::builder(setup.epochs.clone()).issuer(rules).build().unwrap();
    let ticket = issuer.ticket().await.unwrap();
    let token = issuer.login(ticket, Grant::new(Id::new("alice").unwrap())).await.unwrap();
    let inner = service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let service = RevocationLayer::new(verifier).layer(inner);
    let ask = async || {
        let bearer = format!("Bearer {}", token.access().as_str());
        let request = Request::builder().header("authorization", bearer).body(()).unwrap();
        service.clone().oneshot(request).await.unwrap().status()
    };
    assert_eq!(ask().await, StatusCode::OK);

    setup.store.faults.hangs.store(true, Ordering::Relaxed);
    setup.pass(Duration::from_secs(3)).await;
    setup.revoke(alice()).await.revoked_before();
    let returned = setup.epochs.clock().now();
    for _ in 0..300 {
        setup.pass(Duration::from_millis(100)).await;
        let status = ask().await;
        let since = setup.epochs.clock().now().since(returned);
        // Never a 401: nothing is known about the token any more.
        assert!([StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE].contains(&status));
        assert!(status != StatusCode::OK || since <= setup.epochs.max_staleness(), "{since:?}");
    }
    assert_eq!(ask().await, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_asked_again_and_loaded_anew() {
    let setup = setup();
    let _sync = setup.follower().start().unwrap();
    setup.epochs.ready().await;
    let loads = setup.store.faults.loads.load(Ordering::Relaxed);
    setup.store.faults.fails.store(true, Ordering::Relaxed);
    setup.pass(Duration::from_secs(5)).await;
    setup.store.faults.fails.store(false, Ordering::Relaxed);
    setup.pass(Duration::from_secs(5)).await;
    assert!(setup.store.faults.loads.load(Ordering::Relaxed) > loads);
    assert!(setup.freshness().is_fresh());
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_as_fresh_as_its_question() {
    let setup = setup();
    let follower = setup.follower().query_timeout(Duration::from_secs(30));
    let _sync = follower.start().unwrap();
    setup.epochs.ready().await;
    // What is found is told eight seconds later: it is never younger than that.
    setup.store.faults.slow.store(8_000, Ordering::Relaxed);
    setup.pass(Duration::from_secs(10)).await;
    let (mut youngest, mut oldest) = (Duration::MAX, Duration::ZERO);
    for _ in 0..200 {
        setup.pass(Duration::from_millis(100)).await;
        let age = setup.freshness().age().unwrap();
        (youngest, oldest) = (youngest.min(age), oldest.max(age));
    }
    assert!(youngest >= Duration::from_secs(8), "{youngest:?}");
    assert!(oldest > youngest + Duration::from_secs(5), "no answer came: {oldest:?}");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_went_back_is_followed_by_a_full_load() {
    let setup = setup();
    setup.revoke(alice()).await.revoked_before();
    let _sync = setup.follower().start().unwrap();
    setup.epochs.ready().await;
    setup.pass(Duration::from_secs(3)).await;
    let loads = setup.store.faults.loads.load(Ordering::Relaxed);
    setup.store.faults.forgets.store(true, Ordering::Relaxed);
    setup.pass(Duration::from_secs(3)).await;
    assert!(setup.store.faults.loads.load(Ordering::Relaxed) > loads);
    assert_ne!(setup.epochs.cut_off(&alice()), CutOff::NONE);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_store_is_survived() {
    let setup = setup();
    let sync = setup.follower().start().unwrap();
    setup.epochs.ready().await;
    setup.store.faults.panics.store(true, Ordering::Relaxed);
    setup.pass(Duration::from_secs(5)).await;
    assert!(!setup.store.faults.panics.load(Ordering::Relaxed), "it never came");
    assert!(sync.is_running());
    let receipt = setup.revoke(alice()).await;
    setup.epochs.wait_for(&receipt).await;
    assert!(setup.freshness().is_fresh());
}

#[tokio::test(start_paused = true)]
async fn a_replica_proves_no_freshness() {
    let setup = setup();
    setup.store.faults.replica.store(true, Ordering::Relaxed);
    let _sync = setup.follower().start().unwrap();
    let receipt = setup.revoke(alice()).await;
    setup.pass(Duration::from_secs(3)).await;
    assert_eq!(setup.freshness(), Freshness::NotLoaded);
    // What it tells is applied all the same: cut-offs only rise.
    assert_eq!(setup.epochs.cut_off(&alice()).login_before, receipt.revoked_before());
}

#[tokio::test(start_paused = true)]
async fn a_standby_that_was_behind_when_it_was_promoted_is_advanced() {
    let setup = setup();
    // What this copy knows of the primary that is gone.
    let known = StoreTime::from_micros(1_000);
    setup.epochs.raise(&alice(), CutOff::at(known, Demand::Login));
    setup.store.faults.replica.store(true, Ordering::Relaxed);
    let _sync = setup.follower().start().unwrap();
    setup.pass(Duration::from_secs(3)).await;
    // Over the same connection, and with the head that it had.
    setup.store.faults.replica.store(false, Ordering::Relaxed);
    setup.pass(Duration::from_secs(3)).await;
    assert!(setup.freshness().is_fresh());
    assert_eq!(setup.store.ticket().await.unwrap(), Ticket::new(known));
}

#[tokio::test]
async fn a_replica_confirms_nothing_and_neither_does_an_answer_that_contradicts_itself() {
    let setup = setup();
    let receipt = setup.revoke(alice()).await;
    let confirm = async || setup.store.confirm(&[alice()]).await.map_err(|error| error.kind());
    let answer = confirm().await.unwrap();
    assert_eq!(answer.cut_off.login_before, receipt.revoked_before());
    assert_eq!((answer.newest, answer.clock), (receipt.revoked_before(), START));
    setup.store.faults.replica.store(true, Ordering::Relaxed);
    assert_eq!(confirm().await, Err(ErrorKind::Store));
    setup.store.faults.replica.store(false, Ordering::Relaxed);
    // A cut-off above all that were ever issued.
    setup.store.faults.forgets.store(true, Ordering::Relaxed);
    assert_eq!(confirm().await, Err(ErrorKind::Corrupt));
}

#[tokio::test(start_paused = true)]
async fn everything_is_loaded_now_and_then_and_nothing_falls() {
    let setup = setup();
    let receipt = setup.revoke(alice()).await;
    let follower = setup.follower().reload_interval(Duration::from_secs(5));
    let _sync = follower.start().unwrap();
    setup.epochs.ready().await;
    setup.pass(Duration::from_secs(30)).await;
    assert!(setup.store.faults.loads.load(Ordering::Relaxed) >= 4);
    assert_eq!(setup.epochs.cut_off(&alice()).login_before, receipt.revoked_before());
}

#[tokio::test(start_paused = true)]
async fn another_database_is_loaded_whole() {
    let setup = setup();
    let _sync = setup.follower().start().unwrap();
    setup.epochs.ready().await;
    let loads = setup.store.faults.loads.load(Ordering::Relaxed);
    setup.store.faults.other_database.store(true, Ordering::Relaxed);
    setup.pass(Duration::from_secs(3)).await;
    assert!(setup.store.faults.loads.load(Ordering::Relaxed) > loads);
    assert!(setup.freshness().is_fresh());
}

#[tokio::test(start_paused = true)]
async fn b90_a_database_restored_from_a_backup_lowers_nothing_and_mints_above_it() {
    let (clock, _) = Clock::manual(START);
    let epochs = Epochs::builder().clock(clock.clone()).build().unwrap();
    let lost = CutOff::at(StoreTime::from_micros(1_900_000_000_000_000), Demand::Login);
    epochs.raise(&alice(), lost);
    // The backup knows nothing of alice's revocation.
    let store = MemoryStore::with_clock(clock);
    let _sync = Follower::new(store.clone(), epochs.clone()).start().unwrap();
    epochs.ready().await;
    assert_eq!(epochs.cut_off(&alice()), lost);
    let mint = Mint {
        ticket: store.ticket().await.unwrap(),
        session: tower_revocation::store::MintFor::Login,
        sid: Id::random(),
        user: Id::new("alice").unwrap(),
        groups: vec![],
        device: Device::new(),
        lifetimes: Lifetimes::default(),
    };
    let minted = store.mint(&mint).await.unwrap();
    assert_eq!(epochs.revoked([&alice()], minted.stamp), None);
}

#[tokio::test(start_paused = true)]
async fn clearing_reaches_the_copy() {
    let setup = setup();
    setup.revoke(alice()).await.revoked_before();
    let bob = Scope::user("bob").unwrap();
    let kept = setup.revoke(bob.clone()).await;
    let _sync = setup.follower().start().unwrap();
    setup.epochs.ready().await;
    let audit = Audit::new(Id::new("root").unwrap(), "by mistake");
    let cleared = setup.store.clear(&alice(), audit).await.unwrap();
    setup.epochs.wait_for(&cleared).await;
    assert_eq!(setup.epochs.cut_off(&alice()), CutOff::NONE);
    assert_eq!(setup.epochs.cut_off(&bob).login_before, kept.revoked_before());
}

#[tokio::test(start_paused = true)]
async fn dropping_the_handle_stops_the_work() {
    let setup = setup();
    let sync = setup.follower().start().unwrap();
    setup.epochs.ready().await;
    assert!(sync.is_running());
    drop(sync);
    setup.pass(Duration::from_secs(1)).await;
    let polls = setup.store.faults.polls.load(Ordering::Relaxed);
    setup.pass(Duration::from_secs(12)).await;
    assert_eq!(setup.store.faults.polls.load(Ordering::Relaxed), polls);
    assert!(matches!(setup.freshness(), Freshness::Stale { .. }));
}

#[tokio::test(start_paused = true)]
async fn memory_and_store_are_purged_in_the_background() {
    let setup = setup();
    setup.revoke(alice()).await.revoked_before();
    let follower = setup.follower().purge_interval(Duration::from_secs(10));
    let _sync = follower.start().unwrap();
    setup.epochs.ready().await;
    setup.hand.advance(Lifetimes::default().session() * 2);
    setup.pass(Duration::from_secs(15)).await;
    assert_eq!(setup.epochs.cut_off(&alice()), CutOff::NONE);
    let loaded = setup.store.watch().await.unwrap().load().await.unwrap();
    assert!(loaded.entries.is_empty());
}

#[tokio::test]
async fn b84_intervals_that_make_no_sense_are_refused_and_named() {
    let setup = setup();
    let zero = Duration::ZERO;
    for (follower, name) in [
        (setup.follower().poll_interval(zero), "poll_interval"),
        (setup.follower().query_timeout(zero), "query_timeout"),
        (setup.follower().reload_interval(zero), "reload_interval"),
        (setup.follower().purge_interval(zero), "purge_interval"),
        (setup.follower().poll_interval(Duration::from_secs(4)), "max_staleness"),
        (setup.follower().poll_interval(Duration::MAX), "poll_interval"),
        (setup.follower().reload_interval(Duration::MAX), "reload_interval"),
        (setup.follower().purge_interval(Duration::MAX), "purge_interval"),
    ] {
        match follower.start() {
            Err(ConfigError::Duration { field, .. }) => assert_eq!(field, name),
            other => panic!("{name}: {other:?}"),
        }
    }
    assert!(Epochs::builder().max_staleness(zero).build().is_err());
}
