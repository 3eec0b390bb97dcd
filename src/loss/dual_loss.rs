//! Losses whose gradient is computed by dual numbers (forward-mode differentiation) instead of handwritten code.

use super::{InBoth, Loss, Reduction, Rows, Target, check_finite, class_of, in_double, own_evaluate, require_classes};
use crate::{
    error::Error,
    math::dual::Dual,
    scalar::{Scalar, is_narrow},
};
use alloc::vec::Vec;
use core::fmt::Debug;

/// The loss of one row, written once for all scalars. [`DualLoss`] turns it into a [`Loss`].
///
/// ```
/// use chainrule::{Scalar, loss::{DualLoss, Loss, RowLoss, Target}};
/// /// `Σ (y − t)⁴` of a row.
/// #[derive(Debug)]
/// struct Quartic;
/// impl RowLoss for Quartic {
///     fn row<T: Scalar>(&self, y: &[T], target: Target<'_, T>) -> T {
///         let Target::Values(t) = target else { return T::nan() };
///         y.iter().zip(t).fold(T::zero(), |sum, (&y, &t)| sum + (y - t).powi(4))
///     }
/// }
/// let mut gradient = [0.0];
/// let loss = DualLoss::new(Quartic).evaluate(1, &[3.0], Target::Values(&[1.0]), None, &mut gradient)?;
/// assert_eq!((loss, gradient), (16.0, [32.0])); // 2⁴ and 4 · 2³
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// # Required
/// `row` returns the loss of the outputs `y` of one row, given its target: one class, or
/// [`target_width`](Self::target_width) values.
///
/// # Optional
/// | method | default | override it if |
/// | --- | --- | --- |
/// | `takes_classes` | `false`: values | the targets are classes |
/// | `target_width` | that of the output | a row of targets does not have as many values as a row of outputs |
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the loss of a row",
    label = "not the loss of a row",
    note = "it is a type with `RowLoss::row`, generic over the number type, which a closure cannot be",
    note = "a loss with a gradient of its own, such as `MeanSquaredError`, needs no `DualLoss`"
)]
pub trait RowLoss: Debug {
    /// Returns the loss of one row: of its outputs `y` and its `target`.
    ///
    /// # Shapes
    /// `y`: \[width\]; `target`: one class, or \[target width\].
    fn row<T: Scalar>(&self, y: &[T], target: Target<'_, T>) -> T;

    /// Whether the targets are classes; with the default, `false`, they are values.
    fn takes_classes(&self) -> bool {
        false
    }

    /// Returns the number of target values of a row, for output rows of `width` values; the default is `width`.
    fn target_width(&self, width: usize) -> usize {
        width
    }
}

/// Turns a [`RowLoss`] ℓ into a [`Loss`]: the mean or the sum of `ℓ(y, t)` over rows, with outputs y and targets t.
/// One evaluation on [dual numbers](crate::testing::Dual) for each output i gives `∂ℓ/∂y_i`. It is meant for
/// prototypes.
///
/// The gradient is exact to rounding. It costs `width` evaluations of dual numbers a row, each of some three times
/// the operations, and allocates; a gradient written by hand costs about one. A row of weight 0 is not read.
///
/// ```
/// use chainrule::{Scalar, scalar, loss::{DualLoss, RowLoss, Target}, testing::{Losses, loss_laws}};
/// /// `log(2 cosh d)` of `d = y − t`, summed over the values of a row, without overflow.
/// #[derive(Debug)]
/// struct LogCosh;
/// impl RowLoss for LogCosh {
///     fn row<T: Scalar>(&self, y: &[T], target: Target<'_, T>) -> T {
///         let Target::Values(t) = target else { return T::nan() };
///         let each = |d: T| d + (-(d + d)).exp().ln_1p();
///         y.iter().zip(t).fold(T::zero(), |sum, (&y, &t)| sum + each((y - t).abs()))
///     }
/// }
/// let loss = DualLoss::new(LogCosh);
/// loss_laws(Losses { single: &loss, double: &loss, dual: &loss }, 0).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DualLoss<F> {
    loss: F,
    reduction: Reduction,
}

impl<F: RowLoss> DualLoss<F> {
    /// Creates a loss from the loss of one row, `loss`, reduced to the mean over rows.
    pub fn new(loss: F) -> Self {
        DualLoss { loss, reduction: Reduction::Mean }
    }

    /// Sets how the losses of the rows are reduced to one value: by the mean, the default, or the sum.
    #[must_use]
    pub fn reduction(self, reduction: Reduction) -> Self {
        DualLoss { reduction, ..self }
    }
}

impl<F: RowLoss> DualLoss<F> {
    /// Implements [`Loss::evaluate`], whose arguments `rows` holds: overwrites the gradient in `rows`, and returns
    /// the loss as (rounded to `T`, as an `f64`).
    fn of_rows<T: Scalar>(&self, rows: Rows<'_, T>) -> Result<InBoth<T>, Error> {
        if is_narrow::<T>() {
            return in_double(rows, |rows| self.of_rows(rows));
        }
        let width = rows.width;
        Loss::<T>::check_width(self, width)?;
        let (in_row, classes) = (self.loss.target_width(width), self.loss.takes_classes());
        let labels = if classes { rows.classes("DualLoss")? } else { &[] };
        let values = if classes { &[] } else { rows.values("DualLoss", in_row)? };
        let share = rows.total(1).share(self.reduction)?;
        let (mut point, mut constants) = (Vec::with_capacity(width), Vec::new());
        rows.evaluate(share, |row, weight, y, dy, mean| {
            point.clear();
            point.extend(y.iter().map(|&y| Dual::constant(y)));
            constants.clear();
            let target = if classes {
                class_of(labels, row, width)?;
                Target::Classes(&labels[row..=row])
            } else {
                let values = &values[row * in_row..][..in_row];
                check_finite("targets", row * in_row, values)?;
                constants.extend(values.iter().map(|&value| Dual::constant(value)));
                Target::Values(values)
            };
            mean.add(weight, self.loss.row(y, target));
            for (i, dy) in dy.iter_mut().enumerate() {
                point[i].tangent = T::one();
                let target = if classes { Target::Classes(&labels[row..=row]) } else { Target::Values(&constants) };
                *dy = share.of(weight, self.loss.row(&point, target).tangent);
                point[i].tangent = T::zero();
            }
            Ok(())
        })
    }
}

impl<T: Scalar, F: RowLoss> Loss<T> for DualLoss<F> {
    own_evaluate!(|this, width, y, target, weights, dy| this.of_rows(Rows::new(width, y, target, weights, dy)?));

    fn reduction(&self) -> Reduction {
        self.reduction
    }

    fn check_width(&self, width: usize) -> Result<(), Error> {
        if self.loss.takes_classes() { require_classes("DualLoss", width) } else { Ok(()) }
    }

    fn target_width(&self, width: usize) -> usize {
        self.loss.target_width(width)
    }
}
