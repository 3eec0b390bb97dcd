//! The examination of a fixed network: the faults that its fix does not remove.

use super::{Change, Fix, FixContext, Trial, TrialReport, suggest_fixes};
use crate::{
    dataset::Batch,
    diagnosis::{Cause, Diagnosis, Finding, Severity},
    error::Error,
    layer::{Layer, LayerSpec},
    monitor::Statistics,
    scalar::Scalar,
    size::filled,
    theory::InputStatistics,
};
use alloc::{format, string::String, vec::Vec};

/// The result of examining a fixed network: a monitored training with one fix, and the faults that this training
/// shows.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Behind {
    /// The index of the fix in the list given to [`Trial::run`].
    pub fix: usize,
    /// The name of the fix.
    pub name: &'static str,
    /// The number of steps of the monitored training.
    pub watched: usize,
    /// The number of updates of all trainings with a monitor that were run to examine fixed networks, this one and any
    /// before it that did not remove the finding.
    pub steps: usize,
    /// The number of passes, forward and backward, of the diagnoses after the trainings of [`steps`](Self::steps).
    /// These passes count as steps of the trial.
    pub passes: usize,
    /// Whether the fix removed the finding that it is for. False if that finding needs more passes to be seen than were
    /// monitored.
    pub removed: bool,
    /// Whether the training was long enough to show the finding that the fix is for, so that its absence counts.
    pub judged: bool,
    /// The causes of all faults of the fixed network, including those that the change of the fix can make.
    pub causes: Vec<Cause>,
    /// The faults of the fixed network other than the finding that the fix is for, likeliest root cause first. Each
    /// names its fix.
    pub findings: Vec<Finding>,
    /// The causes of those [`findings`](Self::findings) that the report of the network without the fix names already,
    /// set by [`Report::tried`](crate::diagnosis::Report::tried).
    pub named: Vec<Cause>,
}

impl Behind {
    /// Returns a clause that says whether the fixed network has faults other than the finding that the fix is for.
    pub(super) fn others(&self) -> String {
        let is_named = |finding: &Finding| self.named.contains(&finding.cause);
        match &self.findings[..] {
            [] => String::from("no other was found"),
            all if all.iter().all(is_named) => {
                let mut names: Vec<&str> = all.iter().map(|finding| finding.cause.name()).collect();
                names.dedup();
                format!("{}, which the report names, remains", names.join(" and "))
            }
            _ => String::from("another is behind it"),
        }
    }
}

/// The least number of steps of a monitored training beyond [`patience`](crate::diagnosis::Thresholds::patience), so
/// that a rule that must hold in several passes in a row can report.
const MORE: usize = 5;

/// The number of passes that a trial reserves, of its total of steps, to examine a fixed network. A diagnosis that
/// needs more may use the steps that the trials have not used.
pub(super) const DIAGNOSIS_PASSES: usize = 20;

