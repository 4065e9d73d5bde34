//! Loading everything, by the page.
//!
//! A row costs the driver more than all that is done with it. So the database puts all of some
//! blocks of the table into one: the texts with line feeds between them, the numbers as an array.
//! While a page is read here, the database is at the next.
//!
//! Blocks can be asked for since PostgreSQL 14, and by what speaks its protocol perhaps never. There
//! a load is a poll from before the beginning.

use sqlx::{query, raw_sql};

use super::{
    row::get,
    watch::{HEAD, Head, PostgresWatch},
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

/// The blocks of a page: a megabyte, some ten thousand rows.
const PAGE_BLOCKS: i64 = 128;

/// No table has so many blocks.
const ALL_BLOCKS: i64 = u32::MAX as i64;

/// The first version that scans blocks by their numbers.
const KNOWS_BLOCKS: u32 = 140_000;

/// How many blocks the table has, more or less, if they can be asked for.
const BLOCKS: &str = "SELECT pg_relation_size('revocations') / current_setting('block_size')::bigint, \
     EXISTS (SELECT FROM revocations WHERE ctid < '(0,0)')";

/// The rows of some blocks. An array for each number would take longer than all the rest, and nearly
/// every row has one: positive for a login, negative for a refresh. The others have all of theirs
/// behind the subject; how many those are is said last.
const PAGE: &str = "SELECT coalesce(string_agg(scope, E'\n'), ''), \
         coalesce(string_agg( \
             CASE WHEN cleared_at = 0 AND (reissue_before = 0 OR login_before = 0) THEN subject \
             ELSE concat_ws(E'\t', subject, reissue_before, login_before, cleared_at) END, \
             E'\n'), ''), \
         coalesce(array_agg(login_before - reissue_before), '{}'), \
         count(*) FILTER (WHERE cleared_at <> 0 OR (reissue_before <> 0 AND login_before <> 0)) \
     FROM revocations WHERE ctid >= $1::text::tid AND ctid < $2::text::tid";

/// Everything, in one snapshot.
pub(super) async fn load(watch: &mut PostgresWatch) -> Result<Head, Error> {
    let Some(blocks) = blocks(watch).await? else { return watch.everything().await };
    // One transaction that only reads is one snapshot. After an error the connection is closed.
    run(watch, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let (store, connection) = watch.parts();
    store.count(Path::Sync);
    let head = raw_sql(HEAD).fetch_optional(connection).await.map_err(failed)?;
    let mut head = watch.head(&head.ok_or_else(|| corrupt("the clock row is missing"))?)?;
    let (newest, entries) = (head.changes.head, &mut head.changes.entries);
    let mut first = 0;
    let mut page = Page::default();
    while first < ALL_BLOCKS {
        // Whatever the table has grown by since is in the last page.
        let end = if first + PAGE_BLOCKS < blocks { first + PAGE_BLOCKS } else { ALL_BLOCKS };
        let read = async { page.read(newest, entries) };
        let (next, read) = tokio::join!(Page::fetch(watch, first, end), read);
        read?;
        (page, first) = (next?, end);
    }
    page.read(newest, entries)?;
    run(watch, "COMMIT").await?;
    Ok(head)
}

/// How many blocks the table has; `None` if they cannot be asked for.
async fn blocks(watch: &mut PostgresWatch) -> Result<Option<i64>, Error> {
    let (store, connection) = watch.parts();
    if connection.server_version_num() < Some(KNOWS_BLOCKS) {
        return Ok(None);
    }
    store.count(Path::Sync);
    match raw_sql(BLOCKS).fetch_one(connection).await {
        Ok(row) => get(&row, 0).map(Some),
        Err(sqlx::Error::Database(_)) => Ok(None),
        Err(cause) => Err(failed(cause)),
    }
}

async fn run(watch: &mut PostgresWatch, sql: &'static str) -> Result<(), Error> {
    let (store, connection) = watch.parts();
    store.count(Path::Sync);
    raw_sql(sql).execute(connection).await.map(drop).map_err(failed)
}

/// What [`PAGE`] answers.
#[derive(Default)]
struct Page {
    kinds: String,
    subjects: String,
    numbers: Vec<i64>,
    /// How many rows have their numbers behind the subject.
    odd: i64,
}

impl Page {
    /// The blocks from `first` to before `end`.
    async fn fetch(watch: &mut PostgresWatch, first: i64, end: i64) -> Result<Self, Error> {
        let (store, connection) = watch.parts();
        store.count(Path::Sync);
        let row = query(PAGE)
            .persistent(!store.options().pooler)
            .bind(format!("({first},0)"))
            .bind(format!("({end},0)"))
            .fetch_one(connection)
            .await
            .map_err(failed)?;
        Ok(Self {
            kinds: get(&row, 0)?,
            subjects: get(&row, 1)?,
            numbers: get(&row, 2)?,
            odd: get(&row, 3)?,
        })
    }

    /// Adds its rows to `entries`.
    ///
    /// Identifiers hold neither line feeds nor tabs. Should the database hold one all the same, there
    /// are more of them than belong there: an error, and never another row than is there.
    fn read(&self, head: StoreTime, entries: &mut Vec<Entry>) -> Result<(), Error> {
        let count = |text: &str, separator| text.bytes().filter(|byte| *byte == separator).count();
        let rows = self.numbers.len();
        let tabs = usize::try_from(self.odd).map_err(corrupt)? * 3;
        if count(&self.subjects, b'\n') + 1 != rows.max(1) || count(&self.subjects, b'\t') != tabs {
            return Err(corrupt("a subject holds a line feed or a tab"));
        }
        entries.reserve(rows);
        let lines = self.kinds.split('\n').zip(self.subjects.split('\n'));
        for ((kind, line), number) in lines.zip(&self.numbers) {
            let (subject, times) = match line.split_once('\t') {
                None => (line, [(-number).max(0), (*number).max(0), 0]),
                Some((subject, numbers)) => (subject, three(numbers)?),
            };
            entries.push(entry(kind, subject, times, head)?);
        }
        Ok(())
    }
}

/// Three numbers with tabs between them.
fn three(numbers: &str) -> Result<[i64; 3], Error> {
    let mut numbers = numbers.split('\t').map(|number| number.parse().map_err(corrupt));
    let mut number = || numbers.next().unwrap_or_else(|| Err(corrupt("a number is missing")));
    Ok([number()?, number()?, number()?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cutoff::CutOff, error::ErrorKind};

    fn read(
        kinds: &str,
        subjects: &str,
        numbers: &[i64],
        odd: i64,
    ) -> Result<Vec<Entry>, ErrorKind> {
        let (kinds, subjects) = (kinds.to_owned(), subjects.to_owned());
        let page = Page { kinds, subjects, numbers: numbers.to_vec(), odd };
        let mut entries = Vec::new();
        let read = page.read(StoreTime::from_micros(9), &mut entries);
        read.map(|()| entries).map_err(|error| error.kind())
    }

    #[test]
    fn a_page_is_its_rows() {
        assert_eq!(read("", "", &[], 0), Ok(Vec::new()));
        let kinds = "everyone\nuser\nuser\ngroup";
        let entries = read(kinds, "\nalice\nbob\nstaff\t1\t2\t3", &[-5, 9, 0, 1], 1);
        let times: Vec<[u64; 3]> = entries
            .unwrap_or_default()
            .iter()
            .map(
                |Entry { cut_off: CutOff { reissue_before, login_before }, cleared_at, .. }| {
                    [reissue_before, login_before, cleared_at].map(|time| time.as_micros())
                },
            )
            .collect();
        assert_eq!(times, [[5, 0, 0], [0, 9, 0], [0, 0, 0], [1, 2, 3]]);
    }

    #[test]
    fn a_line_feed_or_a_tab_in_a_subject_is_an_error_and_no_other_row() {
        for subject in ["a\n", "\na", "a\nb", "a\t", "a\t1\t2\t3"] {
            assert_eq!(read("user", subject, &[1], 0), Err(ErrorKind::Corrupt), "{subject:?}");
            let odd = format!("{subject}\t1\t2\t3");
            assert_eq!(read("user", &odd, &[1], 1), Err(ErrorKind::Corrupt), "{odd:?}");
        }
    }
}
