//! What a token was verified to, kept for as long as somebody may present it again.

use std::{any::Any, sync::Arc};

use triomphe::ThinArc;

use super::{NoClaims, origin::Origin};
use crate::{
    cutoff::Stamp,
    epochs::{Epochs, Fingerprints, FoundGood, Verdict},
    token::{Cached, Claims, ClaimsBuf, Layout, SET_BYTES},
};

/// All that is read of a token at each request, and what a handler may ask for: one piece of memory,
/// shared by all who hold it, since each other piece would be waited for. And a small one, since many are
/// kept.
///
/// After the head come the texts of the claims, and the token that they are of, without its start. It
/// holds no type of a service, so that one cache does for all layers of a verifier.
#[derive(Clone)]
pub(super) struct Record(ThinArc<Head, u8>);

struct Head {
    stamp: Stamp,
    /// Of its scopes, in the order of [`Claims::scopes`], by the epochs of its verifier.
    fingerprints: Fingerprints,
    /// By the same epochs.
    found_good: FoundGood,
    /// Of the claims, with the issuer's prefix in front of every identifier that names a scope.
    layout: Layout,
    /// How many bytes at the end are the token's.
    rest_len: u16,
    origin: Arc<Origin>,
    /// `None` where there are no claims of the service's own. Twice in a box, as a pointer alone is half
    /// as large.
    own: Option<Box<Own>>,
}

type Own = Box<dyn Any + Send + Sync>;

impl Record {
    /// `token` is kept with it, if there is one and it is not too long.
    pub(super) fn new<C: Send + Sync + 'static>(
        origin: Arc<Origin>,
        claims: ClaimsBuf,
        stamp: Stamp,
        mut fingerprints: Fingerprints,
        own: C,
        token: Option<&[u8]>,
    ) -> Self {
        fingerprints.shrink_to_fit();
        let has_own = !(&own as &dyn Any).is::<NoClaims>();
        let own = has_own.then(|| Box::new(Box::new(own) as Own));
        let rest = token.and_then(|token| token.strip_prefix(&*origin.header));
        let (rest, rest_len) = rest
            .filter(|rest| rest.len() <= MOST_KEPT)
            .and_then(|rest| Some((rest, u16::try_from(rest.len()).ok()?)))
            .unwrap_or_default();
        let ClaimsBuf { layout, mut texts } = claims;
        texts.extend_from_slice(rest);
        let found_good = FoundGood::never();
        let head = Head { stamp, fingerprints, found_good, layout, rest_len, origin, own };
        Self(ThinArc::from_header_and_slice(head, &texts))
    }

    #[inline]
    fn head(&self) -> &Head {
        &self.0.header.header
    }

    #[inline]
    pub(super) fn stamp(&self) -> Stamp {
        self.head().stamp
    }

    #[inline]
    pub(super) fn claims(&self) -> Claims<'_> {
        Claims::new(&self.head().layout, &self.0.slice)
    }

    /// Whether the keys that verified it are those in force.
    #[inline]
    pub(super) fn is_current(&self) -> bool {
        self.head().origin.is_current()
    }

    pub(super) fn issuer(&self) -> &str {
        &self.head().origin.issuer.rules.issuer
    }

    /// The service's own claims; `None` if they are of another type.
    #[inline]
    pub(super) fn own<C: 'static>(&self) -> Option<&C> {
        match &self.head().own {
            Some(own) => own.downcast_ref(),
            None => (&NoClaims {} as &dyn Any).downcast_ref(),
        }
    }

    /// What the copy in memory says about it. They are its verifier's epochs.
    pub(super) fn in_memory(&self, epochs: &Epochs) -> Verdict {
        let Head { stamp, fingerprints, found_good, .. } = self.head();
        epochs.verdict_since(found_good, || {
            epochs.verdict_at(fingerprints, || self.claims().scopes(), *stamp)
        })
    }

    /// Whether an [`Issuer`](crate::Issuer) of this crate can mint the next one for its session.
    pub(super) fn is_renewable(&self) -> bool {
        let rules = &self.head().origin.issuer.rules;
        // With a prefix its subject is not the one that its issuer knows, and without the time of a
        // login it belongs to no session.
        rules.store_time
            && rules.subject_prefix.is_empty()
            && self.claims().logged_in_at().is_some()
    }
}

impl Cached for Record {
    /// The user: the first of the scopes.
    fn owner(&self) -> u64 {
        self.head().fingerprints.first().map_or(0, |user| user.bits())
    }

    fn expires_at(&self) -> u64 {
        self.claims().expires_at()
    }

    #[inline]
    fn token(&self) -> [&[u8]; 2] {
        let Head { rest_len, origin, .. } = self.head();
        let texts_len = self.0.slice.len() - usize::from(*rest_len);
        [&origin.header, &self.0.slice[texts_len..]]
    }

    fn bytes(&self) -> usize {
        let Head { fingerprints, rest_len, origin, own, .. } = self.head();
        let token = origin.header.len() + usize::from(*rest_len);
        let spilled = if fingerprints.spilled() { size_of_val(&fingerprints[..]) } else { 0 };
        // Nobody can ask the service's own claims what they hold besides. It came out of the token, and
        // as many small texts, say, takes more than it did there.
        let own = own.as_ref().map_or(0, |own| match size_of_val(&***own) {
            0 => size_of::<Own>(),
            size => size_of::<Own>() + size + OWN_CLAIMS * token,
        });
        let piece = COUNTS + size_of::<Head>() + self.0.slice.len();
        piece.next_multiple_of(align_of::<Head>()) + spilled + own
    }
}

/// No longer token is kept: the cache would not take it.
const MOST_KEPT: usize = SET_BYTES / 2;

/// What is set aside for a service's own claims, in lengths of the token.
const OWN_CLAIMS: usize = 2;

/// Of those who hold it, and of the bytes after the head.
const COUNTS: usize = 2 * size_of::<usize>();
