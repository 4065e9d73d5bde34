//! The users: a table of the service's own, in the file that the crate's store is in too. That lets
//! a change of a user and the revocation that it calls for commit together.

use std::{path::Path, time::Duration};

use sqlx::{
    Sqlite, SqlitePool, Transaction, query, query_as,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use tower_revocation::{Grant, Id};

use crate::{fault::Failure, passwords::Passwords};

/// The group that may revoke others.
pub const ADMIN: &str = "admin";

/// Who is there at first: name, password, groups.
const SEED: [(&str, &str, &[&str]); 2] =
    [("alice", "wonderland", &[]), ("bob", "builder", &[ADMIN])];

/// How long a statement waits for a connection, and for the write lock of somebody else.
const WRITE_WAIT: Duration = Duration::from_secs(5);

/// The table of users. A handle, cheap to clone.
#[derive(Clone)]
pub struct Users {
    pool: SqlitePool,
    passwords: Passwords,
}

/// A user as of when the row was read.
pub struct User {
    pub id: Id,
    pub password_hash: String,
    pub groups: Vec<Id>,
    pub suspended: bool,
}

impl User {
    /// What their tokens say.
    pub fn grant(&self) -> Grant {
        Grant::new(self.id.clone()).groups(self.groups.iter().cloned())
    }
}

impl Users {
    /// Opens the table in the database at `path`, which is there, and makes it if it is missing.
    /// Several processes may do so at once.
    pub async fn open(path: &Path, passwords: Passwords) -> Result<Self, Failure> {
        let options = SqliteConnectOptions::new().filename(path).busy_timeout(WRITE_WAIT);
        let pool = SqlitePoolOptions::new().max_connections(4).acquire_timeout(WRITE_WAIT);
        let pool = pool.connect_with(options).await?;
        query(
            "CREATE TABLE IF NOT EXISTS users (
                 name          TEXT    PRIMARY KEY,
                 password_hash TEXT    NOT NULL,
                 groups        TEXT    NOT NULL, -- a JSON array
                 suspended     INTEGER NOT NULL DEFAULT 0
             ) STRICT",
        )
        .execute(&pool)
        .await?;
        let users = Self { pool, passwords };
        for (name, password, groups) in SEED {
            // Hashing is slow: not at every start, and not under a lock.
            if users.find(name).await?.is_none() {
                let hash = users.passwords.hash(password.to_owned()).await?;
                query("INSERT OR IGNORE INTO users (name, password_hash, groups) VALUES (?, ?, ?)")
                    .bind(name)
                    .bind(hash)
                    .bind(serde_json::to_string(groups)?)
                    .execute(&users.pool)
                    .await?;
            }
        }
        Ok(users)
    }

    pub async fn find(&self, name: &str) -> Result<Option<User>, Failure> {
        let row: Option<(String, String, String, bool)> =
            query_as("SELECT name, password_hash, groups, suspended FROM users WHERE name = ?")
                .bind(name)
                .fetch_optional(&self.pool)
                .await?;
        let Some((name, password_hash, groups, suspended)) = row else { return Ok(None) };
        let groups: Vec<String> = serde_json::from_str(&groups)?;
        let groups = groups.iter().map(|group| Id::new(group)).collect::<Result<_, _>>()?;
        Ok(Some(User { id: Id::new(&name)?, password_hash, groups, suspended }))
    }

    /// The user `name`, suspended or not, if that is their password.
    pub async fn authenticate(
        &self,
        name: &str,
        password: String,
    ) -> Result<Option<User>, Failure> {
        let user = self.find(name).await?;
        let hash = user.as_ref().map(|user| user.password_hash.clone());
        let right = self.passwords.verify(password, hash).await?;
        Ok(user.filter(|_| right))
    }

    /// Begins a transaction that writes.
    ///
    /// It takes the write lock at once. One that takes it later, after it has read, fails if
    /// somebody else has written in between, and no waiting cures that (`SQLITE_BUSY_SNAPSHOT`).
    pub async fn begin(&self) -> Result<Transaction<'static, Sqlite>, Failure> {
        Ok(self.pool.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// The hash of a password to be kept.
    pub async fn hash(&self, password: String) -> Result<String, Failure> {
        self.passwords.hash(password).await
    }
}

/// Replaces the password of `user`, if it is still the one that was read.
pub async fn set_password(
    transaction: &mut Transaction<'_, Sqlite>,
    user: &User,
    hash: &str,
) -> Result<bool, Failure> {
    let done = query("UPDATE users SET password_hash = ? WHERE name = ? AND password_hash = ?")
        .bind(hash)
        .bind(user.id.as_str())
        .bind(&user.password_hash)
        .execute(&mut **transaction)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Replaces the groups of a user, if there is one of that name.
pub async fn set_groups(
    transaction: &mut Transaction<'_, Sqlite>,
    name: &str,
    groups: &[Id],
) -> Result<bool, Failure> {
    let groups: Vec<&str> = groups.iter().map(Id::as_str).collect();
    let done = query("UPDATE users SET groups = ? WHERE name = ?")
        .bind(serde_json::to_string(&groups)?)
        .bind(name)
        .execute(&mut **transaction)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Suspends or reinstates a user, if there is one of that name.
pub async fn set_suspended(
    transaction: &mut Transaction<'_, Sqlite>,
    name: &str,
    suspended: bool,
) -> Result<bool, Failure> {
    let done = query("UPDATE users SET suspended = ? WHERE name = ?")
        .bind(suspended)
        .bind(name)
        .execute(&mut **transaction)
        .await?;
    Ok(done.rows_affected() > 0)
}
