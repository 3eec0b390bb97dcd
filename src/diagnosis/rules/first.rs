//! Rules about parameters that were at fault before the first update. They are found by their size, or by the effect
//! of other parameters on the same batch.

use super::{above, biases::is_behind, layer_of, layer_of_block, left_behind, units::output_weights};
use crate::{
    diagnosis::{
        Cause, Diagnosis, Finding, Severity,
        difference::{is_resumed, loaded_size, most_loaded},
        figures::number,
        first_sized,
        intervention::{Loud, Off, rectifies},
        norm_after,
        place::LayerRange,
        task::Task,
    },
    layer::LayerSpec,
    monitor::{BlockStatistics, Factor, LinkStatistics},
};
use alloc::{format, string::String, vec::Vec};

/// Reports the layer with the largest excess of units that are off (0 for every row) over those that are off with all
/// biases at 0, if this excess is large. If there is none, reports a recurrent layer of rectifiers that outputs 0 at
/// every time step.
///
/// Units of a deep network can also be off for a whole batch because its rows are alike there: such units do not
/// count. In a run that has learned, the finding is a note: dead units have not kept the network from learning.
pub(super) fn off(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let is_told = findings.iter().any(|it| it.cause == Cause::DeadUnits && it.severity > Severity::Note);
    if is_told {
        return;
    }
    let Some(severity) = severity_of_dead(diagnosis) else { return };
    let lines = diagnosis.thresholds.dead;
    let more = |it: &&Off| it.share - it.unbiased;
    let all = diagnosis.experiments.iter().flat_map(|experiments| &experiments.off);
    // Units behind large biases are off by what these make of the inputs of their layer.
    let all = all.filter(|off| !is_behind(diagnosis, findings, &off.layer));
    let worst = all.max_by(|a, b| more(a).total_cmp(&more(b)));
    if let Some((it, found)) = worst.and_then(|it| Some((it, above(more(&it), lines)?))) {
        let severity = match found {
            Severity::Warning if diagnosis.is_examined_alone && is_resumed(diagnosis) => Severity::Note,
            found => severity.min(found),
        };
        let text = format!(
            "{:.0} % of the units of layer {} are dead: they are off for every row, and farther below 0 than the rows \
             differ",
            100.0 * it.share,
            it.layer
        );
        let because = format!("with biases of 0: {:.0} % (measured)", 100.0 * it.unbiased);
        let finding = diagnosis.finding(Cause::DeadUnits, severity, &it.layer, text, because);
        let first = diagnosis.statistics.and_then(|seen| seen.links().iter().find(|link| link.name() == it.layer));
        let began = first.and_then(LinkStatistics::at_first).is_some_and(|[_, off]| off + lines[0] > it.share);
        return findings.push(Finding { since: if began { Some(0) } else { finding.since }, ..finding });
    }
    let Some(link) = silent(diagnosis) else { return };
    let text = format!("all units of recurrent layer {} are dead: they output 0 at every step", link.name());
    let because = String::from("φ′ is 0 at every step, and the layer's parameters have no gradient");
    let finding = diagnosis.finding(Cause::DeadUnits, severity, link.name(), text, because);
    let since = if link.output().mean() == 0.0 && !diagnosis.is_examined_alone { Some(0) } else { finding.since };
    findings.push(Finding { since, decades: Some(f64::NEG_INFINITY), ..finding });
}

/// Returns the severity of units that are dead for the whole run: a note if the loss shows that the network has
/// learned, otherwise critical. `None` without measurements.
fn severity_of_dead(diagnosis: &Diagnosis<'_>) -> Option<Severity> {
    let run = diagnosis.statistics?.run();
    let judged = run.recent_loss().count() >= diagnosis.thresholds.patience;
    let from = diagnosis.start().unwrap_or(f64::NAN);
    let learned = run.recent_loss().mean() < diagnosis.part(from, diagnosis.thresholds.fallen[0]);
    Some(if judged && (learned || diagnosis.has_fitted()) { Severity::Note } else { Severity::Critical })
}

