//! The check of a token: the steps, in their order.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use serde::de::DeserializeOwned;

use super::{
    Authentic, Checked, IssuerRules, Rejection, Remembered, Verified, VerifierBuilder, judge,
};
use crate::{
    clock::Reading,
    epochs::{Epochs, Freshness},
    error::ConfigError,
    token::{Compact, CryptoBackend, Header, KeySet, Payload},
};

/// Checks tokens. Cheap to clone; all clones share keys and epochs.
///
/// A check awaits nothing and asks no database. The one lock it may take is that of a shard of the
/// table of cut-offs, which nobody holds for longer than the table's own work on that shard; or, in
/// doubt, that of a set of confirmed tokens.
///
/// ```
/// use tower_revocation::{
///     NoClaims, Rejection, Verifier,
///     epochs::Epochs,
///     token::{Algorithm, KeySet, SigningKey},
///     verify::{IssuerRules, Malformed},
/// };
///
/// # fn main() -> Result<(), tower_revocation::error::ConfigError> {
/// let key = SigningKey::generate(Algorithm::EdDSA)?;
/// let epochs = Epochs::new();
/// let verifier = Verifier::builder(epochs.clone())
///     .issuer(
///         IssuerRules::new("https://id.example", KeySet::new([key.verifying_key()])?)
///             .audience("https://api.example"),
///     )
///     .build()?;
///
/// let refused = verifier.verify::<NoClaims>(b"no token").unwrap_err();
/// assert_eq!(refused, Rejection::Malformed(Malformed::Segments));
///
/// // An issuer must say whom its tokens are for.
/// let anyone = IssuerRules::new("https://id.example", KeySet::new([key.verifying_key()])?);
/// assert!(Verifier::builder(epochs).issuer(anyone).build().is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Verifier {
    shared: Arc<Shared>,
}

struct Shared {
    epochs: Epochs,
    backend: CryptoBackend,
    max_token_bytes: usize,
    issuers: HashMap<Arc<str>, Issuer>,
}

/// An issuer, its rules checked.
pub(super) struct Issuer {
    pub(super) name: Arc<str>,
    pub(super) rules: IssuerRules,
    pub(super) max_lifetime: Duration,
    /// The keys in force; those in `rules` were the first.
    pub(super) keys: ArcSwap<KeySet>,
}

impl Verifier {
    /// A verifier that judges by `epochs`. Add at least one issuer.
    pub fn builder(epochs: Epochs) -> VerifierBuilder {
        VerifierBuilder::new(epochs)
    }

    pub(super) fn new(
        epochs: Epochs,
        backend: CryptoBackend,
        max_token_bytes: usize,
        issuers: HashMap<Arc<str>, Issuer>,
    ) -> Self {
        Self { shared: Arc::new(Shared { epochs, backend, max_token_bytes, issuers }) }
    }

    /// Checks a token now, by the clock of the epochs.
    ///
    /// `C` is read from the payload too, for the service's own claims; [`NoClaims`](super::NoClaims)
    /// if there are none.
    ///
    /// # Errors
    ///
    /// [`Rejection`] says why the token is refused, or why nothing can be said about it now.
    pub fn verify<C: DeserializeOwned>(&self, token: &[u8]) -> Result<Verified<C>, Rejection> {
        self.verify_at(token, self.epochs().clock().now())
    }

    /// Checks a token at `now`, a reading of the epochs' clock.
    ///
    /// # Errors
    ///
    /// As [`verify`](Verifier::verify).
    pub fn verify_at<C: DeserializeOwned>(
        &self,
        token: &[u8],
        now: Reading,
    ) -> Result<Verified<C>, Rejection> {
        match self.check(token, now, Duration::MAX)? {
            Checked::Good(verified) => Ok(verified),
            Checked::Expired(_) => Err(Rejection::Expired),
            Checked::Doubtful(_, age) => Err(Rejection::Doubtful { age }),
            Checked::Open(_, age) => Err(Rejection::Stale { age }),
        }
    }

