//! The decisions of the store, apart from any database.

#[cfg(feature = "_sql")]
use std::collections::HashSet;
use std::time::Duration;

use super::{
    Device,
    mint::{Mint, MintFor, Minted},
};
use crate::{
    clock::as_micros,
    cutoff::{CutOff, Demand, Stamp, StoreTime, revoked},
    error::{Error, ErrorKind},
    scope::{Id, Scope},
};

/// The cut-off of the next revocation: above every one before, and at the database's clock as
/// long as that runs forward.
pub(super) fn next_cut_off(newest: StoreTime, db_clock: Duration) -> Result<StoreTime, Error> {
    let next = newest.next().ok_or(ErrorKind::StoreTimeExhausted)?;
    Ok(next.max(StoreTime::from_micros(as_micros(db_clock))))
}

/// A session's row.
#[derive(Clone, Debug)]
pub(super) struct SessionRow {
    pub(super) user: Id,
    /// The groups of its last token.
    pub(super) groups: Vec<Id>,
    pub(super) began: Duration,
    /// Never sinks: a clock that is behind for a moment must not end the session later on.
    pub(super) refreshed_at: Duration,
    pub(super) last_stamp: Stamp,
    pub(super) family: Family,
    pub(super) device: Device,
}

/// The refresh tokens of a session. They differ by a counter.
#[derive(Clone, Debug, Default)]
pub(super) struct Family {
    /// That of the current one.
    pub(super) counter: u64,
    /// Those below are void: no copy of them is any use, and none is a sign of a theft.
    pub(super) void_below: u64,
    /// When the ones before the current one were spent, newest first.
    pub(super) spent: Vec<Duration>,
}

/// What presenting a refresh token means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// It is spent now.
    Current,
    /// It was spent, for the first time at this moment, and gets its successor again.
    Again(Duration),
    /// It was made void, or never handed out by the store as it is now.
    Invalid,
    /// It was spent, its successor too, and the grace time is over: somebody has a copy.
    Reused,
}

impl Family {
    /// How many moments of spending are kept within a grace time. Whoever refreshes more often
    /// than that, and comes with a token from before, is taken for a thief: were they not, a thief
    /// could refresh fast enough never to be one.
    pub(super) const REMEMBERED: usize = 100;

    pub(super) fn presented(&self, counter: u64, grace: Duration, now: Duration) -> Use {
        if counter < self.void_below || counter > self.counter {
            return Use::Invalid;
        }
        let Some(successors) = self.counter.checked_sub(counter + 1) else {
            return Use::Current;
        };
        let spent = usize::try_from(successors).ok().and_then(|index| self.spent.get(index));
        match spent {
            // Its successor is the current one, and unused.
            Some(&spent) if successors == 0 || now < spent.saturating_add(grace) => {
                Use::Again(spent)
            }
            // Too late, or forgotten.
            _ => Use::Reused,
        }
    }

    /// The current one is spent at `now`, and the next one is current.
    pub(super) fn spend(&mut self, grace: Duration, now: Duration) {
        self.counter += 1;
        // From the first that is too old on: a moment's place says whose it is, also after the
        // clock was set.
        let kept = self.spent.iter().take_while(|spent| now < spent.saturating_add(grace)).count();
        self.spent.truncate(kept.min(Self::REMEMBERED - 1));
        self.spent.insert(0, now);
    }

    /// All so far are void.
    pub(super) fn void(&mut self) {
        self.counter += 1;
        self.void_below = self.counter;
        self.spent.clear();
    }
}

impl SessionRow {
    /// The guard: whether no `login_before` of its scopes reaches its last stamp.
    ///
    /// `cut_offs` joins those of everyone, the user, the session, the groups of its last token
    /// and, at a refresh, the groups it has now.
    pub(super) fn stands(&self, cut_offs: CutOff) -> bool {
        !revoked(self.last_stamp, cut_offs.login_before)
    }

    /// "All others but me" spares this one: it has seen the revocation, and whoever holds one of
    /// its refresh tokens from before does not.
    pub(super) fn spare(&mut self, cut_off: StoreTime) {
        self.last_stamp = self.last_stamp.max(Stamp::after(cut_off));
        self.family.void();
    }

    /// The row of a new session.
    pub(super) fn begin(mint: &Mint, stamp: Stamp, now: Duration) -> Self {
        Self {
            user: mint.user.clone(),
            groups: mint.groups.clone(),
            began: now,
            refreshed_at: now,
            last_stamp: stamp,
            family: Family::default(),
            device: mint.device.clone(),
        }
    }

