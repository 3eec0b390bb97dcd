//! A rule about a loss that climbs without a known cause.

use super::{
    left_behind,
    steps::{counts, course, diverges, matrices},
};
use crate::diagnosis::{
    Cause, Diagnosis, Finding, Severity,
    figures::{figure, number},
};
use alloc::{format, string::String, vec::Vec};

/// The mean cosine with the weights above which the direction of gradients, and of updates, is told by it. Convention.
const POINTS: f64 = 0.1;

/// Returns two mean cosines with the weights: that of the gradient, and that of −Δ for updates Δ. They are those of
/// the matrix where they are most distinct. `None` unless their signs are opposite: updates point up the gradient,
/// whatever the rate.
pub(super) fn points_up(diagnosis: &Diagnosis<'_>) -> Option<[f64; 2]> {
    let cosines = matrices(diagnosis).map(|block| [block.pull().mean(), block.shrinkage().mean()]);
    let told = cosines.filter(|both| both.iter().all(|cosine| cosine.abs() > POINTS));
    let strongest = told.max_by(|a, b| a[0].abs().total_cmp(&b[0].abs()));
    strongest.filter(|[gradient, against]| gradient * against < 0.0)
}

/// Whether the gradient that the loss gives has the wrong sign.
pub(super) fn is_reversed(diagnosis: &Diagnosis<'_>) -> bool {
    diagnosis.task.as_ref().is_some_and(|task| task.is_reversed)
}

/// Whether a finding is that of a loss that climbs, or shows nothing learned, without a known cause.
pub(super) fn is_climb(finding: &Finding) -> bool {
    finding.cause == Cause::NoCauseFound && finding.decades.is_none()
}

/// Whether a finding is a fault that what is left behind in the parameters does not explain.
fn is_other(diagnosis: &Diagnosis<'_>, finding: &Finding) -> bool {
    finding.severity > Severity::Note && !left_behind(diagnosis, finding)
}

/// Reports a loss that climbs above its first value and that of constant outputs, if no other fault was found. Updates
/// that point up the gradient do that, whatever the rate.
pub(super) fn climb(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(run) = diagnosis.statistics.map(|statistics| statistics.run()) else { return };
    let is_above = diagnosis.chance().is_some_and(|chance| run.recent_loss().mean() > chance);
    let accused = findings.iter().any(|finding| is_other(diagnosis, finding));
    if accused || !(is_above && diagnosis.has_patience() && diverges(diagnosis, run)) {
        return;
    }
    let (up, is_reversed) = (points_up(diagnosis), is_reversed(diagnosis));
    let because = match up {
        _ if is_reversed => String::from(
            "outputs moved against the gradient of the loss have a larger loss: it has the wrong sign (measured)",
        ),
        Some([gradient, against]) => format!(
            "updates point up the gradient: their cosine with the weights is {}, and that of the gradient {}, which \
             have opposite signs in a descent",
            figure(-against, 2),
            figure(gradient, 2)
        ),
        None => String::from("no other fault was found, and no update is long beside its parameters"),
    };
    let text = format!("the loss climbs: it went {}", course(run));
    let finding = diagnosis.finding(Cause::NoCauseFound, Severity::Warning, "", text, because);
    let finding = Finding { refuted_by: "a loss that falls with a smaller rate", ..finding };
    let fix = "the sign of the rate, and that of the gradient of the loss, if either is your own code";
    findings.push(if up.is_some() || is_reversed { Finding { fix: fix.into(), ..finding } } else { finding });
}

/// The fraction of the loss of constant outputs above which all of the data show nothing learned. Convention: a
/// hundredth of what there is to learn is within the noise of a few hundred samples.
const NOTHING: f64 = 0.99;

/// Reports a run that learned nothing in four times [`patience`](crate::diagnosis::Thresholds::patience) steps, if no
/// other fault was found. The loss on all of the data is that of constant outputs or above, and does not come down
/// below it in as many more steps.
///
/// It is the rate if all steps together are [short](crate::diagnosis::Thresholds::short_way). Not while the rate grows,
/// nor for targets that may not depend on the inputs.
pub(super) fn idle(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(run) = diagnosis.statistics.map(|statistics| statistics.run()) else { return };
    let (Some(task), Some(chance)) = (&diagnosis.task, diagnosis.chance()) else { return };
    let line = diagnosis.part(chance, diagnosis.thresholds.learned);
    let stands = diagnosis.learns_nothing(run) && !diagnosis.has_fitted() && !diagnosis.comes_down(line, run);
    let judged = run.recent_loss().count() >= 4 * diagnosis.thresholds.patience && run.rate_grows() != Some(true);
    let bounds = &task.measured;
    let learned = bounds.chance().is_none_or(|chance| task.loss < bounds.part(chance, NOTHING)) || task.initial;
    let accused = findings.iter().any(|finding| finding.severity > Severity::Note);
    if accused || !judged || !stands || learned || diagnosis.has_no_information() {
        return;
    }
    let because = format!("no other fault was found; on all of the data the loss is {} (measured)", number(task.loss));
    let way = matrices(diagnosis).filter(counts).map(|block| block.way()[1]).fold(f64::NEG_INFINITY, f64::max);
    if way < diagnosis.thresholds.short_way[0] {
        let text = format!(
            "steps are too short: all {} together are at most {} of the parameters, and nothing was learned: the loss \
             went {}, and outputs that are the same for all inputs reach {}",
            run.updates(),
            number(libm::exp10(way)),
            course(run),
            number(chance)
        );
        let ratios = matrices(diagnosis).filter(|block| block.update_ratio().count() > 0);
        let decades = ratios.map(|block| block.update_ratio().mean()).reduce(f64::max);
        let finding = diagnosis.finding(Cause::LearningRateTooLow, Severity::Warning, "", text, because);
        return findings.push(Finding { decades, ..finding });
    }
    let text = format!(
        "nothing was learned: the loss went {}, and outputs that are the same for all inputs reach {}",
        course(run),
        number(chance)
    );
    let finding = diagnosis.finding(Cause::NoCauseFound, Severity::Warning, "", text, because);
    findings.push(Finding { refuted_by: "a loss that falls in as many more steps", ..finding });
}
