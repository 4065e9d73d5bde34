//! The layer and its settings.

use std::{fmt, marker::PhantomData, sync::Arc};

use bytes::Bytes;
use http::Response;
use tower_layer::Layer;

use super::{RevocationService, reject::Refusal};
use crate::{
    error::ConfigError,
    verify::{NoClaims, Rejection, Verifier},
};

/// Lets only requests through whose bearer token is good and not revoked.
///
/// The check is synchronous and asks no database: the token's signature, its claims, then the
/// revocations in memory. What passed finds its proof, a
/// [`Verified<C>`](crate::verify::Verified), among the request's extensions; what did not is
/// answered here and never reaches the inner service. See the [module](super) for how to reach
/// the proof in hyper, axum and tonic, and for the answers.
///
/// `C` holds the service's own claims. It is any type that deserializes; it needs no `Clone`.
///
/// A layer is cheap to clone. Wrapping a service costs a reference count and starts nothing.
pub struct RevocationLayer<C = NoClaims> {
    settings: Arc<Settings>,
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
}

impl RevocationLayer {
    /// A layer that checks tokens with `verifier`, in the realm `api`, with the default answers.
    pub fn new(verifier: Verifier) -> Self {
        let realm = String::from("api");
        let settings = Settings { verifier, realm, optional: false, on_rejection: None };
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
    /// Handlers have to tell the two apart. In axum they ask for `Option<Verified<C>>`.
    #[must_use]
    pub fn optional(mut self) -> Self {
        Arc::make_mut(&mut self.settings).optional = true;
        self
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
    /// The answer to a refused request.
    pub(super) fn refuse(&self, rejection: &Rejection, grpc: bool) -> Response<Bytes> {
        let refusal = Refusal::new(rejection, &self.realm, grpc);
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
            .field("on_rejection", &self.on_rejection.as_ref().map(|_| "custom"))
            .finish()
    }
}
