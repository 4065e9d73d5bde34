//! What is refused, and how: one test for each entry, named by its number.

mod authorization;
#[path = "../common/gate.rs"]
mod gate;
