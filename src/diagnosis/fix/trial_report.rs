//! The results of trials, ranked.

use super::Behind;
use crate::diagnosis::{
    figures::{count, number},
    task::LossBounds,
};
use alloc::{format, string::String, vec::Vec};
use core::fmt;

/// The result of the trainings with one fix, or without any.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct TrialOutcome {
    /// The name of the fix with its reason; `as it is` for the network without a fix.
    pub name: String,
    /// The index of the fix in the list given to [`Trial::run`](crate::diagnosis::Trial::run); `None` for the network
    /// without a fix.
    pub fix: Option<usize>,
    /// Whether the training gives up most of what the run has learned: the fix draws most parameters again, or the
    /// training starts from the first parameters of the run. False if the run has not moved the parameters, or has
    /// made one NaN or infinite.
    pub is_restarted: bool,
    /// Whether the training starts from the [first parameters](crate::diagnosis::Trial::first_parameters) of the run,
    /// or from new values of the initializers if those are not known. Of a fix that was trained from both starts,
    /// [`Trial::run`](super::Trial::run) states which training counts.
    pub from_beginning: bool,
    /// The losses after the last step of the trial, one for each seed, from the smallest to the largest; infinite if
    /// parameters became NaN or infinite.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub losses: Vec<f64>,
    /// The loss of each step's batch, averaged over the seeds.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub curve: Vec<f64>,
    /// The losses after the last step of the trial, one for each seed, in the order of the seeds.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(super) by_seed: Vec<f64>,
}

impl TrialOutcome {
    pub(super) fn of(name: &str, fix: Option<usize>) -> Self {
        let (losses, by_seed, curve) = Default::default();
        TrialOutcome { name: name.into(), fix, is_restarted: false, from_beginning: false, losses, curve, by_seed }
    }

    /// Adds the loss of one more seed, and the losses of its steps to their mean.
    pub(super) fn add(&mut self, loss: f64, curve: &[f64]) {
        let before = self.losses.len() as f64;
        self.curve.resize(curve.len(), 0.0);
        self.curve.iter_mut().zip(curve).for_each(|(mean, loss)| *mean = (*mean * before + loss) / (before + 1.0));
        self.by_seed.push(loss);
        self.losses.push(loss);
        self.losses.sort_by(f64::total_cmp);
    }

    /// Returns the median of the losses, for an even number of losses the mean of the middle two; ∞ without losses.
    pub fn median(&self) -> f64 {
        let (losses, half) = (&self.losses, self.losses.len() / 2);
        match losses.len() {
            0 => f64::INFINITY,
            n if n % 2 == 1 => losses[half],
            _ => 0.5 * losses[half - 1] + 0.5 * losses[half],
        }
    }

    /// Returns the lowest and the highest loss of the seeds; ∞ without losses.
    pub fn spread(&self) -> [f64; 2] {
        let end = |loss: Option<&f64>| loss.copied().unwrap_or(f64::INFINITY);
        [end(self.losses.first()), end(self.losses.last())]
    }
}

/// The outcomes of the trainings with each fix and without any, ranked by their loss.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct TrialReport {
    /// The outcome of the network without a fix.
    pub baseline: TrialOutcome,
    /// The outcome of the network without a fix from initial values. If no fix is better than the
    /// [`baseline`](Self::baseline), fixes that restart a trained network are compared with this outcome. `None`
    /// without such fixes, for parameters that were not trained, or if too few steps were left.
    pub restarted: Option<TrialOutcome>,
    /// The fixes that were tried. First those whose median loss is not clearly above the lowest (1.1 times, counted
    /// from the [lowest](Self::floor) loss of any outputs), in the order of the list given to
    /// [`Trial::run`](super::Trial::run); then the others by their medians.
    pub outcomes: Vec<TrialOutcome>,
    /// The names of the fixes that were not tried: the trial could not apply the change, or the steps were used up.
    pub untried: Vec<String>,
    /// The transforms of the run with their settings, such as `Sgd (rate 0.1)`.
    pub transform: String,
    /// The faults of a fixed network. `None` if the trial was not asked to [examine](super::Trial::behind) one, had
    /// too few steps left, or found no fix to examine.
    pub behind: Option<Behind>,
    /// The lowest loss that any outputs can have, from which losses are counted. `None` if it is not known: losses are
    /// then counted from 0.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    pub floor: Option<f64>,
    /// The number of steps of the run that the trial is for.
    pub run: usize,
    /// The number of steps of all trainings, plus the number of passes of the [diagnoses](Behind::passes) of fixed
    /// networks.
    pub steps: usize,
}

/// The fraction of the median loss without a fix at or below which the median loss with a fix counts as clearly lower,
/// both counted from the lowest loss that any outputs can have.
const LOWER: f64 = 1.0 / 1.1;

