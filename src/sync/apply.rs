//! What one answer of the store does to the epochs.

use super::member::Enlistment;
use crate::{
    clock::Reading,
    cutoff::StoreTime,
    epochs::{Epochs, Synced},
    store::{Changes, Latest, Source, StoreId},
};

/// Up to where the copy has followed which database.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    store: StoreId,
    head: StoreTime,
}

/// When an answer was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// Read before it was sent.
    pub(super) at: Reading,
    /// How the store knew this instance then, if that is of a fleet.
    pub(super) enlisted: Option<Enlistment>,
}

/// What is to be done after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Next {
    /// Go on polling.
    Poll,
    /// The answer was applied, but only a full load tells everything.
    Reload,
}

impl Cursor {
    pub(super) fn head(&self) -> StoreTime {
        self.head
    }

    /// Whether it is another database that has answered.
    pub(super) fn is_of_another(&self, changes: &Changes) -> bool {
        self.store != changes.store
    }

    /// Takes a hint for an answer that tells of nothing.
    #[cfg(plant = "hint_as_data")]
    pub(super) fn hinted(&self, epochs: &Epochs) {
        let now = epochs.clock().now();
        if let Some(clock) = epochs.store_clock(now) {
            let (store_clock, head) = (clock.earliest, self.head);
            epochs.synced(Synced { asked_at: now, answered_at: now, store_clock, head });
        }
    }

    /// Applies a full load.
    pub(super) fn load(epochs: &Epochs, latest: Latest, asked: Asked) -> Self {
        let Latest { changes, untold } = latest;
        // Before it is told what of that is otherwise by now.
        epochs.doubt(untold);
        // All clears before all raises: a cut-off that shares a fingerprint with a cleared one
        // must not go with it.
        for entry in changes.entries.iter().filter(|entry| entry.cleared_at > StoreTime::ZERO) {
            epochs.clear(&entry.scope, entry.cleared_at);
        }
        #[cfg(plant = "reload_lowers")]
        changes.entries.iter().for_each(|entry| epochs.clear(&entry.scope, StoreTime::MAX));
        raise(epochs, &changes);
        record(epochs, &changes, asked);
        Self { store: changes.store, head: changes.head }
    }

    /// Applies a poll.
    pub(super) fn poll(&mut self, epochs: &Epochs, latest: Latest, asked: Asked) -> Next {
        let Latest { changes, untold } = latest;
        // A primary is held against all that this copy knows, and not against the cursor alone: that
        // may be a standby's, which was behind and has been promoted.
        let went_back = changes.head < self.head
            || changes.source == Source::Primary && changes.head < epochs.newest();
        let other = self.is_of_another(&changes) || went_back;
        epochs.doubt(untold);
        let cleared = changes.entries.iter().any(|entry| entry.cleared_at > self.head);
        raise(epochs, &changes);
        if other || cleared {
            // Not fresh by this answer: of another database it tells too little, and a clear is
            // carried out by the load.
            return Next::Reload;
        }
        record(epochs, &changes, asked);
        self.head = changes.head;
        Next::Poll
    }
}

fn raise(epochs: &Epochs, changes: &Changes) {
    // With every answer: whoever missed a row before it was purged has it from here.
    epochs.raise_floor(changes.floor);
    for entry in &changes.entries {
        epochs.raise(&entry.scope, entry.cut_off);
    }
}

fn record(epochs: &Epochs, changes: &Changes, Asked { at, enlisted }: Asked) {
    // What a replica says is as old as what it has of the primary.
    let as_of = match changes.source {
        Source::Primary => Some(at),
        Source::Replica { behind } => behind.and_then(|behind| at.checked_sub(behind)),
    };
    // What is as of an earlier moment may lack what was revoked before anybody knew of this instance.
    let counts = |as_of: &Reading| enlisted.is_none_or(|enlisted| enlisted.is_before(*as_of));
    if let Some(asked_at) = as_of.filter(counts) {
        let answered_at = epochs.clock().now();
        let (store_clock, head) = (changes.clock, changes.head);
        epochs.synced(Synced { asked_at, answered_at, store_clock, head });
        if let Some(Enlistment { bound, .. }) = enlisted {
            epochs.bound().announced(bound);
        }
    }
}
