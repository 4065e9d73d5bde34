//! The store: its lock, and the operations of the contract.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::{
    MemoryWatch,
    state::{InstanceRow, Row, State, identity},
};
use crate::{
    clock::Clock,
    cutoff::{CutOff, Receipt, StoreTime},
    error::{Error, ErrorKind},
    lifetimes::Lifetimes,
    scope::{Id, Scope},
    store::{
        Audit, Enlisted, EpochStore, Instance, Judged, MAX_LISTED, Mint, Minted, RequestId,
        Requested, Revocation, Roster, Session, SessionFilter, StatementCounts, Ticket,
        order::{SessionRow, next_cut_off},
    },
};

/// A store that lives and dies with the process. One process only: nothing is shared.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

/// A transaction of the caller on a [`MemoryStore`]: what is requested in it is seen by nobody
/// until [`commit`](MemoryTransaction::commit).
#[derive(Debug)]
pub struct MemoryTransaction<'t> {
    store: &'t MemoryStore,
    requests: Vec<(RequestId, Revocation)>,
}

impl MemoryStore {
    /// An empty store on the machine's clock.
    pub fn new() -> Self {
        Self::with_clock(Clock::system())
    }

    /// An empty store on `clock`.
    pub fn with_clock(clock: Clock) -> Self {
        let shared = Shared {
            clock,
            state: Mutex::new(State { id: identity(), ..State::default() }),
            changed: watch::Sender::new(()),
        };
        Self { shared: Arc::new(shared) }
    }

    /// A copy of it as it is now, which goes its own way from then on: a backup to be restored, or
    /// a replica that lags behind. It keeps the identity.
    #[must_use]
    pub fn copied(&self) -> Self {
        let shared = Shared {
            clock: self.shared.clock.clone(),
            state: Mutex::new(self.state().clone()),
            changed: watch::Sender::new(()),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Begins a transaction.
    pub fn begin(&self) -> MemoryTransaction<'_> {
        MemoryTransaction { store: self, requests: Vec::new() }
    }

    /// Runs `change` as one transaction: all of it or, after an error, nothing.
    ///
    /// Pending requests are sealed first, and stay sealed if the change is refused.
    fn transaction<T>(
        &self,
        change: impl FnOnce(&mut State, &Clock) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut state = self.sealed()?;
        let before = state.newest;
        let mut draft = state.clone();
        let done = change(&mut draft, &self.shared.clock);
        if done.is_ok() {
            *state = draft;
        }
        if state.newest > before {
            self.shared.changed.send_replace(());
        }
        done
    }

    /// Reads in one snapshot, once pending requests are sealed.
    pub(super) fn read<T>(&self, read: impl FnOnce(&State, &Clock) -> T) -> Result<T, Error> {
        Ok(read(&*self.sealed()?, &self.shared.clock))
    }

    /// The state, once pending requests are sealed: all of them or, after an error, none.
    fn sealed(&self) -> Result<MutexGuard<'_, State>, Error> {
        let mut state = self.state();
        if !state.pending.is_empty() {
            let mut draft = state.clone();
            draft.seal_pending(&self.shared.clock)?;
            *state = draft;
            self.shared.changed.send_replace(());
        }
        Ok(state)
    }

    /// A panic in a transaction leaves the state as it was before: it works on a draft.
    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryTransaction<'_> {
    /// Commits what was requested.
    pub fn commit(self) {
        self.store.state().pending.extend(self.requests);
        self.store.shared.changed.send_replace(());
    }
}

impl EpochStore for MemoryStore {
    type Transaction<'t> = MemoryTransaction<'t>;
    type Watch = MemoryWatch;

    async fn revoke_many(&self, revocations: &[Revocation]) -> Result<Receipt, Error> {
        self.transaction(|state, clock| {
            for revocation in revocations {
                let asked_by = revocation.spared.as_ref().filter(|_| revocation.conditional);
                if asked_by.is_some_and(|sid| !state.is_alive(sid)) {
                    return Err(ErrorKind::SessionEnded.into());
                }
            }
            for revocation in revocations {
                state.seal(revocation, clock)?;
            }
            Ok(Receipt::new(state.newest))
        })
    }

