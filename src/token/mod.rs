//! Tokens: bytes to claims and back. Pure: no clock, no store, no request.
//!
//! A token is a JWS in compact form: `header.payload.signature`. On the way in, each step refuses
//! what the next one would have to be careful about, and the work of each is bounded by the size
//! that the first one checks:
//!
//! 1. `jws` splits the three segments and decodes their base64url, in its only spelling;
//! 2. `header` accepts an algorithm of ours and none of the members that would choose a key or a
//!    transformation;
//! 3. `payload` reads one object and refuses a member that stands twice, at any depth;
//! 4. [`KeySet`] finds the one key that the header names, and `backend` checks the signature;
//! 5. `registered` holds the claims that we know, each with the one type it may have, and `claims`
//!    is what is kept of them.
//!
//! Objects are read in one pass (`members`, and `plain` for payloads), as issuers write them. That
//! gives up on whatever is odd, and `json` reads it again, member by member, to say what is wrong
//! with it.
//!
//! What a token was verified to is kept in `cache`, so that for the next request with it none of that is
//! done again.
//!
//! [`IssuerRules`] say what the tokens of one issuer must look like.
//!
//! On the way out, `encode` writes what comes in that way.
//!
//! Keys are checked when they are made ([`VerifyingKey`], [`SigningKey`]): a weak one, or one for
//! another algorithm, never gets into a set. All that touches a crypto library is in `backend`.

#[cfg(test)]
mod agreement;
mod algorithm;
mod backend;
mod cache;
mod claims;
mod encode;
mod groups;
mod header;
mod json;
mod jwk;
mod jws;
mod key;
mod key_format;
mod key_set;
mod list;
mod members;
mod payload;
mod plain;
mod problem;
mod registered;
mod rules;
mod signing;
mod texts;

pub use algorithm::Algorithm;
pub use backend::CryptoBackend;
pub(crate) use backend::default_backend;
pub(crate) use cache::{Cached, SET_BYTES, TokenCache};
pub(crate) use claims::{Claims, ClaimsBuf};
pub(crate) use encode::encode;
pub use groups::TokenClaims;
pub(crate) use header::Header;
pub(crate) use jws::Compact;
pub use key::VerifyingKey;
pub use key_set::KeySet;
pub(crate) use payload::Payload;
pub(crate) use problem::Problem;
pub use problem::{ClaimProblem, Malformed};
pub(crate) use registered::MAX_GROUPS;
pub use rules::{IssuerRules, TypPolicy};
pub use signing::SigningKey;
pub(crate) use texts::Layout;

/// The longest access token that is read by default, and written at all.
pub(crate) const MAX_TOKEN_BYTES: usize = 8 * 1024;
