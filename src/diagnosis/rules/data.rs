//! Rules about the data: inputs and targets of an unsuitable scale.

use super::{above, layer_of};
use crate::{
    diagnosis::{Cause, Diagnosis, Finding, Severity},
    layer::LayerSpec,
    monitor::Factor,
};
use alloc::{format, string::String, vec::Vec};

/// The root mean square of the output of the first weights; `None` if they belong to a recurrent or custom layer.
fn first_pre_activation(diagnosis: &Diagnosis<'_>) -> Option<f64> {
    let weighs = |part: &LayerSpec| {
        matches!(part, LayerSpec::Linear(_) | LayerSpec::Recurrent { .. } | LayerSpec::Custom { .. })
    };
    let (layer, part) = diagnosis.node.parts().into_iter().find(|(_, part)| weighs(part))?;
    if !matches!(part, LayerSpec::Linear(_)) {
        return None;
    }
    match diagnosis.statistics {
        Some(statistics) => {
            let first = |link: &&crate::monitor::LinkStatistics| {
                link.factor() == Factor::Weights && layer_of(link.name()) == layer
            };
            statistics.links().iter().find(first).map(|link| link.output().mean())
        }
        None => {
            // The input of the next layer is the output of the first weights.
            let mut links = diagnosis.prediction.links().iter().rev().skip_while(|link| layer_of(&link.name) != layer);
            links.nth(1).and_then(|link| link.second_moment).map(libm::sqrt)
        }
    }
}

/// Reports inputs far from variance 1, unless the first weights compensate. A mean square that one sample makes tells
/// nothing of the others, and has a rule of its own.
pub(super) fn input(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let wild = diagnosis.task.as_ref().and_then(|task| task.outlier).is_some_and(|outlier| !outlier.of_targets);
    if wild || diagnosis.node.reads_indices() {
        return;
    }
    let (size, lines) = match diagnosis.statistics {
        Some(statistics) => (statistics.run().input().mean(), &diagnosis.thresholds),
        None => (libm::sqrt(diagnosis.inputs.second_moment()), &diagnosis.thresholds),
    };
    let first = first_pre_activation(diagnosis);
    let [least, most] = [first.map_or(size, |first| first.min(size)), first.map_or(size, |first| first.max(size))];
    let seen = first.map_or_else(String::new, |first| format!("; that of the first pre-activations is {first:.1e}"));
    let run = diagnosis.statistics.map(|statistics| statistics.run());
    let stagnates = run.is_some_and(|run| run.stagnates());
    if let Some(severity) = above(least, lines.input) {
        let text = format!(
            "the inputs have a root mean square of {size:.1e}, not near 1{seen}: units and gradient of the first layer \
             grow with it"
        );
        findings.push(diagnosis.finding(Cause::UnscaledInput, severity, "0", text));
    } else if most > 0.0 && most < lines.small_input[0] && (stagnates || most < lines.small_input[1]) {
        let harm = if stagnates { ", and the loss stands still" } else { "" };
        let text = format!(
            "the inputs have a root mean square of {size:.1e}, not near 1{seen}: what the first layer learns of them \
             hardly changes the outputs{harm}"
        );
        let severity = if stagnates { Severity::Critical } else { Severity::Warning };
        findings.push(diagnosis.finding(Cause::UnscaledInput, severity, "0", text));
    }
}

/// The number of passes before outputs are compared with their targets again.
const CHECKED: u64 = 25;

/// Reports targets far larger than the outputs, if the loss does not fall.
pub(super) fn targets(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(run) = diagnosis.statistics.map(|statistics| statistics.run()) else { return };
    let Some([distance, output]) = run.first_distance() else { return };
    let ratio = distance / f64::max(output, 1.0);
    let Some(severity) = above(ratio, diagnosis.thresholds.target) else { return };
    // A distance larger than the outputs themselves is no better than a constant prediction.
    let no_better = run.passes() >= CHECKED && run.distance().mean() > 1.0;
    let harms = no_better || run.stagnates() || run.non_finite().is_some();
    let severity = if harms { severity } else { Severity::Note };
    let text = format!(
        "the outputs have a root mean square of {output:.1e} at first, and their targets are {distance:.1e} away: the \
         updates are made for outputs and targets near 1{}",
        if harms { ", and are still farther away than they are large" } else { "" }
    );
    findings.push(diagnosis.finding(Cause::UnscaledTarget, severity, "", text));
}
