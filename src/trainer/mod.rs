//! The common loop: shuffle, batch, forward, loss, backward, update, validate.

use crate::{
    batch_shape::BatchShape,
    dataset::{Batch, Dataset, first_non_finite},
    error::{Error, require, require_length},
    kernel::{aligned::Aligned, thread_pool::install_from},
    layer::{DropoutKey, Layer, Mode, initialize},
    loss::{Loss, Reduction, Target, accuracy},
    monitor::{GradientMonitor, Link},
    random::shuffle,
    scalar::{Scalar, scalar, to_f64},
    size::{filled, grow},
    transform::{GradientTransform, Optimizer, Outcome, check_rate},
    workspace::Workspace,
};
use alloc::vec::Vec;
use core::ops::ControlFlow;

/// How a [`Trainer`] runs.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TrainConfig {
    /// Samples in a batch; the last one of an epoch may have fewer. A batch larger than the data is the data:
    /// `usize::MAX` makes one batch of all samples.
    pub batch_size: usize,
    /// Batches whose gradients make one update. With a mean loss the update is that of one batch of them all.
    pub accumulation_steps: usize,
    /// Passes over the data in a run: see [`Trainer::fit`].
    pub epochs: usize,
    /// What initial weights, order and masks are drawn from.
    pub seed: u64,
    /// Whether the order of the samples is drawn anew each epoch.
    pub shuffle: bool,
    /// Epochs without a lower validation loss after which training stops; `None` never stops early. With patience, every
    /// run ends with the parameters of its lowest validation loss.
    pub patience: Option<usize>,
    /// Threads that run a step, the calling one counted: see [`Workspace::set_threads`]. Without the standard library, 1.
    pub threads: usize,
}

impl Default for TrainConfig {
    /// Batches of 32, 10 epochs, seed 0, shuffled, one thread.
    fn default() -> Self {
        TrainConfig {
            batch_size: 32,
            accumulation_steps: 1,
            epochs: 10,
            seed: 0,
            shuffle: true,
            patience: None,
            threads: 1,
        }
    }
}

/// What came of one epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Epoch {
    /// Its number, from 1.
    pub epoch: usize,
    /// The training loss over the updates that were applied: the mean over all that counted in them, or the sum with
    /// [`Reduction::Sum`]. NaN if none was applied.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub loss: f64,
    /// The validation data's loss and accuracy, where there is such data.
    pub validation: Option<Evaluation>,
    /// Updates made so far.
    pub steps: u64,
    /// Updates of this epoch that were skipped: by a transform, or because no row counted.
    pub skipped: u64,
}

/// What a network is worth on some data.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Evaluation {
    /// The loss.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub loss: f64,
    /// The share of the rows that count whose largest output is their class, for targets that are classes.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    pub accuracy: Option<f64>,
}

/// Who looks on while a trainer fits, and on what it is validated.
#[derive(Default)]
pub struct FitOptions<'a, T: Scalar> {
    validation: Option<&'a Dataset<'a, T>>,
    monitor: Option<&'a mut dyn GradientMonitor<T>>,
    progress: Option<&'a mut OnEpoch<'a>>,
}

/// What is called after each epoch.
type OnEpoch<'a> = dyn FnMut(&Epoch) -> ControlFlow<()> + 'a;

impl<'a, T: Scalar> FitOptions<'a, T> {
    /// Nobody.
    pub fn new() -> Self {
        FitOptions { validation: None, monitor: None, progress: None }
    }

    /// Data for validation after each epoch.
    #[must_use]
    pub fn validation(self, data: &'a Dataset<'a, T>) -> Self {
        FitOptions { validation: Some(data), ..self }
    }

    /// Who watches the gradients.
    #[must_use]
    pub fn monitor(self, monitor: &'a mut dyn GradientMonitor<T>) -> Self {
        FitOptions { monitor: Some(monitor), ..self }
    }

    /// What is called after each epoch; `Break` stops.
    #[must_use]
    pub fn progress(self, progress: &'a mut (dyn FnMut(&Epoch) -> ControlFlow<()> + 'a)) -> Self {
        FitOptions { progress: Some(progress), ..self }
    }
}

