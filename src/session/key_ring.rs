//! Signing keys and refresh secrets: made, kept in a directory, rotated.

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{
    key_files::{Each, KeyFiles, Purpose},
    learning::Learning,
    ring::{AgedKey, Ring, made_after},
    rotation::Rotation,
};
use crate::{
    clock::Clock,
    error::{ConfigError, Error, ErrorKind},
    lifetimes::Lifetimes,
    token::{Algorithm, KeySet, SigningKey, VerifyingKey},
};

/// The issuer's keys: those that sign access tokens, and the secrets that seal refresh tokens.
/// A handle, cheap to clone.
///
/// In a directory each key is a file `made-at.algorithm.kid.pem`, PKCS#8, and each secret a file
/// `made-at.kid.secret`, 32 bytes in base64url; all readable by their owner only, written whole
/// or not at all. A fleet shares the directory; neither ever enters the database, so a dump of it
/// signs nothing.
///
/// Rotating refuses no live token: a new key is [published](KeyRing::publish_ahead) first, signs
/// once every instance has had time to learn it, and the old one verifies until its last token
/// has expired. To learn it is the service's part, in every instance and more often than
/// `publish_ahead`: [`reload`](KeyRing::reload) the ring, and hand its
/// [`key_set`](KeyRing::key_set) to [`Verifier::replace_keys`](crate::Verifier::replace_keys).
/// Of secrets the same is true, but for the hand-over: only issuers use them, and
/// [`reload`](KeyRing::reload) is enough.
#[derive(Clone)]
pub struct KeyRing {
    shared: Arc<Shared>,
    publish_ahead: Duration,
    renews_expired: bool,
}

struct Shared {
    rings: Each<Ring>,
    /// `None` in memory.
    files: Option<KeyFiles>,
    clock: Clock,
    /// Held while files are read and their keys put in place: what was read later must win.
    reading: Mutex<()>,
    learning: Learning,
}

impl KeyRing {
    /// A ring of one key and one new secret, in memory: refresh tokens end with the process.
    pub fn new(key: SigningKey) -> Self {
        let first = |key| AgedKey { made_at: Duration::ZERO, key };
        // Without random numbers there is no secret, and it is the first login that fails.
        let secret = SigningKey::generate(REFRESH).ok();
        let keys =
            Each { access: vec![first(key)], refresh: secret.into_iter().map(first).collect() };
        Self::with(keys, None, Clock::system())
    }

