//! The schema: embedded migrations in a table of our own, checked at every start.

use std::borrow::Cow;

use sqlx::{
    MySqlConnection, SqlStr,
    migrate::{Migration, MigrationType, Migrator},
    query, query_scalar, raw_sql,
};

use super::{row::get, watch::READ_ONLY};
use crate::{
    error::{Error, ErrorKind},
    store::sql::failed,
};

/// sqlx's own table collides with the application's migrations.
const MIGRATIONS_TABLE: &str = "revocation_migrations";

const MIGRATIONS: [(i64, &str, &str); 2] = [
    (1, "revocations", include_str!("../migrations/mysql/1_revocations.sql")),
    (2, "instances", include_str!("../migrations/mysql/2_instances.sql")),
];

/// A lock of the whole server, for our database. Its name has at most 64 letters.
macro_rules! lock {
    () => {
        "CONCAT('tower_revocation.', MD5(DATABASE()))"
    };
}

/// Brings the schema up to date, or refuses one that is not ours. A replica is brought up to date
/// by its primary.
pub(super) async fn prepare(connection: &mut MySqlConnection) -> Result<(), Error> {
    let read_only = raw_sql(READ_ONLY).fetch_one(&mut *connection).await.map_err(failed)?;
    if get::<i64>(&read_only, 0)? == 0 {
        migrate(connection).await?;
    }
    check_tables(connection).await
}

/// Those who start at once wait for each other. By a lock of our own: that of sqlx asks MariaDB to
/// wait for ever (`GET_LOCK(…, -1)`), which declines and says so in a warning.
async fn migrate(connection: &mut MySqlConnection) -> Result<(), Error> {
    let locked: Option<i64> = query_scalar(concat!("SELECT GET_LOCK(", lock!(), ", 60)"))
        .persistent(false)
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    if locked != Some(1) {
        return Err(Error::new(ErrorKind::StoreTimeout, "somebody else is migrating"));
    }
    let migrated = run(connection).await;
    // It ends with the connection at the latest.
    query(concat!("DO RELEASE_LOCK(", lock!(), ")"))
        .persistent(false)
        .execute(connection)
        .await
        .map_err(failed)?;
    migrated
}

async fn run(connection: &mut MySqlConnection) -> Result<(), Error> {
    let migrations = MIGRATIONS.map(|(version, name, sql)| {
        let sql = SqlStr::from_static(sql);
        Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, sql, false)
    });
    let mut migrator = Migrator::with_migrations(migrations.into());
    migrator.dangerous_set_table_name(MIGRATIONS_TABLE);
    migrator.set_locking(false);
    migrator
        .run_direct(None, connection, false)
        .await
        .map_err(|cause| Error::new(ErrorKind::Schema, cause))
}

/// The migrations ran once; whether their tables are still there is another question.
async fn check_tables(connection: &mut MySqlConnection) -> Result<(), Error> {
    const TABLES: [&str; 6] = [
        "SELECT one, db_uuid, newest, purged_reissue_before, purged_login_before \
         FROM revocation_clock LIMIT 0",
        "SELECT scope, subject, reissue_before, login_before, cleared_at, changed_at \
         FROM revocations LIMIT 0",
        "SELECT seq, id, scope, subject, demand, spared, revoked_before, refused \
         FROM revocation_requests LIMIT 0",
        "SELECT id, user_id, in_groups, began, refreshed_at, last_stamp, counter, void_below, \
         spent, label, ip, user_agent FROM revocation_sessions LIMIT 0",
        "SELECT cleared_at, scope, subject, reissue_before, login_before, cleared_by, reason \
         FROM revocation_audit LIMIT 0",
        "SELECT id, name, bound, applied, beats, beat_at FROM revocation_instances LIMIT 0",
    ];
    for table in TABLES {
        query(table)
            .persistent(false)
            .execute(&mut *connection)
            .await
            .map_err(|cause| Error::new(ErrorKind::Schema, cause))?;
    }
    let rows: i64 = query_scalar("SELECT COUNT(*) FROM revocation_clock")
        .persistent(false)
        .fetch_one(connection)
        .await
        .map_err(failed)?;
    if rows == 1 {
        Ok(())
    } else {
        Err(Error::new(ErrorKind::Schema, format!("the clock table has {rows} rows")))
    }
}
