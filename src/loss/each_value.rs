//! Losses that are a sum or mean over all output values, and weights for the values.

use super::{InBoth, Loss, Reduction, Rows, Sum, Target, Total, check_finite, in_double, own_evaluate, total_weight};
use crate::{
    error::{Error, require},
    scalar::{Scalar, is_narrow, to_f64},
};

/// A loss that is a sum `Σ ℓ(y, t)` over all output values y with targets t, or their mean.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not computed value by value, so it takes no weights of values",
    label = "takes no weights of values",
    note = "`ValueWeights` takes `MeanSquaredError`, `MeanAbsoluteError`, `Huber`, `SmoothL1`, `Pinball`, `PoissonNll`, \
            `Focal`, `Hinge` and `BinaryCrossEntropy`",
    note = "a weight for each row is `Dataset::row_weights`, one for each class `CrossEntropy::class_weights`"
)]
pub trait EachValue<T: Scalar>: Loss<T> {
    /// The name of the loss, for error messages.
    const NAME: &'static str;

    /// Returns (`ℓ(y, t)`, `∂ℓ/∂y`): the loss of an output value `y` with target `t`, in column `column` of its row,
    /// and its derivative.
    fn of(&self, column: usize, y: T, t: T) -> (T, T);

    /// Returns an error for a target `t` outside the range of the loss; by default every finite target is valid.
    fn check_target(&self, _t: T) -> Result<(), Error> {
        Ok(())
    }

    /// Returns an error for settings of the loss that the format `T` cannot hold, or whose number does not match
    /// output rows of `width` values. By default there is none.
    fn check(&self, _width: usize) -> Result<(), Error> {
        Ok(())
    }
}

/// Implements [`Loss::evaluate`], whose arguments `rows` holds, for a loss that is a sum or mean over all values.
/// Overwrites the gradient in `rows`, and returns the loss as (rounded to `T`, as an `f64`).
pub(super) fn evaluate<T: Scalar, E: EachValue<T> + EachValue<f64>>(
    loss: &E,
    reduction: Reduction,
    rows: Rows<'_, T>,
) -> Result<InBoth<T>, Error> {
    let width = rows.width;
    EachValue::<T>::check(loss, width)?;
    if is_narrow::<T>() {
        return in_double(rows, |rows| evaluate(loss, reduction, rows));
    }
    let target = rows.values(<E as EachValue<T>>::NAME, width)?;
    let share = rows.total(width).share(reduction)?;
    rows.evaluate(share, |row, weight, y, dy, mean| {
        let target = &target[row * width..][..width];
        check_finite("targets", row * width, target)?;
        for (column, ((&y, &target), dy)) in y.iter().zip(target).zip(dy).enumerate() {
            loss.check_target(target)?;
            let (value, slope) = loss.of(column, y, target);
            mean.add(weight, value);
            *dy = share.of(weight, slope);
        }
        Ok(())
    })
}

/// A loss with a weight v for each output value y with target t. It is the sum `Σ v ℓ(y, t)` over all values, for a
/// loss ℓ that is computed value by value; a mean is this sum divided by `Σ v`.
///
/// The weights v, finite and not negative, are part of the targets: for outputs of `width` values, a row of targets
/// has `width` targets and then `width` weights. A value of weight 0 is masked: neither its output nor its target is
/// read, and its gradient is exactly zero. In a [`Dataset`](crate::dataset::Dataset), which accepts no NaN, its
/// target may be any finite number. Row weights multiply the weights of their rows.
///
/// The loss ℓ is [`MeanSquaredError`](super::MeanSquaredError), [`MeanAbsoluteError`](super::MeanAbsoluteError),
/// [`Huber`](super::Huber), [`SmoothL1`](super::SmoothL1), [`Pinball`](super::Pinball),
/// [`PoissonNll`](super::PoissonNll), [`Focal`](super::Focal), [`Hinge`](super::Hinge) or
/// [`BinaryCrossEntropy`](super::BinaryCrossEntropy), with its reduction. The weights are those of the argument
/// `weight` of PyTorch's `mse_loss` and `l1_loss`; the means of its `huber_loss` and `binary_cross_entropy` divide by
/// the number of values.
///
/// # Shapes
/// Targets: \[rows, 2 width\].
///
/// ```
/// use chainrule::loss::{Loss, MeanSquaredError, Target, ValueWeights};
/// // Two rows of two targets and their weights; the second target of the first row is unknown.
/// let targets = [0.5, f64::NAN, 1.0, 0.0, 0.25, 0.75, 1.0, 2.0];
/// let (y, mut dy) = ([0.0, 0.0, 0.25, 0.0], [0.0; 4]);
/// let loss = ValueWeights::new(MeanSquaredError::new());
/// let value = loss.evaluate(2, &y, Target::Values(&targets), None, &mut dy)?;
/// assert_eq!((value, dy), ((0.25 + 2.0 * 0.5625) / 4.0, [-0.25, 0.0, 0.0, -0.75]));
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ValueWeights<L>(L);

