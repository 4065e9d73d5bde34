//! Loading everything, by the page.
//!
//! As plain rows: joined into long texts by the server (`GROUP_CONCAT`), which cuts those in silence
//! where they are longer than its limits, a million took no less time.

use sqlx::{Executor, query};

use super::{
    row::{entry, get},
    watch::{HEAD, Head, MySqlWatch},
};
use crate::{
    error::Error,
    store::{
        sql::{corrupt, failed},
        statements::Path,
    },
};

/// The rows of a page.
const PAGE_ROWS: usize = 10_000;

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
    let entries = &mut head.changes.entries;
    let mut last: (Vec<u8>, Vec<u8>) = Default::default();
    loop {
        let (kind, subject) = (&*last.0, &*last.1);
        let (store, connection) = watch.parts();
        store.count(Path::Sync);
        let page = query(PAGE)
            .bind(kind)
            .bind(kind)
            .bind(subject)
            .bind(PAGE_ROWS as i64)
            .fetch_all(connection)
            .await
            .map_err(failed)?;
        for row in &page {
            entries.extend(entry(row, 0, head.changes.head)?);
        }
        let Some(row) = page.last().filter(|_| page.len() == PAGE_ROWS) else { return Ok(head) };
        last = (get(row, 0)?, get(row, 1)?);
    }
}

/// The rows behind a key, in the order of the key. (Written as a comparison of pairs, MySQL would go
/// through the whole table.)
const PAGE: &str = "SELECT scope, subject, reissue_before, login_before, cleared_at FROM revocations \
     WHERE scope > ? OR (scope = ? AND subject > ?) ORDER BY scope, subject LIMIT ?";
