//! The sources of a layer, in their order.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, Request, header};

use super::{
    CookieSource,
    bearer::{Presented, authorization, bearer, holds_access_token, is_b64token},
};
use crate::{error::ConfigError, layer::RevocationLayer, verify::Rejection};

/// Headers that mean something else to somebody on the way, or are written there. So are all that
/// begin with `proxy-`, and those that begin with `sec-` are the browser's.
const TAKEN: [HeaderName; 14] = [
    header::AUTHORIZATION,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::FORWARDED,
    header::HOST,
    header::ORIGIN,
    header::REFERER,
    header::SET_COOKIE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Where a token may come from, for [`RevocationLayer::sources`].
#[derive(Clone, Debug)]
pub struct TokenSource(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Bearer,
    Header(HeaderName),
    Cookie(CookieSource),
}

impl TokenSource {
    /// The `Authorization` header, as RFC 6750 has it: the source of a layer that was told nothing.
    pub fn bearer() -> Self {
        Self(Kind::Bearer)
    }

    /// A header whose value is the bare token, without a scheme before it.
    ///
    /// Browsers send no such header to another origin unless CORS lets them, so it needs no defence
    /// against forged requests.
    pub fn header(name: HeaderName) -> Self {
        Self(Kind::Header(name))
    }

    /// A cookie. See [`CookieSource`] for what it takes to trust one.
    pub fn cookie(cookie: CookieSource) -> Self {
        Self(Kind::Cookie(cookie))
    }

    fn token<'r>(&self, headers: &'r HeaderMap) -> Result<Option<&'r [u8]>, Rejection> {
        match &self.0 {
            Kind::Bearer => match authorization(headers) {
                Err(Rejection::Missing) => Ok(None),
                found => found.map(Some),
            },
            Kind::Header(name) => in_header(headers, name),
            Kind::Cookie(cookie) => cookie.token(headers),
        }
    }

    fn as_cookie(&self) -> Option<&CookieSource> {
        match &self.0 {
            Kind::Cookie(cookie) => Some(cookie),
            Kind::Bearer | Kind::Header(_) => None,
        }
    }

    /// What it is called, and so what makes two of them one.
    fn name(&self) -> &str {
        match &self.0 {
            Kind::Bearer => header::AUTHORIZATION.as_str(),
            Kind::Header(name) => name.as_str(),
            Kind::Cookie(cookie) => cookie.name(),
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        self.name() == other.name() && self.as_cookie().is_some() == other.as_cookie().is_some()
    }

    fn check(&self) -> Result<(), ConfigError> {
        let Kind::Header(name) = &self.0 else { return Ok(()) };
        let is_taken = TAKEN.contains(name)
            || ["keep-alive", "proxy-", "sec-"]
                .iter()
                .any(|start| name.as_str().starts_with(start));
        if is_taken {
            return Err(self.refused("is a header that means something else"));
        }
        Ok(())
    }

    fn refused(&self, problem: &'static str) -> ConfigError {
        ConfigError::TokenSource { name: self.name().to_owned(), problem }
    }
}

