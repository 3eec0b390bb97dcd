//! Rules about the updates of the optimizer.

use super::{above, climb, layer_of, layer_of_block, left_behind, links};
use crate::{
    block::Role,
    diagnosis::{
        Cause, Diagnosis, Finding, Severity,
        difference::begun_small,
        figures::{count, number},
        left_out,
        place::LayerRange,
    },
    monitor::{BlockStatistics, Factor, LinkHistory, RunStatistics, part_of},
};
use alloc::{format, string::String, vec::Vec};

/// Returns the statistics of the weight matrices, recurrent ones included. Their norm is a scale for the norm of an
/// update.
pub(super) fn matrices<'a>(diagnosis: &Diagnosis<'a>) -> impl Iterator<Item = &'a BlockStatistics> {
    let blocks = diagnosis.statistics.map_or(&[][..], |statistics| statistics.blocks());
    blocks.iter().filter(|block| matches!(block.role(), Role::Weight | Role::Recurrent))
}

/// Returns, as text, the first loss, the mean of recent losses and the number of passes between them.
pub(super) fn course(run: &RunStatistics) -> String {
    let first = run.first_loss().unwrap_or(f64::NAN);
    format!("from {} to {} in {}", number(first), number(run.recent_loss().mean()), steps(run.passes()))
}

pub(super) fn steps(passes: u64) -> String {
    count(usize::try_from(passes).unwrap_or(usize::MAX), "step")
}

/// log10 of the ratio of an update's norm to that of its parameters. If the loss has risen again, an update above it
/// is too large: about a thirtieth, to which the fix for large updates reduces this ratio.
const LONG_IN_RELAPSE: f64 = -1.5;

/// Whether the updates of a block have a scale to compare with: an update was not 0, the parameters did not begin at
/// 0, and their root mean square is above 0.001 or NaN.
pub(super) fn counts(block: &&BlockStatistics) -> bool {
    let has_scale = !block.began_at_zero() && (block.parameters() > 1e-3 || block.parameters().is_nan());
    block.update_ratio().count() > 0 && has_scale
}

/// Returns the weight matrix with the largest updates relative to its parameters, by the mean of log10 of this ratio
/// over updates. `None` if no matrix [has a scale](counts) for them.
pub(super) fn longest<'a>(diagnosis: &Diagnosis<'a>) -> Option<&'a BlockStatistics> {
    let ratio = |block: &&BlockStatistics| block.update_ratio().mean();
    matrices(diagnosis).filter(counts).max_by(|a, b| ratio(a).total_cmp(&ratio(b)))
}

/// log10 of the ratio of a first update's norm to that of its parameters, above which this update is too large: a
/// tenth, the upper end of the range of TheDeepChecker.
const LONG_AT_FIRST: f64 = -1.0;

/// Returns the smallest factor by which the root mean square of a weight matrix has grown since the first pass, if
/// too large updates explain the state of the network. They do if all trained matrices have at least doubled (the
/// inverse of [`shrinks`](crate::diagnosis::Thresholds::shrinks)), the first update of one was [large](LONG_AT_FIRST)
/// and nothing was learned. They also do if updates [replaced](replaced) the weights. `None` otherwise, and if the
/// gradient vanished or exploded in the first pass already.
///
/// Updates that are together larger than the weights, without learning, were too large, whatever their effects: dead
/// or saturated units, shut gates, a gradient that now vanishes or explodes.
pub(super) fn overgrown(diagnosis: &Diagnosis<'_>) -> Option<f64> {
    let (statistics, lines) = (diagnosis.statistics?, &diagnosis.thresholds);
    let trained = matrices(diagnosis).filter(|block| !block.frozen() && !block.began_at_zero());
    let growth = trained.map(|block| block.parameters() / block.first_parameters().unwrap_or(f64::NAN));
    let least = growth.fold(f64::INFINITY, |least, growth| if growth >= least { least } else { growth });
    let grown = least.is_finite() && least > 1.0 / lines.shrinks[1];
    let first = matrices(diagnosis).filter_map(BlockStatistics::first_update_ratio).fold(f64::NEG_INFINITY, f64::max);
    let outgrew = grown && first > LONG_AT_FIRST && began_sound(diagnosis);
    (outgrew && diagnosis.is_near_chance(statistics.run())).then_some(least).or_else(|| replaced(diagnosis))
}

