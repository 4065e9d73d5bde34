//! The follower over a copy in buckets: it reads no more than that has room for, and what it has not
//! read is in doubt.

use std::{sync::atomic::Ordering, time::Duration};

use tower_revocation::{
    Demand, Epochs, Scope,
    clock::Clock,
    cutoff::{Receipt, Stamp, StoreTime},
    epochs::Verdict,
    scope::Id,
    store::{Audit, EpochStore, MemoryStore, Revocation},
    sync::{Follower, SyncHandle},
};

use crate::{START, Setup, alice, setup_with};

/// So many that no two of the users of these tests share one, or the test would have to be run again.
const MANY: u32 = 65_536;

/// A follower that has loaded what there was.
async fn following(buckets: u32) -> (Setup, SyncHandle) {
    let setup = setup_with(|settings| settings.buckets(buckets));
    let sync = setup.follower().start().unwrap();
    setup.epochs.ready().await;
    (setup, sync)
}

impl Setup {
    fn says(&self, scope: &Scope, stamp: Stamp) -> Verdict {
        self.epochs.verdict(std::slice::from_ref(scope), stamp)
    }

    async fn revoke_users(&self, names: impl IntoIterator<Item = u32>) -> Vec<Receipt> {
        let mut receipts = Vec::new();
        for name in names {
            receipts.push(self.revoke(user(name)).await);
        }
        receipts
    }
}

fn user(name: u32) -> Scope {
    Scope::user(&format!("user-{name}")).unwrap()
}

fn at(receipt: &Receipt) -> Stamp {
    Stamp::from_micros(receipt.revoked_before().as_micros())
}

fn after(receipt: &Receipt) -> Stamp {
    Stamp::after(receipt.revoked_before())
}

