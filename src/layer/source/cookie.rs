//! The token in a cookie.
//!
//! Read by hand, and strictly: what a jar makes of a `Cookie` header hides what matters here, that a
//! cookie is there twice (RFC 6265 §4.2.2 leaves open which one is meant), or that somebody has joined
//! two headers with a comma.

use std::{fmt, time::Duration};

use http::{
    HeaderMap, HeaderValue, Request,
    header::{COOKIE, SET_COOKIE},
};

use super::{
    Csrf,
    bearer::{is_b64token, is_tchar},
};
use crate::{error::ConfigError, layer::renewal::keep_out_of_caches, telemetry, verify::Rejection};

/// Browsers drop a cookie whose name and value are longer (RFC 6265bis §5.6), and say nothing.
const LONGEST: usize = 4_096;

/// A cookie that holds the token, for [`TokenSource::cookie`](super::TokenSource::cookie).
///
/// Browsers send cookies along whoever has made the request, so each source of this kind needs a
/// [`Csrf`], a defence against requests that other sites forge. It is asked for by every method but
/// `GET`, `HEAD`, `OPTIONS` and `TRACE`, and by every request with an `Upgrade` header, as websockets
/// have. So nothing that changes anything may be a `GET`.
///
/// A cookie that is there twice is refused ([`Rejection::MultipleTokens`]): sibling domains can set one
/// for the domain above, beside the right one or in its place. Only a name that begins with `__Host-`
/// keeps them from that, as browsers take such a cookie from the very host alone. `SameSite` is the
/// cookie's own setting as well, and no defence by itself: sibling domains are the same site.
/// [`set_cookie`](CookieSource::set_cookie) writes one that has all this.
#[derive(Clone, Debug)]
pub struct CookieSource {
    name: String,
    /// `None` where somebody said it was dangerous.
    csrf: Option<Csrf>,
    same_site: SameSite,
}

/// To whose requests a browser adds a cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SameSite {
    /// To those of the same site, and to links to it from others.
    #[default]
    Lax,
    /// To those of the same site alone: whoever follows a link from another one seems logged out.
    Strict,
}

/// A token cannot be kept in a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnfitForCookie {
    /// It has other characters than a token.
    #[error("the text is no token")]
    NoToken,
    /// Name and value are over 4,096 bytes together: browsers would drop it.
    #[error("the token is too long for a cookie")]
    TooLong,
}

/// Why a cookie cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misread {
    Twice,
    Malformed,
}

impl CookieSource {
    /// The cookie `name`, protected by `csrf`.
    ///
    /// Set it by [`set_cookie`](CookieSource::set_cookie). One with another `Path`, or a `Domain`, stays
    /// beside the one that a [renewal](crate::RevocationLayer::renew) sets, and two cookies of the name
    /// are refused.
    ///
    /// # Errors
    ///
    /// [`ConfigError::TokenSource`] if it is no name of a cookie, or that of the cookie of `csrf`.
    pub fn new(name: impl Into<String>, csrf: Csrf) -> Result<Self, ConfigError> {
        let source = Self::dangerous_without_csrf_protection(name)?;
        if csrf.cookie() == Some(&source.name) {
            return Err(refused(source.name, "cannot hold the token and prove whose page it is"));
        }
        Ok(Self { csrf: Some(csrf), ..source })
    }

    /// The cookie `name`, with no question asked.
    ///
    /// **Other sites can act as the user** unless something before or behind this layer keeps them
    /// from that.
    ///
    /// # Errors
    ///
    /// As [`new`](CookieSource::new).
    pub fn dangerous_without_csrf_protection(name: impl Into<String>) -> Result<Self, ConfigError> {
        let name = checked(name.into())?;
        Ok(Self { name, csrf: None, same_site: SameSite::default() })
    }

