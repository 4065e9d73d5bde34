//! The merge laws of cut-offs, and the epochs against a naive list.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{collections::HashMap, time::Duration};

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use tower_revocation::{
    Demand, Epochs, Scope,
    clock::{Clock, ManualClock, Reading},
    cutoff::{CutOff, Stamp, StoreTime, revoked},
    epochs::{Freshness, StoreClock, Synced},
    lifetimes::Lifetimes,
};

const START: Duration = Duration::from_secs(1_800_000_000);

fn cut_offs() -> impl Strategy<Value = CutOff> {
    (0..50_u64, 0..50_u64).prop_map(|(reissue, login)| CutOff {
        reissue_before: StoreTime::from_micros(reissue),
        login_before: StoreTime::from_micros(login),
    })
}

fn scopes() -> impl Strategy<Value = Scope> {
    let id = "[a-c]";
    prop_oneof![
        Just(Scope::Everyone),
        id.prop_map(|id| Scope::user(&id).unwrap()),
        id.prop_map(|id| Scope::group(&id).unwrap()),
        id.prop_map(|id| Scope::session(&id).unwrap()),
        id.prop_map(|id| Scope::token(&id).unwrap()),
    ]
}

fn loaded(max_staleness: Duration) -> (Epochs, ManualClock) {
    let (clock, hand) = Clock::manual(START);
    let epochs = Epochs::builder().clock(clock).max_staleness(max_staleness).build().unwrap();
    sync(&epochs, StoreTime::ZERO, START);
    (epochs, hand)
}

fn sync(epochs: &Epochs, head: StoreTime, store_clock: Duration) {
    let asked_at = epochs.clock().now();
    epochs.synced(Synced { asked_at, answered_at: asked_at, store_clock, head });
}

proptest! {
    #[test]
    fn joining_is_commutative_associative_and_idempotent(
        a in cut_offs(), b in cut_offs(), c in cut_offs()
    ) {
        prop_assert_eq!(a.join(b), b.join(a));
        prop_assert_eq!(a.join(b).join(c), a.join(b.join(c)));
        prop_assert_eq!(a.join(a), a);
        prop_assert_eq!(a.join(CutOff::NONE), a);
    }

    #[test]
    fn joining_never_lowers(a in cut_offs(), b in cut_offs()) {
        let joined = a.join(b);
        prop_assert!(joined.reissue_before >= a.reissue_before);
        prop_assert!(joined.login_before >= a.login_before);
        prop_assert!(joined.revoked_before() >= a.revoked_before());
    }

    #[test]
    fn a_demand_is_made_exactly_of_tokens_the_rule_revokes(cut_off in cut_offs(), stamp in 1..60_u64) {
        let stamp = Stamp::from_micros(stamp);
        prop_assert_eq!(cut_off.demand(stamp).is_some(), revoked(stamp, cut_off.revoked_before()));
        prop_assert_eq!(
            cut_off.demand(stamp) == Some(Demand::Login),
            revoked(stamp, cut_off.login_before)
        );
    }

    #[test]
    fn duplicates_reordering_and_replays_change_nothing(
        (rows, shuffled) in prop::collection::vec((scopes(), cut_offs()), 1..40)
            .prop_flat_map(|rows| {
                let twice: Vec<_> = rows.iter().chain(&rows).cloned().collect();
                (Just(rows), Just(twice).prop_shuffle())
            })
    ) {
        let (in_order, _) = loaded(Duration::from_secs(10));
        let (replayed, _) = loaded(Duration::from_secs(10));
        for (scope, cut_off) in &rows {
            in_order.raise(scope, *cut_off);
        }
        for (scope, cut_off) in &shuffled {
            replayed.raise(scope, *cut_off);
        }
        prop_assert_eq!(in_order.newest(), replayed.newest());
        for (scope, _) in &rows {
            prop_assert_eq!(in_order.cut_off(scope), replayed.cut_off(scope));
        }
    }
}

/// What the epochs should do, written as a list of all that was ever raised.
#[derive(Clone, Debug, Default)]
struct Naive {
    floor: CutOff,
    raised: HashMap<Scope, CutOff>,
}

#[derive(Clone, Debug)]
enum Step {
    Raise(Scope, CutOff),
    Clear(Scope, u64),
    Check(Vec<Scope>, u64),
    Head(u64),
    Floor(CutOff),
    Purge,
}

struct Model;

impl ReferenceStateMachine for Model {
    type State = Naive;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Naive> {
        Just(Naive::default()).boxed()
    }