    /// Goes on with `stamp`, once [`verdict`] has allowed it.
    pub(super) fn go_on(&mut self, mint: &Mint, stamp: Stamp, now: Duration) -> Minted {
        let (counter, counted_at) = match mint.session {
            MintFor::Refresh { counter, grace } => {
                match self.family.presented(counter, grace, now) {
                    // Handed out for the second time: the deadline stays where it is.
                    Use::Again(spent) => (counter + 1, spent),
                    _ => {
                        self.family.spend(grace, now);
                        self.refreshed_at = self.refreshed_at.max(now);
                        (self.family.counter, now)
                    }
                }
            }
            _ => {
                self.refreshed_at = self.refreshed_at.max(now);
                (self.family.counter, now)
            }
        };
        self.groups.clone_from(&mint.groups);
        self.last_stamp = self.last_stamp.max(stamp);
        match mint.session {
            // Else one renewal that does not ask for the same device would move what the next one
            // is held against.
            MintFor::Renew(_) => self.device.learn(&mint.device),
            _ => self.device.update(&mint.device),
        }
        Minted { stamp, issued_at: now, session_began: self.began, counter, counted_at }
    }
}

impl Minted {
    /// What begins now: a session, or a token without one.
    pub(super) fn first(stamp: Stamp, now: Duration) -> Self {
        Self { stamp, issued_at: now, session_began: now, counter: 0, counted_at: now }
    }
}

/// Whether tokens may be minted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Mint,
    Refuse(ErrorKind),
    /// A refresh token came back that was spent long ago: the session is to be revoked.
    Theft,
}

/// What the cut-offs say, in the snapshot of the mint.
#[derive(Clone, Copy, Debug)]
pub(super) struct Snapshot {
    pub(super) newest: StoreTime,
    /// Joins the cut-offs that the guard is held against.
    pub(super) guarded: CutOff,
    /// Joins those of the scopes that the token will have.
    pub(super) asked: CutOff,
    /// Joins those of the scopes that a token to be renewed has.
    pub(super) presented: CutOff,
    /// The database's clock.
    pub(super) now: Duration,
}

/// The scopes whose cut-offs a mint is held against.
#[derive(Debug)]
pub(super) struct HeldAgainst {
    guarded: Vec<Scope>,
    asked: Vec<Scope>,
    presented: Vec<Scope>,
}

impl HeldAgainst {
    /// `session` is the row of a session that goes on.
    pub(super) fn of(mint: &Mint, session: Option<&SessionRow>) -> Self {
        let asked = mint.scopes();
        let mut guarded = asked.clone();
        let groups = |groups: &[Id]| groups.iter().cloned().map(Scope::Group).collect::<Vec<_>>();
        guarded.extend(session.into_iter().flat_map(|session| groups(&session.groups)));
        let mut presented = Vec::new();
        if let MintFor::Renew(token) = &mint.session {
            let its_groups = groups(&token.groups);
            guarded.extend(its_groups.iter().cloned());
            presented = vec![
                Scope::Everyone,
                Scope::User(mint.user.clone()),
                Scope::Session(mint.sid.clone()),
                Scope::Token(token.token.clone()),
            ];
            presented.extend(its_groups);
        }
        Self { guarded, asked, presented }
    }

    /// All of them, each once.
    #[cfg(feature = "_sql")]
    pub(super) fn scopes(&self) -> Vec<Scope> {
        let lists = [&self.guarded, &self.asked, &self.presented];
        let all: HashSet<&Scope> = lists.into_iter().flatten().collect();
        all.into_iter().cloned().collect()
    }

    /// What they say. `cut_off` joins the cut-offs of scopes, and the floor.
    pub(super) fn snapshot(
        &self,
        newest: StoreTime,
        now: Duration,
        cut_off: impl Fn(&[Scope]) -> CutOff,
    ) -> Snapshot {
        Snapshot {
            newest,
            guarded: cut_off(&self.guarded),
            asked: cut_off(&self.asked),
            presented: cut_off(&self.presented),
            now,
        }
    }
}

