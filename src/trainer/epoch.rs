//! A training run: epochs, validation, early stopping.

use super::{
    Epoch, FitOptions, Progress, Run, Step, TrainConfig, Trainer, check::of_validation, options::OnStep, parts::Reader,
    trace,
};
#[cfg(doc)]
use crate::error::DataRule;
use crate::{
    batch_shape::BatchShape,
    clock::Clock,
    dataset::{Batch, Layout, Source},
    distributed::{Fingerprint, Requests},
    error::{Error, require},
    layer::Layer,
    loss::{Loss, Reduction},
    monitor::{Event, GradientMonitor},
    scalar::Scalar,
    transform::{GradientTransform, Outcome},
};
#[cfg(doc)]
use crate::{transform::Optimizer, workspace::Workspace};
use alloc::{boxed::Box, vec::Vec};

/// Sums of loss, weight and gradient norms over the updates of an epoch, from which the [`Epoch`] record is made.
#[derive(Default)]
struct EpochSum {
    /// The sum of the losses of applied (not skipped) updates. If the loss is a mean over rows, each term is
    /// multiplied by the total row weight of its update.
    loss: f64,
    /// The total loss weight of the target rows of applied (not skipped) updates.
    applied_weight: f64,
    /// The total loss weight of the target rows of all updates, applied or skipped.
    weight: f64,
    skipped: u64,
    samples: usize,
    /// Two pairs (sum of norms, number of terms) over the applied updates that have a record: for the gradient norm
    /// before clipping, and for that after clipping.
    norms: [(f64, u64); 2],
}

impl EpochSum {
    /// Adds the gradient norms in the record of an update, before and after clipping, to the sums of the epoch.
    fn add_norms(&mut self, step: &Step) {
        for (sum, norm) in self.norms.iter_mut().zip([Some(step.gradient_norm), step.clipped_norm]) {
            if let Some(norm) = norm {
                *sum = (sum.0 + norm, sum.1 + 1);
            }
        }
    }

    /// Returns the mean gradient norms of the epoch, \[before clipping, after clipping\]; `None` for a norm that no
    /// update recorded.
    fn mean_norms(&self) -> [Option<f64>; 2] {
        self.norms.map(|(sum, count)| (count > 0).then(|| sum / count as f64))
    }
}

/// The monitor and the callback of the updates of a fit, and flags that control its epochs.
struct EpochOptions<'a, 'f, T> {
    monitor: &'a mut dyn GradientMonitor<T>,
    on_step: Option<Box<OnStep<'f>>>,
    /// Whether a callback receives the record of each epoch, which has the mean gradient norms of its updates.
    reports: bool,
    /// Whether updates are timed: their records state the time, and a monitor receives these records.
    timed: bool,
    /// Whether a callback or monitor on any rank can end the run after an update.
    may_stop: bool,
    /// Whether a monitor on any rank stopped the run.
    stopped: bool,
}

impl Progress {
    /// Whether the training run is finished: all epochs of `settings` are done, or early stopping or a monitor ended
    /// it.
    fn is_finished(&self, settings: &TrainConfig) -> bool {
        self.stopped || self.epochs - self.began >= settings.epochs
    }
}

