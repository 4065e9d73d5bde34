//! All texts of a token in one allocation, and its numbers in little room.
//!
//! Claims outlive the request where a verified token is kept. As a `String` each, they would be ten
//! allocations, of which the smallest costs more than the text in it.

use std::{borrow::Cow, iter};

use super::{Problem, registered::Registered};

/// The parts that are there, one after the other.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Texts {
    /// In the order of [`Part`]: of each a number, which is its value or else its length, and the text.
    buffer: Box<str>,
    expires_at: Seconds,
    issued_at: Seconds,
    /// The length of the prefix in front of each identifier.
    prefix: u16,
    /// A bit for each part: whether it is there. An empty text is not a missing one.
    present: u16,
    /// Whether it is among the identifiers.
    has_session: bool,
    has_token_id: bool,
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

impl Texts {
    /// Copies them, with `prefix` in front of each identifier.
    pub(super) fn new(
        prefix: &str,
        claims: &Registered<'_>,
        groups: &[Cow<'_, str>],
    ) -> Result<Self, Problem> {
        let mut length = 0;
        write(prefix, claims, groups, |text| length += text.len());
        let mut buffer = String::with_capacity(length);
        let present = write(prefix, claims, groups, |text| buffer.push_str(text));
        let prefix = u16::try_from(prefix.len()).map_err(|_| Problem::TooLarge)?;
        Ok(Self {
            buffer: buffer.into_boxed_str(),
            expires_at: Seconds::new(claims.expires_at),
            issued_at: Seconds::new(claims.issued_at),
            prefix,
            present,
            has_session: claims.session.is_some(),
            has_token_id: claims.token_id.is_some(),
        })
    }

    #[inline]
    pub(super) fn expires_at(&self) -> u64 {
        self.expires_at.get()
    }

    #[inline]
    pub(super) fn issued_at(&self) -> u64 {
        self.issued_at.get()
    }

    /// A number, if it is there.
    #[inline]
    pub(super) fn number(&self, part: Part) -> Option<u64> {
        if self.has(part as usize) { self.find(part).map(|(number, _)| number) } else { None }
    }

    /// A text, if it is there.
    pub(super) fn text(&self, part: Part) -> Option<&str> {
        let (length, rest) = self.find(part)?;
        rest.get(..length as usize)
    }

    /// The entries of a list, in their order.
    pub(super) fn list(&self, part: Part) -> Entries<'_> {
        Entries(self.text(part).unwrap_or_default())
    }

    pub(super) fn has_session(&self) -> bool {
        self.has_session
    }

    pub(super) fn has_token_id(&self) -> bool {
        self.has_token_id
    }

    pub(super) fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// An identifier without the prefix.
    pub(super) fn bare<'a>(&self, id: &'a str) -> &'a str {
        id.get(usize::from(self.prefix)..).unwrap_or_default()
    }

    /// The number of a part, and what comes after that.
    fn find(&self, part: Part) -> Option<(u64, &str)> {
        let part = part as usize;
        let mut rest = &*self.buffer;
        let mut before = self.present & ((1 << part) - 1);
        while before != 0 {
            let (number, after) = take_number(rest)?;
            let is_number = NUMBERS & 1 << before.trailing_zeros() != 0;
            rest = if is_number { after } else { after.get(number as usize..)? };
            before &= before - 1;
        }
        if self.has(part) { take_number(rest) } else { None }
    }

    #[inline]
    fn has(&self, part: usize) -> bool {
        self.present & 1 << part != 0
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
        let (length, rest) = take_number(self.0)?;
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
    put: impl FnMut(&str),
) -> u16 {
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
    present: u16,
}

impl<P: FnMut(&str)> Writer<P> {
    fn number(&mut self, part: Part, number: Option<u64>) {
        if let Some(number) = number {
            self.begin(part, number);
        }
    }

    fn text(&mut self, part: Part, text: Option<&str>) {
        if let Some(text) = text {
            self.begin(part, text.len() as u64);
            (self.put)(text);
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
            (self.put)(prefix);
            (self.put)(entry);
        }
    }

    fn begin(&mut self, part: Part, number: u64) {
        self.present |= 1 << part as u16;
        self.digits(number);
    }

    /// A number in digits of six bits, the lowest first. A seventh bit says that more follow.
    fn digits(&mut self, mut number: u64) {
        while number > DIGIT.into() {
            self.digit(number as u8 & DIGIT | MORE);
            number >>= BITS;
        }
        self.digit(number as u8);
    }

    fn digit(&mut self, digit: u8) {
        (self.put)(char::from(digit).encode_utf8(&mut [0]));
    }
}

/// How many digits a number takes.
fn width(number: u64) -> u64 {
    let bits = u64::BITS - (number | 1).leading_zeros();
    bits.div_ceil(BITS).into()
}

/// The number that a text begins with, and the rest.
#[inline]
fn take_number(text: &str) -> Option<(u64, &str)> {
    match text.as_bytes().first()? {
        // Nearly always.
        &only if only & MORE == 0 => Some((only.into(), text.get(1..)?)),
        _ => take_long_number(text),
    }
}

fn take_long_number(text: &str) -> Option<(u64, &str)> {
    let mut number = 0;
    for (at, &byte) in text.as_bytes().iter().enumerate() {
        number |= u64::from(byte & DIGIT) << (BITS * at as u32);
        if byte & MORE == 0 {
            return Some((number, text.get(at + 1..)?));
        }
    }
    None
}

/// The parts that are numbers. The others are texts.
const NUMBERS: u16 =
    1 << Part::NotBefore as u16 | 1 << Part::AuthTime as u16 | 1 << Part::LoggedInAt as u16;

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
        let texts = Texts::new(prefix, &claims, &entries).unwrap();
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
        let texts = Texts::new("", &claims, &[]).unwrap();
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
            let texts = Texts::new("p:", &claims, &[]).unwrap();
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
        assert_eq!(size_of::<Texts>(), 32);
        let claims = Registered { subject: "alice".into(), ..Registered::default() };
        let texts = Texts::new("", &claims, &["staff".into()]).unwrap();
        // Their lengths, and that of each list, are a byte each.
        assert_eq!(texts.bytes(), "alice".len() + "staff".len() + 4);
    }
}
