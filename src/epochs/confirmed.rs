//! Tokens that the store has confirmed, so that it is not asked about them again.

use std::{
    hash::{BuildHasher, Hash, Hasher, RandomState},
    sync::{Mutex, PoisonError},
};

use super::fingerprint::spread;
use crate::{
    cutoff::{Stamp, StoreTime},
    scope::ScopeRef,
};

/// How many tokens share one lock, and are thrown out for each other.
const WAYS: usize = 8;

/// So many sets of [`WAYS`] tokens each, and for each token up to where in store time nothing covers
/// it. No more, ever: a token that was thrown out costs another question, and nothing else.
///
/// A token is known by a keyed 128-bit fingerprint of its scopes and its stamp, as two of them with
/// one fingerprint would be confirmed for each other. The keys are random per process and never seen
/// from outside: one in 2^128 for each pair.
pub(super) struct Confirmed {
    keys: [RandomState; 2],
    sets: Box<[Mutex<[Slot; WAYS]>]>,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    token: TokenFingerprint,
    up_to: StoreTime,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TokenFingerprint([u64; 2]);

impl Confirmed {
    pub(super) fn new(sets: usize) -> Self {
        let keys = [RandomState::new(), RandomState::new()];
        Self { keys, sets: (0..sets).map(|_| Mutex::default()).collect() }
    }

    #[cfg(test)]
    pub(super) fn bytes(sets: u32) -> usize {
        sets as usize * size_of::<Mutex<[Slot; WAYS]>>()
    }

    pub(super) fn fingerprint<'a>(
        &self,
        scopes: impl Iterator<Item = ScopeRef<'a>> + Clone,
        stamp: Stamp,
    ) -> TokenFingerprint {
        TokenFingerprint(self.keys.each_ref().map(|key| {
            let mut hasher = key.build_hasher();
            stamp.hash(&mut hasher);
            for scope in scopes.clone() {
                (scope.kind, scope.subject).hash(&mut hasher);
            }
            hasher.finish()
        }))
    }

    /// Up to where nothing covers `token`, as far as the store was asked.
    pub(super) fn up_to(&self, token: TokenFingerprint) -> StoreTime {
        self.with_set(token, |set| {
            set.iter().find(|slot| slot.token == token).map_or(StoreTime::ZERO, |slot| slot.up_to)
        })
    }

    /// Nothing covers `token` up to the store's `newest`.
    pub(super) fn remember(&self, token: TokenFingerprint, newest: StoreTime) {
        self.with_set(token, |set| {
            let known = set.iter().position(|slot| slot.token == token);
            // The one that was confirmed longest ago is asked about next in any case.
            let oldest = || (0..WAYS).min_by_key(|&way| set[way].up_to).unwrap_or_default();
            let way = known.unwrap_or_else(oldest);
            let before = if known.is_some() { set[way].up_to } else { StoreTime::ZERO };
            set[way] = Slot { token, up_to: newest.max(before) };
        });
    }

    /// Held for a look at one set, by nobody who panics.
    fn with_set<R>(&self, token: TokenFingerprint, look: impl FnOnce(&mut [Slot; WAYS]) -> R) -> R {
        let index = spread(token.0[0], self.sets.len());
        look(&mut self.sets[index].lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope::ScopeKind;

    fn scope(kind: ScopeKind, subject: &str) -> ScopeRef<'_> {
        ScopeRef { kind, subject }
    }

    #[test]
    fn a_token_is_told_by_all_of_its_scopes_and_by_its_stamp() {
        let confirmed = Confirmed::new(4);
        let of = |scopes: &[ScopeRef<'_>], stamp| {
            confirmed.fingerprint(scopes.iter().copied(), Stamp::from_micros(stamp))
        };
        let (alice, bob) = (scope(ScopeKind::User, "alice"), scope(ScopeKind::User, "bob"));
        let s1 = scope(ScopeKind::Session, "s1");
        let token = of(&[alice, s1], 7);
        assert_eq!(token, of(&[alice, s1], 7));
        for other in [
            of(&[alice, s1], 8),
            of(&[alice], 7),
            of(&[bob, s1], 7),
            of(&[s1, alice], 7),
            of(&[alice, scope(ScopeKind::Token, "s1")], 7),
            of(&[scope(ScopeKind::User, "alices1")], 7),
        ] {
            assert_ne!(token, other);
        }
    }

    #[test]
    fn what_is_thrown_out_is_not_remembered_and_the_rest_stays_as_it_was() {
        let confirmed = Confirmed::new(2);
        let token = |number: u64| {
            let name = number.to_string();
            confirmed
                .fingerprint([scope(ScopeKind::Token, &name)].into_iter(), Stamp::from_micros(1))
        };
        for number in 1..=1_000 {
            confirmed.remember(token(number), StoreTime::from_micros(number));
            // The newest is never the one that goes.
            assert_eq!(confirmed.up_to(token(number)), StoreTime::from_micros(number));
        }
        let kept =
            |number: &u64| confirmed.up_to(token(*number)) == StoreTime::from_micros(*number);
        let forgotten = |number: &u64| confirmed.up_to(token(*number)) == StoreTime::ZERO;
        assert_eq!((1..=1_000).filter(kept).count(), 2 * WAYS);
        assert_eq!((1..=1_000).filter(forgotten).count(), 1_000 - 2 * WAYS);
    }

    #[test]
    fn what_is_remembered_never_sinks() {
        let confirmed = Confirmed::new(1);
        let token = confirmed.fingerprint(std::iter::empty(), Stamp::from_micros(1));
        confirmed.remember(token, StoreTime::from_micros(9));
        // An answer that was overtaken by another.
        confirmed.remember(token, StoreTime::from_micros(5));
        assert_eq!(confirmed.up_to(token), StoreTime::from_micros(9));
    }
}
