//! Trials of fixes: short trainings of the network as it is and of each fixed one.

use super::{Change, Fix, FixContext, TrialOutcome, TrialReport, behind::DIAGNOSIS_PASSES, peak::NearPeak};
use crate::{
    block::Blocks,
    dataset::Dataset,
    diagnosis::{Thresholds, setup, task},
    error::{Error, require, require_length},
    layer::LayerSpec,
    loss::Loss,
    scalar::Scalar,
    transform::GradientTransform,
};
use alloc::{boxed::Box, format, vec::Vec};
use core::fmt;

/// The setup for trying fixes: data, loss, optimizer, and a limit on the number of steps.
///
/// Every fix is trained on the same batches as the network as it is, from the same seeds. All losses are computed on
/// the same samples and targets, with dropout disabled.
///
/// ```
/// use chainrule::{Layer, activation::Relu, dataset::Dataset};
/// use chainrule::diagnosis::{FixContext, Trial, first_check, suggest_fixes};
/// use chainrule::{BatchShape, initializer::He, layer::{Linear, Sequential, initialize}, theory::InputStatistics};
/// use chainrule::{loss::{CrossEntropy, Target}, transform::{GradientTransform, Sgd}};
/// let mut builder = Sequential::<f32>::input(8);
/// for _ in 0..8 {
///     builder = builder.layer(Linear::new(8, 8).weights(He::normal().gain(0.3))).activation(Relu);
/// }
/// let network = builder.linear(2).build()?;
/// let x: Vec<f32> = (0..64 * 8).map(|i| (i as f32 * 2.399).sin()).collect();
/// let y: Vec<usize> = x.chunks(8).map(|row| usize::from(row[0] > 0.0)).collect();
/// let (data, loss) = (Dataset::rows(8, &x, Target::Classes(&y))?, CrossEntropy::new());
/// let report = first_check(&network, &x, BatchShape::batch(64), None, 0)?;
/// let described = Layer::<f32>::spec(&network);
/// let context = FixContext::new(&described, InputStatistics::of_rows(&x)?, report.root().unwrap());
/// let fixes = suggest_fixes(&context)?;
/// let transform = || Box::new(Sgd::new(0.1)) as Box<dyn GradientTransform<f32>>;
/// let tried = Trial::new(&data, &loss, &transform, 400).run(&described, &initialize(&network, 0)?, &fixes)?;
/// assert_eq!(tried.outcomes.len() + tried.untried.len(), fixes.len());
/// println!("{tried}"); // which fix helped most, or that none did
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Trial<'a, T: Scalar> {
    pub(super) data: &'a Dataset<'a, T>,
    pub(super) loss: &'a dyn Loss<T>,
    pub(super) transform: &'a dyn Fn() -> Box<dyn GradientTransform<T>>,
    pub(super) settings: Option<&'a Settings<'a, T>>,
    pub(super) in_order: bool,
    pub(super) batch_size: usize,
    pub(super) steps: usize,
    /// The number of optimizer steps of the run whose network is to be fixed.
    pub(super) length: usize,
    /// The first parameters of the run; `None` if they are not known.
    pub(super) first_parameters: Option<&'a [f64]>,
    pub(super) seeds: u64,
    pub(super) limit: usize,
    pub(super) context: Option<&'a FixContext<'a>>,
    /// The ratio of a sample's size (the root mean square of its inputs, or the largest input) to that of the median
    /// sample above which its inputs count as large.
    pub(super) large_input: f64,
    pub(super) near_peak: NearPeak,
}

/// The least number of steps of a training, unless [`Trial::steps`] sets another.
const LEAST_STEPS: usize = 20;

/// A function that returns the optimizer's chain of transforms with a fix's change applied, such as a clip or another
/// rate; `None` for a change that does not affect the chain.
type Settings<'a, T> = dyn Fn(&Change) -> Option<Box<dyn GradientTransform<T>>> + 'a;

