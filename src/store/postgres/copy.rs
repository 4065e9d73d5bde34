//! What a copy in binary form says.

use crate::{
    cutoff::StoreTime,
    error::Error,
    store::{
        Entry,
        sql::{corrupt, entry},
    },
};

/// How a copy begins: a signature, flags that say nothing, and an extension of no length.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// What a copy in binary form says, read as it comes in.
pub(super) struct Rows {
    newest: StoreTime,
    entries: Vec<Entry>,
    /// Of what came in, the part that is not read yet: less than a row.
    rest: Vec<u8>,
    began: bool,
    ended: bool,
}

impl Rows {
    pub(super) fn new(newest: StoreTime) -> Self {
        Self { newest, entries: Vec::new(), rest: Vec::new(), began: false, ended: false }
    }

    /// Reads what is whole in it, and keeps the rest.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(), Error> {
        // Mostly a message is a row.
        if self.rest.is_empty() {
            let read = self.whole(bytes)?;
            self.rest.extend_from_slice(&bytes[read..]);
        } else {
            let mut rest = std::mem::take(&mut self.rest);
            rest.extend_from_slice(bytes);
            let read = self.whole(&rest)?;
            rest.drain(..read);
            self.rest = rest;
        }
        Ok(())
    }

    /// Reads rows as long as they are whole. Returns how many bytes they took.
    fn whole(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        let mut left = bytes;
        if !self.began {
            let Some((header, rows)) = left.split_at_checked(HEADER.len()) else { return Ok(0) };
            if header != HEADER {
                return Err(corrupt("the copy begins in an unknown way"));
            }
            (self.began, left) = (true, rows);
        }
        while let Some(next) = self.row(left)? {
            left = next;
        }
        Ok(bytes.len() - left.len())
    }

    /// Reads a row, and returns what is behind it. `None` if it is not whole.
    fn row<'b>(&mut self, bytes: &'b [u8]) -> Result<Option<&'b [u8]>, Error> {
        let Some((columns, mut left)) = bytes.split_first_chunk() else { return Ok(None) };
        match i16::from_be_bytes(*columns) {
            -1 if !self.ended => {
                self.ended = true;
                return Ok(Some(left));
            }
            5 if !self.ended => {}
            _ => return Err(corrupt("the copy has other columns than were asked for")),
        }
        let mut fields: [&[u8]; 5] = [&[]; 5];
        for field in &mut fields {
            let Some((length, behind)) = left.split_first_chunk() else { return Ok(None) };
            // Negative for NULL, which these columns are not.
            let length = usize::try_from(i32::from_be_bytes(*length)).map_err(corrupt)?;
            let Some((value, behind)) = behind.split_at_checked(length) else { return Ok(None) };
            (*field, left) = (value, behind);
        }
        let [kind, subject, times @ ..] = fields;
        let text = |bytes| str::from_utf8(bytes).map_err(corrupt);
        let time = |bytes: &[u8]| bytes.try_into().map(i64::from_be_bytes).map_err(corrupt);
        let times = [time(times[0])?, time(times[1])?, time(times[2])?];
        self.entries.extend(entry(text(kind)?, text(subject)?, times, self.newest)?);
        Ok(Some(left))
    }

    /// All of it, if nothing is missing.
    pub(super) fn end(self) -> Result<Vec<Entry>, Error> {
        if self.ended && self.rest.is_empty() {
            Ok(self.entries)
        } else {
            Err(corrupt("the copy broke off"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    /// A copy of rows with these texts, and the times 1, 2 and 3.
    fn copy(rows: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = HEADER.to_vec();
        for (kind, subject) in rows {
            bytes.extend(5_i16.to_be_bytes());
            for text in [kind, subject] {
                bytes.extend((text.len() as i32).to_be_bytes());
                bytes.extend(text.as_bytes());
            }
            for time in 1_i64..=3 {
                bytes.extend(8_i32.to_be_bytes());
                bytes.extend(time.to_be_bytes());
            }
        }
        bytes.extend((-1_i16).to_be_bytes());
        bytes
    }

    fn read<'b>(parts: impl IntoIterator<Item = &'b [u8]>) -> Result<Vec<Entry>, ErrorKind> {
        let mut rows = Rows::new(StoreTime::from_micros(9));
        let read = parts.into_iter().try_for_each(|part| rows.read(part));
        read.and_then(|()| rows.end()).map_err(|error| error.kind())
    }

    #[test]
    fn a_copy_is_its_rows_however_it_is_cut() {
        let rows = [("everyone", ""), ("user", "alice"), ("group", "jos\u{e9}\u{2028}")];
        let copy = copy(&rows);
        for length in 1..=copy.len() {
            let entries = read(copy.chunks(length)).unwrap_or_default();
            let told: Vec<(&str, &str)> = entries
                .iter()
                .map(|entry| (entry.scope.kind().as_str(), entry.scope.subject()))
                .collect();
            assert_eq!(told, rows, "by {length} bytes");
            assert!(entries.iter().all(|entry| {
                (entry.cut_off.reissue_before.as_micros(), entry.cleared_at.as_micros()) == (1, 3)
            }));
        }
        assert_eq!(read([&self::copy(&[])[..]]), Ok(Vec::new()));
    }

    #[test]
    fn a_copy_that_breaks_off_or_is_another_is_an_error() {
        let whole = copy(&[("user", "alice")]);
        for length in 0..whole.len() {
            assert_eq!(read([&whole[..length]]), Err(ErrorKind::Corrupt), "of {length} bytes");
        }
        let columns = [HEADER, &4_i16.to_be_bytes()].concat();
        let null = [HEADER, &5_i16.to_be_bytes(), &(-1_i32).to_be_bytes()].concat();
        let more = [&whole[..], &whole[HEADER.len()..]].concat();
        for bytes in [&b"PGCOPY\n\xff\r\n\0\0\0\0\x01\0\0\0\0"[..], &columns, &null, &more] {
            assert_eq!(read([bytes]), Err(ErrorKind::Corrupt), "{bytes:?}");
        }
    }
}
