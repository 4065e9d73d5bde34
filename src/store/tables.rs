//! What the [`Writer`](super::writer::Writer) asks of a database.

use std::{future::Future, time::Duration};

use super::{Audit, RequestId, Revocation, order::SessionRow};
use crate::{
    cutoff::{CutOff, StoreTime},
    error::Error,
    lifetimes::Lifetimes,
    scope::{Id, InvalidId, Scope},
};

/// The clock row, as it is once its lock is held.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClockRow {
    pub(super) newest: StoreTime,
    /// What purged cut-offs left behind.
    pub(super) floor: CutOff,
    /// The database's clock, since 1970, read under the lock: readings of different writers are in
    /// the order of commits.
    pub(super) now: Duration,
}

/// A request that waits to be sealed.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) seq: i64,
    /// What it asks for, or why that can be no token's.
    pub(super) revocation: Result<Revocation, InvalidId>,
}

/// What became of a request.
#[derive(Clone, Debug)]
pub(super) struct Settled {
    pub(super) seq: i64,
    /// The cut-off it was sealed with, or the newest one when it was refused.
    pub(super) revoked_before: StoreTime,
    /// Why it was refused.
    pub(super) refused: Option<String>,
}

/// A cut-off to be joined to what its scope has.
#[derive(Clone, Debug)]
pub(super) struct Raise {
    pub(super) scope: Scope,
    pub(super) cut_off: CutOff,
    /// The last revocation in it: what polls ask for.
    pub(super) changed_at: StoreTime,
}

/// The rows of cut-offs that were changed last behind one moment, up to and with another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slice {
    pub(super) after: i64,
    pub(super) until: i64,
}

/// A transaction that holds the lock of the clock row, statement by statement.
///
/// Dropping it rolls back. Each implementation counts its statements itself.
pub(super) trait Tables: Send + Sized {
    /// What is left of it after the commit: its connection.
    type Committed: Send;

    /// Joins the cut-offs of scopes, each of which stands in `raises` once.
    fn raise(&mut self, raises: &[Raise]) -> impl Future<Output = Result<(), Error>> + Send;

    /// The cut-offs of scopes, in their order, without the floor.
    fn cut_offs(
        &mut self,
        scopes: &[Scope],
    ) -> impl Future<Output = Result<Vec<CutOff>, Error>> + Send;

    /// Takes the cut-offs of `scope`, which were `before`, away at `cleared_at`, and says so in the
    /// audit.
    fn clear(
        &mut self,
        scope: &Scope,
        before: CutOff,
        cleared_at: StoreTime,
        audit: &Audit,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    // ---- the clock row ----

    /// Writes `newest`.
    fn set_newest(&mut self, newest: StoreTime) -> impl Future<Output = Result<(), Error>> + Send;

    /// Makes the database another one.
    fn renew_identity(&mut self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Writes the floor.
    fn set_floor(&mut self, floor: CutOff) -> impl Future<Output = Result<(), Error>> + Send;

    // ---- requests ----

    /// The first [`SEALED_AT_ONCE`](super::writer::SEALED_AT_ONCE) requests that nobody has sealed
    /// yet, in their order.
    fn pending(&mut self) -> impl Future<Output = Result<Vec<Pending>, Error>> + Send;

    /// Notes what became of requests.
    fn settle(&mut self, settled: &[Settled]) -> impl Future<Output = Result<(), Error>> + Send;

    /// What became of the request `id`; `None` if there is none.
    fn settled(
        &mut self,
        id: &RequestId,
    ) -> impl Future<Output = Result<Option<Settled>, Error>> + Send;

    // ---- sessions ----

    /// The row of a session. Nobody else changes it before the commit.
    fn session(
        &mut self,
        sid: &Id,
    ) -> impl Future<Output = Result<Option<SessionRow>, Error>> + Send;

    /// The sessions of `user` that are alive at `now`, but for the `kept` that logged in last; the
    /// younger ones first.
    fn sessions_beyond(
        &mut self,
        user: &Id,
        kept: u32,
        lifetimes: Lifetimes,
        now: Duration,
    ) -> impl Future<Output = Result<Vec<Id>, Error>> + Send;

    /// Writes the row of a session that is new.
    fn begin_session(
        &mut self,
        sid: &Id,
        row: &SessionRow,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Writes the row of a session that goes on.
    fn go_on_session(
        &mut self,
        sid: &Id,
        row: &SessionRow,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    // ---- purging ----

    /// Deletes at most `limit` sessions begun at or before `began`, or refreshed last at or before
    /// `refreshed_at`. Returns how many.
    fn delete_sessions(
        &mut self,
        began: Duration,
        refreshed_at: Duration,
        limit: u32,
    ) -> impl Future<Output = Result<u64, Error>> + Send;

    /// Deletes at most `limit` requests settled before `before`. Returns how many.
    fn delete_requests(
        &mut self,
        before: StoreTime,
        limit: u32,
    ) -> impl Future<Output = Result<u64, Error>> + Send;

    /// The moment up to which the `rows` rows lie that were changed first after `after`; `None` if
    /// there are fewer.
    fn slice_end(
        &mut self,
        after: i64,
        rows: u32,
    ) -> impl Future<Output = Result<Option<i64>, Error>> + Send;

    /// The highest cut-offs of a slice that lie before the horizons.
    fn outlived(
        &mut self,
        slice: Slice,
        reissue: StoreTime,
        login: StoreTime,
    ) -> impl Future<Output = Result<CutOff, Error>> + Send;

    /// Drops from a slice what the floor covers: the rows that it covers whole and that were not
    /// cleared since `login`, and of the others each part up to its own. Returns how many rows are
    /// gone.
    fn drop_covered(
        &mut self,
        slice: Slice,
        floor: CutOff,
        login: StoreTime,
    ) -> impl Future<Output = Result<u64, Error>> + Send;

    /// Commits, durably.
    fn commit(self) -> impl Future<Output = Result<Self::Committed, Error>> + Send;
}