/// Returns the smallest factor by which a weight matrix has grown, if updates replaced the weights. The matrix of the
/// outputs is left out, since it follows the targets. Weights are replaced if all matrices have at least doubled, and
/// the first update of one matrix was larger than the matrix. Each must also have a gain (root mean square times
/// √inputs) above the threshold of inputs, and the loss must not have fallen.
fn replaced(diagnosis: &Diagnosis<'_>) -> Option<f64> {
    let outputs = super::units::output_weights(&diagnosis.spec);
    let is_hidden = |block: &&BlockStatistics| outputs.as_deref() != Some(layer_of_block(block.name()));
    // A matrix that began at 0 is left out: its first update has no scale to compare with.
    let is_trained = |block: &&BlockStatistics| !block.frozen() && !block.began_at_zero();
    let hidden = || matrices(diagnosis).filter(is_trained).filter(is_hidden);
    let outgrew = hidden().any(|block| block.first_update_ratio().is_some_and(|ratio| ratio > 0.0));
    let gain = |block: &BlockStatistics| block.parameters() * libm::sqrt(block.shape()[1] as f64);
    let are_large = hidden().all(|block| gain(block) > diagnosis.thresholds.input[0]);
    let growth = hidden().filter_map(|block| Some(block.parameters() / block.first_parameters()?)).reduce(f64::min);
    growth.filter(|growth| {
        let grown = *growth > 1.0 / diagnosis.thresholds.shrinks[1] && growth.is_finite();
        grown && are_large && outgrew && began_sound(diagnosis) && diagnosis.stays_up()
    })
}

/// Returns the decades (log10 change of the gradient's norm) from loss to first weights in the first monitored pass,
/// without weights that were 0 and without layers that are [`left_out`]. `None` if the statistics are those of the
/// single pass that interventions start from, which belongs to no run.
pub(super) fn began(diagnosis: &Diagnosis<'_>) -> Option<f64> {
    let statistics = diagnosis.statistics.filter(|_| !diagnosis.is_examined_alone)?;
    let without = left_out(&diagnosis.spec);
    let counts = |link: &&LinkHistory| {
        let from_zero = link.factor == Factor::Weights && links::from_zero(statistics, layer_of(&link.name));
        !from_zero && !without.iter().any(|layer| layer == layer_of(&link.name))
    };
    let decades = statistics.history().links.iter().filter(counts).filter_map(|link| link.decades.first().copied()?);
    decades.fold(None, |sum: Option<f64>, decades| Some(sum.unwrap_or(0.0) + decades))
}

/// Whether the gradient neither vanished nor exploded from loss to first weights in the first monitored pass.
pub(super) fn began_sound(diagnosis: &Diagnosis<'_>) -> bool {
    let lines = &diagnosis.thresholds;
    began(diagnosis).is_some_and(|began| (lines.vanishing[0]..lines.exploding[0]).contains(&began))
}

/// Whether the updates of the first weights, relative to the weights, are more than a tenth of those of the last
/// weights, after [`patience`](crate::diagnosis::Thresholds::patience) losses in which something was learned. An
/// optimizer that divides by the size of a gradient compensates for a gradient that vanishes.
pub(super) fn first_moves(diagnosis: &Diagnosis<'_>) -> bool {
    let Some(run) = diagnosis.statistics.map(|statistics| statistics.run()) else { return false };
    let mut ratios = matrices(diagnosis).filter(counts).map(|block| block.update_ratio().mean());
    let Some(first) = ratios.next() else { return false };
    let learns = run.recent_loss().count() >= diagnosis.thresholds.patience && !diagnosis.is_near_chance(run);
    learns && diagnosis.chance().is_some() && ratios.last().is_some_and(|last| first > last - 1.0)
}

/// The standard error of a mean over about five losses, divided by the standard deviation of one loss.
const OF_MEAN: f64 = 1.0 / 3.0;

/// Whether a value was not finite and the run has not recovered, or the recent losses are more than 1.5 times the
/// first loss. Since the first loss is that of a single batch, they must also be more than 1.5 times the loss of
/// constant outputs, if that is known. One hard batch is no divergence: most of the last ten losses are that high,
/// and their mean by more than its standard error.
pub(super) fn diverges(diagnosis: &Diagnosis<'_>, run: &RunStatistics) -> bool {
    let first = run.first_loss().unwrap_or(f64::INFINITY);
    let begins = diagnosis.chance().map_or(first, |chance| chance.max(first));
    run.non_finite().is_some() && !run.has_recovered() || run.stays_above(part_of(begins, 1.5), OF_MEAN)
}

