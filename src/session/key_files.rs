//! A directory of keys.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::ring::AgedKey;
use crate::{
    error::{ConfigError, KeyProblem},
    token::{Algorithm, SigningKey},
};

/// What a key signs.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    /// Access tokens. The files are `made-at.algorithm.kid.pem`, PKCS#8.
    Access,
    /// Refresh tokens. The files are `made-at.kid.secret`: the secret of an HS256 key in base64url,
    /// and a line feed.
    Refresh,
}

impl Purpose {
    pub(super) const ALL: [Self; 2] = [Self::Access, Self::Refresh];
}

/// One for each [`Purpose`].
#[derive(Default)]
pub(super) struct Each<T> {
    pub(super) access: T,
    pub(super) refresh: T,
}

impl<T> Each<T> {
    pub(super) fn of(&self, purpose: Purpose) -> &T {
        match purpose {
            Purpose::Access => &self.access,
            Purpose::Refresh => &self.refresh,
        }
    }
}

/// The keys in a directory, one file for each. Files of other forms are nobody's business.
pub(super) struct KeyFiles {
    directory: PathBuf,
}

impl KeyFiles {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Runs `work` while no other process changes the directory, which is made if need be.
    pub(super) fn locked<T>(
        &self,
        work: impl FnOnce() -> Result<T, ConfigError>,
    ) -> Result<T, ConfigError> {
        let lock = || {
            make_directory(&self.directory)?;
            let lock = self.directory.join("lock");
            let file = private_file().create(true).truncate(false).open(lock)?;
            file.lock()?;
            Ok(file)
        };
        // Closing the file releases the lock.
        let file: File = lock().map_err(|source| self.failed(source))?;
        let done = work();
        drop(file);
        done
    }

