//! The rule about weights that decay holds small against their own gradient.

use super::{layer_of_block, steps::matrices};
use crate::{
    diagnosis::{
        Cause, Diagnosis, Finding, Severity,
        figures::{figure, number},
        place::{LayerRange, place},
    },
    monitor::BlockStatistics,
};
use alloc::{format, vec::Vec};

/// The mean cosine of the gradient with the weights below which a step down the gradient makes the weights larger. A
/// quarter, by convention: of random directions it is near 0.
const LENGTHENS: f64 = -0.25;
/// The part of what can be learned that outputs of another size must learn in addition: less is within the noise of a
/// few hundred samples.
const MORE: f64 = 0.01;

/// Reports weights that have shrunk to less than half of their first size, although the gradient of the loss alone
/// makes them larger: only decay explains both. The loss must show the harm: outputs of another size have a lower one,
/// by more than noise.
pub(super) fn held(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let (Some(statistics), Some(task)) = (diagnosis.statistics, &diagnosis.task) else { return };
    let (bounds, lines) = (&task.measured, &diagnosis.thresholds);
    let judged = statistics.run().recent_loss().count() >= lines.patience && statistics.run().updates() > 0;
    let told = findings.iter().any(|it| it.cause == Cause::DecayTooStrong && it.severity > Severity::Note);
    let gains = bounds.chance().is_some_and(|chance| {
        let all = chance - bounds.part(chance, 0.0);
        task.rescaled < bounds.part(task.loss, lines.learned) && task.loss - task.rescaled > MORE * all
    });
    if !judged || told || !gains || diagnosis.has_no_information() {
        return;
    }
    let size = |block: &BlockStatistics| block.parameters() / block.first_parameters().unwrap_or(f64::NAN);
    let is_held = |block: &BlockStatistics| {
        let is_trained = !block.frozen() && !block.began_at_zero();
        is_trained && size(block) < lines.shrinks[1] && block.pull().mean() < LENGTHENS
    };
    let found = matrices(diagnosis).filter(|block| is_held(block));
    let Some(most) = found.min_by(|a, b| size(a).total_cmp(&size(b))) else { return };
    let layers = LayerRange::runs(matrices(diagnosis).map(|block| (layer_of_block(block.name()), is_held(block))));
    let text = format!(
        "weight decay holds the weights of {} small, at down to {:.0} % of their first size: outputs of another size \
         have a loss of {} instead of {}",
        place(&layers),
        100.0 * size(most),
        number(task.rescaled),
        number(task.loss)
    );
    let because = format!(
        "the gradient of the loss alone makes {} larger, with a cosine of {} between it and the weights, and yet they \
         shrank",
        most.name(),
        figure(most.pull().mean(), 2)
    );
    let finding = diagnosis.finding(Cause::DecayTooStrong, Severity::Warning, "", text, because).in_layers(layers);
    findings.push(Finding { decades: Some(libm::log10(size(most))), is_proof: true, ..finding });
}