/// A network with its parameters, a loss, a transform and a workspace: the common loop in a few lines.
///
/// Everything it does can be done by hand with [`Workspace`], [`Batch`] and [`Optimizer`]. The run is a function of data,
/// settings and seed: at one [`CpuLevel`](crate::CpuLevel) two runs agree to the last bit, and so does one saved and resumed.
pub struct Trainer<T, L, C, G> {
    workspace: Workspace<T, L>,
    parameters: Aligned<T>,
    pub(crate) loss: C,
    optimizer: Optimizer<T, G>,
    pub(crate) settings: TrainConfig,
    order: Vec<usize>,
    pub(crate) progress: Progress,
    /// With patience: the parameters of the lowest validation loss or, where those are `restored`, the last ones.
    pub(crate) best: Vec<T>,
}

/// What is trained and how far it is; not the parameters themselves.
impl<T, L, C, G> core::fmt::Debug for Trainer<T, L, C, G>
where
    L: core::fmt::Debug,
    C: core::fmt::Debug,
    G: core::fmt::Debug,
{
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Trainer")
            .field("workspace", &self.workspace)
            .field("loss", &self.loss)
            .field("optimizer", &self.optimizer)
            .field("settings", &self.settings)
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

/// Where in a run a trainer stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Progress {
    /// Epochs done.
    pub epochs: usize,
    /// Epochs that were done before this run.
    pub began: usize,
    /// Epochs since the lowest validation loss.
    pub waited: usize,
    /// The lowest validation loss of the run.
    pub best: f64,
    /// Whether the patience ran out.
    pub stopped: bool,
    /// Whether the parameters are those of the lowest validation loss, and the last ones are kept beside them.
    pub restored: bool,
}

impl Progress {
    /// The beginning of a run after `epochs` epochs.
    fn after(epochs: usize) -> Self {
        Progress { epochs, began: epochs, waited: 0, best: f64::INFINITY, stopped: false, restored: false }
    }
}

/// The result of one update.
struct Updated {
    /// The loss over all parts; NaN where nothing counted.
    loss: f64,
    /// What the rows counted for in a mean.
    weight: f64,
    outcome: Outcome,
}

/// The sum of what an epoch's updates report.
#[derive(Default)]
struct EpochSum {
    /// The sum of the losses of applied updates, each times its weight in a mean.
    loss: f64,
    /// What the rows of applied updates counted for.
    applied_weight: f64,
    /// What all rows counted for.
    weight: f64,
    skipped: u64,
}

/// Samples of a batch for which a trainer makes memory before it sees the data.
const AT_ONCE: usize = 4096;

impl<T: Scalar, L: Layer<T>, C: Loss<T>, G: GradientTransform<T>> Trainer<T, L, C, G> {
    /// A trainer of `network` from initial weights drawn by the settings' seed, for samples of one step.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a batch, a number of parts to accumulate or a patience of 0. The errors of
    /// [`initialize`], [`Workspace::new`], [`Workspace::set_threads`] and [`Optimizer::new`].
    pub fn new(network: L, loss: C, transform: G, settings: TrainConfig) -> Result<Self, Error> {
        Self::for_sequences(network, loss, transform, settings, 1)
    }

    /// A trainer for sequences of up to `steps` steps.
    ///
    /// # Errors
    /// Those of [`new`](Self::new); [`Error::NoSteps`] for `steps` of 0.
    pub fn for_sequences(
        network: L,
        loss: C,
        transform: G,
        settings: TrainConfig,
        steps: usize,
    ) -> Result<Self, Error> {
        for (what, value) in [
            ("batch_size", settings.batch_size),
            ("accumulation_steps", settings.accumulation_steps),
            ("patience", settings.patience.unwrap_or(1)),
        ] {
            require(value > 0, what, "at least 1", value as f64)?;
        }
        let parameters = Aligned::copy_of("the parameters", &initialize(&network, settings.seed)?)?;
        // Memory for a larger batch is made when the data is there, which may be smaller.
        let batch = if settings.batch_size <= AT_ONCE { settings.batch_size } else { 1 };
        #[cfg_attr(not(feature = "std"), expect(unused_mut))]
        let mut workspace = Workspace::new(network, BatchShape::sequences(batch, steps))?;
        #[cfg(feature = "std")]
        workspace.set_threads(settings.threads)?;
        let optimizer = Optimizer::new(transform, workspace.blocks(), &parameters)?;
        let progress = Progress::after(0);
        Ok(Trainer { workspace, parameters, loss, optimizer, settings, order: Vec::new(), progress, best: Vec::new() })
    }

