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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::token::{Algorithm, Compact, CryptoBackend, Header, Payload};

    #[test]
    fn what_is_written_is_read_and_verified_by_every_library() {
        let generated = ["HS256", "HS384", "HS512", "ES256", "ES384", "EdDSA"];
        for algorithm in generated.map(|name| name.parse::<Algorithm>().unwrap()) {
            let key = SigningKey::generate(algorithm).unwrap();
            let token = encode(&key, "at+jwt", &json!({ "iss": "x" })).unwrap();
            let mut buffer = Vec::new();
            let token = Compact::parse(token.as_bytes(), 8192, &mut buffer).unwrap();
            let header = Header::parse(token.header).unwrap();
            assert_eq!(header.algorithm, algorithm);
            assert_eq!(header.kid.as_deref(), Some(key.kid()));
            assert_eq!(header.typ.as_deref(), Some("at+jwt"));
            assert_eq!(Payload::parse(token.payload).unwrap().issuer().as_deref(), Ok("x"));
            for &backend in CryptoBackend::ALL {
                let verifies = key.verifying_key().verifies(backend, token.signed, token.signature);
                assert!(verifies, "{algorithm} {backend:?}");
            }
        }
    }

    #[test]
    fn only_an_object_is_a_payload() {
        let key = SigningKey::generate(Algorithm::HS256).unwrap();
        let refused = encode(&key, "at+jwt", &[1]).map_err(|error| error.kind());
        assert_eq!(refused, Err(ErrorKind::Claims));
    }
}
