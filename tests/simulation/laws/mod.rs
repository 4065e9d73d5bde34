//! The laws, held against each thing that happens. A moment that would leave doubt is in favour of
//! the crate.
//!
//! What the database does is in `mints.rs`, what instances answer in `checks.rs`, what receipts say of
//! that in `receipts.rs`; what a copy has to
//! hold is looked up where copies are looked into, in `run.rs`.

mod checks;
mod mints;
mod receipts;

use std::fmt;

pub(crate) use checks::{Answerer, accepted, expired, received, revoked};
pub(crate) use mints::{is_over, mint, refusal};

/// A broken law.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) law: Law,
    /// What happened, in words.
    pub(crate) story: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Law {
    /// 2: a cut-off that an instance knew is in force no more.
    CutOffFell,
    /// 3: a covered token was accepted too late.
    AcceptedLate,
    /// 3: a covered token was accepted after somebody was told that it is enforced everywhere.
    AcceptedAfterReceipt,
    /// 3: a copy is fresh, and does not hold what was revoked before.
    FreshAndBehind,
    /// 3: what was read before a revocation has got past it.
    Overtaken,
    /// 3: a session that was ended goes on.
    SessionRevived,
    /// 3: a revoked token was exchanged for a good one.
    TokenRevived,
    /// 3, in good times: a revocation did not arrive within milliseconds.
    NotPushed,
    /// 4: a new token is not above all revocations.
    StampTooLow,
    /// 4: a new token is refused.
    NewTokenRefused,
    /// 5: a token that no revocation covers was refused as revoked.
    FalseRefusal,
    /// 5: a session that no revocation ended was refused.
    FalseLogout,
    /// 5: while nothing can be said about a token, it was said.
    NotUnavailable,
    /// 6 and 5: refused as expired before its time.
    ExpiredEarly,
    /// 7: accepted before a full load.
    NotLoaded,
    /// All was healed, and an instance did not become fresh.
    NoRecovery,
}

impl Law {
    /// Its number on the page of laws.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::CutOffFell => 2,
            Self::AcceptedLate
            | Self::AcceptedAfterReceipt
            | Self::FreshAndBehind
            | Self::Overtaken
            | Self::SessionRevived
            | Self::TokenRevived
            | Self::NotPushed => 3,
            Self::StampTooLow | Self::NewTokenRefused | Self::NoRecovery => 4,
            Self::FalseRefusal | Self::FalseLogout | Self::NotUnavailable => 5,
            Self::ExpiredEarly => 6,
            Self::NotLoaded => 7,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "law {}, {:?}: {}", self.law.number(), self.law, self.story)
    }
}

pub(crate) type Held = Result<(), Violation>;

fn broken(law: Law, story: impl Into<String>) -> Held {
    Err(Violation { law, story: story.into() })
}
