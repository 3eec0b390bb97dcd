//! A report as text: findings first, then the budget, then time.

use super::{
    Finding, Report, Severity,
    decades::{count, figure},
    report::{ReportRow, ReportState},
};
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

/// Cause, place and severity; what is wrong; the intervention that tells why; what would refute it.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.layer.is_empty() { String::new() } else { format!(", layer {}", self.layer) };
        let since = match self.since {
            Some(pass) => format!("pass {pass}"),
            None => String::from("before training"),
        };
        writeln!(f, "{}: {}{place} ({since}, {:.0} % sure)", self.severity, self.cause, 100.0 * self.confidence)?;
        writeln!(f, "  {}", self.text)?;
        if let Some(because) = &self.because {
            writeln!(f, "  because: {because}")?;
        }
        write!(f, "  refuted by: {}", self.refuted_by)
    }
}

/// One line, in decades.
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
            self.certified_horizon.map(|steps| format!("certified below 1e-4 beyond {}", count(steps, "step"))),
        );
        if let (Some(first), Some(last)) = (self.lyapunov.first(), self.lyapunov.last()) {
            let [first, last] = [first, last].map(|exponent| exponent * core::f64::consts::LOG10_E);
            let [from, to] = [first, last].map(|decades| figure(decades, 3));
            parts.push(format!("Lyapunov exponents {from} to {to} decades a step: {}", tenfold(first)));
        }
        write!(f, "over time, layer {}: {}", self.name, parts.join("; "))
    }
}

/// In how many steps a gradient changes tenfold.
fn tenfold(decades: f64) -> String {
    let steps = 1.0 / decades.abs();
    if steps < 1e6 { format!("tenfold in {steps:.1} steps") } else { String::from("no change over time") }
}

/// Rows of the budget that are printed before the middle is left out.
const PRINTED: usize = 24;

/// The findings, the worst first; then the budget with a bar for each link, a mark for a tenth of a decade.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let passes = count(usize::try_from(self.passes).unwrap_or(usize::MAX), "pass").replace("passs", "passes");
        match (self.is_healthy(), self.passes) {
            (true, 0) => writeln!(f, "forecast before the first step: nothing wrong")?,
            (true, _) => writeln!(f, "after {passes}: nothing wrong")?,
            (false, _) => {}
        }
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        for trial in &self.trials {
            writeln!(f, "{trial}")?;
        }
        let path: Vec<&ReportRow> = self.rows.iter().filter(|row| row.on_main_path).collect();
        let width = path.iter().map(|row| row.name.chars().count()).max().unwrap_or(0).max("layer".len());
        let kind = path.iter().map(|row| row.kind.chars().count()).max().unwrap_or(0).max("kind".len());
        writeln!(
            f,
            "\n{:<width$}  {:<kind$}  {:>9} {:>9}  decades, from loss to input",
            "layer", "kind", "measured", "predicted"
        )?;
        let number = |decades: Option<f64>| decades.map_or(String::new(), |decades| figure(decades, 2));
        for (i, row) in path.iter().enumerate() {
            let hidden = path.len() > PRINTED && i >= PRINTED / 2 && i + PRINTED / 2 < path.len();
            if hidden {
                if i == PRINTED / 2 {
                    writeln!(f, "{:<width$}  {} more", "⋮", count(path.len() - PRINTED, "link"))?;
                }
                continue;
            }
            let decades = row.measured.or(row.predicted).unwrap_or(0.0);
            let mark = if decades < 0.0 { "◂" } else { "▸" };
            let bar = mark.repeat((decades.abs() * 10.0).min(30.0) as usize);
            let line = format!(
                "{:<width$}  {:<kind$}  {:>9} {:>9}  {bar}",
                row.name,
                row.kind,
                number(row.measured),
                number(row.predicted)
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        let [measured, predicted] = self.decades.map(number);
        write!(f, "{:<width$}  {:<kind$}  {measured:>9} {predicted:>9}  to the first weights", "sum", "")?;
        // A bound above 0 excludes nothing.
        if let Some(certified) = self.certified.filter(|certified| *certified < 0.0) {
            let bound = figure(certified, 1);
            write!(f, "\ncertified: at most {bound} decades to the input, whatever the input and the loss")?;
        }
        for state in &self.states {
            write!(f, "\n{state}")?;
        }
        Ok(())
    }
}
