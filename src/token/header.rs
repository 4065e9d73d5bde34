//! The JOSE header ([RFC 7515, section 4](https://www.rfc-editor.org/rfc/rfc7515#section-4)),
//! read once, before anything is believed.

use std::borrow::Cow;

use serde::de::{Error, MapAccess};

use super::{
    Algorithm, Malformed, Problem,
    json::{Object, Raw, Text},
    members::{self, Members, Others},
};

/// What a header may tell us: which key, by which algorithm, and what kind of token it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Header<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<Cow<'a, str>>,
    pub(crate) typ: Option<Cow<'a, str>>,
}

/// Members that would have us trust a key, a transformation or an extension of the token's own
/// choosing. Refused whatever their value; other unknown members are ignored, as RFC 7515 wants.
///
/// `x5t` and `x5t#S256` only describe the key that we choose by `kid`, and are ignored too.
const FORBIDDEN: &[&str] = &["crit", "b64", "zip", "enc", "jwk", "jku", "x5u", "x5c", "cty"];

impl<'a> Header<'a> {
    /// Reads the header.
    pub(crate) fn parse(text: &'a str) -> Result<Self, Problem> {
        match Plain::read(text) {
            Some(header) => Ok(header),
            None => Self::parse_odd(text),
        }
    }

    /// Reads any header, and says what is wrong with it.
    pub(super) fn parse_odd(text: &'a str) -> Result<Self, Problem> {
        let object = Object::parse(text)?;
        for (name, escaped) in object.names() {
            // No issuer writes `\u0061lg`; whoever does wants two readers to disagree.
            if escaped {
                return Err(Malformed::EscapedName.into());
            }
            if let Some(name) = FORBIDDEN.iter().find(|&&forbidden| forbidden == name) {
                return Err(Problem::ForbiddenHeader(name));
            }
        }
        let algorithm = object
            .get("alg")
            .and_then(Raw::string)
            .and_then(|name| Algorithm::named(&name))
            .ok_or(Problem::Algorithm)?;
        Ok(Self { algorithm, kid: optional(&object, "kid")?, typ: optional(&object, "typ")? })
    }
}

/// A header as issuers write it: see [`members`](super::members).
#[derive(Default)]
struct Plain<'a> {
    alg: Option<Cow<'a, str>>,
    kid: Option<Cow<'a, str>>,
    typ: Option<Cow<'a, str>>,
    others: Others<'a>,
}

impl<'a> Plain<'a> {
    fn read(text: &'a str) -> Option<Header<'a>> {
        let mut plain = Self::default();
        members::read(text, &mut plain)?;
        let Self { alg, kid, typ, others } = plain;
        let forbidden = FORBIDDEN.iter().any(|name| others.get(name).is_some());
        if forbidden || !others.are_unambiguous() {
            return None;
        }
        Some(Header { algorithm: Algorithm::named(&alg?)?, kid, typ })
    }
}

impl<'a> Members<'a> for Plain<'a> {
    fn member<A: MapAccess<'a>>(&mut self, name: &'a str, map: &mut A) -> Result<(), A::Error> {
        let place = match name {
            "alg" => &mut self.alg,
            "kid" => &mut self.kid,
            "typ" => &mut self.typ,
            _ => return self.others.push(name, map),
        };
        match place.replace(map.next_value::<Text<'a>>()?.0) {
            None => Ok(()),
            Some(_) => Err(A::Error::custom("a member stands twice")),
        }
    }
}

fn optional<'a>(object: &Object<'a>, name: &str) -> Result<Option<Cow<'a, str>>, Malformed> {
    match object.get(name) {
        None => Ok(None),
        Some(value) => value.string().map(Some).ok_or(Malformed::Json),
    }
}
