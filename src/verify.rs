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
//! 4. The claims: audience, identifiers, lifetime, and the service's own.
//! 5. The epochs: not loaded or stale is "ask again later", never "your token is bad", even if a
//!    cut-off covers the token (it may have been cleared since) or it seems to have expired (by a
//!    clock that is as old as the copy).
//! 6. The times: whether it is valid now.
//! 7. The cut-offs of all scopes the token is in, by the [one rule](crate::cutoff::revoked).
//!
//! Steps 2 to 4 are taken once for each token, as long as it is
//! [remembered](VerifierBuilder::token_cache_bytes) and the keys stay; the others at every request.
//!
//! What comes out is a [`Verified`], which nobody else can make: whoever holds one need not check
//! again.
//!
//! Where the copy is stale, the [layer](crate::layer) may have been told to do something else than
//! refuse. For it the token stops before step 5 as an `Authentic`: vouched for, and not judged.
//! Steps 6 and 7 are the only way from there to a `Verified`, with the clock and the cut-offs that
//! the store has just told, or with those of the stale copy.

mod authentic;
mod builder;
mod issuer;
mod judge;
mod origin;
mod own;
mod record;
mod rejection;
mod verified;
mod verifier;

pub use crate::token::{ClaimProblem, IssuerRules, Malformed, TokenClaims, TypPolicy};
pub(crate) use authentic::{Authentic, Checked, Remembered};
pub use builder::VerifierBuilder;
pub use rejection::Rejection;
pub use verified::{NoClaims, Verified};
pub use verifier::Verifier;
