//! The registered claims ([RFC 7519, section 4.1](https://www.rfc-editor.org/rfc/rfc7519#section-4.1)
//! and [RFC 9068, section 2.2](https://www.rfc-editor.org/rfc/rfc9068#section-2.2)), and ours.
//!
//! Every claim has the one JSON type it may have. What the values *mean* (is it expired, is it
//! for us) is judged in [`verify`](crate::verify).

use std::{borrow::Cow, collections::HashSet};

use serde::de::DeserializeOwned;

use super::{
    ClaimProblem, IssuerRules, Malformed, Problem,
    json::{Object, Raw},
    texts::{Entries, Part, Said, Texts},
};
use crate::scope::{ScopeKind, ScopeRef};

/// The last second of the year 9999: later times do not fit the formats that people read.
const MAX_TIME: u64 = 253_402_300_799;

/// The highest issue stamp there is: one above the highest cut-off.
const MAX_STAMP: u64 = 1 << 63;

/// More groups than this are refused: each costs a look-up.
pub(crate) const MAX_GROUPS: usize = 256;

/// The payload of a token, read but not believed.
///
/// Before the signature is checked, only [`issuer`](Payload::issuer) may be asked: it chooses the
/// rules and the keys.
pub(crate) struct Payload<'a> {
    object: Object<'a>,
}

impl<'a> Payload<'a> {
    /// Reads the payload: one object, no member twice at any depth.
    pub(crate) fn parse(text: &'a str) -> Result<Self, Malformed> {
        Ok(Self { object: Object::parse(text)? })
    }

    /// `iss`.
    pub(crate) fn issuer(&self) -> Result<Cow<'a, str>, Problem> {
        required("iss", self.string("iss"))
    }

    /// Whether a claim of this name is there, whatever its value.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.object.get(name).is_some()
    }

    /// A claim that is a string if it is there.
    pub(crate) fn string(&self, name: &'static str) -> Result<Option<Cow<'a, str>>, Problem> {
        self.read(name, Raw::string)
    }

    /// The claims, with the groups that `rules` find, and with the prefix that they give to
    /// identifiers.
    pub(crate) fn claims(&self, rules: &IssuerRules) -> Result<Claims, Problem> {
        let subject = required("sub", self.string("sub"))?;
        let audience = self.audience()?;
        let expires_at = required("exp", self.time("exp"))?;
        let not_before = self.time("nbf")?;
        let issued_at = required("iat", self.time("iat"))?;
        let token_id = self.string("jti")?;
        let session = self.string("sid")?;
        let stamp =
            self.read("rvs", |value| value.whole_number().filter(|&stamp| stamp <= MAX_STAMP))?;
        let auth_time = self.time("auth_time")?;
        let acr = self.string("acr")?;
        let logged_in_at = self.time("oat")?;
        let client_id = self.string("client_id")?;
        let scope = self.string("scope")?;
        let groups = self.groups(&rules.groups_claim)?;
        let said = Said {
            subject: &subject,
            session: session.as_deref(),
            token_id: token_id.as_deref(),
            acr: acr.as_deref(),
            client_id: client_id.as_deref(),
            scope: scope.as_deref(),
            groups: &groups,
            audience: &audience,
        };
        let mut claims = Claims {
            texts: Texts::new(&rules.subject_prefix, &said)?,
            expires_at,
            issued_at,
            not_before: not_before.into(),
            stamp: stamp.into(),
            auth_time: auth_time.into(),
            logged_in_at: logged_in_at.into(),
        };
        if let Some(function) = &rules.groups_from {
            let groups = &function.tell(self, &claims)?;
            claims.texts = Texts::new(&rules.subject_prefix, &Said { groups, ..said })?;
        }
        Ok(claims)
    }

    /// A claim as the service wants it; `None` if it is not there or of another type.
    pub(super) fn read_as<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_str(self.object.get(name)?.text()).ok()
    }

    fn audience(&self) -> Result<Vec<Cow<'a, str>>, Problem> {
        let audience = self.read("aud", |value| match value.string() {
            Some(one) => Some(vec![one]),
            None => strings(&value.array()?).filter(|several| !several.is_empty()),
        })?;
        Ok(audience.unwrap_or_default())
    }

    fn groups(&self, claim: &str) -> Result<Vec<Cow<'a, str>>, Problem> {
        let problem = |problem| Problem::Claim { name: "groups", problem };
        let Some(value) = self.object.get(claim) else { return Ok(Vec::new()) };
        let entries = value.array().ok_or(problem(ClaimProblem::WrongType))?;
        if entries.len() > MAX_GROUPS {
            return Err(problem(ClaimProblem::TooMany));
        }
        let groups = strings(&entries).ok_or(problem(ClaimProblem::WrongType))?;
        let mut seen = HashSet::with_capacity(groups.len());
        if !groups.iter().all(|group| seen.insert(&**group)) {
            return Err(problem(ClaimProblem::Duplicate));
        }
        Ok(groups)
    }

    fn time(&self, name: &'static str) -> Result<Option<u64>, Problem> {
        self.read(name, |value| value.whole_number().filter(|&time| time <= MAX_TIME))
    }

    fn read<T>(
        &self,
        name: &'static str,
        read: impl Fn(Raw<'a>) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(value) = self.object.get(name) else { return Ok(None) };
        read(value).map(Some).ok_or(Problem::Claim { name, problem: ClaimProblem::WrongType })
    }
}

