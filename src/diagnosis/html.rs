//! A report as one HTML page that opens without a network.

use super::{Report, Severity, TrialReport, figures::figure, report::ReportRow};
use alloc::{format, string::String, vec::Vec};
use core::fmt::Write;

const STYLE: &str = "body{font:15px/1.5 sans-serif;margin:2em auto;max-width:60em;padding:0 1em}\
    .critical{border-left:.5em solid #b3261e}.warning{border-left:.5em solid #c77700}.note{border-left:.5em solid #888}\
    section{padding:.2em 1em;margin:1em 0;background:#f6f6f6}svg{display:block;max-width:100%}pre{overflow-x:auto}";
/// Height of a row, width of the names and of half the bars, in pixels.
const ROW: f64 = 18.0;
const NAMES: f64 = 220.0;
const HALF: f64 = 250.0;

/// Text without characters that HTML reads.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

impl Report {
    /// The report as one HTML page with everything in it: the findings, the budget as bars, the curves of trials, and
    /// the text. It needs no network and no script.
    pub fn to_html(&self) -> String {
        let title = self.root().map_or(String::from("nothing wrong"), |root| match root.layer.is_empty() {
            true => format!("{}", root.cause),
            false => format!("{}, layer {}", root.cause, root.layer),
        });
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{0}</title>\
             <style>{STYLE}</style></head><body>\n<h1>{0}</h1>\n",
            escaped(&title)
        );
        for finding in &self.findings {
            let class = match finding.severity {
                Severity::Note => "note",
                Severity::Warning => "warning",
                Severity::Critical => "critical",
            };
            let text = escaped(&format!("{finding}")).replace('\n', "<br>");
            page.push_str(&format!("<section class=\"{class}\">{text}</section>\n"));
        }
        page.push_str(
            "<h2>The gradient from loss to input</h2>\n<p>Decades, powers of ten of its norm. Filled: measured. \
             Outlined: predicted by theory.</p>\n",
        );
        page.push_str(&self.bars());
        for trial in &self.trials {
            page.push_str("<h2>Trial</h2>\n");
            page.push_str(&curves(trial));
        }
        page.push_str(&format!("<h2>As text</h2>\n<pre>{}</pre>\n</body></html>\n", escaped(&format!("{self}"))));
        page
    }

    /// A bar for each link on the path.
    fn bars(&self) -> String {
        let path: Vec<&ReportRow> = self.rows.iter().filter(|row| row.on_main_path).collect();
        let finite = |decades: Option<f64>| decades.filter(|decades| decades.is_finite()).unwrap_or(0.0);
        let all = path.iter().flat_map(|row| [row.measured, row.predicted]);
        let most = all.map(|decades| finite(decades).abs()).fold(0.1, f64::max);
        let (middle, height) = (NAMES + HALF, ROW * (path.len() + 1) as f64);
        let mut svg = svg(NAMES + 2.0 * HALF + 70.0, height);
        for (i, row) in path.iter().enumerate() {
            let top = ROW * i as f64;
            let name = escaped(&format!("{}  {}", row.name, row.kind));
            push(&mut svg, format_args!("<text x=\"0\" y=\"{}\">{name}</text>", top + 13.0));
            let bar = |decades: f64| {
                let length = decades.abs() / most * HALF;
                format!(
                    "x=\"{:.1}\" y=\"{:.1}\" width=\"{length:.1}\" height=\"{:.1}\"",
                    if decades < 0.0 { middle - length } else { middle },
                    top + 3.0,
                    ROW - 6.0
                )
            };
            let measured = finite(row.measured);
            let colour = if measured < 0.0 { "#1f5fa0" } else { "#be4b28" };
            push(&mut svg, format_args!("<rect {} fill=\"{colour}\"/>", bar(measured)));
            push(&mut svg, format_args!("<rect {} fill=\"none\" stroke=\"#000\"/>", bar(finite(row.predicted))));
            let decades = row.measured.or(row.predicted).map_or(String::new(), |decades| figure(decades, 2));
            push(
                &mut svg,
                format_args!("<text x=\"{:.1}\" y=\"{}\">{decades}</text>", middle + HALF + 5.0, top + 13.0),
            );
        }
        push(&mut svg, format_args!("<path d=\"M{middle} 0V{height}\" stroke=\"#000\"/></svg>\n"));
        svg
    }
}

/// The loss of each step: the network as it is in black, the fixes in colours, the best first.
fn curves(trial: &TrialReport) -> String {
    const COLOURS: [&str; 5] = ["#1f5fa0", "#be4b28", "#3a7d34", "#7a4fa3", "#b08a00"];
    let (width, height) = (600.0, 200.0);
    let finite = |curve: &[f64]| curve.iter().copied().filter(|loss| loss.is_finite()).fold(0.0, f64::max);
    // A fix that diverges must not press the others flat.
    let most = 1.2 * finite(&trial.baseline.curve).max(f64::MIN_POSITIVE);
    let mut svg = svg(width + 320.0, height + 10.0);
    let colours = COLOURS.iter().cycle().copied();
    let fixes = trial.outcomes.iter().zip(colours);
    for (i, (outcome, colour)) in [(&trial.baseline, "#000")].into_iter().chain(fixes).enumerate() {
        let across = width / outcome.curve.len().max(1) as f64;
        let mut path = String::new();
        for (step, &loss) in outcome.curve.iter().enumerate().filter(|(_, loss)| loss.is_finite()) {
            let (x, y) = (across * step as f64, height - height * (loss / most).clamp(0.0, 1.0));
            let command = if path.is_empty() { 'M' } else { 'L' };
            push(&mut path, format_args!("{command}{x:.1} {y:.1}"));
        }
        push(&mut svg, format_args!("<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\"/>"));
        let name: String = escaped(outcome.name.split(':').next().unwrap_or_default());
        let y = 14.0 * (i + 1) as f64;
        push(&mut svg, format_args!("<text x=\"{}\" y=\"{y}\" fill=\"{colour}\">{name}</text>", width + 10.0));
    }
    svg.push_str("</svg>\n");
    svg
}

fn svg(width: f64, height: f64) -> String {
    format!("<svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" font-size=\"13\">")
}

/// Appends to a string, which does not fail.
fn push(text: &mut String, arguments: core::fmt::Arguments<'_>) {
    let _ = text.write_fmt(arguments);
}
