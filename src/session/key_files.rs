//! A directory of keys.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use super::ring::AgedKey;
use crate::{
    error::{ConfigError, KeyProblem},
    token::{Algorithm, SigningKey},
};

/// The files `made-at.algorithm.kid.pem` of a directory, each a key.
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
    pub(super) fn read(&self) -> Result<Vec<AgedKey>, ConfigError> {
        let mut keys = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(|source| self.failed(source))? {
            let path = entry.map_err(|source| self.failed(source))?.path();
            if path.extension().is_some_and(|extension| extension == "pem") {
                keys.push(self.read_key(&path)?);
            }
        }
        keys.sort_by_key(|aged| aged.made_at);
        Ok(keys)
    }

    /// [`read`](KeyFiles::read), where no key at all is a failure.
    pub(super) fn read_some(&self) -> Result<Vec<AgedKey>, ConfigError> {
        let keys = self.read()?;
        if keys.is_empty() {
            return Err(self.failed(io::Error::new(io::ErrorKind::NotFound, "all keys are gone")));
        }
        Ok(keys)
    }

    /// Makes the key's file: written beside, made durable, then moved into place.
    pub(super) fn write(&self, key: &SigningKey, made_at: Duration) -> Result<(), ConfigError> {
        let (kid, algorithm) = (key.kid(), key.algorithm());
        let pem = key.to_pem().ok_or_else(|| ConfigError::Key {
            kid: kid.to_owned(),
            problem: KeyProblem::CannotGenerate,
        })?;
        let name = format!("{}.{algorithm}.{kid}.pem", made_at.as_secs());
        let save = || {
            let draft = self.directory.join(format!("{name}.draft"));
            let mut file = private_file().create_new(true).open(&draft)?;
            file.write_all(pem.as_bytes())?;
            file.sync_all()?;
            fs::rename(&draft, self.directory.join(&name))?;
            File::open(&self.directory)?.sync_all()
        };
        save().map_err(|source| self.failed(source))
    }

    fn read_key(&self, path: &Path) -> Result<AgedKey, ConfigError> {
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
            return Err(self.failed(io::Error::new(io::ErrorKind::InvalidData, problem)));
        };
        let pem = fs::read(path).map_err(|source| self.failed(source))?;
        Ok(AgedKey { made_at, key: SigningKey::from_pem(algorithm, &pem)?.with_kid(kid) })
    }

    fn failed(&self, source: io::Error) -> ConfigError {
        ConfigError::KeyDirectory { directory: self.directory.clone(), source }
    }
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
