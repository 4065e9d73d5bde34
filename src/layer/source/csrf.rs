//! Whether a page of our own has sent a request: defences against cross-site request forgery, after
//! OWASP's cheat sheet.

use http::{HeaderMap, HeaderName, Method, Request, header};
use subtle::ConstantTimeEq;

use super::cookie::{checked, refused, value};
use crate::error::ConfigError;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Headers that every site may add to its requests: those that CORS lets through unasked.
const ANYBODYS: [HeaderName; 5] = [
    header::ACCEPT,
    header::ACCEPT_LANGUAGE,
    header::CONTENT_LANGUAGE,
    header::CONTENT_TYPE,
    header::RANGE,
];

/// 128 bits in base64url.
const LEAST_SECRET: usize = 22;

/// What tells a request of our own pages from one that another site has a browser send.
///
/// Without it a request that is not safe is refused, with 403 and
/// [`Rejection::CrossSite`](crate::Rejection::CrossSite).
#[derive(Clone, Debug)]
pub struct Csrf(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Origins(Vec<String>),
    DoubleSubmit { cookie: String, header: HeaderName },
}

impl Csrf {
    /// The request comes from a page of one of these origins, `https://app.example` for instance.
    ///
    /// - Its `Origin` is one of them, to the letter. Another one is refused, whatever else is said.
    /// - `Origin: null` tells nothing, as from pages that send no referrer, and a missing `Origin`
    ///   neither. Then `Sec-Fetch-Site` has to be `same-origin`; `same-site`, `cross-site` and `none`
    ///   are refused.
    /// - Where both are missing, as in old browsers, the origin of `Referer` has to be one of them.
    /// - With none of the three it is refused, and with one that is there twice.
    ///
    /// The origins are told and not taken from `Host`: behind a proxy the service does not know its
    /// own.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Missing`] if there are none. [`ConfigError::Origin`] if one is not as browsers
    /// write them: scheme, `://` and host in small letters, the port only where it is not the
    /// scheme's own, and nothing after that.
    pub fn origins(
        origins: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, ConfigError> {
        let origins: Vec<String> = origins.into_iter().map(Into::into).collect();
        if let Some(origin) = origins.iter().find(|origin| !is_origin(origin)) {
            return Err(ConfigError::Origin { origin: origin.clone() });
        }
        if origins.is_empty() {
            return Err(ConfigError::Missing { field: "origins" });
        }
        Ok(Self(Kind::Origins(origins)))
    }

    /// The request repeats the value of `cookie` in `header`, which only a script of this host can
    /// read, and only one that CORS lets can send.
    ///
    /// The service sets the cookie at login, without `HttpOnly`: at least 22 characters of a token
    /// that nobody can guess, another one for each session. OWASP has it signed and bound to the
    /// session, which the service may do and this does not check. So that no sibling domain sets one
    /// of its own, its name has to begin with `__Host-`.
    ///
    /// Browsers send no headers of ours with a websocket's handshake: those need
    /// [`origins`](Csrf::origins).
    ///
    /// # Errors
    ///
    /// [`ConfigError::TokenSource`] if the cookie's name is another one, or if every site may send the
    /// header, `Accept` for instance.
    pub fn double_submit(
        cookie: impl Into<String>,
        header: HeaderName,
    ) -> Result<Self, ConfigError> {
        let cookie = checked(cookie.into())?;
        if !cookie.starts_with("__Host-") {
            return Err(refused(cookie, "has to begin with __Host-, or siblings can set it"));
        }
        if ANYBODYS.contains(&header) || is_the_browsers(&header) {
            return Err(refused(header.to_string(), "proves nothing: every site can send it"));
        }
        Ok(Self(Kind::DoubleSubmit { cookie, header }))
    }

    /// The cookie that it reads itself.
    pub(super) fn cookie(&self) -> Option<&String> {
        match &self.0 {
            Kind::Origins(_) => None,
            Kind::DoubleSubmit { cookie, .. } => Some(cookie),
        }
    }

    /// Whether `request` is safe, or a page of our own has sent it.
    pub(super) fn allows<B>(&self, request: &Request<B>) -> bool {
        let headers = request.headers();
        is_safe(request.method(), headers)
            || match &self.0 {
                Kind::Origins(origins) => comes_from(origins, headers).unwrap_or(false),
                Kind::DoubleSubmit { cookie, header } => {
                    repeats(headers, cookie, header).unwrap_or(false)
                }
            }
    }
}

/// Whether the request changes nothing and opens nothing (RFC 9110 §9.2.1). The handshake of a
/// websocket is a `GET`, and other sites may talk through what it opens.
fn is_safe(method: &Method, headers: &HeaderMap) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(method)
        && !headers.contains_key(header::UPGRADE)
}

/// A header that is there twice.
struct Twice;

fn comes_from(origins: &[String], headers: &HeaderMap) -> Result<bool, Twice> {
    let is_own = |origin: &[u8]| origins.iter().any(|own| own.as_bytes() == origin);
    let origin = one(headers, &header::ORIGIN)?;
    let site = one(headers, &SEC_FETCH_SITE)?;
    let referer = one(headers, &header::REFERER)?;
    Ok(match (origin, site) {
        // A page of ours whose request another site has redirected back has this origin, too, and
        // our referrer.
        (Some(b"null"), site) => site == Some(b"same-origin"),
        (Some(origin), _) => is_own(origin),
        (None, Some(site)) => site == b"same-origin",
        (None, None) => referer.is_some_and(|referer| is_own(origin_of(referer))),
    })
}

fn repeats(headers: &HeaderMap, cookie: &str, header: &HeaderName) -> Result<bool, Twice> {
    let Some(sent) = one(headers, header)? else { return Ok(false) };
    let Ok(Some(kept)) = value(headers, cookie) else { return Ok(false) };
    Ok(kept.len() >= LEAST_SECRET && bool::from(kept.ct_eq(sent)))
}

fn one<'r>(headers: &'r HeaderMap, name: &HeaderName) -> Result<Option<&'r [u8]>, Twice> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().map(|value| value.as_bytes());
    if values.next().is_some() { Err(Twice) } else { Ok(value) }
}

/// What stands before the path of a URL. It is compared to the letter, so whatever else is in there,
/// a user's name for instance, makes it another's.
fn origin_of(url: &[u8]) -> &[u8] {
    let authority = url.windows(3).position(|three| three == b"://").map_or(url.len(), |at| at + 3);
    let end = url[authority..].iter().position(|byte| b"/?#".contains(byte));
    end.map_or(url, |end| &url[..authority + end])
}

/// Whether a browser would write this origin so (RFC 6454 §6.2).
fn is_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_small = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.bytes().all(|byte| is_small(byte) || b"+-.".contains(&byte));
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) => {
            v6.contains(':') && v6.bytes().all(|byte| is_small(byte) || b":.".contains(&byte))
        }
        None => {
            !host.is_empty() && host.bytes().all(|byte| is_small(byte) || b"-._".contains(&byte))
        }
    };
    let is_port = |port: &str| {
        let default = matches!((scheme, port), ("http", "80") | ("https", "443"));
        let number: Result<u16, _> = port.parse();
        !default && number.is_ok_and(|number| number > 0 && number.to_string() == port)
    };
    is_scheme && is_host && port.is_none_or(is_port)
}

/// Headers that browsers write and no script does.
fn is_the_browsers(header: &HeaderName) -> bool {
    [header::COOKIE, header::HOST, header::ORIGIN, header::REFERER, header::CONTENT_LENGTH]
        .contains(header)
        || ["sec-", "proxy-"].iter().any(|start| header.as_str().starts_with(start))
}