    /// The keys and secrets in `directory`; where there are none, the first is made. Of several
    /// processes that start at once, one makes it.
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
            for purpose in Purpose::ALL {
                if keys.of(purpose).is_empty() {
                    let algorithm = match purpose {
                        Purpose::Access => algorithm,
                        Purpose::Refresh => REFRESH,
                    };
                    let key = SigningKey::generate(algorithm)?;
                    files.write(purpose, &key, made_after(&[], clock.now().wall))?;
                }
            }
            files.read_complete()
        })?;
        Ok(Self::with(keys, Some(files), clock))
    }

    fn with(keys: Each<Vec<AgedKey>>, files: Option<KeyFiles>, clock: Clock) -> Self {
        let rings = Each { access: Ring::new(keys.access), refresh: Ring::new(keys.refresh) };
        let (reading, learning) = (Mutex::default(), Learning::default());
        let shared = Shared { rings, files, clock, reading, learning };
        let publish_ahead = Duration::from_secs(60);
        Self { shared: Arc::new(shared), publish_ahead, renews_expired: false }
    }

    /// How long a new key or secret is published before it signs: at least the interval at which
    /// instances [`reload`](KeyRing::reload). A minute by default; the same in the whole fleet.
    #[must_use]
    pub fn publish_ahead(mut self, publish_ahead: Duration) -> Self {
        self.publish_ahead = publish_ahead;
        self
    }

    /// Publishes a key for as long as the tokens it has signed can be
    /// [renewed](crate::layer::Renewal) after they have expired, the idle limit of a session, and not
    /// only for as long as they live. The same in the whole fleet.
    ///
    /// Without it, a token that was signed before a rotation is refused once it has expired.
    #[must_use]
    pub fn renews_expired(mut self) -> Self {
        self.renews_expired = true;
        self
    }

    /// Makes the next key and publishes it. It signs after
    /// [`publish_ahead`](KeyRing::publish_ahead).
    ///
    /// # Errors
    ///
    /// See [`open`](KeyRing::open). A ring in memory takes the key all the same.
    pub fn rotate(&self, algorithm: Algorithm) -> Result<(), ConfigError> {
        self.take_in(Purpose::Access, algorithm)
    }

    /// Makes the next refresh secret and publishes it. It seals refresh tokens after
    /// [`publish_ahead`](KeyRing::publish_ahead).
    ///
    /// The old one is needed for as long as a session can live, so this may be done rarely.
    ///
    /// # Errors
    ///
    /// See [`open`](KeyRing::open).
    pub fn rotate_refresh(&self) -> Result<(), ConfigError> {
        self.take_in(Purpose::Refresh, REFRESH)
    }

    fn take_in(&self, purpose: Purpose, algorithm: Algorithm) -> Result<(), ConfigError> {
        let (shared, now) = (&self.shared, self.now());
        let key = SigningKey::generate(algorithm)?;
        let Some(files) = &shared.files else {
            shared.rings.of(purpose).add(&key, now);
            return Ok(());
        };
        files.locked(|| {
            let keys = files.read()?;
            files.write(purpose, &key, made_after(keys.of(purpose), now))
        })?;
        self.reload()
    }

    /// Reads the directory again, for keys and secrets that other processes have made. A verifier
    /// learns of the keys by [`replace_keys`](crate::Verifier::replace_keys), not by this.
    ///
    /// # Errors
    ///
    /// See [`open`](KeyRing::open), and if all keys or all secrets are gone; the ring stays as it
    /// was.
    pub fn reload(&self) -> Result<(), ConfigError> {
        self.read(|rings, keys| {
            rings.access.replace(keys.access);
            rings.refresh.replace(keys.refresh);
        })
    }

    /// Reads all files, and puts what is wanted of them in place.
    fn read(&self, put: impl FnOnce(&Each<Ring>, Each<Vec<AgedKey>>)) -> Result<(), ConfigError> {
        if let Some(files) = &self.shared.files {
            let _reading = self.shared.reading.lock().unwrap_or_else(PoisonError::into_inner);
            put(&self.shared.rings, files.read_complete()?);
        }
        Ok(())
    }

    /// The key that signs now.
    pub fn signing_key(&self) -> SigningKey {
        let key = self.shared.rings.access.signing(self.rotation(Duration::ZERO), self.now());
        key.expect("a ring is made with a key, and no reload takes the last one away")
    }

    /// The public halves of the keys whose tokens can be alive, or
    /// [renewed](KeyRing::renews_expired), and of those yet to sign.
    ///
    /// # Errors
    ///
    /// A set that makes no sense, of secrets and public keys together for instance.
    pub fn key_set(&self, lifetimes: Lifetimes) -> Result<KeySet, ConfigError> {
        let life = if self.renews_expired { lifetimes.idle() } else { lifetimes.access() };
        let rotation = self.rotation(life + lifetimes.leeway() * 2);
        KeySet::new(self.shared.rings.access.verifying(rotation, self.now()))
    }

    /// The secret that seals the refresh token issued at `at`, since 1970.
    ///
    /// It depends on the ring and on `at` alone: whoever makes the token again, later or in
    /// another instance, makes the same.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoSigningKey`] if the system had no random numbers to make one from.
    pub(super) fn refresh_secret(&self, at: Duration) -> Result<SigningKey, Error> {
        let secret = self.shared.rings.refresh.signing(self.rotation(Duration::ZERO), at);
        secret.ok_or_else(|| ErrorKind::NoSigningKey.into())
    }

    /// The secret `kid`, unless all refresh tokens that it can have sealed, each alive for `life`,
    /// have expired.
    pub(super) fn refresh_verifier(&self, kid: &str, life: Duration) -> Option<VerifyingKey> {
        let alive = self.shared.rings.refresh.verifying(self.rotation(life), self.now());
        alive.into_iter().find(|secret| secret.kid() == Some(kid))
    }

    /// Reads the secrets again, since a token names one that is not in the ring: another instance
    /// may have made it. Once a second at most.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Keys`] if that fails: then nothing is known of the token.
    pub(super) async fn learn(&self) -> Result<(), Error> {
        if self.shared.files.is_none() {
            return Ok(());
        }
        let ring = self.clone();
        let read = move || ring.read(|rings, keys| rings.refresh.replace(keys.refresh));
        self.shared.learning.learn(&self.shared.clock, read).await
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
        let rings = &self.shared.rings;
        f.debug_struct("KeyRing")
            .field("kids", &rings.access.kids())
            .field("refresh_kids", &rings.refresh.kids())
            .finish_non_exhaustive()
    }
}

