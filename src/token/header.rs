//! The JOSE header ([RFC 7515, section 4](https://www.rfc-editor.org/rfc/rfc7515#section-4)),
//! read once, before anything is believed.

use std::borrow::Cow;

use super::{
    Algorithm, Malformed, Problem,
    json::{Object, Raw},
};

/// What a header may tell us: which key, by which algorithm, and what kind of token it is.
#[derive(Debug)]
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

fn optional<'a>(object: &Object<'a>, name: &str) -> Result<Option<Cow<'a, str>>, Malformed> {
    match object.get(name) {
        None => Ok(None),
        Some(value) => value.string().map(Some).ok_or(Malformed::Json),
    }
}
