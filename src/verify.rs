//! Token + epochs + now -> [`Verified`] or [`Rejection`].

mod rejection;

pub use rejection::{ClaimProblem, Malformed, Rejection};
