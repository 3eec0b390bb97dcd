//! An update on several ranks (processes or threads). Each rank computes the gradients of its own shards, which are
//! consecutive parts of the samples; the gradients are summed over all ranks, and each rank makes the same update.

use super::{
    Run, Trainer,
    parts::{Part, Parts, Reader},
    updated::Updated,
};
#[cfg(doc)]
use crate::error::RankRule;
use crate::{
    batch_shape::BatchShape,
    dataset::{Layout, Source},
    distributed::{DataParallel, Report},
    error::{Error, require},
    kernel::thread_pool::install_from,
    layer::{Layer, Mode},
    loss::{Loss, Reduction},
    monitor::GradientMonitor,
    scalar::{Scalar, scalar, to_f64},
    transform::{GradientTransform, Outcome},
};
use alloc::boxed::Box;
use core::ops::Range;

impl<T: Scalar, L: Layer<T>, C: Loss<T>, G: GradientTransform<T>> Trainer<T, L, C, G> {
    /// Makes all further training data-parallel over several ranks. Each rank needs an identical trainer, and its own
    /// communicator of the group. See [`distributed`](crate::distributed).
    ///
    /// A fit, and the first [`step`](Self::step), begins with a comparison of the ranks: version, CPU level, network,
    /// loss, transforms, settings, data, parameters and state must agree. A `step` with a new data set compares this
    /// data, once. A data set is recognized by its address and sizes, so one that replaces another in memory, with
    /// the same sizes, is not compared. The last 8 compared data sets are remembered. All ranks must make the same
    /// calls.
    ///
    /// A gradient that is not finite ends the training in its update, with [`RankRule::NonFinite`], unless the chain
    /// of gradient transforms skips such gradients. On a single rank whose chain updates parameters in place, no
    /// gradient is checked: parameters that are not finite are found within 64 updates.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a number of shards that is not a power of two; [`Error::TooLarge`] for more than
    /// 4,096; [`RankRule::TooMany`] for more ranks than shards. [`Error::InvalidState`] with a
    /// [`Truncation`](super::Truncation).
    pub fn set_data_parallel(&mut self, parallel: DataParallel<T>) -> Result<(), Error> {
        parallel.check()?;
        if self.settings.truncation.is_some() {
            return Err(Error::InvalidState {
                what: "data-parallel training",
                needs: "whole sequences: `TrainConfig::truncation` of None",
            });
        }
        self.parallel = Some(Box::new(parallel));
        Ok(())
    }

    /// Returns the ranks and shards of the training; `None` unless it is [data-parallel](Self::set_data_parallel).
    pub fn data_parallel(&self) -> Option<&DataParallel<T>> {
        self.parallel.as_deref()
    }
}

