//! Evaluation of losses in `f64` for narrow formats such as `f16`, and macros for the methods that the losses of this
//! crate share.

use super::{Rows, Target};
use crate::{
    error::Error,
    scalar::{Scalar, scalar, to_f64},
    size::{filled, reserve},
};
use alloc::vec::Vec;

/// The value of a loss as a pair: (rounded to the format `T`, as an `f64`). If `T` is narrower than `f32`, the `f64`
/// is not rounded to `T`.
pub(crate) type InBoth<T> = (T, f64);

/// Evaluates a loss in `f64`: calls `evaluate` with the arguments `rows` converted to `f64`, and rounds the loss and
/// its gradient to `T`. Losses in formats narrower than `f32` are computed this way, since a single term may overflow
/// the format although the mean does not.
pub(super) fn in_double<T: Scalar>(
    rows: Rows<'_, T>,
    evaluate: impl FnOnce(Rows<'_, f64>) -> Result<InBoth<f64>, Error>,
) -> Result<InBoth<T>, Error> {
    let widened = |values: &[T]| -> Result<Vec<f64>, Error> {
        let mut wide = reserve("the values of a loss", values.len())?;
        wide.extend(values.iter().map(|&value| to_f64(value)));
        Ok(wide)
    };
    let (y, weights) = (widened(rows.y)?, rows.weights.map(widened).transpose()?);
    let values = match rows.target {
        Target::Values(values) => widened(values)?,
        Target::Classes(_) => Vec::new(),
    };
    let target = match rows.target {
        Target::Values(_) => Target::Values(&values[..]),
        Target::Classes(classes) => Target::Classes(classes),
    };
    let mut dy = filled("the gradient of a loss", rows.dy.len(), 0.0)?;
    let Rows { rows: count, width, dy: narrow, .. } = rows;
    let (_, loss) = evaluate(Rows { rows: count, width, y: &y, target, weights: weights.as_deref(), dy: &mut dy })?;
    narrow.iter_mut().zip(dy).for_each(|(narrow, dy)| *narrow = scalar(dy));
    Ok((scalar(loss), loss))
}

/// Defines the methods `evaluate` and `evaluate_wide` of a loss of this crate, from an expression for the loss in `T`
/// and in `f64`. A name `$name` alone stands for a call of the scalar's method of this name, which
/// [`compiled`](crate::compiled) lists, so that this crate compiles the loss for `f32` and `f64`. Without row
/// weights, the total weight of target values of such a loss is the number of their rows.
macro_rules! own_evaluate {
    ($name:ident) => {
        $crate::loss::own::own_evaluate!(|this, width, y, target, weights, dy| {
            T::$name(this, Rows::new(width, y, target, weights, dy)?)
        });

        fn weighs_target_values(&self) -> bool {
            false
        }
    };
    (|$this:ident, $width:ident, $y:ident, $target:ident, $weights:ident, $dy:ident| $both:expr) => {
        fn evaluate(
            &self,
            $width: usize,
            $y: &[T],
            $target: $crate::loss::Target<'_, T>,
            $weights: Option<&[T]>,
            $dy: &mut [T],
        ) -> Result<T, Error> {
            let $this = self;
            let (loss, _) = $both?;
            Ok(loss)
        }

        fn evaluate_wide(
            &self,
            $width: usize,
            $y: &[T],
            $target: $crate::loss::Target<'_, T>,
            $weights: Option<&[T]>,
            $dy: &mut [T],
        ) -> Result<f64, Error> {
            let $this = self;
            let (_, loss) = $both?;
            Ok(loss)
        }
    };
}
pub(super) use own_evaluate;

/// Defines the setter `reduction` of the loss `$loss`: how the losses of its `$what`, such as rows, are reduced to
/// one value.
macro_rules! reduction_setter {
    ($loss:ident, $what:literal) => {
        impl $loss {
            #[doc = concat!("Sets how the losses of the ", $what, " are reduced to one; the default is the mean.")]
            #[must_use]
            pub fn reduction(mut self, reduction: $crate::loss::Reduction) -> Self {
                self.reduction = reduction;
                self
            }
        }
    };
}
pub(super) use reduction_setter;
