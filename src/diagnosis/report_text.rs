//! A report as text: the findings, the change of the gradient's norm by layer, then the recurrent layers over time.

use super::{
    Finding, Report, Severity,
    figures::{count, figure, number},
    report::{ReportRow, ReportState},
};
use crate::theory::Certificate;
use alloc::{format, string::String, vec::Vec};
use core::fmt;

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        })
    }
}

/// Writes the severity, cause, layers and size on the first line, and the fix on the second. The evidence follows, and
/// what would refute it.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.layers.is_empty() { String::new() } else { format!(" in {}", self.place()) };
        let since = match self.since {
            Some(pass) => format!("seen at watched pass {}", pass + 1),
            None => String::from("seen before training"),
        };
        let (behind, since) = match self.behind {
            Some(fix) => ("behind it: ", format!("{since} of a training with {fix}")),
            None => ("", since),
        };
        let since = if self.of_first_parameters { format!("{since}, on the first parameters") } else { since };
        let proof = if self.is_proof { ", a proof" } else { "" };
        writeln!(f, "{behind}{}: {}{place}: {}", self.severity, self.cause, self.text)?;
        if self.severity > Severity::Note || self.cause.is_always_a_note() {
            writeln!(f, "  fix: {}", self.fix)?;
        }
        writeln!(f, "  why: {}", self.because)?;
        write!(f, "  {since}{proof}; refuted by: {}", self.refuted_by)
    }
}

/// Writes, as one line, how the gradient of the layer's state changes over time, in decades (log10).
impl fmt::Display for ReportState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some([all, weights, rest]) = self.per_step {
            let [all, weights, rest] = [all, weights, rest].map(|decades| figure(decades, 3));
            parts.push(format!("{all} decades a step: weights {weights}, φ′ and gates {rest}"));
        }
        parts.extend(self.per_step.map(|[all, ..]| tenfold(all)));
        parts.extend(self.spectral_radius.map(|radius| format!("ρ(U) {radius:.3}")));
        parts.extend(self.spectral_norm.map(|norm| format!("‖U‖₂ ≤ {norm:.3}")));
        parts.extend(
            self.certified_horizon.map(|steps| {
                format!("certified below {} beyond {}", number(Certificate::VANISHED), count(steps, "step"))
            }),
        );
        if let (Some(first), Some(last)) = (self.lyapunov.first(), self.lyapunov.last()) {
            let [from, to] = [*first, *last].map(|decades| figure(decades, 3));
            parts.push(format!("Lyapunov exponents {from} to {to} decades a step: {}", tenfold(*first)));
        }
        write!(f, "over time, layer {}: {}", self.name, parts.join("; "))
    }
}

/// Returns, as text, in how many time steps a gradient grows or shrinks tenfold if it changes by `decades` (log10) in
/// one time step. From 10⁶ time steps on, the text says that it does not change.
fn tenfold(decades: f64) -> String {
    let steps = 1.0 / decades.abs();
    if steps < 1e6 { format!("tenfold in {steps:.1} steps") } else { String::from("no change over time") }
}

/// The largest number of rows that the table prints in full. The middle of a longer table is omitted.
const PRINTED: usize = 24;

/// A report prints the spread (two standard deviations) of the predicted decades (log10) between random networks of
/// the same layers only from this value on. A smaller spread would be printed as 0.0.
const CERTAIN: f64 = 0.05;

impl Report {
    /// Returns the text above the table: whether the report is healthy, the findings, the trials, the loss, and the
    /// examined facts.
    fn findings_as_text(&self) -> String {
        let (mut text, steps) = (String::new(), usize::try_from(self.passes).unwrap_or(usize::MAX));
        if self.is_healthy() {
            let when =
                if steps == 0 { "before training".into() } else { format!("after {}", count(steps, "watched pass")) };
            text += &format!("{when}: nothing wrong\n");
        }
        let faults = self.findings.iter().filter(|finding| finding.severity > Severity::Note).count();
        for (i, finding) in self.findings.iter().enumerate() {
            let finding = format!("{finding}\n");
            // With several faults, the first line of each has its number and how many there are.
            text += &match faults > 1 && i < faults {
                true => finding.replacen('\n', &format!(" (fault {} of {faults})\n", i + 1), 1),
                false => finding,
            };
        }
        self.trials.iter().for_each(|trial| text += &format!("{trial}\n"));
        let course = self.loss.map(|[first, last]| format!("{} at first, {} lately", number(first), number(last)));
        let chance = self.chance.map(|loss| format!("{} by chance (the best constant outputs)", number(loss)));
        let loss: Vec<String> = self.loss_name.iter().cloned().chain(course).chain(chance).collect();
        if !loss.is_empty() {
            text += &format!("loss: {}\n", loss.join(", "));
        }
        self.transform.iter().for_each(|transform| text += &format!("optimizer: {transform}\n"));
        text + &format!("examined: {}\n", self.examined.join("; "))
    }