/// Returns a recurrent layer of rectifiers that receives a gradient, but outputs 0 for all rows, and whose parameters
/// all have a gradient of 0.
fn silent<'a>(diagnosis: &'a Diagnosis<'_>) -> Option<&'a LinkStatistics> {
    let statistics = diagnosis.statistics?;
    let parts = diagnosis.spec.parts();
    let is_rectifier = |layer: &str| {
        parts.iter().any(|(path, part)| match part {
            LayerSpec::Recurrent { cell, .. } => path == layer && cell.activation().is_some_and(rectifies),
            _ => false,
        })
    };
    let is_still = |layer: &str| {
        let mut own = statistics.blocks().iter().filter(|block| layer_of_block(block.name()) == layer);
        own.all(|block| block.gradient_norm() == 0.0)
    };
    statistics.links().iter().find(|link| {
        let ends = link.factor() == Factor::Other && link.norm_in() > 0.0 && !link.underflowed();
        ends && link.output().last() == 0.0 && is_rectifier(link.name()) && is_still(link.name())
    })
}

/// Reports weights so large that all values after them are large, too, since rectifiers keep the scale of their
/// inputs. The change of the gradient's norm shows neither such weights in the first layer, nor weights whose effect
/// is below its threshold. Weights of the outputs are reported unless the loss is below that of constant outputs. If
/// data and targets were not measured, they are reported as a note.
pub(super) fn loud(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(experiments) = &diagnosis.experiments else { return };
    let Some(loud) = &experiments.loud else { return };
    let Loud { layer, sizes: [size, redrawn], times, is_last } = loud;
    let is_told = findings.iter().any(|it| it.cause == Cause::UnscaledInput && it.severity > Severity::Note);
    let is_large = |times: f64| times > TIMES;
    // Weights that grew in the run are the subject of the rules about updates.
    let own = diagnosis.statistics.and_then(|statistics| {
        let is_own = |block: &&BlockStatistics| block.name() == format!("{layer}.weight");
        statistics.blocks().iter().find(is_own)
    });
    // The given parameters are those after the last update; the statistics measured parameters before it.
    let now = |block: &BlockStatistics| {
        let given = diagnosis.sizes.iter().find(|(name, _)| name == block.name());
        given.map_or(block.parameters(), |(_, size)| *size)
    };
    let growth = own.and_then(|block| Some(now(block) / block.first_parameters()?));
    let began = growth.filter(|_| !diagnosis.is_examined_alone).map(|growth| is_large(times / growth));
    // If the gradient explodes, that finding covers all weights but the first.
    let explodes = experiments.before > diagnosis.thresholds.exploding[0];
    let is_first = || first_sized(&diagnosis.spec).as_ref() == Some(layer);
    if is_told || !is_large(*times) || began == Some(false) || explodes && !is_first() {
        return;
    }
    let Some(severity) = above(*size, diagnosis.thresholds.input) else { return };
    let fits = |task: &Task| task.measured.chance().is_some_and(|chance| task.loss < chance);
    if *is_last && diagnosis.task.as_ref().is_some_and(fits) {
        return;
    }
    // Outputs as large as their targets are right, but without data the targets are not known.
    let severity = if *is_last && diagnosis.task.is_none() { Severity::Note } else { severity };
    let (values, after) = match is_last {
        true => ("outputs", ""),
        false => ("pre-activations", ", and the rectifier passes their size on to all values after them"),
    };
    let text = format!(
        "the weights of layer {layer} are too large: its {values} have a root mean square of {}{after}",
        number(*size)
    );
    let because = format!(
        "with the weights of layer {layer} at their critical gain: {} instead of {} (measured)",
        number(*redrawn),
        number(*size)
    );
    let finding = diagnosis.finding(Cause::LargeWeights, severity, layer, text, because);
    let refuted_by = "outputs as large with these weights at their critical gain";
    let since = if began.is_some() { Some(0) } else { finding.since };
    let decades = Some(libm::log10(*times));
    findings.push(Finding { since, decades, predicted: Some(0.0), refuted_by, ..finding });
}

