//! A store in memory: for tests, and as the shortest complete implementation to read.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::{
    Audit, Changes, Entry, EpochStore, Mint, MintFor, Minted, RequestId, Requested, Revocation,
    StatementCounts, StoreId, Ticket, Watch,
    order::{Session, may_mint, next_cut_off},
};
use crate::{
    clock::Clock,
    cutoff::{CutOff, Receipt, Stamp, StoreTime},
    error::{Error, ErrorKind},
    lifetimes::Lifetimes,
    scope::{Id, Scope},
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

#[derive(Clone, Debug, Default)]
struct State {
    id: String,
    newest: StoreTime,
    floor: CutOff,
    entries: HashMap<Scope, Row>,
    pending: Vec<(RequestId, Revocation)>,
    sealed: HashMap<RequestId, StoreTime>,
    sessions: HashMap<Id, Session>,
    audit: Vec<(Scope, StoreTime, Audit)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Row {
    cut_off: CutOff,
    cleared_at: StoreTime,
    changed_at: StoreTime,
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
        let mut state = self.state();
        let before = state.newest;
        let mut sealed = state.clone();
        sealed.seal_pending(&self.shared.clock)?;
        let mut draft = sealed.clone();
        let done = change(&mut draft, &self.shared.clock);
        *state = if done.is_ok() { draft } else { sealed };
        if state.newest > before {
            self.shared.changed.send_replace(());
        }
        done
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

impl State {
    fn cut_off<'a>(&self, scopes: impl IntoIterator<Item = &'a Scope>) -> CutOff {
        scopes
            .into_iter()
            .filter_map(|scope| self.entries.get(scope))
            .fold(self.floor, |joined, row| joined.join(row.cut_off))
    }

    /// The cut-offs the guard of `session` is held against.
    fn guarded(&self, sid: &Id, session: &Session) -> CutOff {
        let groups = session.groups.iter().cloned().map(Scope::Group);
        let own = [Scope::Everyone, Scope::User(session.user.clone()), Scope::Session(sid.clone())];
        self.cut_off(&groups.chain(own).collect::<Vec<_>>())
    }

    fn seal(&mut self, revocation: &Revocation, clock: &Clock) -> Result<StoreTime, Error> {
        let cut_off = next_cut_off(self.newest, clock.now().wall)?;
        let spared = revocation.spared.as_ref().filter(|sid| {
            let alive = |session: &Session| session.stands(self.guarded(sid, session));
            self.sessions.get(*sid).is_some_and(alive)
        });
        if let Some(session) = spared.and_then(|sid| self.sessions.get_mut(sid)) {
            session.last_stamp = session.last_stamp.max(Stamp::after(cut_off));
        }
        let row = self.entries.entry(revocation.scope.clone()).or_default();
        row.cut_off = row.cut_off.join(CutOff::at(cut_off, revocation.demand));
        row.changed_at = cut_off;
        self.newest = cut_off;
        Ok(cut_off)
    }

    fn seal_pending(&mut self, clock: &Clock) -> Result<(), Error> {
        for (id, revocation) in std::mem::take(&mut self.pending) {
            let cut_off = self.seal(&revocation, clock)?;
            self.sealed.insert(id, cut_off);
        }
        Ok(())
    }
}

impl EpochStore for MemoryStore {
    type Transaction<'t> = MemoryTransaction<'t>;
    type Watch = MemoryWatch;

    async fn revoke_many(&self, revocations: &[Revocation]) -> Result<Receipt, Error> {
        self.transaction(|state, clock| {
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
        self.transaction(|state, _| {
            let sealed = state.sealed.get(id).ok_or(ErrorKind::NotCommitted)?;
            Ok(Receipt::new(*sealed))
        })
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
        self.transaction(|state, _| Ok(Ticket::new(state.newest)))
    }

    async fn mint(&self, mint: &Mint) -> Result<Minted, Error> {
        self.transaction(|state, clock| {
            let issued_at = clock.now().wall;
            let stamp = Stamp::after(state.newest);
            let asked = state.cut_off(&mint.scopes());
            let before = match mint.session {
                MintFor::Login => None,
                MintFor::Refresh => state.sessions.get(&mint.sid).cloned(),
            };
            let guarded = before
                .as_ref()
                .map_or(asked, |session| asked.join(state.guarded(&mint.sid, session)));
            may_mint(mint, before.as_ref(), guarded, asked, issued_at)?;
            if mint.session == MintFor::Login && state.sessions.contains_key(&mint.sid) {
                return Err(Error::new(ErrorKind::Store, "there is such a session"));
            }
            let session = Session {
                user: mint.user.clone(),
                groups: mint.groups.clone(),
                began: before.as_ref().map_or(issued_at, |session| session.began),
                last_stamp: before.map_or(stamp, |session| session.last_stamp.max(stamp)),
            };
            let session_began = session.began;
            state.sessions.insert(mint.sid.clone(), session);
            Ok(Minted { stamp, issued_at, session_began })
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
            state.sessions.retain(|_, session| now < session.began + lifetimes.session());
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

    async fn watch(&self) -> Result<MemoryWatch, Error> {
        Ok(MemoryWatch { store: self.clone(), changed: self.shared.changed.subscribe() })
    }

    /// There is no database: always zero.
    fn statements(&self) -> StatementCounts {
        StatementCounts::default()
    }
}

fn identity() -> String {
    Id::random().as_str().to_owned()
}

/// The sync's view of a [`MemoryStore`].
#[derive(Debug)]
pub struct MemoryWatch {
    store: MemoryStore,
    changed: watch::Receiver<()>,
}

impl Watch for MemoryWatch {
    async fn load(&mut self) -> Result<Changes, Error> {
        self.changes(|_| true)
    }

    async fn poll(&mut self, cursor: StoreTime) -> Result<Changes, Error> {
        self.changes(|row| row.changed_at > cursor)
    }

    async fn hint(&mut self) -> Result<(), Error> {
        self.changed.changed().await.map_err(|gone| Error::new(ErrorKind::TaskEnded, gone))
    }
}

impl MemoryWatch {
    fn changes(&mut self, wanted: impl Fn(&Row) -> bool) -> Result<Changes, Error> {
        self.store.transaction(|state, clock| {
            let told = state.entries.iter().filter(|(_, row)| wanted(row));
            Ok(Changes {
                store: StoreId(state.id.clone()),
                head: state.newest,
                clock: clock.now().wall,
                floor: state.floor,
                primary: true,
                entries: told
                    .map(|(scope, row)| Entry {
                        scope: scope.clone(),
                        cut_off: row.cut_off,
                        cleared_at: row.cleared_at,
                    })
                    .collect(),
            })
        })
    }
}