#[tokio::test(start_paused = true)]
async fn what_was_revoked_puts_its_bucket_in_doubt_and_no_other() {
    let setup = setup_with(|settings| settings.buckets(MANY));
    let before = setup.revoke(alice()).await;
    let _sync = setup.follower().start().unwrap();
    setup.epochs.ready().await;
    let meanwhile = setup.revoke(user(1)).await;
    setup.epochs.wait_for(&meanwhile).await;
    assert_eq!(setup.says(&alice(), at(&before)), Verdict::Doubtful);
    assert_eq!(setup.says(&alice(), after(&before)), Verdict::Good);
    assert_eq!(setup.says(&user(1), at(&meanwhile)), Verdict::Doubtful);
    assert_eq!(setup.says(&user(2), at(&before)), Verdict::Good);
    // Only the latest are ever asked for.
    let faults = &setup.store.faults;
    assert_eq!(faults.loads.load(Ordering::Relaxed) + faults.polls.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_load_reads_as_much_as_there_is_room_for_and_doubts_the_rest() {
    let setup = setup_with(|settings| settings.buckets(64));
    let receipts = setup.revoke_users(0..100).await;
    let _sync = setup.follower().start().unwrap();
    setup.epochs.ready().await;
    // The 36 that are older than the 64 that were told.
    for (name, receipt) in (0..).zip(&receipts) {
        assert_eq!(setup.says(&user(name), at(receipt)), Verdict::Doubtful, "{name}");
    }
    assert_eq!(setup.says(&user(999), at(&receipts[35])), Verdict::Doubtful);
    assert_eq!(setup.epochs.newest(), receipts[99].revoked_before());
    assert_eq!(setup.says(&user(999), after(&receipts[99])), Verdict::Good);
    assert!(setup.epochs.len() <= 64);
}

#[tokio::test(start_paused = true)]
async fn a_poll_with_more_than_there_is_room_for_doubts_the_rest() {
    let (setup, _sync) = following(16).await;
    // Between two polls.
    let names: Vec<Revocation> =
        (0..40).map(|name| Revocation::new(user(name), Demand::Login)).collect();
    let last = setup.store.revoke_many(&names).await.unwrap();
    setup.epochs.wait_for(&last).await;
    let first = Stamp::from_micros(last.revoked_before().as_micros() - 39);
    for name in 0..40 {
        assert_eq!(setup.says(&user(name), first), Verdict::Doubtful, "{name}");
    }
    assert_eq!(setup.says(&user(0), after(&last)), Verdict::Good);
}

#[tokio::test(start_paused = true)]
async fn requests_are_sealed_by_a_follower_in_buckets() {
    let (setup, _sync) = following(MANY).await;
    let mut transaction = setup.store.store.begin();
    let revocation = Revocation::new(alice(), Demand::Login);
    let requested = setup.store.store.revoke_in(&mut transaction, revocation).await.unwrap();
    transaction.commit();
    // Nobody seals it but the follower.
    setup.pass(Duration::from_secs(3)).await;
    assert!(setup.epochs.newest() > StoreTime::ZERO);
    let receipt = requested.sealed().await.unwrap();
    assert_eq!(receipt.revoked_before(), setup.epochs.newest());
    assert_eq!(setup.says(&alice(), at(&receipt)), Verdict::Doubtful);
}

#[tokio::test(start_paused = true)]
async fn everyone_is_exact_and_can_be_cleared() {
    let (setup, _sync) = following(16).await;
    let receipt = setup.revoke(Scope::Everyone).await;
    setup.epochs.wait_for(&receipt).await;
    assert!(matches!(setup.says(&alice(), at(&receipt)), Verdict::Revoked(_)));
    let audit = Audit::new(Id::new("root").unwrap(), "by mistake");
    let cleared = setup.store.clear(&Scope::Everyone, audit).await.unwrap();
    setup.epochs.wait_for(&cleared).await;
    assert_eq!(setup.says(&alice(), at(&receipt)), Verdict::Good);
}

#[tokio::test(start_paused = true)]
async fn everyone_is_in_doubt_where_a_clear_may_have_been_missed() {
    let (setup, _sync) = following(4).await;
    let receipt = setup.revoke(Scope::Everyone).await;
    setup.epochs.wait_for(&receipt).await;
    // The clear and more than there is room for, in one poll.
    setup.store.faults.hangs.store(true, Ordering::Relaxed);
    setup.pass(Duration::from_secs(3)).await;
    let audit = Audit::new(Id::new("root").unwrap(), "by mistake");
    setup.store.clear(&Scope::Everyone, audit).await.unwrap();
    let receipts = setup.revoke_users(0..9).await;
    setup.store.faults.hangs.store(false, Ordering::Relaxed);
    setup.pass(Duration::from_secs(15)).await;
    assert_eq!(setup.epochs.newest(), receipts[8].revoked_before());
    assert_eq!(setup.says(&alice(), at(&receipt)), Verdict::Doubtful);
}

// ---- databases that are not what they were ----

#[tokio::test(start_paused = true)]
async fn what_a_restored_database_has_forgotten_stays_revoked() {
    let (clock, hand) = Clock::manual(START);
    let epochs = Epochs::builder().clock(clock.clone()).buckets(MANY).build().unwrap();
    let store = MemoryStore::with_clock(clock.clone());
    let backup = MemoryStore::with_clock(clock);
    let mut kept = None;
    for store in [&store, &backup] {
        kept = Some(store.revoke(Revocation::new(user(1), Demand::Login)).await.unwrap());
    }
    hand.advance(Duration::from_secs(60));
    let lost = store.revoke(Revocation::new(alice(), Demand::Login)).await.unwrap();
    let sync = Follower::new(store, epochs.clone()).start().unwrap();
    epochs.ready().await;
    let says = |scope: &Scope, stamp| epochs.verdict(std::slice::from_ref(scope), stamp);
    assert_eq!(says(&alice(), at(&lost)), Verdict::Doubtful);

    drop(sync);
    let _sync = Follower::new(backup.clone(), epochs.clone()).start().unwrap();
    hand.advance(Duration::from_secs(1));
    tokio::time::sleep(Duration::from_secs(3)).await;
    // The store knows nothing of alice's any more, so it is not asked. Of the other one it does.
    let Verdict::Revoked(revoked) = says(&alice(), at(&lost)) else { panic!("forgotten") };
    assert_eq!((revoked.demand, revoked.revoked_before), (Demand::Refresh, lost.revoked_before()));
    assert_eq!(says(&user(1), at(&kept.unwrap())), Verdict::Doubtful);
    assert_eq!(says(&user(2), at(&lost)), Verdict::Good);
    // Who logs in now is above all of it.
    let stamp = backup.ticket().await.unwrap().stamp();
    assert_eq!(says(&alice(), stamp), Verdict::Good);
    // Revoked again, it is the store that is asked, and only about what it knows.
    let again = backup.revoke(Revocation::new(alice(), Demand::Login)).await.unwrap();
    epochs.wait_for(&again).await;
    assert_eq!(says(&alice(), stamp), Verdict::Doubtful);
    assert!(matches!(says(&alice(), at(&lost)), Verdict::Revoked(_)));
}

#[tokio::test(start_paused = true)]
async fn what_another_database_may_not_know_stays_revoked() {
    let (setup, _sync) = following(MANY).await;
    let receipt = setup.revoke(alice()).await;
    setup.epochs.wait_for(&receipt).await;
    assert_eq!(setup.says(&alice(), at(&receipt)), Verdict::Doubtful);
    setup.store.faults.other_database.store(true, Ordering::Relaxed);
    setup.pass(Duration::from_secs(3)).await;
    assert!(matches!(setup.says(&alice(), at(&receipt)), Verdict::Revoked(_)));
    assert_eq!(setup.says(&alice(), after(&receipt)), Verdict::Good);
    assert!(setup.freshness().is_fresh());
}

#[tokio::test(start_paused = true)]
async fn another_database_is_noticed_over_a_new_connection() {
    let (setup, _sync) = following(MANY).await;
    let receipt = setup.revoke(alice()).await;
    setup.epochs.wait_for(&receipt).await;
    setup.store.faults.fails.store(true, Ordering::Relaxed);
    setup.pass(Duration::from_secs(3)).await;
    setup.store.faults.other_database.store(true, Ordering::Relaxed);
    setup.store.faults.fails.store(false, Ordering::Relaxed);
    setup.pass(Duration::from_secs(5)).await;
    assert!(setup.freshness().is_fresh());
    assert!(matches!(setup.says(&alice(), at(&receipt)), Verdict::Revoked(_)));
}

#[tokio::test(start_paused = true)]
async fn a_head_that_went_back_is_followed_by_a_load_in_buckets_too() {
    let (setup, _sync) = following(MANY).await;
    let receipt = setup.revoke(alice()).await;
    setup.epochs.wait_for(&receipt).await;
    let asked = setup.store.faults.latest.load(Ordering::Relaxed);
    setup.store.faults.forgets.store(true, Ordering::Relaxed);
    setup.pass(Duration::from_secs(3)).await;
    assert!(setup.store.faults.latest.load(Ordering::Relaxed) > asked);
    // It does not advance either, and nobody is let through by what it says.
    assert!(matches!(setup.says(&alice(), at(&receipt)), Verdict::Revoked(_)));
    setup.pass(Duration::from_secs(12)).await;
    assert!(!setup.freshness().is_fresh());
}

#[tokio::test(start_paused = true)]
async fn a_reconnect_to_the_same_database_changes_nothing() {
    let (setup, _sync) = following(MANY).await;
    let receipt = setup.revoke(alice()).await;
    setup.epochs.wait_for(&receipt).await;
    setup.store.faults.fails.store(true, Ordering::Relaxed);
    setup.pass(Duration::from_secs(12)).await;
    let missed = setup.revoke(user(1)).await;
    setup.store.faults.fails.store(false, Ordering::Relaxed);
    setup.pass(Duration::from_secs(5)).await;
    assert!(setup.freshness().is_fresh());
    assert_eq!(setup.says(&alice(), at(&receipt)), Verdict::Doubtful);
    assert_eq!(setup.says(&user(1), at(&missed)), Verdict::Doubtful);
    assert_eq!(setup.says(&user(2), at(&missed)), Verdict::Good);
}
