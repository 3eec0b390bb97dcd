//! Rules about units: duplicated, dead, saturated.

use super::{
    above, layer_of, layer_of_block,
    links::{first_trained, is_bounded, place as place_of},
};
use crate::{
    block::Role,
    diagnosis::{
        Cause, Diagnosis, Finding, Severity,
        figures::number,
        has_weights,
        intervention::{FLAT, unit_slope},
        place::{LayerRange, place},
    },
    initializer::{Initializer, Shape},
    layer::{LayerSpec, Linear},
    monitor::{BlockStatistics, Factor, LinkStatistics},
};
use alloc::{format, string::String, vec::Vec};

/// Reports units with equal weights and equal gradients: as [`Cause::ConstantWeights`] if all units of a layer are
/// equal, otherwise as [`Cause::DuplicatedUnits`].
pub(super) fn duplicated(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(statistics) = diagnosis.statistics else { return };
    let mut last = None;
    // Left out: units of the outputs, which become different by their targets, and rows of an embedding, which become
    // different by the samples with their index.
    let targeted = output_weights(&diagnosis.spec);
    let is_unit = |block: &&BlockStatistics| {
        targeted.as_deref() != Some(layer_of_block(block.name())) && !is_table(&diagnosis.spec, block.name())
    };
    let compared = statistics.blocks().iter().filter(|block| block.duplicate_rows().1 > 0);
    for (at, block) in compared.filter(is_unit).enumerate() {
        let ((duplicates, comparisons), rows) = (block.duplicate_rows(), block.units());
        // If all rows of a layer are equal, they remain equal; a few rows may be equal temporarily.
        if duplicates == 0 || comparisons < 2 && duplicates + 1 < rows {
            continue;
        }
        let (cause, severity) = match duplicates + 1 == rows {
            true => (Cause::ConstantWeights, Severity::Critical),
            false if 4 * duplicates >= rows => (Cause::DuplicatedUnits, Severity::Critical),
            false => (Cause::DuplicatedUnits, Severity::Warning),
        };
        let mut layers = LayerRange::single(layer_of_block(block.name()));
        let (mut counts, layer) = ([duplicates, rows], layer_of_block(block.name()));
        // Neighbouring layers with the same fault are one finding.
        if let Some((before, [of_copies, of_all])) = last.replace((at, counts))
            && before + 1 == at
            && let Some(known) = findings.pop_if(|known| known.cause == cause && known.severity == severity)
        {
            counts = [duplicates + of_copies, rows + of_all];
            layers = known.layers;
            layers.iter_mut().for_each(|range| range.last = layer.into());
            last = Some((at, counts));
        }
        let [duplicates, rows] = counts;
        let text = format!(
            "{duplicates} of the {rows} units of {} are copies of others: all do the work of {}",
            place(&layers),
            rows - duplicates
        );
        let because = String::from("their weights are equal to the last bit, and so are their gradients: they stay so");
        findings.push(diagnosis.finding(cause, severity, layer, text, because).in_layers(layers));
    }
}

/// Returns the path of the last layer with weights, if it is `Linear` and as wide as the network's outputs, so that
/// each of its units belongs to an output; otherwise `None`.
pub(super) fn output_weights(spec: &LayerSpec) -> Option<String> {
    let parts = spec.parts();
    let (path, part) = parts.iter().rfind(|(_, part)| has_weights(part))?;
    (matches!(part, LayerSpec::Linear(_)) && part.widths().1 == spec.widths().1).then(|| path.clone())
}

/// Whether the block named `block` belongs to an embedding, whose rows are not units.
pub(super) fn is_table(spec: &LayerSpec, block: &str) -> bool {
    let mut parts = spec.parts().into_iter();
    parts.any(|(path, part)| matches!(part, LayerSpec::Embedding(_)) && path == layer_of_block(block))
}

/// The smallest number of examples with which one pass can show that a layer passes no gradient.
const FEW: usize = 8;

/// Whether there are enough examples to show that the activation at the path `layer` passes no gradient. The last
/// pass had at least [`FEW`], or all units were off (φ′ = 0) in a whole window (some consecutive passes). Few
/// examples can all be off by chance.
pub(super) fn has_examples(diagnosis: &Diagnosis<'_>, layer: &str) -> bool {
    let links = diagnosis.statistics.map_or(&[][..], |statistics| statistics.links());
    let mut links = links.iter().filter(|link| link.factor() == Factor::Activation);
    links.any(|link| layer_of(link.name()) == layer && (link.examples() >= FEW || link.dead() == Some(1.0)))
}

