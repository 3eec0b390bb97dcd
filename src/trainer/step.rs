//! One update: forward pass, loss, backward pass, optimizer step.

use super::{
    Run, Step, Trainer,
    parts::{Part, Parts, Reader},
    updated::{EachUpdate, Updated},
};
#[cfg(doc)]
use crate::error::DataRule;
use crate::{
    clock::Clock,
    dataset::{Batch, Source, first_non_finite},
    distributed::Requests,
    error::Error,
    kernel::{
        reduce::norm,
        thread_pool::{install_from, lend},
    },
    layer::{DropoutKey, Layer, Mode},
    loss::{Loss, Reduction},
    monitor::{Event, GradientMonitor},
    scalar::{Scalar, scalar, to_f64},
    transform::{GradientTransform, InPlace, Outcome},
};
#[cfg(doc)]
use crate::{transform::Optimizer, workspace::Workspace};

impl<T: Scalar, L: Layer<T>, C: Loss<T>, G: GradientTransform<T>> Trainer<T, L, C, G> {
    /// Makes one update from the samples of `data` with the indices `samples`, read into `batch` in batches of the
    /// settings' size. Returns their loss, and whether the update was applied. If all rows are masked or of an
    /// ignored class, the loss is NaN and the update is skipped. A `monitor` receives the gradient once, before the
    /// update overwrites it in the workspace. With a [`Truncation`](super::Truncation) each window of time steps has
    /// an update; the loss is over the windows whose update was applied, or over all if none was. On [several
    /// ranks](Self::set_data_parallel) all ranks must give the same `samples`, those of the whole update (checked).
    ///
    /// # Errors
    /// [`Error::EmptyBatch`] without `samples`; [`Error::Sample`] for a sample that `data` does not have.
    /// [`Error::InvalidState`] for a `batch` made for other data, or data without targets; [`DataRule::Width`] if the
    /// width of the data is not that of the network's input. [`Error::NonFiniteParameters`] if a parameter is found
    /// to be NaN or infinite, unless the chain of transforms has [`SkipNonFinite`](crate::transform::SkipNonFinite):
    /// parameters are checked if the loss is not finite, and every 64 updates. The errors of [`Workspace::forward`],
    /// [`Workspace::backward`], [`Loss::evaluate`] and [`Optimizer::step`]. [`Error::Ranks`] as for
    /// [`fit`](Self::fit).
    ///
    /// # Panics
    /// As [`fit`](Self::fit).
    pub fn step(
        &mut self,
        data: &dyn Source<T>,
        batch: &mut Batch<T>,
        samples: &[usize],
        monitor: &mut dyn GradientMonitor<T>,
    ) -> Result<(f64, Outcome), Error> {
        T::trainer_step(&mut self.settled()?, data, batch, samples, monitor)
    }
}

/// The number of updates between two checks that all parameters are finite. The check reads each parameter once and
/// an update several times, so that its time is negligible.
const CHECKED_EACH: u64 = 64;

