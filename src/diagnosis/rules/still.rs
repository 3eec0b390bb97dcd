//! Rules about parameter blocks that do not change, or hardly change, while others do.

use super::{
    above, layer_of_block,
    steps::{matrices, steps},
    units::is_table,
};
use crate::{
    diagnosis::{
        Cause, Diagnosis, Finding, Severity,
        figures::{count, number},
        place::LayerRange,
    },
    monitor::BlockStatistics,
};
use alloc::{format, string::String, vec::Vec};

/// Returns the statistics of the parameter blocks that are not frozen and have a gradient.
fn with_gradient<'a>(diagnosis: &Diagnosis<'a>) -> impl Iterator<Item = &'a BlockStatistics> {
    let blocks = diagnosis.statistics.map_or(&[][..], |statistics| statistics.blocks());
    blocks.iter().filter(|block| !block.frozen() && block.gradient_norm() > 0.0)
}

/// Returns the number of updates since the last block stopped moving, if all blocks that ever moved have stopped:
/// their rate is 0. `None` before [`checks`](crate::diagnosis::Thresholds::checks) such updates.
pub(super) fn ended(diagnosis: &Diagnosis<'_>) -> Option<u64> {
    let moved = with_gradient(diagnosis).filter(|block| block.moved());
    moved.map(BlockStatistics::still).min().filter(|&still| still >= diagnosis.thresholds.checks)
}

/// Returns a phrase with the number of parameter blocks with a gradient that have ever changed.
pub(super) fn moved_before(diagnosis: &Diagnosis<'_>) -> String {
    match with_gradient(diagnosis).all(BlockStatistics::moved) {
        true => String::from("all moved before"),
        false => format!("{} moved before", count(with_gradient(diagnosis).filter(|it| it.moved()).count(), "block")),
    }
}

/// Reports blocks that have a gradient, are not frozen, and do not change in
/// [`checks`](crate::diagnosis::Thresholds::checks) consecutive updates. If all blocks that ever moved have stopped,
/// it reports this as a note, and judges only blocks that never moved.
pub(super) fn frozen(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(statistics) = diagnosis.statistics else { return };
    let ended = ended(diagnosis);
    if let Some(still) = ended {
        let text = format!("no parameter has moved for {still} steps: the schedule has ended");
        let because = moved_before(diagnosis);
        findings.push(diagnosis.finding(Cause::FrozenBlock, Severity::Note, "", text, because));
    }
    let still =
        |block: &&BlockStatistics| block.still() >= diagnosis.thresholds.checks && !(ended.is_some() && block.moved());
    let Some(block) = statistics.blocks().iter().find(still) else { return };
    if with_gradient(diagnosis).all(|block| still(&block) && !block.moved()) {
        let text = String::from("no parameter has moved in any step: the rate is 0 for all");
        let because = format!("all have a gradient, and {} had no effect", steps(block.still()));
        let finding = diagnosis.finding(Cause::LearningRateTooLow, Severity::Warning, "", text, because);
        let (fix, decades) = ("a rate above 0: a schedule may have ended".into(), Some(f64::NEG_INFINITY));
        return findings.push(Finding { fix, decades, ..finding });
    }
    let is_told = |block: &BlockStatistics| told_rate(diagnosis, block) == 0.0;
    let all_told = statistics.blocks().iter().filter(still).all(is_told);
    let others = statistics.blocks().iter().filter(still).count() - 1;
    let text = format!(
        "{}{} does not move: not once in the last {} steps, {}",
        block.name(),
        if others > 0 { format!(", as {} more,", count(others, "block")) } else { String::new() },
        block.still(),
        match all_told {
            true => "as the rate of its group says, which is 0",
            false => "though it was not declared frozen. Its learning rate may be 0",
        }
    );
    let blocks = statistics.blocks().iter();
    let layers = LayerRange::runs(blocks.map(|block| (layer_of_block(block.name()), still(&block))));
    let moving = with_gradient(diagnosis).filter(|block| !still(block)).count();
    let because = format!(
        "its gradient has a norm of {}, and {} beside it moved",
        number(block.gradient_norm()),
        count(moving, "block")
    );
    // A rate of 0 that the transforms of the run state is a fault only if the run is stuck. All first layers may be
    // kept on purpose, as those of a trained network are: then a loss that does not fall shows the harm.
    let harms =
        diagnosis.stands_at_chance() || !all_told && (diagnosis.stays_up() || !are_first_layers(diagnosis, still));
    let severity = if harms { Severity::Warning } else { Severity::Note };
    let finding = diagnosis.finding(Cause::FrozenBlock, severity, "", text, because);
    findings.push(finding.in_layers(layers));
}

/// Whether the blocks that `are_still`, with those that are frozen or have no gradient, are all blocks of the first
/// layers.
fn are_first_layers(diagnosis: &Diagnosis<'_>, are_still: impl Fn(&&BlockStatistics) -> bool) -> bool {
    let blocks = diagnosis.statistics.map_or(&[][..], |statistics| statistics.blocks());
    let Some(last) = blocks.iter().rposition(|block| are_still(&block)) else { return false };
    let is_held = |block: &BlockStatistics| are_still(&block) || block.frozen() || block.gradient_norm() == 0.0;
    let next = blocks.get(last + 1).map(|block| layer_of_block(block.name()));
    blocks[..last].iter().all(is_held) && next != Some(layer_of_block(blocks[last].name()))
}

