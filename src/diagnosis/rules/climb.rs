//! A rule about a loss that climbs without a known cause.

use super::{
    left_behind,
    steps::{counts, course, diverges, longest, matrices},
};
use crate::diagnosis::{
    Cause, Diagnosis, Finding, Severity,
    figures::{figure, number},
};
use alloc::{format, string::String, vec::Vec};

/// The mean cosine of a gradient or an update with the weights shows its direction only if its magnitude is above
/// this value. Convention.
const POINTS: f64 = 0.1;

/// Returns two mean cosines with the weights of one matrix: that of the gradient, and that of −Δ for updates Δ. Of
/// the matrices with both cosines above [`POINTS`] in magnitude, it is the one with the largest cosine of the
/// gradient. `None` unless the signs are opposite: the updates then point up the gradient, whatever the rate.
pub(super) fn points_up(diagnosis: &Diagnosis<'_>) -> Option<[f64; 2]> {
    let cosines = matrices(diagnosis).map(|block| [block.pull().mean(), block.shrinkage().mean()]);
    let told = cosines.filter(|both| both.iter().all(|cosine| cosine.abs() > POINTS));
    let strongest = told.max_by(|a, b| a[0].abs().total_cmp(&b[0].abs()));
    strongest.filter(|[gradient, against]| gradient * against < 0.0)
}

/// Whether the gradient that the loss returns has the wrong sign, so that updates raise the loss.
pub(super) fn is_reversed(diagnosis: &Diagnosis<'_>) -> bool {
    diagnosis.task.as_ref().is_some_and(|task| task.is_reversed)
}

/// Whether a finding reports, without a known cause, a loss that climbs or a run that learned nothing.
pub(super) fn is_climb(finding: &Finding) -> bool {
    finding.cause == Cause::NoCauseFound && finding.decades.is_none()
}

/// Whether a finding is more severe than a note, and is not an [effect](left_behind) of the training.
fn is_other(diagnosis: &Diagnosis<'_>, finding: &Finding) -> bool {
    finding.severity > Severity::Note && !left_behind(diagnosis, finding)
}

/// Reports a loss that climbs above its first value and above the loss of constant outputs, if no other fault was
/// found. Updates that point up the gradient cause this, whatever the rate. If the gradient of the loss has the wrong
/// sign, this is certain, and all findings that are not certain become notes.
pub(super) fn climb(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(run) = diagnosis.statistics.map(|statistics| statistics.run()) else { return };
    let is_above = diagnosis.chance().is_some_and(|chance| run.recent_loss().mean() > chance);
    let is_reversed = is_reversed(diagnosis);
    let accused = !is_reversed && findings.iter().any(|finding| is_other(diagnosis, finding));
    if accused || !(is_above && diagnosis.has_patience() && diverges(diagnosis, run)) {
        return;
    }
    let up = points_up(diagnosis);
    // A gradient of the wrong sign is proven, and explains all faults that a climbing loss may cause.
    if is_reversed {
        findings.iter_mut().filter(|it| !it.is_proof).for_each(|it| it.severity = Severity::Note);
    }
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
    let finding = Finding { refuted_by: "a loss that falls with a smaller rate", is_proof: is_reversed, ..finding };
    let fix = "the sign of the rate, and that of the gradient of the loss, if either is your own code";
    findings.push(if up.is_some() || is_reversed { Finding { fix: fix.into(), ..finding } } else { finding });
}

/// If the loss on all of the data is above this fraction of the loss of constant outputs, nothing was learned.
/// Convention: a hundredth of the loss that can be learned is within the noise of a few hundred samples.
const NOTHING: f64 = 0.99;

/// Reports a run that learned nothing in four times [`patience`](crate::diagnosis::Thresholds::patience) updates, if
/// no other fault was found. The loss on all of the data is about that of constant outputs or above. The loss of the
/// run would not come down below it in as many more updates.
///
/// The learning rate is the cause if all updates together are [short](crate::diagnosis::Thresholds::short_way),
/// otherwise the cause is unknown. Nothing is reported while the rate grows. If the targets may not depend on the
/// inputs, only short updates are reported.
pub(super) fn idle(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(run) = diagnosis.statistics.map(|statistics| statistics.run()) else { return };
    let (Some(task), Some(chance)) = (&diagnosis.task, diagnosis.chance()) else { return };
    let line = diagnosis.part(chance, diagnosis.thresholds.learned);
    let stands = diagnosis.learns_nothing(run) && !diagnosis.has_fitted() && !diagnosis.comes_down(line, run);
    let judged = run.recent_loss().count() >= 4 * diagnosis.thresholds.patience && run.rate_grows() != Some(true);
    let bounds = &task.measured;
    let learned = bounds.chance().is_none_or(|chance| task.loss < bounds.part(chance, NOTHING)) || task.initial;
    let accused = findings.iter().any(|finding| finding.severity > Severity::Note);
    if accused || !judged || !stands || learned {
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
        let finding = diagnosis.finding(Cause::LearningRateTooLow, Severity::Warning, "", text, because);
        let decades = longest(diagnosis).map(|block| block.update_ratio().mean());
        return findings.push(Finding { decades, ..finding });
    }
    if diagnosis.has_no_information() {
        return;
    }
    let text = format!(
        "nothing was learned: the loss went {}, and outputs that are the same for all inputs reach {}",
        course(run),
        number(chance)
    );
    // Many tasks begin on a plateau: parameters that are still partly the initial ones may leave it.
    let severity = if way < 0.0 { Severity::Note } else { Severity::Warning };
    let finding = diagnosis.finding(Cause::NoCauseFound, severity, "", text, because);
    findings.push(Finding { refuted_by: "a loss that falls in as many more steps", ..finding });
}
