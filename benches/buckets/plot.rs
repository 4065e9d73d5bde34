//! The plot: two panels over the number of users, in SVG.

use crate::svg::{HEIGHT, Panel, TOP, drawing, stroke, text};

/// What was found for so many users, each with so many logouts a day.
pub(crate) struct Point {
    pub(crate) users: f64,
    pub(crate) per_day: f64,
    /// The memory of an exact copy, in MiB.
    pub(crate) exact: f64,
    /// The share of requests of which the store is asked, with few and with many buckets.
    pub(crate) asked: [f64; 2],
}

/// One line for each number of logouts a day.
const COLOURS: [&str; 3] = ["#1b9e77", "#d95f02", "#7570b3"];

/// Users, in powers of ten.
const FEWEST: i32 = 4;
const MOST: i32 = 7;

const MEMORY: Panel = Panel {
    x: 70.0,
    title: "Memory",
    unit: " MiB",
    from: -1,
    to: 5,
    over: "users",
    fewest: FEWEST,
    most: MOST,
};

const ASKED: Panel = Panel {
    x: 490.0,
    title: "Requests of which the store is asked",
    unit: " %",
    from: -2,
    to: 2,
    over: "users",
    fewest: FEWEST,
    most: MOST,
};

/// `of_buckets` is the memory of few and of many buckets, in MiB.
pub(crate) fn draw(points: &[Point], of_buckets: [f64; 2]) -> String {
    let mut svg = String::new();
    for panel in [&MEMORY, &ASKED] {
        panel.frame(&mut svg);
    }
    for (bytes, style) in of_buckets.into_iter().zip(STYLES) {
        let ends = [(10_f64.powi(FEWEST), bytes), (10_f64.powi(MOST), bytes)];
        MEMORY.line(&mut svg, &ends, "black", style);
    }
    let mut rates: Vec<f64> = points.iter().map(|point| point.per_day).collect();
    rates.dedup();
    for (rate, colour) in rates.iter().zip(COLOURS) {
        let of = |value: &dyn Fn(&Point) -> f64| -> Vec<(f64, f64)> {
            let points = points.iter().filter(|point| point.per_day == *rate);
            points.map(|point| (point.users, value(point))).collect()
        };
        MEMORY.line(&mut svg, &of(&|point| point.exact), colour, "");
        for (index, style) in STYLES.iter().enumerate() {
            ASKED.line(&mut svg, &of(&|point| point.asked[index] * 100.0), colour, style);
        }
    }
    legend(&mut svg, &rates);
    drawing(440, &svg)
}

/// Of few buckets, and of many.
const STYLES: [&str; 2] = ["stroke-dasharray=\"7 4\"", "stroke-dasharray=\"2 3\""];

fn legend(svg: &mut String, rates: &[f64]) {
    let y = TOP + HEIGHT + 70.0;
    let mut entry = |column: f64, row: f64, colour: &str, style: &str, what: &str| {
        let (x, y) = (70.0 + column * 240.0, y + row * 18.0);
        stroke(svg, &[(x, y - 4.0), (x + 34.0, y - 4.0)], colour, style);
        text(svg, x + 42.0, y, "start", what);
    };
    for ((rate, colour), row) in rates.iter().zip(COLOURS).zip([0.0, 1.0, 2.0]) {
        entry(0.0, row, colour, "", &format!("{rate} logouts a day of each user"));
    }
    entry(1.0, 0.0, "black", "", "exact: a row for each, 60 days");
    entry(1.0, 1.0, "black", STYLES[0], "4,096 buckets");
    entry(1.0, 2.0, "black", STYLES[1], "65,536 buckets");
    text(svg, 590.0, y, "start", "An exact copy never asks.");
    text(svg, 590.0, y + 18.0, "start", "Each token is used once in ten seconds.");
}
