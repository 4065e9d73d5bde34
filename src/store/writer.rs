//! What happens under the lock of the clock row, the same for every database.

use std::{
    collections::{HashMap, hash_map::Entry},
    future::Future,
    pin::Pin,
    time::Duration,
};

use super::{
    Audit, Judged, Mint, MintFor, Minted, RequestId, Revocation,
    order::{HeldAgainst, SessionRow, Snapshot, Verdict, next_cut_off, verdict},
    tables::{ClockRow, Raise, Settled, Slice, Tables},
};
use crate::{
    cutoff::{CutOff, Demand, Receipt, Stamp, StoreTime},
    error::{Error, ErrorKind},
    lifetimes::Lifetimes,
    scope::{Id, Scope},
    telemetry,
};

/// How many rows are purged in one transaction: logins and revocations wait for no more than that.
const SLICE: u32 = 1_000;

/// A change under way in a transaction.
pub(super) type Changing<'w, R> = Pin<Box<dyn Future<Output = Result<R, Error>> + Send + 'w>>;

/// A transaction that has ended well.
pub(super) struct Done<C, R, F> {
    pub(super) connection: C,
    pub(super) outcome: Outcome<R, F>,
    /// The newest revocation or clear, if there was one in it.
    pub(super) revoked: Option<StoreTime>,
}

/// What has become of a change.
pub(super) enum Outcome<R, F> {
    /// It was made, or refused, if that was [decided](ErrorKind::is_decision).
    Answer(Result<R, Error>),
    /// There was more to be sealed than one transaction is for: it is still to be made, in another.
    Unmade(F),
}

/// The most requests that one transaction seals. Others wait for its lock meanwhile, and what it
/// sends has to fit into what a server takes at once.
pub(super) const SEALED_AT_ONCE: u32 = 2_000;

/// The most cut-offs that one statement raises.
const RAISED_AT_ONCE: usize = 10_000;

/// Seals what is pending, runs `change`, commits.
///
/// What was sealed stays so if `change` decides to refuse.
///
/// # Errors
///
/// Whatever the database says, and what `change` says without having decided. Nothing is written
/// then.
pub(super) async fn write<T: Tables, R, F>(
    tables: T,
    clock: ClockRow,
    change: F,
) -> Result<Done<T::Committed, R, F>, Error>
where
    F: for<'w> FnOnce(&'w mut Writer<T>) -> Changing<'w, R> + Send,
{
    let mut writer = Writer::new(tables, clock);
    let outcome = if writer.seal_pending().await? < SEALED_AT_ONCE as usize {
        match change(&mut writer).await {
            // Dropping the tables rolls back.
            Err(failed) if !failed.kind().is_decision() => return Err(failed),
            answer => Outcome::Answer(answer),
        }
    } else {
        Outcome::Unmade(change)
    };
    let revoked = (writer.newest > writer.began_at).then_some(writer.newest);
    let connection = writer.commit().await?;
    Ok(Done { connection, outcome, revoked })
}

/// Mints beside others who do: `tables` need hold no more than a lock of the clock row that others
/// may share, under which `newest` stands still.
///
/// `None` if that is not enough to decide, or if something is to be said of it but tokens: [`write`]
/// and [`Writer::mint`] do it. Nothing is written then. Not for what [revokes](Mint::revocation), nor for a
/// login that has a limit.
#[cfg(feature = "mysql")]
pub(super) async fn mint_beside<T: Tables>(
    tables: T,
    clock: ClockRow,
    mint: &Mint,
) -> Result<Option<Minted>, Error> {
    let mut writer = Writer::new(tables, clock);
    let mut minted = None;
    if writer.tables.pending().await?.is_empty()
        && let (before, Verdict::Mint) = writer.judge(mint).await?
    {
        minted = Some(writer.put(mint, before).await?);
    }
    writer.tables.commit().await?;
    Ok(minted)
}

