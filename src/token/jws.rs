//! The compact form ([RFC 7515, section 7.1](https://www.rfc-editor.org/rfc/rfc7515#section-7.1)).

use base64::Engine;
use memchr::memchr_iter;

use super::{Malformed, Problem};

/// A token in its three parts, decoded.
pub(crate) struct Compact<'t, 'b> {
    /// What the signature covers: the first two segments as they came, and the dot.
    pub(crate) signed: &'t [u8],
    pub(crate) header: &'b str,
    pub(crate) payload: &'b str,
    pub(crate) signature: &'b [u8],
}

impl<'t, 'b> Compact<'t, 'b> {
    /// Takes a token of at most `max_bytes` apart, and decodes it into `buffer`.
    ///
    /// Every text has one spelling: base64url without padding, and without bits that no byte
    /// needs. A token that can be written in two ways could be revoked in one and live on in the
    /// other.
    pub(crate) fn parse(
        token: &'t [u8],
        max_bytes: usize,
        buffer: &'b mut Vec<u8>,
    ) -> Result<Self, Problem> {
        if token.len() > max_bytes {
            return Err(Problem::TooLarge);
        }
        let mut dots = memchr_iter(b'.', token);
        let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
            return Err(Malformed::Segments.into());
        };
        let (header, payload, signature) =
            (&token[..first], &token[first + 1..second], &token[second + 1..]);
        if header.is_empty() || payload.is_empty() || signature.is_empty() {
            return Err(Malformed::EmptySegment.into());
        }
        let signed = &token[..second];
        // Three bytes for each four characters, of which each segment may have begun.
        buffer.clear();
        buffer.resize((token.len() / 4 + 3) * 3, 0);
        let (header, rest) = decode(header, buffer)?;
        let (payload, rest) = decode(payload, rest)?;
        let (signature, _) = decode(signature, rest)?;
        let utf8 = |bytes| std::str::from_utf8(bytes).map_err(|_| Malformed::Utf8);
        Ok(Self { signed, header: utf8(header)?, payload: utf8(payload)?, signature })
    }
}

/// Decodes a segment to the front of `buffer`. Returns it, and what is left.
fn decode<'b>(segment: &[u8], buffer: &'b mut [u8]) -> Result<(&'b [u8], &'b mut [u8]), Malformed> {
    let length = engine::get().decode_slice(segment, buffer).map_err(|_| Malformed::Base64)?;
    let (decoded, rest) = buffer.split_at_mut(length);
    Ok((decoded, rest))
}

/// Engines of base64url that refuse padding, other alphabets and non-zero trailing bits: the same
/// with and without the wide instructions of some processors.
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
mod engine {
    use std::sync::LazyLock;

    use base64::engine::{Simd, general_purpose::NO_PAD};

    pub(super) fn get() -> &'static Simd {
        /// Made by what the processor turns out to have.
        static ENGINE: LazyLock<Simd> = LazyLock::new(|| Simd::url_safe(NO_PAD));
        &ENGINE
    }
}

#[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
mod engine {
    use base64::engine::{GeneralPurpose, general_purpose::URL_SAFE_NO_PAD};

    pub(super) fn get() -> &'static GeneralPurpose {
        &URL_SAFE_NO_PAD
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    use super::*;

    /// Mostly of the alphabet, or nearly.
    fn segment() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            60 => prop::sample::select(ALPHABET.to_vec()),
            1 => prop::sample::select(b"+/=\n .\0\x80\xff".to_vec()),
        ];
        prop::collection::vec(byte, 1..200)
    }

    proptest! {
        #[test]
        fn wide_instructions_decode_what_the_plain_engine_does(segment in segment()) {
            let mut buffer = vec![0; segment.len() + 3];
            let decoded = decode(&segment, &mut buffer).map(|(decoded, _)| decoded.to_vec());
            prop_assert_eq!(decoded.ok(), URL_SAFE_NO_PAD.decode(&segment).ok());
        }
    }

    #[test]
    fn trailing_bits_are_refused_at_every_length() {
        for length in 1..200 {
            let text = URL_SAFE_NO_PAD.encode(vec![0; length]);
            let last = match length % 3 {
                0 => continue,
                // Four bits that have to be zero, or two.
                1 => "BCDEFGHIJKLMNOP",
                _ => "BCD",
            };
            let mut buffer = vec![0; length + 3];
            assert!(decode(text.as_bytes(), &mut buffer).is_ok());
            for last in last.chars() {
                let odd = format!("{}{last}", &text[..text.len() - 1]);
                assert_eq!(decode(odd.as_bytes(), &mut buffer), Err(Malformed::Base64), "{odd}");
            }
        }
    }

    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
}
