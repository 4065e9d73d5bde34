//! Where renewal meets a request: before the inner service for a token that has expired, after it for
//! one that is due.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Request, Response, StatusCode};
use serde::de::DeserializeOwned;

use super::{
    layer::Settings,
    policy::Admitted,
    renewal::{Joined, Outcome, Renewable, Renewed, Waiting},
    source::CookieSource,
};
use crate::{
    clock::Reading,
    epochs::Verdict,
    lifetimes::Lifetimes,
    verify::{Authentic, Checked, Rejection},
};

impl Settings {
    /// What there is to renew of a token that has expired. A token that is known to be revoked is
    /// not renewed, whatever the store would say of its session.
    pub(super) fn revivable<C, B>(
        &self,
        token: &Authentic<C>,
        request: &Request<B>,
        now: Reading,
    ) -> Result<Box<Renewable>, Rejection> {
        let renewal = self.renewal.as_ref().ok_or(Rejection::Expired)?;
        let epochs = self.verifier.epochs();
        if let Verdict::Revoked(revoked) = token.in_memory(epochs) {
            return Err(Rejection::Revoked(revoked));
        }
        let clock = epochs.store_clock(now).ok_or(Rejection::NotLoaded)?;
        renewal
            .revivable(token.unjudged(), request, epochs.lifetimes(), clock.latest)
            // Whether the successor can be handed out is for the inner service's answer to say.
            .map(|token| Box::new(token.kept()))
            .ok_or(Rejection::Expired)
    }

    fn join(&self, token: &Renewable) -> Joined {
        let clock = self.verifier.epochs().clock();
        let renewal = self.renewal.as_ref();
        renewal.map_or(Joined::Known(Outcome::Failed), |renewal| renewal.join(token, clock))
    }

    /// Judges a successor as if a request had brought it.
    fn judge<C>(&self, renewed: &Renewed) -> Result<Checked<C>, Rejection>
    where
        C: DeserializeOwned + Send + Sync + 'static,
    {
        let now = self.verifier.epochs().clock().now();
        self.verifier.check(renewed.as_str().as_bytes(), || Ok(()), now, self.fresh_within)
    }
}

/// What the copy in memory says of a successor, and the successor.
type Revived<C> = (Checked<C>, Arc<Renewed>);

/// An expired token on its way to a successor.
pub(super) struct Revival {
    token: Box<Renewable>,
    joined: Joined,
    /// Whether the renewal was begun for it, or for a request before.
    own: bool,
}

impl Revival {
    pub(super) fn begin(token: Box<Renewable>, settings: &Settings) -> Self {
        let joined = settings.join(&token);
        let own = matches!(joined, Joined::Waiting(_));
        Self { token, joined, own }
    }

    /// Resolves when there is one that nothing is known against.
    pub(super) fn poll<C>(
        &mut self,
        settings: &Settings,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Revived<C>, Rejection>>
    where
        C: DeserializeOwned + Send + Sync + 'static,
    {
        loop {
            let renewed = match ready!(self.joined.poll(cx)) {
                Outcome::Renewed(renewed) => renewed,
                Outcome::Refused(rejection) => return Poll::Ready(Err(rejection)),
                Outcome::Failed => return Poll::Ready(Err(Rejection::NotRenewed)),
            };
            let refused = match settings.judge(&renewed) {
                Ok(Checked::Expired(_)) => Rejection::NotRenewed,
                // The stamp of the next one would be above that.
                Ok(Checked::Doubtful(_, age)) if !self.own => Rejection::Doubtful { age },
                // Whatever this copy cannot say of it, it cannot say of the next one.
                Ok(checked) => return Poll::Ready(Ok((checked, renewed))),
                Err(Rejection::Revoked(revoked)) => Rejection::Revoked(revoked),
                // Whatever is wrong with it, it was not the client.
                Err(_) => Rejection::NotRenewed,
            };
            if self.own {
                return Poll::Ready(Err(refused));
            }
            // One from before: it may have been revoked since, and this token not.
            if let Some(renewal) = &settings.renewal {
                renewal.forget(&self.token, &renewed);
            }
            self.joined = settings.join(&self.token);
            self.own = true;
        }
    }
}

/// What there is to do when the inner service has answered.
pub(super) struct After {
    settings: Arc<Settings>,
    what: What,
    /// Where the successor goes, if the token came in one.
    cookie: Option<CookieSource>,
}

enum What {
    Renew(Box<Renewable>),
    HandOut(Arc<Renewed>),
}

impl After {
    /// For a request with a good token; `None` if it is not due.
    #[inline]
    pub(super) fn due<C, B>(
        settings: &Arc<Settings>,
        token: &Admitted<C>,
        request: &Request<B>,
    ) -> Option<Box<Self>> {
        let renewal = settings.renewal.as_ref()?;
        Self::renew(settings, request, |lifetimes, now| {
            renewal.due(token.verified(), request, lifetimes, now)
        })
    }

