//! JSON objects in which no member stands twice.
//!
//! [RFC 7519, section 4](https://www.rfc-editor.org/rfc/rfc7519#section-4) lets a reader take the
//! last of two members, and readers differ; a token that two readers understand differently is
//! refused here, whatever the depth at which it is ambiguous.
//!
//! Values are kept as the text they were. A number is judged by its digits, so that none is
//! rounded, and by nobody's feature flags.

use std::{borrow::Cow, collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::Malformed;

/// How deep objects and arrays may stand in each other. Each level is read once more, so this
/// bounds the work.
const MAX_DEPTH: usize = 32;

/// So many names are compared in pairs.
const FEW: usize = 16;

/// An object: its members, each value as text.
pub(super) struct Object<'a> {
    members: Vec<(Text<'a>, &'a RawValue)>,
}

impl<'a> Object<'a> {
    /// Reads one object and nothing after it.
    pub(super) fn parse(text: &'a str) -> Result<Self, Malformed> {
        parse_at(text, MAX_DEPTH)
    }

    /// The value of a member.
    pub(super) fn get(&self, name: &str) -> Option<Raw<'a>> {
        self.members.iter().find(|(n, _)| n.0 == name).map(|(_, value)| Raw(value))
    }

    /// The names, each with whether it was written with an escape.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, bool)> {
        // Only an escape keeps the name from being borrowed.
        self.members.iter().map(|(name, _)| (&*name.0, matches!(name.0, Cow::Owned(_))))
    }
}

/// The text of a value.
#[derive(Clone, Copy)]
pub(super) struct Raw<'a>(pub(super) &'a RawValue);

impl<'a> Raw<'a> {
    /// A string.
    pub(super) fn string(self) -> Option<Cow<'a, str>> {
        serde_json::from_str::<Text<'a>>(self.0.get()).ok().map(|text| text.0)
    }

    /// A whole number that is not negative, written without fraction and exponent.
    pub(super) fn whole_number(self) -> Option<u64> {
        let digits = self.0.get();
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    }

    /// The entries of an array.
    pub(super) fn array(self) -> Option<Vec<Raw<'a>>> {
        let entries: Vec<&RawValue> = serde_json::from_str(self.0.get()).ok()?;
        Some(entries.into_iter().map(Raw).collect())
    }

    /// The text itself.
    pub(super) fn text(self) -> &'a str {
        self.0.get()
    }
}

/// Whether two of the items have one name.
pub(super) fn has_twins<T>(items: &[T], name: impl Fn(&T) -> &str) -> bool {
    // A table is not worth it. Each is held against those before it.
    if items.len() <= FEW {
        return items
            .iter()
            .enumerate()
            .any(|(at, item)| items[..at].iter().any(|other| name(other) == name(item)));
    }
    let mut seen = HashSet::with_capacity(items.len());
    !items.iter().all(|item| seen.insert(name(item)))
}

fn parse_at(text: &str, depth: usize) -> Result<Object<'_>, Malformed> {
    let object: Object<'_> = serde_json::from_str(text).map_err(|_| Malformed::Json)?;
    if has_twins(&object.members, |(name, _)| &name.0) {
        return Err(Malformed::DuplicateMember);
    }
    for (_, value) in &object.members {
        check_below(value, depth)?;
    }
    Ok(object)
}

/// Refuses a value of a member in which a member stands twice, or that is too deep.
pub(super) fn check_nested(value: &RawValue) -> Result<(), Malformed> {
    check_below(value, MAX_DEPTH)
}

fn check_below(value: &RawValue, depth: usize) -> Result<(), Malformed> {
    let text = value.get();
    if !text.starts_with(['{', '[']) {
        return Ok(());
    }
    let depth = depth.checked_sub(1).ok_or(Malformed::Json)?;
    if text.starts_with('{') {
        return parse_at(text, depth).map(drop);
    }
    let entries: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| Malformed::Json)?;
    entries.into_iter().try_for_each(|entry| check_below(entry, depth))
}

/// A string, borrowed if it was written without an escape.
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor;

        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Object { members })
            }
        }

        deserializer.deserialize_map(ObjectVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_stands_twice_is_refused_at_every_depth() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":1}"#,
            r#"{"x":{"a":1,"a":2}}"#,
            r#"{"x":[[{"a":1,"b":{"c":0,"c":0}}]]}"#,
        ] {
            assert_eq!(Object::parse(text).err(), Some(Malformed::DuplicateMember), "{text}");
        }
        assert!(Object::parse(r#"{"a":{"a":[{"a":1},{"a":1}]}}"#).is_ok());
    }

    #[test]
    fn a_member_that_stands_twice_is_found_among_any_number() {
        for count in [2, FEW - 1, FEW, FEW + 1, 500] {
            let members = |last: usize| {
                let names = (1..count).chain([last]);
                let members: Vec<_> = names.map(|name| format!("\"{name}\":0")).collect();
                format!("{{{}}}", members.join(","))
            };
            assert!(Object::parse(&members(0)).is_ok());
            for twin in [1, count - 1] {
                let refused = Object::parse(&members(twin)).err();
                assert_eq!(refused, Some(Malformed::DuplicateMember), "{count}");
            }
        }
    }

    #[test]
    fn only_digits_make_a_whole_number() {
        let text = r#"{"good":18446744073709551615,"a":-1,"b":1.0,"c":1e3,"d":"1","e":null,
            "f":18446744073709551616,"g":1e400,"h":true,"i":[1],"j":-0}"#;
        let object = Object::parse(text).unwrap();
        assert_eq!(object.get("good").and_then(Raw::whole_number), Some(u64::MAX));
        for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"] {
            assert_eq!(object.get(name).and_then(Raw::whole_number), None, "{name}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(Object::parse(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(Object::parse(&nested(MAX_DEPTH + 1)).err(), Some(Malformed::Json));
        assert_eq!(Object::parse(&nested(100_000)).err(), Some(Malformed::Json));
    }
}
