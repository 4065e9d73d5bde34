//! Renewing access tokens on the way, by the trait that the layer owns.

use std::future::Future;

use super::{Grant, Issuer, issuer::Shared};
use crate::{
    error::{Error, ErrorKind},
    layer::{Presenter, Renew, Renewable, Renewed},
    scope::Id,
    store::{Device, EpochStore, MintFor, Presented, SameDevice},
};

/// An issuer that renews access tokens, made by [`Issuer::renewing`].
#[derive(Clone, Debug)]
pub struct Renewing<S, C> {
    issuer: Issuer<S>,
    claims: C,
}

impl<S: EpochStore> Issuer<S> {
    /// Renews access tokens of its own for
    /// [`RevocationLayer::renew`](crate::RevocationLayer::renew).
    ///
    /// `claims` is as at a [`refresh`](Issuer::refresh): it reads what the token is to say from where
    /// that is kept, and refuses an account. The device of its grant is not looked at: it is the
    /// request's.
    ///
    /// Nothing is renewed but its own tokens, for the same client and audience, and of these what the
    /// store lets pass: the session must be alive, and no cut-off may
    /// reach the token itself. That moves the idle deadline of the session, and leaves its refresh
    /// tokens alone. To the store it is one statement, if the issuer knows the
    /// [epochs](super::IssuerBuilder::epochs) (two otherwise).
    ///
    /// ```
    /// # use tower_revocation::{Grant, Issuer, RevocationLayer, Verifier, error::ConfigError};
    /// # use tower_revocation::{layer::Renewal, store::MemoryStore};
    /// # fn configure(issuer: &Issuer<MemoryStore>, verifier: Verifier) -> Result<(), ConfigError> {
    /// let claims = async |user| Ok(Grant::new(user));
    /// let layer = RevocationLayer::new(verifier).renew(Renewal::new(issuer.renewing(claims)))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn renewing<C, F>(&self, claims: C) -> Renewing<S, C>
    where
        C: Fn(Id) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Grant, Error>> + Send,
    {
        Renewing { issuer: self.clone(), claims }
    }
}

impl<S, C, F> Renew for Renewing<S, C>
where
    S: EpochStore,
    C: Fn(Id) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Grant, Error>> + Send,
{
    async fn renew(&self, token: &Renewable) -> Result<Renewed, Error> {
        let Self { issuer, claims } = self;
        if !issuer.shared.has_issued(token) {
            return Err(ErrorKind::PartyDiffers.into());
        }
        let presented = Presented {
            stamp: token.stamp(),
            token: token.token().clone(),
            groups: token.groups().to_vec(),
            same: SameDevice {
                ip: token.wants_same_ip(),
                user_agent: token.wants_same_user_agent(),
            },
            revoke: token.revokes(),
        };
        let device = device(token.presenter());
        let claims = |user| {
            let (grant, device) = (claims(user), device.clone());
            async move { Ok(grant.await?.device(device)) }
        };
        let (session, user) = (token.session().clone(), token.user().clone());
        let ticket = issuer.early_ticket().await?;
        let (mint, minted, said) =
            issuer.go_on(ticket, MintFor::Renew(presented), session, user, claims).await?;
        let access = issuer.shared.sign_access(&mint, &minted, &said)?;
        Ok(Renewed::new(access.as_str(), access.expires_in()))
    }
}

impl<S> Shared<S> {
    /// Whether `token` is of this issuer, for the client and audience that the next one would be for:
    /// another application's would get what this one's may do.
    fn has_issued(&self, token: &Renewable) -> bool {
        token.issuer() == self.issuer
            && token.client_id() == Some(&self.client_id)
            && token.audience().any(|audience| audience == self.audience)
    }
}

fn device(Presenter { ip, user_agent }: &Presenter) -> Device {
    let mut device = Device::new();
    if let Some(ip) = ip {
        device = device.with_ip(*ip);
    }
    match user_agent {
        Some(user_agent) => device.with_user_agent(user_agent),
        None => device,
    }
}
