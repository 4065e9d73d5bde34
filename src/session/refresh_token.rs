//! Refresh tokens: what they say, to text and back. Pure.
//!
//! `rt1-payload.mac`: the version, then in base64url a JSON array `[kid, session, counter, user]`
//! and its HMAC-SHA256 under the secret `kid`. Nothing of it is kept, and a forged one is refused
//! without a query. The MAC covers more than is written: see [`Party`].

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    error::{Error, ErrorKind},
    scope::{Id, InvalidId},
    token::{SigningKey, VerifyingKey, default_backend},
};

/// A refresh token: whoever holds it continues the session, once.
///
/// It is a text of letters, digits, `-`, `_` and one `.`, under 4 KiB long. To the client it means
/// nothing, and its form may change. Debug does not show it.
#[derive(Clone)]
pub struct RefreshToken(String);

impl RefreshToken {
    /// The text to hand to the client.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshToken").finish_non_exhaustive()
    }
}

/// What a refresh token says: which one of which family of successors it is.
///
/// The user is in it although the session would do: the claims of the next access token are read
/// by user, and before the one statement of the refresh. Without it, each refresh would first have
/// to ask the store whose session it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Family {
    pub(super) session: Id,
    pub(super) user: Id,
    pub(super) counter: u64,
}

/// Who issues the token and to which client. Covered by the MAC and not written: a token of
/// another issuer or client with the same secrets is refused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Party<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
}

/// Writes a token. The same arguments make the same one.
///
/// # Errors
///
/// [`ErrorKind::Signing`] if the key fails.
pub(super) fn seal(
    key: &SigningKey,
    party: &Party<'_>,
    family: &Family,
) -> Result<RefreshToken, Error> {
    let said = (key.kid(), family.session.as_str(), family.counter, family.user.as_str());
    let payload =
        serde_json::to_vec(&said).map_err(|error| Error::new(ErrorKind::Claims, error))?;
    let payload = URL_SAFE_NO_PAD.encode(payload);
    let mac = key.sign(&covered(party, &payload))?;
    Ok(RefreshToken(format!("{VERSION}-{payload}.{}", URL_SAFE_NO_PAD.encode(mac))))
}

/// Reads a token that was sealed for `party` by the secret that `key` finds.
///
/// # Errors
///
/// [`ErrorKind::RefreshTokenInvalid`]; its source names the flaw and shows nothing of the token.
pub(super) fn open(
    text: &str,
    party: &Party<'_>,
    key: impl FnOnce(&str) -> Option<VerifyingKey>,
) -> Result<Family, Error> {
    // Before anything that takes longer, the longer the text.
    if text.len() > MAX_BYTES {
        return Err(Flaw::TooLarge.into());
    }
    let rest = text.strip_prefix(VERSION).and_then(|rest| rest.strip_prefix('-'));
    let (payload, mac) = rest.ok_or(Flaw::Version)?.split_once('.').ok_or(Flaw::Parts)?;
    // The alphabet has no dot, so that a third part fails here. Neither can anything be spelled in
    // two ways: the engine refuses padding and trailing bits.
    let mac = URL_SAFE_NO_PAD.decode(mac).map_err(|_| Flaw::Base64)?;
    let said = URL_SAFE_NO_PAD.decode(payload).map_err(|_| Flaw::Base64)?;
    if mac.len() != MAC_BYTES {
        return Err(Flaw::Forged.into());
    }
    // Of this, only the id is used before the MAC is verified.
    let (kid, session, counter, user): (String, String, u64, String) =
        serde_json::from_slice(&said).map_err(|_| Flaw::Payload)?;
    let key = key(&kid).ok_or(Flaw::UnknownKey)?;
    let backend =
        default_backend().map_err(|error| Error::new(ErrorKind::RefreshTokenInvalid, error))?;
    if !key.verifies(backend, &covered(party, payload), &mac) {
        return Err(Flaw::Forged.into());
    }
    let session = Id::new(&session).map_err(Flaw::Session)?;
    let user = Id::new(&user).map_err(Flaw::User)?;
    Ok(Family { session, user, counter })
}

