//! Loading everything, by the page.
//!
//! A row costs the driver more than all that is done with it. So the database puts ten thousand of
//! them into one: the texts with line feeds between them, which no identifier holds, the numbers as
//! arrays.

use sqlx::{postgres::PgRow, query, raw_sql};

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

/// The rows of a page.
const PAGE_ROWS: usize = 10_000;

/// Everything, in one snapshot.
pub(super) async fn load(watch: &mut PostgresWatch) -> Result<Head, Error> {
    // One transaction that only reads is one snapshot.
    run(watch, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let loaded = pages(watch).await;
    // After an error it is closed: nothing is to be rolled back.
    run(watch, "COMMIT").await?;
    loaded
}

async fn run(watch: &mut PostgresWatch, sql: &'static str) -> Result<(), Error> {
    let (store, connection) = watch.parts();
    store.count(Path::Sync);
    raw_sql(sql).execute(connection).await.map(drop).map_err(failed)
}

async fn pages(watch: &mut PostgresWatch) -> Result<Head, Error> {
    let (store, connection) = watch.parts();
    store.count(Path::Sync);
    let row = raw_sql(HEAD)
        .fetch_optional(connection)
        .await
        .map_err(failed)?
        .ok_or_else(|| corrupt("the clock row is missing"))?;
    let mut head = watch.head(&row)?;
    let entries = &mut head.changes.entries;
    loop {
        let last = entries.last().map(|entry| &entry.scope);
        let (store, connection) = watch.parts();
        store.count(Path::Sync);
        let page = query(PAGE)
            .persistent(!store.options().pooler)
            .bind(last.map_or("", |scope| scope.kind().as_str()))
            .bind(last.map_or("", |scope| scope.subject()))
            .bind(PAGE_ROWS as i64)
            .fetch_one(connection)
            .await
            .map_err(failed)?;
        let before = entries.len();
        read(&page, head.changes.head, entries)?;
        if entries.len() - before < PAGE_ROWS {
            return Ok(head);
        }
    }
}

/// The rows behind a key, in the order of the key.
const PAGE: &str = "SELECT coalesce(string_agg(scope, E'\n'), ''), coalesce(string_agg(subject, E'\n'), ''), \
         coalesce(array_agg(reissue_before), '{}'), coalesce(array_agg(login_before), '{}'), \
         coalesce(array_agg(cleared_at), '{}') \
     FROM (SELECT scope, subject, reissue_before, login_before, cleared_at FROM revocations \
           WHERE (scope, subject) > ($1, $2) ORDER BY scope, subject LIMIT $3) AS page";

/// Adds the rows of a page to `entries`.
fn read(page: &PgRow, head: StoreTime, entries: &mut Vec<Entry>) -> Result<(), Error> {
    let (kinds, subjects): (&str, &str) = (get(page, 0)?, get(page, 1)?);
    let (reissue, login): (Vec<i64>, Vec<i64>) = (get(page, 2)?, get(page, 3)?);
    let cleared: Vec<i64> = get(page, 4)?;
    let (mut kinds, mut subjects) = (kinds.split('\n'), subjects.split('\n'));
    entries.reserve(reissue.len());
    for ((reissue, login), cleared) in reissue.iter().zip(&login).zip(&cleared) {
        let (Some(kind), Some(subject)) = (kinds.next(), subjects.next()) else {
            return Err(corrupt("a subject holds a line feed"));
        };
        entries.push(entry(kind, subject, [*reissue, *login, *cleared], head)?);
    }
    // Nothing at all is one empty text.
    let left = kinds.chain(subjects).any(|text| !text.is_empty());
    if left { Err(corrupt("a subject holds a line feed")) } else { Ok(()) }
}
