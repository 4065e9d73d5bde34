//! The token endpoint: RFC 6749 §3.2, for refreshing (§6).

use std::{
    convert::Infallible,
    error::Error as StdError,
    fmt,
    net::IpAddr,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Extensions, Request, Response, StatusCode, header::USER_AGENT, request::Parts};
use tower_service::Service;

use super::{
    Body, ResponseFuture,
    answer::{Refusal, json},
    client,
    form::Form,
};
use crate::{
    error::{Error, ErrorKind},
    scope::Id,
    session::{Grant, Issuer, TokenPair},
    store::{Device, EpochStore},
    telemetry,
};

/// `POST /oauth/token` for a public client: a refresh token gets the next pair of tokens
/// ([RFC 6749, section 6]). A handle, cheap to clone.
///
/// The request is a form: `grant_type=refresh_token`, `refresh_token`, and if the client likes
/// `client_id` and `scope`. With a `scope` the access token carries no other permissions; the next
/// one, without, all that the user has then.
///
/// | answer | when |
/// |---|---|
/// | 200, the [`TokenPair`] | |
/// | 400 `invalid_grant` | the refresh token is no good, its session has ended, the account was refused, or `client_id` is another's |
/// | 400 `invalid_scope` | a word of `scope` is not among the [permissions](Grant::permissions); the refresh token is not spent |
/// | 400 `invalid_request` | malformed, over 16 KiB, a parameter twice, no form |
/// | 400 `unsupported_grant_type` | any other |
/// | 401 `invalid_client` | an `Authorization` header that is not Basic with the client's id and an empty secret; any `client_secret` |
/// | 405 | any method but POST |
/// | 503 `temporarily_unavailable` | all else: the client tries again with the same token |
///
/// The session's [`Device`] gets the header `User-Agent` and the
/// [address](TokenEndpoint::client_ip), unless the claims come with a device of their own.
///
/// See the [module](super) for an example.
///
/// # Cancel safety
///
/// See [`Issuer::refresh`].
///
/// [RFC 6749, section 6]: https://www.rfc-editor.org/rfc/rfc6749#section-6
pub struct TokenEndpoint<S, C> {
    issuer: Issuer<S>,
    claims: Arc<C>,
    client_ip: fn(&Extensions) -> Option<IpAddr>,
}

/// The request asks for permissions that the user does not have.
#[derive(Debug, thiserror::Error)]
#[error("the scope exceeds what was granted")]
struct ScopeExceeded;

impl<S, C, F> TokenEndpoint<S, C>
where
    S: EpochStore,
    C: Fn(Id) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Grant, Error>> + Send + 'static,
{
    /// An endpoint for the tokens of `issuer`. `claims` is as at [`Issuer::refresh`].
    pub fn new(issuer: Issuer<S>, claims: C) -> Self {
        Self { issuer, claims: Arc::new(claims), client_ip: |_| None }
    }

    /// Where among the extensions of a request the address of the client is: what the server or
    /// a layer before this one put there. Without it a session keeps the one it had.
    #[must_use]
    pub fn client_ip(mut self, client_ip: fn(&Extensions) -> Option<IpAddr>) -> Self {
        self.client_ip = client_ip;
        self
    }

    async fn answer<B>(self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        match self.refresh(request).await {
            Ok(tokens) => json(StatusCode::OK, tokens),
            Err(refusal) => refusal.response(),
        }
    }

    /// The pair of tokens as it is sent. What is malformed is told first, then who asks, and at
    /// last what becomes of the token.
    async fn refresh<B>(&self, request: Request<B>) -> Result<Vec<u8>, Refusal>
    where
        B: http_body::Body,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let (head, mut form) = Form::read(request).await?;
        match form.take("grant_type").as_deref() {
            Some("refresh_token") => {}
            Some(_) => return Err(Refusal::UnsupportedGrantType),
            None => return Err(Refusal::InvalidRequest("grant_type is missing")),
        }
        let missing = Refusal::InvalidRequest("refresh_token is missing");
        let refresh_token = form.take("refresh_token").ok_or(missing)?;
        client::check(&head.headers, &mut form, self.issuer.client_id())?;
        let scope = form.take("scope");
        let (scope, device) = (scope.as_deref(), &self.device(&head));
        let claims = move |user| {
            let grant = (self.claims)(user);
            async move { narrowed(grant.await?, scope, device) }
        };
        let tokens = self.issuer.refresh(&refresh_token, claims).await;
        tokens.and_then(|tokens| written(&tokens)).map_err(|error| refusal(&error))
    }

    fn device(&self, head: &Parts) -> Device {
        let mut device = Device::new();
        if let Some(agent) = head.headers.get(USER_AGENT) {
            device = device.with_user_agent(&String::from_utf8_lossy(agent.as_bytes()));
        }
        if let Some(ip) = (self.client_ip)(&head.extensions) {
            device = device.with_ip(ip);
        }
        device
    }
}

