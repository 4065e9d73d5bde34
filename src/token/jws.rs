//! The compact form ([RFC 7515, section 7.1](https://www.rfc-editor.org/rfc/rfc7515#section-7.1)).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{Malformed, Problem};

/// A token in its three parts, decoded.
pub(crate) struct Compact<'t> {
    /// What the signature covers: the first two segments as they came, and the dot.
    pub(crate) signed: &'t [u8],
    pub(crate) header: String,
    pub(crate) payload: String,
    pub(crate) signature: Vec<u8>,
}

impl<'t> Compact<'t> {
    /// Takes a token of at most `max_bytes` apart.
    ///
    /// Every text has one spelling: base64url without padding, and without bits that no byte
    /// needs. A token that can be written in two ways could be revoked in one and live on in the
    /// other.
    pub(crate) fn parse(token: &'t [u8], max_bytes: usize) -> Result<Self, Problem> {
        if token.len() > max_bytes {
            return Err(Problem::TooLarge);
        }
        let mut segments = token.split(|&byte| byte == b'.');
        let (Some(header), Some(payload), Some(signature), None) =
            (segments.next(), segments.next(), segments.next(), segments.next())
        else {
            return Err(Malformed::Segments.into());
        };
        if header.is_empty() || payload.is_empty() || signature.is_empty() {
            return Err(Malformed::EmptySegment.into());
        }
        let signed = &token[..header.len() + 1 + payload.len()];
        let (header, payload) = (decode(header)?, decode(payload)?);
        Ok(Self {
            signed,
            signature: decode(signature)?,
            header: String::from_utf8(header).map_err(|_| Malformed::Utf8)?,
            payload: String::from_utf8(payload).map_err(|_| Malformed::Utf8)?,
        })
    }
}

fn decode(segment: &[u8]) -> Result<Vec<u8>, Malformed> {
    // This engine refuses padding, other alphabets and non-zero trailing bits.
    URL_SAFE_NO_PAD.decode(segment).map_err(|_| Malformed::Base64)
}
