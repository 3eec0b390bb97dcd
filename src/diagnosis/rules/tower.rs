//! The rule about gradients that vanish or explode in the branches of parallel layers, which the main path does not
//! show.

use super::{
    above,
    depth::Depth,
    layer_of, layer_of_block,
    links::{Row, from_zero, row},
    steps::matrices,
};
use crate::{
    diagnosis::{
        Diagnosis, Finding, Severity,
        intervention::{Tower, Verdict, towers},
    },
    monitor::{Factor, LinkStatistics},
};
use alloc::{format, string::String, vec::Vec};

/// Reports branches of parallel layers in which the gradient vanishes or explodes, from their output to their first
/// weights, while the main path is sound.
pub(super) fn towers_over_depth(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let lines = &diagnosis.thresholds;
    let sound = lines.vanishing[0]..lines.exploding[0];
    if diagnosis.measured().or(diagnosis.prediction.decades_to_first_weights()).is_none_or(|it| !sound.contains(&it)) {
        return;
    }
    for tower in towers(&diagnosis.spec) {
        let is_told = findings.iter().any(|it| it.severity > Severity::Note && tower.has(&it.layer));
        let Some(depth) = of_tower(diagnosis, &tower).filter(|_| !is_told) else { continue };
        let vanishes = above(-depth.total, lines.vanishing.map(|line| -line));
        let Some(severity) = vanishes.or(above(depth.total, lines.exploding)) else { continue };
        // Small output weights of the network or of a branch are no fault: they reduce all other gradients alike.
        let below = depth.below_outputs(diagnosis, tower.outputs.as_ref());
        let severity = match vanishes.is_some() {
            true => above(-below, lines.vanishing.map(|line| -line)).unwrap_or(Severity::Note),
            false => severity,
        };
        let moves = vanishes.is_some() && severity == Severity::Warning && moves(diagnosis, &tower);
        let severity = if moves { Severity::Note } else { severity };
        let of_branch = diagnosis.experiments.iter().flat_map(|it| &it.towers).find(|it| it.path == tower.path);
        let verdict = of_branch.map_or_else(Verdict::default, |it| it.verdict.clone());
        let (cause, layers) = depth.cause(diagnosis, &verdict);
        let size = depth.size(&diagnosis.spec);
        let text = format!("in branch {} {size}; the main path does not show it", tower.path);
        let shares = depth.shares(cause, &layers);
        let untried = verdict.mends.is_none() && verdict.ruled_out.is_empty();
        let because = if untried { shares } else { format!("{}; {shares}", verdict.sentence()) };
        let finding = diagnosis.finding(cause, severity, "", text, because).in_layers(layers);
        let decades = depth.measured.then_some(depth.total);
        findings.push(Finding { decades, predicted: depth.predicted, intervention: verdict.mends, ..finding });
    }
}

/// Returns the budget of a branch, the decades (log10) by which it changes the gradient's norm: measured, or
/// predicted without measurements. `None` if the gradient becomes 0 in the branch, which the rules about units and
/// zeros report, and without known links.
fn of_tower(diagnosis: &Diagnosis<'_>, tower: &Tower) -> Option<Depth> {
    let described = diagnosis.prediction.links().iter();
    let described = tower.links(described, |link| (link.name.clone(), link.factor));
    let predicted: f64 = described.iter().filter_map(|link| link.decades).sum();
    let rows: Vec<Row> = match diagnosis.statistics {
        Some(statistics) => {
            let of = |link: &&LinkStatistics| (String::from(link.name()), link.factor());
            let seen = tower.links(statistics.links().iter(), of).into_iter().filter(|link| {
                let known = link.decades().count() + link.vanished_passes() > 0;
                known && !(link.factor() == Factor::Weights && from_zero(statistics, layer_of(link.name())))
            });
            seen.map(|link| row(diagnosis, link)).collect()
        }
        None => super::links::predicted(diagnosis, described.into_iter().rev()),
    };
    let total: f64 = rows.iter().map(|row| row.decades).sum();
    let measured = diagnosis.statistics.is_some();
    let predicted = Some(predicted).filter(|predicted| predicted.is_finite());
    (!rows.is_empty() && total.is_finite()).then_some(Depth { rows, total, predicted, measured, at_first: false })
}

/// Whether the updates of the first weights of the branch, relative to the weights, are more than a tenth of those of
/// the last weights of the network, in a run that has learned.
fn moves(diagnosis: &Diagnosis<'_>, tower: &Tower) -> bool {
    let ratios = |own: bool| {
        let blocks = matrices(diagnosis).filter(move |block| !own || tower.has(layer_of_block(block.name())));
        blocks.filter(|block| block.update_ratio().count() > 0).map(|block| block.update_ratio().mean())
    };
    let run = diagnosis.statistics.map(|statistics| statistics.run());
    let learns = run.is_some_and(|run| {
        run.recent_loss().count() >= diagnosis.thresholds.patience && !diagnosis.is_near_chance(run)
    });
    let (first, last) = (ratios(true).next(), ratios(false).last());
    learns && diagnosis.chance().is_some() && first.zip(last).is_some_and(|(first, last)| first > last - 1.0)
}