/// Returns the learning rate of a block, as the gradient transforms of the run state it, divided by the rate of
/// blocks that are in no group. It is the product of the rates of all groups that hold the block; of the groups that
/// own their blocks, only the first counts.
fn told_rate(diagnosis: &Diagnosis<'_>, block: &BlockStatistics) -> f64 {
    let groups = || diagnosis.groups.iter().filter(|group| group.holds(block));
    let owner = groups().find(|group| group.owns).map_or(1.0, |group| group.rate);
    groups().filter(|group| !group.owns).map(|group| group.rate).product::<f64>() * owner
}

/// Returns the weight matrix whose low learning rate keeps the run from learning, and its rate divided by the highest
/// rate of all matrices. `None` unless the norm of its gradient is more than a hundred times that of every other
/// matrix, and its rate is below a hundredth of the highest. The run must also be stuck and have hardly moved: the
/// only matrix that could move did not.
fn holds_up<'a>(diagnosis: &Diagnosis<'a>) -> Option<(&'a BlockStatistics, f64)> {
    let line = libm::exp10(diagnosis.thresholds.vanishing[0]);
    let trained = || matrices(diagnosis).filter(|it| !it.frozen());
    let held = trained().max_by(|a, b| a.gradient_norm().total_cmp(&b.gradient_norm()))?;
    let alone = trained().all(|it| it.name() == held.name() || it.gradient_norm() < line * held.gradient_norm());
    let rate = told_rate(diagnosis, held) / trained().map(|it| told_rate(diagnosis, it)).fold(0.0, f64::max);
    (alone && rate < line && diagnosis.stands_at_chance() && diagnosis.has_hardly_moved()).then_some((held, rate))
}

/// Reports weight matrices whose updates are at most a hundredth of those of others. An update is measured by its
/// norm, by its norm over that of the gradient, and by its norm over that of the parameters. An optimizer makes one
/// of these equal for all blocks at one rate, so the rate of these matrices is lower. If the rates that the
/// transforms of the run state explain this, it is a note unless the run is stuck. They explain it if the updates are
/// more than a hundredth of what the ratio of the matrix's stated rate to the highest one predicts.
pub(super) fn slow(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let lines = &diagnosis.thresholds;
    let line = lines.vanishing[0];
    // The rates of different kinds of optimizers cannot be compared.
    if diagnosis.groups.iter().any(|group| group.rate.is_nan()) {
        return;
    }
    let compared = matrices(diagnosis).filter(|it| it.lag().count() > 0);
    let most = compared.map(|it| told_rate(diagnosis, it)).fold(0.0, f64::max);
    if let Some((block, rate)) = holds_up(diagnosis) {
        let layer = layer_of_block(block.name());
        let text = format!(
            "{} hardly moves, at {} of the rate of others, as the rates of the groups say; the run has hardly moved, \
             since no other gradient is large until it does",
            block.name(),
            number(rate)
        );
        let because = format!(
            "its gradient has a norm of {}, and that of every other matrix is below a hundredth of it",
            number(block.gradient_norm())
        );
        let finding = diagnosis.finding(Cause::FrozenBlock, Severity::Warning, layer, text, because);
        return findings.push(Finding { decades: Some(block.update_ratio().mean()), ..finding });
    }
    // The part of the lag (log10 of the block's update over the largest) that the stated rates do not explain.
    let left = |it: &BlockStatistics| it.lag().mean() - libm::log10(told_rate(diagnosis, it) / most);
    let lags = |block: &&BlockStatistics| {
        // The rows of an embedding move only if a batch has their index.
        let counts = block.lag().count() >= lines.checks && !is_table(&diagnosis.spec, block.name());
        counts && block.lag().mean() < line
    };
    let Some(block) = matrices(diagnosis).filter(lags).min_by(|a, b| left(a).total_cmp(&left(b))) else { return };
    let is_told = left(block) > line;
    let size = if is_told { block.lag().mean() } else { left(block) };
    let severity = above(-size, lines.vanishing.map(|line| -line)).filter(|_| !is_told || diagnosis.stands_at_chance());
    let is_alike = |it: &&BlockStatistics| lags(it) && (left(it) > line) == is_told;
    let layers = LayerRange::runs(matrices(diagnosis).map(|it| (layer_of_block(it.name()), is_alike(&it))));
    let text = format!(
        "{} hardly moves: its updates are at most {} of those of the block that moves farthest{}",
        block.name(),
        number(libm::exp10(block.lag().mean())),
        match (is_told, told_rate(diagnosis, block) < most) {
            (true, _) => ", as the rates of the groups say",
            (_, true) => ", far less than the rates of the groups say",
            _ => ", though no rate of its own was told",
        }
    );
    let because = format!(
        "so much by their size, beside the gradient and beside the parameters, of which one is equal for all blocks \
         at one rate; its gradient has a norm of {}",
        number(block.gradient_norm())
    );
    let finding =
        diagnosis.finding(Cause::FrozenBlock, severity.unwrap_or(Severity::Note), "", text, because).in_layers(layers);
    findings.push(Finding { decades: Some(block.lag().mean()), ..finding });
}
