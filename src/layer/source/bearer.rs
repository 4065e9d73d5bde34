//! The bearer token of a request, by the letter of RFC 6750 §2.1.
//!
//! Whatever could be read in two ways is refused: a proxy in front, or the service behind, might
//! read the other token.

use http::{HeaderMap, header::AUTHORIZATION};

use crate::verify::Rejection;

const BEARER: &[u8] = b"Bearer";

/// With the space.
const BEARER_LEN: usize = BEARER.len() + 1;

/// The one token of the request: the `Authorization` header's. Its [form](Presented::form) is open.
///
/// A token in the query (RFC 6750 §2.3) is never read, since URLs end in logs. Beside one in the
/// header it is a second token, and the request is refused.
#[inline(always)]
pub(super) fn bearer<'r>(
    headers: &'r HeaderMap,
    query: Option<&str>,
) -> Result<Presented<'r>, Rejection> {
    let presented = presented(headers)?;
    if query.is_some_and(holds_access_token) {
        presented.form()?;
        return Err(Rejection::MultipleTokens);
    }
    Ok(presented)
}

/// The token of the `Authorization` header, whatever else there is.
pub(super) fn authorization(headers: &HeaderMap) -> Result<&[u8], Rejection> {
    presented(headers)?.form()
}

#[inline(always)]
fn presented(headers: &HeaderMap) -> Result<Presented<'_>, Rejection> {
    let Some(value) = headers.get(AUTHORIZATION) else { return Err(Rejection::Missing) };
    // As long as no header at all is there twice, which is counted, this one is not.
    let may_be_twice = headers.len() > headers.keys_len();
    if may_be_twice && headers.get_all(AUTHORIZATION).iter().nth(1).is_some() {
        return Err(Rejection::MultipleTokens);
    }
    credentials(value.as_bytes())
}

/// What stands where the token has to stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Presented<'r>(pub(super) &'r [u8]);

impl<'r> Presented<'r> {
    /// The token, if it is a `b64token`. That looks at every byte, so it is not asked about a token
    /// that was verified before.
    pub(super) fn form(self) -> Result<&'r [u8], Rejection> {
        if is_b64token(self.0) { Ok(self.0) } else { Err(Rejection::MalformedHeader) }
    }
}

/// `"Bearer" 1SP b64token` and nothing else; the name of the scheme in any case.
///
/// RFC 7235 lets several spaces stand there, RFC 6750 one, and one is what everybody sends.
#[inline(always)]
fn credentials(value: &[u8]) -> Result<Presented<'_>, Rejection> {
    // What nearly all of them are, and the rest in words.
    if let Some((bearer, token)) = value.split_at_checked(BEARER_LEN)
        && (bearer == b"Bearer " || bearer.eq_ignore_ascii_case(b"Bearer "))
    {
        return Ok(Presented(token));
    }
    Err(other_credentials(value))
}

/// Why what does not begin as a bearer token has to is none.
#[cold]
fn other_credentials(value: &[u8]) -> Rejection {
    let scheme_len = value.iter().position(|&byte| !is_tchar(byte)).unwrap_or(value.len());
    let (scheme, rest) = value.split_at(scheme_len);
    if !scheme.eq_ignore_ascii_case(BEARER) && is_other_scheme(scheme, rest) {
        // No authentication of the kind we know (RFC 6750 §3.1): the challenge names it.
        return Rejection::Missing;
    }
    Rejection::MalformedHeader
}

/// Whether these are credentials of another scheme, `Basic …` for instance.
///
/// `BearerX` is a slip of the pen, a token without a scheme has nothing after it, and a list may
/// hide a bearer token behind its comma: none of these is another scheme.
fn is_other_scheme(scheme: &[u8], rest: &[u8]) -> bool {
    let [b' ', parameters @ ..] = rest else { return false };
    !scheme.is_empty()
        && !starts_with_bearer(scheme)
        && !parameters.is_empty()
        && parameters.iter().all(|byte| matches!(byte, b' '..=b'~'))
        && !parameters.split(|&byte| byte == b',').skip(1).any(starts_with_bearer)
}

fn starts_with_bearer(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    text.get(..BEARER.len()).is_some_and(|start| start.eq_ignore_ascii_case(BEARER))
}

