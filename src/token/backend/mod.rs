//! Which crypto library does the work.
//!
//! Two features choose what is compiled in. Features add up over a build, so both can be on
//! without anybody having asked for both: then aws-lc is used. With none, whatever needs a
//! signature is refused when it is built, not when the first token arrives.

pub(super) mod signature;

use crate::error::ConfigError;

/// A crypto library, as far as its feature is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CryptoBackend {
    /// The crate `aws-lc-rs`. Preferred where both are compiled in.
    #[cfg(feature = "aws-lc-rs")]
    AwsLc,
    /// The pure Rust crates of the RustCrypto project.
    #[cfg(feature = "rust-crypto")]
    RustCrypto,
}

impl CryptoBackend {
    /// Every library that is compiled in, the preferred one first.
    pub const ALL: &[Self] = &[
        #[cfg(feature = "aws-lc-rs")]
        Self::AwsLc,
        #[cfg(feature = "rust-crypto")]
        Self::RustCrypto,
    ];
}

/// The library to use when nobody chose one.
///
/// # Errors
///
/// [`ConfigError::NoCryptoBackend`] if none is compiled in.
pub(crate) fn default_backend() -> Result<CryptoBackend, ConfigError> {
    preferred(CryptoBackend::ALL)
}

/// The choice, apart from the features of this build.
fn preferred<B: Copy>(compiled_in: &[B]) -> Result<B, ConfigError> {
    compiled_in.first().copied().ok_or(ConfigError::NoCryptoBackend)
}