/// The multiple of the spread above which the gain of a fix from each seed shows that the seeds agree. The spread is
/// the highest loss of the seeds minus the lowest, with or without the fix, whichever is larger. The value, 3, is a
/// convention.
const AGREE: f64 = 3.0;
/// The largest fraction of the median loss without a fix at which a fix helps if all seeds agree. Without this limit
/// any gain would be enough if all seeds have the same loss, so that the spread is 0.
const AGREED: f64 = 0.99;

/// A fix has lost what was learned if this fraction of its median loss is above the median loss without it: the loss
/// is more than half higher. That counts as diverged in the rules, too.
const LOST: f64 = 1.0 / 1.5;

impl TrialReport {
    /// Sorts the outcomes. A short trial cannot distinguish fixes with nearly equal losses. Of these, the one that
    /// was proposed first is ranked first, since it removes the cause itself with the least effort.
    pub(super) fn rank(&mut self) {
        let lowest = self.lowest();
        let bounds = self.bounds();
        let place = |outcome: &TrialOutcome| match is_near(&bounds, outcome, lowest) {
            true => (outcome.fix, f64::NEG_INFINITY),
            false => (Some(usize::MAX), outcome.median()),
        };
        self.outcomes.sort_by(|a, b| {
            let [a, b] = [place(a), place(b)];
            a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
        });
    }

    /// Returns the lowest median loss of the fixes; ∞ without fixes.
    fn lowest(&self) -> f64 {
        self.outcomes.iter().map(TrialOutcome::median).fold(f64::INFINITY, f64::min)
    }

    fn bounds(&self) -> LossBounds {
        LossBounds { constant: f64::NAN, floor: self.floor, is_unbounded: false }
    }

    /// Returns the index of the best fix in the list given to [`Trial::run`](crate::diagnosis::Trial::run); `None` if
    /// no fix helped.
    ///
    /// A fix helps if its highest loss over the seeds is below the lowest without a fix, and its median is at most
    /// 1/1.1 of the median without a fix. Both count from the [lowest](Self::floor) loss of any outputs. It also helps
    /// if the loss is lower from each of two or more seeds, by more than three times what the seeds differ, and by 1
    /// %. If none helps, a fix that restarts the network is compared with the network [restarted](Self::restarted)
    /// without it.
    pub fn best(&self) -> Option<usize> {
        self.helps().and_then(|(best, _)| best.fix)
    }

    /// Returns the outcome of the [best](Self::best) fix; `None` if no fix helped.
    pub fn best_outcome(&self) -> Option<&TrialOutcome> {
        self.helps().map(|(best, _)| best)
    }

    /// Returns the outcome of the [best](Self::best) fix; if none helped, that of a fix whose effect a short trial may
    /// not show. It is the fix that removed its fault in an examination of the [fixed network](super::Trial::behind),
    /// at a median loss of at most 1.5 times that without it. Without such a fix it is the first in the ranking that
    /// does no harm: its median loss is finite, and at most 1.1 times that without it. `None` if there is none.
    pub fn choice(&self) -> Option<&TrialOutcome> {
        let (bounds, without) = (self.bounds(), self.baseline.median());
        let is_harmless = |it: &&TrialOutcome| it.median().is_finite() && is_near(&bounds, it, without);
        self.best_outcome().or_else(|| self.removing()).or_else(|| self.outcomes.iter().find(is_harmless))
    }

    /// Returns the outcome of the fix that removed its fault in an examination of the fixed network. `None` if the fix
    /// lost what was learned: its median loss is infinite, or more than one and a half times that without it.
    pub(super) fn removing(&self) -> Option<&TrialOutcome> {
        let behind = self.behind.as_ref().filter(|behind| behind.removed)?;
        let outcome = self.outcomes.iter().find(|outcome| outcome.fix == Some(behind.fix))?;
        let part = self.bounds().part(outcome.median(), LOST);
        (outcome.median().is_finite() && part <= self.baseline.median()).then_some(outcome)
    }

    /// Whether the loss of a fix is clearly lower than that of the network as it is.
    pub(super) fn lowers(&self, fixed: &TrialOutcome) -> bool {
        self.beats(fixed, &self.baseline)
    }

    /// Whether the losses with a fix are clearly below those without it: by a factor, or from each seed by more than
    /// the seeds differ.
    fn beats(&self, fixed: &TrialOutcome, without: &TrialOutcome) -> bool {
        let part = self.bounds().part(without.median(), LOWER);
        let lower = fixed.median() <= part || without.median().is_infinite();
        let pairs = || without.by_seed.iter().zip(&fixed.by_seed).map(|(without, fixed)| without - fixed);
        let differ = [fixed, without].map(|it| it.spread()[1] - it.spread()[0]).into_iter().fold(0.0, f64::max);
        let agreed = fixed.median() <= self.bounds().part(without.median(), AGREED);
        let agree = agreed && pairs().count() > 1 && pairs().all(|gain| gain > AGREE * differ);
        fixed.spread()[1] < without.spread()[0] && (lower || agree)
    }