impl<S, C, F, B> Service<Request<B>> for TokenEndpoint<S, C>
where
    S: EpochStore,
    C: Fn(Id) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Grant, Error>> + Send + 'static,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        ResponseFuture::new(self.clone().answer(request))
    }
}

// By hand, as derives would ask for the same of `S` and `C`.
impl<S, C> Clone for TokenEndpoint<S, C> {
    fn clone(&self) -> Self {
        let Self { issuer, claims, client_ip } = self;
        Self { issuer: issuer.clone(), claims: claims.clone(), client_ip: *client_ip }
    }
}

impl<S, C> fmt::Debug for TokenEndpoint<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenEndpoint").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// `grant` with the permissions that were asked for (§3.3, §6), and where the session was seen.
///
/// # Errors
///
/// [`ScopeExceeded`]. This is decided before the store is asked, so nothing is spent.
fn narrowed(grant: Grant, asked: Option<&str>, seen: &Device) -> Result<Grant, Error> {
    let grant = if grant.has_device() { grant } else { grant.device(seen.clone()) };
    let Some(asked) = asked else { return Ok(grant) };
    let granted: Vec<&str> = grant.granted().split_ascii_whitespace().collect();
    // By single spaces: an empty word is malformed, and not granted either.
    let asked: Vec<&str> = asked.split(' ').collect();
    if asked.iter().any(|word| !granted.contains(word)) {
        return Err(Error::new(ErrorKind::Claims, ScopeExceeded));
    }
    let kept: Vec<&str> = granted.into_iter().filter(|word| asked.contains(word)).collect();
    let kept = kept.join(" ");
    Ok(grant.permissions(kept))
}

/// The JSON text of §5.1.
fn written(tokens: &TokenPair) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(tokens).map_err(|cause| Error::new(ErrorKind::Claims, cause))
}

/// How a failure is told. Whatever is not known to be final is not.
fn refusal(error: &Error) -> Refusal {
    let why = match error.kind() {
        ErrorKind::RefreshTokenInvalid => "the refresh token is not valid",
        ErrorKind::RefreshTokenReused(_) => "the refresh token was used before",
        ErrorKind::SessionEnded => "the session has ended",
        ErrorKind::AccountRefused => "the account was refused",
        _ if error.source().is_some_and(|source| source.is::<ScopeExceeded>()) => {
            return Refusal::InvalidScope;
        }
        _ => {
            telemetry::refresh_failed(error);
            return Refusal::Unavailable;
        }
    };
    telemetry::refresh_refused(error);
    Refusal::InvalidGrant(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(granted: Option<&str>, asked: Option<&str>) -> Option<String> {
        let mut grant = Grant::new(Id::new("alice").unwrap());
        if let Some(granted) = granted {
            grant = grant.permissions(granted);
        }
        let narrowed = narrowed(grant, asked, &Device::new()).ok()?;
        Some(narrowed.granted().to_owned())
    }

    #[test]
    fn a_scope_narrows_and_never_widens() {
        for (granted, asked, scope_then) in [
            (None, None, Some("")),
            (Some("read write"), None, Some("read write")),
            (Some("read write"), Some("write"), Some("write")),
            (Some("read write"), Some("write read"), Some("read write")),
            (Some("read write"), Some("write write"), Some("write")),
            (Some("read write"), Some("admin"), None),
            (Some("read write"), Some("read admin"), None),
            (Some("read write"), Some("Read"), None),
            (Some("read write"), Some("read  write"), None),
            (Some("read write"), Some(" read"), None),
            (Some("read write"), Some("read\twrite"), None),
            (Some("read write"), Some("read\u{fffd}"), None),
            (Some(""), Some(" "), None),
            (None, Some("read"), None),
        ] {
            assert_eq!(scope(granted, asked).as_deref(), scope_then, "{granted:?} {asked:?}");
        }
    }

    #[test]
    fn what_is_not_known_to_be_final_is_told_as_unavailable() {
        use crate::cutoff::Demand;
        for kind in [
            ErrorKind::Store,
            ErrorKind::StoreTimeout,
            ErrorKind::Corrupt,
            ErrorKind::Schema,
            ErrorKind::RevokedMeanwhile(Demand::Login),
            ErrorKind::RevokedMeanwhile(Demand::Refresh),
            ErrorKind::AccountUnavailable,
            ErrorKind::Claims,
            ErrorKind::NoSigningKey,
            ErrorKind::Signing,
            ErrorKind::TaskEnded,
        ] {
            assert_eq!(refusal(&kind.into()), Refusal::Unavailable, "{kind:?}");
        }
    }
}