/// Returns the decades (log10 change of the gradient's norm) from loss to first weights in the first monitored pass,
/// if the gradient exploded in it and the run diverged. No update had been made before that pass: it shows the cause,
/// and later passes the effects. `None` otherwise, and for the single pass that interventions start from.
pub(super) fn exploded_at_first(diagnosis: &Diagnosis<'_>) -> Option<f64> {
    let began = began(diagnosis).filter(|&began| began > diagnosis.thresholds.exploding[0]);
    began.filter(|_| diagnosis.statistics.is_some_and(|statistics| diverges(diagnosis, statistics.run())))
}

/// Reports weight matrices that too large updates have made much larger than at first ([`overgrown`]) while nothing
/// was learned.
fn outgrown(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some((least, run)) = overgrown(diagnosis).zip(diagnosis.statistics.map(|statistics| statistics.run())) else {
        return;
    };
    let text = format!(
        "steps are too long: together they made the weights larger, {} times their first size or more, and the loss, \
         lately {}, {}",
        number(least),
        number(run.recent_loss().mean()),
        if diagnosis.learns_nothing(run) { "shows nothing learned" } else { "has hardly fallen" }
    );
    let because =
        format!("the gradient was within the thresholds in the first pass, and the loss went {}", course(run));
    let finding = diagnosis.finding(Cause::LearningRateTooHigh, Severity::Warning, "", text, because);
    let decades = longest(diagnosis).and_then(BlockStatistics::first_update_ratio);
    findings.push(Finding { decades, needs_restart: true, ..finding });
}

/// Reports updates too large for the weights, if the loss diverges, rises again or does not fall. If the curvature is
/// known, and the loss neither diverges nor rises again, [`unstable`](super::edge::unstable) judges the rate instead.
pub(super) fn long(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let (Some(statistics), lines) = (diagnosis.statistics, &diagnosis.thresholds) else { return };
    let run = statistics.run();
    // Units that died, or weights that exploded, after a sound first pass show too large updates, as a climbing loss
    // does.
    let is_wreck = |it: &Finding| it.severity > Severity::Note && left_behind(diagnosis, it);
    let wrecked = !diagnosis.has_fallen() && findings.iter().any(is_wreck);
    let climbs = diverges(diagnosis, run) || diagnosis.has_relapsed() || wrecked;
    // Updates that point up the gradient are wrong at any rate. In such a run the loss never fell.
    if climbs && !diagnosis.has_relapsed() && (climb::is_reversed(diagnosis) || climb::points_up(diagnosis).is_some()) {
        return;
    }
    let judged = climbs || super::edge::measured(diagnosis).is_none();
    if !judged {
        return;
    }
    // Relative to a block that began small, every update is large.
    let small = if climbs { Vec::new() } else { begun_small(diagnosis) };
    let is_judged = |block: &&BlockStatistics| counts(block) && !small.iter().any(|it| it == block.name());
    // If the loss had fallen, the updates since it was lowest count; otherwise the largest updates of the run. Later
    // updates can be small relative to weights that exploded, or 0.
    let relapsed = diagnosis.has_relapsed();
    let has_fallen = relapsed || diagnosis.has_fallen();
    let size = |block: &&BlockStatistics| match climbs {
        true => block.longest_updates()[usize::from(has_fallen)],
        false => block.update_ratio().mean(),
    };
    let Some(block) = matrices(diagnosis).filter(is_judged).max_by(|a, b| size(a).total_cmp(&size(b))) else {
        return outgrown(diagnosis, findings);
    };
    let ratio = size(&block);
    // If the loss has risen again, smaller updates count as too large, too, unless unmixed batches or a cliff explain
    // the rise.
    let is_unmixed = run.batch_correlation().is_some_and(|correlation| correlation > lines.unmixed[0]);
    let is_unexplained = relapsed && !is_unmixed && run.harmful_jumps() == 0;
    let [usual, critical] = lines.long_step;
    // Small weights grow by steps that are long beside them: then a loss that stands still shows the harm.
    let stands_still = || diagnosis.stays_up() && diagnosis.stagnates() && !diagnosis.beats_constants();
    let long = [if is_unexplained { usual.min(LONG_IN_RELAPSE) } else { usual }, critical];
    let severity = match above(ratio, long) {
        Some(severity) if climbs || block.long_steps() >= lines.checks && stands_still() => severity,
        _ => return outgrown(diagnosis, findings),
    };
    let is_long = |block: &BlockStatistics| is_judged(&block) && above(size(&block), long).is_some();
    let layers = LayerRange::runs(matrices(diagnosis).map(|block| (layer_of_block(block.name()), is_long(block))));
    let text = format!(
        "steps are too long: an update of {} {} {} times as large as the parameters themselves, {}",
        block.name(),
        if ratio > block.update_ratio().mean() { "was" } else { "is" },
        number(libm::exp10(ratio)),
        match relapsed {
            true => String::from("and the loss has risen again"),
            false => format!("where {} is long", number(libm::exp10(usual))),
        }
    );
    let because = match run.non_finite() {
        Some(first) => format!("a value was no longer finite at step {}", first.pass + 1),
        None => format!("the loss went {}", course(run)),
    };
    let because = match run.rates().filter(|[first, last]| last > first) {
        Some([first, last]) => format!("{because}; the rate went from {} to {}", number(first), number(last)),
        None => because,
    };
    let finding = diagnosis.finding(Cause::LearningRateTooHigh, severity, "", text, because).in_layers(layers);
    let needs_restart = !diagnosis.has_fallen() && (!relapsed || diagnosis.learns_nothing(run));
    // The updates to reduce are those at the highest rate.
    let decades = block.first_update_ratio().map(|first| first + libm::log10(run.rate_rise()));
    findings.push(Finding { decades, needs_restart, ..finding });
}