/// Mints an access token without a session, by what the store holds against its scopes and whether
/// requests are pending: nothing is written for it.
///
/// `None` if that is not enough to decide: [`Writer::mint`] does it. A replica's word proves nothing.
pub(super) fn mint_apart(mint: &Mint, judged: Judged, pending: bool) -> Option<Minted> {
    if mint.session != MintFor::Token || pending || !judged.primary {
        return None;
    }
    let Judged { cut_off, clock: now, newest, .. } = judged;
    let snapshot =
        Snapshot { newest, guarded: cut_off, asked: cut_off, presented: CutOff::NONE, now };
    let minted = Minted::first(Stamp::after(newest), now);
    (verdict(mint, None, snapshot) == Verdict::Mint).then_some(minted)
}

/// A transaction that holds the lock of the clock row. Dropping it rolls back.
pub(super) struct Writer<T> {
    tables: T,
    /// The database's clock, read under the lock.
    now: Duration,
    newest: StoreTime,
    /// What the clock row held at first.
    began_at: StoreTime,
    /// What purged cut-offs left behind.
    floor: CutOff,
}

impl<T: Tables> Writer<T> {
    fn new(tables: T, clock: ClockRow) -> Self {
        let ClockRow { newest, floor, now } = clock;
        Self { tables, now, newest, began_at: newest, floor }
    }

    pub(super) fn newest(&self) -> StoreTime {
        self.newest
    }

    /// `newest` is written as the last statement before the commit.
    async fn commit(mut self) -> Result<T::Committed, Error> {
        if self.newest > self.began_at {
            self.tables.set_newest(self.newest).await?;
        }
        self.tables.commit().await
    }

    /// Raises `newest`. The database is another one from then on: whoever has not seen that it
    /// went back would take what was revoked in between for older than its cursor.
    pub(super) async fn advance(&mut self, newest: StoreTime) -> Result<(), Error> {
        if newest > self.newest {
            self.newest = newest;
            self.tables.renew_identity().await?;
        }
        Ok(())
    }

    // ---- revoking ----

    /// Revokes all of it, or nothing if a session that asks for one has ended.
    pub(super) async fn revoke(&mut self, revocations: &[Revocation]) -> Result<Receipt, Error> {
        for revocation in revocations.iter().filter(|revocation| revocation.conditional) {
            if let Some(sid) = &revocation.spared {
                self.alive(sid).await?.ok_or(ErrorKind::SessionEnded)?;
            }
        }
        self.seal(revocations).await?;
        Ok(Receipt::new(self.newest))
    }

    /// Seals revocations in their order, and returns their cut-offs.
    async fn seal(&mut self, revocations: &[Revocation]) -> Result<Vec<StoreTime>, Error> {
        let mut raises = Raises::default();
        let mut cut_offs = Vec::new();
        for Revocation { scope, demand, spared, .. } in revocations {
            let cut_off = next_cut_off(self.newest, self.now)?;
            if let Some(sid) = spared {
                // Whether it is alive is for those before this one to say.
                self.raise(raises.take()).await?;
                if let Some(mut session) = self.alive(sid).await? {
                    session.spare(cut_off);
                    self.tables.go_on_session(sid, &session).await?;
                }
            }
            raises.join(scope, *demand, cut_off);
            cut_offs.push(cut_off);
            self.newest = cut_off;
        }
        self.raise(raises.take()).await?;
        Ok(cut_offs)
    }

    async fn raise(&mut self, raises: Vec<Raise>) -> Result<(), Error> {
        for raises in raises.chunks(RAISED_AT_ONCE) {
            self.tables.raise(raises).await?;
        }
        Ok(())
    }

    /// Seals what other transactions have requested, in the order of the requests, and returns how
    /// many those were.
    async fn seal_pending(&mut self) -> Result<usize, Error> {
        let pending = self.tables.pending().await?;
        let count = pending.len();
        if count == 0 {
            return Ok(0);
        }
        let valid: Vec<Revocation> =
            pending.iter().filter_map(|request| request.revocation.clone().ok()).collect();
        let mut cut_offs = self.seal(&valid).await?.into_iter();
        let mut settled = Vec::with_capacity(pending.len());
        for request in pending {
            settled.push(match request.revocation {
                Ok(_) => Settled {
                    seq: request.seq,
                    revoked_before: cut_offs.next().expect("each valid one was sealed"),
                    refused: None,
                },
                // No token can carry that subject, so nobody is left unrevoked. Said in the row,
                // to whoever asks for its receipt, and to the operator.
                Err(problem) => {
                    telemetry::request_refused(&problem);
                    Settled {
                        seq: request.seq,
                        revoked_before: self.newest,
                        refused: Some(problem.to_string()),
                    }
                }
            });
        }
        self.tables.settle(&settled).await?;
        Ok(count)
    }

