//! Hashes of passwords, by Argon2id.

use std::{sync::Arc, thread::available_parallelism};

use argon2::{
    Argon2, PasswordHasher, PasswordVerifier,
    password_hash::{self, phc::PasswordHash},
};
use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::fault::Failure;

/// What the password of an unknown user is compared with, so that the answer takes as long as for
/// a known one. It is the hash of nothing.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5bm9ib2R5$bm9ib2R5J3MgcGFzc3dvcmQgaXMgdW5rbm93bi4uLi4";

/// Computes hashes, a few at a time. A handle, cheap to clone.
#[derive(Clone)]
pub struct Passwords {
    /// Each hash takes 19 MiB and keeps a core busy: more than there are cores is of no use.
    slots: Arc<Semaphore>,
}

impl Passwords {
    pub fn new() -> Self {
        let slots = available_parallelism().map_or(1, usize::from);
        Self { slots: Arc::new(Semaphore::new(slots)) }
    }

    /// The hash of `password` with a new salt, to be kept.
    pub async fn hash(&self, password: String) -> Result<String, Failure> {
        self.compute(move |argon2| {
            let hash: PasswordHash = argon2.hash_password(password.as_bytes())?;
            Ok(hash.to_string())
        })
        .await
    }

    /// Whether `password` is that of `hash`. Without a hash it never is, and takes as long.
    pub async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, Failure> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| NOBODY.to_owned());
        self.compute(move |argon2| match argon2.verify_password(password.as_bytes(), &*hash) {
            Ok(()) => Ok(known),
            Err(password_hash::Error::PasswordInvalid) => Ok(false),
            Err(damaged) => Err(damaged),
        })
        .await
    }

    /// On a thread where waiting harms nobody.
    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce(Argon2<'static>) -> password_hash::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let slot = self.slots.clone().acquire_owned().await?;
        let done = spawn_blocking(move || {
            // Until the work is done, and not until the client has gone away.
            let _slot = slot;
            work(Argon2::default())
        });
        Ok(done.await??)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_fits_its_own_hash_and_no_other() {
        let passwords = Passwords::new();
        let hash = passwords.hash("wonderland".to_owned()).await.unwrap();
        assert_ne!(hash, passwords.hash("wonderland".to_owned()).await.unwrap());
        for (guess, right) in [("wonderland", true), ("Wonderland", false), ("", false)] {
            assert_eq!(passwords.verify(guess.into(), Some(hash.clone())).await.unwrap(), right);
            assert!(!passwords.verify(guess.into(), None).await.unwrap());
        }
    }

    #[test]
    fn nobody_costs_as_much_as_somebody() {
        let somebody: PasswordHash = Argon2::default().hash_password(b"x").unwrap();
        let nobody = PasswordHash::new(NOBODY).unwrap();
        assert_eq!(nobody.algorithm, somebody.algorithm);
        assert_eq!(nobody.version, somebody.version);
        assert_eq!(nobody.params, somebody.params);
    }
}
