//! The plot: a row for each way to find out who calls, and what that costs a request.

use std::fmt::Write;

use jsonwebtoken::Algorithm;

/// What was found for one way: in nanoseconds, of one algorithm or of none.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) costs: Vec<(Option<Algorithm>, f64)>,
}

/// In pixels.
const WIDTH: f64 = 900.0;
const LEFT: f64 = 340.0;
const RIGHT: f64 = 40.0;
const TOP: f64 = 84.0;
const ROW: f64 = 27.0;
const BOTTOM: f64 = 52.0;

/// The axis, in powers of ten of a nanosecond.
const FROM: i32 = 2;
const TO: i32 = 6;

/// Told apart by their shades, too, and legible on both grounds.
const COLOURS: [(Option<Algorithm>, &str, &str); 4] = [
    (Some(Algorithm::HS256), "#1b9e77", "HS256"),
    (Some(Algorithm::RS256), "#d95f02", "RS256"),
    (Some(Algorithm::ES256), "#8a83d6", "ES256"),
    (None, "#8c959f", "no token"),
];

/// The colours of ground, text and lines are the reader's: light, or dark.
const STYLE: &str = "<style>\
    .ground{fill:#ffffff}text{fill:#1f2328}.line{stroke:#d1d9e0}\
    @media(prefers-color-scheme:dark){\
    .ground{fill:#0d1117}text{fill:#f0f6fc}.line{stroke:#3d444d}}\
    </style>";

pub(crate) fn draw(rows: &[Row]) -> String {
    let bottom = TOP + ROW * rows.len() as f64;
    let height = bottom + BOTTOM;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n{STYLE}\n\
         <rect class=\"ground\" width=\"{WIDTH}\" height=\"{height}\"/>\n"
    );
    text(&mut svg, WIDTH / 2.0, 26.0, "middle", TITLE);
    for (place, (_, colour, name)) in COLOURS.iter().enumerate() {
        let x = LEFT + 120.0 * place as f64;
        dot(&mut svg, x, 50.0, colour);
        text(&mut svg, x + 11.0, 54.5, "start", name);
    }
    for power in FROM..=TO {
        let x = across(10_f64.powi(power));
        let _ = writeln!(
            svg,
            "<line class=\"line\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\"/>"
        );
        text(&mut svg, x, bottom + 20.0, "middle", &amount(power));
    }
    text(&mut svg, across(1e4), bottom + 42.0, "middle", "a request, less the service behind");
    for (place, row) in rows.iter().enumerate() {
        let y = TOP + ROW * (place as f64 + 0.5);
        text(&mut svg, LEFT - 14.0, y + 4.5, "end", &row.name);
        for (algorithm, cost) in &row.costs {
            let place = COLOURS.iter().position(|(whose, ..)| whose == algorithm);
            let place = place.expect("each has a colour");
            // Side by side where they cost the same.
            let aside = if algorithm.is_some() { 5.0 * (place as f64 - 1.0) } else { 0.0 };
            dot(&mut svg, across(*cost), y + aside, COLOURS[place].1);
        }
    }
    svg + "</svg>\n"
}

const TITLE: &str = "<tspan font-size=\"16\">What it costs to find out who calls</tspan>";

fn across(nanoseconds: f64) -> f64 {
    let share = (nanoseconds.log10() - f64::from(FROM)) / f64::from(TO - FROM);
    LEFT + (WIDTH - LEFT - RIGHT) * share.clamp(0.0, 1.0)
}

/// A power of ten nanoseconds, as people write it.
fn amount(power: i32) -> String {
    match power {
        ..3 => format!("{} ns", 10_u32.pow(power.unsigned_abs())),
        3..6 => format!("{} µs", 10_u32.pow(power.unsigned_abs() - 3)),
        _ => format!("{} ms", 10_u32.pow(power.unsigned_abs() - 6)),
    }
}

fn dot(svg: &mut String, x: f64, y: f64, colour: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\" fill=\"{colour}\"/>");
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, what: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{what}</text>");
}
