//! A prediction as a table.

use super::{PredictedLink, Prediction, PredictionSource};
use crate::monitor::Factor;
use alloc::{format, string::String};
use core::fmt;

/// Formats a number of decades for the table, with its sign and two decimals: `unknown` for `None`, `·` for 0.
fn figure(decades: Option<f64>) -> String {
    match decades {
        None => "unknown".into(),
        Some(0.0) => "·".into(),
        Some(d) if d.is_infinite() => String::from(if d > 0.0 { "+∞" } else { "−∞" }),
        Some(d) => format!("{d:+.2}").replace('-', "−"),
    }
}

/// Writes a row for each link (factor of the chain rule), from loss to input, with its decades in the column of its
/// factor. Then it writes the sums and the conclusions.
impl fmt::Display for Prediction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widest = |text: fn(&PredictedLink) -> &str| self.links.iter().map(|link| text(link).chars().count()).max();
        let name = widest(|link| &link.name).unwrap_or(0).max("layer".len());
        let kind = widest(|link| &link.kind).unwrap_or(0).max("kind".len());
        writeln!(f, "predicted gradient budget, from loss to input; shares in decades (log10 of each factor)")?;
        writeln!(
            f,
            "{:<name$}  {:<kind$}  {:>9} {:>8} {:>8} {:>8} {:>8}",
            "layer", "kind", "E x²", "weights", "φ′", "added", "other"
        )?;
        for link in &self.links {
            let square = link.second_moment.map_or(String::from("unknown"), |square| format!("{square:.3e}"));
            let column = |factor| if link.factor == factor { figure(link.decades) } else { String::new() };
            let row = [Factor::Weights, Factor::Activation, Factor::Addition, Factor::Other].map(column);
            let [weights, activation, addition, other] = row;
            let note = match (link.source, link.on_main_path) {
                (PredictionSource::Sampled, true) => "  sampled",
                (PredictionSource::Sampled, false) => "  sampled, beside the path",
                _ => "",
            };
            let row = format!(
                "{:<name$}  {:<kind$}  {square:>9} {weights:>8} {activation:>8} {addition:>8} {other:>8}{note}",
                link.name, link.kind
            );
            writeln!(f, "{}", row.trim_end())?;
        }
        match self.shares {
            Some(shares) => {
                let row = [shares.weights, shares.activation, shares.addition, shares.other].map(|d| figure(Some(d)));
                let [weights, activation, addition, other] = row;
                let sum = "sum";
                writeln!(
                    f,
                    "{sum:<name$}  {:<kind$}  {:>9} {weights:>8} {activation:>8} {addition:>8} {other:>8}",
                    "", ""
                )?;
                let total = figure(Some(shares.total()));
                write!(f, "from output to input: {total} decades, ± {:.2} between nets", self.standard_deviation())?;
                write!(f, " for one input (β {:.2}); a batch spreads less", self.beta)?;
            }
            None => {
                let unknown = self.links.iter().find(|link| link.decades.is_none());
                write!(f, "from output to input: unknown, because layer")?;
                write!(f, " {} is unknown", unknown.map_or("", |link| &link.name))?;
            }
        }
        if self.beta > 1.0 {
            write!(
                f,
                "\nwhether one input's gradient vanishes depends on the random weights: use wider or fewer layers"
            )?;
        }
        if let Some(depth) = self.trainable_depth {
            let most = if depth.is_finite() { format!("{depth:.0}") } else { "∞".into() };
            write!(f, "\ntrainable to a depth of about {most} such layers; there are {}", self.depth)?;
        }
        Ok(())
    }
}
