//! Segments of the time steps of a pass: their layers, lengths, samples, and the states between them.

use super::blocks::steps_of_block;
use crate::{
    batch_shape::BatchShape,
    layer::{Answers, Layer},
    monitor::{GradientMonitor, Link},
    scalar::Scalar,
};
use alloc::boxed::Box;
use core::ops::Range;

pub(super) struct Entry<T> {
    pub(super) layer: Box<dyn Layer<T>>,
    /// The results of the descriptive methods, such as [`Layer::hints`], of this layer, cached when the container was
    /// made.
    pub(super) kept: Answers,
    /// The largest number of rows (samples at single time steps) whose terms of dW form one partial sum; 0 if the
    /// layer is not recurrent.
    pub(super) block_rows: usize,
    /// The numbers of state values per sample: of h, then of the rest of the state; both 0 if the layer is not
    /// recurrent.
    pub(super) states: [usize; 2],
    pub(super) parameters: Range<usize>,
    pub(super) first_block: usize,
    pub(super) first_link: usize,
}

impl<T: Scalar> Entry<T> {
    pub(super) fn is_recurrent(&self) -> bool {
        self.block_rows > 0
    }

    /// Returns the number of time steps of a block for `batch` samples: consecutive steps whose terms of the
    /// parameter gradient form one partial sum.
    pub(super) fn block_steps(&self, batch: usize) -> usize {
        steps_of_block(self.block_rows, batch)
    }
}

/// The division of a pass into segments. A block is the time steps whose terms of a recurrent layer's parameter
/// gradient form one partial sum. Each segment except the last consists of whole blocks of every recurrent layer.
pub(super) struct Plan {
    pub(super) batch: usize,
    /// The number of time steps of the pass.
    pub(super) all_steps: usize,
    /// The number of time steps in a segment; the last segment may have fewer.
    pub(super) steps: usize,
    /// An upper bound on the number of segments of a pass. It does not shrink as the batch or the number of time
    /// steps grows.
    pub(super) slots: usize,
    /// An upper bound on the number of rows (samples at single time steps) of a segment. It does not shrink as the
    /// batch or the number of time steps grows.
    pub(super) rows: usize,
}

impl Plan {
    /// Returns the division of a pass over `shape` into segments of `wanted` time steps, at least 1, rounded up to
    /// whole blocks (steps whose gradients form one partial sum). `block_rows` is the largest number of rows in a
    /// block of any layer; it is a whole number of blocks of each other layer.
    pub(super) fn new(wanted: usize, block_rows: usize, shape: BatchShape<'_>) -> Self {
        let batch = shape.batch.max(1);
        let block = steps_of_block(block_rows, batch);
        let rows = batch.saturating_mul(wanted).saturating_add(block_rows.max(batch));
        Plan {
            batch,
            all_steps: shape.steps,
            steps: wanted.div_ceil(block).saturating_mul(block),
            slots: shape.steps.div_ceil(wanted),
            rows: rows.min(shape.rows()),
        }
    }

    /// Returns the range of the state before segment `k` in the buffer that keeps the state before each segment. The
    /// range has `state` values for each of the `samples` samples that reach the segment.
    pub(super) fn slot(&self, k: usize, samples: usize, state: usize) -> Range<usize> {
        let start = k * self.batch * state;
        start..start + samples * state
    }
}

/// Copies the states of the first `count` samples from `from`, which holds those of `batch` samples, to `to`, which
/// holds those of `count` samples. The states of `layers` lie one after the other, each with h of all samples, then
/// the rest of the state of all samples.
pub(super) fn gather<T: Copy>(layers: &[Entry<T>], from: &[T], batch: usize, to: &mut [T], count: usize) {
    let mut end = 0;
    for width in layers.iter().flat_map(|entry| entry.states) {
        to[end * count..][..width * count].copy_from_slice(&from[end * batch..][..width * count]);
        end += width;
    }
}

/// Copies the states of `count` samples, all that `from` holds, over those of the first `count` of the `batch` samples
/// in `to`. The states of `layers` lie one after the other, each with h of all samples, then the rest of the state of
/// all samples.
pub(super) fn scatter<T: Copy>(layers: &[Entry<T>], from: &[T], count: usize, to: &mut [T], batch: usize) {
    let mut end = 0;
    for width in layers.iter().flat_map(|entry| entry.states) {
        to[end * batch..][..width * count].copy_from_slice(&from[end * count..][..width * count]);
        end += width;
    }
}

/// A monitor that passes the events of a segment on as events of the whole pass. A link (factor of the chain rule)
/// of one time step gets the index of this step in the whole pass. A link of all steps gets the numbers of segments
/// before and after this one.
pub(super) struct OfSegment<'a, T> {
    pub(super) monitor: &'a mut dyn GradientMonitor<T>,
    /// The index, in the whole pass, of the first time step of the segment.
    pub(super) first: usize,
    /// The batch shape of the whole pass.
    pub(super) shape: BatchShape<'a>,
    /// The numbers of segments before and after this one, in the order in which the forward or backward pass runs them.
    pub(super) parts: [usize; 2],
}

impl<T: Scalar> GradientMonitor<T> for OfSegment<'_, T> {
    fn is_active(&self) -> bool {
        self.monitor.is_active()
    }

    fn forward(&mut self, at: &Link<'_>, x: &[T], y: &[T]) {
        let OfSegment { first, shape, parts, .. } = *self;
        self.monitor.forward(&of_pass(at, first, shape, parts), x, y);
    }

    fn backward(&mut self, at: &Link<'_>, dy: &[T], dx: &[T]) {
        let OfSegment { first, shape, parts, .. } = *self;
        self.monitor.backward(&of_pass(at, first, shape, parts), dy, dx);
    }
}

/// Returns the link `at` (factor of the chain rule) of a segment as a link of the whole pass over `shape`. `first` is
/// the first time step of the segment; `before` and `after` count the other segments, in the order in which they
/// run.
fn of_pass<'l>(at: &Link<'l>, first: usize, shape: BatchShape<'l>, [before, after]: [usize; 2]) -> Link<'l> {
    match at.step {
        Some(step) => Link { step: Some(step + first), shape, ..*at },
        None => Link { parts_before: before, parts_after: after, ..*at },
    }
}
