//! What a token was verified to, kept for as long as somebody may present it again.

use std::{any::Any, sync::Arc};

use super::{NoClaims, origin::Origin};
use crate::{
    cutoff::Stamp,
    epochs::{Epochs, Fingerprints, FoundGood, Verdict},
    token::{Cached, Claims},
};

/// All that is read of a token at each request, and what a handler may ask for.
///
/// It holds no type of a service, so that one cache does for all layers of a verifier. And it is small,
/// since many are kept.
pub(super) struct Record {
    pub(super) stamp: Stamp,
    /// Of its scopes, in the order of [`Claims::scopes`], by the epochs of its verifier.
    pub(super) fingerprints: Fingerprints,
    /// By the same epochs.
    found_good: FoundGood,
    /// With the issuer's prefix in front of every identifier that names a scope.
    pub(super) registered: Claims,
    origin: Arc<Origin>,
    /// `None` where there are no claims of the service's own. Twice in a box, as a pointer alone is half
    /// as large.
    own: Option<Box<Own>>,
}

type Own = Box<dyn Any + Send + Sync>;

impl Record {
    pub(super) fn new<C: Send + Sync + 'static>(
        origin: Arc<Origin>,
        registered: Claims,
        stamp: Stamp,
        mut fingerprints: Fingerprints,
        own: C,
    ) -> Self {
        fingerprints.shrink_to_fit();
        let has_own = !(&own as &dyn Any).is::<NoClaims>();
        let own = has_own.then(|| Box::new(Box::new(own) as Own));
        Self { stamp, fingerprints, found_good: FoundGood::never(), registered, origin, own }
    }

    /// Whether the keys that verified it are those in force.
    #[inline]
    pub(super) fn is_current(&self) -> bool {
        self.origin.is_current()
    }

    pub(super) fn issuer(&self) -> &str {
        &self.origin.issuer.rules.issuer
    }

    /// The service's own claims; `None` if they are of another type.
    #[inline]
    pub(super) fn own<C: 'static>(&self) -> Option<&C> {
        match &self.own {
            Some(own) => own.downcast_ref(),
            None => (&NoClaims {} as &dyn Any).downcast_ref(),
        }
    }

    /// What the copy in memory says about it. They are its verifier's epochs.
    pub(super) fn in_memory(&self, epochs: &Epochs) -> Verdict {
        epochs.verdict_since(&self.found_good, || {
            epochs.verdict_at(&self.fingerprints, || self.registered.scopes(), self.stamp)
        })
    }

    /// Whether an [`Issuer`](crate::Issuer) of this crate can mint the next one for its session.
    pub(super) fn is_renewable(&self) -> bool {
        let Self { registered, origin, .. } = self;
        // With a prefix its subject is not the one that its issuer knows, and without the time of a
        // login it belongs to no session.
        origin.issuer.rules.store_time
            && origin.issuer.rules.subject_prefix.is_empty()
            && registered.logged_in_at().is_some()
    }
}

impl Cached for Record {
    /// The user: the first of the scopes.
    fn owner(&self) -> u64 {
        self.fingerprints.first().map_or(0, |user| user.bits())
    }

    fn expires_at(&self) -> u64 {
        self.registered.expires_at()
    }

    fn start(&self) -> &[u8] {
        &self.origin.header
    }

    fn bytes(&self, token: usize) -> usize {
        let spilled =
            if self.fingerprints.spilled() { size_of_val(&self.fingerprints[..]) } else { 0 };
        // Nobody can ask the service's own claims what they hold besides. It came out of the token, and
        // as many small texts, say, takes more than it did there.
        let own = self.own.as_ref().map_or(0, |own| match size_of_val(&***own) {
            0 => size_of::<Own>(),
            size => size_of::<Own>() + size + OWN_CLAIMS * token,
        });
        ARC_HEADER + size_of::<Self>() + self.registered.texts_bytes() + spilled + own
    }
}

/// What is set aside for a service's own claims, in lengths of the token.
const OWN_CLAIMS: usize = 2;

/// The counts of an `Arc`.
const ARC_HEADER: usize = 2 * size_of::<usize>();