    /// Trains for one run: the epochs of the settings, or those that are left of it.
    ///
    /// A run that was interrupted, loaded, or given more epochs by [`set_epochs`](Self::set_epochs) is continued to its
    /// end. After a run that is done (all epochs, or early stopping) the next call is another run of as many epochs, from the
    /// present parameters and optimizer state, with new patience. Epochs are numbered through all runs.
    ///
    /// # Errors
    /// [`Error::NothingCounts`] where all rows of `data` are masked or of an ignored class.
    /// [`Error::NonFiniteParameters`] once a parameter is NaN or infinite, unless the chain has a guard.
    /// [`Error::InvalidState`] for early stopping, which needs [`fit_with`](Self::fit_with). The errors of [`Batch::gather`],
    /// [`Workspace::forward`], [`Workspace::backward`], [`Loss::evaluate`] and [`Optimizer::step`] on `data`.
    ///
    /// # Panics
    /// As [`Workspace::forward`].
    pub fn fit(&mut self, data: &Dataset<'_, T>) -> Result<Vec<Epoch>, Error> {
        self.fit_with(data, FitOptions::new())
    }

    /// [`fit`](Self::fit) with validation data, a monitor and a callback.
    ///
    /// # Errors
    /// Those of [`fit`](Self::fit); those of [`evaluate`](Self::evaluate) on the validation data; [`Error::InvalidState`] for
    /// early stopping without validation data.
    ///
    /// # Panics
    /// As [`fit`](Self::fit).
    pub fn fit_with(&mut self, data: &Dataset<'_, T>, observers: FitOptions<'_, T>) -> Result<Vec<Epoch>, Error> {
        if self.settings.patience.is_some() && observers.validation.is_none() {
            return Err(Error::InvalidState { what: "early stopping", needs: "validation data" });
        }
        let mut batch = Batch::new(data, self.settings.batch_size);
        if self.finished() && self.settings.epochs > 0 {
            self.progress = Progress::after(self.progress.epochs);
            self.best.clear();
        } else if self.progress.restored {
            self.exchange_best();
        }
        let epochs = self.run(data, &mut batch, observers);
        // An error may have left the parameters worse than those of the last epoch.
        let changed = self.progress.waited > 0 || epochs.is_err();
        if self.settings.patience.is_some() && changed && self.best.len() == self.parameters.len() {
            self.exchange_best();
        }
        epochs
    }

    /// Whether the run is done.
    fn finished(&self) -> bool {
        self.progress.stopped || self.progress.epochs - self.progress.began >= self.settings.epochs
    }

    /// Exchanges the last parameters and those of the lowest validation loss.
    fn exchange_best(&mut self) {
        self.parameters.swap_with_slice(&mut self.best);
        self.progress.restored = !self.progress.restored;
    }

    fn run(
        &mut self,
        data: &Dataset<'_, T>,
        batch: &mut Batch<T>,
        observers: FitOptions<'_, T>,
    ) -> Result<Vec<Epoch>, Error> {
        let FitOptions { validation, monitor, progress: mut callback } = observers;
        let mut none = ();
        let monitor = monitor.unwrap_or(&mut none);
        let mut epochs = Vec::new();
        while !self.finished() {
            let (loss, skipped) = self.epoch(data, batch, monitor)?;
            let validation = validation.map(|data| self.evaluate_as("validation", data)).transpose()?;
            self.progress.epochs += 1;
            let epoch = Epoch { epoch: self.progress.epochs, loss, validation, steps: self.optimizer.steps(), skipped };
            epochs.push(epoch);
            self.optimizer.on_metric(self.workspace.blocks(), validation.map_or(loss, |validation| validation.loss));
            if let (Some(patience), Some(validation)) = (self.settings.patience, validation) {
                self.note_validation(patience, validation.loss);
            }
            if callback.as_mut().is_some_and(|callback| callback(&epoch).is_break()) {
                break;
            }
        }
        Ok(epochs)
    }

