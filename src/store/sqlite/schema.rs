//! The schema: embedded migrations in a table of our own, checked at every start.

use std::borrow::Cow;

use sqlx::{
    Connection, SqlStr, SqliteConnection,
    migrate::{Migration, MigrationType, Migrator},
    query, query_scalar,
};

use crate::{
    error::{Error, ErrorKind},
    store::sql::failed,
};

/// sqlx's own table collides with the application's migrations.
const MIGRATIONS_TABLE: &str = "revocation_migrations";

const MIGRATIONS: [(i64, &str, &str); 3] = [
    (1, "revocations", include_str!("../migrations/sqlite/1_revocations.sql")),
    (2, "sessions", include_str!("../migrations/sqlite/2_sessions.sql")),
    (3, "instances", include_str!("../migrations/sqlite/3_instances.sql")),
];

/// Older versions can corrupt a write-ahead log when it is reset.
const OLDEST_SQLITE: [u32; 3] = [3, 51, 3];

/// Brings the schema up to date, or refuses one that is not ours.
pub(super) async fn prepare(connection: &mut SqliteConnection) -> Result<(), Error> {
    check_version(connection).await?;
    check_journal(connection).await?;
    migrate(connection).await?;
    check_tables(connection).await
}

async fn check_version(connection: &mut SqliteConnection) -> Result<(), Error> {
    let version: String = query_scalar("SELECT sqlite_version()")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    if is_recent(&version) {
        Ok(())
    } else {
        Err(Error::new(ErrorKind::SqliteVersion, format!("this is {version}")))
    }
}

fn is_recent(version: &str) -> bool {
    let parts: Option<Vec<u32>> = version.split('.').map(|part| part.parse().ok()).collect();
    parts.is_some_and(|parts| parts.as_slice() >= OLDEST_SQLITE.as_slice())
}

/// Every connection must see the same file, and readers must not stop writers.
async fn check_journal(connection: &mut SqliteConnection) -> Result<(), Error> {
    let mode: String =
        query_scalar("PRAGMA journal_mode").fetch_one(&mut *connection).await.map_err(failed)?;
    if mode == "wal" {
        Ok(())
    } else {
        let why = format!("a database in a file with a write-ahead log is needed, not {mode:?}");
        Err(Error::new(ErrorKind::Store, why))
    }
}

async fn migrate(connection: &mut SqliteConnection) -> Result<(), Error> {
    let migrations = MIGRATIONS.map(|(version, name, sql)| {
        let sql = SqlStr::from_static(sql);
        Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, sql, false)
    });
    let mut migrator = Migrator::with_migrations(migrations.into());
    migrator.dangerous_set_table_name(MIGRATIONS_TABLE);

    let schema_failed = |cause| Error::new(ErrorKind::Schema, cause);
    if is_migrated(connection).await? {
        // Only compared. No lock: a start must not wait for those who write without a pause.
        return migrator.run_direct(None, connection, false).await.map_err(schema_failed);
    }
    // The write lock from the start: of two processes that start at once, one waits.
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    migrator.run_direct(None, &mut *transaction, false).await.map_err(schema_failed)?;
    transaction.commit().await.map_err(failed)
}

/// Whether every migration is on record, ours or another version's.
async fn is_migrated(connection: &mut SqliteConnection) -> Result<bool, Error> {
    let recorded: bool =
        query_scalar("SELECT count(*) FROM sqlite_schema WHERE name = 'revocation_migrations'")
            .fetch_one(&mut *connection)
            .await
            .map_err(failed)?;
    if !recorded {
        return Ok(false);
    }
    let versions: Vec<i64> = query_scalar("SELECT version FROM revocation_migrations")
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    Ok(MIGRATIONS.iter().all(|(version, ..)| versions.contains(version)))
}

/// The migrations ran once; whether their tables are still there is another question.
async fn check_tables(connection: &mut SqliteConnection) -> Result<(), Error> {
    const TABLES: [&str; 6] = [
        "SELECT one, db_uuid, newest, purged_reissue_before, purged_login_before \
         FROM revocation_clock LIMIT 0",
        "SELECT scope, subject, reissue_before, login_before, cleared_at, changed_at \
         FROM revocations LIMIT 0",
        "SELECT seq, id, scope, subject, demand, spared, revoked_before, refused \
         FROM revocation_requests LIMIT 0",
        "SELECT id, user, groups, began, refreshed_at, last_stamp, counter, void_below, spent, \
         label, ip, user_agent FROM revocation_sessions LIMIT 0",
        "SELECT cleared_at, scope, subject, reissue_before, login_before, cleared_by, reason \
         FROM revocation_audit LIMIT 0",
        "SELECT id, name, bound, applied, beats, beat_at FROM revocation_instances LIMIT 0",
    ];
    for table in TABLES {
        query(table)
            .execute(&mut *connection)
            .await
            .map_err(|cause| Error::new(ErrorKind::Schema, cause))?;
    }
    let rows: i64 = query_scalar("SELECT count(*) FROM revocation_clock")
        .fetch_one(connection)
        .await
        .map_err(failed)?;
    if rows == 1 {
        Ok(())
    } else {
        Err(Error::new(ErrorKind::Schema, format!("the clock table has {rows} rows")))
    }
}

#[cfg(test)]
mod tests {
    use super::is_recent;

    #[test]
    fn sqlite_before_3_51_3_is_refused() {
        for (version, recent) in [
            ("3.51.3", true),
            ("3.52.0", true),
            ("4.0.0", true),
            ("3.51.2", false),
            ("3.9.99", false),
            ("3.51", false),
            ("banana", false),
        ] {
            assert_eq!(is_recent(version), recent, "{version}");
        }
    }
}
