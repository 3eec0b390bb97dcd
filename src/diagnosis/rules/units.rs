//! Units: alike, dead, saturated.

use super::{above, depth::is_bounded, layer_of, layer_of_block};
use crate::{
    block::Role,
    diagnosis::{Cause, Diagnosis, Finding, Severity},
    initializer::{Initializer, Shape},
    layer::LayerSpec,
    monitor::Factor,
};
use alloc::{format, string::String, vec::Vec};

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

/// Units that nothing switches on any more.
pub(super) fn dead(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let (Some(statistics), lines) = (diagnosis.statistics, diagnosis.thresholds.dead) else { return };
    let explained = findings.iter().any(|finding| finding.decades == Some(f64::NEG_INFINITY));
    for link in statistics.links().iter().filter(|link| link.factor() == Factor::Activation) {
        let first = link.at_first().map_or(0.0, |[_, off]| off);
        // Behind a layer that gives nothing the next may be off too, and is not to blame.
        let ends = link.norm_in() > 0.0 && link.norm_out() == 0.0 && !link.underflowed();
        let ended = !explained && (ends || link.output().last() == 0.0);
        // All of a layer off is no accident of few examples; a part of it may be.
        let dead = if ended { 1.0 } else { link.dead().unwrap_or(0.0) };
        let severity = if ended || dead > 0.98 { Some(Severity::Critical) } else { above(dead - first, lines) };
        let flat = bounded(diagnosis, link.name());
        if let Some(severity) = severity.filter(|_| flat) {
            // Without an input to speak of the units are at 0, where φ′ is not.
            if link.input().mean() < FAR_OUT {
                continue;
            }
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
    kind.is_some_and(|kind| is_bounded(kind))
}

/// Pre-activations of this root mean square or more are where tanh is flat for most units: φ′(3) is 0.01.
const FAR_OUT: f64 = 3.0;
/// The share of the bound of φ′ below which a unit counts as saturated.
const SATURATED: f64 = 0.05;
/// Weights that are more times as large as the description draws them were changed or loaded.
const CHANGED: f64 = 3.0;

/// How many times as large the weights before the activation at `path` were in the first pass as the description
/// draws them.
fn drift(diagnosis: &Diagnosis<'_>, path: &str) -> Option<f64> {
    let parts = diagnosis.node.parts();
    let activation = parts.iter().position(|(at, _)| at == path)?;
    let (layer, part) = parts[..activation].iter().rfind(|(_, part)| matches!(part, LayerSpec::Linear { .. }))?;
    let LayerSpec::Linear { inputs, outputs, weights, .. } = part else { return None };
    let described = libm::sqrt(weights.variance(Shape::new(*outputs, *inputs, Role::Weight))?);
    let name = if layer.is_empty() { String::from("weight") } else { format!("{layer}.weight") };
    let block = diagnosis.statistics?.blocks().iter().find(|block| block.name() == name)?;
    block.first_parameters().map(|found| found / described)
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
        let run = statistics.run();
        // Weights that are not those of the description, in a run that has not fitted its targets.
        let drift = drift(diagnosis, link.name()).unwrap_or(1.0);
        let loaded = drift > CHANGED && !run.has_fitted();
        if Some(link.name()) == last || !bounded(diagnosis, link.name()) || !(saturation_predicted || loaded) {
            continue;
        }
        // Saturation that training brought is judged by its steps; that of the start, by the weights.
        let slope = link.first_slope().unwrap_or(1.0) / link.sup_slope().unwrap_or(1.0);
        // Units that do not saturate hold the average above this. Less is measured only in a gradient that underflows.
        let underflows = link.at_first().is_some() && slope < SATURATED * (1.0 - first);
        let slope = if underflows { 1.0 } else { slope };
        let lines = &diagnosis.thresholds;
        let severity = above(first, lines.saturated).max(above(-slope, lines.slope.map(|line| -line)));
        if let Some(severity) = severity {
            let text = format!(
                "the weights of layer {} saturate its units: φ′ averages {slope:.2} of its bound, and is below 5 % of \
                 it in {:.0} % of the units; pre-activations have a root mean square of {:.1}{}",
                link.name(),
                100.0 * first,
                link.input().mean(),
                if loaded { format!("; they are {drift:.0} times what the description draws") } else { String::new() }
            );
            let severity = if loaded { Severity::Warning } else { severity };
            let finding = diagnosis.finding(Cause::LargeWeights, severity, layer_of(link.name()), text);
            let [decades, predicted] = [loaded.then(|| libm::log10(drift)), loaded.then_some(0.0)];
            // That they are not the weights of the description is measured, and a falling loss does not refute it.
            let confidence = if loaded { 1.0 } else { finding.confidence };
            findings.push(Finding { decades, predicted, confidence, ..finding });
            return;
        }
    }
}
