//! Tokens that were verified before: a signature never changes its mind.
//!
//! The cache answers one question: *has this very token been verified, and to what?* Whether it is good
//! now is judged at every hit, by whoever asks. So all it can be wrong in is to have forgotten a token.
//!
//! # What is found
//!
//! A token is found by its last bytes, which are those of the signature, under a keyed hash, and then
//! compared in full. Only tokens whose signature verified get in, so nobody but the issuer chooses what
//! these bytes are: outsiders cannot craft tokens that share a set, and failures are never kept.
//!
//! # What it takes
//!
//! It is cut into sets of [`SET_BYTES`] with a lock each and room for [`WAYS`] tokens; a token belongs
//! into one of them by its hash. A set never holds more bytes than that, its own structure included, so the
//! cache keeps to its size without a count that all threads would share. An entry of more than half a set
//! is not kept.
//!
//! # Who has to go
//!
//! In a full set an expired token goes first. Otherwise it is one of the *owner* (the user) who has most
//! tokens in the set, the newcomer counted; of these, one that was not used since the last eviction. A
//! newcomer pushes out one good token of others, and none if its owner has another one there; if that makes
//! too little room, it is not kept. So a user who presents tokens of their own by the thousand, however large,
//! pushes out one entry of others in each set, and from then on their own: to fill the cache, an attacker needs
//! as many accounts as a set has ways.

use std::{
    any::TypeId,
    hash::BuildHasher,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicU16, Ordering},
    },
};

use foldhash::quality::RandomState;

/// What a set takes at most, in bytes.
pub(crate) const SET_BYTES: usize = 16 * 1024;

/// How many tokens a set has room for.
const WAYS: usize = 16;

/// So many bytes at the end of a token are hashed: the last 96 bits of a signature.
const TAIL: usize = 16;

/// What tokens are verified to: cheap to clone, and shared by all clones.
pub(crate) trait Cached: Clone {
    /// Whom it counts for when somebody has to go.
    fn owner(&self) -> u64;

    /// From when on nobody can want it, in whole seconds since 1970.
    fn expires_at(&self) -> u64;

    /// The token, in two pieces: what others begin with, too, which is kept once for all of them, and
    /// the rest.
    fn token(&self) -> [&[u8]; 2];

    /// What it takes in memory, the rest of its token counted.
    fn bytes(&self) -> usize;
}

/// A bounded map from tokens to what they were verified to.
pub(crate) struct TokenCache<V> {
    key: RandomState,
    sets: Box<[Set<V>]>,
}

/// Aligned, so that no two of them share a line of the processor's cache.
#[repr(align(64))]
struct Set<V> {
    entries: RwLock<Entries<V>>,
    /// A bit for each way that was hit since the last eviction.
    used: AtomicU16,
}

struct Entries<V> {
    /// A part of the hash; only where it agrees is a token looked at. Small, to lie in one line with the
    /// lock.
    tags: [u16; WAYS],
    ways: [Option<V>; WAYS],
}

/// Where a token belongs.
struct Place<'a, V> {
    set: &'a Set<V>,
    tag: u16,
}

impl<V: Cached> TokenCache<V> {
    /// No entry is larger: two of them fit into a set.
    const ENTRY_BYTES: usize = (SET_BYTES - size_of::<Set<V>>()) / 2;

    /// A cache of at most `max_bytes`; `None` if that is less than one set.
    pub(crate) fn new(max_bytes: usize) -> Option<Self> {
        let sets = max_bytes / SET_BYTES;
        (sets > 0).then(|| Self {
            key: RandomState::default(),
            sets: (0..sets).map(|_| Set::default()).collect(),
        })
    }

    /// What `token` was verified to, as a value of the `kind`.
    pub(crate) fn find(&self, token: &[u8], kind: TypeId) -> Option<V> {
        let Place { set, tag } = self.place(token, kind)?;
        let entries = set.entries.read().unwrap_or_else(PoisonError::into_inner);
        let way = entries.position(token, tag)?;
        let value = entries.ways[way].clone();
        drop(entries);
        let bit = 1 << way;
        // Relaxed: a hint. Read first, since a write takes the line away from all other threads.
        if set.used.load(Ordering::Relaxed) & bit == 0 {
            set.used.fetch_or(bit, Ordering::Relaxed);
        }
        value
    }