    /// Returns the outcome of the best fix, and the outcome without a fix with which it was compared; `None` if no fix
    /// helped.
    fn helps(&self) -> Option<(&TrialOutcome, &TrialOutcome)> {
        let (bounds, lowest) = (self.bounds(), self.lowest());
        let mut near = self.outcomes.iter().filter(|outcome| is_near(&bounds, outcome, lowest));
        let first = near.find(|first| self.lowers(first));
        first.map(|first| (first, &self.baseline)).or_else(|| {
            let without = self.restarted.as_ref()?;
            let mut restarted = self.outcomes.iter().filter(|outcome| outcome.is_restarted);
            restarted.find(|outcome| self.beats(outcome, without)).map(|outcome| (outcome, without))
        })
    }
}

/// Whether the median loss of a fix is not clearly above `lowest`, the lowest of all fixes.
fn is_near(bounds: &LossBounds, outcome: &TrialOutcome, lowest: f64) -> bool {
    bounds.part(outcome.median(), LOWER) <= lowest
}

impl TrialReport {
    /// Returns the outcome of the fix that removes the fault that it is for, but leaves another, and the examination
    /// that shows this; `None` if there is no such fix.
    fn removes(&self) -> Option<(&TrialOutcome, &Behind)> {
        let behind = self.behind.as_ref().filter(|behind| behind.removed && !behind.findings.is_empty())?;
        self.outcomes.iter().find(|outcome| outcome.fix == Some(behind.fix)).zip(Some(behind))
    }

    /// Returns the phrase for a trial in which no fix helped, or none clearly.
    fn none(&self) -> &'static str {
        let is_lower = |outcome: &TrialOutcome| outcome.spread()[1] < self.baseline.spread()[0];
        if self.outcomes.iter().any(is_lower) { "none helped clearly" } else { "none helped" }
    }

    /// Returns, as a clause, that the trial may be too short, if the run has more than twice its steps; otherwise an
    /// empty text.
    fn short(&self) -> String {
        match self.run > 2 * self.baseline.curve.len() {
            true => format!(" of {}, which may be too short to show it", self.run),
            false => String::new(),
        }
    }

    /// Returns, as one sentence, the best fix and its effect, or that none helped.
    pub(in crate::diagnosis) fn verdict(&self) -> String {
        let steps = count(self.baseline.curve.len(), "step");
        match self.helps() {
            Some((best, without)) => {
                let from = match (best.from_beginning, without.is_restarted) {
                    (true, true) => ", both from where the run began",
                    (false, true) => ", both from initial values",
                    (true, false) => ", from where the run began",
                    _ => "",
                };
                let is_restarted = without.is_restarted;
                let [with, without] = [best, without].map(|outcome| number(outcome.median()));
                let (with, without) = match (best.from_beginning, is_restarted) {
                    (true, false) => (format!("{with} with it{from}"), format!("{without} without")),
                    _ => (format!("{with} with it"), format!("{without} without{from}")),
                };
                format!("{}; tried: a loss of {with}, {without}, after {steps}", best.name)
            }
            None if self.outcomes.is_empty() => String::from("none could be tried"),
            None => match self.removes() {
                Some((fix, behind)) => format!(
                    "{}; tried: it removes this fault, but the loss falls no faster in {steps}: {}",
                    fix.name,
                    behind.others()
                ),
                None => {
                    let choice = self.choice().map(|fix| format!("; the first that does no harm: {}", fix.name));
                    let (tried, choice) = (self.outcomes.len(), choice.unwrap_or_default());
                    format!("{}, of {tried} that were tried for {steps}{}{choice}", self.none(), self.short())
                }
            },
        }
    }
}

