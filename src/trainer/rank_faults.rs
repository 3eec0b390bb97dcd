//! Failures in data-parallel training: a rank that cannot make an update, and the search for the sample whose loss is
//! not finite.

use super::{
    Run,
    parts::{Part, Parts, Reader},
    updated::Updated,
};
use crate::{
    dataset::{Source, first_non_finite},
    distributed::{DataParallel, Report},
    error::{Error, RankRule},
    layer::{Mode, Samples},
    monitor::progress::Spike,
    scalar::Scalar,
    transform::Outcome,
};
use alloc::vec::Vec;

impl<T: Scalar> Run<'_, T> {
    /// Takes part in an update over several ranks that this rank cannot make because of `error`. It contributes
    /// losses of NaN, so that the other ranks receive the error instead of waiting. `samples` are the samples of the
    /// update. Returns `error`; or `None` if a rank has requested the end of training, since training on one rank
    /// would then not have begun this update.
    #[cold]
    pub(super) fn fail_on_ranks(
        &mut self,
        parallel: &mut DataParallel<T>,
        data: &dyn Source<T>,
        samples: &[usize],
        error: Error,
    ) -> Result<Option<Updated>, Error> {
        if parallel.ranks() > 1 {
            parallel.begin(self.workspace.blocks(), self.workspace.buffers(), samples)?;
            parallel.begin_failed();
            self.workspace.blocks_and_gradient().1.fill(T::zero());
            for shard in parallel.own_shards() {
                parallel.set_loss(shard, f64::NAN);
                parallel.push(shard..shard + 1, self.workspace.gradient(), self.workspace.buffers())?;
            }
            let [_, requested] = parallel.add_ranks(false)?;
            if requested && self.answer_requests(parallel, data)? {
                return Ok(None);
            }
            let report = if parallel.failed_elsewhere() { Report::Nothing } else { Report::Failed(error.clone()) };
            parallel.exchange_reports(report)?;
        }
        Err(error)
    }

    /// Returns the index, in the data set, of the first sample of `parts` whose loss, computed for this sample alone,
    /// is not finite; `None` if there is none. If the network couples samples, as a batch norm does, the passes run
    /// over the groups of `parts` instead of single samples. A sample is then returned only if no other sample has a
    /// loss that is not finite. May overwrite the gradient in the workspace.
    #[cold]
    pub(super) fn non_finite_sample(
        &mut self,
        parallel: &DataParallel<T>,
        reader: &mut Reader<'_, T>,
        parts: Parts<'_>,
    ) -> Option<usize> {
        if self.workspace.network().samples() != Samples::Independent {
            self.workspace.buffers_mut().copy_from_slice(&parallel.buffers);
            return self.only_non_finite_loss(reader, parts).ok()?;
        }
        for (place, sample) in self.places(reader, parts).ok()? {
            let one = Parts { samples: &[sample], first: place, size: 1 };
            let loss = self.accumulate(reader, one, &|_| 1.0, &mut Part { monitor: &mut (), first: true, whole: 1.0 });
            if loss.is_ok_and(|loss| !loss.is_finite()) {
                return Some(sample);
            }
        }
        None
    }

    /// Returns `done`, the result of update number `step` from `samples`. If the update was applied and a parameter
    /// is now not finite, it returns an error instead. The error names `origin`: the shard and the sample of a loss
    /// or gradient that is not finite.
    pub(super) fn name_origin(
        &self,
        parallel: &DataParallel<T>,
        samples: &[usize],
        origin: Option<Spike>,
        step: u64,
        done: Updated,
    ) -> Result<Updated, Error> {
        let broken = |_: &Spike| done.outcome == Outcome::Apply && self.check_parameters().is_err();
        let Some(Spike { rank, shard, sample, .. }) = origin.filter(broken) else { return Ok(done) };
        Err(match sample {
            Some(sample) => RankRule::NonFinite { rank, sample, step }.into(),
            None => {
                let samples = samples[parallel.samples_of(shard, samples.len())].into();
                RankRule::NonFiniteShard { rank, shard, samples, step }.into()
            }
        })
    }

    /// Whether all parameters are finite.
    pub(super) fn are_parameters_finite(&self) -> bool {
        first_non_finite(self.parameters).is_none()
    }

    /// Returns a pair for each sample of `parts`: (its position among the samples of the update, which keys the
    /// dropout masks; its index in the data set). The pairs are in the order in which the passes process the samples;
    /// a pass reorders samples of unequal length.
    pub(super) fn places(
        &mut self,
        reader: &mut Reader<'_, T>,
        parts: Parts<'_>,
    ) -> Result<Vec<(usize, usize)>, Error> {
        let (per_step, mut places) = (self.workspace.per_step(), Vec::new());
        for (i, part) in parts.samples.chunks(parts.size).enumerate() {
            reader.batch.choose(reader.data, part, per_step)?;
            let first = parts.first + i * parts.size;
            places.extend(reader.batch.samples().iter().enumerate().map(|(j, &sample)| (first + j, sample)));
        }
        Ok(places)
    }

    /// Runs a forward pass for each group of `parts.size` samples. Returns the index, in the data set, of the only
    /// sample with an output row whose loss is not finite; `None` if no sample or more than one has such a row.
    fn only_non_finite_loss(&mut self, reader: &mut Reader<'_, T>, parts: Parts<'_>) -> Result<Option<usize>, Error> {
        let (width, per_step) = (self.workspace.dims().output, self.workspace.per_step());
        let mut found = None;
        for (i, part) in parts.samples.chunks(parts.size).enumerate() {
            reader.batch.choose(reader.data, part, per_step)?;
            self.fill(reader, parts.first + i * parts.size)?;
            let shape = reader.batch.shape();
            let output = self.workspace.forward_filled(self.parameters, shape, Mode::Train, &mut ())?;
            for (row, (y, dy)) in output.y.chunks_exact(width).zip(output.dy.chunks_exact_mut(width)).enumerate() {
                let (target, weights) = reader.batch.part(row..row + 1);
                if self.loss.total_weight(width, target, weights) == 0.0
                    || self.loss.evaluate_wide(width, y, target, weights, dy)?.is_finite()
                {
                    continue;
                }
                let sample = Some(reader.batch.target_place(reader.data, per_step, row).0);
                if found.is_some() && found != sample {
                    return Ok(None);
                }
                found = sample;
            }
        }
        Ok(found)
    }
}
