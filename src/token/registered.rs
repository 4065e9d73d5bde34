//! The registered claims ([RFC 7519, section 4.1](https://www.rfc-editor.org/rfc/rfc7519#section-4.1)
//! and [RFC 9068, section 2.2](https://www.rfc-editor.org/rfc/rfc9068#section-2.2)), and ours, as a
//! payload holds them.
//!
//! Every claim has the one JSON type it may have.

use std::borrow::Cow;

use super::{
    ClaimProblem, Problem,
    json::{Object, Raw, has_twins},
    list::List,
};

/// The last second of the year 9999: later times do not fit the formats that people read.
pub(super) const MAX_TIME: u64 = 253_402_300_799;

/// The highest issue stamp there is: one above the highest cut-off.
pub(super) const MAX_STAMP: u64 = 1 << 63;

/// More groups than this are refused: each costs a look-up.
pub(crate) const MAX_GROUPS: usize = 256;

/// The claims but `iss` and the groups, which are read apart: before the signature, and from a claim
/// that the rules name.
#[derive(Default)]
pub(super) struct Registered<'a> {
    pub(super) subject: Cow<'a, str>,
    /// Empty if there is none.
    pub(super) audience: List<'a>,
    pub(super) expires_at: u64,
    pub(super) not_before: Option<u64>,
    pub(super) issued_at: u64,
    pub(super) token_id: Option<Cow<'a, str>>,
    pub(super) session: Option<Cow<'a, str>>,
    pub(super) stamp: Option<u64>,
    pub(super) auth_time: Option<u64>,
    pub(super) acr: Option<Cow<'a, str>>,
    pub(super) logged_in_at: Option<u64>,
    pub(super) client_id: Option<Cow<'a, str>>,
    pub(super) scope: Option<Cow<'a, str>>,
}

impl<'a> Registered<'a> {
    /// Reads them one by one. The first that is not as it has to be is the problem.
    pub(super) fn read(object: &Object<'a>) -> Result<Self, Problem> {
        Ok(Self {
            subject: required("sub", string(object, "sub"))?,
            audience: audience(object)?,
            expires_at: required("exp", time(object, "exp"))?,
            not_before: time(object, "nbf")?,
            issued_at: required("iat", time(object, "iat"))?,
            token_id: string(object, "jti")?,
            session: string(object, "sid")?,
            stamp: stamp(object)?,
            auth_time: time(object, "auth_time")?,
            acr: string(object, "acr")?,
            logged_in_at: time(object, "oat")?,
            client_id: string(object, "client_id")?,
            scope: string(object, "scope")?,
        })
    }
}

/// The issue stamp.
pub(super) fn stamp(object: &Object<'_>) -> Result<Option<u64>, Problem> {
    number(object, "rvs", MAX_STAMP)
}

/// The entries of a claim that holds groups.
pub(super) fn groups(claim: Raw<'_>) -> Result<List<'_>, Problem> {
    let problem = |problem| Problem::Claim { name: "groups", problem };
    let entries = claim.array().ok_or(problem(ClaimProblem::WrongType))?;
    if entries.len() > MAX_GROUPS {
        return Err(problem(ClaimProblem::TooMany));
    }
    let groups = strings(&entries).ok_or(problem(ClaimProblem::WrongType))?;
    if has_twins(&groups, |group| group) {
        return Err(problem(ClaimProblem::Duplicate));
    }
    Ok(groups)
}

/// A claim that is a string if it is there.
pub(super) fn string<'a>(
    object: &Object<'a>,
    name: &'static str,
) -> Result<Option<Cow<'a, str>>, Problem> {
    read(name, object.get(name), Raw::string)
}

/// What is read from a claim that is there, or why not.
pub(super) fn read<'a, T>(
    name: &'static str,
    claim: Option<Raw<'a>>,
    read: impl Fn(Raw<'a>) -> Option<T>,
) -> Result<Option<T>, Problem> {
    let Some(value) = claim else { return Ok(None) };
    read(value).map(Some).ok_or(Problem::Claim { name, problem: ClaimProblem::WrongType })
}

/// A claim that has to be there.
pub(super) fn required<T>(
    name: &'static str,
    value: Result<Option<T>, Problem>,
) -> Result<T, Problem> {
    value?.ok_or(Problem::Claim { name, problem: ClaimProblem::Missing })
}

fn audience<'a>(object: &Object<'a>) -> Result<List<'a>, Problem> {
    let audience = read("aud", object.get("aud"), |value| match value.string() {
        Some(one) => Some(List::One(one)),
        None => strings(&value.array()?).filter(|several| !several.is_empty()),
    })?;
    Ok(audience.unwrap_or_default())
}

fn time(object: &Object<'_>, name: &'static str) -> Result<Option<u64>, Problem> {
    number(object, name, MAX_TIME)
}

fn number(object: &Object<'_>, name: &'static str, max: u64) -> Result<Option<u64>, Problem> {
    read(name, object.get(name), |value| value.whole_number().filter(|&number| number <= max))
}

fn strings<'a>(entries: &[Raw<'a>]) -> Option<List<'a>> {
    entries.iter().map(|entry| entry.string()).collect()
}