    /// The same for whoever knows what to do while the copy is stale. Over the age `within` it
    /// counts as stale, too.
    pub(crate) fn check<C: DeserializeOwned>(
        &self,
        token: &[u8],
        now: Reading,
        within: Duration,
    ) -> Result<Checked<C>, Rejection> {
        let epochs = self.epochs();
        // First, and used last: a copy that goes stale, or is loaded, in between must not make
        // this look fresher than what is read below.
        let freshness = epochs.freshness(now);
        let token = self.authenticate(token)?;
        // Before the times, too: a copy that is stale for a machine that slept has a clock that
        // is as old, and a token minted meanwhile seems to come from the future.
        let age = match freshness {
            Freshness::Fresh { age } if age <= within => age,
            Freshness::Fresh { age } | Freshness::Stale { age } => {
                return Ok(Checked::Open(token, age));
            }
            Freshness::NotLoaded => return Err(Rejection::NotLoaded),
        };
        let clock = epochs.store_clock(now).ok_or(Rejection::NotLoaded)?;
        if token.is_expired(clock, epochs.lifetimes().leeway()) {
            return Ok(Checked::Expired(token));
        }
        token.by_memory(epochs, clock).map(|remembered| match remembered {
            Remembered::Good(verified) => Checked::Good(verified),
            Remembered::Doubtful(token) => Checked::Doubtful(token, age),
        })
    }

    /// What needs no revocations and no clock: form, signature, claims.
    fn authenticate<C: DeserializeOwned>(&self, token: &[u8]) -> Result<Authentic<C>, Rejection> {
        let Shared { backend, max_token_bytes, issuers, .. } = &*self.shared;
        let token = Compact::parse(token, *max_token_bytes)?;
        let header = Header::parse(&token.header)?;
        let payload = Payload::parse(&token.payload).map_err(Rejection::Malformed)?;
        let issuer = issuers.get(&*payload.issuer()?).ok_or(Rejection::UnknownIssuer)?;
        judge::typ(&issuer.rules.typ, header.typ.as_deref())?;
        let keys = issuer.keys.load();
        let key = keys.find(header.kid.as_deref(), header.algorithm)?;
        if !key.verifies(*backend, token.signed, &token.signature) {
            return Err(Rejection::Signature);
        }

        judge::kind(&issuer.rules.typ, &payload)?;
        let claims = payload.claims(&issuer.rules)?;
        let stamp = judge::claims(issuer, &claims)?;
        let own = serde_json::from_str(&token.payload).map_err(|_| Rejection::CustomClaims)?;
        let (name, store_time) = (issuer.name.clone(), issuer.rules.store_time);
        Ok(Authentic::new(Verified::new(name, claims, stamp, store_time, own)))
    }

    /// The epochs it judges by.
    pub fn epochs(&self) -> &Epochs {
        &self.shared.epochs
    }

    /// Replaces the keys of the issuer `iss`, at once: a check that starts after this returned
    /// knows the old ones no more.
    ///
    /// # Errors
    ///
    /// [`ConfigError::UnknownIssuer`] if there is none, [`ConfigError::Key`] if the crypto
    /// library cannot verify with one of the keys. The old keys stay in force then.
    pub fn replace_keys(&self, iss: &str, keys: KeySet) -> Result<(), ConfigError> {
        let issuer = self
            .shared
            .issuers
            .get(iss)
            .ok_or_else(|| ConfigError::UnknownIssuer { issuer: iss.to_owned() })?;
        keys.usable_with(self.shared.backend)?;
        issuer.keys.store(Arc::new(keys));
        Ok(())
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("issuers", &self.shared.issuers.keys())
            .field("backend", &self.shared.backend)
            .field("epochs", &self.shared.epochs)
            .finish_non_exhaustive()
    }
}
