//! The users of the demonstration. A real service has a table and hashed passwords.

use tower_revocation::Id;

/// Who can log in, with what password, in which groups.
const USERS: [(&str, &str, &[&str]); 2] =
    [("alice", "wonderland", &[]), ("bob", "builder", &["admin"])];

/// The role that may revoke others.
pub const ADMIN: &str = "admin";

/// The groups of `name`, if `password` is right.
pub fn authenticate(name: &str, password: &str) -> Option<Vec<Id>> {
    let (.., groups) = USERS.iter().find(|user| user.0 == name && user.1 == password)?;
    Some(groups.iter().filter_map(|group| Id::new(group).ok()).collect())
}
