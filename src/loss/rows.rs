//! The arguments of a loss function, their checks, and the reduction of the losses of rows to one value.

#[cfg(doc)]
use super::Loss;
use super::{InBoth, Reduction, Sum, Target};
use crate::{
    error::{Error, require, require_length},
    scalar::{Scalar, is_narrow, scalar, to_f64},
};
use core::fmt;

/// The arguments of [`Loss::evaluate`], from which a custom loss computes its value with the same checks as the
/// losses of this crate.
///
/// In `f16` and `bf16` the losses of this crate compute each term in `f64`; with `Rows` the custom function of one
/// row computes in the format itself, and only the sums over rows are `f64`.
///
/// [`reduce_values`](Self::reduce_values) and [`reduce_classes`](Self::reduce_classes) compute the loss from that of
/// one row. They check the kind and the number of the targets, finite values and the range of classes. They skip
/// masked rows, and reduce the others to a mean or a sum with row weights.
///
/// ```
/// use chainrule::{Error, Scalar, testing::{Losses, loss_laws}};
/// use chainrule::loss::{Loss, Reduction, Rows, Target};
/// /// The mean over rows of `max(0, 1 − t y)²` of each output y, with targets t of 1 and −1.
/// #[derive(Debug)]
/// struct SquaredHinge;
/// impl<T: Scalar> Loss<T> for SquaredHinge {
///     fn evaluate(&self, n: usize, y: &[T], t: Target<T>, rows: Option<&[T]>, dy: &mut [T]) -> Result<T, Error> {
///         Rows::new(n, y, t, rows, dy)?.reduce_values("SquaredHinge", n, Reduction::Mean, |y, t, dy| {
///             let mut sum = T::zero();
///             for (i, (&y, &t)) in y.iter().zip(t).enumerate() {
///                 if t.abs() != T::one() {
///                     let found = t.to_f64().unwrap_or(f64::NAN);
///                     return Err(Error::Parameter { what: "a target", expected: "1 or −1", found });
///                 }
///                 let gap = if t * y >= T::one() { T::zero() } else { T::one() - t * y };
///                 dy[i] = -(t + t) * gap;
///                 sum += gap * gap;
///             }
///             Ok(sum)
///         })
///     }
///     fn reduction(&self) -> Reduction {
///         Reduction::Mean
///     }
/// }
/// loss_laws(Losses { single: &SquaredHinge, double: &SquaredHinge, dual: &SquaredHinge }, 0).unwrap();
/// ```
pub struct Rows<'a, T> {
    /// The number of rows of the output.
    pub(super) rows: usize,
    /// The number of values of a row of the output.
    pub(super) width: usize,
    /// The output, \[rows, width\].
    pub(super) y: &'a [T],
    pub(super) target: Target<'a, T>,
    /// The weight of each row in the loss; `None` if each weight is 1.
    pub(super) weights: Option<&'a [T]>,
    /// The gradient of the loss with respect to `y`, \[rows, width\], which the evaluation overwrites.
    pub(super) dy: &'a mut [T],
}

/// Writes the numbers of rows, of outputs per row, of targets and of row weights.
impl<T> fmt::Debug for Rows<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = f.debug_struct("Rows");
        rows.field("rows", &self.rows).field("width", &self.width).field("target", &self.target);
        rows.field("weights", &self.weights.map(<[T]>::len)).finish_non_exhaustive()
    }
}

