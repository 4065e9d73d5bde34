//! Which sessions there are: a user's devices, and who is online.

use std::time::Duration;

use super::Issuer;
use crate::{
    error::Error,
    scope::Id,
    store::{EpochStore, Session, SessionFilter},
};

impl<S: EpochStore> Issuer<S> {
    /// The living sessions of `user`, the one refreshed last first, at most
    /// [`MAX_LISTED`](crate::store::MAX_LISTED).
    ///
    /// # Errors
    ///
    /// The store's failure.
    pub async fn sessions(&self, user: &Id) -> Result<Vec<Session>, Error> {
        self.listed(SessionFilter::User(user.clone())).await
    }

    /// The session `sid`, if it is alive.
    ///
    /// # Errors
    ///
    /// The store's failure.
    pub async fn session(&self, sid: &Id) -> Result<Option<Session>, Error> {
        Ok(self.listed(SessionFilter::Id(sid.clone())).await?.pop())
    }

    /// The living sessions that were refreshed within the last `time`, the last one first, at most
    /// [`MAX_LISTED`](crate::store::MAX_LISTED): who is online. An answer that was lost and asked
    /// for again counts as of the first time.
    ///
    /// # Errors
    ///
    /// The store's failure.
    pub async fn online(&self, time: Duration) -> Result<Vec<Session>, Error> {
        self.listed(SessionFilter::RefreshedWithin(time)).await
    }

    async fn listed(&self, filter: SessionFilter) -> Result<Vec<Session>, Error> {
        self.shared.store.sessions(&filter, self.shared.lifetimes).await
    }
}