/// Reports jumps of the gradient after which an update raised the loss, in runs without clipping. They are not
/// reported if the loss has fallen below its values before these jumps.
pub(super) fn cliff(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(run) = diagnosis.statistics.map(|statistics| statistics.run()) else { return };
    let clips = run.clip_factor().is_some();
    if run.harmful_jumps() > 0 && !run.has_recovered_from_jumps() && !clips {
        let text = format!(
            "{} the norm of the gradient jumped to more than ten times the typical {}, and nothing clips it",
            count(usize::try_from(run.harmful_jumps()).unwrap_or(usize::MAX), "time"),
            number(run.typical_norm())
        );
        let origin = run
            .largest_spike()
            .map(|spike| format!("; the largest contribution to the largest spike came from {spike}"));
        let because = format!(
            "the loss stayed higher for some steps after each of these, of {} jumps in all; it went {}{}",
            run.jumps(),
            course(run),
            origin.unwrap_or_default()
        );
        findings.push(diagnosis.finding(Cause::Cliff, Severity::Warning, "", text, because));
    }
}

/// Reports a clipping threshold that is too low: at least half of the gradients are clipped, typically to a small
/// fraction of their norm ([`low_clip`](crate::diagnosis::Thresholds::low_clip)), and all updates are small.
pub(super) fn clipping(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let (Some(statistics), lines) = (diagnosis.statistics, &diagnosis.thresholds) else { return };
    let run = statistics.run();
    let Some(factor) = run.clip_factor().filter(|_| run.clip_steps() >= lines.checks) else { return };
    let ratios: Vec<f64> = matrices(diagnosis).map(|block| block.update_ratio().mean()).collect();
    let longest = ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if longest > lines.small_step || run.clipped() < 0.5 {
        return;
    }
    if let Some(severity) = above(-factor, lines.low_clip.map(|line| -line)) {
        // An optimizer may divide the clip factor out, and a schedule may end, so the harm must show in the loss.
        // Clipping also does harm if the parameters have hardly moved and nothing was learned.
        let holds = diagnosis.has_hardly_moved() && diagnosis.learns_nothing(run);
        let harms = (diagnosis.is_stuck() || holds) && diagnosis.is_proportional != Some(false);
        let severity = if harms { severity } else { Severity::Note };
        let text = format!(
            "clipping is too low: {:.0} % of the gradients are clipped, typically from a norm of {} to {} of it",
            100.0 * run.clipped(),
            number(run.typical_norm()),
            number(factor)
        );
        let because = format!(
            "the largest update is {} of its parameters, and the clip leaves {} of a typical gradient",
            number(libm::exp10(longest)),
            number(factor)
        );
        findings.push(diagnosis.finding(Cause::ClipThresholdTooLow, severity, "", text, because));
    }
}