impl<T: Scalar> Run<'_, T> {
    /// Makes one update from `samples`, or one for each window of time steps in truncated backpropagation through
    /// time; none if the ranks end the fit. Calls `each` with the result of each update.
    #[inline]
    pub(super) fn update(
        &mut self,
        reader: &mut Reader<'_, T>,
        samples: &[usize],
        monitor: &mut dyn GradientMonitor<T>,
        each: &mut EachUpdate<'_>,
    ) -> Result<(), Error> {
        match self.parallel.as_mut() {
            Some(parallel) if !parallel.agreed => self.agree(reader.data, None)?,
            Some(parallel) => parallel.requests.other_data |= !parallel.known_data.contains(&reader.data.identity()),
            None => {}
        }
        self.watch.samples = samples.len();
        let ready = self.prepare(reader.data, samples);
        if self.parallel.is_some() {
            let on_ranks = lend(
                self,
                |run| &mut *run.parallel,
                |trainer, parallel| match parallel {
                    Some(parallel) => trainer.update_on_ranks(parallel, reader, samples, ready, monitor),
                    None => Ok(None),
                },
            )?;
            return on_ranks.map_or(Ok(()), |done| self.note(done, each));
        }
        ready?;
        // The threads of the pool stay awake from the first loop of the update to the last.
        install_from(
            self,
            |trainer| trainer.workspace.pool(),
            |trainer| {
                if trainer.windows.is_none() {
                    return trainer.one_update(reader, samples, monitor).and_then(|done| trainer.note(done, each));
                }
                lend(
                    trainer,
                    |run| &mut *run.windows,
                    |trainer, windows| {
                        let Some(windows) = windows else { return Ok(()) };
                        trainer.each_window(windows, reader, samples, monitor, each)
                    },
                )
            },
        )
    }

    /// Passes `done`, the result of an update, to the callback `each`, with the record of the update if there is one.
    /// Before that, if the update was applied, the parameters are checked if the loss is not finite, and every
    /// [`CHECKED_EACH`] updates.
    ///
    /// # Errors
    /// [`Error::NonFiniteParameters`] if a parameter is not finite and the chain has no
    /// [`SkipNonFinite`](crate::transform::SkipNonFinite). Then `each` is not called.
    #[inline]
    pub(super) fn note(&mut self, done: Updated, each: &mut EachUpdate<'_>) -> Result<(), Error> {
        let step = self.optimizer.steps();
        // The optimizer was restored to an earlier update, whose parameters no check has read.
        if step < self.watch.finite_after {
            self.watch.finite_after = 0;
        }
        // The loss is checked at no cost; reading all parameters is not free, so that is done once in
        // [`CHECKED_EACH`] updates. Only the number of the update decides, so that all ranks check after the same
        // update.
        let is_due = step.is_multiple_of(CHECKED_EACH);
        if (!done.loss.is_finite() || is_due) && done.outcome == Outcome::Apply {
            self.find_finite()?;
        }
        each(done.loss, done.weight, done.outcome, self.watch.step.as_ref());
        self.watch.step = None;
        Ok(())
    }

    /// Makes one update: `g = Σ_parts share · ∂L_part/∂w`, then `w ← w + u(g)`, with u the chain of gradient
    /// transforms. A part is one batch of the update. Its share is its fraction of the total weight for a mean loss,
    /// otherwise 1. The update is skipped if all rows have weight 0 in the loss.
    #[inline]
    pub(super) fn one_update(
        &mut self,
        reader: &mut Reader<'_, T>,
        samples: &[usize],
        monitor: &mut dyn GradientMonitor<T>,
    ) -> Result<Updated, Error> {
        let size = self.settings.batch_size;
        let counted = if samples.len() > size { self.counted_weight(reader.data, samples) } else { None };
        let weight = counted.map_or_else(|| self.total_weight(reader, samples, size), Ok)?;
        if weight == 0.0 {
            return Ok(Updated { loss: f64::NAN, weight, outcome: Outcome::Skip });
        }
        if samples.len() > size {
            let mean = self.loss.reduction() == Reduction::Mean;
            let share = |part: f64| if mean { part / weight } else { 1.0 };
            let (parts, mut of_part) =
                (Parts { samples, first: 0, size }, Part { monitor, first: true, whole: weight });
            let loss = self.accumulate(reader, parts, &share, &mut of_part)?;
            self.find_finite_unless(loss.is_finite())?;
            self.report_gradient(monitor);
            return self.apply(loss, weight, monitor);
        }
        self.update_chosen(reader, weight, monitor)
    }

    /// Makes one update from the samples in the batch of `reader`, whose target rows have the total weight `weight`.
    #[inline]
    pub(super) fn update_chosen(
        &mut self,
        reader: &mut Reader<'_, T>,
        weight: f64,
        monitor: &mut dyn GradientMonitor<T>,
    ) -> Result<Updated, Error> {
        let loss = self.forward(reader, 0, T::one(), monitor)?;
        self.report_rows(reader, 1.0, monitor);
        self.update_after_forward(loss, weight, monitor)
    }

    /// Runs the backward pass and the update after a forward pass, which left `∂L/∂y`, with y the outputs, in the
    /// workspace. The loss L, `loss`, and the total weight of its rows, `weight`, are stored in the result.
    #[inline]
    pub(super) fn update_after_forward(
        &mut self,
        loss: f64,
        weight: f64,
        monitor: &mut dyn GradientMonitor<T>,
    ) -> Result<Updated, Error> {
        self.find_finite_unless(loss.is_finite())?;
        if !self.watch.always && !monitor.is_active() && self.step_in_place()? {
            return Ok(Updated { loss, weight, outcome: Outcome::Apply });
        }
        self.workspace.backward_with(self.parameters, monitor)?;
        self.apply(loss, weight, monitor)
    }

    /// Runs the forward pass and the loss on the samples in the batch of `reader`. Returns the loss times `share`,
    /// and leaves `share · ∂L/∂y`, with y the outputs, in the workspace. `first` is the position of the batch's first
    /// sample in the update, which keys the dropout masks.
    #[inline]
    fn forward(
        &mut self,
        reader: &mut Reader<'_, T>,
        first: usize,
        share: T,
        monitor: &mut dyn GradientMonitor<T>,
    ) -> Result<f64, Error> {
        let (width, per_step) = (self.workspace.dims().output, self.workspace.per_step());
        self.fill(reader, first)?;
        let output = self.workspace.forward_filled(self.parameters, reader.batch.shape(), Mode::Train, monitor);
        let output = output.map_err(|error| reader.batch.in_data(reader.data, per_step, error))?;
        let (target, weights) = (reader.batch.target(), reader.batch.row_weights());
        let loss = self.loss.evaluate_wide(width, output.y, target, weights, output.dy);
        let mut loss = loss.map_err(|error| reader.batch.in_data(reader.data, per_step, error))?;
        if !share.is_one() {
            loss *= to_f64(share);
            output.dy.iter_mut().for_each(|dy| *dy *= share);
        }
        // Each rank makes this pass alone. So the check does not store its result, which must be equal on all ranks.
        if !loss.is_finite() {
            self.check_parameters()?;
        }
        Ok(loss)
    }

    /// Writes the inputs of the batch of `reader` to the workspace, and sets the key of the dropout masks. `first` is
    /// the position of the batch's first sample among the samples of the update.
    #[inline]
    pub(super) fn fill(&mut self, reader: &Reader<'_, T>, first: usize) -> Result<(), Error> {
        let key = DropoutKey::new(self.settings.seed, self.optimizer.steps()).from_sample(first);
        self.workspace.set_dropout_key(key.at_later_step(reader.batch.first_step()));
        reader.batch.write_input(reader.data, self.workspace.input_mut(reader.batch.shape())?)
    }

    /// Runs a forward and a backward pass for each group of at most `parts.size` samples of `parts`. Overwrites the
    /// gradient in the workspace with the sum of the groups' gradients, each times its share: `share(weight)`, with
    /// `weight` the total weight of the group's rows.
    ///
    /// Returns the sum of the losses, times the same shares. Groups of weight 0 are skipped; if all are skipped, the
    /// gradient is unchanged and the sum is 0. The gradients of many groups are added in pairs, level by level.
    pub(super) fn accumulate(
        &mut self,
        reader: &mut Reader<'_, T>,
        parts: Parts<'_>,
        share: &dyn Fn(f64) -> f64,
        monitor: &mut Part<'_, T>,
    ) -> Result<f64, Error> {
        let (per_step, mut total, mut count) = (self.workspace.per_step(), 0.0, 0);
        self.workspace.reserve_parts(parts.samples.len().div_ceil(parts.size))?;
        for (i, part) in parts.samples.chunks(parts.size).enumerate() {
            reader.batch.choose(reader.data, part, per_step)?;
            let weight = self.batch_weight(reader.batch);
            if weight == 0.0 {
                continue;
            }
            total += self.forward(reader, parts.first + i * parts.size, scalar(share(weight)), monitor)?;
            self.report_rows(reader, weight / monitor.whole, monitor);
            self.workspace.add_part(self.parameters, count, monitor)?;
            (count, monitor.first) = (count + 1, false);
        }
        self.workspace.finish_parts(count);
        Ok(total)
    }

    /// Reports the gradient in the workspace, which is the gradient of the whole update, to `monitor` if that is
    /// active.
    pub(super) fn report_gradient(&mut self, monitor: &mut dyn GradientMonitor<T>) {
        if monitor.is_active() {
            let (blocks, dw) = self.workspace.blocks_and_gradient();
            monitor.event(&Event::Gradient { blocks, w: self.parameters, dw });
        }
    }

    /// Runs the backward pass with updates in place: each layer's parameters w become `w + u(g)`, with u the chain of
    /// transforms, as soon as their gradient g is computed. Returns `false`, with nothing computed, if the chain or a
    /// frozen block does not allow this.
    #[inline]
    pub(super) fn step_in_place(&mut self) -> Result<bool, Error> {
        let Run { workspace, optimizer, parameters, .. } = self;
        match optimizer.in_place() {
            InPlace::Plain(rate) => workspace.descend_checked(parameters, scalar(rate))?,
            InPlace::Elementwise if !workspace.has_frozen() => {
                optimizer.check_state(workspace.blocks())?;
                let mut done = Ok(());
                workspace.backward_in_place(parameters, &mut |blocks, start, w, gradient| {
                    if done.is_ok() {
                        done = optimizer.step_from(blocks, start, w, gradient);
                    }
                })?;
                done?;
            }
            _ => return Ok(false),
        }
        optimizer.note_step();
        Ok(true)
    }

    /// Turns the gradient in the workspace into an update, and adds it to the parameters. `loss` is the loss of the
    /// update, and `weight` the total weight of its rows. If a monitor is active, or records are always wanted, it
    /// makes the [`Step`] record of the update.
    pub(super) fn apply(
        &mut self,
        loss: f64,
        weight: f64,
        monitor: &mut dyn GradientMonitor<T>,
    ) -> Result<Updated, Error> {
        if monitor.is_active() {
            monitor.event(&Event::Loss(loss));
        }
        if !self.watch.always && !monitor.is_active() {
            let (blocks, gradient) = self.workspace.blocks_and_gradient();
            let outcome = self.optimizer.step(blocks, self.parameters, gradient, monitor)?;
            return Ok(Updated { loss, weight, outcome });
        }
        let (blocks, gradient) = self.workspace.blocks_and_gradient();
        let known = self.watch.norm.take();
        let (learning_rate, norm) = (self.optimizer.learning_rate(blocks), known.unwrap_or_else(|| norm(gradient)));
        let outcome = self.optimizer.step_with(blocks, self.parameters, gradient, monitor, true)?;
        let (applied, transform) = (outcome == Outcome::Apply, self.optimizer.transform());
        let clipped = transform.clipped_norm().or_else(|| transform.clip_factor().map(|factor| norm * factor));
        let step = Step {
            step: self.optimizer.steps(),
            epoch: self.progress.epochs + 1,
            loss,
            applied,
            learning_rate,
            gradient_norm: norm,
            clipped_norm: clipped.filter(|_| applied),
            samples: self.watch.samples,
            seconds: self.watch.started.map(Clock::seconds),
            communication: self.watch.communication,
            spike: self.watch.spike.take(),
        };
        // The next update may be for another window of the same samples, so its time starts here.
        self.watch.started = self.watch.started.and_then(|_| Clock::now());
        if monitor.is_active() {
            monitor.event(&Event::Step(&step));
        }
        self.watch.step = Some(step);
        Ok(Updated { loss, weight, outcome })
    }

    /// Returns an error if a parameter is not finite, unless the chain of transforms has a
    /// [`SkipNonFinite`](crate::transform::SkipNonFinite).
    pub(super) fn check_parameters(&self) -> Result<(), Error> {
        if self.optimizer.guarded() {
            return Ok(());
        }
        let Some(bad) = first_non_finite(self.parameters) else { return Ok(()) };
        let block = self.workspace.blocks().at(bad).map(|block| block.name.clone().into_owned()).unwrap_or_default();
        let (step, finite_after) = (self.optimizer.steps(), self.watch.finite_after);
        let since = if finite_after <= step { finite_after } else { 0 };
        Err(Error::NonFiniteParameters { block, since, step })
    }

    /// Calls [`check_parameters`](Self::check_parameters), and stores the current number of updates as the last one
    /// after which all parameters were known to be finite. On several ranks only code that all ranks reach together
    /// may call it.
    pub(super) fn find_finite(&mut self) -> Result<(), Error> {
        self.check_parameters()?;
        // With `SkipNonFinite` in the chain the check read no parameter.
        if !self.optimizer.guarded() {
            self.watch.finite_after = self.optimizer.steps();
        }
        Ok(())
    }

    /// Checks that all parameters are finite, by [`find_finite`](Self::find_finite), if `is_finite` is false: the
    /// result of a check of the loss.
    #[inline]
    pub(super) fn find_finite_unless(&mut self, is_finite: bool) -> Result<(), Error> {
        if is_finite { Ok(()) } else { self.find_finite() }
    }

    /// Implements [`Trainer::step`]: makes one update, or one for each window of time steps, from `samples`.
    pub(crate) fn step(
        &mut self,
        data: &dyn Source<T>,
        batch: &mut Batch<T>,
        samples: &[usize],
        monitor: &mut dyn GradientMonitor<T>,
    ) -> Result<(f64, Outcome), Error> {
        self.leave_best();
        self.watch.begin(false, if monitor.is_active() { Clock::now() } else { None });
        self.halts(Requests::default());
        let (mut all, mean) = (None, self.loss.reduction() == Reduction::Mean);
        self.update(&mut Reader { data, batch }, samples, monitor, &mut |loss, weight, outcome, _| {
            let updated = Updated { loss, weight, outcome };
            all = Some(all.map_or(updated, |before: Updated| before.and(updated, mean)));
        })?;
        // Each sample has at least one time step, so at least one update has been made.
        match all {
            Some(all) => Ok((all.loss, all.outcome)),
            None => Err(Error::EmptyBatch),
        }
    }
}
