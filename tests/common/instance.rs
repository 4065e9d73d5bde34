//! One process of a fleet without its HTTP server: store, epochs, sync, issuer, verifier.

use std::{path::Path, time::Duration};

use tower_revocation::{
    Algorithm, AnyStore, Demand, EpochStore, Epochs, Follower, Grant, Id, Issuer, KeyRing,
    NoClaims, Rejection, Revocation, Scope, SyncHandle, Verified, Verifier,
    clock::{Clock, ManualClock},
    cutoff::Receipt,
    error::Error,
    lifetimes::Lifetimes,
    session::{AccessToken, IssuerBuilder},
};

use super::place;

/// When the manual clocks start.
pub(crate) const START: Duration = Duration::from_secs(1_800_000_000);

pub(crate) struct Instance {
    pub(crate) store: AnyStore,
    pub(crate) epochs: Epochs,
    pub(crate) issuer: Issuer<AnyStore>,
    pub(crate) verifier: Verifier,
    /// Dropping it makes the instance go stale.
    #[allow(dead_code, reason = "kept alive in some of the tests, dropped in others")]
    pub(crate) sync: Option<SyncHandle>,
    pub(crate) clock: ManualClock,
}

#[allow(dead_code, reason = "each suite uses a part of it")]
impl Instance {
    /// An instance on the database and the keys in `data`, loaded, its clock at [`START`].
    pub(crate) async fn start(data: &Path) -> Self {
        Self::start_with(data, Lifetimes::default(), |issuer| issuer).await
    }

    pub(crate) async fn start_with(
        data: &Path,
        lifetimes: Lifetimes,
        settings: impl FnOnce(IssuerBuilder<AnyStore>) -> IssuerBuilder<AnyStore>,
    ) -> Self {
        let (clock, hand) = Clock::manual(START);
        let store = place::store(data, "test.db", clock.clone()).await;
        Self::start_on(store, data, (clock, hand), lifetimes, settings).await
    }

    /// The same, with the database at `url`.
    pub(crate) async fn start_at(data: &Path, url: &str) -> Self {
        let (clock, hand) = Clock::manual(START);
        let store = place::store_at(url, clock.clone()).await;
        Self::start_on(store, data, (clock, hand), Lifetimes::default(), |issuer| issuer).await
    }

    async fn start_on(
        store: AnyStore,
        data: &Path,
        (clock, hand): (Clock, ManualClock),
        lifetimes: Lifetimes,
        settings: impl FnOnce(IssuerBuilder<AnyStore>) -> IssuerBuilder<AnyStore>,
    ) -> Self {
        let epochs = Epochs::builder().lifetimes(lifetimes).clock(clock.clone()).build().unwrap();
        // Tests wait for a poll each time that they set the clock.
        let follower = Follower::new(store.clone(), epochs.clone());
        let sync = follower.poll_interval(Duration::from_millis(100)).start().unwrap();
        let keys = KeyRing::open_with(data.join("keys"), Algorithm::EdDSA, clock).unwrap();
        let issuer = Issuer::builder(store.clone(), keys)
            .issuer("https://login.test")
            .audience("test")
            .client_id("tests")
            .access_jitter(Duration::ZERO)
            .epochs(epochs.clone());
        let issuer = settings(issuer).build().unwrap();
        let rules = issuer.rules().unwrap();
        let verifier = Verifier::builder(epochs.clone()).issuer(rules).build().unwrap();
        epochs.ready().await;
        Self { store, epochs, issuer, verifier, sync: Some(sync), clock: hand }
    }

    pub(crate) async fn login(&self, user: &str, groups: &[&str]) -> Result<AccessToken, Error> {
        let ticket = self.issuer.ticket().await?;
        let pair = self.issuer.login(ticket, grant(user, groups)).await?;
        Ok(pair.access().clone())
    }

    pub(crate) async fn revoke(&self, scope: Scope, demand: Demand) -> Receipt {
        self.store.revoke(Revocation::new(scope, demand)).await.unwrap()
    }

    /// Once the sync has taken in the time as it is now: the hands move at once and by days, while a
    /// poll comes each second.
    pub(crate) async fn synced(&self) {
        let fresh = async {
            while self.epochs.freshness(self.epochs.clock().now()).age() != Some(Duration::ZERO) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), fresh).await.unwrap();
    }

    pub(crate) fn check(&self, token: &str) -> Result<Verified, Rejection> {
        self.verifier.verify::<NoClaims>(token.as_bytes())
    }
}

pub(crate) fn grant(user: &str, groups: &[&str]) -> Grant {
    let groups = groups.iter().map(|group| Id::new(group).unwrap());
    Grant::new(Id::new(user).unwrap()).groups(groups)
}
