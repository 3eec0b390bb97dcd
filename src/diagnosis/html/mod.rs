//! A report or a recorded run as one self-contained HTML page, which needs no internet connection.

mod chart;
mod heat_map;
#[cfg(all(feature = "serde", feature = "std"))]
mod run;
mod svg;

use super::{
    Finding, Report, Severity, TrialReport,
    figures::{count, figure},
    report::{ReportRow, ReportState},
};
use crate::monitor::BudgetHistory;
use alloc::{format, string::String, vec::Vec};
use chart::{COLOURS, Chart, Line};
use heat_map::heat_map;
use svg::{Axis, LEFT, PLOT, Svg, escaped, shortened};

const STYLE: &str = "body{font:15px/1.5 sans-serif;margin:2em auto;max-width:68em;padding:0 1em}\
    .critical{border-left:.5em solid #b3261e}.warning{border-left:.5em solid #c77700}.note{border-left:.5em solid #888}\
    .healthy{border-left:.5em solid #3a7d34}section{padding:.4em 1em;margin:1em 0;background:#f6f6f6}\
    svg{display:block;max-width:100%;height:auto;font:12px sans-serif}pre{overflow-x:auto;font-size:13px}\
    .name{font:bold 13px sans-serif}.unit,.tick{fill:#555}.x{text-anchor:middle}.y{text-anchor:end}\
    .axis{stroke:#555;fill:none}.grid{stroke:#e4e4e4}.line{fill:none;stroke-width:1.5;stroke-linejoin:round}\
    path.wrong{stroke:#b3261e;stroke-width:1.5;fill:none}text.wrong{fill:#b3261e}.swatch{stroke:#888;stroke-width:.5}\
    table{border-collapse:collapse}td,th{padding:.1em 1em .1em 0;text-align:left;vertical-align:top}";

/// The height of one row of the bar chart, in pixels.
const ROW: f64 = 18.0;
/// The x coordinate, in pixels, of a bar for a gradient whose norm does not change.
const MIDDLE: f64 = LEFT + PLOT / 2.0;
/// The length of the longest bar, in pixels.
const HALF: f64 = PLOT / 2.0;

/// Returns a complete HTML page, style sheet included. `title` is plain text, which is escaped; `body` is HTML.
fn page(title: &str, body: &str) -> String {
    let title = escaped(title);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/><title>{title}</title>\
         <style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n{body}</body></html>\n"
    )
}

fn section(finding: &Finding) -> String {
    let class = match finding.severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    };
    let text = escaped(&format!("{finding}"));
    let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
    format!("<section class=\"{class}\"><b>{first}</b><br/>{}</section>\n", rest.replace('\n', "<br/>"))
}

impl Report {
    /// Returns the report as one self-contained HTML page, which needs no internet connection and no script. It has
    /// the findings, the change of the gradient's norm by layer and over monitored passes, the gradient of recurrent
    /// states over time, the loss curves of trials, and the report as text.
    ///
    /// Of a curve of more than 500 points, the lowest and the highest of each of 250 groups of consecutive points are
    /// drawn. The monitored passes are those of [`history`](Self::history).
    pub fn to_html(&self) -> String {
        let title = self.root().map_or(String::from("nothing wrong"), |root| match root.layers.is_empty() {
            true => format!("{}", root.cause),
            false => format!("{}, {}", root.cause, root.place()),
        });
        let mut body = self.sections();
        body.push_str(&over_passes(&self.history, "watched pass"));
        body.push_str(&self.pictures());
        page(&title, &body)
    }

    /// Returns the findings as HTML sections. For a healthy report a section before them says that nothing is wrong.
    fn sections(&self) -> String {
        let passes = usize::try_from(self.passes).unwrap_or(usize::MAX);
        let healthy = match (self.is_healthy(), passes) {
            (false, _) => String::new(),
            (true, 0) => String::from("<section class=\"healthy\"><b>before training: nothing wrong</b></section>\n"),
            (true, _) => {
                let passes = count(passes, "watched pass");
                format!("<section class=\"healthy\"><b>after {passes}: nothing wrong</b></section>\n")
            }
        };
        self.findings.iter().fold(healthy, |text, finding| text + &section(finding))
    }

