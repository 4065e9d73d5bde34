//! The handle through which the sync writes the copy and requests read it.

use std::{fmt, sync::Arc, time::Duration};

use smallvec::SmallVec;
use tokio::sync::watch;

use super::{
    EpochsBuilder, Fingerprint, Freshness, Verdict,
    atomic_cut_off::AtomicCutOff,
    bound::Bound,
    buckets::Buckets,
    changes::{Changes, FoundGood},
    fingerprint::FingerprintKey,
    synced::{LastPoll, LastSynced, StoreClock, Synced},
    table::{Horizons, Table},
};
use crate::{
    clock::{Clock, Reading},
    cutoff::{CutOff, Demand, Receipt, Revoked, Stamp, StoreTime, revoked},
    lifetimes::Lifetimes,
    scope::{Scope, ScopeKind, ScopeRef},
};

/// The revocations in memory: a handle, cheap to clone, that all requests of a process share.
///
/// It starts empty and *not loaded*, and refuses until a sync has loaded it.
#[derive(Clone)]
pub struct Epochs {
    shared: Arc<Shared>,
}

struct Shared {
    lifetimes: Lifetimes,
    bound: Bound,
    clock: Clock,
    key: FingerprintKey,
    everyone: AtomicCutOff,
    /// Of the other scopes.
    cut_offs: CutOffs,
    floor: AtomicCutOff,
    /// In microseconds.
    changes: Changes,
    /// There is none until the first full load.
    synced: LastPoll,
    /// The head up to which every cut-off is applied.
    applied: watch::Sender<Option<StoreTime>>,
}

/// Of the scopes of one token: nearly all have that many at most.
pub(crate) type Fingerprints = SmallVec<[Fingerprint; 4]>;

/// One for each scope, or one for each bucket.
enum CutOffs {
    Exact(Table),
    Buckets(Buckets),
}

impl Epochs {
    /// An empty copy with the default settings: [`Lifetimes::default`], stale after 10 seconds.
    pub fn new() -> Self {
        Self::with(EpochsBuilder::default())
    }

    /// An empty copy with other settings.
    pub fn builder() -> EpochsBuilder {
        EpochsBuilder::default()
    }

    pub(super) fn with(settings: EpochsBuilder) -> Self {
        let EpochsBuilder { lifetimes, max_staleness, clock, buckets } = settings;
        let cut_offs = match buckets {
            Some(count) => CutOffs::Buckets(Buckets::new(count)),
            None => CutOffs::Exact(Table::default()),
        };
        Self {
            shared: Arc::new(Shared {
                lifetimes,
                bound: Bound::new(max_staleness),
                clock,
                key: FingerprintKey::random(),
                everyone: AtomicCutOff::default(),
                cut_offs,
                floor: AtomicCutOff::default(),
                changes: Changes::none(),
                synced: LastPoll::none(),
                applied: watch::Sender::new(None),
            }),
        }
    }

    // ---- what requests read ----

    /// Whether this copy is fresh enough to judge tokens at `now`.
    ///
    /// Read it *before* [`revoked`](Epochs::revoked): what was fresh then is at least as fresh as
    /// this says.
    pub fn freshness(&self, now: Reading) -> Freshness {
        let Some(LastSynced { age, .. }) = self.last_synced(now) else {
            return Freshness::NotLoaded;
        };
        if age <= self.max_staleness() {
            Freshness::Fresh { age }
        } else {
            Freshness::Stale { age }
        }
    }

    /// The store's clock at `now`: as the last poll told it, carried on by this machine's.
    ///
    /// It follows the store's clock both ways. Holding it up when that is set back would refuse
    /// new tokens as expired until the clock catches up. `None` before the first load.
    pub fn store_clock(&self, now: Reading) -> Option<StoreClock> {
        self.last_synced(now).map(|synced| synced.clock)
    }

    /// Both, of one poll. `None` before the first load.
    #[inline]
    pub(crate) fn last_synced(&self, now: Reading) -> Option<LastSynced> {
        self.shared.synced.at(now)
    }

    /// What the copy says about a token in `scopes` and in `Everyone`, with `stamp`.
    ///
    /// The highest cut-off decides. It says nothing about freshness.
    pub fn verdict(&self, scopes: &[Scope], stamp: Stamp) -> Verdict {
        self.verdict_in(scopes.iter().map(Scope::as_ref), stamp)
    }

