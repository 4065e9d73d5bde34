//! The users: a table of the service's own.

use tower_revocation::{Grant, Id, store::AnyTransaction};

use crate::{
    database::{Database, execute_in},
    fault::Failure,
    passwords::Passwords,
};

/// The group that may revoke others.
pub const ADMIN: &str = "admin";

/// Who is there at first: name, password, groups.
const SEED: [(&str, &str, &[&str]); 2] =
    [("alice", "wonderland", &[]), ("bob", "builder", &[ADMIN])];

/// The table of users. A handle, cheap to clone.
#[derive(Clone)]
pub struct Users {
    database: Database,
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
    /// Opens the table in the database, and makes it if it is missing. Several processes may do so
    /// at once.
    pub async fn open(database: Database, passwords: Passwords) -> Result<Self, Failure> {
        // `groups` is a word of MySQL's. The collation makes it tell small letters from capitals.
        let (name, lost_race) = match database {
            Database::MySql(_) => {
                ("VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", "INSERT IGNORE")
            }
            Database::Sqlite(_) => ("TEXT", "INSERT OR IGNORE"),
            Database::Postgres(_) => ("TEXT", "INSERT"),
        };
        let create = format!(
            "CREATE TABLE IF NOT EXISTS users (
                 name          {name} PRIMARY KEY,
                 password_hash VARCHAR(512) NOT NULL,
                 user_groups   VARCHAR(4096) NOT NULL, -- a JSON array
                 state         VARCHAR(16) NOT NULL -- active or suspended
             )"
        );
        if let Err(failure) = database.execute(&create, &[]).await {
            // PostgreSQL's `IF NOT EXISTS` does not see a table that is being made.
            tracing::warn!(%failure, "another server makes the table of users");
            database.execute(&create, &[]).await?;
        }
        let users = Self { database, passwords };
        for (name, password, groups) in SEED {
            // Hashing is slow: not at every start, and not under a lock.
            if users.find(name).await?.is_none() {
                let hash = users.passwords.hash(password.to_owned()).await?;
                let groups = serde_json::to_string(groups)?;
                let or_nothing = match users.database {
                    Database::Postgres(_) => "ON CONFLICT DO NOTHING",
                    _ => "",
                };
                let insert = format!(
                    "{lost_race} INTO users (name, password_hash, user_groups, state) \
                     VALUES (?, ?, ?, 'active') {or_nothing}"
                );
                users.database.execute(&insert, &[name, &hash, &groups]).await?;
            }
        }
        Ok(users)
    }

    pub async fn find(&self, name: &str) -> Result<Option<User>, Failure> {
        let sql = "SELECT name, password_hash, user_groups, state FROM users WHERE name = ?";
        let Some((name, password_hash, groups, state)) = self.database.find(sql, name).await?
        else {
            return Ok(None);
        };
        let groups: Vec<String> = serde_json::from_str(&groups)?;
        let groups = groups.iter().map(|group| Id::new(group)).collect::<Result<_, _>>()?;
        let suspended = state != "active";
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
    pub async fn begin(&self) -> Result<AnyTransaction<'static>, Failure> {
        self.database.begin().await
    }

    /// The hash of a password to be kept.
    pub async fn hash(&self, password: String) -> Result<String, Failure> {
        self.passwords.hash(password).await
    }
}

/// Replaces the password of `user`, if it is still the one that was read.
pub async fn set_password(
    transaction: &mut AnyTransaction<'_>,
    user: &User,
    hash: &str,
) -> Result<bool, Failure> {
    let sql = "UPDATE users SET password_hash = ? WHERE name = ? AND password_hash = ?";
    let texts = [hash, user.id.as_str(), &user.password_hash];
    Ok(execute_in(transaction, sql, &texts).await? > 0)
}

/// Replaces the groups of a user, if there is one of that name.
pub async fn set_groups(
    transaction: &mut AnyTransaction<'_>,
    name: &str,
    groups: &[Id],
) -> Result<bool, Failure> {
    let groups: Vec<&str> = groups.iter().map(Id::as_str).collect();
    let groups = serde_json::to_string(&groups)?;
    let sql = "UPDATE users SET user_groups = ? WHERE name = ?";
    Ok(execute_in(transaction, sql, &[&groups, name]).await? > 0)
}

/// Suspends or reinstates a user, if there is one of that name.
pub async fn set_suspended(
    transaction: &mut AnyTransaction<'_>,
    name: &str,
    suspended: bool,
) -> Result<bool, Failure> {
    let state = if suspended { "suspended" } else { "active" };
    let sql = "UPDATE users SET state = ? WHERE name = ?";
    Ok(execute_in(transaction, sql, &[state, name]).await? > 0)
}