/// The ratio above which one size is far larger than another: of weights to redrawn weights, of their outputs, or of
/// the first loss to that of constant outputs. Convention: a decade.
const TIMES: f64 = 10.0;
/// The ratio above which one size is far larger than another, in decades: log10 of [`TIMES`].
pub(super) const LOADED: f64 = 1.0;

/// Reports biases of the outputs that were changed or loaded, if the first loss was more than a decade above that of
/// constant outputs, and nothing was learned since. The outputs began about as far from their targets as the biases
/// are large. Updates of the usual size do not bring the outputs back, and drive the layers before them into
/// saturation.
pub(super) fn loaded_outputs(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(run) = diagnosis.statistics.map(|statistics| statistics.run()) else { return };
    let began = run.first_loss().zip(diagnosis.chance()).filter(|(first, chance)| *first > TIMES * chance);
    let (Some((loss, chance)), Some(layer)) = (began, output_weights(&diagnosis.spec)) else { return };
    // Large errors fall fast, so a run whose loss still falls is judged only after four times as many losses.
    let is_long = run.recent_loss().count() >= 4 * diagnosis.thresholds.patience && diagnosis.learns_nothing(run);
    let harms = (diagnosis.is_held_up() || is_long) && !diagnosis.is_examined_alone;
    // Biases near the mean of the targets are right, however large they are.
    let is_far = |size: &f64| run.first_distance().is_some_and(|[distance, _]| TIMES * distance > *size);
    let size = loaded_size(diagnosis, &format!("{layer}.bias")).filter(is_far);
    let Some(size) = size.filter(|size| harms && *size > TIMES) else { return };
    let text = format!(
        "the biases of layer {layer} are too large: loaded with a root mean square of {}, they make the first outputs",
        number(size)
    );
    let because =
        format!("the first loss was {}, and that of constant outputs is {} (measured)", number(loss), number(chance));
    let finding = diagnosis.finding(Cause::LargeWeights, Severity::Critical, &layer, text, because);
    let refuted_by = "a first loss as high with these biases at 0";
    let (since, decades) = (diagnosis.seen_at(0), Some(libm::log10(size)));
    let fix = "biases of the outputs at 0, or at the mean of the targets".into();
    findings.push(Finding { since, decades, predicted: Some(0.0), refuted_by, fix, ..finding });
}

