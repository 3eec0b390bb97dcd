//! One update: forward pass, loss, backward pass, optimizer step.

use super::{Trainer, per_step};
use crate::{
    dataset::{Batch, Dataset, first_non_finite},
    error::Error,
    kernel::thread_pool::install_from,
    layer::{DropoutKey, Layer, Mode},
    loss::{Loss, Reduction},
    monitor::{Event, GradientMonitor, Link},
    scalar::{Scalar, scalar, to_f64},
    transform::{GradientTransform, Outcome, check_rate},
};
#[cfg(doc)]
use crate::{transform::Optimizer, workspace::Workspace};

/// The result of one update.
pub(super) struct Updated {
    /// The loss over all parts; NaN if the total weight is 0.
    pub loss: f64,
    /// The total weight of the rows in a mean.
    pub weight: f64,
    pub outcome: Outcome,
}

impl<T: Scalar, L: Layer<T>, C: Loss<T>, G: GradientTransform<T>> Trainer<T, L, C, G> {
    /// One update from `samples` of `data`, in batches of the settings' size: the loss over all of them, and whether
    /// the update was applied. If no row counts (masked, or of an ignored class), the loss is NaN and the update is
    /// skipped. The workspace's gradient is overwritten by the update; a monitor sees the gradient before, once.
    ///
    /// # Errors
    /// [`Error::EmptyBatch`] without `samples`; [`Error::Sample`] for one that `data` does not have.
    /// [`Error::InvalidState`] for a `batch` made for other data. [`Error::NonFiniteParameters`] where the loss shows a
    /// parameter that is NaN or infinite, unless the chain has a guard. The errors of [`Workspace::forward`],
    /// [`Workspace::backward`], [`Loss::evaluate`] and [`Optimizer::step`].
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

    pub(super) fn update(
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

    pub(super) fn one_update(
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
        let plain_rate = self.optimizer.plain_rate().map(scalar::<T>);
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
            batch.write_input(data, self.workspace.input_mut(batch.shape())?)?;
            let output = self.workspace.forward_filled(&self.parameters, batch.shape(), Mode::Train, monitor)?;
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
                monitor.event(&Event::Gradient { blocks, w: &self.parameters, dw: gradient });
            }
            monitor.event(&Event::Loss(total));
        }
        let outcome = self.optimizer.step(blocks, &mut self.parameters, gradient, monitor)?;
        Ok(Updated { loss: total, weight: to_f64(whole), outcome })
    }

    /// Refuses non-finite parameters, unless the chain has a [`SkipNonFinite`](crate::transform::SkipNonFinite).
    pub(super) fn check_parameters(&self) -> Result<(), Error> {
        if self.optimizer.guarded() {
            return Ok(());
        }
        let Some(bad) = first_non_finite(&self.parameters) else { return Ok(()) };
        let block = self.workspace.blocks().at(bad).map(|block| block.name.clone().into_owned()).unwrap_or_default();
        Err(Error::NonFiniteParameters { block, step: self.optimizer.steps() })
    }
}

/// The monitor of one part of an accumulated update, without its gradient: the trainer reports the whole one.
struct Part<'a, T: Scalar> {
    monitor: &'a mut dyn GradientMonitor<T>,
    first: bool,
}

impl<T: Scalar> GradientMonitor<T> for Part<'_, T> {
    fn begin_pass(&mut self) {
        if !self.first {
            self.monitor.event(&Event::NextPart);
        }
        self.monitor.begin_pass();
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
