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
};

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

    /// The claims, with the groups that `rules` find.
    pub(crate) fn claims(&self, rules: &IssuerRules) -> Result<Claims, Problem> {
        let mut claims = Claims {
            subject: required("sub", self.string("sub"))?.into_owned(),
            audience: self.audience()?,
            expires_at: required("exp", self.time("exp"))?,
            not_before: self.time("nbf")?,
            issued_at: required("iat", self.time("iat"))?,
            token_id: self.owned("jti")?,
            session: self.owned("sid")?,
            stamp: self
                .read("rvs", |value| value.whole_number().filter(|&stamp| stamp <= MAX_STAMP))?,
            auth_time: self.time("auth_time")?,
            acr: self.owned("acr")?,
            logged_in_at: self.time("oat")?,
            client_id: self.owned("client_id")?,
            scope: self.owned("scope")?,
            groups: self.groups(&rules.groups_claim)?,
        };
        if let Some(function) = &rules.groups_from {
            claims.groups = function.tell(self, &claims)?;
        }
        Ok(claims)
    }

    /// A claim as the service wants it; `None` if it is not there or of another type.
    pub(super) fn read_as<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_str(self.object.get(name)?.text()).ok()
    }

    fn audience(&self) -> Result<Vec<String>, Problem> {
        let audience = self.read("aud", |value| match value.string() {
            Some(one) => Some(vec![one.into_owned()]),
            None => strings(&value.array()?).filter(|several| !several.is_empty()),
        })?;
        Ok(audience.unwrap_or_default())
    }

    fn groups(&self, claim: &str) -> Result<Vec<String>, Problem> {
        let problem = |problem| Problem::Claim { name: "groups", problem };
        let Some(value) = self.object.get(claim) else { return Ok(Vec::new()) };
        let entries = value.array().ok_or(problem(ClaimProblem::WrongType))?;
        if entries.len() > MAX_GROUPS {
            return Err(problem(ClaimProblem::TooMany));
        }
        let groups = strings(&entries).ok_or(problem(ClaimProblem::WrongType))?;
        let mut seen = HashSet::with_capacity(groups.len());
        if !groups.iter().all(|group| seen.insert(group.as_str())) {
            return Err(problem(ClaimProblem::Duplicate));
        }
        Ok(groups)
    }

    fn owned(&self, name: &'static str) -> Result<Option<String>, Problem> {
        Ok(self.string(name)?.map(Cow::into_owned))
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
#[derive(Debug)]
pub(crate) struct Claims {
    pub(crate) subject: String,
    pub(crate) audience: Vec<String>,
    /// Times are whole seconds since 1970.
    pub(crate) expires_at: u64,
    pub(crate) not_before: Option<u64>,
    pub(crate) issued_at: u64,
    pub(crate) token_id: Option<String>,
    pub(crate) session: Option<String>,
    /// `rvs`: the issue stamp, in whole microseconds of store time.
    pub(crate) stamp: Option<u64>,
    pub(crate) auth_time: Option<u64>,
    pub(crate) acr: Option<String>,
    /// `oat`: when the session was logged in, kept over renewals.
    pub(crate) logged_in_at: Option<u64>,
    pub(crate) client_id: Option<String>,
    /// The permissions, separated by spaces.
    pub(crate) scope: Option<String>,
    pub(crate) groups: Vec<String>,
}

fn required<T>(name: &'static str, value: Result<Option<T>, Problem>) -> Result<T, Problem> {
    value?.ok_or(Problem::Claim { name, problem: ClaimProblem::Missing })
}

fn strings(entries: &[Raw<'_>]) -> Option<Vec<String>> {
    entries.iter().map(|entry| entry.string().map(Cow::into_owned)).collect()
}
