//! The plot: a look-up over the number of cut-offs, of those who have one and of those who have none.

use crate::svg::{HEIGHT, Panel, TOP, drawing, stroke, text};

/// One map: its name, and for hits and for misses the nanoseconds with so many cut-offs.
pub(crate) struct Curve {
    pub(crate) name: &'static str,
    pub(crate) hit: Vec<(f64, f64)>,
    pub(crate) miss: Vec<(f64, f64)>,
}

const COLOURS: [&str; 8] =
    ["black", "#1b9e77", "#d95f02", "#e6ab02", "#7570b3", "#e7298a", "#66a61e", "#999999"];

const HIT: Panel = Panel {
    x: 70.0,
    title: "A look-up that finds a cut-off",
    unit: " ns",
    from: 1,
    to: 4,
    over: "cut-offs",
    fewest: 3,
    most: 7,
};

const MISS: Panel = Panel { x: 490.0, title: "One that finds none", ..HIT };

pub(crate) fn draw(curves: &[Curve]) -> String {
    let mut svg = String::new();
    HIT.frame(&mut svg);
    MISS.frame(&mut svg);
    for (place, (curve, colour)) in curves.iter().zip(COLOURS).enumerate() {
        HIT.line(&mut svg, &curve.hit, colour, "");
        MISS.line(&mut svg, &curve.miss, colour, "");
        let (x, y) = (70.0 + (place % 3) as f64 * 240.0, TOP + HEIGHT + 70.0);
        let y = y + (place / 3) as f64 * 18.0;
        stroke(&mut svg, &[(x, y - 4.0), (x + 34.0, y - 4.0)], colour, "");
        text(&mut svg, x + 42.0, y, "start", curve.name);
    }
    drawing(450, &svg)
}
