//! Line charts of numbers over the updates, passes or time steps of a run.

use super::svg::{AXIS, Axis, LEFT, PLOT, Svg, shortened, ticks};
use crate::diagnosis::figures::{count, number};
use alloc::{string::String, vec::Vec};
use core::fmt::Write;
use num_traits::Float;

/// A curve of more than 500 points is divided into about this number of groups of consecutive points. Of each group
/// only the lowest, the highest and the first point that is not finite are drawn.
const GROUPS: usize = 250;
const HEIGHT: f64 = 120.0;
const TOP: f64 = 12.0;
/// The height of a line of text, in pixels.
const LINE: f64 = 16.0;

pub(super) const COLOURS: [&str; 6] = ["#1f5fa0", "#be4b28", "#3a7d34", "#7a4fa3", "#b08a00", "#00808c"];

/// One curve of a chart, with its points.
pub(super) struct Line<'a> {
    pub name: &'a str,
    pub colour: &'a str,
    /// Pairs of a position on the horizontal axis and a value, in the order of increasing position.
    pub points: Vec<[f64; 2]>,
    /// Whether a dot is drawn at each point, in addition to the line.
    pub marks: bool,
}

/// A line chart: one or more curves over a common horizontal axis.
pub(super) struct Chart<'a> {
    pub title: &'a str,
    /// The text below the title, such as the unit of the values.
    pub unit: &'a str,
    pub axis: Axis,
    pub axis_title: &'a str,
    /// The largest value that the vertical axis must cover. Larger values are drawn at the upper edge, so that they do
    /// not flatten the rest.
    pub most: f64,
    pub lines: Vec<Line<'a>>,
}

/// The vertical axis: logarithmic where all values are positive and the largest is over ten times the smallest.
struct Scale {
    log: bool,
    /// The largest magnitude of a value, by which all values are divided; 1 for a logarithmic axis.
    size: f64,
    low: f64,
    high: f64,
}

impl Scale {
    fn over(values: impl Iterator<Item = f64>) -> Option<Self> {
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
        if low > high {
            return None;
        }
        let log = low > 0.0 && high / low > 10.0;
        let size = if log { 1.0 } else { Some(low.abs().max(high.abs())).filter(|&size| size > 0.0).unwrap_or(1.0) };
        let [low, high] = [low, high].map(|x| if log { libm::log10(x) } else { x / size });
        let room = if high > low { 0.05 * (high - low) } else { 0.1 };
        Some(Scale { log, size, low: low - room, high: high + room })
    }

