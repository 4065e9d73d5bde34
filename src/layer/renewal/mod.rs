//! Renewal on the way: an old token is answered with its successor in a header.
//!
//! - [`Renew`] is who can mint the successor: an [`Issuer`](crate::Issuer) that was told how to read
//!   [claims](crate::Issuer::renewing). It is given a [`Renewable`], which only the layer makes: what
//!   it says is vouched for by its signature.
//! - [`Renewal`] is when that is done, and how it is told.
//! - `due` decides, without a store and without a clock of its own.
//! - `attempts` sees to it that one token is renewed once, however many requests carry it.
//! - `hand_out` writes the successor into a response.

mod attempts;
mod due;
mod hand_out;
mod renew;
mod settings;

pub(super) use attempts::{Joined, Outcome, Waiting};
pub(super) use hand_out::keep_out_of_caches;
pub use renew::{Presenter, Renew, Renewable, Renewed};
pub use settings::{Renewal, RenewalBuilder};