    /// The receipt of a request, once it is sealed.
    pub(super) async fn receipt(&mut self, id: &RequestId) -> Result<Receipt, Error> {
        let settled = self.tables.settled(id).await?.ok_or(ErrorKind::NotCommitted)?;
        match settled.refused {
            Some(refused) => Err(Error::new(ErrorKind::RefusedRequest, refused)),
            None => Ok(Receipt::new(settled.revoked_before)),
        }
    }

    /// Clears the cut-offs of `scope` and says so in the audit.
    pub(super) async fn clear(&mut self, scope: &Scope, audit: &Audit) -> Result<Receipt, Error> {
        let cleared_at = next_cut_off(self.newest, self.now)?;
        let before = self.cut_off(std::slice::from_ref(scope)).await?.above(self.floor);
        self.tables.clear(scope, before, cleared_at, audit).await?;
        self.newest = cleared_at;
        Ok(Receipt::new(cleared_at))
    }

    // ---- minting ----

    /// Writes the session, if [`verdict`] allows.
    pub(super) async fn mint(&mut self, mint: &Mint) -> Result<Minted, Error> {
        let (before, verdict) = self.judge(mint).await?;
        match verdict {
            Verdict::Mint => self.put(mint, before).await,
            Verdict::Refuse(kind) => Err(kind.into()),
            Verdict::Theft => {
                let stolen = Revocation::new(Scope::Session(mint.sid.clone()), Demand::Login);
                self.seal(&[stolen]).await?;
                Err(ErrorKind::RefreshTokenReused(Receipt::new(self.newest)).into())
            }
        }
    }

    /// The session as it is, and whether `mint` may be done.
    async fn judge(&mut self, mint: &Mint) -> Result<(Option<SessionRow>, Verdict), Error> {
        let before = match mint.session {
            MintFor::Login | MintFor::LoginWithin(_) | MintFor::Token => None,
            _ => self.tables.session(&mint.sid).await?,
        };
        let held_against = HeldAgainst::of(mint, before.as_ref());
        let scopes = held_against.scopes();
        let cut_offs = self.tables.cut_offs(&scopes).await?;
        let cut_offs: HashMap<&Scope, CutOff> = scopes.iter().zip(cut_offs).collect();
        let floor = self.floor;
        let cut_off = |scopes: &[Scope]| {
            scopes.iter().filter_map(|scope| cut_offs.get(scope)).copied().fold(floor, CutOff::join)
        };
        let snapshot = held_against.snapshot(self.newest, self.now, cut_off);
        let verdict = verdict(mint, before.as_ref(), snapshot);
        Ok((before, verdict))
    }

    /// Writes the session of `mint`, which was `before`.
    async fn put(&mut self, mint: &Mint, before: Option<SessionRow>) -> Result<Minted, Error> {
        if let MintFor::LoginWithin(limit) = mint.session {
            let (kept, lifetimes) = (limit.others(), mint.lifetimes);
            let excess = self.tables.sessions_beyond(&mint.user, kept, lifetimes, self.now).await?;
            self.seal(&limit.make_room(excess)?).await?;
        }
        if let Some(revocation) = mint.revocation() {
            self.seal(&[revocation]).await?;
        }
        // Nobody else moves `newest` as long as this holds the lock.
        let stamp = Stamp::after(self.newest);
        match before {
            Some(mut session) => {
                let minted = session.go_on(mint, stamp, self.now);
                self.tables.go_on_session(&mint.sid, &session).await?;
                return Ok(minted);
            }
            None if mint.session == MintFor::Token => {}
            None => {
                let session = SessionRow::begin(mint, stamp, self.now);
                self.tables.begin_session(&mint.sid, &session).await?;
            }
        }
        Ok(Minted::first(stamp, self.now))
    }

