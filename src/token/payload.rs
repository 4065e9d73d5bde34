//! The payload of a token, and the claims in it.
//!
//! What the values *mean* (is it expired, is it for us) is judged in [`verify`](crate::verify).

use std::borrow::Cow;

use serde::de::DeserializeOwned;

use super::{
    ClaimsBuf, IssuerRules, Malformed, Problem,
    json::{Object, Raw},
    plain::Plain,
    registered::{self, Registered},
};

/// The payload of a token, read but not believed.
///
/// Before the signature is checked, only [`issuer`](Payload::issuer) may be asked: it chooses the
/// rules and the keys.
pub(crate) struct Payload<'a> {
    text: &'a str,
    form: Form<'a>,
}

#[allow(clippy::large_enum_variant, reason = "the large one is nearly every payload")]
enum Form<'a> {
    Plain(Plain<'a>),
    /// Any other: claims may be missing or have a wrong type.
    Odd(Object<'a>),
}

impl<'a> Payload<'a> {
    /// Reads the payload: one object, no member twice at any depth.
    pub(crate) fn parse(text: &'a str) -> Result<Self, Malformed> {
        match Plain::read(text) {
            Some(plain) => Ok(Self { text, form: Form::Plain(plain) }),
            None => Self::parse_odd(text),
        }
    }

    /// Reads any payload, and says what is wrong with it.
    pub(super) fn parse_odd(text: &'a str) -> Result<Self, Malformed> {
        Ok(Self { text, form: Form::Odd(Object::parse(text)?) })
    }

    /// `iss`.
    pub(crate) fn issuer(&self) -> Result<Cow<'_, str>, Problem> {
        match &self.form {
            Form::Plain(plain) => Ok(Cow::Borrowed(&*plain.issuer)),
            Form::Odd(object) => registered::required("iss", registered::string(object, "iss")),
        }
    }

    /// The payload as it came.
    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// Whether a claim of this name is there, whatever its value.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.claim(name).is_some()
    }

    /// A claim that is a string if it is there.
    pub(crate) fn string(&self, name: &'static str) -> Result<Option<Cow<'a, str>>, Problem> {
        registered::read(name, self.claim(name), Raw::string)
    }

    /// The claims, with the groups that `rules` find, and with the prefix that they give to
    /// identifiers.
    pub(crate) fn claims(&self, rules: &IssuerRules) -> Result<ClaimsBuf, Problem> {
        let read;
        let registered = match &self.form {
            Form::Plain(plain) => &plain.registered,
            Form::Odd(object) => {
                read = Registered::read(object)?;
                &read
            }
        };
        let told;
        let groups = match (&self.form, rules.groups_claim.as_str()) {
            (Form::Plain(plain), "groups") => &plain.groups,
            (_, name) => {
                told = self.claim(name).map(registered::groups).transpose()?.unwrap_or_default();
                &told
            }
        };
        let claims = ClaimsBuf::new(&rules.subject_prefix, registered, groups)?;
        let Some(function) = &rules.groups_from else { return Ok(claims) };
        let groups = function.tell(self, claims.claims())?;
        ClaimsBuf::new(&rules.subject_prefix, registered, &groups)
    }

    /// `rvs`: the issue stamp, in whole microseconds of store time.
    pub(crate) fn stamp(&self) -> Result<Option<u64>, Problem> {
        match &self.form {
            Form::Plain(plain) => Ok(plain.registered.stamp),
            Form::Odd(object) => registered::stamp(object),
        }
    }

    /// A claim as the service wants it; `None` if it is not there or of another type.
    pub(super) fn read_as<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_str(self.claim(name)?.text()).ok()
    }

    /// The value of any claim, as it was written.
    fn claim(&self, name: &str) -> Option<Raw<'a>> {
        match &self.form {
            // Once more, for whoever asks for one that has been read already.
            Form::Plain(_) if Plain::knows(name) => Object::parse(self.text).ok()?.get(name),
            Form::Plain(plain) => plain.others.get(name),
            Form::Odd(object) => object.get(name),
        }
    }
}