    /// Returns the y coordinate of a value in the picture, in pixels from its top. A value outside the axis is drawn
    /// at the nearer end of the axis.
    fn at(&self, value: f64) -> f64 {
        let value = if self.log { libm::log10(value) } else { value / self.size };
        TOP + HEIGHT * (1.0 - (value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    fn ticks(&self) -> Vec<f64> {
        if !self.log {
            let [low, high] = [self.low, self.high].map(|x| (x * self.size).clamp(-f64::MAX, f64::MAX));
            return ticks([low, high], 0.0);
        }
        let powers = ticks([self.low, self.high], 1.0);
        if powers.len() > 1 {
            return powers.into_iter().map(|power| libm::pow(10.0, power)).collect();
        }
        let low = Float::floor(self.low) as i32;
        let all = (low..low + 3).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * Float::powi(10.0, power)));
        all.filter(|&x| (self.low..=self.high).contains(&libm::log10(x))).collect()
    }
}

/// Returns the points of a line that are drawn. Up to 500 points are all drawn. More are divided into about 250
/// groups of consecutive points, and the lowest, the highest and the first point that is not finite of each group are
/// drawn.
fn thinned(points: &[[f64; 2]]) -> Vec<[f64; 2]> {
    if points.len() <= 2 * GROUPS {
        return points.to_vec();
    }
    let mut kept = Vec::with_capacity(3 * GROUPS);
    for group in points.chunks(points.len().div_ceil(GROUPS)) {
        let finite = || group.iter().enumerate().filter(|(_, [_, y])| y.is_finite());
        let order = |a: &(usize, &[f64; 2]), b: &(usize, &[f64; 2])| a.1[1].total_cmp(&b.1[1]);
        let places = [finite().min_by(order), finite().max_by(order)].map(|found| found.map(|(i, _)| i));
        let wrong = group.iter().position(|[_, y]| !y.is_finite());
        let mut places: Vec<usize> = places.into_iter().chain([wrong]).flatten().collect();
        places.sort_unstable();
        places.dedup();
        kept.extend(places.into_iter().map(|i| group[i]));
    }
    kept
}

impl Chart<'_> {
    /// Returns the chart as SVG. If no value is finite, a note takes the place of axes and lines.
    pub(super) fn svg(&self) -> String {
        let finite = self.lines.iter().flat_map(|line| &line.points).map(|&[_, y]| y).filter(|y| y.is_finite());
        let scale = Scale::over(finite.map(|y| y.min(self.most)));
        let mut svg = Svg::new(TOP + HEIGHT.max(LINE * self.lines.len() as f64) + AXIS + 4.0);
        svg.text("name", [0.0, TOP + 12.0], self.title);
        svg.text("unit", [0.0, TOP + 12.0 + LINE], self.unit);
        let all = self.lines.iter().map(|line| line.points.len()).sum::<usize>();
        let wrong = self.lines.iter().flat_map(|line| &line.points).filter(|[_, y]| !y.is_finite()).count();
        if wrong > 0 {
            let text = alloc::format!("× not finite: {wrong} of {}", count(all, "value"));
            svg.text("wrong", [0.0, TOP + 12.0 + 2.0 * LINE], &text);
        }
        let Some(scale) = scale else {
            svg.text("unit", [LEFT, TOP + 12.0], if all == 0 { "no value" } else { "no finite value" });
            return svg.end();
        };
        for value in scale.ticks() {
            let y = scale.at(value);
            svg.push(format_args!("<path class=\"grid\" d=\"M{LEFT} {y:.1}h{PLOT}\"/>"));
            svg.text("y tick", [LEFT - 6.0, y + 4.0], &number(value));
        }
        svg.axis(&self.axis, TOP + HEIGHT, self.axis_title);
        for (i, line) in self.lines.iter().enumerate() {
            self.line(&mut svg, &scale, line);
            let y = TOP + 12.0 + LINE * i as f64;
            let x = LEFT + PLOT + 12.0;
            let (up, colour) = (y - 4.0, line.colour);
            svg.push(format_args!("<path d=\"M{x} {up:.1}h16\" stroke=\"{colour}\" stroke-width=\"3\"/>"));
            svg.text("key", [x + 22.0, y], &shortened(line.name));
        }
        svg.end()
    }

    fn line(&self, svg: &mut Svg, scale: &Scale, line: &Line<'_>) {
        let (mut path, mut marks, mut begun) = (String::new(), String::new(), false);
        let points = if line.marks { line.points.clone() } else { thinned(&line.points) };
        for (i, &[x, y]) in points.iter().enumerate() {
            let across = self.axis.at(x);
            if !y.is_finite() {
                let top = TOP - 8.0;
                let _ = write!(marks, "<path class=\"wrong\" d=\"M{:.1} {top}l6 6m-6 0l6 -6\"/>", across - 3.0);
                begun = false;
                continue;
            }
            let up = scale.at(y.min(self.most));
            let _ = write!(path, "{}{across:.1} {up:.1}", if begun { 'L' } else { 'M' });
            // A point without finite neighbours has no line, so it is drawn as a dot.
            let ends = points.get(i + 1).is_none_or(|[_, y]| !y.is_finite());
            if line.marks || (!begun && ends) {
                let (colour, value) = (line.colour, number(y));
                let _ = write!(
                    marks,
                    "<circle cx=\"{across:.1}\" cy=\"{up:.1}\" r=\"2.5\" fill=\"{colour}\">\
                     <title>{x}: {value}</title></circle>"
                );
            }
            begun = true;
        }
        if !path.is_empty() {
            svg.push(format_args!("<path class=\"line\" d=\"{path}\" stroke=\"{}\"/>", line.colour));
        }
        if !marks.is_empty() {
            svg.push(format_args!("{marks}"));
        }
    }
}