/// The units of one layer that are inactive: φ′ is 0.
struct Inactive<'a> {
    link: &'a LinkStatistics,
    severity: Severity,
    /// Whether the activation is bounded: its inactive units then have large pre-activations, and do not output 0.
    flat: bool,
    /// Whether the layer passes no gradient at all, and no earlier finding explains it.
    ended: bool,
    /// The fraction of units with φ′ = 0 for every example of the last full window (some consecutive passes), and
    /// the same fraction in the first pass.
    shares: [f64; 2],
}

impl<'a> Inactive<'a> {
    fn of(diagnosis: &Diagnosis<'_>, link: &'a LinkStatistics, explained: bool) -> Option<Self> {
        let lines = diagnosis.thresholds.dead;
        let first = link.at_first().map_or(0.0, |[_, off]| off);
        // Units after a dead layer may be dead as a consequence; they are not reported.
        let ends = link.norm_in() > 0.0 && link.norm_out() == 0.0 && !link.underflowed();
        let judged = has_examples(diagnosis, layer_of(link.name()));
        // For inputs of 0, many activations output 0 although φ′ is not 0.
        let silent = link.output().last() == 0.0 && link.input().last() != 0.0;
        let ended = !explained && judged && (ends || silent);
        // A completely inactive layer is no accident of few examples; an inactive part of a layer may be one.
        let dead = if ended { 1.0 } else { link.dead().unwrap_or(0.0) };
        let severity = if ended || dead > 0.98 { Some(Severity::Critical) } else { above(dead - first, lines) }?;
        let flat = bounded(diagnosis, link.name());
        // With tiny inputs the pre-activations are near 0, where φ′ is not 0.
        let near = flat && link.input().mean() < FAR_OUT;
        (!near).then_some(Inactive { link, severity, flat, ended, shares: [dead, first] })
    }
}

/// Reports units with φ′ = 0 for every example of a window (some consecutive passes), which pass no gradient. All
/// layers with the same severity and the same kind of activation, bounded or not, are one finding.
pub(super) fn dead(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(statistics) = diagnosis.statistics else { return };
    let explained = findings.iter().any(|finding| finding.decades == Some(f64::NEG_INFINITY));
    let judged = statistics.links().iter().filter(|link| link.factor() == Factor::Activation);
    let judged: Vec<_> = judged.map(|link| (link, Inactive::of(diagnosis, link, explained))).collect();
    let kinds = [Severity::Critical, Severity::Warning].into_iter().flat_map(|it| [(it, false), (it, true)]);
    for (severity, flat) in kinds {
        // If all pre-activations of a layer are 0, the layer before it is the reason.
        let of_kind = |it: &&Inactive<'_>| it.severity == severity && it.flat == flat;
        let all = judged.iter().filter_map(|(_, found)| found.as_ref().filter(of_kind));
        let Some(worst) =
            all.max_by(|a, b| a.shares[0].total_cmp(&b.shares[0]).then(b.link.index().cmp(&a.link.index())))
        else {
            continue;
        };
        let is_own = |it: &&Inactive<'_>| {
            of_kind(it) && (it.link.input().last() != 0.0 || it.link.index() == worst.link.index())
        };
        let layers = LayerRange::runs(
            judged.iter().map(|(link, found)| (layer_of(link.name()), found.as_ref().filter(is_own).is_some())),
        );
        let ([dead, first], where_) = (worst.shares, place(&layers));
        let most = if layers.len() > 1 || layers.iter().any(|it| it.first != it.last) { "up to " } else { "" };
        let (cause, text, because) = match flat {
            true => (
                Cause::LargeWeights,
                format!(
                    "{most}{:.0} % of the units of {where_} are so far in the flat part of their activation that φ′ \
                     rounds to 0",
                    100.0 * dead
                ),
                format!("their pre-activations have a root mean square of {}", number(worst.link.input().mean())),
            ),
            false => (
                Cause::DeadUnits,
                format!("{most}{:.0} % of the units of {where_} are dead", 100.0 * dead),
                format!(
                    "φ′ is 0 for every sample seen, so no update reaches their weights; \
                     {:.0} % were off at the first step",
                    100.0 * first
                ),
            ),
        };
        let finding = diagnosis.finding(cause, severity, "", text, because).in_layers(layers);
        let mends = if flat { diagnosis.mends_weights() } else { diagnosis.mends_an_end().filter(|_| worst.ended) };
        let decades = (worst.ended && !flat).then_some(f64::NEG_INFINITY);
        let since = if first + diagnosis.thresholds.dead[0] > dead { diagnosis.seen_at(0) } else { finding.since };
        findings.push(Finding { decades, since, ..finding.told_by(mends) });
    }
}

