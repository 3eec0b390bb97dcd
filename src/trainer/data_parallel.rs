//! An update on several ranks: the gradients of this rank's shards, the sum over all ranks, one step.

use super::{
    Trainer,
    step::{Part, Parts, Updated},
};
use crate::{
    cpu::CpuLevel,
    dataset::{Batch, Layout, Source},
    distributed::{DataParallel, Fingerprint, Report, sum_of_losses},
    error::{Error, RankRule, require},
    kernel::thread_pool::install_from,
    layer::Layer,
    loss::{Loss, Reduction},
    monitor::GradientMonitor,
    scalar::{Scalar, scalar},
    transform::{GradientTransform, Outcome},
};
use alloc::{boxed::Box, format, vec::Vec};

impl<T: Scalar, L: Layer<T>, C: Loss<T>, G: GradientTransform<T>> Trainer<T, L, C, G> {
    /// Trains on several ranks from now on: each gets a trainer alike, with its own end of the group. See
    /// [`distributed`](crate::distributed).
    ///
    /// A fit, and the first [`step`](Self::step), begins with a comparison of the ranks: version, CPU level, network,
    /// loss, transforms, settings, data, parameters and state must agree. All ranks make the same calls.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a number of shards that is no power of two; [`Error::TooLarge`] for more than 4,096;
    /// [`RankRule::TooMany`] for more ranks than shards. [`Error::InvalidState`] with a
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

    /// The ranks and shards of the training, if it is [data-parallel](Self::set_data_parallel).
    pub fn data_parallel(&self) -> Option<&DataParallel<T>> {
        self.parallel.as_deref()
    }

    /// Compares this run with those of the other ranks. Without other ranks it does nothing.
    pub(super) fn agree(&mut self, data: &dyn Source<T>, validation: Option<&dyn Source<T>>) -> Result<(), Error> {
        let Some(parallel) = self.parallel.as_mut().filter(|parallel| parallel.ranks() > 1) else { return Ok(()) };
        let (blocks, settings) = (self.workspace.blocks(), &self.settings);
        let mut run = Fingerprint::default();
        run.add("the version of chainrule", env!("CARGO_PKG_VERSION"));
        run.add("the CPU level", format_args!("{:?}", CpuLevel::current()?));
        run.add("the scalar type", core::any::type_name::<T>());
        for (name, value) in parallel.settings() {
            run.add(name, value);
        }
        run.add("the number of parameters", self.parameters.len());
        run.add_text("the network", &format!("{:?}", self.workspace.network().spec()));
        run.add_text(
            "the frozen blocks",
            &format!("{:?}", blocks.iter().map(|block| block.frozen).collect::<Vec<_>>()),
        );
        run.add_text("the loss", &format!("{:?}", self.loss));
        run.add_text("the chain of transforms", &format!("{:?}", self.optimizer.spec(blocks)));
        run.add("batch_size", settings.batch_size);
        run.add("accumulation_steps", settings.accumulation_steps);
        run.add("epochs", settings.epochs);
        run.add("seed", settings.seed);
        run.add("shuffle", settings.shuffle);
        run.add("shuffle_block", format_args!("{:?}", settings.shuffle_block));
        run.add("patience", format_args!("{:?}", settings.patience));
        run.add("min_delta", settings.min_delta);
        for (name, values, data) in
            [("the data", "the values of the data", Some(data)), ("the validation data", "its values", validation)]
        {
            let sizes = |data: &dyn Source<T>| {
                let Layout { samples, steps, width, .. } = data.layout();
                format!("{samples} samples of up to {steps} steps of {width} values")
            };
            run.add(name, data.map_or_else(|| "none".into(), sizes));
            run.add_hash(values, data.into_iter().flat_map(|data| data.words()));
        }
        run.add("the position in the run", format_args!("{:?}", self.progress));
        run.add("the number of updates", self.optimizer.steps());
        run.add_numbers("the parameters", &self.parameters);
        run.add_numbers("the state of the transforms", self.optimizer.state());
        run.add_numbers("the buffers of the network", self.workspace.buffers());
        parallel.agree(&run)
    }

    /// Whether `own` holds on any rank.
    pub(super) fn any_rank(&self, own: bool) -> Result<bool, Error> {
        self.parallel.as_ref().map_or(Ok(own), |parallel| parallel.any(own))
    }

