//! A token that was found good is judged again once anything has come that may refuse it.

use super::*;
use crate::{
    cutoff::{CutOff, Demand, Stamp, StoreTime},
    scope::Scope,
};

/// A copy, and a token that it has found good.
struct Judged {
    epochs: Epochs,
    scopes: [Scope; 2],
    found_good: FoundGood,
}

fn stamp() -> Stamp {
    Stamp::from_micros(10)
}

fn at(micros: u64) -> CutOff {
    CutOff::at(StoreTime::from_micros(micros), Demand::Login)
}

fn exact() -> Judged {
    Judged::good(Epochs::new())
}

fn in_buckets() -> Judged {
    Judged::good(Epochs::builder().buckets(64).build().unwrap())
}

impl Judged {
    fn good(epochs: Epochs) -> Self {
        let scopes = [Scope::user("alice").unwrap(), Scope::group("staff").unwrap()];
        let judged = Self { epochs, scopes, found_good: FoundGood::never() };
        assert_eq!(judged.verdict(), Verdict::Good);
        judged
    }

    fn verdict(&self) -> Verdict {
        let scopes = self.scopes.iter().map(Scope::as_ref);
        self.epochs
            .verdict_since(&self.found_good, || self.epochs.verdict_in(scopes.clone(), stamp()))
    }
}

#[test]
fn by_each_of_its_scopes_and_by_what_covers_all() {
    for number in 0..4 {
        for copy in [exact(), in_buckets()] {
            let (user, group) = (&copy.scopes[0], &copy.scopes[1]);
            match number {
                0 => copy.epochs.raise(user, at(10)),
                1 => copy.epochs.raise(group, at(10)),
                2 => copy.epochs.raise(&Scope::Everyone, at(10)),
                _ => copy.epochs.raise_floor(at(10)),
            }
            assert_ne!(copy.verdict(), Verdict::Good, "{number}");
        }
    }
}

#[test]
fn by_a_cut_off_that_rises_from_below_it() {
    let copy = exact();
    for before in 1..10 {
        copy.epochs.raise(&copy.scopes[0], at(before));
        assert_eq!(copy.verdict(), Verdict::Good);
    }
    copy.epochs.raise(&copy.scopes[0], at(10));
    assert!(copy.verdict().is_revoked());
    copy.epochs.clear(&copy.scopes[0], StoreTime::from_micros(10));
    assert_eq!(copy.verdict(), Verdict::Good);
    copy.epochs.raise(&copy.scopes[0], at(11));
    assert!(copy.verdict().is_revoked());
}

#[test]
fn by_what_the_store_has_not_told() {
    let copy = in_buckets();
    copy.epochs.doubt(StoreTime::from_micros(9));
    assert_eq!(copy.verdict(), Verdict::Good);
    copy.epochs.doubt(StoreTime::from_micros(10));
    assert_eq!(copy.verdict(), Verdict::Doubtful);
}

#[test]
fn by_what_came_after_the_store_has_confirmed_it() {
    for forgets in [false, true] {
        let copy = in_buckets();
        copy.epochs.raise(&copy.scopes[0], at(10));
        assert_eq!(copy.verdict(), Verdict::Doubtful);
        let scopes = copy.scopes.iter().map(Scope::as_ref);
        copy.epochs.confirmed(scopes, stamp(), StoreTime::from_micros(10));
        assert_eq!(copy.verdict(), Verdict::Good);
        if forgets {
            copy.epochs.forgotten_above(StoreTime::ZERO);
            assert!(copy.verdict().is_revoked());
        } else {
            copy.epochs.raise(&copy.scopes[0], at(12));
            assert_eq!(copy.verdict(), Verdict::Doubtful);
        }
    }
}

#[test]
fn and_not_by_what_cannot_refuse_it() {
    let copy = exact();
    let judged_again = || {
        let mut judged = false;
        copy.epochs.verdict_since(&copy.found_good, || {
            judged = true;
            Verdict::Good
        });
        judged
    };
    copy.epochs.raise_floor(at(5));
    assert!(judged_again());
    // What each poll says.
    copy.epochs.raise_floor(at(5));
    copy.epochs.raise_floor(CutOff::NONE);
    copy.epochs.clear(&copy.scopes[0], StoreTime::MAX);
    assert!(!judged_again());
}