    fn transitions(_: &Naive) -> BoxedStrategy<Step> {
        prop_oneof![
            4 => (scopes(), cut_offs()).prop_map(|(scope, cut_off)| Step::Raise(scope, cut_off)),
            1 => (scopes(), 0..60_u64).prop_map(|(scope, at)| Step::Clear(scope, at)),
            6 => (prop::collection::vec(scopes(), 0..5), 1..60_u64)
                .prop_map(|(scopes, stamp)| Step::Check(scopes, stamp)),
            1 => (0..50_u64).prop_map(Step::Head),
            1 => cut_offs().prop_map(Step::Floor),
            1 => Just(Step::Purge),
        ]
        .boxed()
    }

    fn apply(mut state: Naive, step: &Step) -> Naive {
        match step {
            Step::Raise(scope, cut_off) => {
                let entry = state.raised.entry(scope.clone()).or_default();
                *entry = entry.join(*cut_off);
            }
            Step::Clear(scope, at) => {
                let at = StoreTime::from_micros(*at);
                if let Some(entry) = state.raised.get_mut(scope) {
                    if entry.reissue_before <= at {
                        entry.reissue_before = StoreTime::ZERO;
                    }
                    if entry.login_before <= at {
                        entry.login_before = StoreTime::ZERO;
                    }
                }
            }
            Step::Floor(floor) => state.floor = state.floor.join(*floor),
            // These cut-offs are from 1970: all of them have outlived what they cover.
            Step::Purge => {
                state.floor = state.raised.values().copied().fold(state.floor, CutOff::join);
                state.raised.clear();
            }
            Step::Check(..) | Step::Head(_) => {}
        }
        state
    }
}

impl StateMachineTest for Model {
    type SystemUnderTest = Epochs;
    type Reference = Model;

    fn init_test(_: &Naive) -> Epochs {
        loaded(Duration::from_secs(10)).0
    }

    fn apply(epochs: Epochs, naive: &Naive, step: Step) -> Epochs {
        match step {
            Step::Raise(scope, cut_off) => epochs.raise(&scope, cut_off),
            Step::Clear(scope, at) => epochs.clear(&scope, StoreTime::from_micros(at)),
            Step::Floor(floor) => epochs.raise_floor(floor),
            Step::Purge => {
                epochs.purge(epochs.clock().now());
                assert!(epochs.is_empty());
            }
            Step::Head(head) => sync(&epochs, StoreTime::from_micros(head), START),
            Step::Check(scopes, stamp) => {
                let stamp = Stamp::from_micros(stamp);
                let highest = naive
                    .raised
                    .iter()
                    .filter(|(scope, _)| **scope == Scope::Everyone || scopes.contains(scope))
                    .fold(naive.floor, |joined, (_, cut_off)| joined.join(*cut_off));
                let verdict = epochs.revoked(&scopes, stamp);
                assert_eq!(verdict.map(|revoked| revoked.demand), highest.demand(stamp));
                if let Some(verdict) = verdict {
                    assert_eq!(verdict.revoked_before, highest.revoked_before());
                }
            }
        }
        epochs
    }
}

prop_state_machine! {
    #[test]
    fn epochs_agree_with_a_naive_list(sequential 1..80 => Model);
}

#[test]
fn a_copy_that_was_never_loaded_is_not_fresh() {
    let (clock, _) = Clock::manual(START);
    let epochs = Epochs::builder().clock(clock.clone()).build().unwrap();
    assert_eq!(epochs.freshness(clock.now()), Freshness::NotLoaded);
    assert_eq!(epochs.store_clock(clock.now()), None);
}

#[test]
fn a_copy_grows_stale_by_itself() {
    let (epochs, hand) = loaded(Duration::from_secs(10));
    hand.advance(Duration::from_secs(10));
    assert!(epochs.freshness(epochs.clock().now()).is_fresh());
    hand.advance(Duration::from_micros(1));
    let stale = Freshness::Stale { age: Duration::from_micros(10_000_001) };
    assert_eq!(epochs.freshness(epochs.clock().now()), stale);
    sync(&epochs, StoreTime::ZERO, START);
    assert!(epochs.freshness(epochs.clock().now()).is_fresh());
}

#[test]
fn a_machine_that_slept_notices() {
    let (epochs, hand) = loaded(Duration::from_secs(10));
    hand.suspend(Duration::from_secs(3_600));
    assert!(!epochs.freshness(epochs.clock().now()).is_fresh());
}

#[test]
fn a_wall_clock_set_back_hides_no_age() {
    let (epochs, hand) = loaded(Duration::from_secs(10));
    hand.advance(Duration::from_secs(20));
    hand.set_wall(START - Duration::from_secs(3_600));
    assert!(!epochs.freshness(epochs.clock().now()).is_fresh());
}

