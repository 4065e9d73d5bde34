//! What the claims mean, once the signature vouches for them. Pure.

use std::time::Duration;

use super::{Rejection, TypPolicy, issuer::Issuer};
use crate::{
    clock::as_micros,
    cutoff::Stamp,
    epochs::StoreClock,
    scope::{Id, ScopeKind, ScopeRef},
    token::{ClaimProblem, Claims, Payload},
};

/// Whether the header's `typ` is that of an access token.
pub(super) fn typ(policy: &TypPolicy, typ: Option<&str>) -> Result<(), Rejection> {
    let is =
        |expected: &str| typ.is_some_and(|typ| short(typ).eq_ignore_ascii_case(short(expected)));
    let fits = match policy {
        TypPolicy::AccessToken => is("at+jwt"),
        TypPolicy::Jwt => typ.is_none() || is("JWT") || is("at+jwt"),
        TypPolicy::Exactly(expected) => is(expected),
    };
    if fits { Ok(()) } else { Err(Rejection::Type) }
}

/// Whether the payload is that of an ID, refresh or logout token, for issuers whose header does not
/// say.
pub(super) fn kind(policy: &TypPolicy, payload: &Payload<'_>) -> Result<(), Rejection> {
    if *policy != TypPolicy::Jwt {
        return Ok(());
    }
    // OpenID Connect Core, sections 2 and 3.3.2.11: claims of ID tokens only. RFC 8417, section
    // 2.2: the claim of security events, of which a logout token is one.
    let other_claim =
        ["at_hash", "c_hash", "s_hash", "nonce", "events"].iter().any(|name| payload.has(name));
    let other_typ = payload.string("typ")?.is_some_and(|typ| {
        ["ID", "Refresh", "Offline", "Logout"].iter().any(|kind| typ.eq_ignore_ascii_case(kind))
    });
    if other_claim || other_typ { Err(Rejection::Type) } else { Ok(()) }
}

/// Whether the claims, of which `rvs` is one, are those of a token for us, at any time. Returns its issue
/// stamp.
pub(super) fn claims(
    issuer: &Issuer,
    claims: Claims<'_>,
    rvs: Option<u64>,
) -> Result<Stamp, Rejection> {
    audience(issuer, claims)?;
    identifiers(issuer, claims)?;
    let stamp = stamp(issuer, claims, rvs)?;
    lifetime(issuer, claims)?;
    Ok(stamp)
}

fn audience(issuer: &Issuer, claims: Claims<'_>) -> Result<(), Rejection> {
    let rules = &issuer.rules;
    if rules.any_audience {
        return Ok(());
    }
    let mut audience = claims.audience();
    if audience.clone().next().is_none() {
        return refuse("aud", ClaimProblem::Missing);
    }
    if audience.any(|audience| rules.audiences.iter().any(|ours| ours == audience)) {
        return Ok(());
    }
    Err(Rejection::Audience)
}

/// Whether everything that names a scope is fit to: what cannot be revoked is not accepted.
fn identifiers(issuer: &Issuer, claims: Claims<'_>) -> Result<(), Rejection> {
    let rules = &issuer.rules;
    if (rules.require_session || rules.store_time) && !claims.has_session() {
        return refuse("sid", ClaimProblem::Missing);
    }
    if rules.store_time && !claims.has_token_id() {
        return refuse("jti", ClaimProblem::Missing);
    }
    let mut missing = 1 + usize::from(claims.has_session()) + usize::from(claims.has_token_id());
    for ScopeRef { kind, subject: id } in claims.scopes() {
        missing = missing.saturating_sub(1);
        let bare = claims.bare(id);
        Id::validate(bare)
            .and_then(|()| if bare.len() == id.len() { Ok(()) } else { Id::validate(id) })
            .map_err(|problem| Rejection::Claim {
                name: claim_of(kind),
                problem: ClaimProblem::Id(problem),
            })?;
    }
    // Whatever the claims are kept in must not lose one.
    if missing == 0 { Ok(()) } else { refuse("sub", ClaimProblem::Missing) }
}

/// The claim that names scopes of this kind.
fn claim_of(kind: ScopeKind) -> &'static str {
    match kind {
        ScopeKind::Session => "sid",
        ScopeKind::Token => "jti",
        ScopeKind::Group => "groups",
        // No claim says that a token is in `Everyone`, so it is not among them.
        ScopeKind::User | ScopeKind::Everyone => "sub",
    }
}

fn stamp(issuer: &Issuer, claims: Claims<'_>, rvs: Option<u64>) -> Result<Stamp, Rejection> {
    let rules = &issuer.rules;
    match (rules.store_time, rvs) {
        (true, Some(stamp)) => Ok(Stamp::from_micros(stamp)),
        (true, None) => refuse("rvs", ClaimProblem::Missing),
        // Whoever writes it does not know our store time, and would be above every revocation.
        (false, Some(_)) => refuse("rvs", ClaimProblem::Contradiction),
        (false, None) => {
            let issued_at = claims.issued_at().saturating_mul(1_000_000);
            Ok(Stamp::from_micros(issued_at.saturating_sub(as_micros(rules.issue_skew))))
        }
    }
}

fn lifetime(issuer: &Issuer, claims: Claims<'_>) -> Result<(), Rejection> {
    let Some(lifetime) = claims.expires_at().checked_sub(claims.issued_at()) else {
        return refuse("iat", ClaimProblem::Contradiction);
    };
    if Duration::from_secs(lifetime) > issuer.max_lifetime {
        return Err(Rejection::LifetimeTooLong);
    }
    Ok(())
}

/// Whether the token is valid now. It is refused where it is not by any clock the store may have.
#[inline]
pub(super) fn times(
    claims: Claims<'_>,
    clock: StoreClock,
    leeway: Duration,
) -> Result<(), Rejection> {
    // The claims are whole seconds, so the seconds of these times decide. Saturating, although a year
    // of four digits cannot overflow: the bound stands in another file.
    let expired_until = clock.earliest.checked_sub(leeway).map(|time| time.as_secs());
    if expired_until.is_some_and(|time| claims.expires_at() <= time) {
        return Err(Rejection::Expired);
    }
    let latest = clock.latest.saturating_add(leeway).as_secs();
    if claims.not_before().is_some_and(|time| time > latest) {
        return Err(Rejection::NotYetValid);
    }
    if claims.issued_at() > latest {
        return Err(Rejection::IssuedInFuture);
    }
    Ok(())
}

/// A media type without `application/`, which may be left out
/// ([RFC 7515, section 4.1.9](https://www.rfc-editor.org/rfc/rfc7515#section-4.1.9)).
fn short(typ: &str) -> &str {
    const PREFIX: &str = "application/";
    match typ.split_at_checked(PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) => rest,
        _ => typ,
    }
}

fn refuse<T>(name: &'static str, problem: ClaimProblem) -> Result<T, Rejection> {
    Err(Rejection::Claim { name, problem })
}
