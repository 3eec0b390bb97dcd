//! The order of the findings. Their severity is lowered if the loss falls, findings of one fault are merged, and
//! causes come before their effects.

use super::{climb, edge, first, steps};
use crate::{
    diagnosis::{Cause, Diagnosis, Finding, Severity},
    monitor::RunStatistics,
};
use alloc::{format, vec::Vec};

/// Lowers the severity of findings if the loss has [fallen](crate::diagnosis::Thresholds::fallen): by one degree, or
/// to a note if it fell far from its [start](Diagnosis::start). Findings that are certain, or harmful even in a run
/// whose loss falls, keep their severity. All findings keep it if the loss has risen again or diverged. Without
/// measurements of data and targets, findings that rest mostly on the loss curve are warnings at most.
pub(in crate::diagnosis) fn temper(diagnosis: &Diagnosis<'_>, findings: &mut [Finding]) {
    let run = diagnosis.statistics.map(|statistics| statistics.run());
    let rises = |run: &&RunStatistics| diagnosis.has_relapsed() || steps::diverges(diagnosis, run);
    // Without data and targets nothing is known about the loss: in a game, or for a critic, it may rise by design.
    let is_bare = diagnosis.task.is_none() && run.is_some_and(|run| run.non_finite().is_none() && run.updates() > 0);
    // A measured curvature is evidence about the rate even without the loss.
    let is_measured = |cause| {
        matches!(cause, Cause::LearningRateTooHigh | Cause::LearningRateTooLow) && edge::measured(diagnosis).is_some()
    };
    let rests = |it: &&mut Finding| !it.is_proof && rests_on_loss(it.cause) && !is_measured(it.cause);
    for finding in findings.iter_mut().filter(|it| is_bare && rests(it)) {
        finding.severity = finding.severity.min(Severity::Warning);
    }
    let Some(run) = run.filter(|run| diagnosis.has_fallen() && !rises(run)) else { return };
    let [_, far] = diagnosis.thresholds.fallen;
    let far = diagnosis.start().is_some_and(|start| run.recent_loss().mean() < diagnosis.part(start, far));
    // A loss can fall although single samples, or identical ones, limit it.
    let weighs = |cause| is_tempered(cause) && (far || cause != Cause::BadData);
    for finding in findings.iter_mut().filter(|finding| !finding.is_proof && weighs(finding.cause)) {
        finding.severity = match finding.severity {
            Severity::Critical if !far => Severity::Warning,
            _ => Severity::Note,
        };
    }
}

/// Whether the loss curve is most of the evidence for findings of the cause.
fn rests_on_loss(cause: Cause) -> bool {
    use Cause::*;
    matches!(cause, LearningRateTooHigh | LearningRateTooLow | CollapsedRepresentation | UnscaledTarget | Cliff)
}

/// Whether a falling loss is evidence against findings of the cause, so that it lowers their severity.
fn is_tempered(cause: Cause) -> bool {
    use Cause::*;
    !matches!(cause, UnmixedBatches | Overflow | NotANumber | Cliff)
}

/// Adds `faults`, findings about the [first parameters](crate::diagnosis::began) of a run whose loss did not clearly
/// fall. Each replaces the findings of the same cause about the last parameters. Faults of the last parameters with
/// other causes are effects of the run, and their evidence says so.
pub(in crate::diagnosis) fn begin(findings: &mut Vec<Finding>, faults: Vec<Finding>) {
    if faults.is_empty() {
        return;
    }
    // A finding about a climbing loss without a cause says that there is no other fault.
    findings.retain(|it| it.is_proof || !climb::is_climb(it));
    for fault in faults {
        let text = format!("since the first pass: {}", fault.text);
        let mut because = fault.because.clone();
        findings.retain(|later| {
            let is_same = later.cause == fault.cause && !later.of_first_parameters;
            if is_same {
                because = format!("{because}; lately: {}", later.text);
            }
            !is_same
        });
        findings.push(Finding { text, because, since: Some(0), of_first_parameters: true, ..fault });
    }
    let is_left = |it: &&mut Finding| !it.of_first_parameters && it.severity > Severity::Note;
    for left in findings.iter_mut().filter(is_left).filter(|it| of_parameters(it.cause)) {
        left.because = format!("left behind by the run, since the first parameters do not have it; {}", left.because);
    }
}

