//! What the crate asks of a database.

use std::{future::Future, time::Duration};

use super::{
    Audit, Enlisted, Entry, Instance, Mint, Minted, RequestId, Requested, Revocation, Roster,
    Session, SessionFilter, StatementCounts, Ticket,
};
use crate::{
    cutoff::{CutOff, Receipt, StoreTime},
    error::Error,
    lifetimes::Lifetimes,
    scope::{Id, Scope},
};

/// The most sessions that one answer tells of.
pub const MAX_LISTED: usize = 1_000;

/// A database that keeps revocations and sessions.
///
/// A handle, cheap to clone. One contract suite runs over every implementation; what it promises
/// is what the [module](crate::store) tells. A wrong answer costs: a cut-off that is not above all before
/// it, or a mint that does not see a committed revocation, *accepts revoked tokens*; a stamp that
/// is not above `newest` *logs people out*.
pub trait EpochStore: Clone + Send + Sync + 'static {
    /// The caller's transaction on the same database.
    type Transaction<'t>: Send;

    /// A connection of its own for the sync.
    type Watch: Watch;

    /// Stores revocations, sealed, in one transaction; the receipt is that of the last.
    ///
    /// # Errors
    ///
    /// Fails loudly if it cannot be stored; then nothing is. If a session that
    /// [asks](Revocation::asked_by) for one has ended, nothing is stored either, and it is
    /// [`ErrorKind::SessionEnded`](crate::error::ErrorKind::SessionEnded).
    ///
    /// # Cancel safety
    ///
    /// Once polled, it completes even if the future is dropped.
    fn revoke_many(
        &self,
        revocations: &[Revocation],
    ) -> impl Future<Output = Result<Receipt, Error>> + Send;

    /// Stores one revocation. See [`revoke_many`](EpochStore::revoke_many).
    fn revoke(
        &self,
        revocation: Revocation,
    ) -> impl Future<Output = Result<Receipt, Error>> + Send {
        async move { self.revoke_many(std::slice::from_ref(&revocation)).await }
    }

    /// Writes a revocation in the caller's transaction, to be sealed after its commit. They
    /// commit together or not at all.
    fn revoke_in<'t>(
        &self,
        transaction: &mut Self::Transaction<'t>,
        revocation: Revocation,
    ) -> impl Future<Output = Result<Requested<Self>, Error>> + Send;

    /// Seals all pending requests; the receipt is that of the request `id`. Called by
    /// [`Requested::sealed`].
    fn seal(&self, id: &RequestId) -> impl Future<Output = Result<Receipt, Error>> + Send;

    /// Clears the cut-offs of `scope`: the tokens they cover are good again until they expire.
    /// Written to the audit. Instances learn of it as of a revocation.
    fn clear(
        &self,
        scope: &Scope,
        audit: Audit,
    ) -> impl Future<Output = Result<Receipt, Error>> + Send;

    /// `newest`, once pending requests are sealed: to be taken before credentials are read.
    fn ticket(&self) -> impl Future<Output = Result<Ticket, Error>> + Send;

    /// Writes the session, if there is one, and reads the stamp, in one transaction, if ticket and
    /// guard allow.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::RevokedMeanwhile`](crate::error::ErrorKind::RevokedMeanwhile),
    /// [`ErrorKind::SessionEnded`](crate::error::ErrorKind::SessionEnded),
    /// [`ErrorKind::RefreshTokenInvalid`](crate::error::ErrorKind::RefreshTokenInvalid), or the
    /// store's failure. For a renewal also
    /// [`ErrorKind::TokenRevoked`](crate::error::ErrorKind::TokenRevoked) and
    /// [`ErrorKind::DeviceDiffers`](crate::error::ErrorKind::DeviceDiffers), for a login that has a
    /// limit [`ErrorKind::TooManySessions`](crate::error::ErrorKind::TooManySessions).
    ///
    /// [`ErrorKind::RefreshTokenReused`](crate::error::ErrorKind::RefreshTokenReused): then the
    /// session is revoked, in a transaction that has committed. It is told once; later on the
    /// session has ended.
    ///
    /// # Cancel safety
    ///
    /// Once polled, it completes even if the future is dropped.
    fn mint(&self, mint: &Mint) -> impl Future<Output = Result<Minted, Error>> + Send;

    /// The sessions that `filter` asks for and that are alive by the guard and by `lifetimes`, the
    /// one refreshed last first, at most [`MAX_LISTED`].
    fn sessions(
        &self,
        filter: &SessionFilter,
        lifetimes: Lifetimes,
    ) -> impl Future<Output = Result<Vec<Session>, Error>> + Send;

    /// What the store holds against the tokens in `scopes`, in one snapshot that is taken after the
    /// call, once pending requests are sealed: for a request while the copy in memory is stale, or
    /// in doubt.
    ///
    /// Counted as a statement of the [request path](StatementCounts::request).
    fn judged(&self, scopes: &[Scope]) -> impl Future<Output = Result<Judged, Error>> + Send;

    /// Raises `newest` to at least `newest`: a database restored from a backup has forgotten
    /// cut-offs that instances still hold, and must mint above them. If it rises, the database
    /// takes a new identity, so that all instances load everything.
    fn advance(&self, newest: StoreTime) -> impl Future<Output = Result<(), Error>> + Send;

    /// Drops cut-offs and sessions that have outlived all they cover. The highest cut-off it drops
    /// becomes the [floor](Changes::floor). Returns how many cut-offs are gone.
    fn purge(&self, lifetimes: Lifetimes) -> impl Future<Output = Result<u64, Error>> + Send;

    /// Enlists an instance, durably, or raises the bound of one that has enlisted: whoever revokes
    /// from the return on finds it in the [roster](EpochStore::roster).
    fn enlist(&self, instance: &Instance) -> impl Future<Output = Result<(), Error>> + Send;

    /// Notes, durably, that the instance `id` lives, and that every cut-off up to `applied` is in force
    /// there ([`StoreTime::ZERO`] says nothing new). False if it is not in the roster.
    fn acknowledge(
        &self,
        id: &Id,
        applied: StoreTime,
    ) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Who has enlisted, in one snapshot that is taken after the call, and from a primary: a wrong
    /// answer here has a revocation called enforced where it is not.
    fn roster(&self) -> impl Future<Output = Result<Roster, Error>> + Send;

    /// Strikes off those of `silent` that have not been heard of since. Returns how many.
    fn dismiss(&self, silent: &[Enlisted]) -> impl Future<Output = Result<u64, Error>> + Send;

    /// Opens the connection of the sync.
    fn watch(&self) -> impl Future<Output = Result<Self::Watch, Error>> + Send;

    /// How many statements went to the database.
    fn statements(&self) -> StatementCounts;
}

