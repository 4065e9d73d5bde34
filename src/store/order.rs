//! The decisions of the store, apart from any database.

#[cfg(feature = "_sql")]
use std::collections::HashSet;
use std::time::Duration;

use super::{
    Device,
    family::{Family, Use},
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
        if !cfg!(plant = "guard_over_new_groups") {
            guarded.extend(session.into_iter().flat_map(|session| groups(&session.groups)));
        }
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
    if mint.session.is_login() && cfg!(plant = "no_ticket_at_login") {
        return Verdict::Mint;
    }
    if mint.session.is_login() || mint.session == MintFor::Token {
        // A password that was read before a revocation may be the old one.
        return stale.map_or(Verdict::Mint, Verdict::Refuse);
    }
    let ended = Verdict::Refuse(ErrorKind::SessionEnded);
    let Some(session) = session else { return ended };
    let over = mint.lifetimes.is_over(session.began, session.refreshed_at, now);
    // First: a session that is over cannot be stolen any more.
    let stands = session.stands(guarded) || cfg!(plant = "no_guard_at_refresh");
    if session.user != mint.user || over || !stands {
        return ended;
    }
    if let Some(token) = renewed {
        // By its own stamp: that of the session is above it, and covers what this one is not.
        if let Some(demand) = presented.demand(token.stamp)
            && !cfg!(plant = "restamp_by_session")
        {
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
    use std::collections::BTreeSet;

    use super::*;
    use crate::{
        lifetimes::Lifetimes,
        store::{Presented, SameDevice, Ticket},
    };

    const GRACE: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn cut_off(demand: Demand, at: u64) -> CutOff {
        CutOff::at(StoreTime::from_micros(at), demand)
    }

    /// A renewal of a token with the stamp 50, of a session with the last stamp 70.
    fn renewal() -> (Mint, SessionRow) {
        let id = |text| Id::new(text).unwrap();
        let mint = Mint {
            ticket: Ticket::new(StoreTime::from_micros(90)),
            session: MintFor::Renew(Presented {
                stamp: Stamp::from_micros(50),
                token: id("token"),
                groups: vec![id("presented")],
                same: SameDevice::default(),
                revoke: false,
            }),
            sid: id("session"),
            user: id("alice"),
            groups: vec![id("now")],
            device: Device::new(),
            lifetimes: Lifetimes::default(),
        };
        let row = SessionRow {
            groups: vec![id("last")],
            ..SessionRow::begin(&mint, Stamp::from_micros(70), at(100))
        };
        (mint, row)
    }

    const NOTHING: Snapshot = Snapshot {
        newest: StoreTime::ZERO,
        guarded: CutOff::NONE,
        asked: CutOff::NONE,
        presented: CutOff::NONE,
        now: Duration::from_secs(100),
    };

    fn nothing() -> Snapshot {
        Snapshot { newest: StoreTime::from_micros(90), ..NOTHING }
    }

    #[test]
    fn a_renewal_is_held_against_the_scopes_of_both_tokens_and_of_the_session() {
        let (mint, row) = renewal();
        let held_against = HeldAgainst::of(&mint, Some(&row));
        let group = |name| Scope::group(name).unwrap();
        let is = |list: &[Scope], scopes: &[Scope]| {
            let of = |list: &[Scope]| list.iter().cloned().collect::<BTreeSet<_>>();
            assert_eq!(of(list), of(scopes));
        };
        let own =
            [Scope::Everyone, Scope::user("alice").unwrap(), Scope::session("session").unwrap()];
        is(&held_against.asked, &[&own[..], &[group("now")]].concat());
        let guarded = [group("now"), group("last"), group("presented")];
        is(&held_against.guarded, &[&own[..], &guarded].concat());
        let presented = [group("presented"), Scope::token("token").unwrap()];
        is(&held_against.presented, &[&own[..], &presented].concat());
    }

    #[test]
    fn a_renewal_goes_by_the_stamp_of_the_token_and_not_of_the_session() {
        let (mint, row) = renewal();
        for demand in [Demand::Refresh, Demand::Login] {
            for (revoked_before, verdict_then) in [
                (49, Verdict::Mint),
                (50, Verdict::Refuse(ErrorKind::TokenRevoked(demand))),
                (69, Verdict::Refuse(ErrorKind::TokenRevoked(demand))),
            ] {
                let presented = cut_off(demand, revoked_before);
                let snapshot = Snapshot { presented, guarded: presented, ..nothing() };
                assert_eq!(verdict(&mint, Some(&row), snapshot), verdict_then, "{revoked_before}");
            }
        }
        // From there on the session has ended, which comes first.
        let login = cut_off(Demand::Login, 70);
        let snapshot = Snapshot { presented: login, guarded: login, ..nothing() };
        let ended = Verdict::Refuse(ErrorKind::SessionEnded);
        assert_eq!(verdict(&mint, Some(&row), snapshot), ended);
        assert_eq!(verdict(&mint, None, nothing()), ended);
    }

    #[test]
    fn a_renewal_from_ahead_of_the_store_reads_again() {
        let (mint, row) = renewal();
        let again = Verdict::Refuse(ErrorKind::RevokedMeanwhile(Demand::Refresh));
        for (newest, verdict_then) in [(90, Verdict::Mint), (89, again), (48, again)] {
            let snapshot = Snapshot { newest: StoreTime::from_micros(newest), ..nothing() };
            assert_eq!(verdict(&mint, Some(&row), snapshot), verdict_then, "{newest}");
        }
        let mint = Mint { ticket: Ticket::new(StoreTime::from_micros(48)), ..mint };
        for (newest, verdict_then) in [(49, Verdict::Mint), (48, again)] {
            let snapshot = Snapshot { newest: StoreTime::from_micros(newest), ..nothing() };
            assert_eq!(verdict(&mint, Some(&row), snapshot), verdict_then, "{newest}");
        }
    }

    #[test]
    fn what_is_unknown_of_a_device_is_not_the_same() {
        let (ip, user_agent) = ([192, 0, 2, 1].into(), "phone");
        let phone = Device::new().with_ip(ip).with_user_agent(user_agent);
        let both = SameDevice { ip: true, user_agent: true };
        assert!(both.holds(&phone, &phone.clone().with_label("mine")));
        let unknown = Device::new();
        for (known, seen) in [(&unknown, &unknown), (&unknown, &phone), (&phone, &unknown)] {
            assert!(SameDevice::default().holds(known, seen));
            for (ip, user_agent) in [(true, false), (false, true)] {
                assert!(!SameDevice { ip, user_agent }.holds(known, seen), "{known:?} {seen:?}");
            }
        }
    }

    #[test]
    fn a_renewal_touches_no_refresh_token_and_moves_no_device() {
        let (mut mint, mut row) = renewal();
        row.device = Device::new().with_user_agent("phone");
        row.family.spend(GRACE, at(100));
        mint.device = Device::new().with_user_agent("laptop").with_label("mine");
        let minted = row.go_on(&mint, Stamp::from_micros(60), at(200));
        assert_eq!((minted.counter, minted.session_began), (1, at(100)));
        assert_eq!((row.family.counter, row.family.spent.as_slice()), (1, &[at(100)][..]));
        assert_eq!((row.refreshed_at, row.last_stamp), (at(200), Stamp::from_micros(70)));
        assert_eq!(row.device, Device::new().with_user_agent("phone").with_label("mine"));
        assert_eq!(row.groups, mint.groups);
    }

    #[test]
    fn a_token_without_a_session_is_held_against_its_ticket_alone() {
        let mint = Mint { session: MintFor::Token, ..renewal().0 };
        assert_eq!(verdict(&mint, None, nothing()), Verdict::Mint);
        for demand in [Demand::Refresh, Demand::Login] {
            let late = Verdict::Refuse(ErrorKind::RevokedMeanwhile(demand));
            let snapshot = Snapshot { asked: cut_off(demand, 91), ..nothing() };
            assert_eq!(verdict(&mint, None, snapshot), late);
        }
    }
}
