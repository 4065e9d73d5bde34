//! How many statements went to the database, by the path that sent them.

#[cfg(feature = "_sql")]
use std::sync::atomic::{AtomicU64, Ordering};

/// Statements sent to the database so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatementCounts {
    /// On the request path. None as long as the copy is fresh; while it is stale, those that ask
    /// about a token, where a layer is told to.
    pub request: u64,
    /// By the background sync.
    pub sync: u64,
    /// By logins, refreshes and revocations.
    pub session: u64,
}

/// The counters behind [`StatementCounts`]. Each counts on its own: Relaxed.
#[cfg(feature = "_sql")]
#[derive(Debug, Default)]
pub(super) struct Statements {
    request: AtomicU64,
    sync: AtomicU64,
    session: AtomicU64,
}

/// Who sends a statement.
#[cfg(feature = "_sql")]
#[derive(Clone, Copy, Debug)]
pub(super) enum Path {
    Request,
    Sync,
    Session,
}

#[cfg(feature = "_sql")]
impl Statements {
    pub(super) fn count(&self, path: Path) {
        match path {
            Path::Request => &self.request,
            Path::Sync => &self.sync,
            Path::Session => &self.session,
        }
        .fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> StatementCounts {
        StatementCounts {
            request: self.request.load(Ordering::Relaxed),
            sync: self.sync.load(Ordering::Relaxed),
            session: self.session.load(Ordering::Relaxed),
        }
    }
}