/// Reports changed or loaded weights, more than ten times as large as their initializer draws them, that make the
/// pre-activations of their layer large, if drawn weights would not. The change of the gradient's norm over depth
/// does not show such weights in gates, which saturate, or in a gated layer. The first loss must also be far above
/// that of constant outputs. In a recurrent or gated layer it suffices that the run has no updates, or shows
/// [harm](Diagnosis::is_harmed).
pub(super) fn loaded(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(statistics) = diagnosis.statistics.filter(|_| !diagnosis.has_fitted()) else { return };
    // Of a trained network, whose first loss is below that of constant outputs, weights may have grown.
    let nothing = || diagnosis.chance().zip(statistics.run().first_loss()).filter(|_| !diagnosis.is_examined_alone);
    let is_untrained =
        nothing().is_some_and(|(chance, loss)| loss > diagnosis.part(chance, diagnosis.thresholds.learned));
    let changed = diagnosis.thresholds.changed;
    let Some((block, [first, drawn])) = most_loaded(diagnosis).filter(|(_, [first, drawn])| *first > changed * drawn)
    else {
        return;
    };
    let layer = layer_of_block(&block);
    let is_told =
        |it: &Finding| it.cause == Cause::LargeWeights && it.severity > Severity::Note && !left_behind(diagnosis, it);
    let parts = diagnosis.spec.parts();
    let place = parts.iter().position(|(path, _)| path == layer);
    let Some(at) = place.filter(|&at| norm_after(&parts, at).is_none() && !findings.iter().any(is_told)) else {
        return;
    };
    let links = statistics.links();
    let own = links.iter().position(|link| layer_of(link.name()) == layer);
    let before = own.and_then(|own| own.checked_sub(1)).and_then(|before| links[before].first_output());
    let entering = before.unwrap_or_else(|| statistics.run().input().mean());
    let columns = statistics.blocks().iter().find(|it| it.name() == block).map_or(0, |it| it.shape()[1]);
    // A sum of n independent terms has √n times the root mean square of one term.
    let [size, usual] = [first, drawn].map(|weight| weight * libm::sqrt(columns as f64) * entering);
    let is_gated = matches!(parts[at].1, LayerSpec::GatedLinear(_) | LayerSpec::Recurrent { .. });
    let chance = diagnosis.chance().filter(|_| !diagnosis.is_examined_alone);
    let began = statistics.run().first_loss().zip(chance).is_some_and(|(first, chance)| first > TIMES * chance);
    let line = diagnosis.thresholds.input[0];
    let is_table = matches!(parts[at].1, LayerSpec::Embedding(_));
    let is_begun = statistics.run().updates() > 0;
    let is_far = first > TIMES * drawn;
    let harms = is_far && (began || is_gated && (!is_begun || diagnosis.is_harmed())) || is_gated && is_untrained;
    if is_table || !(size > line && usual <= line && harms) {
        return;
    }
    let times = first / drawn;
    let text = format!(
        "the weights of layer {layer} are too large: {} times as large as the description draws them, they make \
         pre-activations of size {}",
        number(times),
        number(size)
    );
    let because =
        format!("with the weights of layer {layer} redrawn: {} instead of {} (computed)", number(usual), number(size));
    let finding = diagnosis.finding(Cause::LargeWeights, Severity::Warning, layer, text, because);
    let refuted_by = "pre-activations as large with these weights redrawn";
    let (since, decades) = (diagnosis.seen_at(0), Some(libm::log10(times)));
    findings.push(Finding { since, decades, predicted: Some(0.0), refuted_by, ..finding });
}

/// The fix of a norm whose ε is far above the variance of its inputs.
pub(in crate::diagnosis) const SMALLER_EPSILON: &str = "a smaller ε of this norm";

/// Reports normalization layers on the main path whose outputs began with a root mean square outside the thresholds
/// of inputs. Such outputs are due to their gains or their ε. The gradient from loss to first weights does not show
/// this size, since the next norm divides by it.
///
/// The finding is a note unless the loss of a run has [not fallen](Diagnosis::stays_up).
pub(super) fn norms(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(statistics) = diagnosis.statistics else { return };
    let (parts, lines) = (diagnosis.spec.parts(), &diagnosis.thresholds);
    let is_norm = |layer: &str| parts.iter().any(|(path, part)| path == layer && part.is_norm());
    let began = |link: &LinkStatistics| {
        let size = link.first_output().filter(|_| link.on_main_path() && is_norm(link.name()));
        size.filter(|&size| size > 0.0 && size.is_finite())
    };
    let harms = diagnosis.stays_up();
    type Is = fn(f64, [f64; 2]) -> bool;
    let kinds: [(Cause, &str, Is); 2] = [
        (Cause::Bottleneck, "small", |size, [low, _]| size < low),
        (Cause::LargeWeights, "large", |size, [_, high]| size > high),
    ];
    for (cause, how, is) in kinds {
        let found =
            |link: &LinkStatistics| began(link).filter(|&size| is(size, [lines.small_input[0], lines.input[0]]));
        let Some((link, size)) = statistics.links().iter().find_map(|link| Some((link, found(link)?))) else {
            continue;
        };
        let layers = LayerRange::runs(statistics.links().iter().map(|link| (link.name(), found(link).is_some())));
        let own = |name: &str| {
            let name = format!("{}.{name}", link.name());
            statistics.blocks().iter().find(|block| block.name() == name).and_then(BlockStatistics::first_parameters)
        };
        let [gain, bias] = [own("gain").unwrap_or(1.0), own("bias").unwrap_or(0.0)];
        let text = format!(
            "the norm makes outputs of a root mean square of {}: too {how} for the layers after it",
            number(size)
        );
        // A norm divides by the size of its inputs, or by √ε if that is larger.
        let is_epsilon = size * TIMES < gain;
        let because = match is_epsilon {
            true => format!(
                "its gains have a root mean square of {}, so its ε is far above the variance of its inputs",
                number(gain)
            ),
            false => {
                format!("its gains began with a root mean square of {}, its biases with {}", number(gain), number(bias))
            }
        };
        let severity = if harms { Severity::Warning } else { Severity::Note };
        let finding = diagnosis.finding(cause, severity, link.name(), text, because).in_layers(layers);
        let fix = if is_epsilon { SMALLER_EPSILON } else { "gains of the norm at 1, and biases at 0" };
        let refuted_by = "the same course of the loss with outputs of this norm of size 1";
        let decades = Some(libm::log10(size));
        let since = diagnosis.seen_at(0);
        findings.push(Finding { since, decades, predicted: Some(0.0), fix: fix.into(), refuted_by, ..finding });
    }
}

