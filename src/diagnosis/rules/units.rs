//! Units: alike, dead, saturated; and the inputs that drive them.

use super::{above, layer_of, layer_of_block};
use crate::{
    diagnosis::{Cause, Diagnosis, Finding, Severity},
    monitor::Factor,
};
use alloc::{format, vec::Vec};

/// Rows of a weight matrix that are copies of each other, and whose gradients are.
pub(super) fn duplicated(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(statistics) = diagnosis.statistics else { return };
    for block in statistics.blocks() {
        let ((duplicates, comparisons), [rows, _]) = (block.duplicate_rows(), block.shape());
        // All rows of a layer with one gradient stay so; a few may be copies for a moment.
        if duplicates == 0 || comparisons < 2 && duplicates + 1 < rows {
            continue;
        }
        let (cause, severity) = match duplicates + 1 == rows {
            true => (Cause::ConstantWeights, Severity::Critical),
            false if 4 * duplicates >= rows => (Cause::DuplicatedUnits, Severity::Critical),
            false => (Cause::DuplicatedUnits, Severity::Warning),
        };
        let text = format!(
            "{duplicates} of the {rows} units of layer {} are copies of others, in their weights and in their \
             gradient: they do the work of {}",
            layer_of_block(block.name()),
            rows - duplicates
        );
        findings.push(diagnosis.finding(cause, severity, layer_of_block(block.name()), text));
    }
}

/// Inputs far from variance 1.
pub(super) fn input(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let size = match diagnosis.statistics {
        Some(statistics) => statistics.run().input().mean(),
        None => libm::sqrt(diagnosis.inputs.second_moment()),
    };
    if let Some(severity) = above(size, diagnosis.thresholds.input) {
        let text = format!(
            "the inputs have a root mean square of {size:.3}, not near 1: the first layer's units and gradient grow \
             with it"
        );
        findings.push(diagnosis.finding(Cause::UnscaledInput, severity, "0", text));
    }
}

/// Units that nothing switches on any more.
pub(super) fn dead(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let (Some(statistics), lines) = (diagnosis.statistics, diagnosis.thresholds.dead) else { return };
    for link in statistics.links().iter().filter(|link| link.factor() == Factor::Activation) {
        let first = link.at_first().map_or(0.0, |[_, off]| off);
        // Behind a layer that gives nothing the next may be off too, and is not to blame.
        let ended = link.norm_in() > 0.0 && link.norm_out() == 0.0 || link.output().last() == 0.0;
        // All of a layer off is no accident of few examples; a part of it may be.
        let dead = if ended { 1.0 } else { link.dead().unwrap_or(0.0) };
        let severity = if ended || dead > 0.98 { Some(Severity::Critical) } else { above(dead - first, lines) };
        let flat = bounded(diagnosis, link.name());
        if let Some(severity) = severity.filter(|_| flat) {
            let text = format!(
                "{:.0} % of the units of layer {} are so far out that φ′ rounds to 0: pre-activations have a root mean \
                 square of {:.1e}",
                100.0 * dead,
                link.name(),
                link.input().mean()
            );
            findings.push(diagnosis.finding(Cause::LargeWeights, severity, layer_of(link.name()), text));
        } else if let Some(severity) = severity {
            let text = format!(
                "{:.0} % of the units of layer {} are dead: φ′ is 0 for every example seen ({:.0} % were off in the \
                 first pass)",
                100.0 * dead,
                link.name(),
                100.0 * first
            );
            let decades = if ended { Some(f64::NEG_INFINITY) } else { None };
            let finding = diagnosis.finding(Cause::DeadUnits, severity, layer_of(link.name()), text);
            findings.push(Finding { decades, ..finding });
        }
    }
}

/// Whether the activation of that name is bounded: flat on both sides.
fn bounded(diagnosis: &Diagnosis<'_>, name: &str) -> bool {
    let kinds = super::depth::activations(&diagnosis.node);
    let kind = kinds.iter().find(|(path, _)| path == name).map(|(_, kind)| kind);
    kind.is_some_and(|kind| kind.value(1e3).abs() < 100.0 && kind.value(-1e3).abs() < 100.0)
}

/// Units of a bounded activation that work where it is flat, from the start.
pub(super) fn saturated(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(statistics) = diagnosis.statistics else { return };
    let hidden: Vec<_> = statistics.links().iter().filter(|link| link.factor() == Factor::Activation).collect();
    // Outputs that saturate late in training are a success.
    let last = statistics.links().iter().rfind(|link| link.factor() != Factor::Addition).map(|link| link.name());
    for link in hidden {
        let [first, _] = link.at_first().unwrap_or_default();
        let predicted = diagnosis.prediction.link(link.name()).and_then(|row| row.decades);
        let saturation_predicted = predicted.is_none_or(|decades| decades < diagnosis.thresholds.predicted_saturation);
        if Some(link.name()) == last || !bounded(diagnosis, link.name()) || !saturation_predicted {
            continue;
        }
        // Saturation that training brought is judged by its steps; that of the start, by the weights.
        let slope = link.first_slope().unwrap_or(1.0) / link.sup_slope().unwrap_or(1.0);
        let lines = &diagnosis.thresholds;
        let severity = above(first, lines.saturated).max(above(-slope, lines.slope.map(|line| -line)));
        if let Some(severity) = severity {
            let text = format!(
                "the weights of layer {} saturate its units: φ′ averages {slope:.2} of its bound, and is below 5 % of \
                 it in {:.0} % of the units; pre-activations have a root mean square of {:.1}",
                link.name(),
                100.0 * first,
                link.input().mean()
            );
            findings.push(diagnosis.finding(Cause::LargeWeights, severity, layer_of(link.name()), text));
            return;
        }
    }
}
