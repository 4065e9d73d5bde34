//! All texts of a token in one piece, and its numbers in little room.
//!
//! Claims outlive the request where a verified token is kept. As a `String` each, they would be ten
//! allocations, of which the smallest costs more than the text in it.

use std::{borrow::Cow, iter, str};

use super::{Problem, registered::Registered};

/// Where the texts are, and the numbers that are always there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    expires_at: Seconds,
    issued_at: Seconds,
    /// The length of the prefix in front of each identifier.
    prefix: u16,
    /// A bit for each part: whether it is there. An empty text is not a missing one.
    present: u8,
    /// [`SESSION`] and [`TOKEN_ID`], if they are among the identifiers.
    identifiers: u8,
}

/// The parts that are there, one after the other. No `Debug`: a token may stand behind them.
#[derive(Clone, Copy)]
pub(super) struct Texts<'a> {
    layout: &'a Layout,
    /// In the order of [`Part`]: of each a number, which is its value or else its length, and the text.
    /// All of it is text, and nobody looks through all of it again to find that out.
    buffer: &'a [u8],
}

/// A place in the buffer. What is asked for most often comes first.
#[derive(Clone, Copy)]
pub(super) enum Part {
    NotBefore,
    /// A list: the subject, the session and the token id if they are there, the groups.
    Identifiers,
    /// A list.
    Audience,
    Acr,
    ClientId,
    Scope,
    AuthTime,
    LoggedInAt,
}

impl Layout {
    /// Writes them down, with `prefix` in front of each identifier.
    pub(super) fn of(
        prefix: &str,
        claims: &Registered<'_>,
        groups: &[Cow<'_, str>],
    ) -> Result<(Self, Vec<u8>), Problem> {
        let mut length = 0;
        write(prefix, claims, groups, |piece| length += piece.len());
        let mut buffer = Vec::with_capacity(length);
        let present = write(prefix, claims, groups, |piece| buffer.extend_from_slice(piece));
        let session = claims.session.as_ref().map_or(0, |_| SESSION);
        let token_id = claims.token_id.as_ref().map_or(0, |_| TOKEN_ID);
        let layout = Self {
            expires_at: Seconds::new(claims.expires_at),
            issued_at: Seconds::new(claims.issued_at),
            prefix: u16::try_from(prefix.len()).map_err(|_| Problem::TooLarge)?,
            present,
            identifiers: session | token_id,
        };
        Ok((layout, buffer))
    }
}

impl<'a> Texts<'a> {
    /// `buffer` begins with what was written to it.
    #[inline]
    pub(super) fn new(layout: &'a Layout, buffer: &'a [u8]) -> Self {
        Self { layout, buffer }
    }

    #[inline]
    pub(super) fn expires_at(self) -> u64 {
        self.layout.expires_at.get()
    }

    #[inline]
    pub(super) fn issued_at(self) -> u64 {
        self.layout.issued_at.get()
    }

    /// A number, if it is there.
    #[inline]
    pub(super) fn number(self, part: Part) -> Option<u64> {
        if self.has(part as usize) { self.find(part).map(|(number, _)| number) } else { None }
    }

    /// A text, if it is there.
    pub(super) fn text(self, part: Part) -> Option<&'a str> {
        let (length, rest) = self.find(part)?;
        str::from_utf8(rest.get(..length as usize)?).ok()
    }

    /// The entries of a list, in their order.
    pub(super) fn list(self, part: Part) -> Entries<'a> {
        Entries(self.text(part).unwrap_or_default())
    }

    pub(super) fn has_session(self) -> bool {
        self.layout.identifiers & SESSION != 0
    }

    pub(super) fn has_token_id(self) -> bool {
        self.layout.identifiers & TOKEN_ID != 0
    }

    /// An identifier without the prefix.
    pub(super) fn bare(self, id: &str) -> &str {
        id.get(usize::from(self.layout.prefix)..).unwrap_or_default()
    }

    /// The number of a part, and what comes after that.
    fn find(self, part: Part) -> Option<(u64, &'a [u8])> {
        let part = part as usize;
        let mut rest = self.buffer;
        let mut before = self.layout.present & ((1 << part) - 1);
        while before != 0 {
            let (number, after) = take_number(rest)?;
            let is_number = NUMBERS & 1 << before.trailing_zeros() != 0;
            rest = if is_number { after } else { after.get(number as usize..)? };
            before &= before - 1;
        }
        if self.has(part) { take_number(rest) } else { None }
    }

    #[inline]
    fn has(self, part: usize) -> bool {
        self.layout.present & 1 << part != 0
    }
}

