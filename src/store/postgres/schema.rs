//! The schema: embedded migrations in a table of our own, checked at every start.

use std::borrow::Cow;

use sqlx::{
    Connection, PgConnection, SqlStr,
    migrate::{Migration, MigrationType, Migrator},
    query, query_scalar, raw_sql,
};

use crate::{
    error::{Error, ErrorKind},
    store::sql::failed,
};

/// sqlx's own table collides with the application's migrations.
const MIGRATIONS_TABLE: &str = "revocation_migrations";

const MIGRATIONS: [(i64, &str, &str); 2] = [
    (1, "revocations", include_str!("../migrations/postgres/1_revocations.sql")),
    (2, "instances", include_str!("../migrations/postgres/2_instances.sql")),
];

/// The first eight bytes of its name: of the locks that a database can be asked for, ours.
const MIGRATION_LOCK: i64 = i64::from_be_bytes(*b"tower-re");

/// Brings the schema up to date, or refuses one that is not ours. A standby is brought up to date
/// by its primary.
///
/// In one transaction: behind a pooler that keeps what is parsed and what is run on one connection
/// of the server.
pub(super) async fn prepare(connection: &mut PgConnection, pooler: bool) -> Result<(), Error> {
    let mut transaction = connection.begin().await.map_err(failed)?;
    let standby: bool = query_scalar("SELECT pg_is_in_recovery()")
        .persistent(false)
        .fetch_one(&mut *transaction)
        .await
        .map_err(failed)?;
    if !standby {
        migrate(&mut transaction, pooler).await?;
    }
    check_tables(&mut transaction).await?;
    transaction.commit().await.map_err(failed)
}

async fn migrate(connection: &mut PgConnection, pooler: bool) -> Result<(), Error> {
    let migrations = MIGRATIONS.map(|(version, name, sql)| {
        let sql = SqlStr::from_static(sql);
        Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, sql, false)
    });
    let mut migrator = Migrator::with_migrations(migrations.into());
    migrator.dangerous_set_table_name(MIGRATIONS_TABLE);
    // A lock of the session is of no use behind a pooler. Ours is one of the transaction.
    migrator.set_locking(false);

    query("SELECT pg_advisory_xact_lock($1)")
        .bind(MIGRATION_LOCK)
        .persistent(false)
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    // The migrator prepares statements with names, and on a connection that is shared others do.
    forget(connection, pooler).await?;
    migrator
        .run_direct(None, &mut *connection, false)
        .await
        .map_err(|cause| Error::new(ErrorKind::Schema, cause))?;
    forget(connection, pooler).await
}

/// Leaves no prepared statement on a connection of the server's that a pooler shares.
async fn forget(connection: &mut PgConnection, pooler: bool) -> Result<(), Error> {
    if pooler {
        raw_sql("DEALLOCATE ALL").execute(connection).await.map_err(failed)?;
    }
    Ok(())
}

/// The migrations ran once; whether their tables are still there is another question.
async fn check_tables(connection: &mut PgConnection) -> Result<(), Error> {
    const TABLES: [&str; 7] = [
        "SELECT one, db_uuid, newest, purged_reissue_before, purged_login_before \
         FROM revocation_clock LIMIT 0",
        "SELECT one, beat_at FROM revocation_heartbeat LIMIT 0",
        "SELECT scope, subject, reissue_before, login_before, cleared_at, changed_at \
         FROM revocations LIMIT 0",
        "SELECT seq, id, scope, subject, demand, spared, revoked_before, refused \
         FROM revocation_requests LIMIT 0",
        "SELECT id, user_id, groups, began, refreshed_at, last_stamp, counter, void_below, spent, \
         label, ip, user_agent FROM revocation_sessions LIMIT 0",
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
    let encoding: String = query_scalar("SELECT current_setting('server_encoding')")
        .persistent(false)
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    if encoding != "UTF8" {
        return Err(Error::new(ErrorKind::Schema, format!("its encoding is {encoding}, not UTF8")));
    }
    let rows: i64 = query_scalar("SELECT count(*) FROM revocation_clock")
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
