//! What the plots of benchmarks are drawn with: panels with two axes in powers of ten, in SVG.

use std::fmt::Write;

/// Of a panel, in pixels.
pub(crate) const WIDTH: f64 = 330.0;
pub(crate) const HEIGHT: f64 = 260.0;
pub(crate) const TOP: f64 = 50.0;

/// A panel: where it begins, what it shows over what, and from where to where, in powers of ten.
pub(crate) struct Panel {
    pub(crate) x: f64,
    pub(crate) title: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) from: i32,
    pub(crate) to: i32,
    /// What it is shown over.
    pub(crate) over: &'static str,
    pub(crate) fewest: i32,
    pub(crate) most: i32,
}

impl Panel {
    pub(crate) fn frame(&self, svg: &mut String) {
        let middle = self.x + WIDTH / 2.0;
        text(
            svg,
            middle,
            TOP - 20.0,
            "middle",
            &format!("<tspan font-size=\"15\">{}</tspan>", self.title),
        );
        text(svg, middle, TOP + HEIGHT + 36.0, "middle", self.over);
        for power in self.fewest..=self.most {
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
    pub(crate) fn line(&self, svg: &mut String, points: &[(f64, f64)], colour: &str, style: &str) {
        let shown = points.iter().filter(|(_, value)| *value >= 10_f64.powi(self.from));
        let places: Vec<(f64, f64)> =
            shown.map(|(over, value)| (self.across(*over), self.up(*value))).collect();
        stroke(svg, &places, colour, style);
        for (x, y) in &places {
            let _ =
                writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\" fill=\"{colour}\"/>");
        }
    }

    fn across(&self, over: f64) -> f64 {
        let share = (over.log10() - f64::from(self.fewest)) / f64::from(self.most - self.fewest);
        self.x + WIDTH * share
    }

    fn up(&self, value: f64) -> f64 {
        let share = (value.log10() - f64::from(self.from)) / f64::from(self.to - self.from);
        TOP + HEIGHT * (1.0 - share)
    }
}

/// A whole drawing of this height, 850 pixels wide.
pub(crate) fn drawing(height: u32, content: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 850 {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"850\" height=\"{height}\" fill=\"white\"/>\n{content}</svg>\n"
    )
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

pub(crate) fn stroke(svg: &mut String, points: &[(f64, f64)], colour: &str, style: &str) {
    let places: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    // Writing to a string cannot fail.
    let _ = writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" {style}/>",
        places.join(" ")
    );
}

pub(crate) fn text(svg: &mut String, x: f64, y: f64, anchor: &str, what: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{what}</text>");
}