    /// Keeps the parameters of the lowest validation loss, and counts the epochs since.
    fn note_validation(&mut self, patience: usize, loss: f64) {
        if loss < self.progress.best {
            (self.progress.best, self.progress.waited) = (loss, 0);
            self.best.clear();
            self.best.extend_from_slice(&self.parameters);
        } else {
            self.progress.waited += 1;
            self.progress.stopped = self.progress.waited >= patience;
        }
    }

    /// One pass over the data: the loss of the applied updates, and how many were skipped.
    fn epoch(
        &mut self,
        data: &Dataset<'_, T>,
        batch: &mut Batch<T>,
        monitor: &mut dyn GradientMonitor<T>,
    ) -> Result<(f64, u64), Error> {
        let mut order = core::mem::take(&mut self.order);
        order.clear();
        grow("the order of the samples", &mut order, data.samples())?;
        order.extend(0..data.samples());
        if self.settings.shuffle {
            shuffle(&mut order, self.settings.seed, self.progress.epochs as u64);
        }
        let mean = self.loss.reduction() == Reduction::Mean;
        let mut sum = EpochSum::default();
        let group = self.settings.batch_size.saturating_mul(self.settings.accumulation_steps);
        for samples in order.chunks(group) {
            let Updated { loss, weight, outcome } = self.update(data, batch, samples, monitor)?;
            sum.weight += weight;
            if outcome == Outcome::Skip {
                sum.skipped += 1;
                continue;
            }
            sum.applied_weight += weight;
            sum.loss += if mean { loss * weight } else { loss };
        }
        self.order = order;
        if sum.weight == 0.0 {
            return Err(Error::NothingCounts { data: "training" });
        }
        self.check_parameters()?;
        let loss = match sum {
            EpochSum { applied_weight: 0.0, .. } => f64::NAN,
            EpochSum { loss, applied_weight, .. } if mean => loss / applied_weight,
            EpochSum { loss, .. } => loss,
        };
        Ok((loss, sum.skipped))
    }

    /// Refuses parameters that are not finite, unless a guard decides about them.
    fn check_parameters(&self) -> Result<(), Error> {
        if self.optimizer.guarded() {
            return Ok(());
        }
        let Some(bad) = first_non_finite(&self.parameters) else { return Ok(()) };
        let block = self.workspace.blocks().at(bad).map(|block| block.name.clone().into_owned()).unwrap_or_default();
        Err(Error::NonFiniteParameters { block, step: self.optimizer.steps() })
    }

    /// One update from `samples` of `data`, in batches of the settings' size: the loss over all of them, and whether the
    /// update was applied. If no row counts (masked, or of an ignored class), the loss is NaN and the update is skipped.
    /// The workspace's gradient is overwritten by the update; a monitor sees the gradient before, once.
    ///
    /// # Errors
    /// [`Error::EmptyBatch`] without `samples`; [`Error::Sample`] for one that `data` does not have. [`Error::InvalidState`]
    /// for a `batch` made for other data. [`Error::NonFiniteParameters`] where the loss shows a parameter that is NaN
    /// or infinite, unless the chain has a guard. The errors of [`Workspace::forward`], [`Workspace::backward`],
    /// [`Loss::evaluate`] and [`Optimizer::step`].
    ///
    /// # Panics
    /// As [`fit`](Self::fit).
    pub fn step(
        &mut self,
        data: &Dataset<'_, T>,
        batch: &mut Batch<T>,
        samples: &[usize],
        monitor: &mut dyn GradientMonitor<T>,
    ) -> Result<(f64, Outcome), Error> {
        self.update(data, batch, samples, monitor).map(|updated| (updated.loss, updated.outcome))
    }