/// The claims, each of the right type.
///
/// Small, and one allocation, since many of them are kept.
#[derive(Debug)]
pub(crate) struct Claims {
    texts: Texts,
    expires_at: u64,
    issued_at: u64,
    not_before: Optional,
    stamp: Optional,
    auth_time: Optional,
    logged_in_at: Optional,
}

/// Identifiers come with the issuer's prefix, as they name scopes. Times are whole seconds since
/// 1970.
impl Claims {
    pub(crate) fn subject(&self) -> &str {
        self.texts.text(Part::Subject).unwrap_or_default()
    }

    pub(crate) fn session(&self) -> Option<&str> {
        self.texts.text(Part::Session)
    }

    pub(crate) fn token_id(&self) -> Option<&str> {
        self.texts.text(Part::TokenId)
    }

    pub(crate) fn groups(&self) -> Entries<'_> {
        self.texts.list(Part::Groups)
    }

    /// What the texts take, in bytes.
    pub(crate) fn texts_bytes(&self) -> usize {
        self.texts.bytes()
    }

    /// An identifier without the prefix, as the issuer wrote it.
    pub(crate) fn bare<'a>(&self, id: &'a str) -> &'a str {
        self.texts.bare(id)
    }

    /// The scopes that the token is in, without `Everyone`.
    pub(crate) fn scopes(&self) -> impl Iterator<Item = ScopeRef<'_>> + Clone {
        std::iter::once((ScopeKind::User, self.subject()))
            .chain(self.session().map(|id| (ScopeKind::Session, id)))
            .chain(self.token_id().map(|id| (ScopeKind::Token, id)))
            .chain(self.groups().map(|id| (ScopeKind::Group, id)))
            .map(|(kind, subject)| ScopeRef { kind, subject })
    }

    pub(crate) fn audience(&self) -> Entries<'_> {
        self.texts.list(Part::Audience)
    }

    pub(crate) fn acr(&self) -> Option<&str> {
        self.texts.text(Part::Acr)
    }

    pub(crate) fn client_id(&self) -> Option<&str> {
        self.texts.text(Part::ClientId)
    }

    /// The permissions, separated by spaces.
    pub(crate) fn scope(&self) -> Option<&str> {
        self.texts.text(Part::Scope)
    }

    pub(crate) fn expires_at(&self) -> u64 {
        self.expires_at
    }

    pub(crate) fn issued_at(&self) -> u64 {
        self.issued_at
    }

    pub(crate) fn not_before(&self) -> Option<u64> {
        self.not_before.get()
    }

    /// `rvs`: the issue stamp, in whole microseconds of store time.
    pub(crate) fn stamp(&self) -> Option<u64> {
        self.stamp.get()
    }

    pub(crate) fn auth_time(&self) -> Option<u64> {
        self.auth_time.get()
    }

    /// `oat`: when the session was logged in, kept over renewals.
    pub(crate) fn logged_in_at(&self) -> Option<u64> {
        self.logged_in_at.get()
    }
}

/// A number that may be missing, in eight bytes: none of ours is as high as `u64::MAX`.
#[derive(Clone, Copy, Debug)]
struct Optional(u64);

impl Optional {
    fn get(self) -> Option<u64> {
        (self.0 != u64::MAX).then_some(self.0)
    }
}

impl From<Option<u64>> for Optional {
    fn from(number: Option<u64>) -> Self {
        Self(number.unwrap_or(u64::MAX))
    }
}

fn required<T>(name: &'static str, value: Result<Option<T>, Problem>) -> Result<T, Problem> {
    value?.ok_or(Problem::Claim { name, problem: ClaimProblem::Missing })
}

fn strings<'a>(entries: &[Raw<'a>]) -> Option<Vec<Cow<'a, str>>> {
    entries.iter().map(|entry| entry.string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_small() {
        assert_eq!(size_of::<Claims>(), 96);
    }
}
