//! All texts of a token in one allocation.
//!
//! Claims outlive the request where a verified token is kept. As a `String` each, they would be ten
//! allocations, of which the smallest costs more than the text in it.

use std::borrow::Cow;

use super::{Problem, registered::Registered};

/// The texts, one after the other, and where each ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Texts {
    /// In the order of [`Part`]. The last two are [lists](Entries).
    buffer: Box<str>,
    /// The last part ends with the buffer.
    ends: [u32; PARTS - 1],
    /// The length of the prefix in front of each identifier.
    prefix: u16,
    /// A bit for each part: whether it is there. An empty text is not a missing one.
    present: u8,
}

/// A place in the buffer.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Subject,
    Session,
    TokenId,
    Acr,
    ClientId,
    Scope,
    Groups,
    Audience,
}

impl Texts {
    /// Copies them, with `prefix` in front of subject, session, token id and groups.
    pub(super) fn new(
        prefix: &str,
        claims: &Registered<'_>,
        groups: &[Cow<'_, str>],
    ) -> Result<Self, Problem> {
        let length = length(prefix, claims, groups);
        let too_large = |_| Problem::TooLarge;
        // From here on every length and position fits, too.
        u32::try_from(length).map_err(too_large)?;
        let mut texts =
            Writer { buffer: String::with_capacity(length), ends: [0; PARTS], present: 0 };
        texts.write(Part::Subject, prefix, Some(&claims.subject));
        texts.write(Part::Session, prefix, claims.session.as_deref());
        texts.write(Part::TokenId, prefix, claims.token_id.as_deref());
        texts.write(Part::Acr, "", claims.acr.as_deref());
        texts.write(Part::ClientId, "", claims.client_id.as_deref());
        texts.write(Part::Scope, "", claims.scope.as_deref());
        texts.write_list(Part::Groups, prefix, groups);
        texts.write_list(Part::Audience, "", &claims.audience);
        let [ends @ .., _] = texts.ends;
        Ok(Self {
            buffer: texts.buffer.into_boxed_str(),
            ends,
            prefix: u16::try_from(prefix.len()).map_err(too_large)?,
            present: texts.present,
        })
    }

    /// A text, if it is there.
    pub(super) fn text(&self, part: Part) -> Option<&str> {
        (self.present & 1 << part as u8 != 0).then(|| self.slice(part))
    }

    /// The entries of a list, in their order.
    pub(super) fn list(&self, part: Part) -> Entries<'_> {
        Entries(self.slice(part))
    }

    pub(super) fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// An identifier without the prefix.
    pub(super) fn bare<'a>(&self, id: &'a str) -> &'a str {
        id.get(usize::from(self.prefix)..).unwrap_or_default()
    }

    fn slice(&self, part: Part) -> &str {
        let part = part as usize;
        let start = part.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        let end = self.ends.get(part).map_or(self.buffer.len(), |&end| end as usize);
        &self.buffer[start..end]
    }
}

/// The entries of a list: before each stands its length in ASCII, see [`push_length`], since there
/// is no character that none of them may hold.
#[derive(Clone, Debug)]
pub(crate) struct Entries<'a>(&'a str);

impl<'a> Iterator for Entries<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let (mut length, mut digits) = (0, 0);
        for byte in self.0.bytes() {
            length |= usize::from(byte & DIGIT) << (BITS * digits);
            digits += 1;
            if byte & MORE == 0 {
                let (entry, rest) = self.0.get(digits..)?.split_at_checked(length)?;
                self.0 = rest;
                return Some(entry);
            }
        }
        None
    }
}

/// How long the buffer will be.
fn length(prefix: &str, claims: &Registered<'_>, groups: &[Cow<'_, str>]) -> usize {
    let Registered { subject, session, token_id, acr, client_id, scope, audience, .. } = claims;
    let id = |id: &str| prefix.len() + id.len();
    let ids = [session, token_id].into_iter().flatten().map(|text| id(text));
    let plain = [acr, client_id, scope].into_iter().flatten().map(|text| text.len());
    let entry = |length: usize| width(length) + length;
    let groups = groups.iter().map(|group| entry(id(group)));
    let audience = audience.iter().map(|audience| entry(audience.len()));
    id(subject) + ids.chain(plain).chain(groups).chain(audience).sum::<usize>()
}

struct Writer {
    buffer: String,
    ends: [u32; PARTS],
    present: u8,
}

impl Writer {
    fn write(&mut self, part: Part, prefix: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.buffer.push_str(prefix);
            self.buffer.push_str(text);
            self.present |= 1 << part as u8;
        }
        self.ends[part as usize] = self.buffer.len() as u32;
    }

    fn write_list(&mut self, part: Part, prefix: &str, entries: &[Cow<'_, str>]) {
        for entry in entries {
            push_length(&mut self.buffer, prefix.len() + entry.len());
            self.buffer.push_str(prefix);
            self.buffer.push_str(entry);
        }
        self.ends[part as usize] = self.buffer.len() as u32;
    }
}

/// Writes a number in digits of six bits, the lowest first. A seventh bit says that more follow.
fn push_length(buffer: &mut String, mut length: usize) {
    while length > usize::from(DIGIT) {
        buffer.push(char::from(length as u8 & DIGIT | MORE));
        length >>= BITS;
    }
    buffer.push(char::from(length as u8));
}

/// How many digits that takes.
fn width(length: usize) -> usize {
    let bits = usize::BITS - (length | 1).leading_zeros();
    bits.div_ceil(BITS as u32) as usize
}

const PARTS: usize = Part::Audience as usize + 1;
const BITS: usize = 6;
const DIGIT: u8 = 0x3f;
const MORE: u8 = 0x40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_gives_back_its_entries_of_any_length_and_text() {
        let prefix = "p\u{e9}:";
        let lengths = [0, 1, 63, 64, 65, 4095, 4096, 300_000];
        let entries = lengths.map(|length| Cow::from("\u{e9}".repeat(length)));
        let claims =
            Registered { audience: entries.iter().cloned().collect(), ..Registered::default() };
        let texts = Texts::new(prefix, &claims, &entries).unwrap();
        assert!(texts.list(Part::Audience).eq(entries.iter()));
        assert!(texts.list(Part::Groups).all(|group| group.starts_with(prefix)));
        assert!(texts.list(Part::Groups).map(|group| texts.bare(group)).eq(entries.iter()));
        // Neither too short nor too long, or it would have been allocated twice.
        assert_eq!(texts.buffer.len(), length(prefix, &claims, &entries));
    }

    #[test]
    fn an_empty_text_is_not_a_missing_one() {
        let [empty, two] = ["", "a b"].map(|text| Some(Cow::from(text)));
        let claims =
            Registered { session: empty.clone(), acr: empty, scope: two, ..Registered::default() };
        let texts = Texts::new("", &claims, &[]).unwrap();
        assert_eq!(texts.text(Part::Session), Some(""));
        assert_eq!(texts.text(Part::TokenId), None);
        assert_eq!(texts.text(Part::Acr), Some(""));
        assert_eq!(texts.text(Part::ClientId), None);
        assert_eq!(texts.text(Part::Scope), Some("a b"));
    }

    #[test]
    fn they_are_small() {
        assert_eq!(size_of::<Texts>(), 48);
    }
}
