//! A segment of the steps of a longer pass, of which the sums over time are continued from segment to segment.

use super::Backward;
use crate::scalar::Scalar;

/// The position of a segment in a longer pass, whose segments run backward from the last to the first.
pub(crate) struct Segment<'a, T> {
    /// The number of steps of a block in the sums over time.
    pub(crate) block_steps: usize,
    /// The number of blocks after the segment, which were added before.
    pub(crate) blocks_after: usize,
    /// Whether it is the first segment, with which the sums end.
    pub(crate) is_first: bool,
    /// The buffer of the sums over blocks, kept from segment to segment.
    pub(crate) sum_buffer: &'a mut [T],
    /// The samples that ran at the step before the segment; 0 if there is none.
    pub(crate) samples_before: usize,
    /// The output of the step before the segment for the samples of the segment, if any, and that of its steps.
    pub(crate) outputs: &'a [T],
}

/// A layer with a state whose backward pass can run in segments.
pub(crate) trait SegmentPass<T: Scalar> {
    /// The number of rows whose steps are one block of the sums over time.
    fn block_rows(&self) -> usize;

    /// [`Layer::backward`](super::Layer::backward) over a segment of a longer pass.
    fn backward_segment(&self, w: &[T], segment: Segment<'_, T>, pass: Backward<'_, T>);
}

/// The passes of a layer over segments. Sealed: only a layer of this crate makes one.
pub struct InSegments<'a, T: Scalar>(pub(crate) &'a dyn SegmentPass<T>);