/// Writes the best fix, then a line for each outcome with median, spread and name: the fixes no worse than the
/// baseline, the baseline, the other fixes. The fixes not tried and the examination of a fixed network follow.
impl fmt::Display for TrialReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = count(self.baseline.curve.len(), "step");
        let all = self.baseline.losses.len();
        let fewer = self.outcomes.iter().any(|outcome| outcome.losses.len() < all);
        let seeds = format!("{}{}", count(all, "seed"), if fewer { " for the better ones" } else { "" });
        write!(f, "trial: {steps} with each fix on the same batches, {seeds}; ")?;
        match self.helps() {
            Some((best, _)) => write!(f, "helped most: {}", best.name.split(": ").next().unwrap_or_default())?,
            None if self.removes().is_some() => {
                write!(f, "none helped alone, since another fault is behind the first")?
            }
            None => write!(f, "{}", self.none())?,
        }
        write!(f, "\n  loss after it, median [lowest, highest] of the seeds:")?;
        let line = |outcome: &TrialOutcome| {
            let [low, high] = outcome.spread().map(number);
            let spread = format!("{} [{low}, {high}]", number(outcome.median()));
            format!("\n  {spread:<28}  {}", outcome.name)
        };
        let is_better = |outcome: &&TrialOutcome| outcome.median() <= self.baseline.median();
        let better = self.outcomes.iter().filter(is_better);
        for outcome in better.chain([&self.baseline]).chain(self.outcomes.iter().filter(|it| !is_better(it))) {
            f.write_str(&line(outcome))?;
        }
        self.restarted.iter().try_for_each(|outcome| f.write_str(&line(outcome)))?;
        for name in &self.untried {
            write!(f, "\n  not tried: {name}")?;
        }
        if let Some(behind) = &self.behind {
            let watched = count(behind.watched, "step");
            let first = match (behind.removed, behind.judged) {
                (true, _) => "the first fault is gone",
                (_, true) => "the first fault remains",
                _ => "too short to see the first fault",
            };
            write!(f, "\n  examined for {watched} with {}: {first}, {}", behind.name, behind.others())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(floor: Option<f64>, without: f64, fixes: &[&[f64]]) -> TrialReport {
        let outcome = |fix, losses: &[f64]| TrialOutcome {
            losses: losses.into(),
            by_seed: losses.into(),
            ..TrialOutcome::of("", fix)
        };
        let mut report = TrialReport {
            baseline: outcome(None, &[without]),
            restarted: None,
            outcomes: fixes.iter().enumerate().map(|(fix, losses)| outcome(Some(fix), losses)).collect(),
            untried: Vec::new(),
            transform: String::new(),
            behind: None,
            floor,
            run: 40,
            steps: 2,
        };
        report.rank();
        report
    }

    fn helps(floor: Option<f64>, without: f64, with: f64) -> bool {
        report(floor, without, &[&[with]]).best() == Some(0)
    }

    /// A short trial cannot distinguish losses within a factor of 1.1: fixes with such losses keep the order in which
    /// they were proposed. A fix with losses of two seeds is not ranked by the first seed alone.
    #[test]
    fn near_losses_keep_the_order_of_proposals() {
        let ranks = |fixes: &[&[f64]]| {
            let report = report(None, 2.0, fixes);
            report.outcomes.iter().filter_map(|it| it.fix).collect::<Vec<_>>()
        };
        assert_eq!(ranks(&[&[1.05], &[1.5], &[1.0]]), [0, 2, 1]);
        assert_eq!(ranks(&[&[1.2], &[1.5], &[1.0]]), [2, 0, 1]);
        assert_eq!(ranks(&[&[1.26, 1.83], &[1.37]]), [1, 0]);
        // Of near losses the first that helps is the best.
        assert_eq!(report(None, 2.2, &[&[1.5, 2.3], &[1.9]]).best(), Some(1));
        assert_eq!(report(None, 2.0, &[&[f64::INFINITY], &[f64::INFINITY]]).best(), None);
    }

    /// A trial of few steps that shows no help also shows no harm: the first such fix is chosen.
    #[test]
    fn fix_without_harm_is_chosen_where_none_helps() {
        let chosen = |without, fixes: &[&[f64]]| report(None, without, fixes).choice().and_then(|it| it.fix);
        assert_eq!(chosen(2.0, &[&[2.05], &[1.95], &[3.0]]), Some(0));
        assert_eq!(chosen(2.0, &[&[2.05], &[1.0]]), Some(1));
        assert_eq!(chosen(2.0, &[&[3.0], &[f64::INFINITY]]), None);
        assert_eq!(chosen(f64::INFINITY, &[&[f64::INFINITY]]), None);
    }

    /// The lowest loss of smoothed labels is their entropy, and that of a likelihood may be below 0.
    #[test]
    fn fix_helps_by_what_is_left_above_the_lowest_loss() {
        assert!(helps(Some(1.5), 1.68, 1.55));
        assert!(!helps(Some(0.0), 1.68, 1.55) && !helps(None, 1.68, 1.55));
        assert!(!helps(None, -5.0, -5.01) && helps(None, -5.0, -5.6));
        assert!(helps(Some(-6.0), -5.0, -5.2) && !helps(Some(-60.0), -5.0, -5.2));
        assert!(helps(Some(1.5), f64::INFINITY, 1.6) && !helps(Some(1.5), 1.5, 1.5));
    }
}