/// What refresh tokens are sealed with.
const REFRESH: Algorithm = Algorithm::HS256;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::*;
    use crate::clock::ManualClock;

    const START: Duration = Duration::from_secs(1_800_000_000);
    const LIFE: Duration = Duration::from_secs(86_400);

    fn ring(directory: &Path) -> (KeyRing, ManualClock) {
        let (clock, hand) = Clock::manual(START);
        (KeyRing::open_with(directory, Algorithm::EdDSA, clock).unwrap(), hand)
    }

    fn sealing(ring: &KeyRing, at: Duration) -> String {
        ring.refresh_secret(at).unwrap().kid().to_owned()
    }

    #[test]
    fn secrets_survive_a_restart() {
        let data = tempfile::tempdir().unwrap();
        let (before, after) = (ring(data.path()).0, ring(data.path()).0);
        let (secret, again) = (before.refresh_secret(START), after.refresh_secret(START));
        assert_eq!(secret.unwrap().secret(), again.as_ref().unwrap().secret());
        assert_eq!(again.unwrap().secret().map(<[u8]>::len), Some(32));
    }

    #[test]
    fn a_new_secret_is_published_before_it_seals_on_any_instance() {
        let data = tempfile::tempdir().unwrap();
        let ((one, hand), (other, _)) = (ring(data.path()), ring(data.path()));
        let old = sealing(&one, START);
        hand.advance(Duration::from_secs(10));
        one.rotate_refresh().unwrap();
        other.reload().unwrap();
        for ring in [&one, &other] {
            let at = |seconds| sealing(ring, START + Duration::from_secs(seconds));
            for seconds in [0, 10, 69] {
                assert_eq!(at(seconds), old);
            }
            assert_ne!(at(70), old);
            // By the time asked about, not by that of the question.
            assert_eq!(at(69), old);
            assert!(ring.refresh_verifier(&at(70), LIFE).is_some(), "before it seals");
            assert_eq!(sealing(ring, Duration::ZERO), old);
        }
        assert_eq!(
            sealing(&one, START + Duration::from_secs(70)),
            sealing(&other, START + Duration::from_secs(70))
        );
    }

    #[test]
    fn a_retired_secret_verifies_until_its_last_token_has_expired() {
        let data = tempfile::tempdir().unwrap();
        let (ring, hand) = ring(data.path());
        let old = sealing(&ring, START);
        hand.advance(Duration::from_secs(10));
        ring.rotate_refresh().unwrap();
        hand.set_wall(START + Duration::from_secs(69) + LIFE);
        assert!(ring.refresh_verifier(&old, LIFE).is_some());
        hand.advance(Duration::from_secs(1));
        assert!(ring.refresh_verifier(&old, LIFE).is_none());
        assert!(ring.refresh_verifier("nobody", LIFE).is_none());
    }

    #[test]
    fn a_ring_in_memory_has_a_secret_of_its_own() {
        let ring = || KeyRing::new(SigningKey::generate(Algorithm::EdDSA).unwrap());
        let (one, other) = (ring(), ring());
        let kid = sealing(&one, Duration::ZERO);
        assert_ne!(kid, sealing(&other, Duration::ZERO));
        assert!(one.refresh_verifier(&kid, LIFE).is_some());
        one.rotate_refresh().unwrap();
        assert_eq!(sealing(&one, Duration::ZERO), kid);
        assert_ne!(sealing(&one, Duration::from_secs(u64::MAX)), kid);
    }

    #[test]
    fn without_a_secret_sealing_fails_and_a_rotation_heals_it() {
        let key = SigningKey::generate(Algorithm::EdDSA).unwrap();
        let access = vec![AgedKey { made_at: Duration::ZERO, key }];
        let ring =
            KeyRing::with(Each { access, refresh: Vec::new() }, None, Clock::manual(START).0);
        let refused = ring.refresh_secret(START).map_err(|error| error.kind());
        assert_eq!(refused.err(), Some(ErrorKind::NoSigningKey));
        ring.rotate_refresh().unwrap();
        assert!(ring.refresh_secret(START).is_ok());
    }

    #[test]
    fn debug_shows_no_secret() {
        let ring = KeyRing::new(SigningKey::generate(Algorithm::EdDSA).unwrap());
        let secret = ring.refresh_secret(START).unwrap();
        let text = URL_SAFE_NO_PAD.encode(secret.secret().unwrap());
        assert!(!format!("{ring:?} {secret:?}").contains(&text[..8]));
    }
}