impl<T: Scalar> Trial<'_, T> {
    /// Returns the number of steps of one monitored training: that of a trial, but at least [`MORE`] above the number
    /// of passes before a loss is judged.
    pub(super) fn steps_of_look(&self, context: &FixContext<'_>) -> usize {
        let patience = usize::try_from(context.thresholds.patience).unwrap_or(usize::MAX);
        self.steps.max(patience.saturating_add(MORE))
    }

    /// Trains `network` from the parameters `w`, with the best fix of `report`, for `steps` steps with a monitor, and
    /// examines it. If no fix helped, the tried ones of `fixes`, except changes of the learning rate, are examined in
    /// order, up to the first with which the finding of `context` is gone. Returns `None` if there is no such fix, or
    /// if `left`, the number of steps and passes that may be used, is too small. The second result is the number of
    /// steps and passes that were used.
    pub(super) fn look(
        &self,
        context: &FixContext<'_>,
        [steps, left]: [usize; 2],
        network: &LayerSpec,
        w: &[T],
        fixes: &[Fix],
        report: &TrialReport,
    ) -> Result<(Option<Behind>, usize), Error> {
        let (mut used, mut passes) = (0, 0);
        let starts = self.starts(&*network.build::<T>()?, w)?;
        let best = report.best();
        let mut tried: Vec<usize> = report.outcomes.iter().filter_map(|outcome| outcome.fix).collect();
        tried.sort_unstable();
        // A rate that hides a fault is no cure of it.
        tried.retain(|&fix| !matches!(fixes[fix].change, Change::LearningRate(_) | Change::HoldRate(_)));
        for fix in best.map_or(tried, |best| Vec::from([best])) {
            if used + passes + steps + DIAGNOSIS_PASSES > left {
                break;
            }
            used += steps;
            let spare = left - used - passes;
            // From where the better training of the fix started.
            let better = report.outcomes.iter().find(|it| it.fix == Some(fix));
            let (begins, is_restarted) = better.map_or((false, false), |it| (it.from_beginning, it.is_restarted));
            let second = starts.second(network, &fixes[fix])?.filter(|_| begins);
            let (fixed, first) = second.as_ref().map_or((&fixes[fix], w), |(fixed, first)| (&**fixed, *first));
            let seen = self.watch(context, [steps, spare], (network, first), (fixed, is_restarted))?;
            let Some((found, taken)) = seen else { continue };
            passes += taken;
            let is_first = |finding: &Finding| finding.cause == context.finding.cause;
            let judged = is_seen_within(context.finding, steps) || found.iter().any(is_first);
            let removed = judged && !found.iter().any(is_first);
            if removed || best.is_some() {
                let causes = found.iter().map(|finding| finding.cause).collect();
                let others = found.into_iter().filter(|it| !is_first(it) && !is_made_by(&fixes[fix].change, it.cause));
                let (name, findings) = (fixes[fix].name, others.collect());
                let (watched, steps, named) = (steps, used, Vec::new());
                let behind = Behind { fix, name, watched, steps, passes, removed, judged, causes, findings, named };
                return Ok((Some(behind), used + passes));
            }
        }
        Ok((None, used + passes))
    }

    /// Trains `network` with parameters `w` and the fix `fix` for `steps` steps with a monitor, and examines it.
    /// `is_restarted` is that of the fix's [outcome](super::TrialOutcome::is_restarted). Returns the findings more
    /// severe than a note, and the number of passes of the diagnosis, about `spare` at most. `None` if the fix cannot
    /// be applied, or a gradient or parameter became NaN or infinite.
    fn watch(
        &self,
        context: &FixContext<'_>,
        [steps, spare]: [usize; 2],
        (network, w): (&LayerSpec, &[T]),
        (fix, is_restarted): (&Fix, bool),
    ) -> Result<Option<(Vec<Finding>, usize)>, Error> {
        let Ok(fix) = self.fitted(network, w, fix) else { return Ok(None) };
        let changed = self.changed_data(&fix)?;
        let data = changed.as_ref().unwrap_or(self.data);
        let Some(candidate) = self.candidate(network, w, &fix, data, 0)? else { return Ok(None) };
        let candidate = self.begun(candidate, is_restarted);
        let (mut curve, mut seen) = (filled("steps of a trial", steps, 0.0)?, Statistics::new());
        let Some(trainer) = self.trained(candidate, 0, &mut curve, &mut seen)? else { return Ok(None) };
        let inputs = match fix.change {
            Change::Standardize(_) | Change::LeaveOut(_) => {
                InputStatistics::of_rows(data.inputs())?.steps(data.steps())?
            }
            _ => context.inputs,
        };
        let mut batch = Batch::new(data, data.samples().min(self.batch_size));
        let samples: Vec<usize> = (0..data.samples().min(self.batch_size)).collect();
        batch.gather(data, &samples, crate::workspace::per_step(trainer.network())?)?;
        let after = trainer.parameters();
        let diagnosis = Diagnosis { span: context.span, ..Diagnosis::new(trainer.network(), inputs)? };
        let diagnosis = Diagnosis { allowance: Some(spare), ..diagnosis.thresholds(context.thresholds) };
        let diagnosis =
            diagnosis.task(after, data, self.loss)?.interventions_of_pass(after, batch.x(), batch.shape())?;
        let report = diagnosis.statistics(&seen).report();
        let (passes, mut found) = (report.passes_on_copies, report.findings);
        found.retain(|finding| finding.severity > Severity::Note);
        let described = trainer.network().spec();
        for finding in &mut found {
            finding.behind = Some(fix.name);
            let first = finding.clone();
            let context = FixContext { network: &described, finding: &first, inputs, ..context.clone() };
            let fixes = suggest_fixes(&context.statistics(&seen))?;
            if let Some(fix) = fixes.first() {
                finding.fix = format!("{}: {}; not tried", fix.name, fix.why);
            }
        }
        Ok(Some((found, passes)))
    }
}

/// Whether `steps` monitored passes are enough to see `finding`: whether the index of the pass in which it was first
/// seen is below `steps`, or it was seen before training.
pub(in crate::diagnosis) fn is_seen_within(finding: &Finding, steps: usize) -> bool {
    finding.since.is_none_or(|since| since < steps as u64)
}

/// Whether `change` can itself make a fault of this cause: another learning rate or a clip can be too high or too low.
fn is_made_by(change: &Change, cause: Cause) -> bool {
    match change {
        Change::LearningRate(_) | Change::HoldRate(_) => {
            matches!(cause, Cause::LearningRateTooHigh | Cause::LearningRateTooLow | Cause::Cliff)
        }
        Change::ClipNorm(_) => cause == Cause::ClipThresholdTooLow,
        _ => false,
    }
}