impl<T: Scalar, L: Layer<T>, C: Loss<T>, G: GradientTransform<T>> Trainer<T, L, C, G> {
    /// Whether the last run is finished: all its epochs are done, or early stopping or a monitor ended it. If so, the
    /// next [`fit`](Self::fit) starts another run; otherwise it continues this one.
    ///
    /// A checkpoint stores the progress of the run, so a program that saves after each epoch can continue after a
    /// crash:
    ///
    /// ```
    /// use chainrule::{dataset::Dataset, layer::Sequential, loss::{MeanSquaredError, Target}};
    /// use chainrule::{trainer::{FitOptions, TrainConfig, Trainer}, transform::Sgd};
    /// use std::ops::ControlFlow;
    /// let network = Sequential::<f64>::input(1).linear(1).build()?;
    /// let mut trainer = Trainer::new(network, MeanSquaredError::new(), Sgd::new(0.1), TrainConfig::default())?;
    /// let data = Dataset::rows(1, &[0.0, 1.0, 2.0], Target::Values(&[1.0, 3.0, 5.0]))?;
    /// let mut epochs = Vec::new();
    /// while !trainer.is_finished() {
    ///     epochs.extend(trainer.fit_with(&data, FitOptions::new().on_epoch(|_| ControlFlow::Break(())))?);
    ///     // feature `safetensors`: trainer.save("run.safetensors")?;
    /// }
    /// assert_eq!(epochs.len(), trainer.settings().epochs);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn is_finished(&self) -> bool {
        self.progress.is_finished(&self.settings)
    }

    /// Trains for one run: the number of epochs in the settings, or the rest of an interrupted run. Before the first
    /// update, it checks the width of the data and, for data in memory, the targets of all samples.
    ///
    /// A run that was interrupted, loaded, or given more epochs by [`set_epochs`](Self::set_epochs) is continued to
    /// its end. A run is finished after all epochs, by early stopping, or if a monitor
    /// [stops](GradientMonitor::should_stop) it. The next call is then another run with as many epochs. It starts
    /// from the current parameters and optimizer state, with new patience. Epochs are numbered through all runs.
    ///
    /// With [patience](TrainConfig::patience) every fit, even if a callback or an error ends it, returns with
    /// the parameters and buffers of the lowest validation loss. The next fit of the same run continues from the
    /// values of the last epoch. After an error, or after `parameters_mut`, `workspace_mut`, `optimizer_mut` or
    /// `step`, it continues from the best values. After an error, an optimizer whose state holds a value that is not
    /// finite is reset, with its schedules.
    ///
    /// # Errors
    /// [`Error::Parameter`] for settings of 0 epochs. [`Error::NothingCounts`] if all rows of `data` are masked or of
    /// an ignored class. [`Error::NonFiniteParameters`] if a parameter is NaN or infinite, unless the chain of
    /// transforms has [`SkipNonFinite`](crate::transform::SkipNonFinite). Parameters are checked at the start, after
    /// an update whose loss is not finite, every 64 updates, and after an epoch. [`Error::InvalidState`] for early
    /// stopping, which needs [`fit_with`](Self::fit_with), and for data without targets. [`DataRule::Width`] if the
    /// width of the data is not that of the network's input. [`Error::InvalidLayer`] if the last batch of an epoch
    /// has one row and the network a [`BatchNorm`](crate::layer::BatchNorm); [`DataRule::Index`] for an input that is
    /// not a valid index for an [`Embedding`](crate::layer::Embedding). With a truncation,
    /// [`LayerRule::StateLayout`](crate::LayerRule) for ragged data and a custom layer with a state. The errors of
    /// [`Batch::gather`], [`Workspace::forward`], [`Workspace::backward`], [`Loss::evaluate`] and [`Optimizer::step`]
    /// on `data`. [`Error::Ranks`] on [several ranks](Self::set_data_parallel) that differ, fail or do not answer.
    ///
    /// # Panics
    /// As [`Workspace::forward`].
    pub fn fit(&mut self, data: &dyn Source<T>) -> Result<Vec<Epoch>, Error> {
        self.fit_with(data, FitOptions::new())
    }

    /// Trains for one run, as [`fit`](Self::fit), with validation data, a monitor and callbacks. All validation data
    /// is checked before the first update, except inputs in files.
    ///
    /// # Errors
    /// The errors of [`fit`](Self::fit). [`DataRule::Validation`], with the error of [`evaluate`](Self::evaluate) as
    /// its reason, for the validation data; [`Error::NothingCounts`] if all rows of that data are masked or of an
    /// ignored class. [`Error::InvalidState`] for early stopping without validation data.
    ///
    /// # Panics
    /// As [`fit`](Self::fit).
    pub fn fit_with(&mut self, data: &dyn Source<T>, options: FitOptions<'_, T>) -> Result<Vec<Epoch>, Error> {
        T::trainer_fit(&mut self.settled()?, data, options)
    }
}

