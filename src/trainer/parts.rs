//! Updates whose samples are divided into groups, with one pass for each group.

use super::Run;
use crate::{
    dataset::{Batch, Source},
    distributed::DataParallel,
    loss::Reduction,
    monitor::{Event, GradientMonitor, Link},
    scalar::Scalar,
};
use core::ops::Range;

/// The monitor of one pass of an update that runs several passes. It forwards the values of each link (one factor of
/// the chain rule, such as one layer's weights) and the rows of the pass to `monitor`. It does not forward the
/// parameter gradient: the trainer reports that of the whole update.
pub(super) struct Part<'a, T: Scalar> {
    pub monitor: &'a mut dyn GradientMonitor<T>,
    /// Whether the pass is the first one of the update.
    pub first: bool,
    /// The total row weight that stands for the whole update: the weight of the rows of a pass divided by it is their
    /// fraction of the update. It is the total weight of all rows of the update, unless the loss gives each shard the
    /// same weight.
    pub whole: f64,
}

/// The data of an update, and the batch into which its samples are read.
pub(super) struct Reader<'a, T: Scalar> {
    pub data: &'a dyn Source<T>,
    pub batch: &'a mut Batch<T>,
}

/// Samples of an update that are processed in groups of at most `size` samples, with one pass for each group.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    pub samples: &'a [usize],
    /// The position of `samples[0]` among all samples of the update. It keys the dropout masks.
    pub first: usize,
    pub size: usize,
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
    fn event(&mut self, event: &Event<'_, T>) {
        if matches!(event, Event::Rows { .. }) {
            self.monitor.event(event);
        }
    }
}

impl<T: Scalar> Run<'_, T> {
    /// Reports the target rows of the batch that `reader` read last to `monitor`, if the monitor is active. It
    /// reports their effective number for the loss, and `of_update`, their fraction of the total row weight of the
    /// update.
    #[inline]
    pub(super) fn report_rows(
        &self,
        reader: &Reader<'_, T>,
        of_update: f64,
        monitor: &mut (impl GradientMonitor<T> + ?Sized),
    ) {
        if monitor.is_active() {
            monitor.event(&Event::Rows { of_update, effective: self.effective_rows(reader.batch, &|_| 1.0) });
        }
    }

    /// Reports the target rows of the batch that `reader` read last to `monitor`, as
    /// [`report_rows`](Self::report_rows) does. They are the rows of `shards` (consecutive parts of the samples) in
    /// an update from `samples` samples with one row each.
    pub(super) fn report_shards(
        &self,
        parallel: &DataParallel<T>,
        reader: &Reader<'_, T>,
        shards: Range<usize>,
        samples: usize,
        monitor: &mut dyn GradientMonitor<T>,
    ) {
        if !monitor.is_active() {
            return;
        }
        let mean = self.loss.reduction() == Reduction::Mean;
        let of = |shard| parallel.samples_of(shard, samples);
        let factor = |row| {
            let shard = shards.clone().find(|&shard| of(shards.start).start + row < of(shard).end);
            shard.map_or(1.0, |shard| parallel.factor_of_rows(shard, mean))
        };
        let effective = self.effective_rows(reader.batch, &factor);
        monitor.event(&Event::Rows { of_update: parallel.fraction(shards.clone(), mean), effective });
    }

    /// Returns the effective number of the rows of `batch` in the loss, divided by their actual number: `(Σ w)²/Σ w²`
    /// over rows of weight w, divided by the row count. `factor(row)` multiplies the weight of each row.
    #[cold]
    fn effective_rows(&self, batch: &Batch<T>, factor: &dyn Fn(usize) -> f64) -> f64 {
        let (width, rows) = (self.workspace.dims().output, batch.target_rows());
        let (mut sum, mut squares) = (0.0, 0.0);
        for row in 0..rows {
            let (target, weights) = batch.part(row..row + 1);
            let weight = factor(row) * self.loss.total_weight(width, target, weights);
            (sum, squares) = (sum + weight, squares + weight * weight);
        }
        sum * sum / squares / rows as f64
    }
}
