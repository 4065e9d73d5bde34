//! Which faults have met which operations.

use std::fmt;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    LostHint,
    DuplicatedHint,
    DelayedHint,
    LostListener,
    Slow,
    Failing,
    Replica,
    Sleep,
    Stop,
    WallForward,
    WallBack,
    DatabaseForward,
    DatabaseBack,
    Crash,
    Restore,
    Failover,
}

/// What goes on meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Check,
    Login,
    Refresh,
    Renewal,
    Revocation,
    Transaction,
    /// Somebody waits until a revocation is enforced everywhere.
    Receipt,
    Others,
    Purge,
    Load,
    Poll,
}

impl Fault {
    pub(crate) const ALL: [Self; 16] = [
        Self::LostHint,
        Self::DuplicatedHint,
        Self::DelayedHint,
        Self::LostListener,
        Self::Slow,
        Self::Failing,
        Self::Replica,
        Self::Sleep,
        Self::Stop,
        Self::WallForward,
        Self::WallBack,
        Self::DatabaseForward,
        Self::DatabaseBack,
        Self::Crash,
        Self::Restore,
        Self::Failover,
    ];
}

impl Operation {
    pub(crate) const ALL: [Self; 11] = [
        Self::Check,
        Self::Login,
        Self::Refresh,
        Self::Renewal,
        Self::Revocation,
        Self::Transaction,
        Self::Receipt,
        Self::Others,
        Self::Purge,
        Self::Load,
        Self::Poll,
    ];
}

/// How often an operation was under way at an instance that a fault was happening to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Coverage([[u64; Operation::ALL.len()]; Fault::ALL.len()]);

impl Coverage {
    pub(crate) fn meet(&mut self, fault: Fault, operation: Operation) {
        self.0[fault as usize][operation as usize] += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (sums, others) in self.0.iter_mut().zip(&other.0) {
            for (sum, other) in sums.iter_mut().zip(others) {
                *sum += other;
            }
        }
    }

    /// The pairs that never met.
    pub(crate) fn missing(&self) -> Vec<(Fault, Operation)> {
        let pairs = Fault::ALL.into_iter().flat_map(|fault| Operation::ALL.map(|it| (fault, it)));
        pairs.filter(|(fault, it)| self.0[*fault as usize][*it as usize] == 0).collect()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:16}", "")?;
        for operation in Operation::ALL {
            write!(f, "{:>12}", format!("{operation:?}"))?;
        }
        for fault in Fault::ALL {
            write!(f, "\n{:16}", format!("{fault:?}"))?;
            for count in self.0[fault as usize] {
                write!(f, "{count:>12}")?;
            }
        }
        Ok(())
    }
}