    /// All keys in the directory, oldest first.
    pub(super) fn read(&self) -> Result<Each<Vec<AgedKey>>, ConfigError> {
        let mut keys = Each::<Vec<AgedKey>>::default();
        for entry in fs::read_dir(&self.directory).map_err(|source| self.failed(source))? {
            let path = entry.map_err(|source| self.failed(source))?.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("pem") => keys.access.push(self.read_pem(&path)?),
                Some("secret") => keys.refresh.push(self.read_secret(&path)?),
                _ => {}
            }
        }
        for keys in [&mut keys.access, &mut keys.refresh] {
            // Every instance has to agree on the order, whatever that of its directory is.
            keys.sort_by(|a, b| (a.made_at, a.key.kid()).cmp(&(b.made_at, b.key.kid())));
        }
        Ok(keys)
    }

    /// [`read`](KeyFiles::read), where no key at all for some purpose is a failure.
    pub(super) fn read_complete(&self) -> Result<Each<Vec<AgedKey>>, ConfigError> {
        let keys = self.read()?;
        for (keys, problem) in [
            (&keys.access, "all signing keys are gone"),
            (&keys.refresh, "all refresh secrets are gone"),
        ] {
            if keys.is_empty() {
                return Err(self.failed(io::Error::new(io::ErrorKind::NotFound, problem)));
            }
        }
        Ok(keys)
    }

    /// Makes the key's file: written beside, made durable, then moved into place.
    pub(super) fn write(
        &self,
        purpose: Purpose,
        key: &SigningKey,
        made_at: Duration,
    ) -> Result<(), ConfigError> {
        let (made_at, algorithm, kid) = (made_at.as_secs(), key.algorithm(), key.kid());
        let (name, text) = match purpose {
            Purpose::Access => (format!("{made_at}.{algorithm}.{kid}.pem"), key.to_pem()),
            Purpose::Refresh => {
                let text = key.secret().map(|secret| URL_SAFE_NO_PAD.encode(secret) + "\n");
                (format!("{made_at}.{kid}.secret"), text)
            }
        };
        let text = text.ok_or_else(|| damaged(kid, KeyProblem::CannotGenerate))?;
        let save = || {
            let draft = self.directory.join(format!("{name}.draft"));
            let mut file = private_file().create_new(true).open(&draft)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&draft, self.directory.join(&name))?;
            File::open(&self.directory)?.sync_all()
        };
        save().map_err(|source| self.failed(source))
    }

    fn read_pem(&self, path: &Path) -> Result<AgedKey, ConfigError> {
        let parsed = match parts(path)[..] {
            [made_at, algorithm, kid, _] => {
                seconds(made_at).zip(algorithm.parse::<Algorithm>().ok()).zip(Some(kid))
            }
            _ => None,
        };
        let ((made_at, algorithm), kid) =
            parsed.ok_or_else(|| self.misnamed(path, "made-at.algorithm.kid.pem"))?;
        let pem = fs::read(path).map_err(|source| self.failed(source))?;
        Ok(AgedKey { made_at, key: SigningKey::from_pem(algorithm, &pem)?.with_kid(kid) })
    }

    fn read_secret(&self, path: &Path) -> Result<AgedKey, ConfigError> {
        let parsed = match parts(path)[..] {
            [made_at, kid, _] => seconds(made_at).zip(Some(kid)),
            _ => None,
        };
        let (made_at, kid) = parsed.ok_or_else(|| self.misnamed(path, "made-at.kid.secret"))?;
        let text = fs::read(path).map_err(|source| self.failed(source))?;
        let secret = text
            .strip_suffix(b"\n")
            .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
            .filter(|secret| secret.len() == SECRET_BYTES)
            .ok_or_else(|| damaged(kid, KeyProblem::Malformed))?;
        let key = SigningKey::hmac(Algorithm::HS256, &secret)?;
        // The id is derived from the secret. Another secret under it, a damaged one for instance,
        // would refuse the tokens of the rest of the fleet.
        if key.kid() != kid {
            return Err(damaged(kid, KeyProblem::Malformed));
        }
        Ok(AgedKey { made_at, key })
    }

    fn misnamed(&self, path: &Path, form: &str) -> ConfigError {
        let problem = format!("{:?} is not named {form}", path.file_name().unwrap_or_default());
        self.failed(io::Error::new(io::ErrorKind::InvalidData, problem))
    }

    fn failed(&self, source: io::Error) -> ConfigError {
        ConfigError::KeyDirectory { directory: self.directory.clone(), source }
    }
}

/// The length of a refresh secret.
const SECRET_BYTES: usize = 32;

/// The parts of a file's name; none if it is not UTF-8.
fn parts(path: &Path) -> Vec<&str> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.map(|name| name.split('.').collect()).unwrap_or_default()
}

fn seconds(text: &str) -> Option<Duration> {
    text.parse().ok().map(Duration::from_secs)
}

fn damaged(kid: &str, problem: KeyProblem) -> ConfigError {
    ConfigError::Key { kid: kid.to_owned(), problem }
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

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1_800_000_000);

    #[test]
    fn a_secret_is_read_by_its_file() {
        // Computed by Python's `hmac`. An id derived in another way would refuse every old file.
        let data = tempfile::tempdir().unwrap();
        let text = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc\n";
        fs::write(data.path().join("1800000000.yC3hNoaK53BDILtFiJnakw.secret"), text).unwrap();
        let keys = KeyFiles::new(data.path().to_owned()).read().unwrap();
        assert_eq!(keys.refresh[0].made_at, START);
        assert_eq!(keys.refresh[0].key.secret(), Some(&[7; 32][..]));
    }

    #[test]
    fn keys_made_in_the_same_second_have_one_order() {
        let data = tempfile::tempdir().unwrap();
        let files = KeyFiles::new(data.path().to_owned());
        for _ in 0..16 {
            let key = SigningKey::generate(Algorithm::HS256).unwrap();
            files.write(Purpose::Refresh, &key, START).unwrap();
        }
        let keys = files.read().unwrap().refresh;
        assert_eq!(keys.len(), 16);
        assert!(keys.is_sorted_by(|a, b| a.key.kid() < b.key.kid()));
    }
}
