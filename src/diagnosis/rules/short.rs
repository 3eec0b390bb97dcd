//! Rules about steps that are too short: by their rate, by a clip, or by the ε of an optimizer.

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
/// Adam divides by √v + ε: where ε is larger than √v, its steps are those of a small rate without adaptation.
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

/// Reports a clip that leaves a small part of a typical gradient, with steps that are not small in themselves. The
/// loss must stand still, nothing else explain it, and steps without the clip must not be long. The transforms of
/// the run must tell that updates are proportional to gradients: other optimizers divide the factor out.
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
    if !diagnosis.is_stuck() {
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

/// log10 of the ratio of recent updates to the first one, above which the steps still grow. Convention: a factor of
/// three, which a linear warm-up exceeds within its first 25 updates.
const GROWS: f64 = 0.5;

/// log10 of the factor by which a warm-up lengthens the way if it goes on for as many more steps as were made: four
/// times, for a rate that grows linearly.
const AS_MANY_MORE: f64 = 0.602;

/// Whether a finding may explain why all updates were small: it is about steps, or about a fault that may make the
/// gradient small. The latter is no explanation if an optimizer divides by the size of the gradient: its updates are
/// then as long as the rate says.
fn may_shorten(diagnosis: &Diagnosis<'_>, finding: &Finding) -> bool {
    use Cause::*;
    let leaves_gradient = matches!(
        finding.cause,
        UnmixedBatches
            | DropoutTooHeavy
            | UnscaledTarget
            | ExplodingRecurrence
            | VanishingRecurrence
            | ClosedForgetGate
    );
    let of_steps = matches!(
        finding.cause,
        LearningRateTooLow | ClipThresholdTooLow | FrozenBlock | ConstantWeights | Overflow | NotANumber
    );
    of_steps || diagnosis.is_proportional != Some(false) && !leaves_gradient
}

/// Whether another fault keeps the steps of the run from being judged. In a run that has [hardly
/// moved](Diagnosis::has_hardly_moved), only a fault that [may shorten](may_shorten) the steps does so.
fn is_accused(diagnosis: &Diagnosis<'_>, findings: &[Finding]) -> bool {
    let hardly_moved = diagnosis.has_hardly_moved();
    findings.iter().any(|it| it.severity > Severity::Note && (!hardly_moved || may_shorten(diagnosis, it)))
}

/// Adds a finding about steps. If it reports a fault of a run that has hardly moved, findings of collapsed
/// representations become notes: they rest on the course of the loss, and the parameters are nearly the initial ones.
fn report(diagnosis: &Diagnosis<'_>, finding: Finding, findings: &mut Vec<Finding>) {
    if finding.severity > Severity::Note && diagnosis.has_hardly_moved() {
        let by_course = findings.iter_mut().filter(|it| it.cause == Cause::CollapsedRepresentation);
        by_course.for_each(|it| it.severity = Severity::Note);
    }
    findings.push(finding);
}

/// Returns the number of updates after which the schedule has ended, and the evidence as text. `None` for a schedule
/// that goes on. Either no parameter moves any more; or the stated rate is below a hundredth of the first, and as many
/// more updates of the last length would be [short](crate::diagnosis::Thresholds::short_way).
fn ended(diagnosis: &Diagnosis<'_>, run: &RunStatistics) -> Option<(u64, String)> {
    if let Some(still) = still::ended(diagnosis) {
        return Some((run.updates().saturating_sub(still), still::moved_before(diagnosis)));
    }
    let [first, last] = run.rates().filter(|[first, last]| *last < 0.01 * first)?;
    if diagnosis.has_no_information() {
        return None;
    }
    let of = matrices(diagnosis).filter(counts).max_by(|a, b| a.way()[1].total_cmp(&b.way()[1]))?;
    let more = of.update_ratio().mean() + libm::log10(run.updates() as f64);
    // As many updates as the first, or all of them, make up the way so far.
    let made = libm::ceil(libm::exp10(of.way()[1] - of.first_update_ratio()?)).clamp(1.0, run.updates() as f64);
    let because = format!("the rate went from {} to {}", number(first), number(last));
    (more < diagnosis.thresholds.short_way[0]).then_some((made as u64, because))
}

/// Reports steps that are too short, if no other fault explains them: by a schedule that ended before anything was
/// learned, by a large ε, or by a low rate. At a low rate, updates are
/// [small](crate::diagnosis::Thresholds::small_step), all together go less than
/// [`short_way`](crate::diagnosis::Thresholds::short_way), and the loss [stagnates](Diagnosis::stagnates). A low rate
/// is a note while the steps still grow, unless as many more of them are too short, too. It is also a note if as many
/// more steps would [bring](Diagnosis::comes_down) the loss to where it counts as fallen.
pub(super) fn short(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let (Some(statistics), lines) = (diagnosis.statistics, &diagnosis.thresholds) else { return };
    let run = statistics.run();
    // Clipping has its own rule, and a vanished gradient is not the fault of the rate.
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
    if let Some(factor) = epsilon_above_gradient(diagnosis).filter(|_| is_small) {
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
    // A schedule may have come to its end: the whole run shows whether the rate was large for long enough.
    let all = matrices(diagnosis).filter(counts).map(|block| (block.way(), block));
    let ([ratio, way], most) = all.max_by(|a, b| a.0[1].total_cmp(&b.0[1])).unwrap_or((block.way(), block));
    // A warm-up: the steps that count are still to come. Momentum makes steps of one rate grow tenfold.
    let grown = || most.first_update_ratio().is_some_and(|first| most.update_ratio().mean() > first + GROWS);
    let grows = run.rate_grows().unwrap_or_else(grown);
    // A warm-up that holds up the run, and will in as many more steps, is too long.
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
        // A plateau is left as the rate predicts: the course so far, gone once more, ends below it. Parameters that
        // have hardly moved explain no course.
        let line = diagnosis.chance().map(|chance| diagnosis.part(chance, lines.fallen[0]));
        let comes_down = !has_no_course && line.is_some_and(|line| diagnosis.comes_down(line, run));
        // A run that has learned may have converged: then the loss stands still at any rate.
        let severity = if diagnosis.has_learned(run) || warms_up || (comes_down && severity < Severity::Critical) {
            Severity::Note
        } else {
            severity
        };
        let finding = diagnosis.finding(Cause::LearningRateTooLow, severity, "", text, because);
        report(diagnosis, Finding { decades: Some(block.update_ratio().mean()), ..finding }, findings);
    }
}