/// The sync's own connection.
pub trait Watch: Send + 'static {
    /// Everything, in one snapshot, once pending requests are sealed.
    fn load(&mut self) -> impl Future<Output = Result<Changes, Error>> + Send;

    /// What changed above `cursor`, the head of the last answer, in one snapshot, once pending
    /// requests are sealed.
    fn poll(&mut self, cursor: StoreTime) -> impl Future<Output = Result<Changes, Error>> + Send;

    /// The `at_most` changes above `cursor` that were made last, in one snapshot, once pending
    /// requests are sealed: for a copy that has no room for all of them. Above
    /// [`StoreTime::ZERO`] means every change there is; `at_most` is not zero.
    ///
    /// Unless a store does better, it is all that a [`poll`](Watch::poll) tells.
    fn latest(
        &mut self,
        cursor: StoreTime,
        at_most: u32,
    ) -> impl Future<Output = Result<Latest, Error>> + Send {
        let _ = at_most;
        async move { Ok(Latest { changes: self.poll(cursor).await?, untold: StoreTime::ZERO }) }
    }

    /// Resolves when something may have changed since the last answer: the push. A hint only; it
    /// may be early or never come.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no hint.
    fn hint(&mut self) -> impl Future<Output = Result<(), Error>> + Send;
}

/// What the store holds against the tokens in some scopes, in one snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Joins the cut-offs of the scopes, everyone's and the [floor](Changes::floor).
    pub cut_off: CutOff,
    /// The database's clock, since 1970.
    pub clock: Duration,
    /// `newest`: who holds a higher cut-off knows that the database has gone back.
    pub newest: StoreTime,
    /// Whether a primary answered. What a replica says proves nothing.
    pub primary: bool,
}

/// The identity of a database, random at its making and after it was found to have gone back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreId(pub String);

/// One consistent answer of the store.
#[derive(Clone, Debug)]
pub struct Changes {
    /// Which database answered.
    pub store: StoreId,
    /// `newest`, in the snapshot that the entries are from.
    pub head: StoreTime,
    /// The database's clock, since 1970.
    pub clock: Duration,
    /// What purged cut-offs leave behind: every token at or below it is revoked.
    pub floor: CutOff,
    /// Who answered, and so what it proves.
    pub source: Source,
    /// The entries.
    pub entries: Vec<Entry>,
}

/// An answer that may leave out old changes.
#[derive(Clone, Debug)]
pub struct Latest {
    /// What is told.
    pub changes: Changes,
    /// No cut-off that is left out lies above it. [`StoreTime::ZERO`] if none is.
    pub untold: StoreTime,
}

/// Who answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// The database itself: the answer holds all that had been committed before it was asked.
    Primary,
    /// A copy of it that follows from behind.
    Replica {
        /// By how much at most, by a heartbeat of the primary that has arrived there. `None` if
        /// nothing tells: then the answer proves no freshness.
        behind: Option<Duration>,
    },
}
