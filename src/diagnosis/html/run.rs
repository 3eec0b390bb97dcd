//! A recorded training run as an HTML page.

use super::{
    axis_of,
    chart::{COLOURS, Chart, Line},
    heat_map::heat_map,
    page, sum,
    svg::{Axis, escaped},
};
use crate::{
    diagnosis::{
        Report,
        figures::{count, number},
    },
    monitor::RunRecord,
    trainer::{Epoch, Step},
};
use alloc::{format, string::String, vec::Vec};

impl RunRecord {
    /// Returns the run as one self-contained HTML page, which needs no internet connection and no script. It has the
    /// loss, the learning rate, the norm of the gradient, and the budget over the updates (the decades by which each
    /// link, a factor of the chain rule, changes the gradient's norm). With `report` it also has the findings and
    /// pictures of that report.
    ///
    /// Of a curve of more than 500 points, the lowest and the highest of each of 250 groups of consecutive points are
    /// drawn. The decades of the links are drawn for the updates that [`budget`](Self::budget) recorded. A value that
    /// is not finite has a mark above its curve.
    pub fn to_html(&self, report: Option<&Report>) -> String {
        let title = format!("run of {}", count(self.updates(), "update"));
        let axis_title = if self.steps().is_empty() { "pass" } else { "update" };
        let numbers = self.steps().iter().map(|step| step.step as f64);
        let axis = axis_of(self.budget(), numbers.chain(self.epochs().iter().map(|epoch| epoch.steps as f64)));
        let mut body = self.facts();
        body.extend(report.map(Report::sections));
        body.push_str(&format!("<h2>Over the run</h2>\n{}", self.charts(axis, axis_title)));
        if !self.budget().numbers.is_empty() {
            body.push_str(&sum(self.budget(), axis, axis_title));
            body.push_str(&heat_map(self.budget(), &axis, axis_title));
        }
        body.extend(report.map(Report::pictures));
        page(&title, &body)
    }

    /// Returns the number of the last recorded update. Without records of updates and epochs it is the number of passes
    /// in [`budget`](Self::budget).
    fn updates(&self) -> usize {
        let steps = self.steps().last().map(|step| step.step);
        let last = steps.max(self.epochs().last().map(|epoch| epoch.steps));
        last.map_or(self.budget().numbers.len(), |last| usize::try_from(last).unwrap_or(usize::MAX))
    }

    /// Returns an HTML table of the facts that were recorded: first and last loss, epochs, best validation, skipped
    /// updates, and time.
    fn facts(&self) -> String {
        let (steps, epochs) = (self.steps(), self.epochs());
        let mut rows = Vec::new();
        if let (Some(first), Some(last)) = (steps.first(), steps.last()) {
            rows.push(("loss", format!("{} at first, {} in the last update", number(first.loss), number(last.loss))));
        }
        if let Some(last) = epochs.last() {
            rows.push(("epochs", format!("{}, training loss {} in the last", epochs.len(), number(last.loss))));
        }
        let validated = epochs.iter().filter_map(|epoch| Some((epoch.epoch, epoch.validation?)));
        if let Some((epoch, best)) = validated.min_by(|a, b| a.1.loss.total_cmp(&b.1.loss)) {
            let accuracy = best.accuracy.map_or(String::new(), |accuracy| format!(", accuracy {}", number(accuracy)));
            rows.push(("best validation", format!("loss {}{accuracy}, epoch {epoch}", number(best.loss))));
        }
        let of_steps: u64 = steps.iter().map(|step| u64::from(!step.applied)).sum();
        let skipped = epochs.iter().map(|epoch| epoch.skipped).sum::<u64>().max(of_steps);
        if skipped > 0 {
            rows.push(("skipped", count(usize::try_from(skipped).unwrap_or(usize::MAX), "update")));
        }
        let times: Vec<(usize, f64)> = match epochs.is_empty() {
            true => steps.iter().filter_map(|step| Some((step.samples, step.seconds?))).collect(),
            false => epochs.iter().filter_map(|epoch| Some((epoch.samples, epoch.seconds?))).collect(),
        };
        let (samples, seconds) = times.iter().fold((0.0, 0.0), |sum, &(n, time)| (sum.0 + n as f64, sum.1 + time));
        if seconds > 0.0 {
            rows.push(("time", format!("{} s, {} samples/s", number(seconds), number(samples / seconds))));
        }
        let row = |(name, value): (&str, String)| format!("<tr><th>{name}</th><td>{}</td></tr>\n", escaped(&value));
        format!("<table>\n{}</table>\n", rows.into_iter().map(row).collect::<String>())
    }

    /// Returns charts, as SVG, of loss, learning rate and gradient norm over the updates.
    fn charts(&self, axis: Axis, axis_title: &str) -> String {
        let of_steps = |value: fn(&Step) -> Option<f64>| -> Vec<[f64; 2]> {
            self.steps().iter().filter_map(|step| Some([step.step as f64, value(step)?])).collect()
        };
        let of_epochs = |value: fn(&Epoch) -> Option<f64>| -> Vec<[f64; 2]> {
            self.epochs().iter().filter_map(|epoch| Some([epoch.steps as f64, value(epoch)?])).collect()
        };
        let marked = |name, colour, points| Line { name, colour, points, marks: true };
        let plain = |name, colour, points| Line { name, colour, points, marks: false };
        let [blue, red, green, ..] = COLOURS;
        // If no single update was recorded, the learning rates come from the records of epochs.
        let rate = of_steps(|step| step.learning_rate);
        let rate = if rate.is_empty() { of_epochs(|epoch| epoch.learning_rate) } else { rate };
        let charts: [(&str, &str, Vec<Line<'_>>); 3] = [
            (
                "Loss",
                "each update, each epoch",
                Vec::from([
                    plain("each update", "#9bb8d6", of_steps(|step| Some(step.loss))),
                    marked("training, each epoch", blue, of_epochs(|epoch| Some(epoch.loss))),
                    marked("validation", red, of_epochs(|epoch| epoch.validation.map(|data| data.loss))),
                ]),
            ),
            ("Learning rate", "of each update", Vec::from([plain("learning rate", green, rate)])),
            (
                "Gradient norm",
                "of all parameters",
                Vec::from([
                    plain("before clipping", blue, of_steps(|step| Some(step.gradient_norm))),
                    plain("after clipping", red, of_steps(|step| step.clipped_norm)),
                ]),
            ),
        ];
        let mut all = String::new();
        for (title, unit, mut lines) in charts {
            lines.retain(|line| !line.points.is_empty());
            all.push_str(&Chart { title, unit, axis, axis_title, most: f64::INFINITY, lines }.svg());
        }
        all
    }
}