    fn update(
        &mut self,
        data: &Dataset<'_, T>,
        batch: &mut Batch<T>,
        samples: &[usize],
        monitor: &mut dyn GradientMonitor<T>,
    ) -> Result<Updated, Error> {
        if samples.is_empty() {
            return Err(Error::EmptyBatch);
        }
        self.workspace.reserve_batch(samples.len().min(self.settings.batch_size))?;
        // From the first loop of the step to the last the threads stay awake.
        let done = install_from(
            self,
            |trainer| trainer.workspace.pool(),
            |trainer| trainer.one_update(data, batch, samples, monitor),
        )?;
        // A loss that is not finite is the only sign that is free; the end of an epoch looks at all parameters.
        if !done.loss.is_finite() && done.outcome == Outcome::Apply {
            self.check_parameters()?;
        }
        Ok(done)
    }

    fn one_update(
        &mut self,
        data: &Dataset<'_, T>,
        batch: &mut Batch<T>,
        samples: &[usize],
        monitor: &mut dyn GradientMonitor<T>,
    ) -> Result<Updated, Error> {
        let width = self.workspace.dims().output;
        let per_step = per_step(self.workspace.network());
        let divided = samples.len() > self.settings.batch_size;
        // A mean over all samples weighs the means of the parts by what their rows count for.
        let mut whole = T::zero();
        for part in samples.chunks(self.settings.batch_size) {
            batch.choose(data, part, per_step)?;
            whole += self.loss.total_weight(width, batch.target(), batch.row_weights());
        }
        if whole.is_zero() {
            return Ok(Updated { loss: f64::NAN, weight: 0.0, outcome: Outcome::Skip });
        }
        let plain_rate = self.optimizer.transform().plain_rate().map(scalar::<T>);
        let plain_rate =
            plain_rate.filter(|&rate| !divided && !monitor.is_active() && check_rate::<T>(to_f64(rate)).is_ok());
        let (mut total, mut first) = (0.0, true);
        for (i, part) in samples.chunks(self.settings.batch_size).enumerate() {
            let mut share = T::one();
            if divided {
                batch.choose(data, part, per_step)?;
                let weight = self.loss.total_weight(width, batch.target(), batch.row_weights());
                if weight.is_zero() {
                    continue;
                }
                if self.loss.reduction() == Reduction::Mean {
                    share = weight / whole;
                }
            }
            let mut part_monitor;
            let monitor: &mut dyn GradientMonitor<T> = if divided {
                part_monitor = Part { monitor: &mut *monitor, first };
                &mut part_monitor
            } else {
                &mut *monitor
            };
            self.workspace.set_dropout_key(
                DropoutKey::new(self.settings.seed, self.optimizer.steps()).from_sample(i * self.settings.batch_size),
            );
            batch.write_input(data, self.workspace.input_mut(batch.extent())?)?;
            let output = self.workspace.forward_filled(&self.parameters, batch.extent(), Mode::Train, monitor)?;
            let loss = self.loss.evaluate(width, output.y, batch.target(), batch.row_weights(), output.dy);
            let mut loss = loss.map_err(|error| batch.in_data(data, per_step, error))?;
            if !share.is_one() {
                loss *= share;
                output.dy.iter_mut().for_each(|dy| *dy *= share);
            }
            total += to_f64(loss);
            if !total.is_finite() {
                self.check_parameters()?;
            }
            if let Some(rate) = plain_rate {
                self.workspace.descend(&mut self.parameters, rate)?;
                self.optimizer.note_step();
                return Ok(Updated { loss: total, weight: to_f64(whole), outcome: Outcome::Apply });
            }
            if first {
                self.workspace.backward_with(&self.parameters, monitor)?;
            } else {
                self.workspace.accumulate_with(&self.parameters, monitor)?;
            }
            first = false;
        }
        let (blocks, gradient) = self.workspace.blocks_and_gradient();
        if monitor.is_active() {
            if divided {
                monitor.gradient(blocks, &self.parameters, gradient);
            }
            monitor.loss(total);
        }
        let outcome = self.optimizer.step(blocks, &mut self.parameters, gradient, monitor)?;
        Ok(Updated { loss: total, weight: to_f64(whole), outcome })
    }

