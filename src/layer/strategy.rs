//! The three strategies: how much of the truth about a session is in its token.

use super::{Confirmations, Renewal, RevocationLayer};
use crate::error::ConfigError;

/// How a layer treats sessions, for [`RevocationLayer::strategy`]: three presets of one policy.
///
/// | strategy | the store is asked | a session that ends | use it for |
/// |---|---|---|---|
/// | [`token`](Strategy::token) | never | lives on until its token expires, or is revoked | tokens without sessions ([`Issuer::issue`](crate::Issuer::issue)), foreign issuers |
/// | [`refresh`](Strategy::refresh) | when a token is renewed or refreshed | is refused at the next poll | nearly everything |
/// | [`session`](Strategy::session) | on each request | is refused by the next request | the few routes where `max_staleness` is too long, and allow-lists |
///
/// All of them refuse what memory knows to be revoked, without asking anybody. A layer is cheap to
/// clone, so each route may have another.
///
/// ```
/// # use tower_revocation::{EpochStore, RevocationLayer, error::ConfigError};
/// # use tower_revocation::layer::{Confirmations, Renewal, Strategy};
/// # fn configure(
/// #     store: impl EpochStore, layer: RevocationLayer, renewal: Renewal,
/// # ) -> Result<(), ConfigError> {
/// let everywhere = layer.clone().strategy(Strategy::refresh(renewal))?;
/// let transfers = layer.strategy(Strategy::session(Confirmations::new(store)))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Strategy {
    renewal: Option<Renewal>,
    sessions: Option<Confirmations>,
}

impl Strategy {
    /// The token is all there is. It is good until it expires or is revoked, nothing is renewed, and
    /// the store is not asked.
    pub fn token() -> Self {
        Self { renewal: None, sessions: None }
    }

    /// Memory is believed, and the store is asked when a token is [renewed](RevocationLayer::renew).
    pub fn refresh(renewal: Renewal) -> Self {
        Self { renewal: Some(renewal), sessions: None }
    }

    /// The store is [asked](RevocationLayer::check_sessions) about the session of each request: an
    /// allow-list.
    pub fn session(confirmations: Confirmations) -> Self {
        Self { renewal: None, sessions: Some(confirmations) }
    }

    /// Renews tokens, too.
    #[must_use]
    pub fn with_renewal(mut self, renewal: Renewal) -> Self {
        self.renewal = Some(renewal);
        self
    }
}

impl<C> RevocationLayer<C> {
    /// Treats sessions by `strategy`, whatever was said of renewal and of the store before.
    ///
    /// # Errors
    ///
    /// See [`renew`](RevocationLayer::renew).
    pub fn strategy(self, strategy: Strategy) -> Result<Self, ConfigError> {
        let Strategy { renewal, sessions } = strategy;
        let layer = self.treating_sessions(sessions);
        match renewal {
            Some(renewal) => layer.renew(renewal),
            None => Ok(layer.without_renewal()),
        }
    }

    /// Accepts only sessions that the store knows and that are alive there: it is asked about each
    /// request whose token is good otherwise, which waits for the answer. An allow-list.
    ///
    /// So a session that has ended is refused by the next request, however old the copy in memory is;
    /// and a token that nobody has revoked, but whose session is not there, is refused as well: 401,
    /// [`Rejection::SessionEnded`](crate::Rejection::SessionEnded). If the store does not answer in
    /// time it is 503. Tokens of other issuers have no session in this store, and are refused.
    ///
    /// Each request costs two or three statements, requests with one token at the same time one question:
    /// see [`Confirmations`], whose [limit](super::ConfirmationsBuilder::at_most) counts here as well.
    #[must_use]
    pub fn check_sessions(self, confirmations: Confirmations) -> Self {
        self.treating_sessions(Some(confirmations))
    }
}