    /// One update: `g = Σ_shards Σ_parts share · ∂L_part/∂w` along the tree of the shards, then `w ← w + u(g)`
    /// on each rank alike.
    pub(super) fn update_on_ranks(
        &mut self,
        parallel: &mut DataParallel<T>,
        data: &dyn Source<T>,
        batch: &mut Batch<T>,
        samples: &[usize],
        monitor: &mut dyn GradientMonitor<T>,
    ) -> Result<Updated, Error> {
        // All ranks have the data, so they know the weight of each shard, and fail alike.
        parallel.weights.clear();
        for shard in parallel.all_shards() {
            let own = &samples[parallel.samples_of(shard, samples.len())];
            let size = parallel.samples_of_pass(self.settings.batch_size);
            parallel.weights.push(self.total_weight(data, batch, own, size)?);
        }
        let weight: f64 = parallel.weights.iter().sum();
        require(weight.is_finite(), "the total weight of the rows in a loss", "finite and not negative", weight)?;
        if weight == 0.0 {
            return Ok(Updated { loss: f64::NAN, weight, outcome: Outcome::Skip });
        }
        let parameters = self.parameters.len();
        parallel.begin(parameters, self.workspace.buffers())?;
        // The threads sleep while this one waits for other ranks.
        let report = install_from(
            self,
            |trainer| trainer.workspace.pool(),
            |trainer| trainer.own_shards(parallel, data, batch, samples, monitor),
        );
        self.workspace.buffers_mut().copy_from_slice(&parallel.buffers);
        let report = report?;
        parallel.add_ranks()?;
        let [.., losses] = parallel.totals(parameters);
        let loss = sum_of_losses(losses);
        // A rank that failed gives a loss of NaN, so that all ranks come here together.
        let found = if loss.is_finite() { None } else { parallel.exchange_reports(report)? };
        let [gradient, buffers, _] = parallel.totals(parameters);
        self.workspace.blocks_and_gradient().1.copy_from_slice(gradient);
        for (value, &change) in self.workspace.buffers_mut().iter_mut().zip(buffers) {
            *value += change;
        }
        let step = self.optimizer.steps();
        let done = install_from(
            self,
            |trainer| trainer.workspace.pool(),
            |trainer| {
                trainer.report_gradient(monitor);
                trainer.apply(loss, weight, monitor)
            },
        )?;
        match found {
            Some((rank, sample)) if done.outcome == Outcome::Apply && self.check_parameters().is_err() => {
                Err(RankRule::NonFinite { rank, sample, step }.into())
            }
            _ => Ok(done),
        }
    }

    /// Computes the sums of this rank's shards.
    fn own_shards(
        &mut self,
        parallel: &mut DataParallel<T>,
        data: &dyn Source<T>,
        batch: &mut Batch<T>,
        samples: &[usize],
        monitor: &mut dyn GradientMonitor<T>,
    ) -> Result<Report, Error> {
        let mean = self.loss.reduction() == Reduction::Mean;
        let size = parallel.samples_of_pass(self.settings.batch_size);
        let with_weight = parallel.all_shards().filter(|&shard| parallel.weights[shard] > 0.0);
        let whole: usize = with_weight.map(|shard| parallel.samples_of(shard, samples.len()).len()).sum();
        let (mut monitor, mut report) = (Part { monitor, first: true }, Report::Nothing);
        for shard in parallel.own_shards() {
            let range = parallel.samples_of(shard, samples.len());
            let parts = Parts { samples: &samples[range.clone()], first: range.start, size };
            let runs = parallel.weights[shard] > 0.0 && !matches!(report, Report::Failed(_));
            self.workspace.buffers_mut().copy_from_slice(&parallel.buffers);
            let loss = match runs {
                true => {
                    self.accumulate(data, batch, parts, &|weight| parallel.share(shard, weight, mean), &mut monitor)
                }
                false => Ok(0.0),
            };
            let loss = match loss {
                Ok(loss) => scalar(loss),
                Err(error) => {
                    report = Report::Failed(error);
                    T::nan()
                }
            };
            // The mean over shards of the changes, by samples.
            let fraction = if runs { scalar::<T>(range.len() as f64 / whole as f64) } else { T::zero() };
            for (value, &before) in self.workspace.buffers_mut().iter_mut().zip(&parallel.buffers) {
                *value = (*value - before) * fraction;
            }
            if !runs {
                self.workspace.blocks_and_gradient().1.fill(T::zero());
            }
            parallel.push(shard, self.workspace.gradient(), self.workspace.buffers(), loss)?;
            if !loss.is_finite() && matches!(report, Report::Nothing) {
                report = self.first_non_finite_loss(data, batch, parts).map_or(Report::Nothing, Report::Sample);
            }
        }
        Ok(report)
    }

    /// The first of some samples whose loss alone is not finite.
    fn first_non_finite_loss(&mut self, data: &dyn Source<T>, batch: &mut Batch<T>, parts: Parts<'_>) -> Option<usize> {
        for (i, &sample) in parts.samples.iter().enumerate() {
            let one = Parts { samples: &[sample], first: parts.first + i, size: 1 };
            let loss = self.accumulate(data, batch, one, &|_| 1.0, &mut Part { monitor: &mut (), first: true });
            if loss.is_ok_and(|loss| !loss.is_finite()) {
                return Some(sample);
            }
        }
        None
    }
}
