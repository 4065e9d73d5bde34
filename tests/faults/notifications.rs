//! PostgreSQL's notifications in a stream of bytes: enough of its protocol to leave them out.
//!
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>: a message is a byte for
//! its type, four for the length of the rest including these four, and the rest.

/// The type of `NotificationResponse`.
const NOTIFICATION: u8 = b'A';

/// Whether a client that sends `chunk` asks for notifications.
pub(crate) fn asked_for(chunk: &[u8]) -> bool {
    chunk.windows(7).any(|window| window.eq_ignore_ascii_case(b"LISTEN "))
}

/// `chunk`, which begins with a message, without the notifications in it.
///
/// A chunk that does not begin so passes as it is. That does not happen on a connection that does
/// nothing but listen: the database sends whole messages, and few.
pub(crate) fn without(chunk: &mut [u8]) -> &mut [u8] {
    let (mut read, mut kept) = (0, 0);
    while let Some(length) = message(&chunk[read..]) {
        if chunk[read] != NOTIFICATION {
            chunk.copy_within(read..read + length, kept);
            kept += length;
        }
        read += length;
    }
    let rest = chunk.len() - read;
    chunk.copy_within(read.., kept);
    &mut chunk[..kept + rest]
}

/// The length of the message that `bytes` begin with, if it is whole.
fn message(bytes: &[u8]) -> Option<usize> {
    let length: [u8; 4] = bytes.get(1..5)?.try_into().ok()?;
    let length = u32::from_be_bytes(length) as usize + 1;
    (length >= 5 && length <= bytes.len()).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: &[u8] = b"Z\0\0\0\x05I";
    const NOTIFIED: &[u8] = b"A\0\0\0\x0e\0\0\0\x01ab\0cd\0";

    #[test]
    fn notifications_are_left_out_and_nothing_else() {
        for (chunk, left) in [
            ([NOTIFIED].concat(), vec![]),
            ([READY, NOTIFIED, READY].concat(), [READY, READY].concat()),
            ([NOTIFIED, NOTIFIED, READY].concat(), READY.to_vec()),
            ([READY, &NOTIFIED[..7]].concat(), [READY, &NOTIFIED[..7]].concat()),
            (b"N".to_vec(), b"N".to_vec()),
            (b"A\0\0\0\0\0\0".to_vec(), b"A\0\0\0\0\0\0".to_vec()),
        ] {
            assert_eq!(without(&mut chunk.clone()), left, "{chunk:?}");
        }
    }

    #[test]
    fn a_listener_is_known_by_what_it_says() {
        assert!(asked_for(b"Q\0\0\0\x12listen \"revoked\"\0"));
        assert!(!asked_for(b"Q\0\0\0\x0dUNLISTEN\0") && !asked_for(b""));
    }
}
