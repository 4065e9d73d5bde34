//! Where tokens come from: what those of one key have in common, kept once for all that are known.

use std::sync::{Arc, Mutex, PoisonError};

use super::issuer::Issuer;

/// What the tokens of one key have in common.
pub(super) struct Origin {
    pub(super) issuer: Arc<Issuer>,
    /// Of the keys that were asked about the signature.
    generation: u64,
    /// What the tokens begin with: the first segment as it came, and the dot. Empty for those that each
    /// keep their own.
    pub(super) header: Box<[u8]>,
}

/// Those of the tokens that are known.
#[derive(Default)]
pub(super) struct Origins(Mutex<Vec<Arc<Origin>>>);

impl Origin {
    /// Whether the keys are those in force.
    #[inline]
    pub(super) fn is_current(&self) -> bool {
        self.generation == self.issuer.keys.generation()
    }
}

impl Origins {
    /// That of a `token` of `issuer`.
    pub(super) fn of(&self, token: &[u8], issuer: &Arc<Issuer>, generation: u64) -> Arc<Origin> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let header = memchr::memchr(b'.', token).map_or(&[][..], |dot| &token[..=dot]);
        if let Some(origin) = find(&known, issuer, generation, header) {
            return origin;
        }
        known.retain(|origin| origin.is_current());
        // An issuer may write another header into each of its tokens.
        let header = if known.len() < MOST { header } else { &[] };
        find(&known, issuer, generation, header).unwrap_or_else(|| {
            let origin = Origin { issuer: issuer.clone(), generation, header: header.into() };
            let origin = Arc::new(origin);
            known.push(origin.clone());
            origin
        })
    }
}

fn find(
    known: &[Arc<Origin>],
    issuer: &Arc<Issuer>,
    generation: u64,
    header: &[u8],
) -> Option<Arc<Origin>> {
    let is_it = |origin: &&Arc<Origin>| {
        Arc::ptr_eq(&origin.issuer, issuer)
            && origin.generation == generation
            && *origin.header == *header
    };
    known.iter().find(is_it).cloned()
}

/// So many headers are kept.
const MOST: usize = 64;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        token::{Algorithm, KeySet, VerifyingKey},
        verify::{IssuerRules, issuer::Keys},
    };

    fn keys() -> KeySet {
        KeySet::new([VerifyingKey::hmac(Algorithm::HS256, &[7; 32]).unwrap()]).unwrap()
    }

    #[test]
    fn a_header_is_kept_once_for_all_tokens_that_have_it() {
        let issuer = Arc::new(Issuer {
            rules: IssuerRules::new("https://issuer.test", keys()),
            max_lifetime: Duration::from_secs(900),
            keys: Keys::new(keys()),
        });
        let origins = Origins::default();
        let of = |header: &str, generation| {
            origins.of(format!("{header}.payload.signature").as_bytes(), &issuer, generation)
        };
        let first = of("first", 0);
        assert_eq!(*first.header, *b"first.");
        assert!(Arc::ptr_eq(&first, &of("first", 0)));
        // Another in each token: from some number on they are not kept here.
        for number in 0..1_000 {
            of(&number.to_string(), 0);
        }
        assert!(origins.0.lock().unwrap().len() <= MOST + 1);
        assert_eq!(*of("late", 0).header, *b"");
        assert!(Arc::ptr_eq(&of("late", 0), &of("later", 0)));
        assert!(Arc::ptr_eq(&first, &of("first", 0)));
        // With the keys they are forgotten.
        issuer.keys.replace(keys());
        assert!(!first.is_current());
        let next = of("first", 1);
        assert_eq!(*next.header, *b"first.");
        assert!(next.is_current());
        assert_eq!(origins.0.lock().unwrap().len(), 1);
    }
}
