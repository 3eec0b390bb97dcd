//! Rules that compare the learning rate with the largest curvature of the loss.

use super::{
    above,
    steps::{course, diverges, longest},
};
use crate::diagnosis::{Cause, Diagnosis, Finding, Severity, curvature::Curvature, figures::number};
use alloc::{format, string::String};

/// Returns the curvature, and the rate as a multiple of the edge of stability, 2 (1 + β)/λ for the largest
/// curvature λ and the momentum β. `None` if λ was not measured, or is not above 0 and finite. `None` also if an
/// optimizer scales each gradient: this edge does not limit its updates.
pub(super) fn measured<'a>(diagnosis: &'a Diagnosis<'_>) -> Option<(&'a Curvature, f64)> {
    let curvature = diagnosis.curvature.as_ref().filter(|_| diagnosis.is_proportional != Some(false))?;
    Some((curvature, curvature.of_edge()?))
}

/// Reports a rate clearly above the edge of stability: a note before the training, and a fault if the loss climbs or
/// does not fall. A loss that climbs in the first updates can fall again where the curvature is lower.
pub(super) fn unstable(diagnosis: &Diagnosis<'_>, findings: &mut alloc::vec::Vec<Finding>) {
    let (Some((curvature, edge)), lines) = (measured(diagnosis), &diagnosis.thresholds) else { return };
    let Some(severity) = above(edge, lines.edge) else { return };
    let run = diagnosis.statistics.map(|statistics| statistics.run()).filter(|run| run.updates() > 0);
    let (severity, needs_restart, because) = match run {
        Some(run) => {
            let judged = severity == Severity::Critical || run.recent_loss().count() >= lines.patience;
            let stays = diagnosis.is_near_chance(run) && !diagnosis.has_fitted();
            let climbs = run.non_finite().is_some() || diagnosis.has_relapsed() || diverges(diagnosis, run) && judged;
            let severity = if climbs || stays { severity } else { Severity::Note };
            (
                severity,
                (climbs || stays) && !diagnosis.has_fallen(),
                format!("{}; the loss went {}", curvature.sentence(), course(run)),
            )
        }
        None => (Severity::Note, false, curvature.sentence()),
    };
    let rate = format!(
        "the rate of {} is {} times the largest that is stable, {}",
        number(curvature.rate),
        number(edge),
        number(curvature.rate / edge)
    );
    // Too large updates are reported already: the curvature is added as evidence.
    let told = |it: &&mut Finding| it.cause == Cause::LearningRateTooHigh && it.severity > Severity::Note;
    if let Some(found) = findings.iter_mut().find(told) {
        found.because = format!("{rate}; {}; {}", found.because, curvature.sentence());
        return;
    }
    let text = format!("steps are too long: {rate}");
    let finding = diagnosis.finding(Cause::LearningRateTooHigh, severity, "", text, because);
    let decades = longest(diagnosis).and_then(|block| block.first_update_ratio());
    findings.push(Finding { decades, needs_restart, ..finding });
}

/// Judges the rate of a run whose loss stands still, by the fraction of the way to the minimum, along the direction
/// of largest curvature, that `updates` updates cover. Returns the severity, and the fault and its evidence as text;
/// `None` if there is no fault, or no measured curvature.
pub(super) fn unmoved(diagnosis: &Diagnosis<'_>, updates: u64) -> Option<(Severity, [String; 2])> {
    let (curvature, _) = measured(diagnosis)?;
    let covered = curvature.covered(updates)?;
    let severity = above(-covered, diagnosis.thresholds.covered.map(|line| -line))?;
    let text = format!(
        "steps are too short: at a rate of {}, {updates} steps go {} % of the way along the direction in which the \
         loss is steepest, and the loss stands still",
        number(curvature.rate),
        number(100.0 * covered)
    );
    Some((severity, [text, curvature.sentence()]))
}
