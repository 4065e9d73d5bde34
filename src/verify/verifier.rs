//! The check of a token: the steps, in their order.

use std::{any::TypeId, collections::HashMap, fmt, sync::Arc, time::Duration};

use serde::de::DeserializeOwned;

use super::{
    Authentic, Checked, Rejection, Remembered, Verified, VerifierBuilder, issuer::Issuer, judge,
    origin::Origins, own, record::Record,
};
use crate::{
    clock::Reading,
    epochs::{Epochs, LastSynced},
    error::ConfigError,
    token::{Compact, CryptoBackend, Header, KeySet, Payload, TokenCache},
};

/// Checks tokens. Cheap to clone; all clones share keys and epochs.
///
/// A check awaits nothing and asks no database. The locks it takes are those of a set of tokens, to
/// find one that was [verified before](VerifierBuilder::token_cache_bytes) or to keep it, of a shard of
/// the few cut-offs that found no room in the table and, in doubt, of a set of confirmed tokens. Nobody
/// holds one for longer than it takes to look at a few entries.
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
    issuers: HashMap<String, Arc<Issuer>>,
    cache: Option<TokenCache<Record>>,
    origins: Origins,
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
        issuers: HashMap<String, Arc<Issuer>>,
        cache: Option<TokenCache<Record>>,
    ) -> Self {
        let origins = Origins::default();
        let shared = Shared { epochs, backend, max_token_bytes, issuers, cache, origins };
        Self { shared: Arc::new(shared) }
    }

    /// Checks a token now, by the clock of the epochs.
    ///
    /// `C` is read from the payload too, for the service's own claims; [`NoClaims`](super::NoClaims)
    /// if there are none.
    ///
    /// # Errors
    ///
    /// [`Rejection`] says why the token is refused, or why nothing can be said about it now.
    pub fn verify<C>(&self, token: &[u8]) -> Result<Verified<C>, Rejection>
    where
        C: DeserializeOwned + Send + Sync + 'static,
    {
        self.verify_at(token, self.epochs().clock().now())
    }

    /// Checks a token at `now`, a reading of the epochs' clock.
    ///
    /// # Errors
    ///
    /// As [`verify`](Verifier::verify).
    pub fn verify_at<C>(&self, token: &[u8], now: Reading) -> Result<Verified<C>, Rejection>
    where
        C: DeserializeOwned + Send + Sync + 'static,
    {
        match self.check(token, || Ok(()), now, Duration::MAX)? {
            Checked::Good(verified) => Ok(verified),
            Checked::Expired(_) => Err(Rejection::Expired),
            Checked::Doubtful(_, age) => Err(Rejection::Doubtful { age }),
            Checked::Open(_, age) => Err(Rejection::Stale { age }),
        }
    }

    /// The same for whoever knows what to do while the copy is stale. Over the age `within` it
    /// counts as stale, too. `form` may refuse a token that was not verified before.
    pub(crate) fn check<C>(
        &self,
        bytes: &[u8],
        form: impl FnOnce() -> Result<(), Rejection>,
        now: Reading,
        within: Duration,
    ) -> Result<Checked<C>, Rejection>
    where
        C: DeserializeOwned + Send + Sync + 'static,
    {
        let epochs = self.epochs();
        // First, and used last: a copy that goes stale, or is loaded, in between must not make
        // this look fresher than what is read below.
        let synced = epochs.last_synced(now);
        let known = self.recall(bytes);
        let is_new = known.is_none();
        let verified = match known {
            Some(verified) if cfg!(plant = "cached_verdict") => return Ok(Checked::Good(verified)),
            Some(verified) => verified,
            None => form().and_then(|()| self.authenticate(bytes))?,
        };
        // Before the times, too: a copy that is stale for a machine that slept has a clock that
        // is as old, and a token minted meanwhile seems to come from the future.
        let LastSynced { age, clock } = synced.ok_or(Rejection::NotLoaded)?;
        let token = Authentic::new(verified);
        #[cfg(plant = "cut_offs_before_freshness")]
        if token.in_memory(epochs) == crate::epochs::Verdict::Good
            && epochs.freshness(epochs.clock().now()).is_fresh()
        {
            return Ok(Checked::Good(token.unjudged().clone()));
        }
        if age > within.min(epochs.max_staleness()) {
            return Ok(Checked::Open(token, age));
        }
        match token.times(clock, epochs.lifetimes().leeway()) {
            Err(Rejection::Expired) => return Ok(Checked::Expired(token)),
            times => times?,
        }
        let remembered = token.by_cut_offs(epochs)?;
        if is_new {
            self.keep(bytes, remembered.unjudged(), clock.latest);
        }
        Ok(match remembered {
            Remembered::Good(verified) => Checked::Good(verified),
            Remembered::Doubtful(token) => Checked::Doubtful(token, age),
        })
    }

    /// What [`authenticate`](Self::authenticate) found about the same token before, with the keys that
    /// are in force.
    fn recall<C: 'static>(&self, token: &[u8]) -> Option<Verified<C>> {
        let record = self.shared.cache.as_ref()?.find(token, TypeId::of::<C>())?;
        if record.is_current() { Verified::new(record) } else { None }
    }

    /// One that was found good, or in doubt: others are not worth the room.
    fn keep<C: 'static>(&self, token: &[u8], verified: &Verified<C>, now: Duration) {
        if let Some(cache) = &self.shared.cache {
            cache.keep(token, TypeId::of::<C>(), verified.record().clone(), now.as_secs());
        }
    }

    /// What needs no revocations and no clock: form, signature, claims.
    fn authenticate<C>(&self, bytes: &[u8]) -> Result<Verified<C>, Rejection>
    where
        C: DeserializeOwned + Send + Sync + 'static,
    {
        let Shared { epochs, backend, max_token_bytes, issuers, cache, origins } = &*self.shared;
        let mut buffer = Vec::new();
        let token = Compact::parse(bytes, *max_token_bytes, &mut buffer)?;
        let header = Header::parse(token.header)?;
        let payload = Payload::parse(token.payload).map_err(Rejection::Malformed)?;
        let issuer = issuers.get(&*payload.issuer()?).ok_or(Rejection::UnknownIssuer)?;
        judge::typ(&issuer.rules.typ, header.typ.as_deref())?;
        // Before the keys: see there.
        let generation = issuer.keys.generation();
        let keys = issuer.keys.load();
        let key = keys.find(header.kid.as_deref(), header.algorithm)?;
        if !key.verifies(*backend, token.signed, token.signature) {
            return Err(Rejection::Signature);
        }

        judge::kind(&issuer.rules.typ, &payload)?;
        let held = payload.claims(&issuer.rules)?;
        let claims = held.claims();
        let stamp = judge::claims(issuer, claims, payload.stamp()?)?;
        let own: C = own::claims(&payload)?;
        let fingerprints = epochs.fingerprints(claims.scopes());
        let origin = origins.of(bytes, issuer, generation);
        let token = cache.is_some().then_some(bytes);
        let record = Record::new(origin, held, stamp, fingerprints, own, token);
        Ok(Verified::new(record).expect("its own claims are of this type"))
    }

    /// The epochs it judges by.
    pub fn epochs(&self) -> &Epochs {
        &self.shared.epochs
    }

    /// Replaces the keys of the issuer `iss`, at once: a check that starts after this returned
    /// knows the old ones no more, nor the tokens that were verified with them. Each of the issuer's
    /// tokens is verified again at its next request, even if the keys are the same: so replace them when
    /// they have changed.
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
        issuer.keys.replace(keys);
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
