//! Elements that all SVG pictures of a page share: sizes in pixels, text, the horizontal axis.

use crate::diagnosis::figures::number;
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt::{self, Write};
use num_traits::Float;

/// The x coordinate at which plots begin, after the room for names, in pixels.
pub(super) const LEFT: f64 = 230.0;
/// The width of plots, in pixels.
pub(super) const PLOT: f64 = 520.0;
/// The width of the room for values to the right of plots, in pixels.
pub(super) const RIGHT: f64 = 250.0;
/// The largest number of characters of a name beside a plot; longer names are [`shortened`].
const LETTERS: usize = 32;
/// The height of a horizontal axis with its labels, in pixels.
pub(super) const AXIS: f64 = 34.0;
/// The approximate number of labels on an axis.
const LABELS: f64 = 5.0;

/// Returns `text` with the special characters of HTML escaped, and control characters other than line feeds replaced by
/// U+FFFD.
pub(super) fn escaped(text: &str) -> String {
    // HTML does not allow other control characters.
    let text: String = text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect();
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Returns a name, with an ellipsis in place of its middle if it has more than 32 characters.
pub(super) fn shortened(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let half = LETTERS / 2;
    if letters.len() <= LETTERS {
        return name.to_string();
    }
    let [start, end] = [&letters[..half], &letters[letters.len() - half + 1..]].map(|part| part.iter().collect());
    let (start, end): (String, String) = (start, end);
    format!("{start}…{end}")
}

/// An SVG picture under construction, as text.
pub(super) struct Svg(String);

impl Svg {
    pub(super) fn new(height: f64) -> Self {
        let width = LEFT + PLOT + RIGHT;
        Svg(format!("<svg viewBox=\"0 0 {width} {height:.0}\" width=\"{width}\" height=\"{height:.0}\">\n"))
    }

    /// Appends one element and a line feed. Writing to a string does not fail.
    pub(super) fn push(&mut self, arguments: fmt::Arguments<'_>) {
        let _ = self.0.write_fmt(arguments);
        self.0.push('\n');
    }

    /// Adds text at the coordinates `[x, y]`. It starts there; with the CSS class `y` it ends there, and with the class
    /// `x` it is centred there.
    pub(super) fn text(&mut self, class: &str, [x, y]: [f64; 2], text: &str) {
        let text = escaped(text);
        self.push(format_args!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>"));
    }

    /// Adds a horizontal axis with labels at the y coordinate `y`, and `title` below it.
    pub(super) fn axis(&mut self, axis: &Axis, y: f64, title: &str) {
        self.push(format_args!("<path class=\"axis\" d=\"M{LEFT} {y:.1}h{PLOT}\"/>"));
        for value in ticks([axis.from, axis.to], 1.0) {
            let x = axis.at(value);
            self.push(format_args!("<path class=\"axis\" d=\"M{x:.1} {y:.1}v4\"/>"));
            self.text("x tick", [x, y + 17.0], &number_of_updates(value));
        }
        self.text("x unit", [LEFT + PLOT / 2.0, y + 31.0], title);
    }

    pub(super) fn end(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }
}

/// Returns a whole number as text: below 10⁷ with all digits, otherwise to three significant digits.
fn number_of_updates(value: f64) -> String {
    if value.abs() < 1e7 { format!("{value:.0}") } else { number(value) }
}

/// The range of the horizontal axis, the same for all pictures that are one below the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub from: f64,
    pub to: f64,
}

impl Axis {
    /// Creates an axis from the lowest of `values` to the highest. Its length is 1 if they are equal; without values
    /// it is from 0 to 1.
    pub(super) fn over(values: impl Iterator<Item = f64>) -> Self {
        let (from, to) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(from, to), x| (from.min(x), to.max(x)));
        match from <= to {
            true if from < to => Axis { from, to },
            true => Axis { from, to: from + 1.0 },
            false => Axis { from: 0.0, to: 1.0 },
        }
    }

    /// Returns the x coordinate of a number in a picture, in pixels; a number outside the axis has that of the nearer
    /// end.
    pub(super) fn at(&self, x: f64) -> f64 {
        let part = (x - self.from) / (self.to - self.from);
        // 0/0 if `from` is so large that `from + 1` rounds to `from`.
        LEFT + if part.is_nan() { 0.0 } else { PLOT * part.clamp(0.0, 1.0) }
    }
}

/// Returns about five round numbers within a range, in increasing order: the multiples of a spacing of 1, 2 or 5
/// times a power of ten. The spacing is at least 0.7 `least`, so there may be fewer. If a range is too small for
/// distinct `f64`, the result is its two ends.
pub(super) fn ticks([low, high]: [f64; 2], least: f64) -> Vec<f64> {
    // Both ends are halved first, so that the difference of the largest and the smallest `f64` does not overflow.
    let apart = ((high / 2.0 - low / 2.0) / LABELS * 2.0).max(least);
    let power = Float::powi(10.0, Float::floor(libm::log10(apart)) as i32);
    let step = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power).into_iter().find(|&step| step >= 0.7 * apart);
    let Some(step) = step.filter(|step| step.is_normal()) else { return Vec::from([low, high]) };
    let first = Float::ceil(low / step);
    (0..=12).map(|i| (first + f64::from(i)) * step).take_while(|&tick| tick <= high + 1e-9 * step).collect()
}