impl<C> RevocationLayer<C> {
    /// Takes the token from one of these, in place of the `Authorization` header alone.
    ///
    /// All of them are looked at on each request. One may hold a token; two tokens in one request are
    /// refused with 400 and [`Rejection::MultipleTokens`], even if they are equal, and so is one beside
    /// a parameter `access_token` in the query. What is there and is no token is refused as well
    /// ([`Rejection::MalformedCredentials`], [`Rejection::MalformedHeader`]), rather than passed over
    /// for the next source. The order decides which of several mistakes is told.
    ///
    /// ```
    /// use http::HeaderName;
    /// use tower_revocation::layer::{CookieSource, Csrf, TokenSource};
    /// # use tower_revocation::{RevocationLayer, Verifier, error::ConfigError};
    ///
    /// # fn configure(verifier: Verifier) -> Result<RevocationLayer, ConfigError> {
    /// let csrf = Csrf::origins(["https://app.example"])?;
    /// RevocationLayer::new(verifier).sources([
    ///     TokenSource::bearer(),
    ///     TokenSource::cookie(CookieSource::new("__Host-token", csrf)?),
    ///     TokenSource::header(HeaderName::from_static("x-access-token")),
    /// ])
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::Missing`] if there are none. [`ConfigError::TokenSource`] if one is there twice,
    /// or is a header that means something else, `Authorization`, `Cookie` and `Host` for instance.
    pub fn sources(
        mut self,
        sources: impl IntoIterator<Item = TokenSource>,
    ) -> Result<Self, ConfigError> {
        Arc::make_mut(&mut self.settings).sources = Sources::new(sources.into_iter().collect())?;
        Ok(self)
    }
}

/// The sources of a layer.
#[derive(Clone, Debug, Default)]
pub(in crate::layer) enum Sources {
    /// The `Authorization` header alone, without a list to go through.
    #[default]
    Bearer,
    Listed(Vec<TokenSource>),
}

/// The one token of a request.
#[derive(Debug)]
pub(in crate::layer) struct Found<'r> {
    pub(in crate::layer) token: &'r [u8],
    /// The cookie that holds it, if one does.
    cookie: Option<&'r CookieSource>,
    /// Whether its form was judged where it was found.
    is_formed: bool,
}

impl Found<'_> {
    /// Refuses what cannot be a token. For those that were not verified before.
    pub(in crate::layer) fn form(&self) -> Result<(), Rejection> {
        if self.is_formed { Ok(()) } else { Presented(self.token).form().map(drop) }
    }
}

impl Sources {
    fn new(sources: Vec<TokenSource>) -> Result<Self, ConfigError> {
        for (at, source) in sources.iter().enumerate() {
            source.check()?;
            if sources[..at].iter().any(|other| other.is_same(source)) {
                return Err(source.refused("is a source twice"));
            }
        }
        match &*sources {
            [] => Err(ConfigError::Missing { field: "sources" }),
            [TokenSource(Kind::Bearer)] => Ok(Self::Bearer),
            _ => Ok(Self::Listed(sources)),
        }
    }

    /// The one token of `request`, which a cookie may hold only if a page of our own sent it.
    // Always, here and where it leads: what comes back in memory, piece by piece, is waited for.
    #[inline(always)]
    pub(in crate::layer) fn find<'r, B>(
        &'r self,
        request: &'r Request<B>,
    ) -> Result<Found<'r>, Rejection> {
        match self {
            Self::Bearer => {
                let Presented(token) = bearer(request.headers(), request.uri().query())?;
                Ok(Found { token, cookie: None, is_formed: false })
            }
            Self::Listed(sources) => one_of(sources, request),
        }
    }

    /// The cookie that holds the token of `request`, if one does.
    pub(in crate::layer) fn cookie_of<B>(&self, request: &Request<B>) -> Option<CookieSource> {
        match self {
            Self::Bearer => None,
            Self::Listed(_) => self.find(request).ok()?.cookie.cloned(),
        }
    }
}

fn one_of<'r, B>(
    sources: &'r [TokenSource],
    request: &'r Request<B>,
) -> Result<Found<'r>, Rejection> {
    let mut found = None;
    for source in sources {
        let Some(token) = source.token(request.headers())? else { continue };
        if found.is_some() {
            return Err(Rejection::MultipleTokens);
        }
        found = Some(Found { token, cookie: source.as_cookie(), is_formed: true });
    }
    let found = found.ok_or(Rejection::Missing)?;
    if request.uri().query().is_some_and(holds_access_token) {
        return Err(Rejection::MultipleTokens);
    }
    if let Some(cookie) = found.cookie {
        cookie.own_page(request)?;
    }
    Ok(found)
}

/// The bare token that is all of a header.
fn in_header<'r>(headers: &'r HeaderMap, name: &HeaderName) -> Result<Option<&'r [u8]>, Rejection> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Rejection::MultipleTokens);
    }
    let token = value.as_bytes();
    if is_b64token(token) { Ok(Some(token)) } else { Err(Rejection::MalformedCredentials) }
}
