//! The origin of a spike, an unusually large gradient: the shard and the sample that contribute most to it.

use super::{
    Run,
    parts::{Part, Parts, Reader},
    updated::Updated,
};
use crate::{
    dataset::first_non_finite,
    distributed::DataParallel,
    error::Error,
    kernel::{reduce::norm, thread_pool::install_from},
    loss::Reduction,
    monitor::{GradientMonitor, progress::Spike},
    scalar::{Scalar, to_f64},
    transform::Outcome,
};
use core::cell::Cell;

impl<T: Scalar> Run<'_, T> {
    /// Runs the backward pass and the update on a single rank, after a forward pass over all shards. The two numbers
    /// are the loss and the total weight of its rows. If the gradient is not finite, or if the update is recorded and
    /// the gradient norm is a spike (far above those of earlier updates), it finds the shard that contributes most.
    /// It then runs each sample of this shard alone, to find the sample.
    ///
    /// If the update is made in place and not recorded, the whole gradient never exists at once, and no origin is
    /// found.
    pub(super) fn update_alone(
        &mut self,
        parallel: &mut DataParallel<T>,
        reader: &mut Reader<'_, T>,
        samples: &[usize],
        [loss, weight]: [f64; 2],
        monitor: &mut dyn GradientMonitor<T>,
    ) -> Result<Updated, Error> {
        let is_recorded = self.watch.always || monitor.is_active();
        if !is_recorded && self.step_in_place()? {
            return Ok(Updated { loss, weight, outcome: Outcome::Apply });
        }
        self.workspace.backward_with(self.parameters, monitor)?;
        // Without a record, a chain that skips non-finite gradients needs no origin, so the gradient is not read.
        let needs_none = !is_recorded && self.optimizer.guarded();
        let is_finite = needs_none || first_non_finite(self.workspace.gradient()).is_none();
        self.watch.spike = self.spike(parallel, reader, samples, [is_recorded, is_finite])?;
        let (origin, step) = (self.watch.spike.filter(|_| !is_finite), self.optimizer.steps());
        let done = self.apply(loss, weight, monitor)?;
        self.name_origin(parallel, samples, origin, step, done)
    }

    /// Returns the shard, and the sample in it, that contribute most to the gradient of an update from `samples`,
    /// which is in the workspace. All ranks must call it, and all get the same result.
    ///
    /// For a finite gradient the result is `None` unless some rank records the update and the norm is far above those
    /// of earlier updates. For a gradient that is not finite it is `None` if a parameter is not finite (then no
    /// sample is the cause), or if no rank records the update and the chain skips such gradients. It is also `None`
    /// if no origin is found.
    pub(super) fn spike(
        &mut self,
        parallel: &mut DataParallel<T>,
        reader: &mut Reader<'_, T>,
        samples: &[usize],
        [is_recorded, is_finite]: [bool; 2],
    ) -> Result<Option<Spike>, Error> {
        if !is_recorded && (is_finite || self.optimizer.guarded()) {
            return Ok(None);
        }
        let norm = install_from(self, |trainer| trainer.workspace.pool(), |trainer| norm(trainer.workspace.gradient()));
        if is_recorded {
            self.watch.norm = Some(norm);
        }
        // Without a record this point is reached only if the gradient is not finite; such norms do not enter the
        // statistics.
        if (is_recorded && !parallel.is_spike(norm)) || (!is_finite && !self.are_parameters_finite()) {
            return Ok(None);
        }
        // A single process copies the gradient first. Without memory for the copy, the spike has no origin.
        if parallel.keep(self.workspace.gradient()).is_err() {
            return Ok(None);
        }
        let own = install_from(
            self,
            |trainer| trainer.workspace.pool(),
            |trainer| trainer.largest_contribution(parallel, reader, samples, norm),
        );
        let [.., gradient] = parallel.totals();
        self.workspace.blocks_and_gradient().1.copy_from_slice(gradient);
        parallel.largest(own)
    }

    /// Returns the contribution of the shard of this rank that contributes most to the gradient of the update, which
    /// has the norm `norm` and is in [`totals`](DataParallel::totals). `samples` are the samples of the update. The
    /// result names the sample with the largest contribution if the contributions of the shard's samples add up to
    /// that of the shard. Overwrites the gradient in the workspace. Returns `None` if a pass fails, or if `norm` is
    /// not finite but all contributions of this rank are.
    #[cold]
    fn largest_contribution(
        &mut self,
        parallel: &mut DataParallel<T>,
        reader: &mut Reader<'_, T>,
        samples: &[usize],
        norm: f64,
    ) -> Option<Spike> {
        let size = self.settings.batch_size;
        let mut of_shard = None;
        for shard in parallel.own_shards() {
            let range = parallel.samples_of(shard, samples.len());
            let parts = Parts { samples: &samples[range.clone()], first: range.start, size };
            of_shard = larger(of_shard, shard, self.contribution(parallel, reader, shard, parts, norm)?);
        }
        let (shard, shard_fraction) = of_shard.filter(|&(_, fraction)| norm.is_finite() || fraction > 0.0)?;
        let range = parallel.samples_of(shard, samples.len());
        let (mut of_sample, mut sum, mut sum_of_magnitudes) = (None, 0.0, 0.0_f64);
        let parts = Parts { samples: &samples[range.clone()], first: range.start, size };
        for (place, sample) in self.places(reader, parts).ok()? {
            let one = Parts { samples: &[sample], first: place, size: 1 };
            // A layer that couples samples, such as a batch norm, may return an error for a pass over one sample.
            let fraction = self.contribution(parallel, reader, shard, one, norm).unwrap_or(f64::NAN);
            of_sample = larger(of_sample, sample, fraction);
            (sum, sum_of_magnitudes) = (sum + fraction, sum_of_magnitudes + fraction.abs());
        }
        let rounding = num_traits::Float::sqrt(to_f64(T::epsilon())) * sum_of_magnitudes.max(shard_fraction.abs());
        let adds_up = match norm.is_finite() {
            true => (sum - shard_fraction).abs() <= rounding,
            false => sum == f64::INFINITY,
        };
        let of_sample = match range.len() {
            1 => of_sample.map(|(sample, _)| (sample, shard_fraction)),
            _ => of_sample.filter(|_| adds_up),
        };
        let (sample, sample_fraction) = (of_sample.map(|(sample, _)| sample), of_sample.map(|(_, fraction)| fraction));
        Some(Spike { rank: parallel.rank(), shard, shard_fraction, sample, sample_fraction })
    }

    /// Returns the contribution of `parts`, samples of shard `shard`, to the gradient g of the update (in
    /// [`totals`](DataParallel::totals)): `⟨g_parts, g⟩/‖g‖²`, with g_parts the gradient of the loss of `parts`, and
    /// ‖g‖ = `norm`. If `norm` is not finite, the result is infinity if the gradient of `parts` is not finite,
    /// otherwise 0. `None` if a pass fails. Overwrites the gradient in the workspace.
    fn contribution(
        &mut self,
        parallel: &mut DataParallel<T>,
        reader: &mut Reader<'_, T>,
        shard: usize,
        parts: Parts<'_>,
        norm: f64,
    ) -> Option<f64> {
        let (mean, counts) = (self.loss.reduction() == Reduction::Mean, Cell::new(false));
        let share = |weight| {
            counts.set(true);
            parallel.share(shard, weight, mean)
        };
        let passed = self.accumulate(reader, parts, &share, &mut Part { monitor: &mut (), first: true, whole: 1.0 });
        self.workspace.buffers_mut().copy_from_slice(&parallel.buffers);
        passed.ok()?;
        // If all rows have weight 0, no pass ran, and the workspace still holds an earlier gradient.
        if !counts.get() {
            return Some(0.0);
        }
        let (own, [.., gradient]) = (self.workspace.gradient(), parallel.totals());
        if !norm.is_finite() {
            return Some(if own.iter().all(|value| value.is_finite()) { 0.0 } else { f64::INFINITY });
        }
        let terms = own.iter().zip(gradient).map(|(&own, &whole)| (to_f64(own) / norm) * (to_f64(whole) / norm));
        Some(terms.sum())
    }
}

/// Returns the larger of two contributions to a gradient, each as (number of the shard or sample, fraction of the
/// gradient): `most`, or (`number`, `fraction`) if that fraction is larger or `most` is `None`.
fn larger(most: Option<(usize, f64)>, number: usize, fraction: f64) -> Option<(usize, f64)> {
    Some(most.filter(|&(_, most)| fraction <= most || fraction.is_nan()).unwrap_or((number, fraction)))
}