impl<T: Scalar> Run<'_, T> {
    /// Makes one update on all ranks. `samples` are the samples of the whole update, and each rank gets the same
    /// result. `ready` is the result of this rank's checks before the update: if it is an error, all ranks get an
    /// error. Returns `None` if a rank requested the end of training.
    ///
    /// First the gradient `g = Σ_shards Σ_parts share · ∂L_part/∂w` is summed along the binary tree of the shards.
    /// Then `w ← w + u(g)`, with u the chain of gradient transforms. A part is the group of samples of one pass, and
    /// its share is the factor of its loss in the loss of the update.
    pub(super) fn update_on_ranks(
        &mut self,
        parallel: &mut DataParallel<T>,
        reader: &mut Reader<'_, T>,
        samples: &[usize],
        ready: Result<(), Error>,
        monitor: &mut dyn GradientMonitor<T>,
    ) -> Result<Option<Updated>, Error> {
        parallel.take_counts();
        (self.watch.norm, self.watch.spike) = (None, None);
        parallel.weights.clear();
        parallel.weights.resize(parallel.all_shards().len(), 0.0);
        let ready = ready.and_then(|()| match self.workspace.state() {
            [] => Ok(()),
            _ => Err(Error::InvalidState {
                what: "data-parallel training",
                needs: "an initial state of zero: `Workspace::clear_state`",
            }),
        });
        let own = ready.and_then(|()| self.weigh_shards(parallel, reader, samples));
        if parallel.ranks() > 1 && reader.data.is_in_files() {
            parallel.share_weights(own.is_err())?;
        }
        let weight = match own.and_then(|()| sum_of_weights(&parallel.weights)) {
            Ok(weight) => weight,
            Err(error) => return self.fail_on_ranks(parallel, reader.data, samples, error),
        };
        // With several ranks, an update without weight is still summed: a rank may have failed, or have other
        // weights.
        let skipped = Updated { loss: f64::NAN, weight, outcome: Outcome::Skip };
        if weight == 0.0 && parallel.ranks() == 1 {
            return Ok(Some(skipped));
        }
        parallel.begin(self.workspace.blocks(), self.workspace.buffers(), samples)?;
        let by_shard = self.adds_by_shard(parallel, reader.data, samples.len());
        parallel.plan(samples.len(), by_shard.then_some(self.settings.batch_size))?;
        if let Err(error) = self.reserve_own_passes(parallel, reader.data, samples) {
            return self.fail_on_ranks(parallel, reader.data, samples, error);
        }
        let mut forwarded = None;
        if by_shard && parallel.ranks() == 1 && parallel.passes.len() == 1 {
            let alone = install_from(
                self,
                |trainer| trainer.workspace.pool(),
                |trainer| match trainer.forward_shards(parallel, reader, samples, 0..parallel.passes[0].end, monitor) {
                    Ok(loss) if loss.is_finite() => {
                        Ok(trainer.update_alone(parallel, reader, samples, [loss, weight], monitor))
                    }
                    other => Err(other),
                },
            );
            match alone {
                Ok(done) => return done.map(Some),
                Err(loss) => forwarded = Some(loss),
            }
        }
        // The threads of the pool sleep while this thread waits for other ranks.
        let report = install_from(
            self,
            |trainer| trainer.workspace.pool(),
            |trainer| match by_shard {
                true => trainer.own_passes(parallel, reader, samples, forwarded, monitor),
                false => trainer.own_shards(parallel, reader, samples, monitor),
            },
        );
        self.workspace.buffers_mut().copy_from_slice(&parallel.buffers);
        let report = report?;
        let [recorded, requested] = parallel.add_ranks(self.watch.always || monitor.is_active())?;
        parallel.check_samples()?;
        let loss = parallel.total_loss();
        let is_finite = parallel.copy_gradient(self.workspace.blocks_and_gradient().1);
        // A failure does not count if the ranks end the training here: a single process would not have begun this
        // update.
        if requested && self.answer_requests(parallel, reader.data)? {
            return Ok(None);
        }
        // A rank that failed contributes a loss of NaN, so that all ranks exchange reports here.
        let found = if loss.is_finite() { None } else { parallel.exchange_reports(report)? };
        if weight == 0.0 {
            return Ok(Some(skipped));
        }
        // Parameters that are not finite make every loss not finite: then no sample is the cause.
        self.find_finite_unless(loss.is_finite())?;
        self.watch.spike = match loss.is_finite() {
            true => self.spike(parallel, reader, samples, [recorded, is_finite])?,
            false => found.filter(|_| self.are_parameters_finite()),
        };
        let origin = self.watch.spike.filter(|_| !(loss.is_finite() && is_finite));
        self.watch.communication = parallel.take_counts();
        let [buffers, _] = parallel.totals();
        self.workspace.combine_buffers(buffers, |value, change| value + change, |value, change| value + change);
        let step = self.optimizer.steps();
        let done = install_from(
            self,
            |trainer| trainer.workspace.pool(),
            |trainer| {
                trainer.report_gradient(monitor);
                trainer.apply(loss, weight, monitor)
            },
        )?;
        self.name_origin(parallel, samples, origin, step, done).map(Some)
    }

    /// Reserves the memory for this rank's passes, which [`plan`](DataParallel::plan) has divided into groups of
    /// shards. `samples` are the indices of all samples of the update, over all ranks.
    fn reserve_own_passes(
        &mut self,
        parallel: &DataParallel<T>,
        data: &dyn Source<T>,
        samples: &[usize],
    ) -> Result<(), Error> {
        let (layout, size) = (data.layout(), self.settings.batch_size);
        parallel.passes.iter().try_for_each(|pass| {
            let of = |shard| parallel.samples_of(shard, samples.len());
            let own = &samples[of(pass.start).start..of(pass.end - 1).end];
            own.chunks(size).try_for_each(|part| self.reserve_pass(&layout, part.len(), part))
        })
    }

    /// Writes the total loss weight of the target rows of each shard to [`weights`](DataParallel::weights), for an
    /// update from `samples`. Data in memory is weighed for all shards. Data in files is weighed only for this rank's
    /// shards, the only ones that this rank reads.
    fn weigh_shards(
        &mut self,
        parallel: &mut DataParallel<T>,
        reader: &mut Reader<'_, T>,
        samples: &[usize],
    ) -> Result<(), Error> {
        let shards = if reader.data.is_in_files() { parallel.own_shards() } else { parallel.all_shards() };
        for shard in shards {
            let own = &samples[parallel.samples_of(shard, samples.len())];
            let counted = self.counted_weight(reader.data, own);
            let size = self.settings.batch_size;
            parallel.weights[shard] = counted.map_or_else(|| self.total_weight(reader, own, size), Ok)?;
        }
        Ok(())
    }

    /// Whether a backward pass can sum the gradient separately for each shard, so that one pass can process several
    /// shards of an update from `samples` samples. All ranks get the same result.
    ///
    /// It cannot if the network has buffers, or a layer that does not support it, such as any layer of another crate.
    /// Nor can it for sequences of unequal length or with an output for each time step; nor if a shard has only rows
    /// of weight 0, or more samples than a batch. Then each shard has a pass of its own.
    fn adds_by_shard(&self, parallel: &DataParallel<T>, data: &dyn Source<T>, samples: usize) -> bool {
        let (Layout { steps, lengths, .. }, network) = (data.layout(), self.workspace.network());
        lengths.is_none()
            && (steps == 1 || !self.workspace.per_step())
            && parallel.weights.iter().all(|&weight| weight > 0.0)
            && parallel.most_samples(samples) <= self.settings.batch_size
            && self.workspace.buffers().is_empty()
            && network.adds_by_shard(BatchShape::sequences(1, steps)).0
    }

    /// Runs one forward pass over the samples of the shards with the numbers `shards`, and computes the loss of each
    /// shard. `samples` are the samples of the whole update. Each loss is multiplied by its share, its factor in the
    /// loss of the update.
    ///
    /// Leaves `share · ∂L/∂y`, with y the outputs, in the workspace, [sets](DataParallel::set_loss) the losses in
    /// `parallel`, and returns the sum of the losses.
    fn forward_shards(
        &mut self,
        parallel: &mut DataParallel<T>,
        reader: &mut Reader<'_, T>,
        samples: &[usize],
        shards: Range<usize>,
        monitor: &mut dyn GradientMonitor<T>,
    ) -> Result<f64, Error> {
        let (width, per_step) = (self.workspace.dims().output, self.workspace.per_step());
        let mean = self.loss.reduction() == Reduction::Mean;
        let of = |parallel: &DataParallel<T>, shard| parallel.samples_of(shard, samples.len());
        let (first, end) = (of(parallel, shards.start).start, of(parallel, shards.end - 1).end);
        reader.batch.choose(reader.data, &samples[first..end], per_step)?;
        self.fill(reader, first)?;
        let output = self.workspace.forward_filled(self.parameters, reader.batch.shape(), Mode::Train, monitor);
        let output = output.map_err(|error| reader.batch.in_data(reader.data, per_step, error))?;
        let mut total = 0.0;
        for shard in shards.clone() {
            let rows = of(parallel, shard);
            let rows = rows.start - first..rows.end - first;
            let ((target, weights), values) = (reader.batch.part(rows.clone()), rows.start * width..rows.end * width);
            let dy = &mut output.dy[values.clone()];
            let loss =
                self.loss.evaluate_wide(width, &output.y[values], target, weights, dy).map_err(|mut error| {
                    if let Error::ClassOutOfRange { row, .. } = &mut error {
                        *row += rows.start;
                    }
                    reader.batch.in_data(reader.data, per_step, error)
                })?;
            let share = scalar::<T>(parallel.share(shard, parallel.weights[shard], mean));
            dy.iter_mut().for_each(|dy| *dy *= share);
            total += parallel.set_loss(shard, to_f64(share) * loss);
        }
        self.report_shards(parallel, reader, shards.clone(), samples.len(), monitor);
        let ends = shards.map(|shard| of(parallel, shard).end - first);
        self.workspace.set_shards(ends, parallel.all_shards().len())?;
        Ok(total)
    }

    /// Computes the gradients of this rank's shards and adds them to the sums over ranks, in passes that each process
    /// several shards. `samples` are the samples of the whole update. `forwarded` is the result of the first forward
    /// pass; `None` if that has not run yet. Returns the report of this rank: its error, or its first shard and
    /// sample whose loss is not finite, or nothing.
    fn own_passes(
        &mut self,
        parallel: &mut DataParallel<T>,
        reader: &mut Reader<'_, T>,
        samples: &[usize],
        mut forwarded: Option<Result<f64, Error>>,
        monitor: &mut dyn GradientMonitor<T>,
    ) -> Result<Report, Error> {
        let overlaps = parallel.overlaps() && !monitor.is_active() && !self.workspace.has_frozen();
        let (mut monitor, mut report) = (Part { monitor, first: true, whole: parallel.weight().0 }, Report::Nothing);
        for pass in 0..parallel.passes.len() {
            let (shards, mut beside) = (parallel.passes[pass].clone(), false);
            if !matches!(report, Report::Failed(_)) {
                let forward = forwarded.take();
                let forward = forward
                    .unwrap_or_else(|| self.forward_shards(parallel, reader, samples, shards.clone(), &mut monitor));
                let backward = forward.and_then(|_| match overlaps {
                    // If the forward pass failed, the sum holds only losses of NaN and is sent after the pass.
                    true => {
                        parallel.begin_beside()?;
                        beside = true;
                        self.backward_beside_sum(parallel)
                    }
                    false => self.workspace.backward_with(self.parameters, &mut monitor).map(drop),
                });
                match backward {
                    Ok(()) => monitor.first = false,
                    Err(error) => {
                        report = Report::Failed(error);
                        parallel.set_loss(shards.start, f64::NAN);
                    }
                }
            }
            let bad = parallel.non_finite_loss(shards.clone());
            if beside {
                parallel.add_losses();
            } else {
                if matches!(report, Report::Failed(_)) {
                    self.workspace.blocks_and_gradient().1.fill(T::zero());
                }
                parallel.push(shards, self.workspace.gradient(), &[])?;
            }
            // The parameters are checked last, and only if a loss is not finite: the check reads all of them.
            if let Some(shard) = bad
                && matches!(report, Report::Nothing)
                && self.are_parameters_finite()
            {
                let range = parallel.samples_of(shard, samples.len());
                let parts = Parts { samples: &samples[range.clone()], first: range.start, size: range.len() };
                report = Report::NonFinite { shard, sample: self.non_finite_sample(parallel, reader, parts) };
            }
        }
        Ok(report)
    }

    /// Runs a backward pass, while another thread sums the finished parts of its gradient over all ranks.
    #[cfg(feature = "std")]
    fn backward_beside_sum(&mut self, parallel: &mut DataParallel<T>) -> Result<(), Error> {
        let Run { workspace, parameters, .. } = self;
        parallel.add_beside(|each| workspace.backward_in_parts(parameters, each))
    }

    /// Runs a backward pass alone: without the standard library, no other thread can sum parts of its gradient
    /// meanwhile.
    #[cfg(not(feature = "std"))]
    fn backward_beside_sum(&mut self, _: &mut DataParallel<T>) -> Result<(), Error> {
        self.workspace.backward_with(self.parameters, &mut ()).map(drop)
    }

    /// Computes the gradients of this rank's shards and adds them to the sums over ranks, in passes that each process
    /// one shard or a part of one. `samples` are the samples of the whole update. Returns the report of this rank:
    /// its error, or its first shard whose loss is not finite, or nothing.
    fn own_shards(
        &mut self,
        parallel: &mut DataParallel<T>,
        reader: &mut Reader<'_, T>,
        samples: &[usize],
        monitor: &mut dyn GradientMonitor<T>,
    ) -> Result<Report, Error> {
        let mean = self.loss.reduction() == Reduction::Mean;
        let size = self.settings.batch_size;
        let with_weight = parallel.all_shards().filter(|&shard| parallel.weights[shard] > 0.0);
        let whole: usize = with_weight.map(|shard| parallel.samples_of(shard, samples.len()).len()).sum();
        let (mut monitor, mut report) = (Part { monitor, first: true, whole: parallel.weight().0 }, Report::Nothing);
        for shard in parallel.own_shards() {
            let range = parallel.samples_of(shard, samples.len());
            let parts = Parts { samples: &samples[range.clone()], first: range.start, size };
            monitor.whole = parallel.weights[shard] / parallel.fraction(shard..shard + 1, mean);
            let runs = parallel.weights[shard] > 0.0 && !matches!(report, Report::Failed(_));
            self.workspace.buffers_mut().copy_from_slice(&parallel.buffers);
            let loss = match runs {
                true => self.accumulate(reader, parts, &|weight| parallel.share(shard, weight, mean), &mut monitor),
                false => Ok(0.0),
            };
            let loss = match loss {
                Ok(loss) => loss,
                Err(error) => {
                    report = Report::Failed(parallel.in_shard(error, shard, range.len()));
                    f64::NAN
                }
            };
            // The changes of the buffers are averaged over shards, weighted by their samples.
            let fraction = if runs { range.len() as f64 / whole as f64 } else { 0.0 };
            let rounded = scalar::<T>(fraction);
            let change = |value, before| (value - before) * rounded;
            self.workspace.combine_buffers(&parallel.buffers, change, |value, before| (value - before) * fraction);
            if !runs {
                self.workspace.blocks_and_gradient().1.fill(T::zero());
            }
            let loss = parallel.set_loss(shard, loss);
            parallel.push(shard..shard + 1, self.workspace.gradient(), self.workspace.buffers())?;
            if !loss.is_finite() && matches!(report, Report::Nothing) {
                report = Report::NonFinite { shard, sample: self.non_finite_sample(parallel, reader, parts) };
            }
        }
        Ok(report)
    }
}

/// Returns the sum of `weights`, the total row weight of each shard; [`Error::Parameter`] if it is not finite, as it
/// is after another rank has failed.
fn sum_of_weights(weights: &[f64]) -> Result<f64, Error> {
    let weight: f64 = weights.iter().sum();
    require(weight.is_finite(), "the total weight of the rows in a loss", "finite and not negative", weight)?;
    Ok(weight)
}
