//! Fixes applied to a run: network, parameters, data, optimizer and settings.

use super::{Change, Fix, FixContext, FixedTrainer, Trial, TrialReport, suggest_fixes, training::Candidate};
use crate::{
    block::Blocks,
    dataset::{Batch, Dataset, Standardize},
    diagnosis::{setup, task},
    error::{Error, require_length},
    layer::{LayerSpec, finite_or_initial},
    loss::{Loss, Target},
    monitor::Statistics,
    scalar::Scalar,
    trainer::{TrainConfig, Trainer},
    transform::{ClipNorm, GradientTransform, Schedule, Unordered},
};
use alloc::{borrow::Cow, boxed::Box, vec::Vec};
use core::fmt;

/// The number of training steps in which a trial measures the typical norm of the gradient.
const MEASURED: usize = 5;

/// A run with a fix applied, ready to train: `run.trainer.fit(&run.data)`. [`Trial::apply`] makes it.
#[derive(Debug)]
#[non_exhaustive]
pub struct FixedRun<'a, T: Scalar> {
    /// The trainer of the fixed network, with the optimizer and the settings after the fix. After a standardization,
    /// its [models](Trainer::into_model) take inputs and return outputs in the scale that the data had before.
    pub trainer: FixedTrainer<T, &'a dyn Loss<T>, Box<dyn GradientTransform<T>>>,
    /// The training data after the fix.
    pub data: Dataset<'a, T>,
}

impl<T: Scalar> FixedRun<'_, T> {
    /// Standardizes other data, such as that for validation, as the fix does the training data. Data is returned as it
    /// is if the fix does not standardize.
    ///
    /// # Errors
    /// Those of [`Standardize::inputs`] and [`Standardize::targets`].
    pub fn standardized<'d>(&self, data: &Dataset<'d, T>) -> Result<Dataset<'d, T>, Error> {
        let scales = &self.trainer.interface;
        let data = scales.inputs.as_ref().map_or_else(|| Ok(data.clone()), |scale| scale.inputs(data))?;
        scales.outputs.as_ref().map_or_else(|| Ok(data.clone()), |scale| scale.targets(&data))
    }
}

/// The result of [`Trial::apply_best`]: the proposed fixes, the trial of them, and the run with the best one.
#[derive(Debug)]
#[non_exhaustive]
pub struct AppliedTrial<'a, T: Scalar> {
    /// The proposed fixes. A clip at a norm that the context does not know has the norm that the trial measured.
    pub fixes: Vec<Fix>,
    /// The losses of short trainings with each fix and without any.
    pub trial: TrialReport,
    /// The run with the fix that helped most. If no fix helped in the trial, it is the run with the fix of
    /// [`TrialReport::choice`]. `None` if there is no such fix, or it cannot be applied.
    pub run: Option<FixedRun<'a, T>>,
}

/// Writes the outcome of the trial. If no fix helped, the fix that was applied nevertheless follows, with the reason.
impl<T: Scalar> fmt::Display for AppliedTrial<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.trial)?;
        match self.trial.choice().filter(|_| self.trial.best().is_none()) {
            Some(fix) => {
                let removes = self.trial.removing().is_some();
                let why = if removes { "it removes the fault" } else { "it does no harm" };
                write!(f, "\n  applied, since {why}: {}", fix.name)
            }
            None => Ok(()),
        }
    }
}