    /// Whether a cut-off of `scopes`, or everyone's, covers a token with `stamp`, or may: what is
    /// [doubtful](Verdict::Doubtful) counts as revoked here, with the demand to refresh.
    ///
    /// The highest cut-off decides. It says nothing about freshness.
    pub fn revoked<'a>(
        &self,
        scopes: impl IntoIterator<Item = &'a Scope>,
        stamp: Stamp,
    ) -> Option<Revoked> {
        if stamp.has_seen(self.newest()) {
            return None;
        }
        let scopes: SmallVec<[ScopeRef<'_>; 4]> = scopes.into_iter().map(Scope::as_ref).collect();
        match self.verdict_in(scopes.iter().copied(), stamp) {
            Verdict::Good => None,
            Verdict::Revoked(revoked) => Some(revoked),
            Verdict::Doubtful => {
                let (demand, revoked_before) = (Demand::Refresh, self.newest());
                Some(Revoked { demand, scope: None, revoked_before })
            }
        }
    }

    /// The same for scopes whose fingerprints are not at hand.
    pub(crate) fn verdict_in<'a>(
        &self,
        scopes: impl Iterator<Item = ScopeRef<'a>> + Clone,
        stamp: Stamp,
    ) -> Verdict {
        if stamp.has_seen(self.newest()) {
            return Verdict::Good;
        }
        self.verdict_at(&self.fingerprints(scopes.clone()), || scopes.clone(), stamp)
    }

    /// The same for `scopes` that have these fingerprints, in their order.
    pub(crate) fn verdict_at<'a, S>(
        &self,
        fingerprints: &[Fingerprint],
        scopes: impl Fn() -> S,
        stamp: Stamp,
    ) -> Verdict
    where
        S: Iterator<Item = ScopeRef<'a>> + Clone,
    {
        if stamp.has_seen(self.newest()) {
            return Verdict::Good;
        }
        let Shared { everyone, cut_offs, floor, .. } = &*self.shared;
        let everyone = everyone.get();
        let table = match cut_offs {
            CutOffs::Exact(table) => table.read(),
            CutOffs::Buckets(buckets) => {
                return buckets.judge(everyone, fingerprints, scopes(), stamp, || floor.get());
            }
        };
        // The highest of all, as nearly every token is above it. The floor is read last: a purge
        // raises it before it drops what it stands for.
        let highest = table.revoked_before(fingerprints).max(everyone.revoked_before());
        let highest = highest.max(floor.get().revoked_before());
        if !revoked(stamp, highest) {
            return Verdict::Good;
        }
        drop(table);
        self.revoked_by(fingerprints, scopes(), stamp)
    }

    /// What `judge` says, which asks this copy about a token. It is not asked again as long as nothing
    /// has come to the copy since the token was `found_good`.
    #[inline]
    pub(crate) fn verdict_since(
        &self,
        found_good: &FoundGood,
        judge: impl FnOnce() -> Verdict,
    ) -> Verdict {
        self.shared.changes.judged(found_good, Verdict::Good, judge)
    }

    /// What the cut-offs of an exact copy say, and whose is the highest.
    #[cold]
    fn revoked_by<'a>(
        &self,
        fingerprints: &[Fingerprint],
        mut scopes: impl Iterator<Item = ScopeRef<'a>>,
        stamp: Stamp,
    ) -> Verdict {
        let Shared { everyone, cut_offs, floor, .. } = &*self.shared;
        let everyone = everyone.get();
        let (mut highest, mut whose) = (CutOff::NONE, None);
        if let CutOffs::Exact(table) = cut_offs {
            let table = table.read();
            for (at, &fingerprint) in fingerprints.iter().enumerate() {
                let cut_off = table.cut_off(fingerprint);
                if cut_off.revoked_before() > highest.revoked_before() {
                    whose = Some(at);
                }
                highest = highest.join(cut_off);
            }
        }
        // Last, as above.
        for of_all in [everyone, floor.get()] {
            if of_all.revoked_before() > highest.revoked_before() {
                whose = None;
            }
            highest = highest.join(of_all);
        }
        // One that was cleared meanwhile covers it no more.
        let Some(demand) = highest.demand(stamp) else { return Verdict::Good };
        let scope = match whose {
            Some(at) => scopes.nth(at).map(|scope| scope.kind),
            None => Some(ScopeKind::Everyone),
        };
        Verdict::Revoked(Revoked { demand, scope, revoked_before: highest.revoked_before() })
    }

    /// By what this copy knows `scopes`. No other copy knows them by that.
    pub(crate) fn fingerprints<'a>(
        &self,
        scopes: impl Iterator<Item = ScopeRef<'a>>,
    ) -> Fingerprints {
        scopes.map(|scope| self.shared.key.fingerprint(scope)).collect()
    }

    /// The cut-off this copy holds for `scope` alone; [`CutOff::NONE`] if there is none. In buckets,
    /// it holds that of the bucket, which is no lower, and not what it demands.
    pub fn cut_off(&self, scope: &Scope) -> CutOff {
        let Some(scope) = self.fingerprint(scope) else { return self.shared.everyone.get() };
        match &self.shared.cut_offs {
            CutOffs::Exact(table) => table.read().cut_off(scope),
            CutOffs::Buckets(buckets) => buckets.cut_off(scope),
        }
    }

    /// The highest cut-off this copy knows.
    #[inline]
    pub fn newest(&self) -> StoreTime {
        StoreTime::from_micros(self.shared.changes.newest())
    }

    // ---- what the sync writes ----

    /// Joins `cut_off` to what `scope` has. Never lowers one.
    pub fn raise(&self, scope: &Scope, cut_off: CutOff) {
        let Shared { everyone, cut_offs, .. } = &*self.shared;
        let scope = self.fingerprint(scope);
        self.change(cut_off.revoked_before(), || match (scope, cut_offs) {
            (None, _) => everyone.raise(cut_off),
            (Some(scope), CutOffs::Exact(table)) => table.raise(scope, cut_off),
            (Some(scope), CutOffs::Buckets(buckets)) => buckets.raise(scope, cut_off),
        });
    }

    /// Drops the cut-offs of `scope` up to `cleared_at`: the one call that lets revoked tokens
    /// live again. (In buckets, those of `Everyone` alone: about others the store is asked.)
    pub fn clear(&self, scope: &Scope, cleared_at: StoreTime) {
        match (self.fingerprint(scope), &self.shared.cut_offs) {
            (None, _) => self.shared.everyone.lower(CutOff::both(cleared_at)),
            (Some(scope), CutOffs::Exact(table)) => table.clear(scope, cleared_at),
            // Of others than everyone there is nothing to clear: the store is asked, and knows.
            (Some(_), CutOffs::Buckets(_)) => {}
        }
    }

    /// `None` for `Everyone`, which is kept apart.
    fn fingerprint(&self, scope: &Scope) -> Option<Fingerprint> {
        let scope = scope.as_ref();
        (scope != ScopeRef::EVERYONE).then(|| self.shared.key.fingerprint(scope))
    }

    /// Puts every token up to `untold` in doubt: the store has cut-offs there that it has not told.
    /// For a copy in buckets, which alone may ask it for less than everything.
    pub(crate) fn doubt(&self, untold: StoreTime) {
        if let CutOffs::Buckets(buckets) = &self.shared.cut_offs {
            self.change(untold, || buckets.doubt(untold));
            // Whether it was cleared may be among what is not told.
            self.shared.everyone.lower(CutOff::both(untold));
        }
    }

    /// The store may have forgotten the cut-offs above `kept`, up to the newest that this copy
    /// knows. From now on it is not asked about a token that one of them may cover: that is revoked,
    /// with the demand to refresh. (An exact copy knows what it knows.)
    pub(crate) fn forgotten_above(&self, kept: StoreTime) {
        if let CutOffs::Buckets(buckets) = &self.shared.cut_offs {
            let newest = self.newest();
            self.change(newest, || buckets.forgets(kept, newest));
        }
    }

    /// The store has found that nothing up to its `newest` covers a token in `scopes` with `stamp`.
    pub(crate) fn confirmed<'a>(
        &self,
        scopes: impl Iterator<Item = ScopeRef<'a>> + Clone,
        stamp: Stamp,
        newest: StoreTime,
    ) {
        if let CutOffs::Buckets(buckets) = &self.shared.cut_offs {
            buckets.confirm(scopes, stamp, newest);
        }
    }

    /// Raises the floor: every token at or below it is revoked, as cut-offs that covered some of
    /// them were purged. Never lowers it, and no [`clear`](Epochs::clear) does.
    pub fn raise_floor(&self, floor: CutOff) {
        self.change(floor.revoked_before(), || self.shared.floor.raise(floor));
    }

    /// Records a successful poll, after all its rows were raised. The first makes the copy
    /// *loaded*, so it must be a full load. An answer older than the last changes nothing.
    pub fn synced(&self, poll: Synced) {
        let head = poll.head;
        self.shared.changes.know_of(head.as_micros());
        self.shared.synced.record(&poll);
        self.shared.applied.send_if_modified(|applied| {
            let rises = *applied < Some(head);
            *applied = (*applied).max(Some(head));
            rises
        });
    }

    fn change(&self, newest: StoreTime, change: impl FnOnce() -> bool) {
        let counts = !cfg!(plant = "change_not_counted");
        self.shared.changes.make(newest.as_micros(), || change() && counts);
    }

    /// Drops cut-offs that have outlived all they cover at `now`. Returns how many scopes are
    /// gone from memory.
    ///
    /// The highest it drops becomes the [floor](Epochs::raise_floor). As long as clocks behave,
    /// all that this covers has expired, and can be renewed no more. After a clock jumped by more than that, it
    /// refuses what was issued before the dropped cut-off, whether that covered it or not:
    /// purging never revives.
    ///
    /// Buckets are not purged: there are no more of them than before.
    pub fn purge(&self, now: Reading) -> usize {
        let CutOffs::Exact(table) = &self.shared.cut_offs else { return 0 };
        let Some(clock) = self.store_clock(now) else { return 0 };
        let (reissue, login) = self.shared.lifetimes.horizons(clock.earliest);
        let everyone = self.shared.everyone.get();
        let outlived =
            table.outlived(Horizons { reissue, login }).join(everyone.before(reissue, login));
        // Before the drop; a check reads the floor after the cut-offs for the same reason.
        self.raise_floor(outlived);
        self.shared.everyone.lower(outlived);
        let everyone_is_gone = everyone != CutOff::NONE && everyone.above(outlived) == CutOff::NONE;
        table.purge(outlived) + usize::from(everyone_is_gone)
    }

    // ---- waiting and settings ----

    /// Waits until the first full load. Returns at once afterwards.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn ready(&self) {
        // An error would mean that the sender is gone, and `self` holds it.
        let _ = self.shared.applied.subscribe().wait_for(Option::is_some).await;
    }

    /// Waits until this instance has applied the revocation of `receipt`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn wait_for(&self, receipt: &Receipt) {
        let wanted = Some(receipt.revoked_before());
        let _ = self.shared.applied.subscribe().wait_for(|head| *head >= wanted).await;
    }

    /// Whether the first full load has happened.
    pub fn is_loaded(&self) -> bool {
        self.shared.synced.is_there()
    }

    /// How many scopes, or buckets, have a cut-off in memory.
    pub fn len(&self) -> usize {
        let everyone = self.shared.everyone.get() != CutOff::NONE;
        let others = match &self.shared.cut_offs {
            CutOffs::Exact(table) => table.len(),
            CutOffs::Buckets(buckets) => buckets.raised(),
        };
        others + usize::from(everyone)
    }

    /// The number of buckets; `None` if the copy is exact.
    pub fn buckets(&self) -> Option<u32> {
        match &self.shared.cut_offs {
            CutOffs::Exact(_) => None,
            CutOffs::Buckets(buckets) => Some(buckets.count()),
        }
    }

    /// Whether no scope, or bucket, has a cut-off in memory.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The lifetimes that purging and checking follow.
    pub fn lifetimes(&self) -> Lifetimes {
        self.shared.lifetimes
    }

    /// The age from which this copy is stale.
    pub fn max_staleness(&self) -> Duration {
        self.shared.bound.max_staleness
    }

    /// The age from which on nobody believes this copy: [`max_staleness`](Epochs::max_staleness), and
    /// the longest time for which a layer was told to [trust it beyond
    /// that](crate::RevocationLayer::dangerous_trust_while_stale), whatever became of that layer.
    pub fn longest_staleness(&self) -> Duration {
        self.shared.bound.longest()
    }

    pub(crate) fn bound(&self) -> &Bound {
        &self.shared.bound
    }

    /// The clock that its readings come from.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }
}

impl Default for Epochs {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Epochs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Epochs")
            .field("newest", &self.newest())
            .field("len", &self.len())
            .field("freshness", &self.freshness(self.shared.clock.now()))
            .finish_non_exhaustive()
    }
}