    /// Returns a table of the decades (log10 change of the gradient's norm) of each link (factor of the chain rule)
    /// on the main path, then a line for each recurrent layer.
    fn table(&self) -> String {
        let path: Vec<&ReportRow> = self.rows.iter().filter(|row| row.on_main_path).collect();
        let width = path.iter().map(|row| row.name.chars().count()).max().unwrap_or(0).max("layer".len());
        let kind = path.iter().map(|row| row.kind.chars().count()).max().unwrap_or(0).max("kind".len());
        let row = |name: &str, of: &str, [measured, predicted]: [Option<f64>; 2], end: &str| {
            let [measured, predicted] =
                [measured, predicted].map(|decades| decades.map_or(String::new(), |decades| figure(decades, 2)));
            let line = format!("{name:<width$}  {of:<kind$}  {measured:>9} {predicted:>9}  {end}");
            format!("{}\n", line.trim_end())
        };
        let mut text = format!(
            "{:<width$}  {:<kind$}  {:>9} {:>9}  \
             decades of the gradient's norm, from loss to input; ▸ +0.1, ◂ −0.1\n",
            "layer", "kind", "measured", "predicted"
        );
        for (i, link) in path.iter().enumerate() {
            let hidden = path.len() > PRINTED && i >= PRINTED / 2 && i + PRINTED / 2 < path.len();
            if hidden {
                if i == PRINTED / 2 {
                    let more = count(path.len() - PRINTED, "row");
                    text += &format!("{:<width$}  {more} more, all of them in `Report::rows`\n", "⋮");
                }
                continue;
            }
            let decades = link.measured.or(link.predicted).unwrap_or(0.0);
            let mark = if decades < 0.0 { "◂" } else { "▸" };
            let bar = mark.repeat((decades.abs() * 10.0).min(30.0) as usize);
            let bar = if link.counts { bar } else { format!("{bar} (not counted)") };
            text += &row(&link.name, &link.kind, [link.measured, link.predicted], &bar);
        }
        let part = if path.iter().all(|link| link.counts) { "" } else { ", of what counts" };
        text += &row("sum", "", self.decades, &format!("from loss to the output of the first weights{part}"));
        let off = 2.0 * self.predicted_spread;
        if self.decades[1].is_some_and(f64::is_finite) && off >= CERTAIN {
            text += &format!("predicted: ± {off:.1} decades from one random network of these widths to the next\n");
        }
        if !self.difference.is_empty() {
            text += &format!("measured and predicted differ: {}\n", self.difference.join("; "));
        }
        match self.certified {
            Some(f64::NEG_INFINITY) => text += "certified: no gradient reaches the input, whatever the input\n",
            // An upper bound above −1, a tenth of the gradient's norm, excludes almost nothing.
            Some(bound) if bound < -1.0 => {
                text += &format!("certified: at most {} decades to the input, whatever the input\n", figure(bound, 1));
            }
            _ => {}
        }
        self.states.iter().for_each(|state| text += &format!("{state}\n"));
        text
    }
}

/// Writes the findings, the root cause first and notes last. The table below has the change of the gradient's norm by
/// each layer, with one mark per tenth of a decade (log10), at most 30 marks a row. `{:#}` also writes, between
/// findings and table, the meanings of technical words.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (findings, table) = (self.findings_as_text(), self.table());
        let words = match f.alternate() {
            true => super::words::meanings(&format!("{findings}{table}")),
            false => String::new(),
        };
        write!(f, "{findings}{words}\n{}", table.trim_end())
    }
}
