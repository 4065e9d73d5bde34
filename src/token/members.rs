//! Objects as issuers write them, read in one pass: members go straight to where they belong.
//!
//! An issuer writes no name with an escape, no member twice, and nothing of another type than it
//! should be. Whatever else comes is read again by [`json`](super::json), slower, which knows what is
//! wrong with it, if anything is. So what reads here may give up on whatever it likes, and must not
//! accept what that refuses, nor find another value: property tests hold the two against each other.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::json::{Raw, Text, check_nested, has_twins};

/// Where the members of an object go.
pub(super) trait Members<'a> {
    /// Takes the value of the member `name` from `map`. Any error gives up.
    fn member<A: MapAccess<'a>>(&mut self, name: &'a str, map: &mut A) -> Result<(), A::Error>;
}

/// Reads one object and nothing after it. `None` gives up.
pub(super) fn read<'a>(text: &'a str, members: &mut impl Members<'a>) -> Option<()> {
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_map(MembersVisitor(members)).ok()?;
    json.end().ok()
}

struct MembersVisitor<'m, M>(&'m mut M);

impl<'de, M: Members<'de>> Visitor<'de> for MembersVisitor<'_, M> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        // A name with an escape cannot be borrowed, and is an error.
        while let Some(name) = map.next_key::<&'de str>()? {
            self.0.member(name, &mut map)?;
        }
        Ok(())
    }
}

/// Members that nobody reads, or not yet.
#[derive(Default)]
pub(super) struct Others<'a>(Vec<(&'a str, &'a RawValue)>);

impl<'a> Others<'a> {
    pub(super) fn push<A: MapAccess<'a>>(
        &mut self,
        name: &'a str,
        map: &mut A,
    ) -> Result<(), A::Error> {
        self.0.push((name, map.next_value()?));
        Ok(())
    }

    pub(super) fn get(&self, name: &str) -> Option<Raw<'a>> {
        self.0.iter().find(|(other, _)| *other == name).map(|&(_, value)| Raw(value))
    }

    /// Whether no two have one name, nor any two in one object within a value.
    pub(super) fn are_unambiguous(&self) -> bool {
        !has_twins(&self.0, |(name, _)| name)
            && self.0.iter().all(|(_, value)| check_nested(value).is_ok())
    }
}

/// A whole number of at most `MAX`, written without sign, fraction and exponent.
pub(super) struct UpTo<const MAX: u64>(u64);

impl<const MAX: u64> From<UpTo<MAX>> for u64 {
    fn from(UpTo(number): UpTo<MAX>) -> Self {
        number
    }
}

impl<const MAX: u64> From<UpTo<MAX>> for Option<u64> {
    fn from(UpTo(number): UpTo<MAX>) -> Self {
        Some(number)
    }
}

impl<'a> From<Text<'a>> for Cow<'a, str> {
    fn from(Text(text): Text<'a>) -> Self {
        text
    }
}

impl<'a> From<Text<'a>> for Option<Cow<'a, str>> {
    fn from(Text(text): Text<'a>) -> Self {
        Some(text)
    }
}

impl<'de, const MAX: u64> Deserialize<'de> for UpTo<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberVisitor<const MAX: u64>;

        impl<const MAX: u64> Visitor<'_> for NumberVisitor<MAX> {
            type Value = UpTo<MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            // What has a fraction, an exponent or a sign goes to other methods, which refuse it.
            fn visit_u64<E: Error>(self, number: u64) -> Result<UpTo<MAX>, E> {
                if number <= MAX { Ok(UpTo(number)) } else { Err(E::custom("too large")) }
            }
        }

        // Not `deserialize_any`, which hands numbers over in another way if somebody switches
        // `arbitrary_precision` on.
        deserializer.deserialize_u64(NumberVisitor)
    }
}