/// Reports an embedding whose rows began with a root mean square far above 1, or far below. The rows of its table are
/// the inputs of the layers after it, so the thresholds of inputs apply to them.
pub(super) fn table(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(statistics) = diagnosis.statistics else { return };
    let parts = diagnosis.spec.parts();
    let table = parts.iter().position(|(_, part)| matches!(part, LayerSpec::Embedding(_)));
    let Some(at) = table.filter(|&at| norm_after(&parts, at).is_none()) else { return };
    let layer = &*parts[at].0;
    let size = statistics.links().iter().find(|link| link.name() == layer).and_then(LinkStatistics::first_output);
    let Some(size) = size else { return };
    let Some(severity) = above(size, diagnosis.thresholds.input) else {
        return findings.extend(small_table(diagnosis, layer, size));
    };
    // An adaptive optimizer may compensate for inputs that are only moderately too large.
    let harms = severity == Severity::Critical || diagnosis.is_harmed();
    let severity = if harms { severity } else { Severity::Note };
    let text = format!(
        "the rows of the table of layer {layer} are too large: they have a root mean square of {}, far above 1, and \
         are the inputs of all layers after it",
        number(size)
    );
    let because = String::from("outputs and gradient of the layer after it grow with them");
    let finding = diagnosis.finding(Cause::LargeWeights, severity, layer, text, because);
    let (since, decades) = (diagnosis.seen_at(0), Some(libm::log10(size)));
    let refuted_by = "the same course of the loss with rows of size 1";
    let fix = "rows of the table drawn with a standard deviation of 1";
    findings.push(Finding { since, decades, predicted: Some(0.0), refuted_by, fix: fix.into(), ..finding });
}

/// Returns the finding about the rows of a table that began with a root mean square of `size` far below 1: they hardly
/// change the outputs, and gradients of the next weights are as small. Below the second threshold of small inputs it
/// is a warning if updates are proportional to gradients; otherwise updates of the usual size soon make them larger.
/// Below the first threshold, the run must [stand at chance](Diagnosis::stands_at_chance).
fn small_table(diagnosis: &Diagnosis<'_>, layer: &str, size: f64) -> Option<Finding> {
    let [seen, certain] = diagnosis.thresholds.small_input;
    let stands = diagnosis.stands_at_chance();
    let is_small = size > 0.0 && (size < certain && diagnosis.is_proportional == Some(true) || size < seen && stands);
    let text = format!(
        "the rows of the table of layer {layer} are too small: they have a root mean square of {}, far below 1, and \
         hardly change the outputs{}",
        number(size),
        if stands { ", and the loss stands still" } else { "" }
    );
    let because = String::from("the gradient of the weights after it is proportional to them");
    is_small.then(|| {
        let finding = diagnosis.finding(Cause::SmallWeights, Severity::Warning, layer, text, because);
        let (since, decades) = (diagnosis.seen_at(0), Some(libm::log10(size)));
        let refuted_by = "the same course of the loss with rows of size 1";
        let fix = "rows of the table drawn with a standard deviation of 1".into();
        Finding { since, decades, predicted: Some(0.0), refuted_by, fix, ..finding }
    })
}