/// Whether a token was refused because its key is not known here.
pub(super) fn names_unknown_key(error: &Error) -> bool {
    let source = std::error::Error::source(error);
    source.and_then(|source| source.downcast_ref()) == Some(&Flaw::UnknownKey)
}

/// What the MAC covers. Each part follows its length, so that no two lists make the same text.
fn covered(party: &Party<'_>, payload: &str) -> Vec<u8> {
    let mut text = LABEL.to_vec();
    for part in [VERSION, party.issuer, party.client_id, payload] {
        text.extend_from_slice(&(part.len() as u64).to_be_bytes());
        text.extend_from_slice(part.as_bytes());
    }
    text
}

/// What is wrong with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Flaw {
    #[error("it is longer than {MAX_BYTES} bytes")]
    TooLarge,
    #[error("it is not of version {VERSION}")]
    Version,
    #[error("it has no two parts")]
    Parts,
    #[error("a part is not strict base64url")]
    Base64,
    #[error("its payload is not of the form")]
    Payload,
    #[error("its key is unknown, or retired")]
    UnknownKey,
    #[error("its MAC is not this key's, for this issuer and client")]
    Forged,
    #[error("its session {0}")]
    Session(InvalidId),
    #[error("its user {0}")]
    User(InvalidId),
}

impl From<Flaw> for Error {
    fn from(flaw: Flaw) -> Self {
        Self::new(ErrorKind::RefreshTokenInvalid, flaw)
    }
}

const VERSION: &str = "rt1";

/// Begins what the MAC covers. A blank never stands in the signing input of a JWT, and the label
/// of key ids is another text.
const LABEL: &[u8] = b"tower-revocation refresh token";

/// Of the text. Two of the longest ids, with every byte escaped, need less.
const MAX_BYTES: usize = 4096;

