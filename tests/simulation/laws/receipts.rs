//! What it means that a revocation is enforced everywhere.

use std::time::Duration;

use super::{Answerer, Held, Law, broken};
use crate::facts::{Facts, Moment, Revoked, Token};

/// A check that began at `called` has accepted a token.
pub(crate) fn accepted(facts: &Facts, token: &Token, called: Moment, by: Answerer) -> Held {
    let blind = by.blind.as_millis() as u64;
    let after = |enforced: Moment| match by.blind {
        Duration::ZERO => called > enforced,
        // It counts too few of the seconds after which it refuses by itself.
        _ => called.at > enforced.at + blind,
    };
    let told = |revocation: &&Revoked| {
        !revocation.forgotten
            && !revocation.behind
            && revocation.enforced.is_some_and(after)
            && revocation.must_cover(token)
    };
    match facts.revocations.iter().find(told) {
        Some(revocation) => broken(
            Law::AcceptedAfterReceipt,
            format!(
                "instance {} accepts a token after that of {} was said to be enforced everywhere",
                by.instance,
                facts.name(&revocation.scope)
            ),
        ),
        None => Ok(()),
    }
}
