//! Whether the file at the database's path is still the one that is open.
//!
//! Whoever restores a backup by moving it into place leaves the connections on the old file, which
//! has no name any more and works on as if nothing had happened: a copy that follows it would be
//! fresh for ever, and a revocation in it would be seen by nobody.

use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind};

/// The file at a path as of some moment.
#[derive(Clone, Debug)]
pub(super) struct OpenFile {
    path: PathBuf,
    identity: Identity,
}

impl OpenFile {
    /// The file that is at `path` now.
    pub(super) fn at(path: &Path) -> Result<Self, Error> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }

    /// Fails if another file is at the path now, or none.
    pub(super) fn check(&self) -> Result<(), Error> {
        if identity(&self.path)? == self.identity {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::Store, "another file has taken the database's place"))
        }
    }
}

#[cfg(unix)]
type Identity = (u64, u64);

#[cfg(unix)]
fn identity(path: &Path) -> Result<Identity, Error> {
    use std::os::unix::fs::MetadataExt;

    let file = std::fs::metadata(path).map_err(|cause| Error::new(ErrorKind::Store, cause))?;
    Ok((file.dev(), file.ino()))
}

/// Elsewhere an open file cannot be moved away.
#[cfg(not(unix))]
type Identity = ();

#[cfg(not(unix))]
fn identity(path: &Path) -> Result<Identity, Error> {
    std::fs::metadata(path).map(drop).map_err(|cause| Error::new(ErrorKind::Store, cause))
}
