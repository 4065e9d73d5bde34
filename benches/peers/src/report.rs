//! What was measured, and which bars it meets.

use std::{fs, thread};

use jsonwebtoken::Algorithm;

use crate::{plot::Row, rounds::Costs};

/// A figure and what it has to be.
pub(crate) struct Bar {
    what: String,
    figure: f64,
    wanted: f64,
    at_most: bool,
}

impl Bar {
    pub(crate) fn at_least(what: impl Into<String>, figure: f64, wanted: f64) -> Self {
        Self { what: what.into(), figure, wanted, at_most: false }
    }

    pub(crate) fn at_most(what: impl Into<String>, figure: f64, wanted: f64) -> Self {
        Self { what: what.into(), figure, wanted, at_most: true }
    }

    fn is_met(&self) -> bool {
        if self.at_most { self.figure <= self.wanted } else { self.figure >= self.wanted }
    }
}

/// What has been found so far.
#[derive(Default)]
pub(crate) struct Report {
    bars: Vec<Bar>,
    missing: Vec<(String, String)>,
    /// What, and the variable that would say where it is.
    absent: Vec<(String, String)>,
    rows: Vec<Row>,
}

impl Report {
    /// What ours costs and the others do, at once.
    pub(crate) fn costs(&self, what: &str, ours: &Costs, others: &[Costs]) {
        println!("  {what}: {} {}", ours.name, shown(ours.median()));
        for other in others {
            println!(
                "    {:<34}{:>10}  {:>8.1} x ours",
                other.name,
                shown(other.median()),
                other.times(ours)
            );
        }
    }

    /// Adds a dot to the plot, in the row of that name.
    pub(crate) fn draw(&mut self, name: &str, algorithm: Option<Algorithm>, nanoseconds: f64) {
        let place = self.rows.iter().position(|row| row.name == name).unwrap_or_else(|| {
            self.rows.push(Row { name: name.to_owned(), costs: Vec::new() });
            self.rows.len() - 1
        });
        self.rows[place].costs.push((algorithm, nanoseconds));
    }

    /// The plot's rows, from cheap to dear.
    pub(crate) fn rows(&mut self) -> &[Row] {
        let least = |row: &Row| row.costs.iter().map(|(_, cost)| *cost).fold(f64::MAX, f64::min);
        self.rows.sort_by(|this, that| least(this).total_cmp(&least(that)));
        &self.rows
    }

    pub(crate) fn say(&self, line: &str) {
        println!("  {line}");
    }

    pub(crate) fn bar(&mut self, bar: Bar) {
        self.bars.push(bar);
    }

    /// A bar for which there is no figure although there should be.
    pub(crate) fn missing(&mut self, what: &str, why: &str) {
        self.missing.push((what.to_owned(), why.to_owned()));
    }

    /// What is not running, and is no failure.
    pub(crate) fn absent(&mut self, what: &str, variable: &str) {
        self.absent.push((what.to_owned(), variable.to_owned()));
    }

    /// Prints all bars. Whether everything could be measured, met or not.
    pub(crate) fn conclude(self) -> bool {
        println!("\n{:<72}{:>9}{:>10}", "figure", "measured", "bar");
        for bar in &self.bars {
            println!(
                "{:<72}{:>9.2}{:>10}  {}",
                bar.what,
                bar.figure,
                format!("{} {}", if bar.at_most { "<=" } else { ">=" }, bar.wanted),
                if bar.is_met() { "met" } else { "MISSED" },
            );
        }
        for (what, variable) in &self.absent {
            println!("{what:<72}not measured: {variable} is not set");
        }
        for (what, why) in &self.missing {
            println!("{what:<72}FAILED: {why}");
        }
        self.missing.is_empty()
    }
}

fn shown(nanoseconds: f64) -> String {
    match nanoseconds {
        ..1_000.0 => format!("{nanoseconds:.0} ns"),
        _ => format!("{:.2} µs", nanoseconds / 1_000.0),
    }
}

/// In general terms: how many cores, of what kind, how busy.
pub(crate) fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let information = read("/proc/cpuinfo");
    let model = information
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, model)| model);
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or("unknown");
    format!(
        "{cores} cores, {}, {model}; load average before the run: {load}",
        std::env::consts::ARCH
    )
}
