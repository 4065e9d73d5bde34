//! Where the token of a request comes from.
//!
//! `bearer` reads the `Authorization` header and is all there is by default. `sources` looks at
//! several, of which one may hold a token. `cookie` reads and writes the token's cookie, and `csrf`
//! asks of a request with one whether a page of our own made it.

mod bearer;
mod cookie;
mod csrf;
mod sources;

pub use cookie::{CookieSource, SameSite, UnfitForCookie};
pub use csrf::Csrf;
pub(super) use sources::Sources;
pub use sources::TokenSource;