/// The entries of a list: before each stands its length, since there is no character that none of them
/// may hold.
#[derive(Clone, Debug)]
pub(crate) struct Entries<'a>(&'a str);

impl<'a> Iterator for Entries<'a> {
    type Item = &'a str;

    #[inline]
    fn next(&mut self) -> Option<&'a str> {
        let (length, rest) = take_number(self.0.as_bytes())?;
        let rest = self.0.get(self.0.len() - rest.len()..)?;
        let (entry, rest) = rest.split_at_checked(length as usize)?;
        self.0 = rest;
        Some(entry)
    }
}

/// Whole seconds since 1970, up to the year 9999: that is what the claims may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seconds([u8; 5]);

impl Seconds {
    fn new(seconds: u64) -> Self {
        let [bytes @ .., _, _, _] = seconds.to_le_bytes();
        Self(bytes)
    }

    #[inline]
    fn get(self) -> u64 {
        let [a, b, c, d, e] = self.0;
        u64::from_le_bytes([a, b, c, d, e, 0, 0, 0])
    }
}

/// Hands all parts to `put`, piece by piece. Returns which are there.
fn write(
    prefix: &str,
    claims: &Registered<'_>,
    groups: &[Cow<'_, str>],
    put: impl FnMut(&[u8]),
) -> u8 {
    let (session, token_id) = (claims.session.as_deref(), claims.token_id.as_deref());
    let groups = groups.iter().map(|group| &**group);
    let identifiers = iter::once(&*claims.subject).chain(session).chain(token_id).chain(groups);
    let mut out = Writer { put, present: 0 };
    out.number(Part::NotBefore, claims.not_before);
    out.list(Part::Identifiers, prefix, identifiers);
    out.list(Part::Audience, "", claims.audience.iter().map(|audience| &**audience));
    out.text(Part::Acr, claims.acr.as_deref());
    out.text(Part::ClientId, claims.client_id.as_deref());
    out.text(Part::Scope, claims.scope.as_deref());
    out.number(Part::AuthTime, claims.auth_time);
    out.number(Part::LoggedInAt, claims.logged_in_at);
    out.present
}

struct Writer<P> {
    put: P,
    present: u8,
}

impl<P: FnMut(&[u8])> Writer<P> {
    fn number(&mut self, part: Part, number: Option<u64>) {
        if let Some(number) = number {
            self.begin(part, number);
        }
    }

    fn text(&mut self, part: Part, text: Option<&str>) {
        if let Some(text) = text {
            self.begin(part, text.len() as u64);
            (self.put)(text.as_bytes());
        }
    }

    fn list<'a>(
        &mut self,
        part: Part,
        prefix: &str,
        entries: impl Iterator<Item = &'a str> + Clone,
    ) {
        let length = |entry: &str| (prefix.len() + entry.len()) as u64;
        self.begin(part, entries.clone().map(length).map(|length| width(length) + length).sum());
        for entry in entries {
            self.digits(length(entry));
            (self.put)(prefix.as_bytes());
            (self.put)(entry.as_bytes());
        }
    }

    fn begin(&mut self, part: Part, number: u64) {
        self.present |= 1 << part as u8;
        self.digits(number);
    }

    /// A number in digits of six bits, the lowest first. A seventh bit says that more follow; so each is
    /// a character.
    fn digits(&mut self, mut number: u64) {
        while number > DIGIT.into() {
            self.digit(number as u8 & DIGIT | MORE);
            number >>= BITS;
        }
        self.digit(number as u8);
    }

    fn digit(&mut self, digit: u8) {
        (self.put)(&[digit]);
    }
}

/// How many digits a number takes.
fn width(number: u64) -> u64 {
    let bits = u64::BITS - (number | 1).leading_zeros();
    bits.div_ceil(BITS).into()
}

