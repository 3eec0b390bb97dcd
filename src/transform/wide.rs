//! Ranges of values in an optimizer's state. For parameters in formats narrower than `f32`, the state keeps more
//! digits than the parameters.

use crate::{block::Blocks, math::wide::slots, scalar::Scalar, size::saturating_product};
use core::ops::Range;

/// Returns the length of a state with `values` values for each parameter of `blocks`, where each value takes
/// [`slots`] entries. It is `usize::MAX` if this overflows.
pub(super) fn state_of_parameters<T: Scalar>(values: usize, blocks: &Blocks) -> usize {
    saturating_product(&[values, slots::<T>(), blocks.parameters()])
}

/// Returns the range of the state that holds value number `place`, counted from 0, of all parameters of `blocks`. In
/// formats narrower than `f32` these are the values rounded to the format; the rounding errors that follow are not in
/// the range.
pub(super) fn range_of<T: Scalar>(place: usize, blocks: &Blocks) -> Range<usize> {
    let start = state_of_parameters::<T>(place, blocks);
    start..start.saturating_add(blocks.parameters())
}
