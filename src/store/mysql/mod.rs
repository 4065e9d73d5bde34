//! The store in MySQL 8.0.16 or MariaDB 10.6, or later: for fleets.
//!
//! Whoever revokes locks the clock row (`SELECT … FOR UPDATE`) in a transaction that holds nothing
//! else for long. A login and a refresh hold that lock too, shared, so that they wait for
//! revocations and not for each other; what is not for them to decide is done over again under the
//! exclusive one. Nobody goes from one to the other within a transaction, and a session's row is
//! locked after the clock's: there is no circle to wait in.
//!
//! There is no push: other processes see a revocation at their next poll, this one at once.
//!
//! Every wait has a limit, on both sides: the server ends a transaction whose client is silent, so
//! that nobody holds the clock row from beyond a broken network.

mod fleet;
mod judge;
mod load;
mod options;
mod row;
mod schema;
mod session;
mod store;
mod tables;
mod watch;

pub use options::MySqlOptions;
pub use store::MySqlStore;
pub use watch::MySqlWatch;
