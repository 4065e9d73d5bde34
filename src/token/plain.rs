//! A payload as issuers write it: see [`members`](super::members).

use std::borrow::Cow;

use serde::{
    Deserialize,
    de::{Error, MapAccess},
};

use super::{
    json::{Text, has_twins},
    list::{List, OneOrMore},
    members::{self, Members, Others, UpTo},
    registered::{MAX_GROUPS, MAX_STAMP, MAX_TIME, Registered},
};

/// A payload in which every claim that we know has its type, and all that every token needs is there.
#[derive(Default)]
pub(super) struct Plain<'a> {
    pub(super) issuer: Cow<'a, str>,
    pub(super) registered: Registered<'a>,
    /// The claim `groups`; empty if it is missing.
    pub(super) groups: List<'a>,
    /// What we know nothing about.
    pub(super) others: Others<'a>,
    /// Which members of [`NAMES`] were there, a bit for each.
    seen: u16,
}

impl<'a> Plain<'a> {
    /// Reads one object and nothing after it.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        let mut plain = Self::default();
        members::read(text, &mut plain)?;
        plain.is_sound().then_some(plain)
    }

    /// Whether a claim of this name would have been read, and is not among the others.
    pub(super) fn knows(name: &str) -> bool {
        NAMES.contains(&name)
    }

    fn is_sound(&self) -> bool {
        self.seen & REQUIRED == REQUIRED
            && (self.seen & AUD == 0 || !self.registered.audience.is_empty())
            && self.groups.len() <= MAX_GROUPS
            && !has_twins(&self.groups, |group| group)
            && self.others.are_unambiguous()
    }
}

impl<'a> Members<'a> for Plain<'a> {
    fn member<A: MapAccess<'a>>(&mut self, name: &'a str, map: &mut A) -> Result<(), A::Error> {
        let claims = &mut self.registered;
        let member = match name {
            "iss" => value::<Text<'a>, _, _>(&mut self.issuer, map, ISS)?,
            "sub" => value::<Text<'a>, _, _>(&mut claims.subject, map, SUB)?,
            "aud" => value::<OneOrMore<'a>, _, _>(&mut claims.audience, map, AUD)?,
            "exp" => value::<Time, _, _>(&mut claims.expires_at, map, EXP)?,
            "nbf" => value::<Time, _, _>(&mut claims.not_before, map, NBF)?,
            "iat" => value::<Time, _, _>(&mut claims.issued_at, map, IAT)?,
            "jti" => value::<Text<'a>, _, _>(&mut claims.token_id, map, JTI)?,
            "sid" => value::<Text<'a>, _, _>(&mut claims.session, map, SID)?,
            "rvs" => value::<UpTo<MAX_STAMP>, _, _>(&mut claims.stamp, map, RVS)?,
            "auth_time" => value::<Time, _, _>(&mut claims.auth_time, map, AUTH_TIME)?,
            "acr" => value::<Text<'a>, _, _>(&mut claims.acr, map, ACR)?,
            "oat" => value::<Time, _, _>(&mut claims.logged_in_at, map, OAT)?,
            "client_id" => value::<Text<'a>, _, _>(&mut claims.client_id, map, CLIENT_ID)?,
            "scope" => value::<Text<'a>, _, _>(&mut claims.scope, map, SCOPE)?,
            "groups" => value::<List<'a>, _, _>(&mut self.groups, map, GROUPS)?,
            _ => return self.others.push(name, map),
        };
        if self.seen & member != 0 {
            return Err(A::Error::custom("a member stands twice"));
        }
        self.seen |= member;
        Ok(())
    }
}

type Time = UpTo<MAX_TIME>;

/// Reads a value of the type `T` into its place. Returns the bit of the member that it is of.
fn value<'a, T: Deserialize<'a> + Into<P>, P, A: MapAccess<'a>>(
    place: &mut P,
    map: &mut A,
    member: u16,
) -> Result<u16, A::Error> {
    *place = map.next_value::<T>()?.into();
    Ok(member)
}

/// The members that are read, each with its bit.
pub(super) const NAMES: [&str; 15] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "sid",
    "rvs",
    "auth_time",
    "acr",
    "oat",
    "client_id",
    "scope",
    "groups",
];
const ISS: u16 = 1;
const SUB: u16 = 1 << 1;
const AUD: u16 = 1 << 2;
const EXP: u16 = 1 << 3;
const NBF: u16 = 1 << 4;
const IAT: u16 = 1 << 5;
const JTI: u16 = 1 << 6;
const SID: u16 = 1 << 7;
const RVS: u16 = 1 << 8;
const AUTH_TIME: u16 = 1 << 9;
const ACR: u16 = 1 << 10;
const OAT: u16 = 1 << 11;
const CLIENT_ID: u16 = 1 << 12;
const SCOPE: u16 = 1 << 13;
const GROUPS: u16 = 1 << 14;

/// What every token needs.
const REQUIRED: u16 = ISS | SUB | EXP | IAT;
