//! JSON objects in which no member stands twice.
//!
//! [RFC 7519, section 4](https://www.rfc-editor.org/rfc/rfc7519#section-4) lets a reader take the
//! last of two members, and readers differ; a token that two readers understand differently is
//! refused here, whatever the depth at which it is ambiguous.
//!
//! Values are kept as the text they were. A number is judged by its digits, so that none is
//! rounded, and by nobody's feature flags.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::Malformed;

/// How deep objects and arrays may stand in each other. Each level is read once more, so this
/// bounds the work.
const MAX_DEPTH: usize = 32;

/// An object: its members, each value as text.
pub(super) struct Object<'a> {
    members: Vec<(Name<'a>, &'a RawValue)>,
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
pub(super) struct Raw<'a>(&'a RawValue);

impl<'a> Raw<'a> {
    /// A string.
    pub(super) fn string(self) -> Option<Cow<'a, str>> {
        serde_json::from_str::<Name<'a>>(self.0.get()).ok().map(|name| name.0)
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

fn parse_at(text: &str, depth: usize) -> Result<Object<'_>, Malformed> {
    let object: Object<'_> = serde_json::from_str(text).map_err(|_| Malformed::Json)?;
    let mut names: Vec<&str> = object.members.iter().map(|(name, _)| &*name.0).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Malformed::DuplicateMember);
    }
    for (_, value) in &object.members {
        check_nested(value, depth)?;
    }
    Ok(object)
}

fn check_nested(value: &RawValue, depth: usize) -> Result<(), Malformed> {
    let text = value.get();
    if !text.starts_with(['{', '[']) {
        return Ok(());
    }
    let depth = depth.checked_sub(1).ok_or(Malformed::Json)?;
    if text.starts_with('{') {
        return parse_at(text, depth).map(drop);
    }
    let entries: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| Malformed::Json)?;
    entries.into_iter().try_for_each(|entry| check_nested(entry, depth))
}

/// A string, borrowed if it was written without an escape.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;

        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(NameVisitor)
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
