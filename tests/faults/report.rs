//! The tables of the report.

use std::{fmt::Write, path::PathBuf, time::Duration};

use crate::{checker::Kind, world::Tally};

/// Prints `text`, and leaves it where the report is put together, if that is asked for.
pub(crate) fn publish(name: &str, text: &str) {
    println!("{text}");
    if let Some(folder) = std::env::var_os("FAULTS_REPORT") {
        std::fs::write(PathBuf::from(folder).join(format!("{name}.md")), text).unwrap();
    }
}

/// A number from the environment.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

/// The head of a table with a row for each tally.
pub(crate) const HEAD: &str = "\
| fault | begins | rounds | revocations | of unknown outcome | checks | late acceptances | false refusals | other violations | 503s | unanswered | slowest recovery |
|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
";

/// A row.
pub(crate) fn row(fault: &str, phase: &str, rounds: usize, tally: &Tally) -> String {
    let (late, refused) = (count(tally, Kind::LateAcceptance), count(tally, Kind::FalseRefusal));
    let other = tally.violations.len() - late - refused;
    let mut row = String::new();
    writeln!(
        row,
        "| {fault} | {phase} | {rounds} | {} | {} | {} | {late} | {refused} | {other} | {} | {} | {} |",
        tally.revocations,
        tally.unknown,
        tally.checks,
        tally.unavailable,
        tally.unanswered,
        seconds(tally.slowest_recovery),
    )
    .unwrap();
    row
}

fn count(tally: &Tally, kind: Kind) -> usize {
    tally.violations.iter().filter(|violation| violation.kind == kind).count()
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
