//! The text form of keys ([RFC 7468](https://www.rfc-editor.org/rfc/rfc7468)).

use base64::{Engine, engine::general_purpose::STANDARD};

/// What every PEM text holds.
pub(super) const BEGIN: &str = "-----BEGIN ";

/// The label and the bytes of a text with exactly one block.
///
/// Text in front is allowed, as tools write it; a second block is not, for it would be ignored.
pub(super) fn decode(pem: &[u8]) -> Option<(&str, Vec<u8>)> {
    let text = std::str::from_utf8(pem).ok()?;
    let (_, rest) = text.split_once(BEGIN)?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, rest) = rest.split_once("-----END ")?;
    let rest = rest.strip_prefix(label)?.strip_prefix("-----")?;
    if !rest.trim().is_empty() {
        return None;
    }
    let body: String = body.split_ascii_whitespace().collect();
    Some((label, STANDARD.decode(body).ok()?))
}

/// One block.
pub(super) fn encode(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut pem = format!("{BEGIN}{label}-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str("-----END ");
    pem.push_str(label);
    pem.push_str("-----\n");
    pem
}
