//! The plot: two panels over the number of users, in SVG.

use std::fmt::Write;

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

/// Of a panel, in pixels.
const WIDTH: f64 = 330.0;
const HEIGHT: f64 = 260.0;
const TOP: f64 = 50.0;

/// Users, in powers of ten.
const FEWEST: i32 = 4;
const MOST: i32 = 7;

/// A panel: where it begins, what it shows, and from where to where, in powers of ten.
struct Panel {
    x: f64,
    title: &'static str,
    unit: &'static str,
    from: i32,
    to: i32,
}

const MEMORY: Panel = Panel { x: 70.0, title: "Memory", unit: " MiB", from: -1, to: 5 };
const ASKED: Panel =
    Panel { x: 490.0, title: "Requests of which the store is asked", unit: " %", from: -2, to: 2 };

/// `of_buckets` is the memory of few and of many buckets, in MiB.
pub(crate) fn draw(points: &[Point], of_buckets: [f64; 2]) -> String {
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 850 440\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"850\" height=\"440\" fill=\"white\"/>\n",
    );
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
    svg + "</svg>\n"
}

/// Of few buckets, and of many.
const STYLES: [&str; 2] = ["stroke-dasharray=\"7 4\"", "stroke-dasharray=\"2 3\""];

impl Panel {
    fn frame(&self, svg: &mut String) {
        let middle = self.x + WIDTH / 2.0;
        text(
            svg,
            middle,
            TOP - 20.0,
            "middle",
            &format!("<tspan font-size=\"15\">{}</tspan>", self.title),
        );
        text(svg, middle, TOP + HEIGHT + 36.0, "middle", "users");
        for power in FEWEST..=MOST {
            let x = self.across(10_f64.powi(power));
            stroke(svg, &[(x, TOP), (x, TOP + HEIGHT)], "#ddd", "");
            text(svg, x, TOP + HEIGHT + 18.0, "middle", &amount(power));
        }
        for power in self.from..=self.to {
            let y = self.up(10_f64.powi(power));
            stroke(svg, &[(self.x, y), (self.x + WIDTH, y)], "#ddd", "");
            text(svg, self.x - 6.0, y + 4.0, "end", &format!("{}{}", amount(power), self.unit));
        }
    }

    /// What lies below the panel is left out.
    fn line(&self, svg: &mut String, points: &[(f64, f64)], colour: &str, style: &str) {
        let shown = points.iter().filter(|(_, value)| *value >= 10_f64.powi(self.from));
        let places: Vec<(f64, f64)> =
            shown.map(|(users, value)| (self.across(*users), self.up(*value))).collect();
        stroke(svg, &places, colour, style);
        for (x, y) in &places {
            let _ =
                writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\" fill=\"{colour}\"/>");
        }
    }

    fn across(&self, users: f64) -> f64 {
        self.x + WIDTH * (users.log10() - f64::from(FEWEST)) / f64::from(MOST - FEWEST)
    }

    fn up(&self, value: f64) -> f64 {
        let share = (value.log10() - f64::from(self.from)) / f64::from(self.to - self.from);
        TOP + HEIGHT * (1.0 - share)
    }
}

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

/// A power of ten, as people write it.
fn amount(power: i32) -> String {
    match power {
        ..0 => format!("{:.*}", power.unsigned_abs() as usize, 10_f64.powi(power)),
        0..3 => format!("{}", 10_u32.pow(power.unsigned_abs())),
        3..6 => format!("{}k", 10_u32.pow(power.unsigned_abs() - 3)),
        _ => format!("{}M", 10_u32.pow(power.unsigned_abs() - 6)),
    }
}

fn stroke(svg: &mut String, points: &[(f64, f64)], colour: &str, style: &str) {
    let places: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    // Writing to a string cannot fail.
    let _ = writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" {style}/>",
        places.join(" ")
    );
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, what: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{what}</text>");
}
