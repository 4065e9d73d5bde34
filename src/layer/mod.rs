//! The Tower middleware: [`RevocationLayer`].
//!
//! For each request it takes the bearer token from the `Authorization` header, lets the
//! [`Verifier`](crate::verify::Verifier) judge it, and either puts the proof, a
//! [`Verified<C>`](crate::verify::Verified), among the request's extensions and calls the inner
//! service, or answers itself. A refused request never reaches the inner service. All of this
//! happens inside `call`, without a task, a query, or a lock held across the inner call; the one
//! exception is a layer that was told to ask the store, [while the copy is
//! stale](#while-the-copy-is-stale) or [in doubt](RevocationLayer::confirm_doubtful).
//!
//! A request is checked when it arrives. What streams on afterwards, a download, server-sent
//! events or a gRPC stream, is not checked again.
//!
//! # Reaching the caller
//!
//! ## hyper and Tower
//!
//! The proof is an extension of the request.
//!
//! ```
//! use std::convert::Infallible;
//!
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::Full;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_revocation::{layer::RevocationLayer, verify::Verified};
//! # use tower_revocation::{epochs::Epochs, token, verify::{IssuerRules, Verifier}};
//!
//! async fn hello(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
//!     let Some(caller) = request.extensions().get::<Verified>() else {
//!         unreachable!("the layer lets no other request through");
//!     };
//!     Ok(Response::new(Full::from(format!("Hello, {}!", caller.subject()))))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let key = token::VerifyingKey::hmac(token::Algorithm::HS256, &[7; 32])?;
//! # let rules = IssuerRules::new("https://issuer.example", token::KeySet::new([key])?);
//! # let verifier = Verifier::builder(Epochs::new()).issuer(rules.audience("api")).build()?;
//! let service = ServiceBuilder::new()
//!     .layer(RevocationLayer::new(verifier))
//!     .service(service_fn(hello));
//!
//! // Hyper takes it as `hyper_util::service::TowerToHyperService::new(service)`.
//! let refused = service.oneshot(Request::new(Full::default())).await?;
//! assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
//! assert_eq!(refused.headers()["www-authenticate"], "Bearer realm=\"api\"");
//! # Ok(())
//! # }
//! ```
//!
//! ## axum
//!
//! With the feature `axum`, [`Verified<C>`](crate::verify::Verified) is an extractor. Claims of
//! the service's own are named twice, at the layer and in the handler.
//!
//! ```
//! # #[cfg(feature = "axum")] {
//! use axum::{Router, routing::get};
//! use tower_revocation::{layer::RevocationLayer, verify::{Verified, Verifier}};
//!
//! #[derive(serde::Deserialize)]
//! struct Plan {
//!     plan: String,
//! }
//!
//! async fn me(caller: Verified<Plan>) -> String {
//!     format!("{} has the plan {}", caller.subject(), caller.claims().plan)
//! }
//!
//! fn app(verifier: Verifier) -> Router {
//!     Router::new()
//!         .route("/me", get(me))
//!         // `route_layer`: a path that does not exist stays 404, with a token or without.
//!         .route_layer(RevocationLayer::new(verifier).claims::<Plan>())
//!         .route("/health", get(|| async { "fine" }))
//! }
//! # let _ = app;
//! # }
//! ```
//!
//! ## tonic
//!
//! Extensions of the HTTP request are those of tonic's, in interceptors and in handlers.
//!
//! ```
//! use tonic::{Request, Status, service::interceptor::InterceptedService, transport::Server};
//! use tower_revocation::{layer::RevocationLayer, verify::{Verified, Verifier}};
//!
//! fn caller<T>(request: &Request<T>) -> Result<&Verified, Status> {
//!     let missing = || Status::internal("RevocationLayer is missing");
//!     request.extensions().get::<Verified>().ok_or_else(missing)
//! }
//!
//! fn operators_only(request: Request<()>) -> Result<Request<()>, Status> {
//!     if caller(&request)?.permissions().any(|permission| permission == "operate") {
//!         Ok(request)
//!     } else {
//!         Err(Status::permission_denied("the permission \"operate\" is missing"))
//!     }
//! }
//!
//! async fn serve(verifier: Verifier) -> Result<(), tonic::transport::Error> {
//!     let (_reporter, health) = tonic_health::server::health_reporter();
//!     Server::builder()
//!         .layer(RevocationLayer::new(verifier))
//!         .add_service(InterceptedService::new(health, operators_only))
//!         .serve(([127, 0, 0, 1], 50_051).into())
//!         .await
//! }
//! # let _ = serve;
//! ```
//!
//! # The token
//!
//! One `Authorization` header that is `Bearer`, in any case, one space and a token (RFC 6750
//! §2.1); nothing before, between or after. A second `Authorization` header, or a parameter
//! `access_token` in the query beside the header, makes two tokens of it, and the request is
//! refused: somebody else on the way might read the other one. Without the header, tokens in the
//! query are not looked at, and those in bodies and trailers never are. Credentials of another scheme
//! count as no token.
//!
//! [`RevocationLayer::sources`] names other sources, in order: a [header](TokenSource::header) of the
//! service's own, a [cookie](TokenSource::cookie). All of them are looked at, and two tokens are
//! refused, equal or not. A cookie is sent along by browsers whoever made the request, so it counts
//! only with a [proof](Csrf) that a page of our own did, unless the request is safe. What came in a
//! cookie and is [renewed](RevocationLayer::renew) goes back in one.
//!
//! ```
//! use axum::{http::header::SET_COOKIE, response::AppendHeaders};
//! use tower_revocation::{
//!     RevocationLayer, Verifier,
//!     error::ConfigError,
//!     layer::{CookieSource, Csrf, TokenSource, UnfitForCookie},
//!     session::AccessToken,
//! };
//! # use axum::http::{HeaderName, HeaderValue};
//!
//! fn cookie() -> Result<CookieSource, ConfigError> {
//!     CookieSource::new("__Host-token", Csrf::origins(["https://app.example"])?)
//! }
//!
//! fn layer(verifier: Verifier) -> Result<RevocationLayer, ConfigError> {
//!     let sources = [TokenSource::bearer(), TokenSource::cookie(cookie()?)];
//!     RevocationLayer::new(verifier).sources(sources)
//! }
//!
//! // The answer to a login: the token is out of reach of scripts.
//! fn logged_in(
//!     cookie: &CookieSource,
//!     token: &AccessToken,
//! ) -> Result<AppendHeaders<[(HeaderName, HeaderValue); 1]>, UnfitForCookie> {
//!     let value = cookie.set_cookie(token.as_str(), token.expires_in())?;
//!     Ok(AppendHeaders([(SET_COOKIE, value)]))
//! }
//! # let _ = (layer, logged_in);
//! ```
//!
//! # The answers
//!
//! | what | status | `WWW-Authenticate` | gRPC |
//! |---|---|---|---|
//! | no token | 401 | `Bearer realm="…"` | `UNAUTHENTICATED` |
//! | not one well-formed token | 400 | … `error="invalid_request"` | `INVALID_ARGUMENT` |
//! | a cookie, and maybe another site's request | 403 | | `PERMISSION_DENIED` |
//! | bad, expired or revoked | 401 | … `error="invalid_token"` | `UNAUTHENTICATED` |
//! | good, without a permission or group | 403 | … `error="insufficient_scope"`, `scope="…"` | `PERMISSION_DENIED` |
//! | good, of a login too old or too weak | 401 | … `error="insufficient_user_authentication"`, `max_age="…"`, `acr_values="…"` | `UNAUTHENTICATED` |
//! | revocations stale, in doubt or not loaded, and not confirmed | 503, `Retry-After` | | `UNAVAILABLE` |
//!
//! The body is `application/problem+json` (RFC 9457) with the members `type`, `title`, `status`,
//! `detail` and `demand`. `type` is `urn:tower-revocation:problem:` and the
//! [reason](crate::Rejection::reason) with hyphens, `revoked` or `malformed-header` for instance.
//! `demand` tells what the client has to do, `refresh` or `login`; it is missing with 503, where
//! the same token may be good again in a moment, and with 403, where a new one would be no better.
//! `Cache-Control: no-store` keeps it out of caches.
//!
//! Requests whose content type begins with `application/grpc` get the form of gRPC instead: 200,
//! `grpc-status` and `grpc-message` among the headers and an empty body, and as metadata
//! `revocation-reason` (as in [`Rejection::reason`](crate::Rejection::reason)),
//! `revocation-demand`, `www-authenticate`, and with `UNAVAILABLE` `retry-after` and
//! `grpc-retry-pushback-ms`. gRPC-Web understands the same answer; for browsers, a CORS layer
//! outside of this one has to expose these headers.
//!
//! [`RevocationLayer::on_rejection`] replaces any of them.
//!
//! # What a route asks for
//!
//! A good token is enough for a layer that was told nothing else. A clone of it may ask for more:
//!
//! | told | asks for | otherwise |
//! |---|---|---|
//! | [`require_permission`](RevocationLayer::require_permission) | an OAuth scope, in the claim `scope` | 403 |
//! | [`require_group`](RevocationLayer::require_group), [`require_any_group`](RevocationLayer::require_any_group) | a group | 403 |
//! | [`max_auth_age`](RevocationLayer::max_auth_age) | a login that is not too long ago, by the claim `auth_time` | 401, step-up (RFC 9470) |
//! | [`require_acr`](RevocationLayer::require_acr) | a login of some kind, by the claim `acr` | 401, step-up |
//!
//! It is asked of every token that was found good, by whoever found it so. Where several are
//! missing, the first in this order is told, 403 before 401: no login cures what is forbidden. Of the
//! login, the challenge says all that is asked for at once.
//!
//! On an [`optional`](RevocationLayer::optional) route this is asked of the tokens that are there.
//! Requests without one pass, as nobody's, and the handler decides about them.
//!
//! ```
//! use std::time::Duration;
//!
//! use axum::{Router, routing::{get, post}};
//! use tower_revocation::{Id, RevocationLayer, Verifier};
//!
//! fn app(verifier: Verifier) -> Result<Router, Box<dyn std::error::Error>> {
//!     let layer = RevocationLayer::new(verifier);
//!     let writers = layer.clone().require_permission("orders:write")?;
//!     let admins = layer.clone().require_group(Id::new("admin")?);
//!     let recent = layer.clone().max_auth_age(Duration::from_secs(300))?;
//!     Ok(Router::new()
//!         .merge(Router::new().route("/orders", get(|| async {})).route_layer(layer))
//!         .merge(Router::new().route("/order", post(|| async {})).route_layer(writers))
//!         .merge(Router::new().route("/users", get(|| async {})).route_layer(admins))
//!         .merge(Router::new().route("/transfer", post(|| async {})).route_layer(recent)))
//! }
//! ```
//!
//! # While the copy is stale
//!
//! The copy of the revocations is stale when it was not known to equal the store for
//! [`max_staleness`](crate::epochs::EpochsBuilder::max_staleness), because the database, the
//! network or this machine stood still. What happens then is a choice of each layer, and so of each
//! route: a layer is cheap to clone, and a clone may be told something else.
//!
//! | told | while stale | the longest that a revoked token is accepted |
//! |---|---|---|
//! | [`refuse_while_stale`](RevocationLayer::refuse_while_stale), the default | 503 | `max_staleness` after `revoke` returned |
//! | [`confirm_while_stale`](RevocationLayer::confirm_while_stale) | the store is asked about this token; 503 if it does not answer in time | the same; while stale not at all |
//! | [`dangerous_trust_while_stale`](RevocationLayer::dangerous_trust_while_stale) | the stale copy is believed for a bounded time; then 503 | `max_staleness` and that time |
//!
//! [`require_fresh`](RevocationLayer::require_fresh) makes the copy count as stale sooner, for
//! routes where `max_staleness` is too long. Before the first full load every token is refused with
//! 503, whatever a layer was told.
//!
//! ```
//! use std::time::Duration;
//!
//! use axum::{Router, routing::get};
//! use tower_revocation::{
//!     EpochStore, RevocationLayer, Verifier, error::ConfigError, layer::Confirmations,
//! };
//!
//! fn app(verifier: Verifier, store: impl EpochStore) -> Result<Router, ConfigError> {
//!     let layer = RevocationLayer::new(verifier);
//!     let asking = layer.clone().confirm_while_stale(Confirmations::new(store));
//!     let strict = asking.clone().require_fresh(Duration::from_secs(3))?;
//!     let lenient = layer.clone().dangerous_trust_while_stale(Duration::from_secs(60))?;
//!     Ok(Router::new()
//!         .merge(Router::new().route("/orders", get(|| async {})).route_layer(asking))
//!         .merge(Router::new().route("/transfer", get(|| async {})).route_layer(strict))
//!         .merge(Router::new().route("/catalogue", get(|| async {})).route_layer(lenient)))
//! }
//! ```
//!
//! ## Why an answer may be shared
//!
//! A question about a token is answered for all requests that wait for it, and a request joins only
//! a question that was not sent yet. So the snapshot that judges a request is taken after the
//! request arrived: if `revoke` had returned by then, the snapshot holds the revocation. A request
//! that finds a question under way does not take its answer, though that would mostly be a few
//! milliseconds old: it waits for the next one, which is sent as soon as the first is answered. At
//! any time there are one question under way about a token and one to come, however many requests
//! wait.
//!
//! The answer is about scopes, not about a token: two tokens share it only if all their scopes are
//! the same, and each is held against it by its own stamp and times.
//!
//! ## What is never done while stale
//!
//! The stale copy alone makes no 401: a cut-off that it knows may have been cleared since. Nor is
//! what it knows forgotten: a token that it holds revoked and the store does not is answered 503,
//! as the database may have been restored from a backup. The next poll decides.
//!
//! # Order of layers
//!
//! Put it outside of whatever acts on behalf of the caller, and inside of CORS, tracing and
//! whatever limits requests per address: preflight requests carry no token.

mod body;
mod confirm;
mod future;
mod grpc;
// The file of the layer is named as in all middleware of Tower.
#[allow(clippy::module_inception)]
mod layer;
mod policy;
mod questions;
mod reject;
mod renewal;
mod ruling;
mod service;
mod source;
mod strategy;
mod successor;

pub use body::ResponseBody;
pub use confirm::{Answer, Confirm, Confirmations, ConfirmationsBuilder};
pub use future::ResponseFuture;
pub use layer::RevocationLayer;
pub use reject::Refusal;
pub use renewal::{Presenter, Renew, Renewable, Renewal, RenewalBuilder, Renewed};
pub use service::RevocationService;
pub use source::{CookieSource, Csrf, SameSite, TokenSource, UnfitForCookie};
pub use strategy::Strategy;