    /// Loss and accuracy on `data`, with dropout disabled.
    ///
    /// # Errors
    /// [`Error::NothingCounts`] where all rows of `data` are masked or of an ignored class. The errors of
    /// [`Batch::gather`], [`Workspace::infer`] and [`Loss::evaluate`] on `data`.
    ///
    /// # Panics
    /// As [`Workspace::infer`].
    pub fn evaluate(&mut self, data: &Dataset<'_, T>) -> Result<Evaluation, Error> {
        self.evaluate_as("evaluation", data)
    }

    fn evaluate_as(&mut self, name: &'static str, data: &Dataset<'_, T>) -> Result<Evaluation, Error> {
        let width = self.workspace.dims().output;
        let (mut loss, mut right, mut rows, mut total_weight) = (0.0, 0.0, 0, 0.0);
        let mut dy = filled(
            "the gradient of a loss",
            data.most_rows(self.settings.batch_size).saturating_mul(width),
            T::zero(),
        )?;
        let mean = self.loss.reduction() == Reduction::Mean;
        self.each_batch(data, |function, batch, y| {
            let (target, weights) = (batch.target(), batch.row_weights());
            let weight = to_f64(function.total_weight(width, target, weights));
            // A batch whose rows are all masked has no mean.
            if weight == 0.0 {
                return Ok(());
            }
            let part = to_f64(function.evaluate(width, y, target, weights, &mut dy[..y.len()])?);
            loss += if mean { part * weight } else { part };
            total_weight += weight;
            if let Target::Classes(classes) = target {
                for (row, y) in y.chunks(width).enumerate() {
                    // What does not count in the loss (masked, of an ignored class) does not count here.
                    let class = &classes[row..=row];
                    let weight = weights.map(|weights| &weights[row..=row]);
                    if !function.total_weight(width, Target::Classes(class), weight).is_zero() {
                        right += accuracy(width, y, class)?;
                        rows += 1;
                    }
                }
            }
            Ok(())
        })?;
        if total_weight == 0.0 {
            return Err(Error::NothingCounts { data: name });
        }
        if mean {
            loss /= total_weight;
        }
        Ok(Evaluation { loss, accuracy: (rows > 0).then(|| right / rows as f64) })
    }

