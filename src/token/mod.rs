//! Tokens: bytes to claims and back. Pure: no clock, no store, no request.

mod algorithm;
mod backend;
mod encode;
mod key;
mod key_set;
mod signing;

pub use algorithm::Algorithm;
pub use backend::CryptoBackend;
pub(crate) use encode::encode;
pub use key::VerifyingKey;
pub use key_set::KeySet;
pub use signing::SigningKey;
