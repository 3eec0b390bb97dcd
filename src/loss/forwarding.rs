//! Implementations of [`Loss`] for references and boxes of losses.

use super::{Loss, Reduction, Target};
use crate::{error::Error, scalar::Scalar};
use alloc::boxed::Box;

/// Implements [`Loss`] for a reference or a box of a loss, by forwarding each method to the loss itself.
macro_rules! delegate {
    ($type:ty) => {
        impl<T: Scalar, L: Loss<T> + ?Sized> Loss<T> for $type {
            fn evaluate(
                &self,
                width: usize,
                y: &[T],
                target: Target<'_, T>,
                row_weights: Option<&[T]>,
                dy: &mut [T],
            ) -> Result<T, Error> {
                (**self).evaluate(width, y, target, row_weights, dy)
            }
            fn evaluate_wide(
                &self,
                width: usize,
                y: &[T],
                target: Target<'_, T>,
                row_weights: Option<&[T]>,
                dy: &mut [T],
            ) -> Result<f64, Error> {
                (**self).evaluate_wide(width, y, target, row_weights, dy)
            }
            fn reduction(&self) -> Reduction {
                (**self).reduction()
            }
            fn minimum_at_target(&self) -> bool {
                (**self).minimum_at_target()
            }
            fn target_width(&self, width: usize) -> usize {
                (**self).target_width(width)
            }
            fn check_width(&self, width: usize) -> Result<(), Error> {
                (**self).check_width(width)
            }
            fn total_weight(&self, width: usize, target: Target<'_, T>, row_weights: Option<&[T]>) -> f64 {
                (**self).total_weight(width, target, row_weights)
            }
            fn weighs_target_values(&self) -> bool {
                (**self).weighs_target_values()
            }
        }
    };
}

delegate!(&L);
delegate!(Box<L>);