impl<'a, T: Scalar> Trial<'a, T> {
    /// Proposes fixes for the finding of `context`, tries them, and applies the best.
    ///
    /// It is [`suggest_fixes`], [`run`](Self::run) and [`apply`](Self::apply) in one. `w` are the parameters of the
    /// network of `context`, and `settings` the training settings of the fixed run; their seed draws the parameters
    /// that the fix redraws. The fixed run starts where the better training of the fix did: from `w`, or from where
    /// the run began.
    ///
    /// ```
    /// use chainrule::{Layer, dataset::Dataset, diagnosis::{Diagnosis, FixContext, Trial}, layer::Sequential};
    /// use chainrule::{loss::{MeanSquaredError, Target}, monitor::Statistics, theory::InputStatistics};
    /// use chainrule::{trainer::{FitOptions, TrainConfig, Trainer}, transform::{GradientTransform, Sgd}};
    /// // Columns of very different size.
    /// let raw: Vec<f32> = (0..256).map(|i| 40.0 + (i as f32 * 2.4).sin() * [1.0, 300.0][i % 2]).collect();
    /// let y: Vec<f32> = raw.chunks(2).map(|x| x[0] - 40.0).collect();
    /// let (data, loss) = (Dataset::rows(2, &raw, Target::Values(&y))?, MeanSquaredError::new());
    /// let network = Sequential::<f32>::input(2).linear(16).tanh().linear(16).tanh().linear(1).build()?;
    /// let optimizer = || Box::new(Sgd::new(0.03)) as Box<dyn GradientTransform<f32>>;
    /// let (mut statistics, settings) = (Statistics::new(), TrainConfig { epochs: 20, ..TrainConfig::default() });
    /// let mut trainer = Trainer::new(network, &loss, optimizer(), settings)?;
    /// let sick = trainer.fit_with(&data, FitOptions::new().monitor(&mut statistics))?;
    ///
    /// let (inputs, w) = (InputStatistics::of_samples(2, data.inputs())?, trainer.parameters().to_vec());
    /// let diagnosis = Diagnosis::new(trainer.network(), inputs)?.statistics(&statistics).task(&w, &data, &loss)?;
    /// let (report, spec) = (diagnosis.report(), Layer::<f32>::spec(trainer.network()));
    /// let context = FixContext::new(&spec, inputs, report.root().expect("unscaled inputs")).statistics(&statistics);
    /// let applied = Trial::new(&data, &loss, &optimizer, 1000).apply_best(&context, &w, settings)?;
    /// println!("{applied}");
    /// let mut run = applied.run.expect("a fix that helped");
    /// let epochs = run.trainer.fit(&run.data)?;
    /// assert!(epochs[19].loss < 0.5 * sick[19].loss);
    /// let predicted = run.trainer.into_model()?.predict(&data)?; // of the data as it was
    /// # assert!(predicted.iter().zip(&y).all(|(p, y)| (p - y).abs() < 1.5), "{predicted:?}");
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`suggest_fixes`], [`run`](Self::run) and [`apply`](Self::apply).
    ///
    /// # Panics
    /// As [`run`](Self::run).
    pub fn apply_best(
        &self,
        context: &FixContext<'_>,
        w: &[T],
        settings: TrainConfig,
    ) -> Result<AppliedTrial<'a, T>, Error> {
        let network = context.network.build::<T>()?;
        let blocks = Blocks::collect(|visit| network.blocks(visit));
        let momentum = match context.momentum > 0.0 {
            true => context.momentum,
            false => setup::momentum(&*(self.transform)(), &blocks),
        };
        let own_rate = self.own_rate(&*network, w);
        let divides = setup::is_proportional(&*(self.transform)(), &blocks) == Some(false);
        let fixes = suggest_fixes(&FixContext { momentum, own_rate, divides, ..context.clone() })?;
        let this = Trial { first_parameters: self.first_parameters.or(context.first_parameters), ..*self };
        let (fixes, measured) = this.with_measured_clips(context.network, &this.starts(&*network, w)?.today, &fixes)?;
        let mut trial = Trial { limit: this.limit.saturating_sub(measured), ..this }.run(context.network, w, &fixes)?;
        trial.steps += measured;
        let run = trial.choice().and_then(|best| Some((best, &fixes[best.fix?]))).map(|(best, fix)| {
            let starts = this.starts(&*network, w)?;
            match starts.second(context.network, fix)?.filter(|_| best.from_beginning) {
                Some((fix, first)) => self.apply(context.network, first, &fix, settings),
                None => self.apply(context.network, &starts.today, fix, settings),
            }
        });
        // A fix that no trial shows to help is no reason to lose the report.
        let run = if trial.best().is_some() { run.transpose()? } else { run.and_then(Result::ok) };
        Ok(AppliedTrial { fixes, trial, run })
    }

    /// Applies a fix to the run: `network` with the parameters `w`, and the data, loss and optimizer of the trial.
    ///
    /// Survivors keep their parameters; others are drawn from the seed of `settings`. Blocks with a value that is not
    /// finite do not survive. If the fix draws no parameters, one such value replaces all of `w` by initial values of
    /// the seed 0. Data, optimizer or settings change if the fix says so.
    ///
    /// # Errors
    /// [`Error::InvalidState`] for weight decay and frozen blocks inside the optimizer, without
    /// [`settings`](Self::settings), and for a longer schedule or a held rate without a schedule that varies. The
    /// same error is returned for standardized targets and a loss whose outputs are not targets, and for a fix that
    /// leaves no sample. [`Error::Length`] if the length of `w` is not the number of parameters. The errors of
    /// [`Fix::apply`], [`Lsuv::apply`](super::Lsuv::apply), [`Standardize::fit`] and [`Trainer::new`].
    ///
    /// # Panics
    /// As [`Lsuv::apply`](super::Lsuv::apply).
    pub fn apply(
        &self,
        network: &LayerSpec,
        w: &[T],
        fix: &Fix,
        settings: TrainConfig,
    ) -> Result<FixedRun<'a, T>, Error> {
        let fix = self.fitted(network, w, fix)?;
        self.check_change(network, &fix.change)?;
        let changed = self.changed_data(&fix)?;
        if changed.is_none() && matches!(fix.change, Change::LeaveOut(_)) {
            return Err(Error::InvalidState { what: "leaving samples out", needs: "at least 1 sample that stays" });
        }
        let data = changed.unwrap_or_else(|| self.data.clone());
        let Candidate { network, parameters, transform, .. } = self.prepared(network, w, &fix, &data, settings.seed)?;
        let settings = match fix.change {
            // A block that stays together would keep its samples in one batch.
            Change::Shuffle => TrainConfig { shuffle: true, shuffle_block: None, ..settings },
            _ => settings,
        };
        let mut trainer = Trainer::new(network, self.loss, transform, settings)?;
        require_length("parameters", trainer.parameters().len(), parameters.len())?;
        trainer.parameters_mut().copy_from_slice(&parameters);
        match &fix.change {
            Change::Standardize(columns) => trainer.interface.inputs = Some(columns.clone()),
            Change::StandardizeTargets(columns) => trainer.interface.outputs = Some(columns.clone()),
            _ => {}
        }
        Ok(FixedRun { trainer, data })
    }

    /// Returns `fix` with the values that it leaves to be measured on the trial's data. These are the standardization
    /// for [`Change::FitInputs`] and [`Change::FitTargets`], and the samples for [`Change::FitLeaveOut`]. For
    /// [`Change::FitClip`] it is the norm of the gradient in a few steps of the network from `w`.
    pub(super) fn fitted<'f>(&self, network: &LayerSpec, w: &[T], fix: &'f Fix) -> Result<Cow<'f, Fix>, Error> {
        let change = match fix.change {
            Change::FitInputs => Change::Standardize(Standardize::fit(self.data)?),
            Change::FitLeaveOut => {
                let found = task::large_inputs(self.data, self.large_input);
                let needs = "samples whose inputs are far larger than those of the others";
                Change::LeaveOut(found.ok_or(Error::InvalidState { what: "leaving samples out", needs })?)
            }
            Change::FitTargets => {
                let width = self.loss.target_width(network.widths().1);
                Change::StandardizeTargets(Standardize::fit_targets(width, self.data)?)
            }
            Change::FitClip => {
                let (mut seen, as_it_is) = (Statistics::new(), self.as_it_is(network, w)?);
                self.trained(as_it_is, 0, &mut [0.0; MEASURED], &mut seen)?;
                let norm = Some(seen.run().typical_norm()).filter(|norm| norm.is_finite() && *norm > 0.0);
                let needs = "a gradient that is finite and not 0";
                Change::ClipNorm(norm.ok_or(Error::InvalidState { what: "clipping at the typical norm", needs })?)
            }
            _ => return Ok(Cow::Borrowed(fix)),
        };
        Ok(Cow::Owned(Fix { change, ..fix.clone() }))
    }

    /// Returns `fixes` with [`Change::FitClip`] [measured](Self::fitted), and the number of steps that it took. A clip
    /// that cannot be measured, or for which the total has too few steps, stays a `FitClip`, which is not tried.
    pub(super) fn with_measured_clips(
        &self,
        network: &LayerSpec,
        w: &[T],
        fixes: &[Fix],
    ) -> Result<(Vec<Fix>, usize), Error> {
        let (mut fixes, mut steps) = (fixes.to_vec(), 0);
        for fix in fixes.iter_mut().filter(|fix| fix.change == Change::FitClip) {
            if steps + 2 * MEASURED >= self.limit {
                break;
            }
            steps += MEASURED;
            if let Ok(Cow::Owned(fitted)) = self.fitted(network, w, fix) {
                *fix = fitted;
            }
        }
        Ok((fixes, steps))
    }

    /// Returns the data after the fix; `None` if the fix does not change the data, or would leave no sample.
    pub(super) fn changed_data(&self, fix: &Fix) -> Result<Option<Dataset<'a, T>>, Error> {
        Ok(match (&fix.change, self.data.targets()) {
            (Change::Standardize(columns), _) => Some(columns.inputs(self.data)?),
            (Change::StandardizeTargets(columns), Some(Target::Values(_))) => Some(columns.targets(self.data)?),
            (Change::LeaveOut(samples), _) => {
                let mut sorted = samples.clone();
                sorted.sort_unstable();
                let is_kept = |sample: &usize| sorted.binary_search(sample).is_err();
                let others: Vec<usize> = (0..self.data.samples()).filter(is_kept).collect();
                if others.is_empty() { None } else { Some(self.data.select(&others)?) }
            }
            _ => None,
        })
    }

    /// Returns the optimizer of the run with `change` applied, from [`Trial::settings`]; `None` if that function is
    /// not set, or returns `None` for the change.
    fn set(&self, change: &Change) -> Option<Box<dyn GradientTransform<T>>> {
        self.settings.and_then(|settings| settings(change))
    }

    /// Refuses [`Change::TrainBlock`] and [`Change::WithoutDecay`], which are inside the optimizer, unless
    /// [`Trial::settings`] apply them, and a longer schedule or a held rate if the optimizer has no schedule either.
    /// Refuses standardized targets for classes, and for a loss without one target value for each output.
    fn check_change(&self, network: &LayerSpec, change: &Change) -> Result<(), Error> {
        let (what, needs) = match change {
            Change::TrainBlock(_) | Change::WithoutDecay if self.set(change).is_none() => {
                ("a change inside the optimizer", "`Trial::settings`, which returns the optimizer with the change")
            }
            Change::LongerSchedule { .. } | Change::HoldRate(_)
                if self.set(change).is_none() && !self.is_scheduled() =>
            {
                ("another schedule", "a `Schedule` that varies in the optimizer, or `Trial::settings`")
            }
            // Not all outputs have the scale of the targets, for example if some are variances.
            Change::StandardizeTargets(_)
                if self.loss.target_width(network.widths().1) != network.widths().1
                    || !matches!(self.data.targets(), Some(Target::Values(_))) =>
            {
                ("a standardization of targets", "a loss with one value as target for each output")
            }
            _ => return Ok(()),
        };
        Err(Error::InvalidState { what, needs })
    }

    /// Returns the network, parameters and optimizer that a trial trains for `fix` on `data`; `seed` draws the
    /// parameters that the fix redraws. `None` if the trial cannot apply the change, or only shuffling is proposed and
    /// all trainings shuffle.
    pub(super) fn candidate<'c>(
        &'c self,
        network: &LayerSpec,
        w: &[T],
        fix: &'c Fix,
        data: &'c Dataset<'c, T>,
        seed: u64,
    ) -> Result<Option<Candidate<'c, T>>, Error> {
        let shuffles = fix.change == Change::Shuffle && !self.in_order;
        if shuffles || self.check_change(network, &fix.change).is_err() {
            return Ok(None);
        }
        match self.prepared(network, w, fix, data, seed) {
            Err(_) if matches!(fix.change, Change::Lsuv(_)) => Ok(None),
            prepared => prepared.map(Some),
        }
    }

    /// Returns network, parameters, data and optimizer with a fix that [`check_change`](Self::check_change) accepts.
    /// `data` has the change already; `seed` draws the parameters that the fix redraws.
    fn prepared<'c>(
        &'c self,
        network: &LayerSpec,
        w: &[T],
        fix: &'c Fix,
        data: &'c Dataset<'c, T>,
        seed: u64,
    ) -> Result<Candidate<'c, T>, Error> {
        let set = self.set(&fix.change);
        let is_set = set.is_some();
        let (mut transform, mut columns) = (set.unwrap_or_else(self.transform), None);
        let (network, mut parameters) = match fix.apply::<T>(network, w, seed)? {
            Some(fixed) => (fixed.network, fixed.parameters),
            None => {
                let network = network.build::<T>()?;
                let parameters = finite_or_initial(&*network, w)?.into_owned();
                (network, parameters)
            }
        };
        match &fix.change {
            Change::ClipNorm(norm) if !is_set => transform = Box::new(Unordered((ClipNorm::new(*norm), transform))),
            Change::LearningRate(factor) if !is_set => {
                transform = Box::new(Unordered((transform, Schedule::constant(*factor))));
            }
            Change::LongerSchedule { ended, runs } if !is_set => {
                let length = u64::try_from(self.length).unwrap_or(u64::MAX).saturating_mul(*runs);
                let times = length.div_ceil((*ended).max(1)).max(2);
                transform.schedules(&mut |schedule| schedule.stretch(times));
            }
            Change::HoldRate(factor) if !is_set => {
                transform.schedules(&mut Schedule::hold);
                transform = Box::new(Unordered((transform, Schedule::constant(*factor))));
            }
            Change::StandardizeTargets(of) => columns = Some(of),
            Change::Lsuv(lsuv) => {
                let samples: Vec<usize> = (0..self.data.samples().min(self.batch_size)).collect();
                let mut batch = Batch::new(data, samples.len());
                batch.gather(data, &samples, crate::workspace::per_step(&*network)?)?;
                lsuv.apply_time_major(&*network, &mut parameters, batch.x(), batch.shape())?;
            }
            _ => {}
        }
        let in_order = self.in_order && fix.change != Change::Shuffle;
        let compared = if matches!(fix.change, Change::LeaveOut(_)) { self.data } else { data };
        Ok(Candidate { network, parameters, data, compared, transform, in_order, targets: columns })
    }
}
