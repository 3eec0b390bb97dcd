//! The parts of an optimizer's state, which has more digits than the parameters.

use crate::{block::Blocks, math::wide::slots, scalar::Scalar, size::saturating_product};
use core::ops::Range;

/// Returns the length of a state with `values` values, each of [`slots`] entries, for each parameter of `blocks`;
/// `usize::MAX` for more than a `usize` can count.
pub(super) fn state_of_parameters<T: Scalar>(values: usize, blocks: &Blocks) -> usize {
    saturating_product(&[values, slots::<T>(), blocks.parameters()])
}

/// Returns the range of the state that holds value number `place` of each parameter of `blocks`. In narrow formats
/// these are the values rounded to the format, without the rounding errors that follow them.
pub(super) fn range_of<T: Scalar>(place: usize, blocks: &Blocks) -> Range<usize> {
    let start = state_of_parameters::<T>(place, blocks);
    start..start.saturating_add(blocks.parameters())
}