/// Merges faults of the same cause that begin in the same layer: one fault is counted once, with the evidence of both.
pub(in crate::diagnosis) fn merge(findings: &mut Vec<Finding>) {
    for mut finding in core::mem::take(findings) {
        let is_fault = |it: &Finding| it.severity > Severity::Note && !it.layer.is_empty();
        let is_same = |it: &&mut Finding| it.cause == finding.cause && it.layer == finding.layer && is_fault(it);
        match findings.iter_mut().find(is_same).filter(|_| is_fault(&finding)) {
            Some(told) => {
                if finding.severity > told.severity {
                    core::mem::swap(told, &mut finding);
                }
                told.because = format!("{}; also: {}; {}", told.because, finding.text, finding.because);
                // The earlier of the two passes counts; `None`, before training, is the earliest.
                told.since = told.since.min(finding.since);
                if told.decades.is_none() {
                    (told.decades, told.predicted) = (finding.decades, finding.predicted);
                }
                told.intervention = told.intervention.take().or(finding.intervention);
                told.is_proof |= finding.is_proof;
                told.needs_restart |= finding.needs_restart;
            }
            None => findings.push(finding),
        }
    }
}

/// Sorts the findings, likeliest root cause first and notes last: causes before their effects, then by decreasing
/// severity.
pub(in crate::diagnosis) fn order(diagnosis: &Diagnosis<'_>, findings: &mut [Finding]) {
    let has = |cause| findings.iter().any(|finding| finding.cause == cause && finding.severity > Severity::Note);
    let long = has(Cause::LearningRateTooHigh);
    // A fault of the first parameters is no effect of updates, and faults made by the run are no causes.
    let began = findings.iter().any(|it| it.of_first_parameters);
    let (grows, shrinks) = (has(Cause::ExplodingRecurrence), has(Cause::DecayTooStrong));
    // Faults of the parameters that too large updates caused are not the cause of these updates. Gates, and gradients
    // over time, may have been at fault before, although the gradient over depth was sound.
    let overgrown = long && steps::overgrown(diagnosis).is_some();
    let exploded_at_first = steps::exploded_at_first(diagnosis).is_some()
        && findings.iter().any(|it| it.severity > Severity::Note && of_parameters(it.cause));
    let made_by_steps = (long || has(Cause::UnmixedBatches)) && steps::began_sound(diagnosis);
    // Weights that were large before the first update are no effect of updates.
    let is_loud = |it: &Finding| {
        let began = it.cause == Cause::LargeWeights && it.since == Some(0) && it.predicted == Some(0.0);
        began && it.decades >= Some(first::LOADED)
    };
    let loud = findings.iter().any(|it| is_loud(it) && it.severity > Severity::Note);
    let scale = diagnosis.thresholds.small_input[0]..diagnosis.thresholds.input[0];
    let scaled = diagnosis.statistics.is_some_and(|statistics| scale.contains(&statistics.run().input().mean()));
    let unscaled = has(Cause::UnscaledInput) && !(made_by_steps && scaled);
    // A fault of the parameters that came with training, after a sound first pass, is an effect of another fault,
    // whatever rule found that.
    let is_wreck = |it: &Finding| left_behind(diagnosis, it) && !is_loud(it) && !climb::is_climb(it);
    let is_root = |it: &&Finding| it.severity > Severity::Note && !is_wreck(it) && it.cause != Cause::Overflow;
    let has_root = findings.iter().any(|it| is_root(&it));
    let made = |cause| {
        use Cause::*;
        match cause {
            cause if of_parameters(cause) => made_by_steps,
            UnscaledInput => made_by_steps && scaled,
            VanishingRecurrence | ExplodingRecurrence | ClosedForgetGate | ClosedInputGate | ClosedOutputGate => {
                overgrown
            }
            _ => false,
        }
    };
    // Weights and activations that were at fault in the first pass cause collapsed representations and dead units.
    let of_budget = |cause| {
        use Cause::*;
        matches!(cause, SaturatingActivation | SmallWeights | LargeWeights | LoudBranches)
    };
    let stood = findings.iter().any(|it| it.severity > Severity::Note && it.since == Some(0) && of_budget(it.cause));
    let follows = |it: &Finding| match it.cause {
        Cause::CollapsedRepresentation => stood,
        Cause::DeadUnits => stood && it.came_with_training(),
        _ => false,
    };
    // If a run is stuck and its parameters are still nearly the initial ones, the root cause is the one that kept its
    // updates small.
    let unmoved = diagnosis.is_stuck() && diagnosis.has_hardly_moved();
    let rank = |finding: &Finding| -> u8 {
        let made_by_another = match finding.cause {
            Cause::Overflow => long || unscaled || grows || loud || began,
            Cause::DeadUnits => unscaled,
            Cause::LearningRateTooHigh => unscaled || exploded_at_first || loud,
            Cause::LargeWeights => unscaled || long && !exploded_at_first && !is_loud(finding),
            Cause::Cliff => long || grows || loud,
            Cause::SmallWeights | Cause::Bottleneck | Cause::UnscaledInput => shrinks && finding.came_with_training(),
            // The weights became large by an update, not by the initializer.
            Cause::ExplodingRecurrence => long && finding.came_with_training(),
            _ => false,
        };
        let first = match finding.cause {
            Cause::LearningRateTooLow | Cause::ClipThresholdTooLow | Cause::FrozenBlock if unmoved => 0,
            Cause::BadData | Cause::NotANumber | Cause::ConstantWeights | Cause::DuplicatedUnits => 0,
            Cause::SquashedOutputs | Cause::UnboundedLoss | Cause::DecayTooStrong => 1,
            Cause::UnscaledTarget | Cause::ClosedInputGate | Cause::ClosedOutputGate => 1,
            Cause::UnscaledInput | Cause::ExplodingRecurrence => 1,
            _ if finding.of_first_parameters => 2,
            Cause::Overflow => 2,
            Cause::DeadUnits | Cause::Bottleneck => 3,
            _ => 4,
        };
        let is_effect = made(finding.cause) && !is_loud(finding)
            || has_root && is_wreck(finding)
            || began && of_parameters(finding.cause)
            || follows(finding);
        if !finding.of_first_parameters && (made_by_another || is_effect) { 9 } else { first }
    };
    findings.sort_by_key(|finding| {
        // The faults of the first parameters keep the order that they have.
        let severity = if finding.of_first_parameters { Severity::Critical } else { finding.severity };
        (finding.severity == Severity::Note, rank(finding), core::cmp::Reverse(severity))
    });
}

