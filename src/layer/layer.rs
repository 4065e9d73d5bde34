//! The layer and its settings.

use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Response};
use tower_layer::Layer;

use super::{
    Confirmations, Renewal, RevocationService, grpc, policy::Policy, reject::Refusal,
    ruling::WhileStale, source::Sources,
};
use crate::{
    error::ConfigError,
    telemetry,
    verify::{NoClaims, Rejection, Verifier},
};

/// A younger copy is asked for by mistake: a poll takes about that long.
const LEAST_FRESH: Duration = Duration::from_millis(10);

/// Trust beyond this is no bound.
const LONGEST_TRUST: Duration = Duration::from_secs(86_400);

/// Lets only requests through whose bearer token is good and not revoked.
///
/// The check is synchronous and asks no database: the token's signature, its claims, then the
/// revocations in memory. What passed finds its proof, a
/// [`Verified<C>`](crate::verify::Verified), among the request's extensions; what did not is
/// answered here and never reaches the inner service. While the revocations in memory are stale,
/// that is everything, unless the layer is told [otherwise](super#while-the-copy-is-stale). See the
/// [module](super) for how to reach the proof in hyper, axum and tonic, and for the answers.
///
/// `C` holds the service's own claims. It is any type that deserializes; it needs no `Clone`.
///
/// A layer is cheap to clone. Wrapping a service costs a reference count and starts nothing.
pub struct RevocationLayer<C = NoClaims> {
    pub(super) settings: Arc<Settings>,
    claims: PhantomData<fn() -> C>,
}

type OnRejection = dyn Fn(&Refusal<'_>) -> Response<Bytes> + Send + Sync;

/// What all services of a layer share.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) verifier: Verifier,
    realm: String,
    pub(super) optional: bool,
    on_rejection: Option<Arc<OnRejection>>,
    /// Over this age the copy is stale here; the epochs have a bound of their own.
    pub(super) fresh_within: Duration,
    pub(super) while_stale: WhileStale,
    /// Who is asked about a token that a copy in buckets is in doubt about.
    pub(super) in_doubt: Option<Confirmations>,
    /// Who is asked about the session of each request.
    pub(super) sessions: Option<Confirmations>,
    pub(super) policy: Policy,
    pub(super) sources: Sources,
    pub(super) renewal: Option<Renewal>,
}

impl RevocationLayer {
    /// A layer that checks tokens with `verifier`, in the realm `api`, with the default answers.
    pub fn new(verifier: Verifier) -> Self {
        let realm = String::from("api");
        let settings = Settings {
            verifier,
            realm,
            optional: false,
            on_rejection: None,
            fresh_within: Duration::MAX,
            while_stale: WhileStale::Refuse,
            in_doubt: None,
            sessions: None,
            policy: Policy::default(),
            sources: Sources::default(),
            renewal: None,
        };
        Self { settings: Arc::new(settings), claims: PhantomData }
    }
}

impl<C> RevocationLayer<C> {
    /// Reads the token's own claims as `D` from now on.
    ///
    /// A token whose claims do not deserialize is refused with
    /// [`Rejection::CustomClaims`]. Handlers have to ask for `Verified<D>`, with the same type.
    #[must_use]
    pub fn claims<D>(self) -> RevocationLayer<D> {
        RevocationLayer { settings: self.settings, claims: PhantomData }
    }

    /// Names the protection space in `WWW-Authenticate`; `api` by default.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Realm`] unless it is printable ASCII without `"` and `\`, and not empty:
    /// others could leave the quoted string and forge parameters.
    pub fn realm(mut self, realm: &str) -> Result<Self, ConfigError> {
        let quotable = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
        if realm.is_empty() || !realm.bytes().all(quotable) {
            return Err(ConfigError::Realm { realm: realm.to_owned() });
        }
        Arc::make_mut(&mut self.settings).realm = realm.to_owned();
        Ok(self)
    }

    /// Lets requests without a bearer token through as well, as nobody's: they carry no proof. One
    /// with a bad token is refused as ever, and so is one with two.
    ///
    /// What the layer [asks for](super#what-a-route-asks-for) holds for the tokens that are there: a
    /// stranger passes where a caller without the permission does not.
    ///
    /// Handlers have to tell the two apart. In axum they ask for `Option<Verified<C>>`.
    #[must_use]
    pub fn optional(mut self) -> Self {
        Arc::make_mut(&mut self.settings).optional = true;
        self
    }

