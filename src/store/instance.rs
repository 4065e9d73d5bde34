//! The instances of a fleet, as the store knows them.

use std::time::Duration;

use crate::{cutoff::StoreTime, scope::Id};

/// One running copy of the revocations, for those who wait until a revocation is enforced
/// everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Random, and another one at each start and whenever it was struck off.
    pub id: Id,
    /// What people call it.
    pub name: Id,
    /// How old its copy may be, at most, when it accepts a token: its `max_staleness` and whatever a
    /// layer trusts it for beyond that. So long after its copy has last equalled the store it refuses
    /// by itself.
    pub bound: Duration,
}

/// An instance that has enlisted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enlisted {
    /// Who it is.
    pub instance: Instance,
    /// Every cut-off up to here is in force there.
    pub applied: StoreTime,
    /// How often it has been heard of. If that does not change, it is silent.
    pub beats: u64,
    /// How long ago it was heard of last, by the database's clock. For people to read: nothing is
    /// decided by it.
    pub silent_for: Duration,
}

/// All instances, in one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    /// The highest cut-off there is.
    pub newest: StoreTime,
    /// Who has enlisted, in the order of their ids.
    pub instances: Vec<Enlisted>,
}
