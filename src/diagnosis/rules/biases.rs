//! Rules about biases that were large before the first update: what a layer computes is then nearly the same for
//! every row.

use super::{above, layer_of, links::is_bounded, units::output_weights};
use crate::{
    diagnosis::{Cause, Diagnosis, Finding, Severity, figures::number, norm_after},
    layer::LayerSpec,
    monitor::{BlockStatistics, LinkStatistics},
};
use alloc::{format, string::String, vec::Vec};

/// The root mean square above which biases are large. Convention: a decade above usual pre-activations.
const LARGE: f64 = 10.0;
/// The fix of large biases.
const AT_ZERO: &str = "biases of this layer at 0";

/// The biases of one layer before the first update.
struct Biases {
    layer: String,
    /// Their root mean square.
    size: f64,
    /// The root mean square of the pre-activations, and that of the part that the weights make of the inputs.
    outputs: [f64; 2],
    /// The path of the activation after the layer.
    activation: String,
    /// Whether that activation is bounded.
    flat: bool,
}

/// Returns the biases of each `Linear` layer with an activation after it that had a root mean square above ten. They
/// must make pre-activations above the threshold of inputs, which those of the weights alone are not.
fn large(diagnosis: &Diagnosis<'_>) -> Vec<Biases> {
    let Some(statistics) = diagnosis.statistics else { return Vec::new() };
    let (parts, line) = (diagnosis.spec.parts(), diagnosis.thresholds.input[0]);
    let link = |layer: &str| statistics.links().iter().find(|link| layer_of(link.name()) == layer);
    let of = |(at, (layer, part)): (usize, &(String, &LayerSpec))| {
        matches!(part, LayerSpec::Linear(_)).then_some(())?;
        let name = if layer.is_empty() { String::from("bias") } else { format!("{layer}.bias") };
        let block = statistics.blocks().iter().find(|block| block.name() == name);
        let size = block.and_then(BlockStatistics::first_parameters).filter(|size| *size > LARGE)?;
        let (path, next) = parts.get(at + 1).filter(|_| norm_after(&parts, at).is_none())?;
        let LayerSpec::ActivationLayer { activation, .. } = next else { return None };
        let whole = link(layer).and_then(LinkStatistics::first_output)?;
        let of_weights = libm::sqrt((whole * whole - size * size).max(0.0));
        let is_large = whole > line && of_weights <= line;
        let (activation, flat) = (path.clone(), is_bounded(activation));
        is_large.then_some(Biases { layer: layer.clone(), size, outputs: [whole, of_weights], activation, flat })
    };
    parts.iter().enumerate().filter_map(of).collect()
}

/// Reports the first layer with [large](large) biases that do harm. A rectifier passes their size on, so that the
/// next layer has large inputs that hardly differ. A bounded activation is flat there: its slope was below 5 % of its
/// bound in most units. Units that the biases hold off are the subject of the rules about units.
///
/// Outputs far out may be right, so of the last layer the first loss must be above that of constant outputs.
pub(super) fn biases(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(statistics) = diagnosis.statistics.filter(|_| !diagnosis.has_fitted()) else { return };
    let lines = &diagnosis.thresholds;
    let last = output_weights(&diagnosis.spec);
    let loss = match diagnosis.is_examined_alone {
        false => statistics.run().first_loss(),
        true => diagnosis.task.as_ref().map(|task| task.loss),
    };
    let is_worse = loss.zip(diagnosis.chance()).is_some_and(|(loss, chance)| loss > chance);
    let harm = |it: &Biases| {
        let link = statistics.links().iter().find(|link| layer_of(link.name()) == it.activation)?;
        let passed = link.first_output()?;
        match it.flat {
            _ if last.as_ref() == Some(&it.layer) && !is_worse => None,
            true => above(link.at_first()?[0], lines.saturated),
            false => above(passed, lines.input),
        }
    };
    let Some((it, severity)) = large(diagnosis).into_iter().find_map(|it| harm(&it).map(|severity| (it, severity)))
    else {
        return;
    };
    // An adaptive optimizer may make up for inputs of the next layer that are only somewhat too large.
    let harms = severity == Severity::Critical || diagnosis.is_harmed();
    let severity = if harms { severity } else { Severity::Note };
    let [whole, of_weights] = it.outputs.map(number);
    let text = format!(
        "the biases of layer {} are too large: they began with a root mean square of {}, {}",
        it.layer,
        number(it.size),
        match it.flat {
            true => format!("at which activation {} is flat", it.activation),
            false => String::from("so that what the layer passes on hardly differs from row to row"),
        }
    );
    let because = format!("without them the pre-activations have a size of {of_weights} instead of {whole} (computed)");
    let finding = diagnosis.finding(Cause::LargeWeights, severity, &it.layer, text, because);
    let refuted_by = "a course of the loss that is the same with these biases at 0";
    let (since, decades) = (diagnosis.seen_at(0), Some(libm::log10(it.size)));
    let fix = AT_ZERO.into();
    findings.push(Finding { since, decades, predicted: Some(0.0), refuted_by, fix, ..finding });
}

/// Whether the layer at the path `layer` lies behind a layer whose large biases are reported.
pub(super) fn is_behind(diagnosis: &Diagnosis<'_>, findings: &[Finding], layer: &str) -> bool {
    let place = |layer: &str| super::links::place(diagnosis, layer);
    let is_told = |it: &Finding| it.fix == AT_ZERO && it.severity > Severity::Note;
    findings.iter().any(|it| is_told(it) && place(&it.layer) < place(layer))
}
