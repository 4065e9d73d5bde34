//! Signing keys: made, kept in a directory, rotated.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use super::{
    key_files::KeyFiles,
    ring::{AgedKey, Ring, made_after},
    rotation::Rotation,
};
use crate::{
    clock::Clock,
    error::ConfigError,
    lifetimes::Lifetimes,
    token::{Algorithm, KeySet, SigningKey},
};

/// The issuer's signing keys. A handle, cheap to clone.
///
/// In a directory each key is a file `made-at.algorithm.kid.pem`, PKCS#8, readable by its owner
/// only, written whole or not at all. A fleet shares the directory; keys never enter the
/// database, so a dump of it signs nothing.
///
/// Rotating refuses no live token: a new key is [published](KeyRing::publish_ahead) first, signs
/// once every instance has had time to learn it, and the old one verifies until its last token
/// has expired. To learn it is the service's part, in every instance and more often than
/// `publish_ahead`: [`reload`](KeyRing::reload) the ring, and hand its
/// [`key_set`](KeyRing::key_set) to [`Verifier::replace_keys`](crate::Verifier::replace_keys).
#[derive(Clone)]
pub struct KeyRing {
    shared: Arc<Shared>,
    publish_ahead: Duration,
}

struct Shared {
    keys: Ring,
    /// `None` in memory.
    files: Option<KeyFiles>,
    clock: Clock,
}

impl KeyRing {
    /// A ring of one key, in memory.
    pub fn new(key: SigningKey) -> Self {
        Self::with(vec![AgedKey { made_at: Duration::ZERO, key }], None, Clock::system())
    }

    /// The keys in `directory`; if there are none, the first is made. Of several processes that
    /// start at once, one makes it.
    ///
    /// Blocks on files: call it at start.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeyDirectory`] if files cannot be read or written, [`ConfigError::Key`] if
    /// one is damaged or the algorithm's keys cannot be made.
    pub fn open(directory: impl Into<PathBuf>, algorithm: Algorithm) -> Result<Self, ConfigError> {
        Self::open_with(directory, algorithm, Clock::system())
    }

    /// [`open`](KeyRing::open) with another clock, for tests.
    ///
    /// # Errors
    ///
    /// See [`open`](KeyRing::open).
    pub fn open_with(
        directory: impl Into<PathBuf>,
        algorithm: Algorithm,
        clock: Clock,
    ) -> Result<Self, ConfigError> {
        let files = KeyFiles::new(directory.into());
        let keys = files.locked(|| {
            let keys = files.read()?;
            if keys.is_empty() {
                let key = SigningKey::generate(algorithm)?;
                files.write(&key, made_after(&keys, clock.now().wall))?;
                return files.read_some();
            }
            Ok(keys)
        })?;
        Ok(Self::with(keys, Some(files), clock))
    }

    fn with(keys: Vec<AgedKey>, files: Option<KeyFiles>, clock: Clock) -> Self {
        let shared = Shared { keys: Ring::new(keys), files, clock };
        Self { shared: Arc::new(shared), publish_ahead: Duration::from_secs(60) }
    }

    /// How long a new key is published before it signs: at least the interval at which instances
    /// [`reload`](KeyRing::reload). A minute by default; the same in the whole fleet.
    #[must_use]
    pub fn publish_ahead(mut self, publish_ahead: Duration) -> Self {
        self.publish_ahead = publish_ahead;
        self
    }

    /// Makes the next key and publishes it. It signs after
    /// [`publish_ahead`](KeyRing::publish_ahead).
    ///
    /// # Errors
    ///
    /// See [`open`](KeyRing::open). A ring in memory takes the key all the same.
    pub fn rotate(&self, algorithm: Algorithm) -> Result<(), ConfigError> {
        let (shared, now) = (&self.shared, self.now());
        let key = SigningKey::generate(algorithm)?;
        let Some(files) = &shared.files else {
            shared.keys.add(&key, now);
            return Ok(());
        };
        files.locked(|| files.write(&key, made_after(&files.read()?, now)))?;
        self.reload()
    }

    /// Reads the directory again, for keys that other processes have made. A verifier learns of
    /// them by [`replace_keys`](crate::Verifier::replace_keys), not by this.
    ///
    /// # Errors
    ///
    /// See [`open`](KeyRing::open); the keys stay as they were.
    pub fn reload(&self) -> Result<(), ConfigError> {
        if let Some(files) = &self.shared.files {
            self.shared.keys.replace(files.read_some()?);
        }
        Ok(())
    }

    /// The key that signs now.
    pub fn signing_key(&self) -> SigningKey {
        let key = self.shared.keys.signing(self.rotation(Duration::ZERO), self.now());
        key.expect("a ring is made with a key, and no reload takes the last one away")
    }

    /// The public halves of the keys whose tokens can be alive, and of those yet to sign.
    ///
    /// # Errors
    ///
    /// A set that makes no sense, of secrets and public keys together for instance.
    pub fn key_set(&self, lifetimes: Lifetimes) -> Result<KeySet, ConfigError> {
        let rotation = self.rotation(lifetimes.access() + lifetimes.leeway() * 2);
        KeySet::new(self.shared.keys.verifying(rotation, self.now()))
    }

    /// The wall clock.
    fn now(&self) -> Duration {
        self.shared.clock.now().wall
    }

    fn rotation(&self, token_life: Duration) -> Rotation {
        Rotation { publish_ahead: self.publish_ahead, token_life }
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("kids", &self.shared.keys.kids()).finish_non_exhaustive()
    }
}