    /// The row of `sid`, if no cut-off has ended it.
    async fn alive(&mut self, sid: &Id) -> Result<Option<SessionRow>, Error> {
        let Some(session) = self.tables.session(sid).await? else { return Ok(None) };
        let cut_offs = self.guarded(sid, &session).await?;
        Ok(session.stands(cut_offs).then_some(session))
    }

    /// The cut-offs the guard of `session` is held against.
    async fn guarded(&mut self, sid: &Id, session: &SessionRow) -> Result<CutOff, Error> {
        let mut scopes =
            vec![Scope::Everyone, Scope::User(session.user.clone()), Scope::Session(sid.clone())];
        scopes.extend(session.groups.iter().cloned().map(Scope::Group));
        self.cut_off(&scopes).await
    }

    /// The highest cut-offs of `scopes`.
    async fn cut_off(&mut self, scopes: &[Scope]) -> Result<CutOff, Error> {
        let cut_offs = self.tables.cut_offs(scopes).await?;
        Ok(cut_offs.into_iter().fold(self.floor, CutOff::join))
    }

    // ---- purging ----

    /// Deletes sessions and requests whose time is over, a slice of each. Returns whether there
    /// may be more.
    pub(super) async fn purge_ended(&mut self, lifetimes: Lifetimes) -> Result<bool, Error> {
        let (_, login) = lifetimes.horizons(self.now);
        let before = |life| self.now.saturating_sub(life);
        let (began, refreshed_at) = (before(lifetimes.session()), before(lifetimes.idle()));
        let sessions = self.tables.delete_sessions(began, refreshed_at, SLICE).await?;
        let requests = self.tables.delete_requests(login, SLICE).await?;
        Ok(sessions.max(requests) == u64::from(SLICE))
    }

    /// Drops cut-offs that have outlived all they cover, from the next slice of the rows; the
    /// highest dropped becomes the floor, in the same commit.
    pub(super) async fn purge(&mut self, mut purge: Purge) -> Result<Purge, Error> {
        let Some(after) = purge.reached else { return Ok(purge) };
        purge.reached = self.tables.slice_end(after, SLICE).await?;
        let slice = Slice { after, until: purge.reached.unwrap_or(i64::MAX) };
        let (reissue, login) = purge.lifetimes.horizons(self.now);
        let floor = self.floor.join(self.tables.outlived(slice, reissue, login).await?);
        if floor != self.floor {
            self.floor = floor;
            self.tables.set_floor(floor).await?;
        }
        purge.gone += self.tables.drop_covered(slice, floor, login).await?;
        Ok(purge)
    }
}

/// How far a purge of cut-offs has come. It goes through the rows in the order of their last change,
/// so that what changes meanwhile is met later and not missed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Purge {
    lifetimes: Lifetimes,
    /// `None` once it is through.
    reached: Option<i64>,
    /// How many rows are gone.
    pub(super) gone: u64,
}

impl Purge {
    pub(super) fn new(lifetimes: Lifetimes) -> Self {
        Self { lifetimes, reached: Some(-1), gone: 0 }
    }

    pub(super) fn is_done(&self) -> bool {
        self.reached.is_none()
    }
}

/// Cut-offs that are written together, one for each scope.
#[derive(Default)]
struct Raises {
    raises: Vec<Raise>,
    places: HashMap<Scope, usize>,
}

impl Raises {
    fn join(&mut self, scope: &Scope, demand: Demand, revoked_before: StoreTime) {
        let cut_off = CutOff::at(revoked_before, demand);
        match self.places.entry(scope.clone()) {
            Entry::Occupied(place) => {
                let raise = &mut self.raises[*place.get()];
                raise.cut_off = raise.cut_off.join(cut_off);
                raise.changed_at = revoked_before;
            }
            Entry::Vacant(place) => {
                let raise = Raise { scope: scope.clone(), cut_off, changed_at: revoked_before };
                place.insert(self.raises.len());
                self.raises.push(raise);
            }
        }
    }

    fn take(&mut self) -> Vec<Raise> {
        self.places.clear();
        std::mem::take(&mut self.raises)
    }
}