    /// Keeps what `token`, whose signature verifies, was verified to. `now` is in whole seconds since
    /// 1970.
    pub(crate) fn keep(&self, token: &[u8], kind: TypeId, value: V, now: u64) {
        let Some(Place { set, tag }) = self.place(token, kind) else { return };
        if !is(&value, token) || value.bytes() > Self::ENTRY_BYTES {
            return;
        }
        // Dropped after the lock.
        let mut gone: [Option<V>; WAYS] = Default::default();
        let mut entries = set.entries.write().unwrap_or_else(PoisonError::into_inner);
        let same = entries.position(token, tag);
        let Some(room) = entries.room(&value, same, set.used.load(Ordering::Relaxed), now) else {
            return;
        };
        for (way, gone) in gone.iter_mut().enumerate() {
            if room.gone & 1 << way != 0 {
                *gone = entries.ways[way].take();
            }
        }
        entries.tags[room.way] = tag;
        entries.ways[room.way] = Some(value);
        set.used.store(room.used & !(1 << room.way), Ordering::Relaxed);
    }

    /// `None` for what is too short to end in a signature.
    fn place(&self, token: &[u8], kind: TypeId) -> Option<Place<'_, V>> {
        let tail: [u8; TAIL] = *token.last_chunk()?;
        let hash = self.key.hash_one((kind, u128::from_le_bytes(tail)));
        // Below the number of sets, as the high half is below 2^32.
        let set = ((hash >> 32) * self.sets.len() as u64) >> 32;
        Some(Place { set: &self.sets[set as usize], tag: hash as u16 })
    }
}

/// Where a newcomer goes; a bit for each way that has to be empty then, and for each that counts as used
/// from then on.
struct Room {
    way: usize,
    gone: u16,
    used: u16,
}

impl<V: Cached> Entries<V> {
    fn position(&self, token: &[u8], tag: u16) -> Option<usize> {
        // All at once: where a token lies in its set cannot be predicted.
        let has_tag = self.tags.map(|of_way| of_way == tag);
        let mut candidates: u16 = (0..WAYS).map(|way| u16::from(has_tag[way]) << way).sum();
        while candidates != 0 {
            let way = candidates.trailing_zeros() as usize;
            if self.ways[way].as_ref().is_some_and(|value| is(value, token)) {
                return Some(way);
            }
            candidates &= candidates - 1;
        }
        None
    }

    /// What has to go for `newcomer`, which was in the way `same` already. `None` if that is more than it
    /// may push out.
    fn room(&self, newcomer: &V, same: Option<usize>, mut used: u16, now: u64) -> Option<Room> {
        let taken = |way: &usize| self.ways[*way].is_some();
        let all: u16 = (0..WAYS).filter(taken).map(|way| 1 << way).sum();
        let mut held = all & !same.map_or(0, |way| 1 << way);
        let owner = newcomer.owner();
        let mut may_push_out_another = self.held(held).all(|(_, it)| it.owner() != owner);
        loop {
            let bytes: usize = self.held(held).map(|(_, entry)| entry.bytes()).sum();
            let way = (!held).trailing_zeros() as usize;
            if way < WAYS && bytes + newcomer.bytes() <= SET_BYTES - size_of::<Set<V>>() {
                return Some(Room { way, gone: all & !held, used });
            }
            let victim = self.victim(held, owner, &mut used, now)?;
            let entry = self.ways[victim].as_ref()?;
            let is_anothers = entry.owner() != owner && entry.expires_at() > now;
            if is_anothers && !std::mem::take(&mut may_push_out_another) {
                return None;
            }
            held &= !(1 << victim);
        }
    }

    /// Who of `held` goes for a token of `newcomer`'s.
    fn victim(&self, held: u16, newcomer: u64, used: &mut u16, now: u64) -> Option<usize> {
        if let Some((way, _)) = self.held(held).find(|(_, entry)| entry.expires_at() <= now) {
            return Some(way);
        }
        let of = |owner: u64| {
            self.held(held).filter(|(_, entry)| entry.owner() == owner).count()
                + usize::from(owner == newcomer)
        };
        let most = self.held(held).map(|(_, entry)| of(entry.owner())).max()?;
        let candidates: u16 = self
            .held(held)
            .filter(|(_, entry)| of(entry.owner()) == most)
            .map(|(way, _)| 1 << way)
            .sum();
        // If all of them were used, that tells nothing: from now on none was.
        if candidates & !*used == 0 {
            *used &= !candidates;
        }
        Some((candidates & !*used).trailing_zeros() as usize)
    }

