//! Ready-made OAuth routes.
//!
//! Each is a [`Service`](tower_service::Service) of its own, for any framework that speaks `http`,
//! and answers every request itself:
//!
//! | service | route | after |
//! |---|---|---|
//! | [`TokenEndpoint`] | `POST /oauth/token` | [RFC 6749] §3.2, §5.1, §5.2, §6 |
//!
//! In axum:
//!
//! ```
//! use axum::{Router, extract::ConnectInfo};
//! use std::net::SocketAddr;
//! use tower_revocation::{Grant, Issuer, routes::TokenEndpoint, store::EpochStore};
//!
//! fn app<S: EpochStore>(issuer: Issuer<S>) -> Router {
//!     // Reads the account, and refuses it with `Error::account_refused`.
//!     let claims = async |user| Ok(Grant::new(user).permissions("read write"));
//!     let token = TokenEndpoint::new(issuer, claims).client_ip(|extensions| {
//!         let peer = extensions.get::<ConnectInfo<SocketAddr>>()?;
//!         Some(peer.ip())
//!     });
//!     // Served by `into_make_service_with_connect_info::<SocketAddr>()`, or there is no address.
//!     Router::new().route_service("/oauth/token", token)
//! }
//! # let _ = app::<tower_revocation::store::MemoryStore>;
//! ```
//!
//! What they have in common:
//!
//! - The client is public: it has an id and no secret.
//! - A refusal that is final is a 4xx. While nothing can be said it is 503 with `Retry-After`:
//!   a client that is told `invalid_grant` throws its session away.
//! - No answer may be stored, and none repeats what the request said.
//! - Time limits, CORS and limits of rate are the service's own, by layers around these.
//!
//! [RFC 6749]: https://www.rfc-editor.org/rfc/rfc6749

mod answer;
mod body;
mod client;
mod form;
mod future;
mod token;

pub use body::Body;
pub use future::ResponseFuture;
pub use token::TokenEndpoint;