impl<'a, T: Scalar> Rows<'a, T> {
    /// Collects the arguments of [`Loss::evaluate`], and checks their lengths and the row weights.
    ///
    /// # Errors
    /// [`Error::Empty`] without rows or for a `width` of 0; [`Error::Length`] unless `y`, `weights` and `dy` have the
    /// same number of rows; [`Error::NonFinite`] for a weight that is not finite; [`Error::Parameter`] for one below
    /// 0.
    #[inline]
    pub fn new(
        width: usize,
        y: &'a [T],
        target: Target<'a, T>,
        weights: Option<&'a [T]>,
        dy: &'a mut [T],
    ) -> Result<Self, Error> {
        let Some(rows) = y.len().checked_div(width).filter(|&rows| rows > 0) else {
            return Err(Error::Empty { what: "the output" });
        };
        require_length("output", rows * width, y.len())?;
        require_length("gradient of the output", y.len(), dy.len())?;
        if let Some(weights) = weights {
            check_weights(rows, weights)?;
        }
        Ok(Rows { rows, width, y, target, weights, dy })
    }

    /// Computes a loss over rows whose targets are values, \[rows, `target_width`\], and overwrites the gradient.
    ///
    /// `of` receives the output of a row, its target and its gradient. It returns the loss of the row, overwrites the
    /// gradient with the derivative of this loss, and returns an error for targets outside its range. `loss` is the
    /// name of the loss, for error messages.
    ///
    /// # Errors
    /// [`Error::TargetKind`] for classes; [`Error::Length`] for a wrong number of targets; [`Error::NonFinite`] for a
    /// target that is NaN or infinite. [`Error::Parameter`] under a mean for weights whose sum is not positive. The
    /// errors of `of`.
    pub fn reduce_values(
        self,
        loss: &'static str,
        target_width: usize,
        reduction: Reduction,
        mut of: impl FnMut(&[T], &[T], &mut [T]) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let targets = self.values(loss, target_width)?;
        let share = self.total(1).share(reduction)?;
        self.evaluate(share, |row, weight, y, dy, mean| {
            let target = &targets[row * target_width..][..target_width];
            check_finite("targets", row * target_width, target)?;
            mean.add(weight, of(y, target, dy)?);
            dy.iter_mut().for_each(|dy| *dy = share.of(weight, *dy));
            Ok(())
        })
        .map(|(loss, _)| loss)
    }

    /// Computes a loss over rows whose targets are classes, one per row, and overwrites the gradient. `of` is as in
    /// [`reduce_values`](Self::reduce_values), with the class as the target.
    ///
    /// # Errors
    /// [`Error::IncompatibleLayer`] for rows of one output; the loss's [`Loss::check_width`] should return it too.
    /// [`Error::TargetKind`] for values; [`Error::Length`] for a wrong number of class labels;
    /// [`Error::ClassOutOfRange`] for a class that is not below the width. [`Error::Parameter`] under a mean for
    /// weights whose sum is not positive. The errors of `of`.
    pub fn reduce_classes(
        self,
        loss: &'static str,
        reduction: Reduction,
        mut of: impl FnMut(&[T], usize, &mut [T]) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let width = self.width;
        require_classes(loss, width)?;
        let classes = self.classes(loss)?;
        let share = self.total(1).share(reduction)?;
        self.evaluate(share, |row, weight, y, dy, mean| {
            mean.add(weight, of(y, class_of(classes, row, width)?, dy)?);
            dy.iter_mut().for_each(|dy| *dy = share.of(weight, *dy));
            Ok(())
        })
        .map(|(loss, _)| loss)
    }

    /// Returns the weight of the row with index `row`: 1 if no weights are given.
    pub(super) fn weight(&self, row: usize) -> T {
        self.weights.map_or(T::one(), |weights| weights[row])
    }

    /// Returns the total weight in the loss: the sum of the weights of all rows, times `factor`, the number of losses
    /// per row.
    pub(super) fn total(&self, factor: usize) -> Total<T> {
        let mut total = Total::new();
        (0..self.rows).for_each(|row| total.add(self.weight(row)));
        Total { sum: total.sum, wide: total.wide * factor as f64, factor }
    }