/// `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`
pub(super) fn is_b64token(token: &[u8]) -> bool {
    let padding = token.iter().rev().take_while(|&&byte| byte == b'=').count();
    let text = &token[..token.len() - padding];
    // Without a branch for each byte, the compiler looks at sixteen or more at once.
    !text.is_empty() && text.iter().fold(true, |all, &byte| all & is_b64(byte))
}

#[inline(always)]
fn is_b64(byte: u8) -> bool {
    let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    // `-`, `.`, `/` and the digits stand in a row.
    let digit = byte.wrapping_sub(b'-') < 13;
    letter | digit | (byte == b'_') | (byte == b'~') | (byte == b'+')
}

/// The characters of a `token` (RFC 9110 §5.6.2), as names of schemes are.
pub(super) fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether a parameter of the query is named `access_token`, however it is percent-encoded.
pub(super) fn holds_access_token(query: &str) -> bool {
    query.split('&').any(|parameter| {
        let name = parameter.split_once('=').map_or(parameter, |(name, _)| name);
        percent_decoded(name.as_bytes()).eq(b"access_token".iter().copied())
    })
}

/// The bytes of `text` with `%XX` decoded. What is no escape stands for itself.
fn percent_decoded(text: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (&first, after) = rest.split_first()?;
        if let [b'%', high, low, after @ ..] = rest
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            rest = after;
            return Some(high << 4 | low);
        }
        rest = after;
        Some(first)
    })
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_bearer_one_space_and_a_token() {
        for (value, verdict) in [
            ("Bearer a", Ok("a")),
            ("bEARER a.b-c_d~e+f/0==", Ok("a.b-c_d~e+f/0==")),
            ("", Err(Rejection::MalformedHeader)),
            ("Bearer", Err(Rejection::MalformedHeader)),
            ("Bearer ", Err(Rejection::MalformedHeader)),
            ("Bearer  a", Err(Rejection::MalformedHeader)),
            ("Bearer\ta", Err(Rejection::MalformedHeader)),
            (" Bearer a", Err(Rejection::MalformedHeader)),
            ("Bearer a ", Err(Rejection::MalformedHeader)),
            ("Bearer =", Err(Rejection::MalformedHeader)),
            ("Bearer a=b", Err(Rejection::MalformedHeader)),
            ("Bearer \"a\"", Err(Rejection::MalformedHeader)),
            ("Bearer a,b", Err(Rejection::MalformedHeader)),
            ("Bearer=a", Err(Rejection::MalformedHeader)),
            ("BearerX a", Err(Rejection::MalformedHeader)),
            ("eyJ.e30.c2ln", Err(Rejection::MalformedHeader)),
            ("Basic", Err(Rejection::MalformedHeader)),
            ("Basic ", Err(Rejection::MalformedHeader)),
            ("Basic YTpi, Bearer a", Err(Rejection::MalformedHeader)),
            ("Basic YTpi,bearer a", Err(Rejection::MalformedHeader)),
            ("Basic YTpi", Err(Rejection::Missing)),
            ("Digest username=\"a\", realm=\"b\"", Err(Rejection::Missing)),
            ("DPoP a", Err(Rejection::Missing)),
        ] {
            let found = credentials(value.as_bytes()).and_then(Presented::form);
            assert_eq!(found, verdict.map(str::as_bytes), "{value:?}");
        }
    }

    #[test]
    fn a_token_is_of_the_bytes_that_the_grammar_names() {
        for byte in 0..=u8::MAX {
            let named = byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
            assert_eq!(is_b64token(&[&[b'a'; 40][..], &[byte, b'a']].concat()), named, "{byte:#x}");
        }
    }

    #[test]
    fn no_byte_outside_ascii_is_part_of_credentials() {
        for byte in (0..=0x1f).chain(0x7f..=0xff) {
            for value in [&[b'B', byte][..], &[b"Bearer a".as_slice(), &[byte]].concat()] {
                let found = credentials(value).and_then(Presented::form);
                assert_eq!(found, Err(Rejection::MalformedHeader), "{byte:#x}");
            }
        }
    }

    #[test]
    fn a_token_in_the_query_is_found_however_it_is_written() {
        for query in [
            "access_token=a",
            "access_token",
            "a=b&access_token=",
            "access%5Ftoken=a",
            "%61ccess_token=a&b",
        ] {
            assert!(holds_access_token(query), "{query:?}");
        }
        for query in ["", "access_token_hint=a", "a=access_token", "access%255Ftoken=a", "%6", "%"]
        {
            assert!(!holds_access_token(query), "{query:?}");
        }
    }
}
