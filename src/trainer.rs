//! The common loop: shuffle, batch, forward, loss, backward, update, validate.

use crate::{
    data::{Batch, Data},
    error::{Error, require},
    extent::Extent,
    initializer::{generator, sample::below},
    kernel::{aligned::Aligned, team::during},
    layer::{Layer, Mode, Noise, initialize},
    loss::{Loss, Reduction, Target, accuracy},
    monitor::GradientMonitor,
    scalar::{Scalar, scalar, to_f64},
    tape::Tape,
    transform::{GradientTransform, Optimizer, Outcome, check_rate},
};
use alloc::vec::Vec;
use core::ops::ControlFlow;

/// How a [`Trainer`] runs.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Settings {
    /// Samples in a batch; the last one of an epoch may have fewer.
    pub batch: usize,
    /// Batches whose gradients make one update. With a mean loss the update is that of one batch of them all.
    pub accumulate: usize,
    /// Times the data is gone through.
    pub epochs: usize,
    /// What initial weights, order and masks are drawn from.
    pub seed: u64,
    /// Whether the order of the samples is drawn anew each epoch.
    pub shuffle: bool,
    /// Epochs without a better validation loss after which training stops and the best weights come back;
    /// `None` never stops early.
    pub patience: Option<usize>,
    /// Threads that run a step, the calling one counted: see [`Tape::set_threads`]. Without the standard library, 1.
    pub threads: usize,
}

impl Default for Settings {
    /// Batches of 32, 10 epochs, seed 0, shuffled, one thread.
    fn default() -> Self {
        Settings { batch: 32, accumulate: 1, epochs: 10, seed: 0, shuffle: true, patience: None, threads: 1 }
    }
}

/// What came of one epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Epoch {
    /// Its number, from 1.
    pub epoch: usize,
    /// The mean training loss of its batches, as they were met.
    pub loss: f64,
    /// The validation data's loss and accuracy, where there is such data.
    pub validation: Option<Evaluation>,
    /// Updates made so far.
    pub steps: u64,
    /// Updates this epoch that were skipped by a transform.
    pub skipped: u64,
}

/// What a network is worth on some data.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Evaluation {
    /// The loss.
    pub loss: f64,
    /// The share of the rows that count whose largest output is their class, for targets that are classes.
    pub accuracy: Option<f64>,
}

/// Who looks on while a trainer fits, and on what it is validated.
#[derive(Default)]
pub struct Observers<'a, T: Scalar> {
    validation: Option<&'a Data<'a, T>>,
    monitor: Option<&'a mut dyn GradientMonitor<T>>,
    progress: Option<&'a mut OnEpoch<'a>>,
}

/// What is called after each epoch.
type OnEpoch<'a> = dyn FnMut(&Epoch) -> ControlFlow<()> + 'a;

impl<'a, T: Scalar> Observers<'a, T> {
    /// Nobody.
    pub fn new() -> Self {
        Observers { validation: None, monitor: None, progress: None }
    }

    /// Data for validation after each epoch.
    #[must_use]
    pub fn validation(self, data: &'a Data<'a, T>) -> Self {
        Observers { validation: Some(data), ..self }
    }

    /// Who watches the gradients.
    #[must_use]
    pub fn monitor(self, monitor: &'a mut dyn GradientMonitor<T>) -> Self {
        Observers { monitor: Some(monitor), ..self }
    }

    /// What is called after each epoch; `Break` stops.
    #[must_use]
    pub fn progress(self, progress: &'a mut (dyn FnMut(&Epoch) -> ControlFlow<()> + 'a)) -> Self {
        Observers { progress: Some(progress), ..self }
    }
}

/// A network with its parameters, a loss, a transform and a tape: the common loop in a few lines.
///
/// Everything it does can be done by hand with [`Tape`], [`Batch`] and [`Optimizer`]. The run is a function of data,
/// settings and seed: two runs agree to the last bit, and so does one saved and resumed.
pub struct Trainer<T, L, C, G> {
    tape: Tape<T, L>,
    parameters: Aligned<T>,
    loss: C,
    optimizer: Optimizer<T, G>,
    pub(crate) settings: Settings,
    order: Vec<usize>,
    pub(crate) progress: Progress,
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
            .field("tape", &self.tape)
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
    /// Epochs since the best validation loss.
    pub waited: usize,
    /// The best validation loss.
    pub best: f64,
}

