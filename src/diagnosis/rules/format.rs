//! Rules about values that leave the range of the number format.

use super::{above, layer_of, layer_of_block};
use crate::{
    diagnosis::{Cause, Diagnosis, Finding, Severity, figures::number},
    monitor::{BlockStatistics, Factor, NonFiniteOrigin},
};
use alloc::{format, string::String, vec::Vec};

/// Reports the first value that is NaN or infinite, with the operation that computed it.
pub(super) fn not_finite(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(statistics) = diagnosis.statistics else { return };
    let Some(first) = statistics.run().non_finite() else { return };
    let since = diagnosis.seen_at(first.pass);
    if let Some([row, column]) = first.place {
        let value = if first.infinite { "infinite" } else { "NaN" };
        let text =
            format!("the value in row {row} of a batch, column {column}, is {value}: every step with it is lost");
        let because = String::from("it is a value of the input: the network has computed nothing yet");
        let finding = diagnosis.finding(Cause::BadData, Severity::Critical, "", text, because);
        return findings.push(Finding { since, is_proof: true, ..finding });
    }
    // A parameter that was not finite before the first update is the cause of all values after it.
    let broken = |block: &&BlockStatistics| block.first_parameters().is_some_and(|size| !size.is_finite());
    if let Some(block) = statistics.blocks().iter().find(broken).filter(|_| first.pass == 0) {
        let (name, layer) = (block.name(), layer_of_block(block.name()));
        let value = if block.first_parameters().is_some_and(f64::is_nan) { "NaN" } else { "infinite" };
        let text = format!("a parameter of {name} is {value}: every value computed from it is lost");
        let because = String::from("it was so before the first update: no value has left the range of the format");
        let finding = diagnosis.finding(Cause::NotANumber, Severity::Critical, layer, text, because);
        let fix = "finite parameters: drawn again, or loaded from another file".into();
        let refuted_by = "a finite value in its place";
        return findings.push(Finding { since, is_proof: true, fix, refuted_by, ..finding });
    }
    let (what, layer) = match first.origin {
        NonFiniteOrigin::Input => ("came with the input of", layer_of(&first.name)),
        NonFiniteOrigin::Forward => ("was computed in the forward pass of", layer_of(&first.name)),
        NonFiniteOrigin::Loss => ("came with the gradient of the loss, after", layer_of(&first.name)),
        NonFiniteOrigin::Backward => ("was computed in the backward pass of", layer_of(&first.name)),
        NonFiniteOrigin::Gradient => ("was computed in the gradient of", layer_of_block(&first.name)),
        NonFiniteOrigin::Update => ("was computed by the optimizer in the update of", layer_of_block(&first.name)),
        NonFiniteOrigin::Parameters => ("is in the parameters of", layer_of_block(&first.name)),
    };
    // A product or a sum of finite numbers is NaN only after an infinite intermediate value.
    let invalid = !first.infinite && first.factor == Some(Factor::Activation) && first.origin != NonFiniteOrigin::Loss;
    let cause = if invalid { Cause::NotANumber } else { Cause::Overflow };
    let operation = match first.factor {
        Some(Factor::Weights) => " (the product with its weights)",
        Some(Factor::Activation) if first.origin == NonFiniteOrigin::Forward => " (φ)",
        Some(Factor::Activation) => " (the product with φ′)",
        _ => "",
    };
    let value = if first.infinite { "an infinite value" } else { "NaN" };
    let text = format!("{value} {what} layer {layer}{operation}: every value computed from it is lost");
    let because = match cause {
        Cause::NotANumber => String::from("all values before it are finite, and none of them is too large"),
        _ => String::from("all values before it are finite: it is the first that left the range of the format"),
    };
    // The update with this value was skipped, and the run went on with finite values.
    let passed = statistics.run().has_recovered();
    let (severity, text) = match passed {
        true => (Severity::Note, format!("{text}; the step was skipped, and the run went on")),
        false => (Severity::Critical, text),
    };
    let finding = diagnosis.finding(cause, severity, layer, text, because);
    findings.push(Finding { since, is_proof: !passed, ..finding });
}

/// Reports, as a note or a warning, the layer with the largest fraction of subnormal numbers in its gradient.
pub(super) fn subnormal(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(statistics) = diagnosis.statistics else { return };
    let worst = statistics.links().iter().max_by(|a, b| a.subnormal().total_cmp(&b.subnormal()));
    let Some(link) = worst else { return };
    if let Some(severity) = above(link.subnormal(), diagnosis.thresholds.subnormal) {
        // A vanished gradient has its own rule, and lost digits near the input are harmless by themselves: the
        // severity is lowered.
        let severity = if severity == Severity::Critical { Severity::Warning } else { Severity::Note };
        let text = format!(
            "{:.0} % of the gradient that leaves layer {} is below the normal numbers of the format: these have lost \
             digits, and are slow",
            100.0 * link.subnormal(),
            link.name()
        );
        let because = format!("the gradient that leaves it has a norm of {}", number(link.norm_out()));
        findings.push(diagnosis.finding(Cause::Underflow, severity, layer_of(link.name()), text, because));
    }
}