/// Whether `mint` may be done. `session` is the row of a session that goes on.
pub(super) fn verdict(mint: &Mint, session: Option<&SessionRow>, snapshot: Snapshot) -> Verdict {
    let Snapshot { newest, guarded, asked, presented, now } = snapshot;
    let renewed = match &mint.session {
        MintFor::Renew(renewed) => Some(renewed),
        _ => None,
    };
    // Taken from a copy in memory that remembers more than a database restored from a backup: it
    // says nothing about what was revoked here since. Nor does a token from before that.
    let highest = renewed.map_or(mint.ticket.stamp(), |token| token.stamp.max(mint.ticket.stamp()));
    let premature = highest > Stamp::after(newest);
    let demand = asked.demand(mint.ticket.stamp()).or(premature.then_some(Demand::Refresh));
    let stale = demand.map(ErrorKind::RevokedMeanwhile);
    if matches!(mint.session, MintFor::Login | MintFor::Token) {
        // A password that was read before a revocation may be the old one.
        return stale.map_or(Verdict::Mint, Verdict::Refuse);
    }
    let ended = Verdict::Refuse(ErrorKind::SessionEnded);
    let Some(session) = session else { return ended };
    let over = mint.lifetimes.is_over(session.began, session.refreshed_at, now);
    // First: a session that is over cannot be stolen any more.
    if session.user != mint.user || over || !session.stands(guarded) {
        return ended;
    }
    if let Some(token) = renewed {
        // By its own stamp: that of the session is above it, and covers what this one is not.
        if let Some(demand) = presented.demand(token.stamp) {
            return Verdict::Refuse(ErrorKind::TokenRevoked(demand));
        }
        if !token.same.holds(&session.device, &mint.device) {
            return Verdict::Refuse(ErrorKind::DeviceDiffers);
        }
    }
    if let MintFor::Refresh { counter, grace } = mint.session {
        match session.family.presented(counter, grace, now) {
            Use::Current | Use::Again(_) => {}
            Use::Invalid => return Verdict::Refuse(ErrorKind::RefreshTokenInvalid),
            Use::Reused => return Verdict::Theft,
        }
    }
    // The guard has spoken for the session: only the claims can be too old, whatever the
    // revocation demands of others.
    match stale {
        Some(_) => Verdict::Refuse(ErrorKind::RevokedMeanwhile(Demand::Refresh)),
        None => Verdict::Mint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_spent_token_gets_its_successor_while_that_is_unused_or_within_the_grace_time() {
        let mut family = Family::default();
        assert_eq!(family.presented(0, GRACE, at(100)), Use::Current);
        family.spend(GRACE, at(100));
        // However late: nobody has used the successor.
        for now in [100, 105, 9_999] {
            assert_eq!(family.presented(0, GRACE, at(now)), Use::Again(at(100)));
        }
        family.spend(GRACE, at(104));
        assert_eq!(family.presented(0, GRACE, at(109)), Use::Again(at(100)));
        assert_eq!(family.presented(0, GRACE, at(110)), Use::Reused);
        assert_eq!(family.presented(1, GRACE, at(9_999)), Use::Again(at(104)));
        assert_eq!(family.presented(2, GRACE, at(9_999)), Use::Current);
        assert_eq!(family.presented(3, GRACE, at(100)), Use::Invalid);
        assert_eq!(family.presented(u64::MAX, GRACE, at(100)), Use::Invalid);
    }

    #[test]
    fn what_was_made_void_is_invalid_and_no_theft() {
        let mut family = Family::default();
        family.spend(GRACE, at(100));
        family.void();
        for counter in [0, 1] {
            assert_eq!(family.presented(counter, GRACE, at(100)), Use::Invalid);
        }
        assert_eq!(family.presented(2, GRACE, at(9_999)), Use::Current);
        family.spend(GRACE, at(101));
        family.spend(GRACE, at(102));
        assert_eq!(family.presented(2, GRACE, at(9_999)), Use::Reused);
        assert_eq!(family.presented(1, GRACE, at(9_999)), Use::Invalid);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut family = Family::default();
        for second in 0..1_000 {
            family.spend(GRACE, at(second));
            assert!(family.spent.len() <= 10);
        }
        for _ in 0..1_000 {
            family.spend(GRACE, at(1_000));
        }
        assert_eq!(family.spent.len(), Family::REMEMBERED);
        assert_eq!(family.presented(family.counter - 100, GRACE, at(1_001)), Use::Again(at(1_000)));
        let forgotten = family.counter - 101;
        assert_eq!(family.presented(forgotten, GRACE, at(1_001)), Use::Reused);
    }
}