impl<T: Scalar, L: Layer<T>, C: Loss<T>, G: GradientTransform<T>> Trainer<T, L, C, G> {
    /// A trainer of `network` from initial weights drawn by the settings' seed, for samples of one step.
    ///
    /// # Errors
    /// What the initializers and the transform refuse; settings of 0.
    pub fn new(network: L, loss: C, transform: G, settings: Settings) -> Result<Self, Error> {
        Self::for_steps(network, loss, transform, settings, 1)
    }

    /// A trainer for sequences of up to `steps` steps.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub fn for_steps(network: L, loss: C, transform: G, settings: Settings, steps: usize) -> Result<Self, Error> {
        for (what, value) in [
            ("batch", settings.batch),
            ("accumulate", settings.accumulate),
            ("patience", settings.patience.unwrap_or(1)),
        ] {
            require(value > 0, what, "at least 1", value as f64)?;
        }
        let parameters = Aligned::from(&initialize(&network, settings.seed)?[..]);
        #[cfg_attr(not(feature = "std"), expect(unused_mut))]
        let mut tape = Tape::new(network, Extent::sequences(settings.batch, steps))?;
        #[cfg(feature = "std")]
        tape.set_threads(settings.threads)?;
        let optimizer = Optimizer::new(transform, tape.blocks(), &parameters)?;
        let progress = Progress { epochs: 0, waited: 0, best: f64::INFINITY };
        Ok(Trainer { tape, parameters, loss, optimizer, settings, order: Vec::new(), progress, best: Vec::new() })
    }

    /// Trains for the epochs of the settings.
    ///
    /// # Errors
    /// Data that does not fit the network, and what loss and transform refuse.
    pub fn fit(&mut self, data: &Data<'_, T>) -> Result<Vec<Epoch>, Error> {
        self.fit_with(data, Observers::new())
    }

    /// Trains for the epochs of the settings that are left, with somebody looking on.
    ///
    /// # Errors
    /// Those of [`fit`](Self::fit); early stopping without validation data.
    pub fn fit_with(&mut self, data: &Data<'_, T>, observers: Observers<'_, T>) -> Result<Vec<Epoch>, Error> {
        let Observers { validation, monitor, mut progress } = observers;
        let mut nobody = ();
        let monitor = monitor.unwrap_or(&mut nobody);
        if self.settings.patience.is_some() && validation.is_none() {
            return Err(Error::Order { what: "early stopping", needs: "validation data" });
        }
        let mut batch = Batch::new(data, self.settings.batch);
        let mut epochs = Vec::new();
        while self.progress.epochs < self.settings.epochs {
            let (loss, skipped) = self.epoch(data, &mut batch, monitor)?;
            self.progress.epochs += 1;
            let validation = validation.map(|data| self.evaluate(data)).transpose()?;
            let epoch = Epoch { epoch: self.progress.epochs, loss, validation, steps: self.optimizer.steps(), skipped };
            epochs.push(epoch);
            self.optimizer.observe(self.tape.blocks(), validation.map_or(loss, |validation| validation.loss));
            let stop = progress.as_mut().is_some_and(|progress| progress(&epoch).is_break());
            if stop | validation.is_some_and(|validation| self.waited_enough(validation.loss)) {
                break;
            }
        }
        Ok(epochs)
    }

    /// Keeps the best weights, and brings them back when none better came for as long as the patience lasts.
    fn waited_enough(&mut self, loss: f64) -> bool {
        let Some(patience) = self.settings.patience else { return false };
        if loss < self.progress.best {
            (self.progress.best, self.progress.waited) = (loss, 0);
            self.best.clear();
            self.best.extend_from_slice(&self.parameters);
            return false;
        }
        self.progress.waited += 1;
        if self.progress.waited < patience {
            return false;
        }
        if self.best.len() == self.parameters.len() {
            self.parameters.copy_from_slice(&self.best);
        }
        true
    }

    /// One pass over the data: its mean loss, and how many updates were skipped.
    fn epoch(
        &mut self,
        data: &Data<'_, T>,
        batch: &mut Batch<T>,
        monitor: &mut dyn GradientMonitor<T>,
    ) -> Result<(f64, u64), Error> {
        let mut order = core::mem::take(&mut self.order);
        order.clear();
        order.extend(0..data.samples());
        if self.settings.shuffle {
            shuffle(&mut order, self.settings.seed, self.progress.epochs as u64);
        }
        let (mut sum, mut skipped) = (0.0, 0);
        let group = self.settings.batch * self.settings.accumulate;
        for samples in order.chunks(group) {
            let (loss, outcome) = self.step(data, batch, samples, monitor)?;
            sum += loss * samples.len() as f64;
            skipped += u64::from(outcome == Outcome::Skip);
        }
        let samples = order.len() as f64;
        self.order = order;
        Ok((sum / samples, skipped))
    }

    /// One update from `samples` of `data`, in batches of the settings' size: their mean loss, and whether the
    /// update was made. What the tape holds of the gradient afterwards is nobody's; a monitor sees it before.
    ///
    /// # Errors
    /// Those of [`fit`](Self::fit).
    pub fn step(
        &mut self,
        data: &Data<'_, T>,
        batch: &mut Batch<T>,
        samples: &[usize],
        monitor: &mut dyn GradientMonitor<T>,
    ) -> Result<(f64, Outcome), Error> {
        if samples.is_empty() {
            return Err(Error::EmptyBatch);
        }
        // From the first loop of the step to the last the threads stay awake.
        let mut team = self.tape.team().take();
        let done = during(team.as_mut(), || self.run(data, batch, samples, monitor));
        *self.tape.team() = team;
        done
    }

    fn run(
        &mut self,
        data: &Data<'_, T>,
        batch: &mut Batch<T>,
        samples: &[usize],
        monitor: &mut dyn GradientMonitor<T>,
    ) -> Result<(f64, Outcome), Error> {
        let width = self.tape.network().dims().output;
        let per_step = per_step(self.tape.network());
        // A mean over all samples weighs the means of the parts by what their rows count for.
        let divided = samples.len() > self.settings.batch && self.loss.reduction() == Reduction::Mean;
        let mut whole = T::one();
        if divided {
            whole = T::zero();
            for part in samples.chunks(self.settings.batch) {
                batch.choose(data, part, per_step)?;
                whole += self.loss.counted(width, batch.target(), batch.row_weights());
            }
        }
        let alone = samples.len() <= self.settings.batch && !monitor.listens();
        let plain_rate = self.optimizer.transform().plain_rate().map(scalar::<T>);
        let plain_rate = plain_rate.filter(|&rate| alone && check_rate(to_f64(rate)).is_ok());
        let (mut total, mut first) = (0.0, true);
        for (i, part) in samples.chunks(self.settings.batch).enumerate() {
            batch.choose(data, part, per_step)?;
            let counted = if divided { self.loss.counted(width, batch.target(), batch.row_weights()) } else { whole };
            if counted.is_zero() && !whole.is_zero() {
                continue;
            }
            self.tape
                .set_noise(Noise::new(self.settings.seed, self.optimizer.steps()).from_sample(i * self.settings.batch));
            batch.write_input(data, self.tape.input_mut(batch.extent())?)?;
            let output = self.tape.forward_filled(&self.parameters, batch.extent(), Mode::Train, monitor)?;
            let mut loss = self.loss.evaluate(width, output.y, batch.target(), batch.row_weights(), output.dy)?;
            if divided {
                let share = counted / whole;
                loss *= share;
                output.dy.iter_mut().for_each(|dy| *dy *= share);
            }
            total += to_f64(loss);
            if let Some(rate) = plain_rate {
                self.tape.descend(&mut self.parameters, rate)?;
                self.optimizer.note_step();
                return Ok((total, Outcome::Apply));
            }
            if first {
                self.tape.backward_with(&self.parameters, monitor)?;
            } else {
                self.tape.accumulate_with(&self.parameters, monitor)?;
            }
            first = false;
        }
        if monitor.listens() {
            monitor.loss(total);
        }
        let (blocks, gradient) = self.tape.blocks_and_gradient();
        let outcome = self.optimizer.step(blocks, &mut self.parameters, gradient, monitor)?;
        Ok((total, outcome))
    }

    /// What the network is worth on `data`, without noise.
    ///
    /// # Errors
    /// Data that does not fit the network or the loss.
    pub fn evaluate(&mut self, data: &Data<'_, T>) -> Result<Evaluation, Error> {
        let width = self.tape.network().dims().output;
        let (mut loss, mut right, mut rows, mut counted) = (0.0, 0.0, 0, 0.0);
        let mut dy = alloc::vec![T::zero(); self.settings.batch * data.steps() * width];
        let mean = self.loss.reduction() == Reduction::Mean;
        self.each_batch(data, |function, batch, y| {
            let (target, weights) = (batch.target(), batch.row_weights());
            let weight = if mean { to_f64(function.counted(width, target, weights)) } else { 1.0 };
            // A part whose rows are all masked has no mean, and counts for nothing; alone it is an error.
            if weight != 0.0 || batch.samples().len() == data.samples() {
                loss += to_f64(function.evaluate(width, y, target, weights, &mut dy[..y.len()])?) * weight;
            }
            counted += weight;
            if let Target::Classes(classes) = target {
                for (row, y) in y.chunks(width).enumerate() {
                    // What does not count in the loss (masked, of an ignored class) does not count here.
                    let class = &classes[row..=row];
                    let weight = weights.map(|weights| &weights[row..=row]);
                    if !function.counted(width, Target::Classes(class), weight).is_zero() {
                        right += accuracy(width, y, class)?;
                        rows += 1;
                    }
                }
            }
            Ok(())
        })?;
        if mean {
            require(counted > 0.0, "the sum of the row weights under a mean", "positive", counted)?;
            loss /= counted;
        }
        Ok(Evaluation { loss, accuracy: (rows > 0).then(|| right / rows as f64) })
    }

    /// The mean over the samples of `data` of a metric of your own, without noise: it is given the width, the output
    /// and the targets of one batch at a time.
    ///
    /// # Errors
    /// Data that does not fit the network.
    pub fn metric(
        &mut self,
        data: &Data<'_, T>,
        mut metric: impl FnMut(usize, &[T], Target<'_, T>) -> f64,
    ) -> Result<f64, Error> {
        let width = self.tape.network().dims().output;
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
        data: &Data<'_, T>,
        mut visit: impl FnMut(&C, &Batch<T>, &[T]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let per_step = per_step(self.tape.network());
        let mut batch = Batch::new(data, self.settings.batch);
        let order: Vec<usize> = (0..data.samples()).collect();
        for part in order.chunks(self.settings.batch) {
            batch.gather(data, part, per_step)?;
            let y = self.tape.infer(&self.parameters, batch.x(), batch.extent())?;
            visit(&self.loss, &batch, y)?;
        }
        Ok(())
    }

    /// The network's output for some rows, without noise: \[rows of the output, output\].
    ///
    /// # Errors
    /// Those of [`Tape::infer`].
    pub fn predict(&mut self, x: &[T], extent: Extent<'_>) -> Result<&[T], Error> {
        self.tape.infer(&self.parameters, x, extent)
    }

    /// The network.
    pub fn network(&self) -> &L {
        self.tape.network()
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Changes the number of epochs, to go on after [`fit`](Self::fit).
    pub fn set_epochs(&mut self, epochs: usize) {
        self.settings.epochs = epochs;
    }

    /// The parameters, in the layout of [`Tape::blocks`].
    pub fn parameters(&self) -> &[T] {
        &self.parameters
    }

    /// The parameters, to be changed.
    pub fn parameters_mut(&mut self) -> &mut [T] {
        &mut self.parameters
    }

    /// The parameters of one block.
    ///
    /// # Errors
    /// [`Error::NoBlock`].
    pub fn block(&self, name: &str) -> Result<&[T], Error> {
        Ok(&self.parameters[self.tape.blocks().get(name)?.range.clone()])
    }

    /// The moving average of the parameters, where the transform keeps one.
    pub fn averaged_parameters(&self) -> Option<&[T]> {
        self.optimizer.averaged(self.tape.blocks())
    }

    /// The tape: blocks, gradient, freezing.
    pub fn tape(&self) -> &Tape<T, L> {
        &self.tape
    }

    /// The tape, to be changed.
    pub fn tape_mut(&mut self) -> &mut Tape<T, L> {
        &mut self.tape
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
    network.extent(Extent::sequences(1, 2)).steps == 2
}

/// Draws an order (Fisher & Yates) that is a function of seed and epoch alone, so that a resumed run draws the same.
pub fn shuffle(order: &mut [usize], seed: u64, epoch: u64) {
    let mut rng = generator(seed ^ (epoch + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    for i in (1..order.len()).rev() {
        let j = below(&mut rng, i + 1);
        order.swap(i, j);
    }
}