    /// The entries in the ways of a mask.
    fn held(&self, held: u16) -> impl Iterator<Item = (usize, &V)> {
        (0..WAYS)
            .filter(move |way| held & 1 << way != 0)
            .filter_map(|way| Some((way, self.ways[way].as_ref()?)))
    }
}

/// Whether it is this token that was verified to `value`.
#[inline]
fn is<V: Cached>(value: &V, token: &[u8]) -> bool {
    let [start, rest] = value.token();
    token.strip_prefix(start).is_some_and(|end| end == rest)
}

impl<V> Default for Set<V> {
    fn default() -> Self {
        let entries = Entries { tags: [0; WAYS], ways: Default::default() };
        Self { entries: RwLock::new(entries), used: AtomicU16::new(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone)]
    struct Known {
        owner: u64,
        expires_at: u64,
        bytes: usize,
        rest: Vec<u8>,
    }

    impl Cached for Known {
        fn owner(&self) -> u64 {
            self.owner
        }

        fn expires_at(&self) -> u64 {
            self.expires_at
        }

        fn token(&self) -> [&[u8]; 2] {
            [b"start.", &self.rest]
        }

        fn bytes(&self) -> usize {
            self.bytes
        }
    }

    const NOW: u64 = 1_000;

    fn cache(sets: usize) -> TokenCache<Known> {
        TokenCache::new(sets * SET_BYTES).unwrap()
    }

    fn of(owner: u64) -> Known {
        Known { owner, expires_at: NOW + 60, bytes: 800, rest: Vec::new() }
    }

    /// Ends in what differs, as signatures do.
    fn token(owner: u64, number: u64) -> Vec<u8> {
        format!("start.{:0>400}.{owner:08}{number:08}", "").into_bytes()
    }

    impl TokenCache<Known> {
        fn keep_one(&self, token: &[u8], known: Known) {
            let rest = token[b"start.".len()..].to_vec();
            self.keep(token, TypeId::of::<()>(), Known { rest, ..known }, NOW);
        }

        fn has(&self, token: &[u8]) -> bool {
            self.find(token, TypeId::of::<()>()).is_some()
        }

        fn bytes(&self) -> usize {
            let of = |set: &Set<Known>| {
                let entries = set.entries.read().unwrap();
                let entries = entries.held(u16::MAX).map(|(_, entry)| entry.bytes()).sum::<usize>();
                size_of_val(set) + entries
            };
            self.sets.iter().map(of).sum()
        }
    }

    #[test]
    fn a_token_is_found_by_all_of_its_bytes_and_by_its_kind() {
        let cache = cache(4);
        let known = token(1, 1);
        cache.keep_one(&known, of(1));
        assert!(cache.has(&known));
        assert!(cache.find(&known, TypeId::of::<u8>()).is_none());
        for other in [&known[1..], &[b"0", &known[..]].concat(), &token(1, 2), &known[..10], b""] {
            assert!(!cache.has(other));
        }
        let mut other = known.clone();
        for at in [0, 10] {
            other[at] = b'1';
            assert!(!cache.has(&other));
            other[at] = known[at];
        }
        assert!(cache.has(&other));
    }

    #[test]
    fn it_keeps_to_its_size_whatever_comes() {
        let cache = cache(8);
        let mut sizes = 0x9e37_79b9_u64;
        for number in 0..20_000 {
            sizes = sizes.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let bytes = (sizes >> 33) as usize % (SET_BYTES / 2);
            let known = Known { bytes, ..of(number % 50) };
            cache.keep_one(&token(number, number), known);
            assert!(cache.bytes() <= 8 * SET_BYTES);
        }
        assert!(cache.bytes() > 4 * SET_BYTES, "{}", cache.bytes());
    }

    #[test]
    fn what_takes_more_than_half_a_set_is_not_kept() {
        let cache = cache(1);
        cache.keep_one(&token(1, 1), of(1));
        cache.keep_one(&token(2, 1), Known { bytes: SET_BYTES / 2, ..of(2) });
        assert!(cache.has(&token(1, 1)));
        assert!(!cache.has(&token(2, 1)));
    }

    #[test]
    fn a_token_that_is_kept_again_takes_the_place_it_had() {
        let cache = cache(1);
        cache.keep_one(&token(1, 1), of(1));
        let bytes = cache.bytes();
        for _ in 0..100 {
            cache.keep_one(&token(1, 1), of(1));
        }
        assert_eq!(cache.bytes(), bytes);
    }

    #[test]
    fn an_expired_token_goes_first() {
        let cache = cache(1);
        for owner in 0..WAYS as u64 {
            let expires_at = if owner == 7 { NOW } else { NOW + 1 };
            cache.keep_one(&token(owner, 1), Known { expires_at, ..of(owner) });
            assert!(cache.has(&token(owner, 1)));
        }
        cache.keep_one(&token(99, 1), of(99));
        let gone: Vec<u64> =
            (0..WAYS as u64).filter(|&owner| !cache.has(&token(owner, 1))).collect();
        assert_eq!(gone, [7]);
    }

    #[test]
    fn one_that_is_used_stays_longer_than_those_that_are_not() {
        let cache = cache(1);
        for owner in 0..1_000 {
            cache.keep_one(&token(owner, 1), of(owner));
            assert!(cache.has(&token(0, 1)), "{owner}");
        }
    }

    #[test]
    fn whoever_has_many_tokens_pushes_out_one_of_others_in_each_set_at_most() {
        let sets = 64;
        let cache = cache(sets);
        // Others, as many as there is room for, and most of them in use.
        let others: Vec<u64> = (1_000..1_000 + 4 * 64 * WAYS as u64).collect();
        for &owner in &others {
            cache.keep_one(&token(owner, 1), of(owner));
        }
        let there = |owner: &&u64| cache.has(&token(**owner, 1));
        let before = others.iter().filter(there).count();
        assert!(before > sets * WAYS * 9 / 10, "{before}");
        for number in 0..100_000 {
            cache.keep_one(&token(1, number), of(1));
            assert!(cache.has(&token(1, number)));
        }
        let after = others.iter().filter(there).count();
        assert!(before - after <= sets, "{before} before, {after} after");
    }

    #[test]
    fn not_even_with_large_tokens() {
        let cache = cache(1);
        let others: Vec<u64> = (1_000..1_000 + WAYS as u64).collect();
        for &owner in &others {
            cache.keep_one(&token(owner, 1), Known { bytes: 960, ..of(owner) });
        }
        let there = |owner: &&u64| cache.has(&token(**owner, 1));
        assert_eq!(others.iter().filter(there).count(), others.len());
        // From small to as large as they may be, and none of them is a good reason.
        for number in 0..1_000 {
            let bytes = 100 + number as usize * 7;
            cache.keep_one(&token(1, number), Known { bytes, ..of(1) });
        }
        assert_eq!(others.iter().filter(there).count(), others.len() - 1);
    }

    #[test]
    fn a_large_token_is_kept_where_there_is_room() {
        let cache = cache(1);
        cache.keep_one(&token(1, 1), of(1));
        cache.keep_one(&token(2, 1), Known { bytes: TokenCache::<Known>::ENTRY_BYTES, ..of(2) });
        assert!(cache.has(&token(1, 1)) && cache.has(&token(2, 1)));
    }

    #[test]
    fn threads_that_find_and_keep_at_once_find_what_is_theirs() {
        let cache = cache(2);
        std::thread::scope(|scope| {
            for owner in 0..4 {
                let cache = &cache;
                scope.spawn(move || {
                    for number in 0..20_000 {
                        let token = token(owner, number % 40);
                        if let Some(found) = cache.find(&token, TypeId::of::<()>()) {
                            assert_eq!(found.owner, owner);
                        } else {
                            cache.keep_one(&token, of(owner));
                        }
                    }
                });
            }
        });
        assert!(cache.bytes() <= 2 * SET_BYTES);
    }
}
