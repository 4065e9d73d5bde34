//! The control path: logins, refreshes and the tokens they get.
//!
//! An [`Issuer`] mints access tokens ([RFC 9068]) in store time: the stamp `rvs` is read in the
//! transaction that writes the session, so a token minted after a revocation returned is above
//! it by construction, and one minted from data older than the revocation is never signed. Its
//! keys come from a [`KeyRing`], which lives in a directory and never in the database.
//!
//! [RFC 9068]: https://www.rfc-editor.org/rfc/rfc9068

mod grant;
mod issuer;
mod key_files;
mod key_ring;
mod refresh_token;
mod ring;
mod rotation;

pub use grant::{AccessToken, Grant};
pub use issuer::{Issuer, IssuerBuilder};
pub use key_ring::KeyRing;
pub use refresh_token::RefreshToken;