/// The number that a buffer begins with, and the rest.
#[inline]
fn take_number(buffer: &[u8]) -> Option<(u64, &[u8])> {
    match buffer.split_first()? {
        // Nearly always.
        (&only, rest) if only & MORE == 0 => Some((only.into(), rest)),
        _ => take_long_number(buffer),
    }
}

fn take_long_number(buffer: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (at, &byte) in buffer.iter().enumerate() {
        number |= u64::from(byte & DIGIT) << (BITS * at as u32);
        if byte & MORE == 0 {
            return Some((number, &buffer[at + 1..]));
        }
    }
    None
}

/// A bit of [`Layout::present`] for each.
const _: () = assert!((Part::LoggedInAt as u32) < u8::BITS);

/// The parts that are numbers. The others are texts.
const NUMBERS: u8 =
    1 << Part::NotBefore as u8 | 1 << Part::AuthTime as u8 | 1 << Part::LoggedInAt as u8;

const SESSION: u8 = 1;
const TOKEN_ID: u8 = 1 << 1;

const BITS: u32 = 6;
const DIGIT: u8 = 0x3f;
const MORE: u8 = 0x40;

#[cfg(test)]
mod tests {
    use super::{super::registered::MAX_TIME, *};

    #[test]
    fn a_list_gives_back_its_entries_of_any_length_and_text() {
        let prefix = "p\u{e9}:";
        let lengths = [0, 1, 63, 64, 65, 4095, 4096, 300_000];
        let entries = lengths.map(|length| Cow::from("\u{e9}".repeat(length)));
        let claims =
            Registered { audience: entries.iter().cloned().collect(), ..Registered::default() };
        let (layout, buffer) = Layout::of(prefix, &claims, &entries).unwrap();
        let texts = Texts::new(&layout, &buffer);
        assert!(texts.list(Part::Audience).eq(entries.iter()));
        let groups = texts.list(Part::Identifiers).skip(1);
        assert!(groups.clone().all(|group| group.starts_with(prefix)));
        assert!(groups.map(|group| texts.bare(group)).eq(entries.iter()));
    }

    #[test]
    fn an_empty_text_is_not_a_missing_one() {
        let [empty, two] = ["", "a b"].map(|text| Some(Cow::from(text)));
        let claims =
            Registered { session: empty.clone(), acr: empty, scope: two, ..Registered::default() };
        let (layout, buffer) = Layout::of("", &claims, &[]).unwrap();
        let texts = Texts::new(&layout, &buffer);
        assert!(texts.has_session() && !texts.has_token_id());
        assert!(texts.list(Part::Identifiers).eq(["", ""]));
        assert_eq!(texts.text(Part::Acr), Some(""));
        assert_eq!(texts.text(Part::ClientId), None);
        assert_eq!(texts.text(Part::Scope), Some("a b"));
    }

    #[test]
    fn numbers_of_any_size_stand_beside_the_texts() {
        for number in [0, 1, 63, 64, 1 << 37, MAX_TIME] {
            let claims = Registered {
                not_before: Some(number),
                logged_in_at: Some(number + 1),
                expires_at: number,
                issued_at: MAX_TIME - number,
                subject: "alice".into(),
                ..Registered::default()
            };
            let (layout, buffer) = Layout::of("p:", &claims, &[]).unwrap();
            let texts = Texts::new(&layout, &buffer);
            assert_eq!((texts.expires_at(), texts.issued_at()), (number, MAX_TIME - number));
            assert_eq!(texts.number(Part::NotBefore), Some(number));
            assert_eq!(texts.number(Part::AuthTime), None);
            assert_eq!(texts.number(Part::LoggedInAt), Some(number + 1));
            assert!(texts.list(Part::Identifiers).eq(["p:alice"]));
            assert_eq!(texts.list(Part::Audience).next(), None);
        }
    }

    #[test]
    fn they_are_small() {
        assert_eq!(size_of::<Layout>(), 14);
        let claims = Registered { subject: "alice".into(), ..Registered::default() };
        let (_, buffer) = Layout::of("", &claims, &["staff".into()]).unwrap();
        // Their lengths, and that of each list, are a byte each.
        assert_eq!(buffer.len(), "alice".len() + "staff".len() + 4);
    }
}