fn at(clock: Duration) -> Option<StoreClock> {
    Some(StoreClock { earliest: clock, latest: clock })
}

#[test]
fn the_stores_clock_is_followed_both_ways() {
    let (epochs, hand) = loaded(Duration::from_secs(10));
    let clock = || epochs.store_clock(epochs.clock().now());
    hand.advance(Duration::from_secs(5));
    assert_eq!(clock(), at(START + Duration::from_secs(5)));
    sync(&epochs, StoreTime::ZERO, START + Duration::from_secs(3_600));
    assert_eq!(clock(), at(START + Duration::from_secs(3_600)));
    sync(&epochs, StoreTime::ZERO, START);
    assert_eq!(clock(), at(START));
}

#[test]
fn a_slow_poll_tells_the_stores_clock_to_within_its_duration() {
    let (epochs, hand) = loaded(Duration::from_secs(10));
    hand.advance(Duration::from_secs(1));
    let asked_at = epochs.clock().now();
    hand.advance(Duration::from_secs(2));
    let answered_at = epochs.clock().now();
    let head = StoreTime::ZERO;
    epochs.synced(Synced { asked_at, answered_at, store_clock: START, head });
    hand.advance(Duration::from_secs(1));
    let clock = epochs.store_clock(epochs.clock().now()).unwrap();
    assert_eq!(clock.earliest, START + Duration::from_secs(1));
    assert_eq!(clock.latest, START + Duration::from_secs(3));
    // An answer that was overtaken changes nothing.
    let late = Reading { monotonic: Duration::ZERO, wall: START };
    let store_clock = START + Duration::from_secs(99);
    epochs.synced(Synced { asked_at: late, answered_at, store_clock, head });
    assert_eq!(epochs.store_clock(epochs.clock().now()), Some(clock));
}

#[test]
fn clearing_everyone_leaves_what_purging_left_behind() {
    let (epochs, _) = loaded(Duration::from_secs(10));
    let floor = CutOff::at(StoreTime::from_micros(40), Demand::Login);
    epochs.raise_floor(floor);
    epochs.raise(&Scope::Everyone, CutOff::at(StoreTime::from_micros(60), Demand::Login));
    epochs.clear(&Scope::Everyone, StoreTime::from_micros(70));
    epochs.raise_floor(CutOff::NONE);
    assert!(epochs.revoked([], Stamp::from_micros(40)).is_some());
    assert!(epochs.revoked([], Stamp::from_micros(41)).is_none());
}

#[test]
fn purging_keeps_a_cut_off_while_a_token_it_covers_may_live() {
    let (epochs, hand) = loaded(Duration::from_secs(10));
    let lifetimes = Lifetimes::default();
    let alice = Scope::user("alice").unwrap();
    let now = StoreTime::from_micros(START.as_micros() as u64);
    epochs.raise(&alice, CutOff::at(now, Demand::Refresh));
    hand.advance(lifetimes.idle() + lifetimes.leeway() * 2);
    assert_eq!(epochs.purge(epochs.clock().now()), 0);
    hand.advance(Duration::from_micros(1));
    assert_eq!(epochs.purge(epochs.clock().now()), 1);
    assert_eq!(epochs.cut_off(&alice), CutOff::NONE);
    // What was dropped is the floor: the old stamp is still refused, a new one not.
    let old = Stamp::from_micros(now.as_micros());
    assert!(epochs.revoked([&alice], old).is_some());
    assert!(epochs.revoked([&alice], Stamp::after(now)).is_none());
}

#[test]
fn a_purge_beside_a_check_reveals_no_gap() {
    let (epochs, _) = loaded(Duration::from_secs(10));
    let alice = Scope::user("alice").unwrap();
    let covered = Stamp::from_micros(1);
    epochs.raise(&alice, CutOff::at(StoreTime::from_micros(1), Demand::Login));
    std::thread::scope(|scope| {
        let purging = scope.spawn(|| {
            for at in 2..20_000 {
                epochs.raise(&alice, CutOff::at(StoreTime::from_micros(at), Demand::Login));
                epochs.purge(epochs.clock().now());
            }
        });
        while !purging.is_finished() {
            assert!(epochs.revoked([&alice], covered).is_some());
        }
    });
}

#[tokio::test]
async fn waiting_ends_with_the_first_load() {
    let (clock, _) = Clock::manual(START);
    let epochs = Epochs::builder().clock(clock).build().unwrap();
    let waiting = tokio::spawn({
        let epochs = epochs.clone();
        async move { epochs.ready().await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    sync(&epochs, StoreTime::ZERO, START);
    waiting.await.unwrap();
}