    /// Returns HTML with the change of the gradient's norm by layer, the gradients of recurrent states over time, the
    /// loss curves of trials, and the report as text.
    fn pictures(&self) -> String {
        let mut body = String::from("<h2>The gradient from loss to input</h2>\n");
        body.push_str(
            "<p>Decades, powers of ten of its norm: to the left it shrinks, to the right it grows. Filled: measured, \
             the mean of recent passes. Outlined: predicted by theory.</p>\n",
        );
        body.push_str(&self.bars());
        body.extend(self.states.iter().map(over_time));
        for trial in &self.trials {
            body.push_str("<h2>Trial</h2>\n<p>The loss of each step: the network as it is, and with each fix.</p>\n");
            body.push_str(&curves(trial));
        }
        body + &format!("<h2>As text</h2>\n<pre>{}</pre>\n", escaped(&format!("{self:#}")))
    }

    /// Returns an SVG with a bar for each link (factor of the chain rule) on the main path, from loss to input:
    /// measured decades filled, predicted ones outlined.
    fn bars(&self) -> String {
        let path: Vec<&ReportRow> = self.rows.iter().filter(|row| row.on_main_path).collect();
        let finite = |decades: Option<f64>| decades.filter(|decades| decades.is_finite()).unwrap_or(0.0);
        let all = path.iter().flat_map(|row| [row.measured, row.predicted]);
        let most = all.map(|decades| finite(decades).abs()).fold(0.1, f64::max);
        let height = ROW * path.len() as f64;
        let mut svg = Svg::new(height + 40.0);
        for (i, row) in path.iter().enumerate() {
            let top = ROW * i as f64;
            svg.text("y", [LEFT - 6.0, top + 13.0], &shortened(&format!("{}  {}", row.name, row.kind)));
            // Infinite decades, such as those of a gradient that becomes 0, have the longest bar, in black.
            let bar = |decades: f64| {
                let length = (decades.abs() / most).min(1.0) * HALF;
                let (x, y) = (if decades < 0.0 { MIDDLE - length } else { MIDDLE }, top + 3.0);
                format!("x=\"{x:.1}\" y=\"{y:.1}\" width=\"{length:.1}\" height=\"{:.1}\"", ROW - 6.0)
            };
            let mut draw = |decades: Option<f64>, colour: [&str; 3], more: &str| {
                if let Some(decades) = decades.filter(|decades| !decades.is_nan()) {
                    let [gain, loss, ends] = colour;
                    let colour = if decades.is_infinite() { ends } else { [gain, loss][usize::from(decades < 0.0)] };
                    svg.push(format_args!("<rect {} fill=\"{colour}\"{more}/>", bar(decades)));
                }
            };
            draw(row.measured, ["#be4b28", "#1f5fa0", "#000"], "");
            draw(row.predicted, ["none"; 3], " stroke=\"#000\"");
            let values = [("", row.measured), ("predicted ", row.predicted)];
            let label = |(word, decades): (&str, Option<f64>)| Some(format!("{word}{}", figure(decades?, 2)));
            let uncounted = (!row.counts).then(|| String::from("not counted"));
            let values: Vec<String> = values.into_iter().filter_map(label).chain(uncounted).collect();
            svg.text("key", [LEFT + PLOT + 12.0, top + 13.0], &values.join(", "));
        }
        svg.push(format_args!("<path class=\"axis\" d=\"M{MIDDLE} 0V{height}M{LEFT} {height}h{PLOT}\"/>"));
        for part in [-1.0, -0.5, 0.0, 0.5, 1.0] {
            svg.text("x tick", [MIDDLE + part * HALF, height + 17.0], &figure(part * most, 2));
        }
        svg.text("x unit", [MIDDLE, height + 32.0], "decades");
        svg.end()
    }
}