/// Whether the fault of a finding is in the parameters and came with training: in the first pass the gradient from
/// loss to first weights was within the thresholds. Such a fault is an effect of the training.
pub(super) fn left_behind(diagnosis: &Diagnosis<'_>, finding: &Finding) -> bool {
    of_parameters(finding.cause) && finding.came_with_training() && steps::began_sound(diagnosis)
}

/// Whether the first parameters of a run can have a fault of this cause that the last parameters do not have. A fault
/// of the data or of the last layer is the same for both.
pub(in crate::diagnosis) fn of_first_parameters(cause: Cause) -> bool {
    use Cause::*;
    let over_time = matches!(
        cause,
        ClosedForgetGate | ClosedInputGate | ClosedOutputGate | VanishingRecurrence | ExplodingRecurrence
    );
    let alike = matches!(cause, ConstantWeights | DuplicatedUnits | DropoutTooHeavy);
    of_parameters(cause) && cause != NoCauseFound || over_time || alike
}

/// Whether the cause is a fault of the parameters that training can produce.
fn of_parameters(cause: Cause) -> bool {
    use Cause::*;
    matches!(
        cause,
        SaturatingActivation
            | SmallWeights
            | LargeWeights
            | Bottleneck
            | DeadUnits
            | LoudBranches
            | NoCauseFound
            | CollapsedRepresentation
    )
}