impl<T: Scalar> fmt::Debug for Trial<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trial")
            .field("loss", &self.loss)
            .field("batch_size", &self.batch_size)
            .field("steps", &self.steps)
            .field("in_order", &self.in_order)
            .field("seeds", &self.seeds)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl<'a, T: Scalar> Trial<'a, T> {
    /// Creates trials on `data` with `loss` for a run of `run` steps; `transform` creates the optimizer of each
    /// training. Each training takes 5 % of the run, at least 20 steps; a fix may have two from its first seed: one
    /// from the current parameters, and one from the first parameters of the run. All together take at most half of
    /// the run. After a run of less than a few hundred steps that is enough for only a few fixes:
    /// [`steps`](Self::steps) allows more. There are up to three seeds, and batches of 32.
    pub fn new(
        data: &'a Dataset<'a, T>,
        loss: &'a dyn Loss<T>,
        transform: &'a dyn Fn() -> Box<dyn GradientTransform<T>>,
        run: usize,
    ) -> Self {
        let steps = (run / 20).max(LEAST_STEPS);
        Trial {
            data,
            loss,
            transform,
            settings: None,
            in_order: false,
            batch_size: 32,
            steps,
            length: run,
            first_parameters: None,
            seeds: 3,
            limit: run / 2,
            context: None,
            large_input: Thresholds::default().input[0],
            near_peak: NearPeak::default(),
        }
    }

    /// Sets the function that creates the optimizer with a fix's change of the training settings applied: a clip, a
    /// rate, a frozen block or weight decay.
    ///
    /// Without this function a clip is put before the optimizer, and a factor of the rate after it; a clip inside the
    /// optimizer is kept. A held rate replaces each [`Schedule`](crate::transform::Schedule) of the chain that
    /// varies. Training a block at the rate of the others, and training without weight decay, are then not tried.
    #[must_use]
    pub fn settings(self, settings: &'a Settings<'a, T>) -> Self {
        Trial { settings: Some(settings), ..self }
    }

    /// Sets the first parameters of the run,
    /// [`Statistics::first_parameters`](crate::monitor::Statistics::first_parameters).
    /// [`apply_best`](Self::apply_best) takes them from its context if they are not set.
    #[must_use]
    pub fn first_parameters(self, first: &'a [f64]) -> Self {
        Trial { first_parameters: Some(first), ..self }
    }

    /// Makes the trials take samples in the order of the data, as the run does; only [`Change::Shuffle`] shuffles
    /// them. Without this call all trials shuffle, and do not try that change.
    #[must_use]
    pub fn in_order(self) -> Self {
        Trial { in_order: true, ..self }
    }

    /// Sets the number of steps of each training, `each`, and the limit on the steps of all trainings together, `all`.
    #[must_use]
    pub fn steps(self, each: usize, all: usize) -> Self {
        Trial { steps: each, limit: all, ..self }
    }

    /// Sets the largest number of seeds, 3 by default, from which a network is trained.
    #[must_use]
    pub fn seeds(self, seeds: u64) -> Self {
        Trial { seeds, ..self }
    }

    /// Sets the number of samples in a batch, 32 by default.
    #[must_use]
    pub fn batch_size(self, samples: usize) -> Self {
        Trial { batch_size: samples, ..self }
    }

    /// Examines a fixed network, too, for faults behind the finding of `context`.
    ///
    /// A fault can hide another: no update, clip or rate is judged in a network that no gradient passes. So the best
    /// fix is trained once more with a monitor, and the same rules judge that training. If no fix helped, the fixes
    /// are examined in order, up to the first that removes the finding. Each examined fix takes the steps of one
    /// training, and one step for each pass of its diagnosis, from the steps that are left of the total. The result
    /// is [`TrialReport::behind`].
    #[must_use]
    pub fn behind(self, context: &'a FixContext<'a>) -> Self {
        Trial { context: Some(context), large_input: context.thresholds.input[0], ..self }
    }

    /// Trains the network that `network` describes from the parameters `w`, and each fixed one, and ranks the fixes.
    ///
    /// First each is trained from one seed, until the total number of steps is used up: the first fix of each
    /// [`Effort`](super::Effort), then the second of each. With the steps that are left, the better half of the fixes
    /// is trained from a second seed, and half of these from a third (successive halving, Jamieson & Talwalkar 2016).
    /// If the total is too small for the network as it is and one fix, the trial uses fewer steps. If a value of `w`
    /// is NaN or infinite, all trainings start from the first parameters of the run, also that of the network as it
    /// is.
    ///
    /// Trainings from parameters that the run has moved begin at a later step of the optimizer's schedules: the one
    /// from which the highest rate of the run falls in their middle. So do all trainings if a fix changes the rate,
    /// since it must hold where the rate is highest. Others begin at step 0, as the fixed run does.
    ///
    /// A fix that keeps trained parameters may keep what the fault has done to them. Unless it changes only rates,
    /// clipping or the schedule, or draws most parameters again, it is therefore also trained from where the run
    /// [began](Self::first_parameters), or from initial values if that is not known. If the fix lowers the loss from
    /// `w`, the better of the two trainings counts, otherwise the one from the beginning.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a run of 0 steps, and for 0 steps, seeds or samples of a batch; [`Error::TooLarge`]
    /// for too many steps. [`Error::InvalidState`] for a fix of another network. [`Error::Length`] if the length of
    /// `w`, or of the first parameters, is not the number of parameters. [`Error::CustomPart`] for a network with a
    /// custom part. The errors of [`LayerSpec::build`], [`Fix::apply`] and
    /// [`Trainer::step`](crate::trainer::Trainer::step); parameters that become NaN or infinite count as an infinite
    /// loss. With [`behind`](Self::behind) those of a [`Diagnosis`](crate::diagnosis::Diagnosis) of a fixed network.
    ///
    /// # Panics
    /// As [`Trainer::fit`](crate::trainer::Trainer::fit).
    pub fn run(&self, network: &LayerSpec, w: &[T], fixes: &[Fix]) -> Result<TrialReport, Error> {
        for (what, value) in [
            ("the steps of the run", self.length),
            ("the steps of a trial", self.steps),
            ("its batch size", self.batch_size),
            ("its seeds", self.seeds as usize),
        ] {
            require(value > 0, what, "at least 1", value as f64)?;
        }
        let built = network.build::<T>()?;
        require_length("parameters", built.dims().parameters, w.len())?;
        fixes.iter().try_for_each(|fix| fix.check_network(network))?;
        let starts = self.starts(&*built, w)?;
        let near_peak = NearPeak::of(fixes, starts.is_trained());
        let (fixes, measured) = self.with_measured_clips(network, &starts.today, fixes)?;
        let limit = self.limit.saturating_sub(measured);
        let mut report = Trial { limit, near_peak, ..*self }.run_measured(network, w, &fixes)?;
        report.steps += measured;
        Ok(report)
    }

    /// Runs the trial as [`run`](Self::run) does, for `fixes` in which the norm of each clip has been measured.
    fn run_measured(&self, network: &LayerSpec, w: &[T], fixes: &[Fix]) -> Result<TrialReport, Error> {
        let built = network.build::<T>()?;
        let starts = self.starts(&*built, w)?;
        let w = &*starts.today;
        if let Some(context) = self.context {
            let Trial { limit, .. } = *self;
            let look = self.steps_of_look(context);
            let reserved = look.saturating_add(DIAGNOSIS_PASSES);
            // Too few steps for the network as it is, one fix, and the look.
            let spared = if limit >= reserved.saturating_add(self.steps.saturating_mul(2)) { reserved } else { 0 };
            let alone = Trial { context: None, limit: limit - spared, ..*self };
            let mut report = alone.run_measured(network, w, fixes)?;
            if spared > 0 {
                let left = limit.saturating_sub(report.steps);
                let (behind, steps) = alone.look(context, [look, left], network, w, fixes, &report)?;
                report.behind = behind;
                report.steps += steps;
                self.add_seeds(network, w, fixes, &mut report)?;
                // The look was at another fix than that which further seeds show to help.
                let best = report.best();
                report.behind = report.behind.take().filter(|behind| best.is_none_or(|best| best == behind.fix));
            }
            return Ok(report);
        }
        let blocks = Blocks::collect(|visit| built.blocks(visit));
        let (limit, shortest) = (self.limit.max(2), (self.limit / 2).max(1));
        // Too few steps for the network as it is and one fix.
        if shortest < self.steps {
            return Trial { steps: shortest, limit, ..*self }.run_measured(network, w, fixes);
        }
        let left_out = self.left_out(network, w, fixes);
        // Both trainings without a fix take their parameters as they are, from each seed.
        let unchanged = |_: u64| self.as_it_is(network, w).map(|it| Some(self.begun(it, false)));
        let mut report = TrialReport {
            baseline: TrialOutcome::of("as it is", None),
            restarted: None,
            outcomes: Vec::new(),
            untried: Vec::new(),
            transform: setup::transforms(&*(self.transform)(), &blocks),
            behind: None,
            floor: task::floor(network.build()?, self.data, self.loss, &self.compared(self.data, &left_out))?,
            run: self.length,
            steps: 0,
        };
        self.adds(&mut report.baseline, 0, &left_out, &unchanged)?;
        report.steps = self.steps;
        let trained = starts.is_trained();
        for index in by_turns(fixes) {
            let fix = &fixes[index];
            let mut outcome = TrialOutcome::of(&format!("{}: {}", fix.name, fix.why), Some(index));
            outcome.is_restarted = trained && starts.is_restart(network, fix)?;
            let is_left = |used: usize, trainings| self.steps.saturating_mul(trainings) <= limit - used;
            // After three fixes a second seed of the best says more than another fix. For each seed a training is kept
            // for the network restarted without a fix, once a fix restarts it.
            let seeds = if self.seeds > 1 && report.outcomes.len() >= 3 { 2 } else { 1 };
            let restarts = report.outcomes.iter().any(|it| it.is_restarted);
            let kept = seeds * usize::from(restarts) + 2 * (seeds - 1);
            if !is_left(report.steps, 1 + kept) || !self.tries(fix, &mut outcome, 0, &left_out, (network, w))? {
                report.untried.push(outcome.name);
                continue;
            }
            report.steps += self.steps;
            let kept = seeds * usize::from(!report.outcomes.is_empty()) + 2 * (seeds - 1);
            let second = starts.second(network, fix)?.filter(|_| is_left(report.steps, 1 + kept));
            if let Some((fix, first)) = second {
                let mut other = TrialOutcome::of(&outcome.name, Some(index));
                (other.is_restarted, other.from_beginning) = (true, true);
                if self.tries(&fix, &mut other, 0, &left_out, (network, first))? {
                    report.steps += self.steps;
                    if !report.lowers(&outcome) || other.median() < outcome.median() {
                        outcome = other;
                    }
                }
            }
            report.outcomes.push(outcome);
        }
        report.untried.sort_by_key(|name| fixes.iter().position(|fix| name.starts_with(fix.name)));
        // A fix that starts elsewhere is behind a trained network: the network restarted without it tells both apart.
        let (began, place) = starts.beginning();
        let again = |_: u64| self.as_it_is(network, began).map(|it| Some(self.begun(it, true)));
        let restarts = report.outcomes.iter().any(|it| it.is_restarted);
        if restarts && report.best().is_none() && report.steps.saturating_add(self.steps) <= limit {
            let mut outcome = TrialOutcome::of(&format!("as it is, from {place}"), None);
            outcome.is_restarted = true;
            self.adds(&mut outcome, 0, &left_out, &again)?;
            report.restarted = Some(outcome);
            report.steps += self.steps;
        }
        // Of each further seed the better half of the fixes, as far as the steps go.
        let mut kept = report.outcomes.len();
        for seed in 1..self.seeds {
            // Further seeds go to the lowest losses: a fix that is near them and helps less shows nothing.
            report.outcomes.sort_by(|a, b| {
                b.losses.len().cmp(&a.losses.len()).then(a.median().total_cmp(&b.median())).then(a.fix.cmp(&b.fix))
            });
            let without = 1 + usize::from(report.restarted.is_some());
            kept = kept.div_ceil(2).min(((limit - report.steps) / self.steps).saturating_sub(without));
            if kept == 0 {
                break;
            }
            self.adds(&mut report.baseline, seed, &left_out, &unchanged)?;
            report.restarted.as_mut().map(|it| self.adds(it, seed, &left_out, &again)).transpose()?;
            for outcome in &mut report.outcomes[..kept] {
                self.tries_again(&starts, outcome, seed, &left_out, (network, fixes))?;
            }
            report.steps += (kept + without) * self.steps;
        }
        report.rank();
        Ok(report)
    }
}

/// Returns the indices of the fixes in the order in which they are tried: the first of each effort, then the second of
/// each. Fixes of one effort are alike, so a trial of few steps shows more with fixes of different efforts.
fn by_turns(fixes: &[Fix]) -> Vec<usize> {
    let turn = |at: &usize| fixes[..*at].iter().filter(|fix| fix.effort == fixes[*at].effort).count();
    let mut order: Vec<usize> = (0..fixes.len()).collect();
    order.sort_by_key(turn);
    order
}

impl Fix {
    /// Tries this fix alone: compares trainings, on the same batches, of the network that `network` describes, from
    /// the parameters `w`, without the fix and with it.
    ///
    /// # Errors
    /// Those of [`Trial::run`].
    ///
    /// # Panics
    /// As [`Trial::run`].
    pub fn trial<T: Scalar>(&self, network: &LayerSpec, w: &[T], trial: &Trial<'_, T>) -> Result<TrialReport, Error> {
        trial.run(network, w, core::slice::from_ref(self))
    }
}