const MAC_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;
    use crate::{
        scope::MAX_ID_BYTES,
        token::{Algorithm, encode},
    };

    const PARTY: Party<'_> = Party { issuer: "https://login.test", client_id: "web" };

    fn key() -> SigningKey {
        SigningKey::hmac(Algorithm::HS256, &[7; 32]).unwrap()
    }

    fn family(session: &str, user: &str, counter: u64) -> Family {
        Family { session: Id::new(session).unwrap(), user: Id::new(user).unwrap(), counter }
    }

    fn sealed() -> String {
        seal(&key(), &PARTY, &family("s1", "alice", 3)).unwrap().as_str().to_owned()
    }

    fn read_for(text: &str, party: &Party<'_>) -> Result<Family, Error> {
        open(text, party, |kid| (kid == key().kid()).then(|| key().verifying_key()))
    }

    fn read(text: &str) -> Result<Family, Error> {
        read_for(text, &PARTY)
    }

    fn flaw(result: Result<Family, Error>) -> Option<Flaw> {
        let error = result.err()?;
        assert_eq!(error.kind(), ErrorKind::RefreshTokenInvalid);
        error.source()?.downcast_ref().copied()
    }

    /// A token of this payload, sealed as ours are.
    fn with_payload(payload: &str) -> String {
        let payload = URL_SAFE_NO_PAD.encode(payload);
        with_mac_over(&payload, &covered(&PARTY, &payload))
    }

    fn with_mac_over(payload: &str, covered: &[u8]) -> String {
        format!("rt1-{payload}.{}", URL_SAFE_NO_PAD.encode(key().sign(covered).unwrap()))
    }

    #[test]
    fn what_is_sealed_is_read_again() {
        let longest = "\"".repeat(MAX_ID_BYTES);
        for (session, user, counter) in
            [("s1", "alice", 0), ("\u{e9}\"\\", "[,]", 1), (&*longest, &*longest, u64::MAX)]
        {
            let family = family(session, user, counter);
            let token = seal(&key(), &PARTY, &family).unwrap();
            assert_eq!(read(token.as_str()).unwrap(), family);
            let again = seal(&key(), &PARTY, &family).unwrap();
            assert_eq!(token.as_str(), again.as_str());
        }
    }

    #[test]
    fn tokens_in_the_hands_of_clients_stay_readable() {
        // Computed by Python's `hmac`: see the head of this file for the form.
        let token = concat!(
            "rt1-WyJ5QzNoTm9hSzUzQkRJTHRGaUpuYWt3IiwiczEiLDMsImF",
            "saWNlIl0.XG3N8fZkS1h24NczjDR7ITDlp_f_zg8CR26xSGNX1tA"
        );
        assert_eq!(read(token).unwrap(), family("s1", "alice", 3));
        assert_eq!(sealed(), token);
    }

    #[test]
    fn b80_a_damaged_token_is_refused_whatever_the_damage() {
        let token = sealed();
        for length in 0..token.len() {
            assert!(flaw(read(&token[..length])).is_some(), "cut to {length}");
        }
        for at in 0..token.len() {
            for bit in 0..8 {
                let mut bytes = token.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let text = String::from_utf8_lossy(&bytes);
                assert!(flaw(read(&text)).is_some(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn b80_a_token_of_another_form_is_refused_by_its_flaw() {
        let token = sealed();
        let rest = token.strip_prefix("rt1-").unwrap();
        let (payload, mac) = rest.split_once('.').unwrap();
        let jwt = encode(&key(), "rt+jwt", &serde_json::json!({ "sid": "s1" })).unwrap();
        let short = URL_SAFE_NO_PAD.encode([0; 31]);
        for (text, expected) in [
            (String::new(), Flaw::Version),
            ("x".repeat(1 << 20), Flaw::TooLarge),
            (token.clone() + &"A".repeat(1 << 20), Flaw::TooLarge),
            (format!("rt1-{}", "A".repeat(MAX_BYTES - 4)), Flaw::Parts),
            (rest.to_owned(), Flaw::Version),
            (format!("-{rest}"), Flaw::Version),
            (format!("rt0-{rest}"), Flaw::Version),
            (format!("rt2-{rest}"), Flaw::Version),
            (format!("rt11-{rest}"), Flaw::Version),
            (format!("RT1-{rest}"), Flaw::Version),
            (format!("rt1{rest}"), Flaw::Version),
            (format!(" {token}"), Flaw::Version),
            ("rt1-".to_owned(), Flaw::Parts),
            (format!("rt1-{payload}"), Flaw::Parts),
            (format!("rt1-{payload}{mac}"), Flaw::Parts),
            ("rt1-.".to_owned(), Flaw::Forged),
            (format!("rt1-.{mac}"), Flaw::Payload),
            (format!("rt1-{payload}."), Flaw::Forged),
            (format!("rt1-{payload}.{short}"), Flaw::Forged),
            (format!("rt1-{mac}.{payload}"), Flaw::Forged),
            (format!("rt1-{payload}=.{mac}"), Flaw::Base64),
            (format!("rt1-{payload}.{mac}="), Flaw::Base64),
            (format!("{token}."), Flaw::Base64),
            (format!("{token}.{mac}"), Flaw::Base64),
            (format!("{token}\n"), Flaw::Base64),
            (format!("{token} "), Flaw::Base64),
            (format!("{token}x"), Flaw::Forged),
            (format!("{token}\0"), Flaw::Base64),
            (jwt.clone(), Flaw::Version),
            (format!("rt1-{jwt}"), Flaw::Base64),
        ] {
            let shown: String = text.chars().take(80).collect();
            assert_eq!(flaw(read(&text)), Some(expected), "{shown}");
        }
    }

    #[test]
    fn b80_a_payload_that_says_something_else_is_refused_though_sealed() {
        let kid = key().kid().to_owned();
        for (payload, expected) in [
            (format!(r#"["{kid}","s1",3]"#), Flaw::Payload),
            (format!(r#"["{kid}","s1",3,"alice",1]"#), Flaw::Payload),
            (format!(r#"["{kid}","s1",3,"alice"]]"#), Flaw::Payload),
            (format!(r#"["{kid}","s1",3,"alice"]["#), Flaw::Payload),
            (format!(r#"["{kid}","s1",-3,"alice"]"#), Flaw::Payload),
            (format!(r#"["{kid}","s1",3.0,"alice"]"#), Flaw::Payload),
            (format!(r#"["{kid}","s1","3","alice"]"#), Flaw::Payload),
            (format!(r#"["{kid}","s1",18446744073709551616,"alice"]"#), Flaw::Payload),
            (format!(r#"["{kid}",null,3,"alice"]"#), Flaw::Payload),
            (r#"{"0":1}"#.to_owned(), Flaw::Payload),
            ("[".repeat(1_000), Flaw::Payload),
            (r#"["other","s1",3,"alice"]"#.to_owned(), Flaw::UnknownKey),
            (r#"["","s1",3,"alice"]"#.to_owned(), Flaw::UnknownKey),
            (format!(r#"["{kid}","",3,"alice"]"#), Flaw::Session(InvalidId::Empty)),
            (format!(r#"["{kid}","s1",3,"a\u0000"]"#), Flaw::User(InvalidId::ControlCharacter)),
        ] {
            assert_eq!(flaw(read(&with_payload(&payload))), Some(expected), "{payload}");
        }
    }

    #[test]
    fn b77_a_token_of_another_client_or_issuer_is_refused() {
        for (issuer, client_id) in [
            ("https://login.test", "mobile"),
            ("https://login.test", ""),
            ("https://other.test", "web"),
            // The same letters, cut elsewhere.
            ("https://login.testw", "eb"),
            ("https://login.tes", "tweb"),
            ("web", "https://login.test"),
        ] {
            let other = Party { issuer, client_id };
            assert_eq!(flaw(read_for(&sealed(), &other)), Some(Flaw::Forged), "{other:?}");
        }
    }

    #[test]
    fn b80_nothing_else_that_the_secret_signs_is_a_mac() {
        let token = sealed();
        let payload = token[4..].split('.').next().unwrap();
        let other = SigningKey::hmac(Algorithm::HS256, &[8; 32]).unwrap().with_kid(key().kid());
        let forged = seal(&other, &PARTY, &family("s1", "alice", 3)).unwrap();
        let again = with_mac_over(payload, &covered(&PARTY, payload));
        assert_eq!(again, token);
        for text in [
            forged.as_str().to_owned(),
            with_mac_over(payload, payload.as_bytes()),
            with_mac_over(payload, format!("rt1-{payload}").as_bytes()),
            with_mac_over(payload, b"tower-revocation kid"),
            with_mac_over(payload, &covered(&PARTY, "")),
        ] {
            assert_eq!(flaw(read(&text)), Some(Flaw::Forged), "{text}");
        }
        assert!(covered(&PARTY, payload).contains(&b' '), "as no JWT's signing input does");
    }

    #[test]
    fn neither_debug_nor_an_error_shows_a_token() {
        let token = seal(&key(), &PARTY, &family("s1", "alice", 3)).unwrap();
        assert_eq!(format!("{token:?}"), "RefreshToken { .. }");
        let refused = with_payload(&format!(r#"["{}","s1",3,"al\u0000ice"]"#, key().kid()));
        let error = read(&refused).unwrap_err();
        let shown = format!("{error} {error:?} {}", error.source().unwrap());
        for part in ["alice", "al\0ice", "s1", key().kid(), &refused[4..20]] {
            assert!(!shown.contains(part), "{shown}");
        }
    }
}
