//! Lists of texts, most of which have one entry.

use std::{borrow::Cow, fmt, ops::Deref, slice};

use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};

use super::json::Text;

/// Texts, borrowed where they were written without an escape. Up to one is no allocation.
#[derive(Default)]
pub(super) enum List<'a> {
    #[default]
    Empty,
    One(Cow<'a, str>),
    Several(Vec<Cow<'a, str>>),
}

impl<'a> List<'a> {
    fn push(&mut self, text: Cow<'a, str>) {
        *self = match std::mem::take(self) {
            Self::Empty => Self::One(text),
            Self::One(first) => Self::Several(vec![first, text]),
            Self::Several(mut texts) => {
                texts.push(text);
                Self::Several(texts)
            }
        };
    }
}

impl<'a> Deref for List<'a> {
    type Target = [Cow<'a, str>];

    fn deref(&self) -> &[Cow<'a, str>] {
        match self {
            Self::Empty => &[],
            Self::One(text) => slice::from_ref(text),
            Self::Several(texts) => texts,
        }
    }
}

impl<'a> FromIterator<Cow<'a, str>> for List<'a> {
    fn from_iter<T: IntoIterator<Item = Cow<'a, str>>>(texts: T) -> Self {
        let mut list = Self::Empty;
        texts.into_iter().for_each(|text| list.push(text));
        list
    }
}

/// An array of strings.
impl<'a> Deserialize<'a> for List<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor)
    }
}

/// One string, or an array of strings.
pub(super) struct OneOrMore<'a>(List<'a>);

impl<'a> Deserialize<'a> for OneOrMore<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListVisitor).map(Self)
    }
}

impl<'a> From<OneOrMore<'a>> for List<'a> {
    fn from(OneOrMore(list): OneOrMore<'a>) -> Self {
        list
    }
}

struct ListVisitor;

impl<'de> Visitor<'de> for ListVisitor {
    type Value = List<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("strings")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<List<'de>, E> {
        Ok(List::One(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<List<'de>, E> {
        Ok(List::One(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<List<'de>, A::Error> {
        let mut list = List::Empty;
        while let Some(Text(text)) = seq.next_element()? {
            list.push(text);
        }
        Ok(list)
    }
}
