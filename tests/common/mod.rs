//! What several suites share.

#![allow(dead_code, unused_imports, reason = "each suite uses a part of it")]

pub(crate) mod databases;
pub(crate) mod instance;
pub(crate) mod place;
