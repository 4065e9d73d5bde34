//! Signing keys: made, kept in a directory, rotated.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;

use super::rotation::Rotation;
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
    keys: ArcSwap<Vec<RingKey>>,
    directory: Option<PathBuf>,
    clock: Clock,
}

/// A key and when it was made, since 1970. Sorted by that.
#[derive(Clone)]
struct RingKey {
    made_at: Duration,
    key: SigningKey,
}

impl KeyRing {
    /// A ring of one key, in memory.
    pub fn new(key: SigningKey) -> Self {
        Self::with(vec![RingKey { made_at: Duration::ZERO, key }], None, Clock::system())
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
        let directory = directory.into();
        let keys = locked(&directory, || {
            let keys = read(&directory)?;
            if keys.is_empty() {
                write(&directory, algorithm, made_after(&keys, clock.now().wall))?;
                return read(&directory);
            }
            Ok(keys)
        })?;
        Ok(Self::with(keys, Some(directory), clock))
    }

    fn with(keys: Vec<RingKey>, directory: Option<PathBuf>, clock: Clock) -> Self {
        let shared = Shared { keys: ArcSwap::from_pointee(keys), directory, clock };
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
        let now = self.shared.clock.now().wall;
        let Some(directory) = &self.shared.directory else {
            let key = SigningKey::generate(algorithm)?;
            self.shared.keys.rcu(|keys| {
                let mut keys = Vec::clone(keys);
                keys.push(RingKey { made_at: made_after(&keys, now), key: key.clone() });
                keys
            });
            return Ok(());
        };
        locked(directory, || write(directory, algorithm, made_after(&read(directory)?, now)))?;
        self.reload()
    }

    /// Reads the directory again, for keys that other processes have made. A verifier learns of
    /// them by [`replace_keys`](crate::Verifier::replace_keys), not by this.
    ///
    /// # Errors
    ///
    /// See [`open`](KeyRing::open); the keys stay as they were.
    pub fn reload(&self) -> Result<(), ConfigError> {
        if let Some(directory) = &self.shared.directory {
            let keys = read(directory)?;
            if keys.is_empty() {
                let source = io::Error::new(io::ErrorKind::NotFound, "all keys are gone");
                return Err(failed(directory)(source));
            }
            self.shared.keys.store(Arc::new(keys));
        }
        Ok(())
    }

    /// The key that signs now.
    pub fn signing_key(&self) -> SigningKey {
        let keys = self.shared.keys.load();
        let made_at: Vec<Duration> = keys.iter().map(|key| key.made_at).collect();
        let index = self.rotation(Duration::ZERO).signing(&made_at, self.shared.clock.now().wall);
        keys[index].key.clone()
    }

    /// The public halves of the keys whose tokens can be alive, and of those yet to sign.
    ///
    /// # Errors
    ///
    /// A set that makes no sense, of secrets and public keys together for instance.
    pub fn key_set(&self, lifetimes: Lifetimes) -> Result<KeySet, ConfigError> {
        let keys = self.shared.keys.load();
        let made_at: Vec<Duration> = keys.iter().map(|key| key.made_at).collect();
        let now = self.shared.clock.now().wall;
        let rotation = self.rotation(lifetimes.access() + lifetimes.leeway() * 2);
        let verifies = |index: &usize| rotation.verifies(&made_at, *index, now);
        KeySet::new((0..keys.len()).filter(verifies).map(|index| keys[index].key.verifying_key()))
    }

    fn rotation(&self, token_life: Duration) -> Rotation {
        Rotation { publish_ahead: self.publish_ahead, token_life }
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.shared.keys.load();
        let kids: Vec<&str> = keys.iter().map(|key| key.key.kid()).collect();
        f.debug_struct("KeyRing").field("kids", &kids).finish_non_exhaustive()
    }
}

/// Runs `work` while no other process changes the directory, which is made if need be.
fn locked<T>(
    directory: &Path,
    work: impl FnOnce() -> Result<T, ConfigError>,
) -> Result<T, ConfigError> {
    let lock = || {
        make_directory(directory)?;
        let file = private_file().create(true).truncate(false).open(directory.join("lock"))?;
        file.lock()?;
        Ok(file)
    };
    // Closing the file releases the lock.
    let file: File = lock().map_err(failed(directory))?;
    let done = work();
    drop(file);
    done
}

/// All keys in the directory, oldest first.
fn read(directory: &Path) -> Result<Vec<RingKey>, ConfigError> {
    let mut keys = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed(directory))? {
        let path = entry.map_err(failed(directory))?.path();
        if path.extension().is_some_and(|extension| extension == "pem") {
            keys.push(read_key(directory, &path)?);
        }
    }
    keys.sort_by_key(|key| key.made_at);
    Ok(keys)
}

fn read_key(directory: &Path, path: &Path) -> Result<RingKey, ConfigError> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let parts: Vec<&str> = name.split('.').collect();
    let parsed = match parts[..] {
        [made_at, algorithm, kid, "pem"] => made_at
            .parse()
            .ok()
            .zip(algorithm.parse::<Algorithm>().ok())
            .map(|(made_at, algorithm)| (Duration::from_secs(made_at), algorithm, kid)),
        _ => None,
    };
    let Some((made_at, algorithm, kid)) = parsed else {
        let problem = format!("{name:?} is not named made-at.algorithm.kid.pem");
        return Err(failed(directory)(io::Error::new(io::ErrorKind::InvalidData, problem)));
    };
    let pem = fs::read(path).map_err(failed(directory))?;
    Ok(RingKey { made_at, key: SigningKey::from_pem(algorithm, &pem)?.with_kid(kid) })
}

/// When a key made now counts as made: after all others, though they were made in the same second
/// or the clock has stepped back. Else it could sign before anybody knows it.
fn made_after(keys: &[RingKey], now: Duration) -> Duration {
    let newest = keys.last().map(|key| key.made_at + Duration::from_secs(1));
    Duration::from_secs(now.as_secs()).max(newest.unwrap_or_default())
}

/// Makes a key and its file: written beside, made durable, then moved into place.
fn write(directory: &Path, algorithm: Algorithm, made_at: Duration) -> Result<(), ConfigError> {
    let key = SigningKey::generate(algorithm)?;
    let pem = key.to_pem().ok_or_else(|| ConfigError::Key {
        kid: key.kid().to_owned(),
        problem: crate::error::KeyProblem::CannotGenerate,
    })?;
    let name = format!("{}.{}.{}.pem", made_at.as_secs(), algorithm.as_str(), key.kid());
    let save = || {
        let draft = directory.join(format!("{name}.draft"));
        let mut file = private_file().create_new(true).open(&draft)?;
        file.write_all(pem.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, directory.join(&name))?;
        File::open(directory)?.sync_all()
    };
    save().map_err(failed(directory))
}

/// Options for a file that its owner alone reads.
fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn make_directory(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

fn failed(directory: &Path) -> impl Fn(io::Error) -> ConfigError + use<> {
    let directory = directory.to_owned();
    move |source| ConfigError::KeyDirectory { directory: directory.clone(), source }
}
