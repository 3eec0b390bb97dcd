//! Rules about updates that are too small: by their rate, by clipping, or by the ε of an optimizer.

use super::{
    above, edge,
    steps::{counts, course, matrices, steps},
    still,
};
use crate::{
    diagnosis::{Cause, Diagnosis, Finding, Severity, figures::number},
    monitor::{BlockStatistics, RunStatistics},
};
use alloc::{format, string::String, vec::Vec};

/// Returns the least ratio of the optimizer's ε to the root mean square of a matrix's gradient, if it is above ten and
/// the loss has not fallen after [`patience`](crate::diagnosis::Thresholds::patience) losses.
///
/// Adam divides by √v + ε: where ε is larger than √v, its updates are those of gradient descent with a small
/// rate.
fn epsilon_above_gradient(diagnosis: &Diagnosis<'_>) -> Option<f64> {
    let (epsilon, run) = (diagnosis.epsilon?, diagnosis.statistics?.run());
    let trained = matrices(diagnosis).filter(|block| !block.frozen() && block.gradient_norm() > 0.0);
    let sizes = trained.map(|block| {
        let [rows, columns] = block.shape();
        block.gradient_norm() / libm::sqrt((rows * columns).max(1) as f64)
    });
    let factor = sizes.map(|size| epsilon / size).reduce(f64::min)?;
    let judged = run.recent_loss().count() >= diagnosis.thresholds.patience && !diagnosis.has_fallen();
    let learns = diagnosis.chance().is_some() && !diagnosis.learns_nothing(run) || diagnosis.has_fitted();
    (judged && !learns && factor > 10.0).then_some(factor)
}

/// Reports clipping that reduces a typical gradient to a small part, although the updates are not small in
/// themselves. The loss must stand still without another fault, and updates without clipping must not be too large.
/// The transforms of the run must show that updates are proportional to gradients: other optimizers divide the clip
/// factor out.
fn between(diagnosis: &Diagnosis<'_>, block: &BlockStatistics, findings: &mut Vec<Finding>) {
    let (Some(statistics), lines) = (diagnosis.statistics, &diagnosis.thresholds) else { return };
    let (run, ratio) = (statistics.run(), block.update_ratio().mean());
    let Some(factor) = run.clip_factor().filter(|_| run.clipped() >= 0.5 && diagnosis.is_proportional == Some(true))
    else {
        return;
    };
    let without = ratio - libm::log10(factor);
    let is_told = findings.iter().any(|it| it.cause == Cause::ClipThresholdTooLow);
    if is_told || run.clip_steps() < lines.checks || without > lines.long_step[0] {
        return;
    }
    if !diagnosis.is_stuck() || diagnosis.has_no_information() {
        return;
    }
    let text = format!(
        "clipping is too low: {:.0} % of the gradients are clipped, typically to {} of their norm, and the loss stands \
         still",
        100.0 * run.clipped(),
        number(factor)
    );
    let because = format!(
        "no other fault was found; the largest update, of {}, is {} of the parameters, and would be {} without the \
         clip",
        block.name(),
        number(libm::exp10(ratio)),
        number(libm::exp10(without))
    );
    findings.push(diagnosis.finding(Cause::ClipThresholdTooLow, Severity::Warning, "", text, because));
}

/// Updates still grow if log10 of the ratio of recent updates to the first update is above this value. Convention: a
/// factor of three, which a linear warm-up exceeds within its first 25 updates.
const GROWS: f64 = 0.5;

/// log10 of the factor by which the sum of all updates grows if a warm-up continues for as many more updates as were
/// made: a factor of four, for a rate that grows linearly.
const AS_MANY_MORE: f64 = 0.602;

/// Whether a finding may explain why all updates were small: it is about the updates themselves, or about a fault
/// that may make the gradient small. The latter is no explanation if an optimizer divides by the size of the
/// gradient: the rate alone then sets the size of its updates.
fn may_shorten(diagnosis: &Diagnosis<'_>, finding: &Finding) -> bool {
    use Cause::*;
    let of_steps = matches!(
        finding.cause,
        LearningRateTooLow | ClipThresholdTooLow | FrozenBlock | ConstantWeights | Overflow | NotANumber
    );
    of_steps || diagnosis.is_proportional != Some(false) && !leaves_gradient(finding.cause)
}