/// Whether the layer at the path `name` is a bounded activation.
pub(super) fn bounded(diagnosis: &Diagnosis<'_>, name: &str) -> bool {
    let kinds = super::links::activations(&diagnosis.spec);
    let kind = kinds.iter().find(|(path, _)| path == name).map(|(_, kind)| kind);
    kind.is_some_and(|kind| is_bounded(kind))
}

/// The root mean square of pre-activations from which tanh is flat for most units: φ′(3) is 0.01.
const FAR_OUT: f64 = 3.0;
/// The slope below which a unit counts as saturated, as a fraction of sup |φ′|.
const SATURATED: f64 = 0.05;

/// The usual root mean squares of pre-activations: 1 up to a factor of 2. An activation that saturates for such
/// inputs is flat by itself, and not because of the size of its inputs.
const USUAL: core::ops::Range<f64> = 0.5..2.0;

/// Returns the ratio of two numbers: the root mean square, in the first pass, of the weights before the activation at
/// `path`, and the standard deviation of their initializer. If a norm is between weights and activation, returns the
/// root mean square of its gains, which are drawn as 1 and set the size of the pre-activations. `None` if neither a
/// `Linear` layer nor a norm is before the activation, or if one of the two values is unknown.
fn drift(diagnosis: &Diagnosis<'_>, path: &str) -> Option<f64> {
    let parts = diagnosis.spec.parts();
    let activation = parts.iter().position(|(at, _)| at == path)?;
    let scales = |part: &LayerSpec| matches!(part, LayerSpec::Linear(_)) || part.is_norm();
    let (layer, part) = parts[..activation].iter().rfind(|(_, part)| scales(part))?;
    let (described, kind) = match part {
        LayerSpec::Linear(Linear { inputs, outputs, weights, .. }) => {
            (libm::sqrt(weights.variance(Shape::new(*outputs, *inputs, Role::Weight))?), "weight")
        }
        _ => (1.0, "gain"),
    };
    let name = if layer.is_empty() { String::from(kind) } else { format!("{layer}.{kind}") };
    let block = diagnosis.statistics?.blocks().iter().find(|block| block.name() == name)?;
    block.first_parameters().filter(|_| described > 0.0).map(|found| found / described)
}

/// Reports units that were in the flat part of their bounded activation, where φ′ is near 0, from the first pass
/// on. The activation of the last layer is left out.
pub(super) fn saturated(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(statistics) = diagnosis.statistics else { return };
    let hidden = statistics.links().iter().filter(|link| link.factor() == Factor::Activation);
    // Outputs that saturate late in training are not a fault.
    let last = statistics.links().iter().rfind(|link| link.factor() != Factor::Addition).map(|link| link.name());
    // Layers before the first trained weights learn nothing, and need no gradient.
    let from = first_trained(diagnosis).and_then(|layer| place_of(diagnosis, &layer));
    let is_trained = |link: &&LinkStatistics| from.is_none_or(|from| place_of(diagnosis, link.name()) > Some(from));
    let judged: Vec<_> = hidden
        .filter(|link| Some(link.name()) != last && bounded(diagnosis, link.name()))
        .filter(is_trained)
        .map(|link| (link, saturation(diagnosis, link)))
        .collect();
    let Some(from) = judged.iter().position(|(_, found)| found.is_some()) else { return };
    let stretch = judged[from..].iter().take_while(|(_, found)| found.is_some()).count();
    let (link, Some(Saturation { severity, drift, slope, first })) = &judged[from] else { return };
    let range = |layer: &LinkStatistics| layer_of(layer.name()).into();
    let layers = Vec::from([LayerRange { first: range(link), last: range(judged[from + stretch - 1].0) }]);
    let place = place(&layers);
    let text = format!(
        "the weights before {place} are too large: they saturate {} units, φ′ is {slope:.2} of its bound on average{}",
        if stretch > 1 { "their" } else { "its" },
        if stretch > 1 { " in the first" } else { "" }
    );
    // An activation that saturates for inputs of size 1 does so whatever the weights.
    let is_usual = drift.is_none() && USUAL.contains(&link.input().mean());
    let flat = is_usual.then(|| unit_slope_of(diagnosis, link.name())).flatten().filter(|slope| *slope < FLAT);
    if let Some(slope) = flat {
        let text = format!(
            "the activation of {place} is flat: for inputs of size 1 its φ′ is {} of its bound on average",
            number(slope)
        );
        let because = format!(
            "pre-activations have a root mean square of {}, and φ′ is below 5 % of its bound in {:.0} % of the units",
            number(link.input().mean()),
            100.0 * first
        );
        let finding = diagnosis.finding(Cause::SaturatingActivation, *severity, "", text, because).in_layers(layers);
        return findings.push(Finding { since: diagnosis.seen_at(0), ..finding });
    }
    let because = match drift {
        Some(drift) => format!("they are {drift:.0} times as large as the description draws them"),
        None => format!(
            "pre-activations have a root mean square of {}, and φ′ is below 5 % of its bound in {:.0} % of \
             the units",
            number(link.input().mean()),
            100.0 * first
        ),
    };
    let finding = diagnosis.finding(Cause::LargeWeights, *severity, "", text, because).in_layers(layers);
    let finding = finding.told_by(diagnosis.mends_weights());
    let [decades, predicted] = [drift.map(libm::log10), drift.map(|_| 0.0)];
    // Changed weights that leave almost no slope do harm, whatever the loss does.
    let is_proof = drift.is_some() && *slope < SATURATED;
    findings.push(Finding { since: diagnosis.seen_at(0), decades, predicted, is_proof, ..finding });
}

