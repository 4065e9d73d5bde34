//! The token as bytes: size, segments, base64url, UTF-8, JSON.

use tower_revocation::{
    Rejection, Verifier,
    token::Algorithm,
    verify::Malformed::{Base64, EmptySegment, Json, Segments, Utf8},
};

use crate::support::*;

fn malformed(how: tower_revocation::verify::Malformed) -> Option<Rejection> {
    Some(Rejection::Malformed(how))
}

/// The three segments of a good token.
fn parts() -> [String; 3] {
    let token = good(&payload());
    let parts: Vec<_> = token.split('.').map(str::to_owned).collect();
    parts.try_into().unwrap()
}

/// A good header and the given payload bytes.
fn with_payload(payload: impl AsRef<[u8]>) -> String {
    Forger::new(Algorithm::EdDSA).token(header(Algorithm::EdDSA).json(), payload)
}

#[test]
fn b00_the_good_twin_of_every_token_here_is_accepted() {
    assert_eq!(refused(parts().join(".")), None);
    assert_eq!(refused(with_payload(payload().json())), None);
}

#[test]
fn b25_refuses_any_number_of_dots_but_two() {
    let [h, p, s] = parts();
    for token in [String::new(), h.clone(), format!("{h}.{p}"), format!("{h}.{p}.{s}.{s}")] {
        assert_eq!(refused(&token), malformed(Segments), "{token}");
    }
    assert_eq!(refused(".."), malformed(EmptySegment));
    assert_eq!(refused(format!(".{p}.{s}")), malformed(EmptySegment));
}

#[test]
fn b26_refuses_a_five_part_jwe() {
    let [h, p, s] = parts();
    assert_eq!(refused(format!("{h}.{p}.{s}.{p}.{s}")), malformed(Segments));
}

#[test]
fn b27_refuses_the_json_serialisation() {
    let [h, p, s] = parts();
    let flattened = format!(r#"{{"protected":"{h}","payload":"{p}","signature":"{s}"}}"#);
    assert_eq!(refused(flattened), malformed(Segments));
}

#[test]
fn b28_refuses_a_lone_dot() {
    assert_eq!(refused("."), malformed(Segments));
}

#[test]
fn b29_refuses_8_kib_of_dots() {
    assert_eq!(refused(".".repeat(8192)), malformed(Segments));
    assert_eq!(refused(".".repeat(8193)), Some(Rejection::TooLarge));
}

#[test]
fn b30_refuses_padding() {
    let [h, p, s] = parts();
    for token in [format!("{h}=.{p}.{s}"), format!("{h}.{p}=.{s}"), format!("{h}.{p}.{s}==")] {
        assert_eq!(refused(&token), malformed(Base64), "{token}");
    }
}

#[test]
fn b31_refuses_the_alphabet_with_plus_and_slash() {
    // A payload whose base64url holds both special characters.
    let token = with_payload(payload().text("note", "\u{fb}\u{ff}~~~???>>>").json());
    assert!(token.contains('-') || token.contains('_'), "{token}");
    assert_eq!(refused(&token), None);
    assert_eq!(refused(token.replace('-', "+").replace('_', "/")), malformed(Base64));
}

#[test]
fn b32_refuses_trailing_bits_that_are_not_zero() {
    // 64 bytes of signature leave four unused bits in the last character.
    let [h, p, s] = parts();
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = ALPHABET.find(&s[s.len() - 1..]).unwrap();
    let spelt = |bits: usize| format!("{h}.{p}.{}{}", &s[..s.len() - 1], &ALPHABET[bits..=bits]);
    assert_eq!(refused(spelt(last)), None);
    for bits in last + 1..last + 16 {
        assert_eq!(refused(spelt(bits)), malformed(Base64));
    }
}

#[test]
fn b33_refuses_an_embedded_newline() {
    let [h, p, s] = parts();
    let (front, back) = p.split_at(8);
    for token in
        [format!("{h}.{front}\n{back}.{s}"), format!("{h}.{p}.{s}\n"), format!(" {h}.{p}.{s}")]
    {
        assert_eq!(refused(&token), malformed(Base64), "{token:?}");
    }
}

#[test]
fn b34_refuses_an_empty_payload() {
    let [h, _, _] = parts();
    assert_eq!(refused(Forger::new(Algorithm::EdDSA).segments(&h, "")), malformed(EmptySegment));
}

#[test]
fn b35_refuses_an_empty_signature() {
    let [h, p, _] = parts();
    assert_eq!(refused(format!("{h}.{p}.")), malformed(EmptySegment));
}

#[test]
fn b36_refuses_json_that_is_not_utf_8() {
    let mut latin = payload().json().into_bytes();
    let at = latin.windows(5).position(|text| text == b"alice").unwrap();
    latin[at] = 0xe9;
    assert_eq!(refused(with_payload(latin)), malformed(Utf8));
    let mut utf16 = vec![0xff, 0xfe];
    utf16.extend(payload().json().encode_utf16().flat_map(u16::to_le_bytes));
    assert_eq!(refused(with_payload(utf16)), malformed(Utf8));
}

#[test]
fn b37_refuses_a_byte_order_mark() {
    assert_eq!(refused(with_payload(format!("\u{feff}{}", payload().json()))), malformed(Json));
}

#[test]
fn b38_refuses_text_after_the_json() {
    let json = payload().json();
    for text in [format!("{json}{json}"), format!("{json},"), format!("{json}\0")] {
        assert_eq!(refused(with_payload(text)), malformed(Json));
    }
    for text in ["[]", "null", "\"{}\"", "1", "{", "{\"a\":}"] {
        assert_eq!(refused(with_payload(text)), malformed(Json), "{text}");
    }
}

#[test]
fn b39_refuses_nesting_1000_deep() {
    let roomy = Verifier::builder(epochs().0)
        .issuer(rules(Algorithm::EdDSA))
        .max_token_bytes(64 * 1024)
        .build()
        .unwrap();
    let refused = |token: String| check(&roomy, token).err();
    for (open, close, value) in [("[", "]", ""), (r#"{"a":"#, "}", "1")] {
        let deep = format!("{}{value}{}", open.repeat(1000), close.repeat(1000));
        assert_eq!(refused(with_payload(payload().set("x", &deep).json())), malformed(Json));
        let header = header(Algorithm::EdDSA).set("x", &deep).json();
        let token = Forger::new(Algorithm::EdDSA).token(header, payload().json());
        assert_eq!(refused(token), malformed(Json));
    }
    let shallow = with_payload(payload().set("x", "[[[[[[[[[[]]]]]]]]]]").json());
    assert_eq!(refused(shallow), None);
}
