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

/// In place of the length of a value that is none.
const NULL: i32 = -1;

/// What a copy in binary form of `scope, subject, reissue_before, login_before, cleared_at` says, read as it comes in.
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
        let mut fields: [Option<&[u8]>; 5] = [None; 5];
        for field in &mut fields {
            let Some((length, behind)) = left.split_first_chunk() else { return Ok(None) };
            left = behind;
            let length = i32::from_be_bytes(*length);
            if length == NULL {
                continue;
            }
            let length = usize::try_from(length).map_err(corrupt)?;
            let Some((value, behind)) = left.split_at_checked(length) else { return Ok(None) };
            (*field, left) = (Some(value), behind);
        }
        let [kind, subject, times @ ..] = fields;
        let text = |bytes: Option<_>| {
            str::from_utf8(bytes.ok_or_else(|| corrupt("a row names no scope"))?).map_err(corrupt)
        };
        let time = |bytes: Option<&[u8]>| {
            bytes.map_or(Ok(0), |bytes| bytes.try_into().map(i64::from_be_bytes).map_err(corrupt))
        };
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
    use crate::{cutoff::CutOff, error::ErrorKind};

    /// A copy of rows with these values.
    fn copy_of(rows: &[[Option<&[u8]>; 5]]) -> Vec<u8> {
        let mut bytes = HEADER.to_vec();
        for row in rows {
            bytes.extend(5_i16.to_be_bytes());
            for value in row {
                bytes.extend(value.map_or(NULL, |value| value.len() as i32).to_be_bytes());
                bytes.extend(value.unwrap_or_default());
            }
        }
        bytes.extend((-1_i16).to_be_bytes());
        bytes
    }

    const TIMES: [[u8; 8]; 3] = [1_i64.to_be_bytes(), 2_i64.to_be_bytes(), 3_i64.to_be_bytes()];

    /// A copy of rows with these texts, and the times 1, 2 and 3.
    fn copy(rows: &[(&'static str, &'static str)]) -> Vec<u8> {
        let [one, two, three] = TIMES.each_ref().map(|time| Some(&time[..]));
        let row = |(kind, subject): &(&'static str, &'static str)| {
            [Some(kind.as_bytes()), Some(subject.as_bytes()), one, two, three]
        };
        copy_of(&rows.iter().map(row).collect::<Vec<_>>())
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
        let two = Some(&TIMES[1][..]);
        let nobody = copy_of(&[[None, Some(b"alice"), None, two, None]]);
        let nothing = copy_of(&[[Some(b"user"), None, None, two, None]]);
        let mut negative = nothing.clone();
        negative[HEADER.len() + 2..][..4].copy_from_slice(&(-2_i32).to_be_bytes());
        let more = [&whole[..], &whole[HEADER.len()..]].concat();
        let flags = &b"PGCOPY\n\xff\r\n\0\0\0\0\x01\0\0\0\0"[..];
        for bytes in [flags, &columns, &nobody, &nothing, &negative, &more] {
            assert_eq!(read([bytes]), Err(ErrorKind::Corrupt), "{bytes:?}");
        }
    }

    #[test]
    fn a_time_that_is_left_out_is_none() {
        let two = Some(&TIMES[1][..]);
        let copy = copy_of(&[[Some(b"user"), Some(b"alice"), None, two, None]]);
        let entries = read([&copy[..]]).unwrap_or_default();
        let times = |entry: &Entry| {
            let CutOff { reissue_before, login_before } = entry.cut_off;
            [reissue_before, login_before, entry.cleared_at].map(StoreTime::as_micros)
        };
        assert_eq!(entries.iter().map(times).collect::<Vec<_>>(), [[0, 2, 0]]);
    }
}