    /// `SameSite` of the cookies it [makes](CookieSource::set_cookie); [`SameSite::Lax`] by default.
    #[must_use]
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = same_site;
        self
    }

    /// The name of the cookie.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value of a `Set-Cookie` header that has the browser keep `token` for `max_age`, in whole
    /// seconds: for this host alone, over TLS (or to `localhost`), out of reach of scripts.
    ///
    /// Where expired tokens are [renewed](crate::RevocationLayer::renew), the cookie has to live
    /// longer than the token.
    ///
    /// # Errors
    ///
    /// [`UnfitForCookie`] says why the token cannot be kept.
    pub fn set_cookie(
        &self,
        token: &str,
        max_age: Duration,
    ) -> Result<HeaderValue, UnfitForCookie> {
        if !is_b64token(token.as_bytes()) {
            return Err(UnfitForCookie::NoToken);
        }
        if self.name.len() + token.len() > LONGEST {
            return Err(UnfitForCookie::TooLong);
        }
        let cookie = self.cookie(token, max_age);
        let mut value = HeaderValue::try_from(cookie).map_err(|_| UnfitForCookie::NoToken)?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// The value of a `Set-Cookie` header that has the browser forget the token, for a logout.
    pub fn remove_cookie(&self) -> HeaderValue {
        let cookie = self.cookie("", Duration::ZERO);
        HeaderValue::try_from(cookie).expect("the name of a cookie is fit for a header")
    }

    /// Whether a response says what becomes of the cookie already: at a logout, for instance.
    pub(in crate::layer) fn is_set_in(&self, headers: &HeaderMap) -> bool {
        headers
            .get_all(SET_COOKIE)
            .iter()
            .any(|set| name_of(set.as_bytes()) == self.name.as_bytes())
    }

    /// Has the browser keep `token` in place of the one that it has sent. Scripts do not see it, and
    /// no cache keeps it.
    pub(in crate::layer) fn replace(
        &self,
        token: &str,
        max_age: Duration,
        headers: &mut HeaderMap,
    ) {
        let cookie = match self.set_cookie(token, max_age) {
            Ok(cookie) => cookie,
            Err(unfit) => return telemetry::successor_unfit(&unfit),
        };
        headers.append(SET_COOKIE, cookie);
        keep_out_of_caches(headers);
    }

    fn cookie(&self, token: &str, max_age: Duration) -> String {
        let Self { name, same_site, .. } = self;
        let max_age = max_age.as_secs();
        format!("{name}={token}; Path=/; Max-Age={max_age}; HttpOnly; Secure; SameSite={same_site}")
    }

    pub(super) fn token<'r>(&self, headers: &'r HeaderMap) -> Result<Option<&'r [u8]>, Rejection> {
        value(headers, &self.name).map_err(|misread| match misread {
            Misread::Twice => Rejection::MultipleTokens,
            Misread::Malformed => Rejection::MalformedCredentials,
        })
    }

    /// Whether a page of our own has sent `request`, which carries the cookie.
    pub(super) fn own_page<B>(&self, request: &Request<B>) -> Result<(), Rejection> {
        match &self.csrf {
            Some(csrf) if !csrf.allows(request) => Err(Rejection::CrossSite),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for SameSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lax => "Lax",
            Self::Strict => "Strict",
        })
    }
}

/// Checks that `name` is that of a cookie: a `token` (RFC 6265 §4.1.1).
pub(super) fn checked(name: String) -> Result<String, ConfigError> {
    if name.is_empty() || !name.bytes().all(is_tchar) {
        return Err(refused(name, "is no name of a cookie"));
    }
    Ok(name)
}

pub(super) fn refused(name: String, problem: &'static str) -> ConfigError {
    ConfigError::TokenSource { name, problem }
}

/// The value of the one cookie `name`, in the characters of a token.
///
/// HTTP/2 has several `Cookie` headers for one list. What the other cookies are is nobody's business,
/// and however they are written.
pub(super) fn value<'r>(headers: &'r HeaderMap, name: &str) -> Result<Option<&'r [u8]>, Misread> {
    let mut found = None;
    for header in headers.get_all(COOKIE) {
        for pair in header.as_bytes().split(|&byte| byte == b';') {
            // Whoever joins headers with a comma has put a second cookie into the value of the first.
            for part in pair.split(|&byte| byte == b',') {
                if name_of(part) == name.as_bytes() && found.replace(pair).is_some() {
                    return Err(Misread::Twice);
                }
            }
        }
    }
    let Some(pair) = found else { return Ok(None) };
    // A space is before each pair but the first.
    let spaces = pair.iter().take_while(|&&byte| byte == b' ').count();
    let value = pair[spaces..].strip_prefix(name.as_bytes());
    match value.and_then(|value| value.strip_prefix(b"=")) {
        Some(value) if is_b64token(value) => Ok(Some(value)),
        _ => Err(Misread::Malformed),
    }
}

/// The name of a cookie as a lenient reader has it.
fn name_of(pair: &[u8]) -> &[u8] {
    pair.split(|&byte| byte == b'=').next().unwrap_or(pair).trim_ascii()
}