impl<L> ValueWeights<L> {
    /// Creates `loss` with a weight for each output value, which the targets hold: see [`ValueWeights`].
    pub fn new(loss: L) -> Self {
        ValueWeights(loss)
    }
}

/// Returns `of_row · v`, the weight of an output value in the loss: the weight `of_row` of its row times its own
/// weight `v`. Returns an error for a `v` that is negative or not finite, and for a product that overflows. `index`
/// is the index of `v` in the targets, for the error.
fn value_weight<T: Scalar>(of_row: T, v: T, index: usize) -> Result<T, Error> {
    check_finite("the weights of values", index, &[v])?;
    require(v >= T::zero(), "the weight of a value", "not negative", to_f64(v))?;
    let product = of_row * v;
    require(product.is_finite(), "the weight of a value times that of its row", "finite", to_f64(product))?;
    Ok(product)
}

impl<L> ValueWeights<L> {
    /// Implements [`Loss::evaluate`], whose arguments `rows` holds: overwrites the gradient in `rows`, and returns
    /// the loss as (rounded to `T`, as an `f64`).
    fn of_rows<T: Scalar>(&self, rows: Rows<'_, T>) -> Result<InBoth<T>, Error>
    where
        L: EachValue<T> + EachValue<f64>,
    {
        let (width, loss) = (rows.width, &self.0);
        EachValue::<T>::check(loss, width)?;
        if is_narrow::<T>() {
            return in_double(rows, |rows| self.of_rows(rows));
        }
        let in_row = Loss::<T>::target_width(self, width);
        let target = rows.values(<L as EachValue<T>>::NAME, in_row)?;
        let mut total = Total::new();
        for row in (0..rows.rows).filter(|&row| !rows.weight(row).is_zero()) {
            let first = row * in_row + width;
            for (i, &v) in target[first..][..width].iter().enumerate() {
                total.add(value_weight(rows.weight(row), v, first + i)?);
            }
        }
        let share = total.share(Loss::<T>::reduction(loss))?;
        rows.evaluate(share, |row, weight, y, dy, mean| {
            let (target, weights) = target[row * in_row..][..in_row].split_at(width);
            for (column, dy) in dy.iter_mut().enumerate() {
                let weight = weight * weights[column];
                *dy = T::zero();
                if !weight.is_zero() {
                    check_finite("targets", row * in_row + column, &target[column..=column])?;
                    loss.check_target(target[column])?;
                    let (value, slope) = loss.of(column, y[column], target[column]);
                    mean.add(weight, value);
                    *dy = share.of(weight, slope);
                }
            }
            Ok(())
        })
    }
}

impl<T: Scalar, L: EachValue<T> + EachValue<f64>> Loss<T> for ValueWeights<L> {
    own_evaluate!(|this, width, y, target, weights, dy| this.of_rows(Rows::new(width, y, target, weights, dy)?));

    fn reduction(&self) -> Reduction {
        Loss::<T>::reduction(&self.0)
    }

    fn check_width(&self, width: usize) -> Result<(), Error> {
        EachValue::<T>::check(&self.0, width)
    }

    fn target_width(&self, width: usize) -> usize {
        width.saturating_mul(2)
    }

    /// Returns the divisor of a mean: the sum of the weights of all values (the second half of each row of `target`),
    /// each times the weight of its row. It is NaN if the weight of a value is negative. For targets that are
    /// classes, for which `evaluate` returns an error, it is the sum of the row weights.
    fn total_weight(&self, width: usize, target: Target<'_, T>, row_weights: Option<&[T]>) -> f64 {
        let values = match target {
            Target::Values(values) => values,
            Target::Classes(classes) => return total_weight(classes.len(), row_weights),
        };
        let mut sum = Sum::new();
        for (row, values) in values.chunks(Loss::<T>::target_width(self, width).max(1)).enumerate() {
            let of_row = row_weights.and_then(|weights| weights.get(row)).map_or(1.0, |&weight| to_f64(weight));
            let weights = values.get(width..).unwrap_or_default();
            if of_row != 0.0 {
                if weights.iter().any(|&v| v < T::zero()) {
                    return f64::NAN;
                }
                weights.iter().for_each(|&v| sum.add(of_row * to_f64(v)));
            }
        }
        sum.total()
    }
}
