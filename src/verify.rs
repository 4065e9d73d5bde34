//! Token + epochs + now -> [`Verified`] or [`Rejection`].

mod rejection;
mod rules;
mod verified;
mod verifier;

pub use rejection::{ClaimProblem, Malformed, Rejection};
pub use rules::{IssuerRules, TypPolicy};
pub use verified::{NoClaims, Verified};
pub use verifier::{Verifier, VerifierBuilder};