/// Whether a fault of this cause leaves the gradient as large as it is, at least near the loss.
fn leaves_gradient(cause: Cause) -> bool {
    use Cause::*;
    matches!(
        cause,
        UnmixedBatches
            | DropoutTooHeavy
            | UnscaledTarget
            | ExplodingRecurrence
            | VanishingRecurrence
            | ClosedForgetGate
    )
}

/// Whether another fault prevents a judgement of the updates of the run. In a run that has
/// [hardly moved](Diagnosis::has_hardly_moved), only a fault that [may make updates small](may_shorten) does so.
fn is_accused(diagnosis: &Diagnosis<'_>, findings: &[Finding]) -> bool {
    let hardly_moved = diagnosis.has_hardly_moved();
    findings.iter().any(|it| it.severity > Severity::Note && (!hardly_moved || may_shorten(diagnosis, it)))
}

/// Adds a finding about updates. If it reports a fault of a run that has hardly moved, findings of collapsed
/// representations become notes: they rest on the loss curve, and the parameters are nearly the initial ones.
fn report(diagnosis: &Diagnosis<'_>, finding: Finding, findings: &mut Vec<Finding>) {
    if finding.severity > Severity::Note && diagnosis.has_hardly_moved() {
        let by_course = findings.iter_mut().filter(|it| it.cause == Cause::CollapsedRepresentation);
        by_course.for_each(|it| it.severity = Severity::Note);
    }
    findings.push(finding);
}

/// Returns the number of updates after which the learning-rate schedule has ended, and the evidence as text; `None`
/// for a schedule that has not ended. It has ended if no parameter moves any more. It has also ended if the stated
/// rate is below a hundredth of the first, and as many more updates of the last size would be
/// [short](crate::diagnosis::Thresholds::short_way) in sum.
fn ended(diagnosis: &Diagnosis<'_>, run: &RunStatistics) -> Option<(u64, String)> {
    if diagnosis.has_no_information() || diagnosis.rate_returns_until > run.updates() {
        return None;
    }
    if let Some(still) = still::ended(diagnosis) {
        return Some((run.updates().saturating_sub(still), still::moved_before(diagnosis)));
    }
    let [first, last] = run.rates().filter(|[first, last]| *last < 0.01 * first)?;
    let of = matrices(diagnosis).filter(counts).max_by(|a, b| a.way()[1].total_cmp(&b.way()[1]))?;
    let more = of.update_ratio().mean() + libm::log10(run.updates() as f64);
    // The number of updates of the first size that add up to the sum of all updates so far.
    let made = libm::ceil(libm::exp10(of.way()[1] - of.first_update_ratio()?)).clamp(1.0, run.updates() as f64);
    let because = format!("the rate went from {} to {}", number(first), number(last));
    (more < diagnosis.thresholds.short_way[0]).then_some((made as u64, because))
}

