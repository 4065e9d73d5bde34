//! The table, and what could stand in its place.

use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use tower_revocation::{
    Demand, Epochs, Scope,
    cutoff::{CutOff, StoreTime},
};

use crate::flat::Flat;

/// A subject, as a request has it: ours takes a scope, which was checked before.
pub(crate) struct Subject {
    pub(crate) scope: Scope,
}

impl Subject {
    /// 36 characters, as a UUID has.
    pub(crate) fn new(number: u64) -> Self {
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let name = format!(
            "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
            number as u32,
            mixed as u16,
            mixed >> 16 & 0xfff,
            mixed >> 28 & 0xfff,
            mixed >> 16
        );
        Self { scope: Scope::user(&name).unwrap() }
    }

    fn name(&self) -> &str {
        self.scope.subject()
    }
}

/// A fingerprint is a hash already.
#[derive(Default)]
pub(crate) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are numbers");
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

pub(crate) type ByFingerprint = BuildHasherDefault<AsItIs>;

pub(crate) trait Map: Sync {
    const NAME: &'static str;

    /// Holds a cut-off for each of the subjects with these numbers.
    fn of(count: u64) -> Self;

    /// Whether it can be written 1,000 times a second, whatever it holds.
    const WRITABLE: bool = true;

    fn raise(&self, subject: &Subject, time: u64);

    /// Zero if there is none.
    fn find(&self, subject: &Subject) -> u64;
}

fn filled<M: Map>(map: M, count: u64) -> M {
    for number in 0..count {
        map.raise(&Subject::new(number), number + 1);
    }
    map
}

/// Ours, through the handle.
impl Map for Epochs {
    const NAME: &'static str = "table";

    fn of(count: u64) -> Self {
        filled(Epochs::new(), count)
    }

    fn raise(&self, subject: &Subject, time: u64) {
        Epochs::raise(
            self,
            &subject.scope,
            CutOff::at(StoreTime::from_micros(time), Demand::Login),
        );
    }

    #[inline]
    fn find(&self, subject: &Subject) -> u64 {
        self.cut_off(&subject.scope).revoked_before().as_micros()
    }
}

/// The obvious way.
pub(crate) struct DashByName(pub(crate) DashMap<String, u64>);

impl Map for DashByName {
    const NAME: &'static str = "dashmap, by name";

    fn of(count: u64) -> Self {
        filled(Self(DashMap::new()), count)
    }

    fn raise(&self, subject: &Subject, time: u64) {
        self.0.insert(subject.name().to_owned(), time);
    }

    #[inline]
    fn find(&self, subject: &Subject) -> u64 {
        self.0.get(subject.name()).map_or(0, |time| *time)
    }
}

/// As ours, with the key of a hash, so that nobody chooses what collides.
#[inline]
fn fingerprint(key: &RandomState, subject: &Subject) -> u64 {
    key.hash_one((1_u64, subject.name()))
}

/// With its own hasher, as one writes it, and as this crate had it; or with none.
pub(crate) struct Dash<S>(RandomState, DashMap<u64, u64, S>);

pub(crate) type DashHashed = Dash<RandomState>;
pub(crate) type DashAsItIs = Dash<ByFingerprint>;

impl Map for DashHashed {
    const NAME: &'static str = "dashmap";

    fn of(count: u64) -> Self {
        filled(Self(RandomState::new(), DashMap::new()), count)
    }

    fn raise(&self, subject: &Subject, time: u64) {
        self.1.insert(fingerprint(&self.0, subject), time);
    }

    #[inline]
    fn find(&self, subject: &Subject) -> u64 {
        self.1.get(&fingerprint(&self.0, subject)).map_or(0, |time| *time)
    }
}

impl Map for DashAsItIs {
    const NAME: &'static str = "dashmap, no hash";

    fn of(count: u64) -> Self {
        filled(Self(RandomState::new(), DashMap::default()), count)
    }

    fn raise(&self, subject: &Subject, time: u64) {
        self.1.insert(fingerprint(&self.0, subject), time);
    }

    #[inline]
    fn find(&self, subject: &Subject) -> u64 {
        self.1.get(&fingerprint(&self.0, subject)).map_or(0, |time| *time)
    }
}

pub(crate) struct Papaya(RandomState, papaya::HashMap<u64, u64, ByFingerprint>);

impl Map for Papaya {
    const NAME: &'static str = "papaya";

    fn of(count: u64) -> Self {
        filled(Self(RandomState::new(), papaya::HashMap::default()), count)
    }

