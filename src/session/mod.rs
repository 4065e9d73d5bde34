//! The control path: logins, refreshes and the tokens they get.
//!
//! An [`Issuer`] mints access tokens ([RFC 9068]) in store time: the stamp `rvs` is read in the
//! transaction that writes the session, so a token minted after a revocation returned is above
//! it by construction, and one minted from data older than the revocation is never signed. Its
//! keys come from a [`KeyRing`], which lives in a directory and never in the database.
//!
//! A login begins a *session*, one on each device. Its refresh tokens say which session they are of
//! and count: nothing in the database is secret, a forged one is refused without a query, and the
//! answer to a refresh can be given again if it was lost. The access token says what the claims
//! were at the last refresh. Where the layer [renews](crate::layer::Renewal) tokens on the way, the
//! issuer does it.
//!
//! [RFC 9068]: https://www.rfc-editor.org/rfc/rfc9068

mod builder;
mod devices;
mod grant;
mod issuer;
mod key_files;
mod key_ring;
mod learning;
mod refresh;
mod refresh_token;
mod renew;
mod ring;
mod rotation;
mod tokens;

pub use builder::IssuerBuilder;
pub use grant::Grant;
pub use issuer::Issuer;
pub use key_ring::KeyRing;
pub use refresh::Reuse;
pub use refresh_token::RefreshToken;
pub use renew::Renewing;
pub use tokens::{AccessToken, TokenPair};
