//! Loading everything, by the page.
//!
//! A row costs the driver more than all that is done with it, so the database puts thousands of
//! them into one text: their fields, with line feeds between them. While a page is read here, the
//! database is at the next.

use sqlx::{Row, query};

use super::watch::SqliteWatch;
use crate::{
    cutoff::StoreTime,
    error::Error,
    store::{
        Changes, Entry,
        sql::{corrupt, entry, failed},
    },
};

/// The rows of a page.
const PAGE_ROWS: usize = 10_000;

/// The rows behind a key, in the order of the key.
const PAGE: &str = "SELECT count(*), coalesce(group_concat(concat_ws(char(10), \
         scope, subject, reissue_before, login_before, cleared_at), char(10)), '') \
     FROM (SELECT scope, subject, reissue_before, login_before, cleared_at FROM revocations \
           WHERE (scope, subject) > (?, ?) ORDER BY scope, subject LIMIT ?)";

/// The fields of a row.
const FIELDS: usize = 5;

/// Everything, in one snapshot.
pub(super) async fn load(watch: &mut SqliteWatch) -> Result<Changes, Error> {
    // One transaction that only reads is one snapshot. After an error the connection is closed.
    run(watch, "BEGIN").await?;
    let mut changes = watch.head().await?;
    let mut page = Page::fetch(watch, ("", "")).await?;
    while page.rows == PAGE_ROWS {
        let next = Page::fetch(watch, page.last()?);
        let read = async { page.read(changes.head, &mut changes.entries) };
        let (next, read) = tokio::join!(next, read);
        read?;
        page = next?;
    }
    page.read(changes.head, &mut changes.entries)?;
    run(watch, "COMMIT").await?;
    Ok(changes)
}

async fn run(watch: &mut SqliteWatch, sql: &'static str) -> Result<(), Error> {
    watch.count();
    query(sql).execute(watch.connection()).await.map(drop).map_err(failed)
}

struct Page {
    rows: usize,
    text: String,
}

impl Page {
    /// The rows behind those of a scope and its subject.
    async fn fetch(watch: &mut SqliteWatch, (kind, subject): (&str, &str)) -> Result<Self, Error> {
        watch.count();
        let row = query(PAGE)
            .bind(kind)
            .bind(subject)
            .bind(PAGE_ROWS as i64)
            .fetch_one(watch.connection())
            .await
            .map_err(failed)?;
        let rows: i64 = row.try_get(0).map_err(failed)?;
        let text = row.try_get(1).map_err(failed)?;
        Ok(Self { rows: usize::try_from(rows).map_err(corrupt)?, text })
    }

    /// The scope and the subject of the last row.
    fn last(&self) -> Result<(&str, &str), Error> {
        let mut fields = self.text.rsplitn(FIELDS + 1, '\n').skip(FIELDS - 2);
        fields.next().zip(fields.next()).map(|(subject, kind)| (kind, subject)).ok_or_else(short)
    }

    /// Adds its rows to `entries`.
    ///
    /// Identifiers hold no line feeds. Should the database hold one all the same, there are more
    /// fields than rows have: an error, and never another row than is there.
    fn read(&self, head: StoreTime, entries: &mut Vec<Entry>) -> Result<(), Error> {
        let feeds = self.text.bytes().filter(|byte| *byte == b'\n').count();
        if self.rows > 0 && feeds + 1 != self.rows * FIELDS {
            return Err(corrupt("a subject holds a line feed"));
        }
        entries.reserve(self.rows);
        let mut fields = self.text.split('\n');
        let mut field = || fields.next().ok_or_else(short);
        for _ in 0..self.rows {
            let (kind, subject) = (field()?, field()?);
            let mut number = || field()?.parse().map_err(corrupt);
            let times = [number()?, number()?, number()?];
            entries.extend(entry(kind, subject, times, head)?);
        }
        Ok(())
    }
}

fn short() -> Error {
    corrupt("a row has too few fields")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Scope, error::ErrorKind};

    fn read(rows: usize, text: &str) -> Result<Vec<Entry>, ErrorKind> {
        let (page, mut entries) = (Page { rows, text: text.to_owned() }, Vec::new());
        let read = page.read(StoreTime::from_micros(9), &mut entries);
        read.map(|()| entries).map_err(|error| error.kind())
    }

    #[test]
    fn a_page_is_its_rows() {
        assert_eq!(read(0, ""), Ok(Vec::new()));
        let entries = read(2, "everyone\n\n1\n2\n3\nuser\nalice\n0\n9\n0").unwrap_or_default();
        let [everyone, alice] = &entries[..] else { panic!("two rows: {entries:?}") };
        assert_eq!(everyone.scope, Scope::Everyone);
        assert_eq!(everyone.cut_off.reissue_before, StoreTime::from_micros(1));
        assert_eq!(everyone.cut_off.login_before, StoreTime::from_micros(2));
        assert_eq!(everyone.cleared_at, StoreTime::from_micros(3));
        assert_eq!(alice.scope.subject(), "alice");
        assert_eq!(alice.cut_off.login_before, StoreTime::from_micros(9));
    }

    #[test]
    fn a_page_ends_with_its_last_row() {
        for (text, last) in [
            ("everyone\n\n1\n2\n3", ("everyone", "")),
            ("everyone\n\n1\n2\n3\nuser\nalice\n0\n9\n0", ("user", "alice")),
        ] {
            let page = Page { rows: 1, text: text.to_owned() };
            assert_eq!(page.last().ok(), Some(last));
        }
    }

    #[test]
    fn a_line_feed_in_a_subject_is_an_error_and_no_other_row() {
        for subject in ["a\n", "\na", "a\nb", "a\n0\n0\n0\nuser\nb"] {
            let text = format!("user\n{subject}\n1\n0\n0");
            assert_eq!(read(1, &text), Err(ErrorKind::Corrupt), "{subject:?}");
        }
    }
}
