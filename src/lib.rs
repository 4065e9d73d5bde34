//! Tower middleware that revokes JWTs at once, without a database query per request.
//!
//! A JWT is good until it expires, whatever happened to its user since. This crate keeps, in the
//! memory of every instance, the moments before which tokens are no longer trusted, and refuses a
//! token that was issued at or before the one that concerns it. A background task follows the
//! store that holds the truth.
//!
//! What holds:
//!
//! - **Safety.** After [`EpochStore::revoke`] has returned `Ok`, no instance accepts a covered
//!   token in a check that starts more than
//!   [`max_staleness`](epochs::EpochsBuilder::max_staleness) later. Typically it takes
//!   milliseconds, or one poll. An instance that cannot follow the store refuses by itself.
//! - **Liveness.** A token that [`Issuer`] mints after that is above the revocation on every
//!   instance, in the same microsecond too, whatever any clock says.
//! - **No false logout.** A token that no revocation covers is not refused as revoked; when nothing
//!   can be said, the answer is 503, not 401.
//! - **No statement** is sent to the database for a request. (While an instance cannot follow the
//!   store, a layer may be [told](layer#while-the-copy-is-stale) to ask about each token.)
//!
//! `SECURITY.md` in the repository has the exact wording, and what is *not* promised. The `README`
//! has a quick start that compiles; `examples/server` is a complete service.
//!
//! # Words
//!
//! - A **cut-off**, in code `revoked_before`, is an instant: a token whose issue stamp is at or
//!   before it is revoked. Its formal name is *revocation epoch*, whence [`Epochs`].
//! - A **[scope](Scope)** is what a cut-off covers: everyone, a group, a user, a session, or one
//!   token. (OAuth's claim `scope` is [`Verified::permissions`].) A token is in several, and the
//!   highest cut-off decides. That is the [one rule](cutoff::revoked).
//! - **[Store time](cutoff::StoreTime)** is the order of revocations, made by the store alone. It
//!   is written in microseconds since 1970, but moves only when something is revoked.
//! - The **[issue stamp](cutoff::Stamp)** says which revocations a token has seen. [`Issuer`] writes
//!   it in the claim `rvs`; for other issuers it is `iat`.
//! - The **[demand](Demand)** is what the client has to do after a revocation: refresh or log in.
//! - A **session** is one login on one device. Its **[refresh token](session::RefreshToken)** gets the
//!   next pair of tokens, and counts.
//! - **[Freshness](epochs::Freshness)** is how long ago the copy in memory was known to equal the
//!   store. Over the bound it is *stale*, and what happens then is a choice of each
//!   [layer](layer#while-the-copy-is-stale): by default, 503.
//!
//! # The two paths
//!
//! ```text
//! request:  layer -> verify -> token, epochs        waits for nothing
//! control:  sync  -> store, epochs      routes -> session -> store, token
//! ```
//!
//! They meet in [`Epochs`]. On the request path [`RevocationLayer`] takes the bearer token, a
//! [`Verifier`] checks it, and what the service gets is a [`Verified`], which nobody else can make.
//! On the control path a [`Follower`] carries revocations from the [store] to the epochs, and an
//! [`Issuer`] writes sessions and mints tokens.
//!
//! ```
//! # use tower_revocation::token::SigningKey;
//! use tower_revocation::{
//!     Algorithm, Demand, EpochStore, Epochs, Follower, Grant, Id, Issuer, KeyRing, NoClaims,
//!     Rejection, Revocation, Scope, Verifier, store::MemoryStore,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (store, epochs) = (MemoryStore::new(), Epochs::new());
//! let _sync = Follower::new(store.clone(), epochs.clone()).start()?;
//! let keys = KeyRing::new(SigningKey::generate(Algorithm::ES256)?);
//! let issuer = Issuer::builder(store, keys)
//!     .issuer("https://login.example")
//!     .audience("shop")
//!     .client_id("web")
//!     .build()?;
//! let verifier = Verifier::builder(epochs.clone()).issuer(issuer.rules()?).build()?;
//! epochs.ready().await;
//!
//! let ticket = issuer.ticket().await?; // and then the password is checked
//! let tokens = issuer.login(ticket, Grant::new(Id::new("alice")?)).await?;
//! let token = tokens.access();
//! assert!(verifier.verify::<NoClaims>(token.as_str().as_bytes()).is_ok());
//!
//! let revocation = Revocation::new(Scope::user("alice")?, Demand::Login);
//! let receipt = issuer.store().revoke(revocation).await?;
//! epochs.wait_for(&receipt).await;
//! let refused = verifier.verify::<NoClaims>(token.as_str().as_bytes()).unwrap_err();
//! assert!(matches!(refused, Rejection::Revoked(_)));
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! Features add; none changes a default or takes something away.
//!
//! **`sqlite`** (default): the store `SqliteStore`, through sqlx, with SQLite compiled in. Without
//! it there are [`MemoryStore`](store::MemoryStore) and stores of your own.
//!
//! **`postgres`**: the store `PostgresStore`, for PostgreSQL 13 or later, and **`mysql`**: `MySqlStore`, for
//! MySQL 8 and MariaDB 10.6 or later. For TLS, switch on one of sqlx's `tls-…` features in your own
//! manifest. [`AnyStore`] takes the store that a URL names.
//!
//! **`aws-lc-rs`** (default): signatures by the crate aws-lc-rs, which compiles C. It is used
//! wherever both back ends are on, and `VerifierBuilder::crypto` chooses otherwise for checks.
//!
//! **`rust-crypto`**: signatures by the pure Rust crates of the RustCrypto project. RSA keys have at
//! most 4096 bits there. With neither back end the crate compiles, and building a [`Verifier`] or
//! a signing key is refused.
//!
//! **`axum`**: [`Verified`] as an extractor, [`TokenPair`](session::TokenPair) as an answer. It depends
//! on axum-core only.
//!
//! **`metrics`**: counters and gauges through the facade `metrics`. The `README` lists their names.
//!
//! **`routes`**: OAuth's routes as tower services, for any framework: in `routes`, the token
//! endpoint.
//!
//! **`tracing`**: events of refusals and of the background work. No token or part of one is logged.
//!
//! The [`sync`], the [`store`] and the issuer's calls need a tokio runtime with its timer. The check
//! needs none.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(missing_debug_implementations, missing_docs, unreachable_pub)]

#[cfg(feature = "axum")]
pub mod axum;
pub mod clock;
pub mod cutoff;
pub mod epochs;
pub mod error;
pub mod layer;
pub mod lifetimes;
#[cfg(feature = "routes")]
pub mod routes;
pub mod scope;
pub mod session;
pub mod store;
pub mod sync;
mod telemetry;
pub mod token;
pub mod verify;

pub use cutoff::Demand;
pub use epochs::Epochs;
pub use layer::RevocationLayer;
pub use scope::{Id, Scope};
pub use session::{Grant, Issuer, KeyRing};
#[cfg(feature = "mysql")]
pub use store::MySqlStore;
#[cfg(feature = "postgres")]
pub use store::PostgresStore;
#[cfg(feature = "sqlite")]
pub use store::SqliteStore;
pub use store::{AnyStore, EpochStore, Revocation};
pub use sync::{Follower, SyncHandle};
pub use token::Algorithm;
pub use verify::{NoClaims, Rejection, Verified, Verifier};

/// Compiles the code of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