    /// For a request whose token the store had to confirm: due or not, as long as its session has
    /// room for another.
    pub(super) fn restamp<C, B>(
        settings: &Arc<Settings>,
        token: &Admitted<C>,
        request: &Request<B>,
    ) -> Option<Box<Self>> {
        let renewal = settings.renewal.as_ref()?;
        Self::renew(settings, request, |lifetimes, now| {
            renewal.revivable(token.verified(), request, lifetimes, now)
        })
    }

    fn renew<B>(
        settings: &Arc<Settings>,
        request: &Request<B>,
        token: impl FnOnce(Lifetimes, Duration) -> Option<Box<Renewable>>,
    ) -> Option<Box<Self>> {
        let epochs = settings.verifier.epochs();
        let clock = epochs.store_clock(epochs.clock().now())?;
        let token = token(epochs.lifetimes(), clock.latest)?;
        let cookie = settings.sources.cookie_of(request);
        Some(Box::new(Self { settings: settings.clone(), what: What::Renew(token), cookie }))
    }

    /// For a request whose token was renewed already.
    pub(super) fn hand_out<B>(
        settings: Arc<Settings>,
        renewed: Arc<Renewed>,
        request: &Request<B>,
    ) -> Box<Self> {
        let cookie = settings.sources.cookie_of(request);
        Box::new(Self { settings, what: What::HandOut(renewed), cookie })
    }

    /// Does it, or begins to.
    pub(super) fn answered<B>(self, response: &Response<B>) -> Option<HandingOut> {
        let Self { settings, what, cookie } = self;
        let is_told = |cookie: &CookieSource| cookie.is_set_in(response.headers());
        // Whoever follows sees the headers of the last answer alone (browsers keep the cookies of all),
        // and brings the old token there. What is renewed already has no better chance.
        let status = response.status();
        let goes_elsewhere = status.is_redirection() && status != StatusCode::NOT_MODIFIED;
        // Nor does a script see those that a websocket begins with.
        let is_lost = cookie.is_none()
            && matches!(what, What::Renew(_))
            && (goes_elsewhere || status.is_informational());
        if is_lost
            || !settings.renewal.as_ref().is_some_and(|renewal| renewal.goes_with(response))
            || cookie.as_ref().is_some_and(is_told)
        {
            return None;
        }
        let (joined, token) = match what {
            What::Renew(token) => (settings.join(&token), Some(token)),
            What::HandOut(renewed) => (Joined::Known(Outcome::Renewed(renewed)), None),
        };
        Some(HandingOut { settings, joined, token, cookie })
    }
}

/// A response that waits for a successor.
pub(super) struct HandingOut {
    settings: Arc<Settings>,
    joined: Joined,
    /// The one that was presented, unless it had expired.
    token: Option<Box<Renewable>>,
    cookie: Option<CookieSource>,
}

impl HandingOut {
    /// Writes it into the response; nothing, if there is none to be had.
    pub(super) fn poll<C, B>(
        &mut self,
        response: &mut Response<B>,
        cx: &mut Context<'_>,
    ) -> Poll<()>
    where
        C: DeserializeOwned + Send + Sync + 'static,
    {
        let Self { settings, joined, token, cookie } = self;
        // One from before this request's own doings, which a copy in buckets cannot tell from a
        // neighbour's.
        let is_known = matches!(joined, Joined::Known(_));
        let outcome = ready!(joined.poll(cx));
        // The one of a request before is not held against what this one has done. (A token that is
        // revoked with its renewal is known to be, by now.)
        let is_revoked = |token: &Renewable| {
            !token.revokes() && token.in_memory(settings.verifier.epochs()).is_revoked()
        };
        if token.as_deref().is_some_and(is_revoked) {
            return Poll::Ready(());
        }
        if let (Outcome::Renewed(renewed), Some(renewal)) = (outcome, &settings.renewal)
            // What this request has revoked itself, by a change of the password for instance, may
            // have come after it.
            // A copy that is stale knows nothing against it either; and the one that the client has
            // may be revoked with this.
            && let Ok(checked @ (Checked::Good(_) | Checked::Open(..) | Checked::Doubtful(..))) =
                settings.judge::<C>(&renewed)
            && !(is_known && matches!(checked, Checked::Doubtful(..)))
        {
            match cookie {
                None => renewal.hand_out(&renewed, response),
                Some(cookie) => {
                    // As long as an expired token can be renewed.
                    let max_age = settings.verifier.epochs().lifetimes().idle();
                    cookie.replace(renewed.as_str(), max_age, response.headers_mut());
                }
            }
        }
        Poll::Ready(())
    }
}

impl Joined {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        match self {
            Self::Known(outcome) => Poll::Ready(outcome.clone()),
            Self::Waiting(waiting) => {
                let waiting: &mut Waiting = waiting;
                // An error: its task went away.
                Poll::Ready(ready!(Pin::new(waiting).poll(cx)).unwrap_or(Outcome::Failed))
            }
        }
    }
}
