//! Something that can say how wrong an output is, and in which direction.

use crate::{error::Error, scalar::Scalar};
use core::fmt::Debug;

/// What the output should have been.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Target<'a, T> {
    /// One class a row.
    Classes(&'a [usize]),
    /// Values: \[rows, width\].
    Values(&'a [T]),
}

/// How the losses of the rows become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// Their mean.
    #[default]
    Mean,
    /// Their sum.
    Sum,
}

/// Something that can say how wrong an output is, and in which direction.
pub trait Loss<T: Scalar>: Debug {
    /// The loss of `y`; its gradient with respect to `y` overwrites `dy`.
    ///
    /// # Shapes
    /// `y`, `dy`: \[rows, width\]; `row_weights`, where given: \[rows\]. A row of weight 0 is masked: neither
    /// its output nor its target is read, and its gradient is exactly zero. With [`Reduction::Mean`]
    /// the sum is divided by the sum of the weights.
    ///
    /// # Errors
    /// Lengths that do not agree, targets of a kind the loss does not take, labels out of range,
    /// targets or weights that are not finite, a sum of weights of zero.
    fn evaluate(
        &self,
        width: usize,
        y: &[T],
        target: Target<'_, T>,
        row_weights: Option<&[T]>,
        dy: &mut [T],
    ) -> Result<T, Error>;
}
