//! Keys as JSON ([RFC 7517](https://www.rfc-editor.org/rfc/rfc7517),
//! [RFC 7518, section 6](https://www.rfc-editor.org/rfc/rfc7518#section-6),
//! [RFC 8037, section 2](https://www.rfc-editor.org/rfc/rfc8037#section-2)).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use super::{
    Algorithm, CryptoBackend, VerifyingKey,
    algorithm::{Curve, KeyType},
    json::{Object, Raw},
    key::{Public, problem_of},
};
use crate::error::{ConfigError, KeyProblem};

/// Reads one key.
pub(super) fn parse(text: &str) -> Result<VerifyingKey, ConfigError> {
    let object = Object::parse(text).map_err(|_| problem_of(None, KeyProblem::Malformed))?;
    let kid = string(&object, "kid").map_err(|problem| problem_of(None, problem))?;
    match key(&object) {
        Ok(key) => Ok(match kid {
            Some(kid) => key.with_kid(kid),
            None => key,
        }),
        Err(problem) => Err(problem_of(kid.as_deref(), problem)),
    }
}

fn key(object: &Object<'_>) -> Result<VerifyingKey, KeyProblem> {
    for_signatures(object)?;
    let kty = string(object, "kty")?.ok_or(KeyProblem::Malformed)?;
    let curve = string(object, "crv")?.map(|name| match name.as_str() {
        "P-256" => Curve::P256,
        "P-384" => Curve::P384,
        "Ed25519" => Curve::Ed25519,
        _ => Curve::Other,
    });
    let found = match (kty.as_str(), curve) {
        ("oct", _) => KeyType::Secret,
        ("RSA", _) => KeyType::Rsa,
        ("EC", Some(curve)) => KeyType::Ec(curve),
        ("OKP", Some(curve)) => KeyType::Okp(curve),
        ("EC" | "OKP", None) => return Err(KeyProblem::Malformed),
        _ => return Err(KeyProblem::Algorithm),
    };
    let algorithm = match (string(object, "alg")?, found) {
        (Some(name), _) => Algorithm::named(&name).ok_or(KeyProblem::Algorithm)?,
        (None, KeyType::Ec(Curve::P256)) => Algorithm::ES256,
        (None, KeyType::Ec(Curve::P384)) => Algorithm::ES384,
        (None, KeyType::Okp(Curve::Ed25519)) => Algorithm::EdDSA,
        // A modulus or a secret serves several algorithms, and the token must not choose.
        (None, _) => return Err(KeyProblem::Algorithm),
    };
    algorithm.fits(found)?;
    if found != KeyType::Secret && object.get("d").is_some() {
        return Err(KeyProblem::PrivateHalf);
    }
    match found {
        KeyType::Secret => VerifyingKey::from_secret(algorithm, &bytes(object, "k")?),
        KeyType::Rsa => {
            VerifyingKey::from_rsa(algorithm, &bytes(object, "n")?, &bytes(object, "e")?)
        }
        KeyType::Okp(_) => VerifyingKey::from_point(algorithm, found, &bytes(object, "x")?),
        KeyType::Ec(curve) => {
            let (x, y) = (bytes(object, "x")?, bytes(object, "y")?);
            let coordinate = if curve == Curve::P256 { 32 } else { 48 };
            // RFC 7518, section 6.2.1.2: the full size, even where it begins with zeros.
            if x.len() != coordinate || y.len() != coordinate {
                return Err(KeyProblem::Malformed);
            }
            VerifyingKey::from_point(algorithm, found, &[&[4], &x[..], &y[..]].concat())
        }
    }
}

/// The keys of a set as text.
pub(super) fn split(jwks: &str) -> Result<Vec<&str>, KeyProblem> {
    let object = Object::parse(jwks).map_err(|_| KeyProblem::Malformed)?;
    let keys = object.get("keys").and_then(Raw::array).ok_or(KeyProblem::Malformed)?;
    Ok(keys.into_iter().map(Raw::text).collect())
}

/// The members that make the key itself; `None` for a secret.
pub(super) fn members(public: &Public, algorithm: Algorithm) -> Option<Map<String, Value>> {
    let text = |bytes: &[u8]| Value::from(URL_SAFE_NO_PAD.encode(bytes));
    let members = match public {
        Public::Secret => return None,
        Public::Rsa { modulus, exponent } => {
            vec![("e", text(exponent)), ("kty", "RSA".into()), ("n", text(modulus))]
        }
        Public::Ec(point) => {
            let (x, y) = point[1..].split_at(point.len() / 2);
            let curve = if algorithm == Algorithm::ES256 { "P-256" } else { "P-384" };
            vec![("crv", curve.into()), ("kty", "EC".into()), ("x", text(x)), ("y", text(y))]
        }
        Public::Ed25519(x) => {
            vec![("crv", "Ed25519".into()), ("kty", "OKP".into()), ("x", text(x))]
        }
    };
    Some(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// The thumbprint ([RFC 7638](https://www.rfc-editor.org/rfc/rfc7638)) of a public key.
pub(super) fn thumbprint(key: &VerifyingKey, backend: CryptoBackend) -> Option<String> {
    // Members in alphabetical order and no white space: what the section 3 asks for. Sorted here,
    // for `serde_json` keeps another order when somebody asks it to.
    let mut members: Vec<_> = members(key.public(), key.algorithm())?.into_iter().collect();
    members.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let members: Vec<String> =
        members.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    let text = format!("{{{}}}", members.join(","));
    Some(URL_SAFE_NO_PAD.encode(backend.sha256(text.as_bytes())?))
}

/// `use` and `key_ops` ([RFC 7517, section 4.2](https://www.rfc-editor.org/rfc/rfc7517#section-4.2)).
fn for_signatures(object: &Object<'_>) -> Result<(), KeyProblem> {
    if string(object, "use")?.is_some_and(|purpose| purpose != "sig") {
        return Err(KeyProblem::NotForSignatures);
    }
    let Some(operations) = object.get("key_ops") else { return Ok(()) };
    let operations = operations.array().ok_or(KeyProblem::Malformed)?;
    let verifies = operations
        .into_iter()
        .any(|operation| operation.string().is_some_and(|name| name == "verify"));
    if verifies { Ok(()) } else { Err(KeyProblem::NotForSignatures) }
}

fn string(object: &Object<'_>, name: &str) -> Result<Option<String>, KeyProblem> {
    match object.get(name) {
        None => Ok(None),
        Some(value) => {
            value.string().map(|text| Some(text.into_owned())).ok_or(KeyProblem::Malformed)
        }
    }
}

fn bytes(object: &Object<'_>, name: &str) -> Result<Vec<u8>, KeyProblem> {
    let text = string(object, name)?.ok_or(KeyProblem::Malformed)?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyProblem::Malformed)
}
