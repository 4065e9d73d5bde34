//! Claims to compact form: `header.payload.signature`.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;

use super::SigningKey;
use crate::error::{Error, ErrorKind};

/// The header of tokens we sign; nothing else ever stands in it.
#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    typ: &'a str,
    kid: &'a str,
}

/// Signs `claims` into a compact JWS ([RFC 7515, section 7.1]).
///
/// # Errors
///
/// [`ErrorKind::Claims`] if `claims` do not serialize to a JSON object, [`ErrorKind::Signing`] if
/// the key fails.
///
/// [RFC 7515, section 7.1]: https://www.rfc-editor.org/rfc/rfc7515#section-7.1
#[allow(dead_code, reason = "the issuer of sessions mints with it")]
pub(crate) fn encode(
    key: &SigningKey,
    typ: &str,
    claims: &impl Serialize,
) -> Result<String, Error> {
    let header = Header { alg: key.algorithm().as_str(), typ, kid: key.kid() };
    let header =
        serde_json::to_vec(&header).map_err(|error| Error::new(ErrorKind::Claims, error))?;
    let payload =
        serde_json::to_vec(claims).map_err(|error| Error::new(ErrorKind::Claims, error))?;
    if payload.first() != Some(&b'{') {
        return Err(ErrorKind::Claims.into());
    }
    let mut token = URL_SAFE_NO_PAD.encode(header);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(payload, &mut token);
    let signature = key.sign(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}
