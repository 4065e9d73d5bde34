//! Loading everything, by the page.
//!
//! A row costs the driver more than all that is done with it. So the server joins thousands of them
//! into one text. It cuts that in silence where it is longer than the server's limits, which
//! every row's line feed and their number tell; then it is asked for fewer.

use sqlx::{Executor, query};

use super::{
    row::get,
    watch::{HEAD, Head, MySqlWatch},
};
use crate::{
    cutoff::StoreTime,
    error::Error,
    store::{
        Entry,
        sql::{corrupt, entry, failed},
        statements::Path,
    },
};

/// The rows of a page. As many of the longest are 5 MB.
const PAGE_ROWS: usize = 8_192;

/// Everything, in one snapshot.
pub(super) async fn load(watch: &mut MySqlWatch) -> Result<Head, Error> {
    // A snapshot of the whole transaction is had at this level alone.
    run(watch, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").await?;
    run(watch, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY").await?;
    let loaded = pages(watch).await;
    // After an error it is closed: nothing is to be rolled back.
    run(watch, "COMMIT").await?;
    loaded
}

async fn run(watch: &mut MySqlWatch, sql: &'static str) -> Result<(), Error> {
    let (store, connection) = watch.parts();
    store.count(Path::Sync);
    connection.execute(sql).await.map(drop).map_err(failed)
}

async fn pages(watch: &mut MySqlWatch) -> Result<Head, Error> {
    let (store, connection) = watch.parts();
    store.count(Path::Sync);
    let row = query(HEAD)
        .fetch_optional(connection)
        .await
        .map_err(failed)?
        .ok_or_else(|| corrupt("the clock row is missing"))?;
    let mut head = watch.head(&row)?;
    let (mut last, mut rows) = ((String::new(), String::new()), PAGE_ROWS);
    loop {
        let (store, connection) = watch.parts();
        store.count(Path::Sync);
        let page = query(PAGE)
            .bind(last.0.as_bytes())
            .bind(last.0.as_bytes())
            .bind(last.1.as_bytes())
            .bind(rows as i64)
            .fetch_one(connection)
            .await
            .map_err(failed)?;
        let page = Page { rows: get(&page, 0)?, text: get(&page, 1)? };
        match page.read(head.changes.head)? {
            Some(entries) => {
                let count = entries.len();
                if let Some(highest) = entries.iter().map(key).max() {
                    last = (highest.0.to_owned(), highest.1.to_owned());
                }
                head.changes.entries.extend(entries);
                if count < rows {
                    return Ok(head);
                }
            }
            None if rows > 1 => rows /= 2,
            None => return Err(corrupt("a row is cut by max_allowed_packet")),
        }
    }
}

fn key(entry: &Entry) -> (&'static str, &str) {
    (entry.scope.kind().as_str(), entry.scope.subject())
}

/// The rows behind a key.
const PAGE: &str = "SELECT COUNT(*), COALESCE(GROUP_CONCAT(scope, ' ', reissue_before, ' ', login_before, ' ', \
         cleared_at, ' ', subject, '\\n' SEPARATOR ''), '') \
     FROM (SELECT scope, subject, reissue_before, login_before, cleared_at FROM revocations \
           WHERE scope > ? OR (scope = ? AND subject > ?) ORDER BY scope, subject LIMIT ?) AS page";

/// Rows, as one text.
struct Page<'p> {
    rows: i64,
    text: &'p [u8],
}

impl Page<'_> {
    /// Its rows; `None` if the server has cut it.
    fn read(&self, head: StoreTime) -> Result<Option<Vec<Entry>>, Error> {
        let whole = self.text.split_inclusive(|&byte| byte == b'\n');
        let mut entries = Vec::with_capacity(usize::try_from(self.rows).unwrap_or_default());
        for line in whole {
            let Some(line) = line.strip_suffix(b"\n") else { return Ok(None) };
            entries.push(row(str::from_utf8(line).map_err(corrupt)?, head)?);
        }
        // Cut between two of them.
        Ok((entries.len() as i64 == self.rows).then_some(entries))
    }
}

fn row(line: &str, head: StoreTime) -> Result<Entry, Error> {
    let mut columns = line.splitn(5, ' ');
    let mut next = || columns.next().ok_or_else(|| corrupt("a subject holds a line feed"));
    let kind = next()?;
    let mut time = || next()?.parse::<i64>().map_err(corrupt);
    let times = [time()?, time()?, time()?];
    entry(kind, next()?, times, head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope::Scope;

    #[test]
    fn a_text_that_was_cut_anywhere_is_not_read() {
        let whole = "user 0 3 0 josé\ngroup 2 0 0 a group \neveryone 0 1 1 \n".as_bytes();
        let head = StoreTime::from_micros(9);
        let read = |length: usize| Page { rows: 3, text: &whole[..length] }.read(head).unwrap();
        let entries = read(whole.len()).unwrap();
        let scopes: Vec<_> = entries.into_iter().map(|entry| entry.scope).collect();
        let expected = [Scope::user("josé"), Scope::group("a group "), Ok(Scope::Everyone)];
        assert_eq!(scopes, expected.map(Result::unwrap));
        for length in 0..whole.len() {
            assert!(read(length).is_none(), "cut at {length}");
        }
    }

    #[test]
    fn a_subject_with_a_line_feed_is_not_taken_for_two() {
        let text = "user 0 3 0 alice\nbob\n".as_bytes();
        let page = Page { rows: 1, text };
        assert!(page.read(StoreTime::from_micros(9)).is_err());
    }
}
