//! Token + epochs + now -> [`Verified`] or [`Rejection`].
//!
//! [`Verifier`] takes the steps in an order in which nothing is believed before it was checked,
//! and nothing is told to who could not have worked it out alone:
//!
//! 1. The *freshness* of the epochs is read, before everything else: what was fresh then is at
//!    least as fresh as this says when the cut-offs are read. It is used last.
//! 2. The token is taken apart, within its size limit; the header names a key, the payload's `iss`
//!    the [`IssuerRules`] and so the keys to choose from.
//! 3. The signature. Before it, only the form of the token is judged.
//! 4. The claims: audience, times, identifiers, and the service's own.
//! 5. The epochs: not loaded or stale is "ask again later", never "your token is bad", even if a
//!    cut-off covers the token: it may have been cleared since.
//! 6. The cut-offs of all scopes the token is in, by the [one rule](crate::cutoff::revoked).
//!
//! What comes out is a [`Verified`], which nobody else can make: whoever holds one need not check
//! again.

mod builder;
mod judge;
mod rejection;
mod verified;
mod verifier;

pub use crate::token::{ClaimProblem, IssuerRules, Malformed, TypPolicy};
pub use builder::VerifierBuilder;
pub use rejection::Rejection;
pub use verified::{NoClaims, Verified};
pub use verifier::Verifier;