    /// Returns the target values, \[rows, `width`\]. Returns an error, which names the loss `loss`, if the targets
    /// are classes, and another one for a wrong number of values.
    pub(super) fn values(&self, loss: &'static str, width: usize) -> Result<&'a [T], Error> {
        let Target::Values(values) = self.target else {
            return Err(Error::TargetKind { loss, expected: "values", found: "classes" });
        };
        require_length("targets", self.rows.saturating_mul(width), values.len()).map(|()| values)
    }

    /// Returns the target classes, one per row. Returns an error, which names the loss `loss`, if the targets are
    /// values, and another one for a wrong number of class labels.
    pub(super) fn classes(&self, loss: &'static str) -> Result<&'a [usize], Error> {
        let Target::Classes(classes) = self.target else {
            return Err(Error::TargetKind { loss, expected: "classes", found: "values" });
        };
        require_length("targets", self.rows, classes.len()).map(|()| classes)
    }

    /// Computes the loss of all rows, and overwrites `dy` with its gradient. `of` receives the index, weight, output
    /// and gradient of a row, and the running sum of all losses. It adds the loss of the row to the sum, and
    /// overwrites the gradient of the row. `share` is the factor on the loss of each value, such as 1 over the total
    /// weight. A row of weight 0 is not read, and has the gradient 0.
    pub(super) fn evaluate(
        self,
        share: Share<T>,
        mut of: impl FnMut(usize, T, &[T], &mut [T], &mut Mean<T>) -> Result<(), Error>,
    ) -> Result<InBoth<T>, Error> {
        let (width, mut mean) = (self.width, Mean::new(share));
        for row in 0..self.rows {
            let own = row * width..(row + 1) * width;
            let (y, dy) = (&self.y[own.clone()], &mut self.dy[own]);
            match self.weights.map_or(T::one(), |weights| weights[row]) {
                weight if weight.is_zero() => dy.fill(T::zero()),
                weight => of(row, weight, y, dy, &mut mean)?,
            }
        }
        Ok(mean.total())
    }
}

/// The total weight of a loss, by which a mean divides. For a narrow format such as `f16`, which cannot count many
/// rows, it is `wide`, the sum of the weights of all values. Otherwise it is `sum` times `factor`. If each row has
/// `factor` losses, `sum` is the sum of the row weights. If rows have different numbers of losses, `sum` is the sum
/// of the weights of all losses, and `factor` is 1.
pub(super) struct Total<T> {
    sum: Sum<T>,
    wide: f64,
    factor: usize,
}

impl<T: Scalar> Total<T> {
    pub(super) fn new() -> Self {
        Total { sum: Sum::new(), wide: 0.0, factor: 1 }
    }

    pub(super) fn add(&mut self, weight: T) {
        if is_narrow::<T>() {
            self.wide += to_f64(weight);
        } else {
            self.sum.add(weight);
        }
    }

    /// Returns the factor on the loss of each value: 1 over the total weight for a mean, 1 for a sum. Returns an
    /// error, for a mean, if the total weight is not positive, or its inverse is 0 or infinite.
    pub(super) fn share(self, reduction: Reduction) -> Result<Share<T>, Error> {
        if reduction == Reduction::Sum {
            return Ok(Share { factor: T::one(), wide: 1.0 });
        }
        let narrow = is_narrow::<T>();
        let total = if narrow { T::one() } else { self.sum.total() * scalar(self.factor as f64) };
        let wide = if narrow { self.wide } else { to_f64(total) };
        let share = Share { factor: total.recip(), wide: wide.recip() };
        // The inverse of a very large or very small sum may be 0 or infinite.
        if wide > 0.0 && share.factor.is_finite() && !share.factor.is_zero() && share.wide.is_finite() {
            Ok(share)
        } else {
            let what = "the sum of the row weights under a mean";
            Err(Error::Parameter { what, expected: "positive, and with an inverse in the number format", found: wide })
        }
    }
}

/// The factor on the loss of each value: 1 over the total weight for a mean, 1 for a sum. Narrow formats such as
/// `f16` use `wide`, others `factor`.
#[derive(Clone, Copy)]
pub(super) struct Share<T> {
    factor: T,
    wide: f64,
}

impl<T: Scalar> Share<T> {
    /// Returns `x`, a loss or derivative of a row of weight `weight`, times its factors in the loss of all rows:
    /// `weight · factor · x`. In formats of 16 bits it is `weight · wide · x`, computed in `f64` and rounded once.
    pub(super) fn of(&self, weight: T, x: T) -> T {
        if is_narrow::<T>() { scalar(to_f64(weight) * self.wide * to_f64(x)) } else { weight * self.factor * x }
    }
}

/// The weighted sum of the losses of all rows, from which the mean or sum is computed. It is `share · Σ weight ·
/// value`, or `Σ share · weight · value` if the first sum overflows, with `share` 1 over the total weight for a mean.
pub(super) struct Mean<T> {
    sum: Sum<T>,
    shared: Sum<T>,
    wide: f64,
    share: Share<T>,
}

impl<T: Scalar> Mean<T> {
    fn new(share: Share<T>) -> Self {
        Mean { sum: Sum::new(), shared: Sum::new(), wide: 0.0, share }
    }

    /// Adds the loss `value` of a row or an output value, times its weight.
    pub(super) fn add(&mut self, weight: T, value: T) {
        if is_narrow::<T>() {
            self.wide += to_f64(weight) * to_f64(value);
        } else {
            self.sum.add(weight * value);
            self.shared.add(weight * self.share.factor * value);
        }
    }

    fn total(self) -> InBoth<T> {
        if is_narrow::<T>() {
            let wide = self.wide * self.share.wide;
            return (scalar(wide), wide);
        }
        let sum = self.sum.total();
        let total = if sum.is_finite() { sum * self.share.factor } else { self.shared.total() };
        (total, to_f64(total))
    }
}

/// Returns [`Error::IncompatibleLayer`] if `width`, the number of outputs, is 1: the loss named `loss` needs one
/// output per class.
pub(super) fn require_classes(loss: &'static str, width: usize) -> Result<(), Error> {
    let needs = "at least 2 outputs, one for each class; for two classes and 1 output use BinaryCrossEntropy, with the \
                 targets 0 and 1 as `Target::Values`";
    if width == 1 { Err(Error::IncompatibleLayer { what: loss, needs }) } else { Ok(()) }
}

/// Returns the class of the row with index `row` in `classes`; [`Error::ClassOutOfRange`] if it is not below `width`.
pub(super) fn class_of(classes: &[usize], row: usize, width: usize) -> Result<usize, Error> {
    let class = classes[row];
    if class < width { Ok(class) } else { Err(Error::ClassOutOfRange { row, label: class, classes: width }) }
}

/// Returns an error if a value is NaN or infinite. The error names the values `what`, and gives `first` plus the
/// index of the first such value in `values`.
pub(super) fn check_finite<T: Scalar>(what: &'static str, first: usize, values: &[T]) -> Result<(), Error> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(Error::NonFinite { what, index: first + index, found: to_f64(values[index]) }),
        None => Ok(()),
    }
}

/// Returns an error unless `weights` has one weight for each of `rows` rows, all finite and not negative.
#[inline(never)]
fn check_weights<T: Scalar>(rows: usize, weights: &[T]) -> Result<(), Error> {
    require_length("row weights", rows, weights.len())?;
    check_finite("row weights", 0, weights)?;
    let least = weights.iter().fold(T::zero(), |least, &weight| if weight < least { weight } else { least });
    require(least >= T::zero(), "a row weight", "at least 0", to_f64(least))
}

/// Returns the sum of the weights of `rows` rows in the loss. Without `row_weights` each weight is 1.
pub(super) fn total_weight<T: Scalar>(rows: usize, row_weights: Option<&[T]>) -> f64 {
    let Some(weights) = row_weights else { return rows as f64 };
    let mut sum = Sum::new();
    weights.iter().for_each(|&weight| sum.add(to_f64(weight)));
    sum.total()
}
