//! What the store holds, and what is done to it under its lock.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use crate::{
    clock::Clock,
    cutoff::{CutOff, Demand, Receipt, Stamp, StoreTime},
    error::{Error, ErrorKind},
    scope::{Id, Scope},
    store::{
        Audit, Changes, Entry, Instance, Mint, MintFor, Minted, RequestId, Revocation, Source,
        StoreId,
        order::{HeldAgainst, SessionRow, Verdict, next_cut_off, verdict},
    },
};

#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) id: String,
    pub(super) newest: StoreTime,
    pub(super) floor: CutOff,
    pub(super) entries: HashMap<Scope, Row>,
    pub(super) pending: Vec<(RequestId, Revocation)>,
    pub(super) sealed: HashMap<RequestId, StoreTime>,
    pub(super) sessions: HashMap<Id, SessionRow>,
    pub(super) audit: Vec<(Scope, StoreTime, Audit)>,
    pub(super) instances: BTreeMap<Id, InstanceRow>,
}

#[derive(Clone, Debug)]
pub(super) struct InstanceRow {
    pub(super) instance: Instance,
    pub(super) applied: StoreTime,
    pub(super) beats: u64,
    pub(super) beat_at: Duration,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Row {
    pub(super) cut_off: CutOff,
    pub(super) cleared_at: StoreTime,
    pub(super) changed_at: StoreTime,
}

impl State {
    pub(super) fn cut_off<'a>(&self, scopes: impl IntoIterator<Item = &'a Scope>) -> CutOff {
        scopes
            .into_iter()
            .filter_map(|scope| self.entries.get(scope))
            .fold(self.floor, |joined, row| joined.join(row.cut_off))
    }

    /// The cut-offs the guard of `session` is held against.
    pub(super) fn guarded(&self, sid: &Id, session: &SessionRow) -> CutOff {
        let groups = session.groups.iter().cloned().map(Scope::Group);
        let own = [Scope::Everyone, Scope::User(session.user.clone()), Scope::Session(sid.clone())];
        self.cut_off(&groups.chain(own).collect::<Vec<_>>())
    }

    pub(super) fn is_alive(&self, sid: &Id) -> bool {
        let stands = |session: &SessionRow| session.stands(self.guarded(sid, session));
        self.sessions.get(sid).is_some_and(stands)
    }

    pub(super) fn seal(
        &mut self,
        revocation: &Revocation,
        clock: &Clock,
    ) -> Result<StoreTime, Error> {
        let cut_off = next_cut_off(self.newest, clock.now().wall)?;
        let spared = revocation.spared.as_ref().filter(|sid| self.is_alive(sid));
        if let Some(session) = spared.and_then(|sid| self.sessions.get_mut(sid)) {
            session.spare(cut_off);
        }
        let row = self.entries.entry(revocation.scope.clone()).or_default();
        row.cut_off = row.cut_off.join(CutOff::at(cut_off, revocation.demand));
        row.changed_at = cut_off;
        self.newest = cut_off;
        Ok(cut_off)
    }

    /// Mints, or says why not.
    pub(super) fn mint(
        &mut self,
        mint: &Mint,
        clock: &Clock,
    ) -> Result<Result<Minted, Error>, Error> {
        let now = clock.now().wall;
        let before = self.sessions.get(&mint.sid);
        let held_against = HeldAgainst::of(mint, before);
        let snapshot = held_against.snapshot(self.newest, now, |scopes| self.cut_off(scopes));
        match verdict(mint, before, snapshot) {
            Verdict::Refuse(kind) => Ok(Err(kind.into())),
            Verdict::Theft => {
                let revocation = Revocation::new(Scope::Session(mint.sid.clone()), Demand::Login);
                let receipt = Receipt::new(self.seal(&revocation, clock)?);
                Ok(Err(ErrorKind::RefreshTokenReused(receipt).into()))
            }
            Verdict::Mint => {
                let ended = match mint.session {
                    MintFor::LoginWithin(limit) => {
                        let beyond = self.sessions_beyond(mint, limit.others(), now);
                        match limit.make_room(beyond) {
                            Ok(ended) => ended,
                            Err(refused) => return Ok(Err(refused.into())),
                        }
                    }
                    _ => Vec::new(),
                };
                for revocation in ended.into_iter().chain(mint.revocation()) {
                    self.seal(&revocation, clock)?;
                }
                self.put(mint, now).map(Ok)
            }
        }
    }

    /// The living sessions of the user of `mint`, but for the `kept` that logged in last.
    pub(super) fn sessions_beyond(&self, mint: &Mint, kept: u32, now: Duration) -> Vec<Id> {
        let alive = |sid: &Id, row: &SessionRow| {
            row.user == mint.user
                && row.stands(self.guarded(sid, row))
                && !mint.lifetimes.is_over(row.began, row.refreshed_at, now)
        };
        let alive = self.sessions.iter().filter(|(sid, row)| alive(sid, row));
        let mut alive: Vec<_> = alive.map(|(sid, row)| (row.began, sid.clone())).collect();
        alive.sort();
        alive.into_iter().rev().skip(kept as usize).map(|(_, sid)| sid).collect()
    }

    /// Writes the session of `mint`.
    pub(super) fn put(&mut self, mint: &Mint, now: Duration) -> Result<Minted, Error> {
        let stamp = Stamp::after(self.newest);
        match (&mint.session, self.sessions.get_mut(&mint.sid)) {
            (MintFor::Token, _) => Ok(Minted::first(stamp, now)),
            (session, Some(_)) if session.is_login() => {
                Err(Error::new(ErrorKind::Store, "there is such a session"))
            }
            (_, Some(session)) => Ok(session.go_on(mint, stamp, now)),
            (_, None) => {
                self.sessions.insert(mint.sid.clone(), SessionRow::begin(mint, stamp, now));
                Ok(Minted::first(stamp, now))
            }
        }
    }

    /// The entries that are wanted, with the head.
    pub(super) fn changes(&self, clock: &Clock, wanted: impl Fn(&Row) -> bool) -> Changes {
        let told = self.entries.iter().filter(|(_, row)| wanted(row));
        Changes {
            store: StoreId(self.id.clone()),
            head: self.newest,
            clock: clock.now().wall,
            floor: self.floor,
            source: Source::Primary,
            entries: told
                .map(|(scope, row)| Entry {
                    scope: scope.clone(),
                    cut_off: row.cut_off,
                    cleared_at: row.cleared_at,
                })
                .collect(),
        }
    }

    pub(super) fn seal_pending(&mut self, clock: &Clock) -> Result<(), Error> {
        for (id, revocation) in std::mem::take(&mut self.pending) {
            let cut_off = self.seal(&revocation, clock)?;
            self.sealed.insert(id, cut_off);
        }
        Ok(())
    }
}

impl InstanceRow {
    pub(super) fn new(instance: &Instance, now: Duration) -> Self {
        Self { instance: instance.clone(), applied: StoreTime::ZERO, beats: 0, beat_at: now }
    }

    pub(super) fn beat(&mut self, now: Duration) {
        self.beats += 1;
        self.beat_at = now;
    }
}

pub(super) fn identity() -> String {
    Id::random().as_str().to_owned()
}