    /// The mean over the samples of `data` of a metric of your own, without noise: it is given the width, the output
    /// and the targets of one batch at a time.
    ///
    /// # Errors
    /// The errors of [`Batch::gather`] and [`Workspace::infer`] on `data`.
    ///
    /// # Panics
    /// As [`Workspace::infer`].
    pub fn metric(
        &mut self,
        data: &Dataset<'_, T>,
        mut metric: impl FnMut(usize, &[T], Target<'_, T>) -> f64,
    ) -> Result<f64, Error> {
        let width = self.workspace.dims().output;
        let mut sum = 0.0;
        self.each_batch(data, |_, batch, y| {
            sum += metric(width, y, batch.target()) * batch.samples().len() as f64;
            Ok(())
        })?;
        Ok(sum / data.samples() as f64)
    }

    /// Runs the network over `data`, batch by batch in order.
    fn each_batch(
        &mut self,
        data: &Dataset<'_, T>,
        mut visit: impl FnMut(&C, &Batch<T>, &[T]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let per_step = per_step(self.workspace.network());
        let mut batch = Batch::new(data, self.settings.batch_size);
        self.workspace.reserve_batch(data.samples().min(self.settings.batch_size))?;
        let mut order = Vec::new();
        grow("the order of the samples", &mut order, data.samples())?;
        order.extend(0..data.samples());
        for part in order.chunks(self.settings.batch_size) {
            batch.gather(data, part, per_step)?;
            let y = self.workspace.infer(&self.parameters, batch.x(), batch.extent())?;
            visit(&self.loss, &batch, y).map_err(|error| batch.in_data(data, per_step, error))?;
        }
        Ok(())
    }

    /// The network's output for some rows, without noise: \[rows of the output, output\].
    ///
    /// # Errors
    /// Those of [`Workspace::infer`]; a batch larger than that of the settings may be [`Error::BeyondCapacity`].
    /// [`Error::TooLarge`] where memory cannot hold the batch.
    ///
    /// # Panics
    /// As [`Workspace::infer`].
    pub fn predict(&mut self, x: &[T], extent: BatchShape<'_>) -> Result<&[T], Error> {
        if extent.batch <= self.settings.batch_size {
            extent.check()?;
            require_length("input", extent.rows().saturating_mul(self.network().dims().input), x.len())?;
            self.workspace.reserve_batch(extent.batch)?;
        }
        self.workspace.infer(&self.parameters, x, extent)
    }

    /// The network.
    pub fn network(&self) -> &L {
        self.workspace.network()
    }

    /// The settings.
    pub fn settings(&self) -> &TrainConfig {
        &self.settings
    }

    /// Sets the number of epochs of a run. More than are done continue a run that is done: see [`fit`](Self::fit).
    pub fn set_epochs(&mut self, epochs: usize) {
        self.settings.epochs = epochs;
    }

    /// The parameters, in the layout of [`Workspace::blocks`].
    pub fn parameters(&self) -> &[T] {
        &self.parameters
    }

    /// Whether early stopping ended the last run: its patience ran out before its epochs.
    pub fn stopped_early(&self) -> bool {
        self.progress.stopped
    }

    /// The parameters, to be changed. Training continues from them, also where early stopping had restored the best ones.
    pub fn parameters_mut(&mut self) -> &mut [T] {
        if core::mem::take(&mut self.progress.restored) {
            self.best.copy_from_slice(&self.parameters);
        }
        &mut self.parameters
    }

    /// The parameters of one block.
    ///
    /// # Errors
    /// [`Error::UnknownBlock`] where no block has that whole name.
    pub fn block(&self, name: &str) -> Result<&[T], Error> {
        Ok(&self.parameters[self.workspace.blocks().get(name)?.range.clone()])
    }

    /// The moving average of the parameters, where the transform keeps one.
    pub fn averaged_parameters(&self) -> Option<&[T]> {
        self.optimizer.averaged_weights(self.workspace.blocks())
    }

    /// The workspace: blocks, gradient, freezing.
    pub fn workspace(&self) -> &Workspace<T, L> {
        &self.workspace
    }

    /// The workspace, to be changed.
    pub fn workspace_mut(&mut self) -> &mut Workspace<T, L> {
        &mut self.workspace
    }

    /// The optimiser and its state.
    pub fn optimizer(&self) -> &Optimizer<T, G> {
        &self.optimizer
    }

    /// The optimiser, to be changed.
    pub fn optimizer_mut(&mut self) -> &mut Optimizer<T, G> {
        &mut self.optimizer
    }
}

/// Whether a network's output has a row for each step of a sample.
fn per_step<T: Scalar>(network: &impl Layer<T>) -> bool {
    network.extent(BatchShape::sequences(1, 2)).steps == 2
}

/// The monitor of one part of an accumulated update, without its gradient: the trainer reports the whole one.
struct Part<'a, T: Scalar> {
    monitor: &'a mut dyn GradientMonitor<T>,
    first: bool,
}

impl<T: Scalar> GradientMonitor<T> for Part<'_, T> {
    fn begin_pass(&mut self) {
        if self.first { self.monitor.begin_pass() } else { self.monitor.begin_part() }
    }
    fn is_active(&self) -> bool {
        self.monitor.is_active()
    }
    fn forward(&mut self, at: &Link<'_>, x: &[T], y: &[T]) {
        self.monitor.forward(at, x, y);
    }
    fn backward(&mut self, at: &Link<'_>, dy: &[T], dx: &[T]) {
        self.monitor.backward(at, dy, dx);
    }
}
