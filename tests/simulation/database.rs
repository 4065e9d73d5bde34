//! The database: what it has executed, and the copies of it.

use std::time::Duration;

use futures_util::FutureExt;
use tower_revocation::{
    Demand, EpochStore, Id, Scope,
    cutoff::StoreTime,
    error::{Error, ErrorKind},
    lifetimes::Lifetimes,
    store::{MemoryStore, Mint, Minted, Watch},
};

use crate::{
    coverage::Fault,
    facts::{Moment, Remembered},
    laws,
    network::Notice,
    world::World,
};

/// The database as it was.
pub(crate) struct Copied {
    pub(crate) store: MemoryStore,
    pub(crate) remembered: Remembered,
    pub(crate) taken: Moment,
}

pub(crate) struct Request {
    revocation: usize,
    committed: Moment,
    pending: bool,
}

impl World {
    // ---- what is asked of it ----

    /// A revocation is called. Returns its place among the facts.
    pub(crate) fn call(&self, scope: &Scope, demand: Demand, spared: Option<Id>) -> usize {
        let now = self.now();
        self.inner().facts.called(scope.clone(), demand, spared, now)
    }

    /// A transaction has committed that requests a revocation.
    pub(crate) fn requested(&self, revocation: usize) {
        let committed = self.moment();
        self.inner().requests.push(Request { revocation, committed, pending: true });
        self.announce();
    }

    // ---- what it has executed ----

    /// The primary has executed something, so what was pending is sealed. To be called before the
    /// facts learn what it was.
    pub(crate) fn executed(&self) {
        let primary = self.inner().primary.clone();
        if self.inner().requests.iter().any(|request| request.pending) {
            let mut watch = primary.watch().now_or_never().unwrap().unwrap();
            let changes = watch.load().now_or_never().unwrap().unwrap();
            let at = self.now();
            let inner = &mut *self.inner();
            for request in inner.requests.iter_mut().filter(|request| request.pending) {
                request.pending = false;
                let revocation = &inner.facts.revocations[request.revocation];
                let entry = changes.entries.iter().find(|entry| entry.scope == revocation.scope);
                let cut_off = entry.expect("it was sealed").cut_off;
                let cut_off = match revocation.demand {
                    Demand::Refresh => cut_off.reissue_before,
                    _ => cut_off.login_before,
                };
                inner.facts.sealed(request.revocation, cut_off, at);
            }
        }
    }

    pub(crate) fn sealed(&self, revocation: usize, cut_off: StoreTime) {
        let now = self.now();
        let inner = &mut *self.inner();
        inner.facts.sealed(revocation, cut_off, now);
    }

    pub(crate) fn returned(&self, revocation: usize) {
        let now = self.now();
        let inner = &mut *self.inner();
        let returned = inner.facts.moment(now);
        inner.facts.revocations[revocation].returned = Some(returned);
    }

    /// Somebody was told that a revocation is enforced everywhere.
    ///
    /// A database that has just gone back may have forgotten instances, which enlist anew as soon as
    /// they notice: within a third of their bound, and by what they have read until then they may accept
    /// tokens for as long as that.
    pub(crate) fn enforced(&self, revocation: usize) {
        let now = self.now();
        let forgotten = self.setup.longest_bound() * 2;
        let facts = &mut self.inner().facts;
        if facts.went_back.last().is_none_or(|back| now > back.at + forgotten) {
            let enforced = facts.moment(now);
            facts.revocations[revocation].enforced = Some(enforced);
        }
    }

    /// It has minted, or refused to; its clock was set within `range` so far.
    pub(crate) fn minted(&self, mint: &Mint, minted: &Result<Minted, Error>, range: Duration) {
        match minted {
            Ok(minted) => {
                let held = laws::mint(&self.inner().facts, mint, minted);
                self.hold(held);
                self.inner().facts.minted(mint, minted);
            }
            Err(refused) => {
                if let ErrorKind::RefreshTokenReused(receipt) = refused.kind() {
                    // Called by the database itself.
                    let stolen = Scope::Session(mint.sid.clone());
                    let revocation = self.call(&stolen, Demand::Login, None);
                    self.sealed(revocation, receipt.revoked_before());
                }
                let now = self.database.reading().wall;
                let held = laws::refusal(&self.inner().facts, mint, refused.kind(), now, range);
                self.hold(held);
            }
        }
    }

    pub(crate) fn advanced(&self, newest: StoreTime) {
        let inner = &mut *self.inner();
        let remembered = &mut inner.facts.remembered;
        remembered.newest = remembered.newest.max(newest);
    }

    pub(crate) fn purged(&self, lifetimes: Lifetimes) {
        let now = self.database.reading().wall;
        let sessions = &mut self.inner().facts.remembered.sessions;
        sessions.retain(|_, session| {
            !laws::is_over(session.began, session.refreshed_at, now, lifetimes)
        });
    }

    // ---- its copies ----

    /// Takes a backup, or has the replica catch up.
    pub(crate) fn copy(&self, backup: bool) {
        // What is pending is sealed on the way, as anybody may do.
        let primary = self.inner().primary.clone();
        let _ = primary.ticket().now_or_never().unwrap().unwrap();
        self.executed();
        let taken = self.moment();
        let inner = &mut *self.inner();
        let remembered = inner.facts.remembered.clone();
        let copied = Copied { store: primary.copied(), remembered, taken };
        *(if backup { &mut inner.backup } else { &mut inner.replica }) = copied;
    }

    /// The backup is put in the place of the database, or the replica takes over.
    pub(crate) fn go_back(&self, to_backup: bool, down: u64) {
        let now = self.now();
        {
            let inner = &mut *self.inner();
            let copied = if to_backup { &inner.backup } else { &inner.replica };
            let taken = copied.taken;
            inner.primary = copied.store.copied();
            inner.facts.go_back(copied.remembered.clone(), taken, now);
            inner.generation += 1;
            inner.down_until = now + down;
            // What was committed by then was sealed by then, too.
            inner.requests.retain(|request| request.committed < taken && !request.pending);
            if !self.setup.pooled {
                for link in &mut inner.links {
                    if let Some(listener) = link.listener.take() {
                        let _ = listener.send(Notice::Lost);
                    }
                }
            }
        }
        self.fault(if to_backup { Fault::Restore } else { Fault::Failover }, None, 0);
    }
}