    /// Takes the copy of the revocations for stale when it is older than `within`, for routes where
    /// the bound of the epochs is too long. What is done then is what this layer does while stale.
    ///
    /// A copy is as old as the last poll, so in good times up to a poll's interval. Leave room for
    /// three, or have the store [asked](RevocationLayer::confirm_while_stale).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Duration`] if it is under 10 ms, or over the
    /// [`max_staleness`](crate::epochs::EpochsBuilder::max_staleness) of the epochs, and so would
    /// tighten nothing. [`ConfigError::Contradiction`] if the layer trusts a stale copy.
    pub fn require_fresh(mut self, within: Duration) -> Result<Self, ConfigError> {
        let refuse =
            |problem| Err(ConfigError::Duration { field: "require_fresh", value: within, problem });
        if within < LEAST_FRESH {
            return refuse("is under 10 ms");
        }
        if within > self.settings.verifier.epochs().max_staleness() {
            return refuse("is over the max_staleness of the epochs");
        }
        Arc::make_mut(&mut self.settings).fresh_within = within;
        self.without_contradiction()
    }

    /// Asks the store about each token that a fresh copy [in
    /// buckets](crate::epochs::EpochsBuilder::buckets) is in doubt about. An exact copy never is.
    ///
    /// The request waits for the answer, and is judged by it: accepted, or refused with 401 as
    /// expired or revoked. If the store does not answer in time, or knows less than the copy, it is
    /// refused with 503. A token that the store has confirmed is asked about again only after
    /// another revocation in its buckets, as long as the copy [remembers
    /// it](crate::epochs::EpochsBuilder::buckets).
    ///
    /// Without this such a token is refused with 503,
    /// [`Rejection::Doubtful`](crate::verify::Rejection::Doubtful).
    #[must_use]
    pub fn confirm_doubtful(mut self, confirmations: Confirmations) -> Self {
        Arc::make_mut(&mut self.settings).in_doubt = Some(confirmations);
        self
    }

    /// Refuses with 503 while the copy of the revocations is stale. The default.
    #[must_use]
    pub fn refuse_while_stale(mut self) -> Self {
        Arc::make_mut(&mut self.settings).while_stale = WhileStale::Refuse;
        self
    }

    /// Asks the store about the token of each request while the copy of the revocations is stale.
    ///
    /// The request waits for the answer, and is judged by it: accepted, or refused with 401 as
    /// expired or revoked. If the store does not answer in time, or knows less than the copy, it is
    /// refused with 503. What was revoked before the request arrived is not accepted, so for as
    /// long as the copy is stale, a revocation holds at once.
    ///
    /// It has to be the store that the epochs follow. Give all layers of a service a clone of the
    /// same [`Confirmations`].
    ///
    /// ```
    /// # use tower_revocation::{EpochStore, RevocationLayer, Verifier, layer::Confirmations};
    /// # fn configure(store: impl EpochStore, verifier: Verifier) {
    /// let confirmations = Confirmations::new(store);
    /// let layer = RevocationLayer::new(verifier).confirm_while_stale(confirmations);
    /// # }
    /// ```
    #[must_use]
    pub fn confirm_while_stale(mut self, confirmations: Confirmations) -> Self {
        Arc::make_mut(&mut self.settings).while_stale = WhileStale::Confirm(confirmations);
        self
    }

    /// Judges tokens by the stale copy for the time `extra` after it went stale; then 503.
    ///
    /// **A revoked token may be accepted for that much longer.** The bound on this layer's routes
    /// is `max_staleness` *and* `extra`, and it is the fleet's, too. For routes where being down is
    /// worse than that.
    ///
    /// What the stale copy would refuse gets 503, not 401: it may have been cleared since.
    ///
    /// In a [fleet](crate::Follower::in_fleet) it begins once the store knows of that longer bound, with
    /// the next poll that is sent.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Duration`] if `extra` is zero or over a day. [`ConfigError::Contradiction`]
    /// if the layer [requires a fresher copy](RevocationLayer::require_fresh) than others.
    pub fn dangerous_trust_while_stale(mut self, extra: Duration) -> Result<Self, ConfigError> {
        let refuse = |problem| {
            Err(ConfigError::Duration {
                field: "dangerous_trust_while_stale",
                value: extra,
                problem,
            })
        };
        if extra.is_zero() {
            return refuse("is zero");
        }
        if extra > LONGEST_TRUST {
            return refuse("is over a day");
        }
        Arc::make_mut(&mut self.settings).while_stale = WhileStale::Trust { extra };
        let layer = self.without_contradiction()?;
        layer.settings.verifier.epochs().bound().trust_for(extra);
        Ok(layer)
    }

