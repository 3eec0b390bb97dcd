//! The change of the gradient's norm over a run, as a heat map: a row for each link (factor of the chain rule), a
//! column for each pass.

use super::svg::{AXIS, Axis, LEFT, PLOT, Svg, escaped, shortened};
use crate::{
    diagnosis::figures::figure,
    monitor::{BudgetHistory, Factor, LinkHistory},
};
use alloc::{format, string::String};

/// The smallest height of a row, for many rows, and the largest, for few; in pixels.
const ROWS: [f64; 2] = [9.0, 18.0];
/// The height of all rows together, in pixels, unless the limits in [`ROWS`] make it larger or smaller.
const HEIGHT: f64 = 620.0;
const TOP: f64 = 46.0;
/// The magnitude of a link's decades (log10 of its factor on the gradient's norm) from which its cell has the full
/// colour; smaller ones are mixed with white.
const FULL: f64 = 1.0;
/// The colour of a link (factor of the chain rule) that reduces the gradient's norm at least tenfold: red, green,
/// blue, from 0 to 255.
const LOSES: [f64; 3] = [31.0, 95.0, 160.0];
/// The colour of a link (factor of the chain rule) that increases the gradient's norm at least tenfold: red, green,
/// blue, from 0 to 255.
const GAINS: [f64; 3] = [190.0, 75.0, 40.0];
/// The colour of a link (one factor of the chain rule) that makes the gradient zero.
const ENDS: &str = "#000000";
/// The colour of a link (factor of the chain rule) whose decades are NaN or +∞: a gradient is not finite.
const NOT_FINITE: &str = "#d400d4";
/// The colour of a link (factor of the chain rule) that no gradient reached.
const NO_GRADIENT: &str = "#d8d8d8";

/// Returns the colour of a link for its decades (powers of ten by which it changes the gradient's norm) in one pass.
/// It is white at 0, blue for a smaller gradient, red for a larger one, grey for `None` (no gradient).
fn colour(decades: Option<f64>) -> String {
    match decades {
        None => NO_GRADIENT.into(),
        Some(f64::NEG_INFINITY) => ENDS.into(),
        Some(decades) if !decades.is_finite() => NOT_FINITE.into(),
        Some(decades) => {
            let (end, part) = (if decades < 0.0 { LOSES } else { GAINS }, (decades.abs() / FULL).min(1.0));
            let [red, green, blue] = end.map(|end| (255.0 + part * (end - 255.0)) as u8);
            format!("#{red:02x}{green:02x}{blue:02x}")
        }
    }
}

/// Returns the path of a link followed by the factor of the chain rule that it applies, such as `2 weights`.
fn name(link: &LinkHistory) -> String {
    let factor = match link.factor {
        Factor::Weights => "weights",
        Factor::Activation => "φ′",
        Factor::Addition => "added",
        Factor::Other => "layer",
    };
    format!("{} {factor}", link.name)
}

/// Returns, as text, the decades (log10) by which a link changed the gradient's norm in one pass; `no gradient` for
/// `None`.
fn value(decades: Option<f64>) -> String {
    decades.map_or_else(|| "no gradient".into(), |decades| figure(decades, 2))
}

fn legend(svg: &mut Svg) {
    svg.text("name", [0.0, 14.0], "Budget by link");
    svg.text("unit", [0.0, 30.0], "decades, from loss to input");
    let (box_width, mut x) = (22.0, LEFT);
    let mut swatch = |colour: &str, label: &str, width: f64| {
        svg.push(format_args!(
            "<rect x=\"{x:.1}\" y=\"4\" width=\"{box_width}\" height=\"12\" fill=\"{colour}\" class=\"swatch\"/>"
        ));
        svg.text("x tick", [x + box_width / 2.0, 30.0], label);
        x += width;
    };
    for step in -4..=4 {
        let decades = FULL * f64::from(step) / 4.0;
        let label = match step {
            -4 => "≤ −1",
            -2 => "−0.5",
            0 => "0",
            2 => "+0.5",
            4 => "≥ +1",
            _ => "",
        };
        swatch(&colour(Some(decades)), label, if step == 4 { 60.0 } else { box_width });
    }
    swatch(ENDS, "−∞, it ends", 110.0);
    swatch(NOT_FINITE, "not finite", 90.0);
    swatch(NO_GRADIENT, "none comes", 90.0);
}

/// Returns a picture, as SVG, of the decades by which each link, a factor of the chain rule (a row), changed the
/// gradient's norm in each recorded pass (a column). Empty for a history without passes or links. `title` is the
/// title of the horizontal axis.
pub(super) fn heat_map(history: &BudgetHistory, axis: &Axis, title: &str) -> String {
    let BudgetHistory { numbers, links, .. } = history;
    if numbers.is_empty() || links.is_empty() {
        return String::new();
    }
    let row = (HEIGHT / links.len() as f64).clamp(ROWS[0], ROWS[1]);
    let font = (row - 1.0).min(12.0);
    let mut svg = Svg::new(TOP + row * links.len() as f64 + AXIS + 4.0);
    legend(&mut svg);
    let end = |pass: usize| numbers.get(pass + 1).map_or(LEFT + PLOT, |&next| axis.at(next as f64));
    for (i, link) in links.iter().enumerate() {
        let (top, name) = (TOP + row * i as f64, name(link));
        let base = top + 0.5 * row + 0.36 * font;
        svg.push(format_args!(
            "<text class=\"y\" font-size=\"{font:.0}\" x=\"{:.1}\" y=\"{base:.1}\">{}<title>{}</title></text>",
            LEFT - 6.0,
            escaped(&shortened(&name)),
            escaped(&name)
        ));
        svg.push(format_args!("<g shape-rendering=\"crispEdges\">"));
        for (pass, (&number, &decades)) in numbers.iter().zip(&link.decades).enumerate() {
            let x = axis.at(number as f64);
            svg.push(format_args!(
                "<rect x=\"{x:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{row:.1}\" fill=\"{}\">\
                 <title>{number}: {}</title></rect>",
                (end(pass) - x).max(0.0),
                colour(decades),
                value(decades)
            ));
        }
        svg.push(format_args!("</g>"));
        let last = value(link.decades.last().copied().flatten());
        svg.push(format_args!(
            "<text font-size=\"{font:.0}\" x=\"{:.1}\" y=\"{base:.1}\">{last}</text>",
            LEFT + PLOT + 12.0
        ));
    }
    svg.text("unit", [LEFT + PLOT + 12.0, 30.0], "last column");
    svg.axis(axis, TOP + row * links.len() as f64, title);
    svg.end()
}
