//! The sync's view: the poll, and the hint.

use tokio::sync::watch;

use super::{MemoryStore, state::Row};
use crate::{
    cutoff::StoreTime,
    error::{Error, ErrorKind},
    store::{Changes, Latest, Watch},
};

/// The sync's view of a [`MemoryStore`].
#[derive(Debug)]
pub struct MemoryWatch {
    pub(super) store: MemoryStore,
    pub(super) changed: watch::Receiver<()>,
}

impl Watch for MemoryWatch {
    async fn load(&mut self) -> Result<Changes, Error> {
        self.changes(|_| true)
    }

    async fn poll(&mut self, cursor: StoreTime) -> Result<Changes, Error> {
        self.changes(|row| row.changed_at > cursor)
    }

    async fn latest(&mut self, cursor: StoreTime, at_most: u32) -> Result<Latest, Error> {
        self.store.read(|state, clock| {
            let mut times: Vec<StoreTime> =
                state.entries.values().map(|row| row.changed_at).collect();
            times.retain(|changed_at| *changed_at > cursor);
            times.sort_unstable_by(|one, other| other.cmp(one));
            let untold = times.get(at_most as usize).copied().unwrap_or_default();
            let changes = state.changes(clock, |row| row.changed_at > untold.max(cursor));
            Latest { changes, untold }
        })
    }

    async fn hint(&mut self) -> Result<(), Error> {
        self.changed.changed().await.map_err(|gone| Error::new(ErrorKind::TaskEnded, gone))
    }
}

impl MemoryWatch {
    fn changes(&mut self, wanted: impl Fn(&Row) -> bool) -> Result<Changes, Error> {
        self.store.read(|state, clock| state.changes(clock, wanted))
    }
}