    /// Renews tokens on the way: what is due, and what has expired within the limits of its session.
    /// See [`Renewal`] for what that means.
    ///
    /// Only tokens of this crate's issuers are, that the verifier knows
    /// [by store time](crate::verify::IssuerRules::store_time) and without a prefix. For expired ones its keys
    /// have to be [kept](crate::KeyRing::renews_expired) for as long.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Duration`] if the renewal waits for longer than access tokens live.
    pub fn renew(mut self, renewal: Renewal) -> Result<Self, ConfigError> {
        renewal.check(self.settings.verifier.epochs().lifetimes())?;
        Arc::make_mut(&mut self.settings).renewal = Some(renewal);
        Ok(self)
    }

    pub(super) fn without_renewal(mut self) -> Self {
        Arc::make_mut(&mut self.settings).renewal = None;
        self
    }

    pub(super) fn treating_sessions(mut self, sessions: Option<Confirmations>) -> Self {
        Arc::make_mut(&mut self.settings).sessions = sessions;
        self
    }

    /// A route that needs a fresher copy than others, made from a layer that believes a stale one,
    /// would have neither.
    fn without_contradiction(self) -> Result<Self, ConfigError> {
        let Settings { fresh_within, while_stale, .. } = &*self.settings;
        if *fresh_within < Duration::MAX && matches!(while_stale, WhileStale::Trust { .. }) {
            return Err(ConfigError::Contradiction {
                first: "require_fresh",
                second: "dangerous_trust_while_stale",
            });
        }
        Ok(self)
    }

    /// Answers refused requests with `respond`, those of gRPC too.
    ///
    /// It decides about the answer, not about the refusal: there is no way back to the inner
    /// service. [`Refusal::to_response`] is the default answer, to start from;
    /// [`Refusal::is_grpc`] tells whether an answer in HTTP's own terms would be misunderstood.
    /// Keep 503 for [`Rejection::is_unavailable`]: on 401, clients throw sessions away.
    ///
    /// ```
    /// # use tower_revocation::{layer::RevocationLayer, verify::Verifier};
    /// # fn configure(verifier: Verifier) -> RevocationLayer {
    /// RevocationLayer::new(verifier).on_rejection(|refusal| {
    ///     let mut response = refusal.to_response();
    ///     let reason = http::HeaderValue::from_static(refusal.rejection().reason());
    ///     response.headers_mut().insert("x-refused", reason);
    ///     response
    /// })
    /// # }
    /// ```
    #[must_use]
    pub fn on_rejection<F>(mut self, respond: F) -> Self
    where
        F: Fn(&Refusal<'_>) -> Response<Bytes> + Send + Sync + 'static,
    {
        Arc::make_mut(&mut self.settings).on_rejection = Some(Arc::new(respond));
        self
    }
}

impl<S, C> Layer<S> for RevocationLayer<C> {
    type Service = RevocationService<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        RevocationService::new(inner, self.settings.clone())
    }
}

// By hand, as a derive would ask for `C: Clone`.
impl<C> Clone for RevocationLayer<C> {
    fn clone(&self) -> Self {
        Self { settings: self.settings.clone(), claims: PhantomData }
    }
}

impl<C> fmt::Debug for RevocationLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationLayer").field("settings", &self.settings).finish()
    }
}

impl Settings {
    /// The answer to a refused request with these headers.
    pub(super) fn refuse(&self, rejection: &Rejection, headers: &HeaderMap) -> Response<Bytes> {
        telemetry::refused(rejection.reason(), rejection);
        let grpc = grpc::is_grpc(headers);
        let refusal = Refusal::new(rejection, &self.realm, &self.policy, grpc);
        match &self.on_rejection {
            Some(respond) => respond(&refusal),
            None => refusal.to_response(),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("verifier", &self.verifier)
            .field("realm", &self.realm)
            .field("optional", &self.optional)
            .field("fresh_within", &self.fresh_within)
            .field("while_stale", &self.while_stale)
            .field("in_doubt", &self.in_doubt)
            .field("sessions", &self.sessions)
            .field("policy", &self.policy)
            .field("sources", &self.sources)
            .field("renewal", &self.renewal)
            .field("on_rejection", &self.on_rejection.as_ref().map(|_| "custom"))
            .finish()
    }
}
