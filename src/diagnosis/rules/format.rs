//! The limits of the number format.

use super::{above, layer_of, layer_of_block};
use crate::{
    diagnosis::{Cause, Diagnosis, Finding, Severity},
    monitor::{Factor, NonFiniteOrigin},
};
use alloc::{format, vec::Vec};

/// Reports the first value that is NaN or infinite, with the operation that computed it.
pub(super) fn not_finite(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(statistics) = diagnosis.statistics else { return };
    let Some(first) = statistics.run().non_finite() else { return };
    if let Some([row, column]) = first.place {
        let value = if first.infinite { "infinite" } else { "NaN" };
        let text =
            format!("the value in row {row} of a batch, column {column}, is {value}; every pass with it is lost");
        let finding = diagnosis.finding(Cause::BadData, Severity::Critical, "", text);
        return findings.push(Finding { since: Some(first.pass), confidence: 1.0, ..finding });
    }
    let (what, layer) = match first.origin {
        NonFiniteOrigin::Input => ("came with the input of", layer_of(&first.name)),
        NonFiniteOrigin::Forward => ("was made in the forward pass by", layer_of(&first.name)),
        NonFiniteOrigin::Loss => ("came with the gradient of the loss, behind", layer_of(&first.name)),
        NonFiniteOrigin::Backward => ("was made in the backward pass by", layer_of(&first.name)),
        NonFiniteOrigin::Gradient => ("was made in the gradient of", layer_of_block(&first.name)),
        NonFiniteOrigin::Update => ("was made by the optimiser in the update of", layer_of_block(&first.name)),
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
    let text = format!("{value} {what} layer {layer}{operation}; everything after it is lost");
    let finding = diagnosis.finding(cause, Severity::Critical, layer, text);
    findings.push(Finding { since: Some(first.pass), confidence: 1.0, ..finding });
}

/// Reports a gradient of subnormal numbers.
pub(super) fn subnormal(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(statistics) = diagnosis.statistics else { return };
    let worst = statistics.links().iter().max_by(|a, b| a.subnormal().total_cmp(&b.subnormal()));
    let Some(link) = worst else { return };
    if let Some(severity) = above(link.subnormal(), diagnosis.thresholds.subnormal) {
        // A vanished gradient has its own rule. Lost digits near the input do no harm by themselves.
        let severity = if severity == Severity::Critical { Severity::Warning } else { Severity::Note };
        let text = format!(
            "{:.0} % of the gradient behind layer {} is below the normal numbers of the format: it has lost digits, \
             and is slow",
            100.0 * link.subnormal(),
            link.name()
        );
        findings.push(diagnosis.finding(Cause::Underflow, severity, layer_of(link.name()), text));
    }
}
