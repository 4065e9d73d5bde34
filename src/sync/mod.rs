//! The background work: store -> epochs.
//!
//! A [`Follower`] loads everything, then polls: every second, and at once when the store hints
//! that something has changed. It reconnects with growing pauses and loads everything anew after
//! each reconnect, every five minutes, when the database turns out to be another one, and when it
//! has forgotten revocations (restored from a backup). What it applies only ever rises.
//!
//! Freshness is the instant *before* a successful poll was sent, and only a primary proves it.
//! Nothing else makes the copy fresh: when the store hangs, the copy grows stale by itself and
//! requests are answered 503.
//!
//! In a [fleet](Follower::in_fleet) it tells the store what is in force here, for those who
//! [wait](crate::cutoff::Receipt::enforced_everywhere) until a revocation is in force everywhere.

mod apply;
mod backoff;
mod follower;
mod member;

pub use follower::{Follower, SyncHandle};
