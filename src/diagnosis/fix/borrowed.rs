//! A loss that is lent to a trainer.

use crate::{
    error::Error,
    loss::{Loss, Reduction, Target},
    scalar::Scalar,
};

/// A loss behind a reference.
#[derive(Debug)]
pub(super) struct Borrowed<'a, T>(pub &'a dyn Loss<T>);

impl<T: Scalar> Loss<T> for Borrowed<'_, T> {
    fn evaluate(
        &self,
        width: usize,
        y: &[T],
        target: Target<'_, T>,
        row_weights: Option<&[T]>,
        dy: &mut [T],
    ) -> Result<T, Error> {
        self.0.evaluate(width, y, target, row_weights, dy)
    }
    fn reduction(&self) -> Reduction {
        self.0.reduction()
    }
    fn minimum_at_target(&self) -> bool {
        self.0.minimum_at_target()
    }
    fn target_width(&self, width: usize) -> usize {
        self.0.target_width(width)
    }
    fn total_weight(&self, width: usize, target: Target<'_, T>, row_weights: Option<&[T]>) -> f64 {
        self.0.total_weight(width, target, row_weights)
    }
}