    async fn revoke_in<'t>(
        &self,
        transaction: &mut Self::Transaction<'t>,
        revocation: Revocation,
    ) -> Result<Requested<Self>, Error> {
        let id = RequestId(Id::random());
        transaction.requests.push((id.clone(), revocation));
        Ok(Requested::new(self.clone(), id))
    }

    async fn seal(&self, id: &RequestId) -> Result<Receipt, Error> {
        if cfg!(plant = "receipt_before_sealing") {
            return Ok(Receipt::new(self.state().newest));
        }
        let sealed = self.read(|state, _| state.sealed.get(id).copied())?;
        Ok(Receipt::new(sealed.ok_or(ErrorKind::NotCommitted)?))
    }

    async fn clear(&self, scope: &Scope, audit: Audit) -> Result<Receipt, Error> {
        self.transaction(|state, clock| {
            let cleared_at = next_cut_off(state.newest, clock.now().wall)?;
            let row = Row { cut_off: CutOff::NONE, cleared_at, changed_at: cleared_at };
            state.entries.insert(scope.clone(), row);
            state.audit.push((scope.clone(), cleared_at, audit));
            state.newest = cleared_at;
            Ok(Receipt::new(cleared_at))
        })
    }

    async fn ticket(&self) -> Result<Ticket, Error> {
        self.read(|state, _| Ticket::new(state.newest))
    }

    async fn mint(&self, mint: &Mint) -> Result<Minted, Error> {
        // A refusal is an answer here: the end of a stolen session is committed with it.
        self.transaction(|state, clock| state.mint(mint, clock))?
    }

    async fn sessions(
        &self,
        filter: &SessionFilter,
        lifetimes: Lifetimes,
    ) -> Result<Vec<Session>, Error> {
        self.read(|state, clock| {
            let now = clock.now().wall;
            let asked = |sid: &Id, row: &SessionRow| match filter {
                SessionFilter::Id(id) => sid == id,
                SessionFilter::User(user) => row.user == *user,
                SessionFilter::RefreshedWithin(time) => {
                    now < row.refreshed_at.saturating_add(*time)
                }
            };
            let alive = |sid: &Id, row: &SessionRow| {
                row.stands(state.guarded(sid, row))
                    && !lifetimes.is_over(row.began, row.refreshed_at, now)
            };
            let mut sessions: Vec<Session> = state
                .sessions
                .iter()
                .filter(|(sid, row)| asked(sid, row) && alive(sid, row))
                .map(|(sid, row)| Session {
                    id: sid.clone(),
                    user: row.user.clone(),
                    device: row.device.clone(),
                    created_at: row.began,
                    last_refresh_at: row.refreshed_at,
                })
                .collect();
            sessions.sort_by(|one, other| {
                other.last_refresh_at.cmp(&one.last_refresh_at).then(one.id.cmp(&other.id))
            });
            sessions.truncate(MAX_LISTED);
            sessions
        })
    }

    async fn judged(&self, scopes: &[Scope]) -> Result<Judged, Error> {
        self.read(|state, clock| Judged {
            cut_off: state.cut_off(scopes.iter().chain([&Scope::Everyone])),
            clock: clock.now().wall,
            newest: state.newest,
            primary: true,
        })
    }

    async fn advance(&self, newest: StoreTime) -> Result<(), Error> {
        self.transaction(|state, _| {
            if newest > state.newest {
                state.newest = newest;
                state.id = identity();
            }
            Ok(())
        })
    }

    async fn purge(&self, lifetimes: Lifetimes) -> Result<u64, Error> {
        self.transaction(|state, clock| {
            let now = clock.now().wall;
            let (reissue, login) = lifetimes.horizons(now);
            state
                .sessions
                .retain(|_, session| !lifetimes.is_over(session.began, session.refreshed_at, now));
            state.sealed.retain(|_, sealed| *sealed >= login);
            let outlived = state
                .entries
                .values()
                .map(|row| row.cut_off.before(reissue, login))
                .fold(CutOff::NONE, CutOff::join);
            state.floor = state.floor.join(outlived);
            let before = state.entries.len();
            state.entries.retain(|_, row| {
                row.cut_off = row.cut_off.above(outlived);
                row.cut_off != CutOff::NONE || row.cleared_at >= login
            });
            let gone = before - state.entries.len();
            Ok(gone as u64)
        })
    }

    async fn enlist(&self, instance: &Instance) -> Result<(), Error> {
        let now = self.shared.clock.now().wall;
        let instances = &mut self.state().instances;
        let row = instances.entry(instance.id.clone());
        let row = row.or_insert_with(|| InstanceRow::new(instance, now));
        row.instance.bound = row.instance.bound.max(instance.bound);
        row.beat(now);
        Ok(())
    }

    async fn acknowledge(&self, id: &Id, applied: StoreTime) -> Result<bool, Error> {
        let now = self.shared.clock.now().wall;
        let instances = &mut self.state().instances;
        let Some(row) = instances.get_mut(id) else { return Ok(false) };
        row.applied = row.applied.max(applied);
        row.beat(now);
        Ok(true)
    }

    async fn roster(&self) -> Result<Roster, Error> {
        let now = self.shared.clock.now().wall;
        let state = self.state();
        let enlisted = |row: &InstanceRow| Enlisted {
            instance: row.instance.clone(),
            applied: row.applied,
            beats: row.beats,
            silent_for: now.saturating_sub(row.beat_at),
        };
        let instances = state.instances.values().map(enlisted).collect();
        Ok(Roster { newest: state.newest, instances })
    }

    async fn dismiss(&self, silent: &[Enlisted]) -> Result<u64, Error> {
        let instances = &mut self.state().instances;
        let before = instances.len();
        for Enlisted { instance, beats, .. } in silent {
            if instances.get(&instance.id).is_some_and(|row| row.beats == *beats) {
                instances.remove(&instance.id);
            }
        }
        Ok((before - instances.len()) as u64)
    }

    async fn watch(&self) -> Result<MemoryWatch, Error> {
        Ok(MemoryWatch { store: self.clone(), changed: self.shared.changed.subscribe() })
    }

    /// There is no database: always zero.
    fn statements(&self) -> StatementCounts {
        StatementCounts::default()
    }
}
