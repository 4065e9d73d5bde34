//! Which crypto library does the work.
//!
//! Two features choose what is compiled in. Features add up over a build, so both can be on
//! without anybody having asked for both: then aws-lc is used. With none, whatever needs a
//! signature is refused when it is built, not when the first token arrives.

pub(super) mod keys;
#[cfg(feature = "aws-lc-rs")]
mod prepared;
pub(super) mod signature;

use crate::error::ConfigError;

/// A crypto library, as far as its feature is on.
///
/// The process-wide default provider of `jsonwebtoken` is neither used nor set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CryptoBackend {
    /// The crate `aws-lc-rs`. Preferred where both are compiled in.
    #[cfg(feature = "aws-lc-rs")]
    AwsLc,
    /// The pure Rust crates of the RustCrypto project. Its RSA keys have at most 4096 bits.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aws_lc_is_used_where_both_are_on_and_none_is_refused() {
        for (compiled_in, chosen) in [
            (&["aws-lc", "rust-crypto"][..], Some("aws-lc")),
            (&["aws-lc"], Some("aws-lc")),
            (&["rust-crypto"], Some("rust-crypto")),
            (&[], None),
        ] {
            assert_eq!(preferred(compiled_in).ok(), chosen);
        }
        assert!(matches!(preferred::<()>(&[]), Err(ConfigError::NoCryptoBackend)));
    }

    #[test]
    #[cfg(feature = "aws-lc-rs")]
    fn this_build_lists_aws_lc_first() {
        assert_eq!(default_backend().ok(), Some(CryptoBackend::AwsLc));
    }
}
