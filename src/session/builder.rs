//! The settings of an issuer.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use super::{
    Issuer, KeyRing,
    issuer::Shared,
    refresh::{Reuse, ReuseHook},
};
use crate::{
    clock::whole_seconds,
    epochs::Epochs,
    error::ConfigError,
    lifetimes::Lifetimes,
    store::{EpochStore, OverLimit, SessionLimit},
};

/// The longest grace time: within it nobody hears of a theft.
const MAX_GRACE: Duration = Duration::from_secs(60);

/// The settings of an [`Issuer`].
#[derive(Debug)]
pub struct IssuerBuilder<S> {
    store: S,
    keys: KeyRing,
    epochs: Option<Epochs>,
    lifetimes: Option<Lifetimes>,
    issuer: String,
    audience: String,
    client_id: String,
    access_lifetime: Option<Duration>,
    access_jitter: Option<Duration>,
    refresh_grace: Duration,
    on_reuse: Option<ReuseHook>,
    session_limit: Option<SessionLimit>,
}

impl<S: EpochStore> IssuerBuilder<S> {
    pub(super) fn new(store: S, keys: KeyRing) -> Self {
        Self {
            store,
            keys,
            epochs: None,
            lifetimes: None,
            issuer: String::new(),
            audience: String::new(),
            client_id: String::new(),
            access_lifetime: None,
            access_jitter: None,
            refresh_grace: Duration::from_secs(10),
            on_reuse: None,
            session_limit: None,
        }
    }

    /// The claim `iss`, a URL. Required.
    #[must_use]
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = issuer.into();
        self
    }

    /// The claim `aud`: the service that the tokens are for. Required.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = audience.into();
        self
    }

    /// The claim `client_id`: the application that logs users in. Required.
    #[must_use]
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = client_id.into();
        self
    }

    /// The lifetimes of the fleet; those of the [`Epochs`](crate::Epochs) that check the tokens, and
    /// taken from them if the issuer [knows](IssuerBuilder::epochs) them.
    #[must_use]
    pub fn lifetimes(mut self, lifetimes: Lifetimes) -> Self {
        self.lifetimes = Some(lifetimes);
        self
    }

    /// The epochs of this process: a refresh then asks the memory, and not the store, which
    /// revocation is the newest. One statement instead of two. Their lifetimes are the issuer's.
    #[must_use]
    pub fn epochs(mut self, epochs: Epochs) -> Self {
        self.epochs = Some(epochs);
        self
    }

    /// How long an access token lives, rounded up to whole seconds, and never longer than its
    /// session. By default and at most [`Lifetimes::access`].
    #[must_use]
    pub fn access_lifetime(mut self, lifetime: Duration) -> Self {
        self.access_lifetime = Some(lifetime);
        self
    }

    /// By how much an access token's life may be shorter, in whole seconds, at random: so that the
    /// tokens of a morning do not expire together. By default a tenth of the life.
    #[must_use]
    pub fn access_jitter(mut self, jitter: Duration) -> Self {
        self.access_jitter = Some(jitter);
        self
    }

    /// For how long a spent refresh token is no sign of a theft though its successor was used,
    /// counted from when it was first spent: for tabs that refresh at once, and answers that are
    /// late. Ten seconds by default, a minute at most. The last hundred that were spent are
    /// remembered; one from before them is a theft.
    #[must_use]
    pub fn refresh_grace(mut self, grace: Duration) -> Self {
        self.refresh_grace = grace;
        self
    }

    /// Is told when a spent refresh token comes back and its session was revoked for that: to
    /// warn the user, for instance. Called once for each such session, in the task that has
    /// revoked it; it must not block. The crate counts and logs it, too.
    #[must_use]
    pub fn on_reuse(mut self, hook: impl Fn(&Reuse) + Send + Sync + 'static) -> Self {
        self.on_reuse = Some(ReuseHook(Box::new(hook)));
        self
    }

    /// How many sessions a user may have at once, and what becomes of a login that would be one more.
    /// By default as many as they like; one makes each login end the one before.
    ///
    /// It is decided where sessions are written, so that it holds for logins at the same moment at
    /// different instances too, as long as all of them have the same limit. A login then waits for
    /// revocations and for other such logins. Only sessions count that are alive; those that are ended
    /// are revoked, and their access tokens are refused by every instance. Access tokens
    /// [without a session](Issuer::issue) are not counted.
    #[must_use]
    pub fn max_sessions(mut self, sessions: NonZeroU32, over: OverLimit) -> Self {
        self.session_limit = Some(SessionLimit { sessions, over });
        self
    }

    /// Builds the issuer.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Missing`] names a required setting, [`ConfigError::Duration`] a lifetime
    /// that is zero or over the maximum, a jitter that leaves nothing of it, or a grace time over
    /// a minute; [`ConfigError::LifetimesDiffer`].
    pub fn build(self) -> Result<Issuer<S>, ConfigError> {
        for (field, value) in
            [("issuer", &self.issuer), ("audience", &self.audience), ("client_id", &self.client_id)]
        {
            if value.is_empty() {
                return Err(ConfigError::Missing { field });
            }
        }
        let of_epochs = self.epochs.as_ref().map(Epochs::lifetimes);
        let lifetimes = self.lifetimes.or(of_epochs).unwrap_or_default();
        if of_epochs.is_some_and(|of_epochs| of_epochs != lifetimes) {
            return Err(ConfigError::LifetimesDiffer);
        }
        let maximum = lifetimes.access();
        let asked = self.access_lifetime.unwrap_or(Duration::from_secs(maximum.as_secs()));
        let refuse = |problem| {
            Err(ConfigError::Duration { field: "access_lifetime", value: asked, problem })
        };
        if asked.is_zero() {
            return refuse("is zero");
        }
        let access_lifetime = Duration::from_secs(whole_seconds(asked));
        if access_lifetime > maximum {
            return refuse("is over the longest access token's life, in whole seconds");
        }
        let jitter = self.access_jitter.unwrap_or(access_lifetime / 10);
        let access_jitter = Duration::from_secs(jitter.as_secs());
        if access_jitter >= access_lifetime {
            let (field, problem) = ("access_jitter", "leaves nothing of an access token's life");
            return Err(ConfigError::Duration { field, value: jitter, problem });
        }
        if self.refresh_grace > MAX_GRACE {
            let (field, value) = ("refresh_grace", self.refresh_grace);
            return Err(ConfigError::Duration { field, value, problem: "is over a minute" });
        }
        Ok(Issuer {
            shared: Arc::new(Shared {
                store: self.store,
                keys: self.keys,
                epochs: self.epochs,
                lifetimes,
                issuer: self.issuer,
                audience: self.audience,
                client_id: self.client_id,
                access_lifetime,
                access_jitter,
                refresh_grace: self.refresh_grace,
                on_reuse: self.on_reuse,
                session_limit: self.session_limit,
            }),
        })
    }
}
