//! What several suites share.

#![allow(unused_imports, dead_code, reason = "each suite uses a part of it")]

pub(crate) mod databases;
pub(crate) mod instance;
pub(crate) mod place;
