//! Which client asks: RFC 6749 §2.3.1 and §3.2.1, for a client that has an id and no secret.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, header::AUTHORIZATION};

use super::{answer::Refusal, form::Form};

const TWO_WAYS: Refusal = Refusal::InvalidRequest("the client is named in two ways");
const UNKNOWN: Refusal = Refusal::InvalidClient("the client is unknown, or has no such secret");
const OTHER_WAY: Refusal =
    Refusal::InvalidClient("a client names itself by one Basic Authorization header, or none");

/// What a Basic header says.
struct Basic {
    id: String,
    secret: String,
}

/// Refuses a request that does not come from the client `ours`, as far as it tells. Saying nothing
/// will do: the refresh token is bound to the client.
pub(super) fn check(headers: &HeaderMap, form: &mut Form, ours: &str) -> Result<(), Refusal> {
    let (id, secret) = (form.take("client_id"), form.take("client_secret"));
    if let Some(basic) = basic(headers)? {
        if secret.is_some() || id.as_ref().is_some_and(|id| *id != basic.id) {
            return Err(TWO_WAYS);
        }
        // Stock clients send it for a public client too, with an empty secret.
        if basic.id != ours || !basic.secret.is_empty() {
            return Err(UNKNOWN);
        }
    }
    if secret.is_some() {
        return Err(UNKNOWN);
    }
    match id {
        Some(id) if id != ours => {
            Err(Refusal::InvalidGrant("the refresh token was issued to another client"))
        }
        _ => Ok(()),
    }
}

/// The one `Authorization` header, if there is any.
fn basic(headers: &HeaderMap) -> Result<Option<Basic>, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|_| values.next().is_none()).ok_or(OTHER_WAY)?;
    let (scheme, credentials) = text.split_once(' ').ok_or(OTHER_WAY)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(OTHER_WAY);
    }
    parse(credentials.trim()).ok_or(OTHER_WAY).map(Some)
}

/// RFC 7617: `id:secret` in base64, each half form-urlencoded before (RFC 6749 §2.3.1).
fn parse(credentials: &str) -> Option<Basic> {
    let decoded = String::from_utf8(STANDARD.decode(credentials).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some(Basic { id: unescaped(id), secret: unescaped(secret) })
}

/// One form-urlencoded text: the value of a parameter without a name.
fn unescaped(text: &str) -> String {
    let parameter = format!("={}", text.replace('&', "%26"));
    let value = form_urlencoded::parse(parameter.as_bytes()).next().map(|(_, value)| value);
    value.unwrap_or_default().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_base64_of_two_form_urlencoded_texts() {
        for (plain, id, secret) in [
            ("web:", "web", ""),
            ("my+app%3Aone:a%26b", "my app:one", "a&b"),
            ("a=b&c:x:y", "a=b&c", "x:y"),
            (":", "", ""),
            ("%C3%A9:%", "é", "%"),
        ] {
            let basic = parse(&STANDARD.encode(plain)).unwrap();
            assert_eq!((&*basic.id, &*basic.secret), (id, secret), "{plain}");
        }
        for broken in ["", "web:", "d2Vi", "d2ViOg", "/zo="] {
            assert!(parse(broken).is_none(), "{broken}");
        }
    }
}
