//! Loading everything, as a copy in binary form.
//!
//! A row costs the driver more than all that is done with it. A copy hands the table over as bytes,
//! and what they say is read here. What speaks PostgreSQL's protocol and knows no such copy is asked
//! by a poll from before the beginning.

use std::future::poll_fn;

use sqlx::raw_sql;

use super::{
    copy::Rows,
    watch::{HEAD, Head, PostgresWatch},
};
use crate::{
    cutoff::StoreTime,
    error::Error,
    store::{
        Entry,
        sql::{corrupt, failed},
        statements::Path,
    },
};

/// The columns are those of [`Rows::row`].
const COPY: &str = "COPY revocations (scope, subject, reissue_before, login_before, cleared_at) \
     TO STDOUT (FORMAT binary)";

/// Everything, in one snapshot.
pub(super) async fn load(watch: &mut PostgresWatch) -> Result<Head, Error> {
    if !watch.copies {
        return watch.everything().await;
    }
    // One transaction that only reads is one snapshot. After an error the connection is closed.
    run(watch, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let (store, connection) = watch.parts();
    store.count(Path::Sync);
    let head = raw_sql(HEAD).fetch_optional(connection).await.map_err(failed)?;
    let mut head = watch.head(&head.ok_or_else(|| corrupt("the clock row is missing"))?)?;
    match rows(watch, head.changes.head).await? {
        Some(entries) => head.changes.entries = entries,
        None => {
            // The driver does not read on behind the refusal.
            watch.reconnect().await?;
            watch.copies = false;
            return watch.everything().await;
        }
    }
    run(watch, "COMMIT").await?;
    Ok(head)
}

/// The rows; `None` if there is no such copy to be had.
async fn rows(watch: &mut PostgresWatch, newest: StoreTime) -> Result<Option<Vec<Entry>>, Error> {
    let (store, connection) = watch.parts();
    store.count(Path::Sync);
    let mut copy = match connection.copy_out_raw(COPY).await {
        Ok(copy) => copy,
        // It is refused before anything is handed over.
        Err(sqlx::Error::Database(_)) => return Ok(None),
        Err(cause) => return Err(failed(cause)),
    };
    let mut rows = Rows::new(newest);
    while let Some(bytes) = poll_fn(|context| copy.as_mut().poll_next(context)).await {
        rows.read(&bytes.map_err(failed)?)?;
    }
    rows.end().map(Some)
}

async fn run(watch: &mut PostgresWatch, sql: &'static str) -> Result<(), Error> {
    let (store, connection) = watch.parts();
    store.count(Path::Sync);
    raw_sql(sql).execute(connection).await.map(drop).map_err(failed)
}