/// Reports updates that are too small, if no other fault explains them: by a schedule that ended before anything was
/// learned, by a large ε, or by a low rate. At a low rate, updates are
/// [small](crate::diagnosis::Thresholds::small_step), their sum is below
/// [`short_way`](crate::diagnosis::Thresholds::short_way), and the loss [stagnates](Diagnosis::stagnates). A low rate
/// is a note while the updates still grow, unless as many more of them would be too small, too. It is also a note if
/// as many more updates would [bring](Diagnosis::comes_down) the loss to where it counts as fallen.
pub(super) fn short(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let (Some(statistics), lines) = (diagnosis.statistics, &diagnosis.thresholds) else { return };
    let run = statistics.run();
    // Clipping is judged by `between`, and a vanished gradient is not the fault of the rate.
    let clips =
        run.clip_factor().is_some_and(|factor| factor < lines.low_clip[0]) && diagnosis.is_proportional != Some(false);
    if is_accused(diagnosis, findings) {
        return;
    }
    let is_known = diagnosis.has_patience() && diagnosis.chance().is_some();
    let stays = || diagnosis.learns_nothing(run) || is_known && !diagnosis.has_learned(run);
    if let Some((ended, why)) = ended(diagnosis, run).filter(|_| !clips && stays()) {
        let text = format!("the schedule ended after {}, before anything was learned", steps(ended));
        let because = format!("{why}, and the loss went {}", course(run));
        let finding = diagnosis.finding(Cause::LearningRateTooLow, Severity::Warning, "", text, because);
        let (fix, refuted_by) = ("a longer schedule".into(), "a loss that falls no faster with a longer schedule");
        return report(diagnosis, Finding { fix, refuted_by, schedule: Some(ended), ..finding }, findings);
    }
    let ratios = matrices(diagnosis).filter(|block| block.update_ratio().count() > 0);
    let longest = ratios.max_by(|a, b| a.update_ratio().mean().total_cmp(&b.update_ratio().mean()));
    let Some(block) = longest else { return };
    if clips {
        return between(diagnosis, block, findings);
    }
    let most = matrices(diagnosis).filter(counts).map(|block| block.way()[1]).fold(f64::NEG_INFINITY, f64::max);
    let is_small = block.update_ratio().mean() < lines.small_step || most < lines.short_way[0];
    // A fault that makes gradients small explains an ε above them.
    let is_explained = findings.iter().any(|it| it.severity > Severity::Note && !leaves_gradient(it.cause));
    if let Some(factor) = epsilon_above_gradient(diagnosis).filter(|_| is_small && !is_explained) {
        let text = format!(
            "ε is too large: it is {} times the size of a gradient or more, so that it, and not the gradient, sets \
             the length of a step",
            number(factor)
        );
        let because = format!(
            "the largest update, of {}, is {} of the parameters, and {}",
            block.name(),
            number(libm::exp10(block.update_ratio().mean())),
            diagnosis.not_fallen()
        );
        let finding = diagnosis.finding(Cause::LearningRateTooLow, Severity::Warning, "", text, because);
        let fix = String::from("an ε below the size of a gradient, or a loss and targets in larger units");
        let refuted_by = "a loss that falls no faster with a smaller ε";
        let decades = Some(block.update_ratio().mean());
        return report(diagnosis, Finding { fix, refuted_by, decades, ..finding }, findings);
    }
    let has_no_course = diagnosis.has_no_course() && !diagnosis.falls_steadily(run);
    let stands_still = has_no_course && diagnosis.has_patience() && !diagnosis.has_fitted();
    if !diagnosis.stagnates() && !stands_still {
        return;
    }
    // A schedule may have ended: the sum of all updates shows whether the rate was large for long enough.
    let all = matrices(diagnosis).filter(counts).map(|block| (block.way(), block));
    let ([ratio, way], most) = all.max_by(|a, b| a.0[1].total_cmp(&b.0[1])).unwrap_or((block.way(), block));
    // In a warm-up the larger updates are still to come. Momentum makes updates at one rate grow tenfold.
    let grown = || most.first_update_ratio().is_some_and(|first| most.update_ratio().mean() > first + GROWS);
    let grows = run.rate_grows().unwrap_or_else(grown);
    // A warm-up is too long if nothing was learned, and as many more updates would still be too small.
    let judged = run.recent_loss().count() >= 4 * lines.patience && diagnosis.chance().is_some();
    let warms_up = grows && !(judged && stays() && way + AS_MANY_MORE < lines.short_way[0]);
    let unexplained = findings.iter().all(|it| it.severity == Severity::Note);
    let because = format!(
        "{}, and the loss went {}",
        if unexplained { "no other fault was found" } else { "no fault of the network was tried by such steps" },
        course(run)
    );
    let found = match edge::measured(diagnosis) {
        Some(_) => edge::unmoved(diagnosis, run.updates())
            .map(|(severity, [text, evidence])| (severity, text, format!("{evidence}; {because}"))),
        None => above(-way, lines.short_way.map(|line| -line)).filter(|_| ratio < lines.small_step).map(|severity| {
            let text = format!(
                "steps are too short: the largest, of {}, are on average {} of the parameters, all {} together {} of \
                 them, and the {}",
                most.name(),
                number(libm::exp10(ratio)),
                run.updates(),
                number(libm::exp10(way)),
                if grows && !warms_up { "rate still grows" } else { "loss stands still" }
            );
            (severity, text, because)
        }),
    };
    if let Some((severity, text, because)) = found {
        // A plateau whose loss would fall enough in as many more updates is only a note. In a run whose parameters
        // have hardly moved, the course of the loss predicts nothing.
        let line = diagnosis.chance().map(|chance| diagnosis.part(chance, lines.fallen[0]));
        let comes_down = !has_no_course && line.is_some_and(|line| diagnosis.comes_down(line, run));
        // A run that has learned may have converged, and its loss then stands still at any rate.
        let severity = if diagnosis.has_learned(run) || warms_up || (comes_down && severity < Severity::Critical) {
            Severity::Note
        } else {
            severity
        };
        let finding = diagnosis.finding(Cause::LearningRateTooLow, severity, "", text, because);
        report(diagnosis, Finding { decades: Some(block.update_ratio().mean()), ..finding }, findings);
    }
}
