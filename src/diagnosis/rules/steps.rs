//! Rules about the updates of the optimizer.

use super::{above, layer_of_block};
use crate::{
    block::Role,
    diagnosis::{Cause, Diagnosis, Finding, Severity, decades::signed},
    monitor::BlockStatistics,
};
use alloc::{format, vec::Vec};
use num_traits::Float;

/// The weight matrices. Their norm is a scale for the norm of an update.
fn matrices<'a>(diagnosis: &Diagnosis<'a>) -> impl Iterator<Item = &'a BlockStatistics> {
    let blocks = diagnosis.statistics.map_or(&[][..], |statistics| statistics.blocks());
    blocks.iter().filter(|block| matches!(block.role(), Role::Weight | Role::Recurrent))
}

/// Reports updates about as large as the weights.
pub(super) fn long(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let (Some(statistics), lines) = (diagnosis.statistics, &diagnosis.thresholds) else { return };
    let run = statistics.run();
    let longest = matrices(diagnosis)
        .filter(|block| {
            block.update_ratio().count() > 0
                && !block.began_at_zero()
                && (block.parameters() > 1e-3 || block.parameters().is_nan())
        })
        .max_by(|a, b| a.update_ratio().mean().total_cmp(&b.update_ratio().mean()));
    let Some(block) = longest else { return };
    let ratio = block.update_ratio();
    let diverges =
        run.non_finite().is_some() || run.recent_loss().mean() > 1.5 * run.first_loss().unwrap_or(f64::INFINITY);
    let severity = match above(ratio.mean(), lines.long_step) {
        Some(severity) if diverges || run.has_relapsed() || block.long_steps() >= lines.checks && !run.has_fallen() => {
            severity
        }
        _ => return,
    };
    let layer = layer_of_block(block.name());
    let text = format!(
        "steps are too long: an update of {} is {:.2} times as large as the parameters themselves (a tenth is long)",
        block.name(),
        Float::powf(10.0, ratio.mean())
    );
    let finding = diagnosis.finding(Cause::LearningRateTooHigh, severity, layer, text);
    findings.push(Finding { decades: block.first_update_ratio(), ..finding });
}

/// Reports jumps of the gradient after which an update raised the loss.
pub(super) fn cliff(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(run) = diagnosis.statistics.map(|statistics| statistics.run()) else { return };
    let clips = run.clip_factor().is_some();
    if run.harmful_jumps() > 0 && !clips {
        let text = format!(
            "the loss surface has a wall: {} times the gradient was more than tenfold its typical {:.2e}, and the step \
             after it made the loss worse; nothing clips it",
            run.harmful_jumps(),
            run.typical_norm()
        );
        findings.push(diagnosis.finding(Cause::Cliff, Severity::Warning, "", text));
    }
}

/// Reports a clipping threshold so low that updates are tiny.
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
        let text = format!(
            "clipping is too low: {:.0} % of the gradients are shortened, typically to {factor:.1e} of their length of \
             {:.2e}; the largest update has {} decades beside its parameters",
            100.0 * run.clipped(),
            run.typical_norm(),
            signed(longest)
        );
        findings.push(diagnosis.finding(Cause::ClipThresholdTooLow, severity, "", text));
    }
}

/// Reports a block that has a gradient, is not frozen, and does not change.
pub(super) fn frozen(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(statistics) = diagnosis.statistics else { return };
    let still = |block: &&BlockStatistics| block.still() >= diagnosis.thresholds.checks;
    let Some(block) = statistics.blocks().iter().find(still) else { return };
    // All blocks stop changing at once: the rate is 0 for every block.
    let with_gradient = || statistics.blocks().iter().filter(|block| !block.frozen() && block.gradient_norm() > 0.0);
    let ended = with_gradient().all(|block| still(&block)) && with_gradient().any(|block| block.moved());
    if ended {
        let text =
            format!("no block has moved for {} steps, but all did before: the schedule has ended", block.still());
        findings.push(diagnosis.finding(Cause::FrozenBlock, Severity::Note, "", text));
        return;
    }
    let text = format!(
        "{} has a gradient of {:.2e} and has not moved for {} steps, but is not frozen",
        block.name(),
        block.gradient_norm(),
        block.still()
    );
    findings.push(diagnosis.finding(Cause::FrozenBlock, Severity::Warning, layer_of_block(block.name()), text));
}

/// Reports updates so small that the loss stagnates while the outputs are far from their targets.
pub(super) fn short(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let (Some(statistics), lines) = (diagnosis.statistics, &diagnosis.thresholds) else { return };
    let run = statistics.run();
    // Clipping has its own rule, and a vanished gradient is not the fault of the rate.
    let clips = run.clip_factor().is_some_and(|factor| factor < lines.low_clip[0]);
    let accused = findings.iter().any(|finding| finding.severity > Severity::Note);
    let ratios = matrices(diagnosis).filter(|block| block.update_ratio().count() > 0);
    let longest = ratios.max_by(|a, b| a.update_ratio().mean().total_cmp(&b.update_ratio().mean()));
    let Some(block) = longest.filter(|_| run.stagnates() && !clips && !accused) else { return };
    let ratio = block.update_ratio().mean();
    if let Some(severity) = above(-ratio, lines.short_step.map(|line| -line)) {
        let text = format!(
            "steps are too short: the largest, of {}, has {} decades beside the parameters, and the loss stands still",
            block.name(),
            signed(ratio)
        );
        let finding = diagnosis.finding(Cause::LearningRateTooLow, severity, "", text);
        findings.push(Finding { decades: Some(ratio), ..finding });
    }
}