impl<T: Scalar> Run<'_, T> {
    /// Returns an error if a pass has too few rows for a layer that normalizes over the rows of a batch. `samples` is
    /// the number of samples of an epoch, `steps` the least number of time steps of a pass. It checks the two passes
    /// that may be small: the last one of a full update, and the last one of the last update of an epoch.
    fn check_last_passes(&self, samples: usize, steps: usize) -> Result<(), Error> {
        let size = self.settings.batch_size;
        let group = size.saturating_mul(self.settings.accumulation_steps);
        let check = |samples: usize, size: usize| match samples {
            0 => Ok(()),
            _ => self.workspace.check_rows(BatchShape::sequences((samples - 1) % size + 1, steps)),
        };
        for update in [samples.min(group), (samples - 1) % group + 1] {
            match self.parallel.as_deref() {
                None => check(update, size)?,
                Some(parallel) => {
                    let of_shard = |shard| parallel.samples_of(shard, update).len();
                    parallel.all_shards().try_for_each(|shard| {
                        let samples = of_shard(shard);
                        check(samples, size).map_err(|error| parallel.in_shard(error, shard, samples))
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Whether the run is finished, so that the next fit begins another one.
    pub(super) fn is_finished(&self) -> bool {
        self.progress.is_finished(self.settings)
    }

    /// Runs the remaining epochs of the run, and returns their records in order. Sets `within` to true if a callback
    /// ended the fit within an epoch, which then has no record.
    fn epochs(
        &mut self,
        reader: &mut Reader<'_, T>,
        options: FitOptions<'_, T>,
        within: &mut bool,
    ) -> Result<Vec<Epoch>, Error> {
        let FitOptions { validation, monitor, on_epoch: mut callback, on_step } = options;
        let (timed, mut none) = (monitor.is_some(), ());
        let may_stop = self.any_rank(timed || on_step.is_some())?;
        let monitor = monitor.unwrap_or(&mut none);
        let mut options =
            EpochOptions { monitor, on_step, reports: callback.is_some(), timed, may_stop, stopped: false };
        let mut epochs = Vec::new();
        self.find_finite()?;
        while !self.is_finished() {
            let _span = trace::epoch_span(self.progress.epochs + 1);
            let Some(mut epoch) = self.epoch(reader, &mut options)? else {
                *within = true;
                break;
            };
            if let Some(data) = validation {
                let own = self.evaluate("validation", data).map_err(of_validation);
                // Early stopping and learning rates depend on this loss, so it must be the same on all ranks.
                epoch.validation = Some(self.settle(own, |validation| {
                    let mut result = Fingerprint::default();
                    result.add("the loss of the validation", format_args!("{:?}", validation.loss));
                    result
                })?);
            }
            self.progress.epochs += 1;
            epochs.push(epoch);
            trace::epoch(&epoch);
            options.monitor.event(&Event::Epoch(&epoch));
            let metric = epoch.validation.map_or(epoch.loss, |validation| validation.loss);
            self.optimizer.on_metric(self.workspace.blocks(), metric)?;
            if let (Some(patience), Some(validation)) = (self.settings.patience, epoch.validation) {
                self.note_validation(patience, validation.loss);
            }
            let ends = callback.as_mut().is_some_and(|callback| callback(&epoch).is_break());
            options.stopped |= may_stop && self.any_rank(options.monitor.should_stop())?;
            self.progress.stopped |= options.stopped;
            if self.any_rank(ends)? {
                break;
            }
        }
        Ok(epochs)
    }

    /// If `loss` is below the lowest validation loss by more than `min_delta`, copies the current parameters and
    /// buffers to `best`, from which early stopping restores them. Copies the optimizer state too if it holds the
    /// weights of [`Trainer::result`]. Otherwise it counts the epoch, and stops the run after `patience` consecutive
    /// such epochs.
    fn note_validation(&mut self, patience: usize, loss: f64) {
        if loss < self.progress.best - self.settings.min_delta {
            (self.progress.best, self.progress.waited) = (loss, 0);
            self.keep_best();
        } else {
            self.progress.waited += 1;
            self.progress.stopped = self.progress.waited >= patience;
        }
    }

    /// Trains on all samples once, or on fewer if a monitor stops the run. Returns the record of the epoch, without
    /// the validation; `None` if a callback ended the fit within the epoch.
    fn epoch(
        &mut self,
        reader: &mut Reader<'_, T>,
        options: &mut EpochOptions<'_, '_, T>,
    ) -> Result<Option<Epoch>, Error> {
        let began = Clock::now();
        let learning_rate = self.optimizer.learning_rate(self.workspace.blocks());
        let mut order = core::mem::take(self.order);
        order.begin(reader.data.layout().samples, self.settings, self.progress.epochs as u64)?;
        let mean = self.loss.reduction() == Reduction::Mean;
        let (mut sum, mut ends, mut is_halted) = (EpochSum::default(), false, false);
        let group = self.settings.batch_size.saturating_mul(self.settings.accumulation_steps);
        while let Some(samples) = order.next(group)? {
            let EpochOptions { monitor, on_step, reports, timed, may_stop, stopped } = &mut *options;
            let always = *reports || on_step.is_some() || trace::takes_steps();
            let started = if always || *timed { Clock::now() } else { None };
            self.watch.begin(always, started);
            let mut is_made = false;
            let _span = trace::step_span();
            self.update(reader, samples, &mut **monitor, &mut |loss, weight, outcome, step| {
                is_made = true;
                sum.weight += weight;
                if outcome == Outcome::Skip {
                    sum.skipped += 1;
                } else {
                    sum.applied_weight += weight;
                    sum.loss += if mean { loss * weight } else { loss };
                }
                if let Some(step) = step {
                    trace::step(step);
                    if step.applied {
                        sum.add_norms(step);
                    }
                    ends |= on_step.as_mut().is_some_and(|on_step| on_step(step).is_break());
                }
            })?;
            sum.samples += if is_made { samples.len() } else { 0 };
            let requests = Requests { ends, stops: *may_stop && monitor.should_stop(), ..Requests::default() };
            if let Some(requests) = self.halts(requests) {
                // A callback interrupts the epoch, which has no record then; a monitor ends it.
                ends = requests.ends;
                *stopped = !ends;
                is_halted = true;
                break;
            }
        }
        *self.order = order;
        // The requests of an update are sent with the sum of the next one. After the last update they are sent here.
        if !is_halted && options.may_stop {
            ends = self.any_rank(ends)?;
            self.halts(Requests::default());
        }
        if ends {
            self.find_finite()?;
            return Ok(None);
        }
        if sum.weight == 0.0 && !options.stopped {
            return Err(Error::NothingCounts { data: "training" });
        }
        self.find_finite()?;
        let [gradient_norm, clipped_norm] = sum.mean_norms();
        let loss = match sum {
            EpochSum { applied_weight: 0.0, .. } => f64::NAN,
            EpochSum { loss, applied_weight, .. } if mean => loss / applied_weight,
            EpochSum { loss, .. } => loss,
        };
        Ok(Some(Epoch {
            epoch: self.progress.epochs + 1,
            loss,
            validation: None,
            steps: self.optimizer.steps(),
            skipped: sum.skipped,
            learning_rate,
            gradient_norm,
            clipped_norm,
            samples: sum.samples,
            seconds: began.map(Clock::seconds),
        }))
    }

    /// Implements [`Trainer::fit_with`]: trains for one run, or for the rest of an interrupted run.
    pub(crate) fn fit(&mut self, data: &dyn Source<T>, options: FitOptions<'_, T>) -> Result<Vec<Epoch>, Error> {
        self.agree(data, options.validation)?;
        require(self.settings.epochs > 0, "epochs", "at least 1", 0.0)?;
        if self.settings.patience.is_some() && options.validation.is_none() {
            return Err(Error::InvalidState {
                what: "early stopping (`TrainConfig::patience`)",
                needs: "validation data: `fit_with` and `FitOptions::validation`",
            });
        }
        // Invalid data is found here at the start, not when the batch with it is reached.
        let Layout { samples, steps, .. } = data.layout();
        let last_steps = (steps - 1) % self.pass_steps(steps) + 1;
        let checked = self.check_all(data, options.validation);
        let checked = checked.and_then(|()| self.check_last_passes(samples, last_steps));
        self.settle(checked, |()| Fingerprint::default())?;
        let mut batch = Batch::new(data, self.settings.batch_size);
        if self.is_finished() {
            *self.progress = Progress::after(self.progress.epochs);
            self.forget_best();
        }
        let resumed = self.progress.restored;
        if resumed {
            self.exchange_best();
        }
        let mut within = false;
        let epochs = self.epochs(&mut Reader { data, batch: &mut batch }, options, &mut within);
        let is_idle = epochs.as_ref().is_ok_and(Vec::is_empty);
        if self.settings.patience.is_some() && self.has_best() {
            if epochs.is_err() {
                self.return_to_best();
            } else if self.progress.waited > 0 || within || (resumed && is_idle) {
                self.exchange_best();
            }
        }
        epochs
    }
}