    fn raise(&self, subject: &Subject, time: u64) {
        self.1.pin().insert(fingerprint(&self.0, subject), time);
    }

    #[inline]
    fn find(&self, subject: &Subject) -> u64 {
        self.1.pin().get(&fingerprint(&self.0, subject)).copied().unwrap_or(0)
    }
}

pub(crate) struct Scc(RandomState, scc::HashMap<u64, u64, ByFingerprint>);

impl Map for Scc {
    const NAME: &'static str = "scc";

    fn of(count: u64) -> Self {
        filled(Self(RandomState::new(), scc::HashMap::default()), count)
    }

    fn raise(&self, subject: &Subject, time: u64) {
        self.1.upsert_sync(fingerprint(&self.0, subject), time);
    }

    #[inline]
    fn find(&self, subject: &Subject) -> u64 {
        self.1.read_sync(&fingerprint(&self.0, subject), |_, time| *time).unwrap_or(0)
    }
}

type Plain = HashMap<u64, u64, ByFingerprint>;

/// Each write copies it, so it is not written 1,000 times a second.
pub(crate) struct Swapped(RandomState, ArcSwap<Plain>);

impl Map for Swapped {
    const NAME: &'static str = "arc-swap of a map";
    const WRITABLE: bool = false;

    fn of(count: u64) -> Self {
        let key = RandomState::new();
        let plain: Plain = (0..count)
            .map(|number| (fingerprint(&key, &Subject::new(number)), number + 1))
            .collect();
        Self(key, ArcSwap::from_pointee(plain))
    }

    fn raise(&self, subject: &Subject, time: u64) {
        self.1.rcu(|plain| {
            let mut plain = Plain::clone(plain);
            plain.insert(fingerprint(&self.0, subject), time);
            Arc::new(plain)
        });
    }

    #[inline]
    fn find(&self, subject: &Subject) -> u64 {
        self.1.load().get(&fingerprint(&self.0, subject)).copied().unwrap_or(0)
    }
}

/// No map, but what none can do without that keeps no names: a hash, and a line of memory that depends on
/// it. What falls on one line shares it.
pub(crate) struct Limit(RandomState, Vec<OneLine>);

#[repr(align(64))]
struct OneLine(AtomicU64);

impl Limit {
    #[inline]
    fn line(&self, subject: &Subject) -> &AtomicU64 {
        let mut hasher = self.0.build_hasher();
        hasher.write(subject.name().as_bytes());
        hasher.write_u8(1);
        let place = (u128::from(hasher.finish()) * self.1.len() as u128) >> 64;
        &self.1[place as usize].0
    }
}

impl Map for Limit {
    const NAME: &'static str = "hash, one line";

    fn of(count: u64) -> Self {
        // In as much memory as the table takes, and in large pages as well.
        let lines = count as usize * 19 / 64 + 1;
        let mut memory = Vec::with_capacity(lines);
        crate::huge::advise(memory.spare_capacity_mut());
        memory.extend((0..lines).map(|_| OneLine(AtomicU64::new(0))));
        filled(Self(RandomState::new(), memory), count)
    }

    fn raise(&self, subject: &Subject, time: u64) {
        self.line(subject).store(time, Ordering::Release);
    }

    #[inline]
    fn find(&self, subject: &Subject) -> u64 {
        self.line(subject).load(Ordering::Acquire)
    }
}

// ---- with the fingerprints at hand, as a token that was seen before has them ----

/// The rows of the table, read as the handle reads them.
pub(crate) struct Rows(ArcSwap<Flat>);

impl Rows {
    pub(crate) fn of(fingerprints: &[u64]) -> Self {
        let rows = fingerprints.iter().zip(1..);
        // The lower of the keys of a scope is for the demand to refresh.
        let rows = rows.map(|(key, time)| crate::line::Row { key: key | 1, time });
        Self(ArcSwap::from_pointee(Flat::of(rows, fingerprints.len())))
    }

    #[inline]
    pub(crate) fn highest(&self, of: &[u64]) -> u64 {
        self.0.load().highest(of.iter().map(|key| key & !1))
    }
}

pub(crate) struct DashOf<S>(DashMap<u64, u64, S>);

impl<S: BuildHasher + Clone + Default> DashOf<S> {
    pub(crate) fn of(fingerprints: &[u64]) -> Self {
        Self(fingerprints.iter().copied().zip(1..).collect())
    }

    #[inline]
    pub(crate) fn highest(&self, of: &[u64]) -> u64 {
        of.iter().filter_map(|key| self.0.get(key).map(|time| *time)).max().unwrap_or(0)
    }
}