/// Returns HTML with the change of the gradient's norm, in decades (log10), over the passes or updates of a run: the
/// sum over all links (factors of the chain rule), and each link's part. Empty for fewer than two passes. `title` is
/// the title of the horizontal axis.
fn over_passes(history: &BudgetHistory, title: &str) -> String {
    if history.numbers.len() < 2 {
        return String::new();
    }
    let axis = axis_of(history, core::iter::empty());
    format!("<h2>The gradient over the run</h2>\n{}{}", sum(history, axis, title), heat_map(history, &axis, title))
}

/// Returns the horizontal axis that covers the passes of a history and the positions `others`. Its end is after the
/// last pass by at least the distance between the last two passes: the width of the last column of a heat map.
fn axis_of(history: &BudgetHistory, others: impl Iterator<Item = f64>) -> Axis {
    let numbers = || history.numbers.iter().map(|&number| number as f64);
    let end = match history.numbers[..] {
        [.., before, last] => Some(last as f64 + last.saturating_sub(before).max(1) as f64),
        [last] => Some(last as f64 + 1.0),
        [] => None,
    };
    Axis::over(numbers().chain(end).chain(others))
}

/// Returns a chart, as SVG, of the change of the gradient's norm in each pass of a history: the sum of the decades
/// (log10) of all links (factors of the chain rule). `title` is the title of the horizontal axis.
fn sum(history: &BudgetHistory, axis: Axis, title: &str) -> String {
    let totals = history.numbers.iter().zip(history.totals());
    let points = totals.filter_map(|(&number, total)| Some([number as f64, total?])).collect();
    let line = Line { name: "sum of all links", colour: COLOURS[0], points, marks: false };
    Chart {
        title: "Budget",
        unit: "decades, to first weights",
        axis,
        axis_title: title,
        most: f64::INFINITY,
        lines: Vec::from([line]),
    }
    .svg()
}

/// Returns a chart, as HTML, of the norm of a state's gradient over the time steps of the last pass; empty if fewer
/// than two time steps were recorded.
fn over_time(state: &ReportState) -> String {
    if state.gradient.len() < 2 {
        return String::new();
    }
    let mut points: Vec<[f64; 2]> = state.gradient.clone();
    points.reverse();
    let name = format!("layer {}", state.name);
    let chart = Chart {
        title: "Gradient of the state",
        unit: "norm, last watched pass",
        axis: Axis::over(points.iter().map(|&[step, _]| step)),
        axis_title: "step of the sequence",
        most: f64::INFINITY,
        lines: Vec::from([Line { name: &name, colour: COLOURS[0], points, marks: false }]),
    };
    format!("<h2>Over time, layer {}</h2>\n{}", escaped(&state.name), chart.svg())
}

/// Returns a chart, as SVG, of the loss at each training step of a trial. The network as it is has a black curve
/// (grey if trained from initial values), and each fix a colour, the best fix first.
fn curves(trial: &TrialReport) -> String {
    let finite = |curve: &[f64]| curve.iter().copied().filter(|loss| loss.is_finite()).fold(0.0, f64::max);
    let fixes = trial.outcomes.iter().zip(COLOURS.into_iter().cycle());
    let restarted = trial.restarted.iter().map(|outcome| (outcome, "#888"));
    let outcomes = [(&trial.baseline, "#000")].into_iter().chain(restarted).chain(fixes);
    let lines = outcomes.map(|(outcome, colour)| Line {
        name: outcome.name.split(':').next().unwrap_or_default(),
        colour,
        points: (1_u32..).zip(&outcome.curve).map(|(step, &loss)| [f64::from(step), loss]).collect(),
        marks: false,
    });
    let lines: Vec<Line<'_>> = lines.collect();
    Chart {
        title: "Loss",
        unit: "mean over the seeds",
        axis: Axis::over(lines.iter().flat_map(|line| &line.points).map(|&[step, _]| step)),
        axis_title: "step of the trial",
        // The vertical axis ends near the baseline's highest loss, so that a fix that diverges does not flatten the
        // other curves.
        most: 1.2 * finite(&trial.baseline.curve).max(f64::MIN_POSITIVE),
        lines,
    }
    .svg()
}