/// Returns the [`unit_slope`] of the activation at the path `name`.
fn unit_slope_of(diagnosis: &Diagnosis<'_>, name: &str) -> Option<f64> {
    let kinds = super::links::activations(&diagnosis.spec);
    unit_slope(kinds.iter().find(|(path, _)| path == name)?.1)
}

/// The saturation of one layer in the first pass.
struct Saturation {
    severity: Severity,
    /// The ratio of the root mean square of the weights in the first pass to the standard deviation of their
    /// initializer. `None` if it is unknown or at most [`changed`](crate::diagnosis::Thresholds::changed), and for a
    /// run that has fitted its targets.
    drift: Option<f64>,
    /// The mean of |φ′| over the layer's units in the first pass, as a fraction of the largest |φ′|.
    slope: f64,
    /// The fraction of the layer's units that were saturated in the first pass: their mean |φ′| was below 5 % of its
    /// bound.
    first: f64,
}

/// Returns the saturation, in the first pass, of the layer of `link`, which has a bounded activation; `None` if it is
/// not a fault.
///
/// Saturation that came with training is the subject of the rules about updates; saturation from the start is due to
/// the weights.
fn saturation(diagnosis: &Diagnosis<'_>, link: &LinkStatistics) -> Option<Saturation> {
    let lines = &diagnosis.thresholds;
    let [first, _] = link.at_first().unwrap_or_default();
    let predicted = diagnosis.prediction.link(link.name()).and_then(|row| row.decades);
    let saturation_predicted = predicted.is_none_or(|decades| decades < lines.predicted_saturation);
    // The weights are not those of the initializer, and the run has not fitted its targets.
    let drift = drift(diagnosis, link.name()).filter(|&drift| drift > lines.changed && !diagnosis.has_fitted());
    if !(saturation_predicted || drift.is_some()) {
        return None;
    }
    let slope = link.first_slope().unwrap_or(1.0) / link.sup_slope().unwrap_or(1.0);
    // The units that are not saturated keep the mean above this value. A lower mean shows that the gradient
    // underflows.
    let underflows = link.at_first().is_some() && slope < SATURATED * (1.0 - first);
    let slope = if underflows { 1.0 } else { slope };
    // A mean slope below the first limit alone still passes a gradient on, so the harm must show elsewhere.
    let by_slope = above(-slope, lines.slope.map(|line| -line)).map(|it| match it {
        Severity::Warning if !diagnosis.is_harmed() => Severity::Note,
        it => it,
    });
    // In a small layer, few units may be saturated by chance, so the standard error is subtracted from their
    // fraction.
    let certain = first - libm::sqrt(first * (1.0 - first) / link.units().max(1) as f64);
    let severity = above(certain, lines.saturated).max(by_slope)?;
    // That weights were changed is no harm: it only says why they are large.
    let severity = if drift.is_some() { severity.min(Severity::Warning) } else { severity };
    Some(Saturation { severity, drift, slope, first })
}
