//! A segment of consecutive time steps of a longer pass. Gradient sums over time continue from segment to segment.

use super::{Backward, Mode};
use crate::{batch_shape::BatchShape, scalar::Scalar};
use core::fmt;

/// The position of a segment (some consecutive time steps) in a longer pass, and the values that the pass keeps from
/// segment to segment. The backward pass runs the segments from the last to the first.
pub(crate) struct Segment<'a, T> {
    /// The number of time steps in a block: steps whose gradients form one partial sum of the sums over time in the
    /// gradient of the parameters.
    pub(crate) block_steps: usize,
    /// The number of blocks (of `block_steps` time steps each) later in time than the segment. The backward pass has
    /// already added the partial sum of each of them to the gradient of the parameters.
    pub(crate) blocks_after: usize,
    /// Whether this is the first segment in time. It runs last, and completes the sums over time.
    pub(crate) is_first: bool,
    /// The buffer of the partial sums over blocks of time steps, kept from segment to segment.
    pub(crate) sum_buffer: &'a mut [T],
    /// The number of samples that ran at the time step before the segment; 0 if there is no such step.
    pub(crate) samples_before: usize,
    /// The output of the time step before the segment for the samples of the segment, if there is one, followed by
    /// the outputs of the segment's time steps.
    pub(crate) outputs: &'a [T],
}

/// A layer with a state whose backward pass can run in segments.
pub(crate) trait SegmentPass<T: Scalar> {
    /// Returns the largest number of rows (samples at single time steps) in a block: consecutive whole time steps
    /// whose gradients form one partial sum of the sums over time. A block has at least one step, which may have
    /// more rows.
    fn block_rows(&self) -> usize;

    /// Returns the length, in values, of the scratch of a pass in `mode` over a segment of a longer pass over `shape`.
    fn scratch(&self, shape: BatchShape<'_>, mode: Mode) -> usize;

    /// Runs [`Layer::backward`](super::Layer::backward) with the parameters `w` for one segment of the time steps of
    /// a longer pass. The slices of `pass` hold the rows of the segment alone, and the states and their gradients at
    /// its bounds.
    ///
    /// `segment` gives its position in the longer pass. The gradient of the parameters is added to `pass.dw`. Segments
    /// run from the last in time to the first, after which `pass.dw` is complete.
    fn backward_segment(&self, w: &[T], segment: Segment<'_, T>, pass: Backward<'_, T>);
}

/// The backward pass of a layer over segments of time steps. Sealed: only a layer of this crate makes one.
pub struct InSegments<'a, T: Scalar>(pub(crate) &'a dyn SegmentPass<T>);

impl<T: Scalar> fmt::Debug for InSegments<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InSegments").field("block_rows", &self.0.block_rows()).finish()
    }
}
