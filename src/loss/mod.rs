//! Losses: the value of an output against its target, and the gradient with respect to the output.

mod cosine;
mod count;
mod cross_entropy;
mod distance;
mod dual_loss;
mod each_value;
mod focal;
mod forwarding;
mod gaussian;
mod likelihood;
mod margin;
mod own;

pub use cosine::CosineDistance;
pub use count::PoissonNll;
pub use cross_entropy::{BinaryCrossEntropy, CrossEntropy, log_softmax, softmax};
pub use distance::{Huber, MeanAbsoluteError, MeanSquaredError, Pinball, SmoothL1};
pub use dual_loss::{DualLoss, RowLoss};
pub use each_value::ValueWeights;
pub use focal::Focal;
pub use gaussian::GaussianNll;
pub use likelihood::{KlDivergence, NegativeLogLikelihood};
pub use margin::MultiMargin;

use crate::{
    error::{Error, require, require_length},
    scalar::{Scalar, scalar, to_f64},
};
use core::fmt::Debug;
use own::{in_double, own_evaluate, reduction_setter};

/// The targets of the rows of an output: classes or values.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Target<'a, T> {
    /// One class index per row.
    Classes(&'a [usize]),
    /// Values: \[rows, w\], where w is the loss's [`target_width`](Loss::target_width), by default the width of the
    /// output.
    Values(&'a [T]),
}

/// The reduction of the losses of rows to one value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Reduction {
    /// The mean of the losses of all rows (or of all values, for a loss that is computed value by value), weighted by
    /// the row weights.
    #[default]
    Mean,
    /// The sum of the losses, each times its row weight.
    Sum,
}

/// A loss of an output and its targets, and its gradient with respect to the output.
///
/// ```
/// use chainrule::{Error, Scalar, scalar, testing::{Losses, loss_laws}};
/// use chainrule::loss::{Loss, MeanSquaredError, Reduction, Target};
/// /// Another loss, times a factor.
/// #[derive(Debug)]
/// struct Times(f64, MeanSquaredError);
/// impl<T: Scalar> Loss<T> for Times {
///     fn evaluate(&self, n: usize, y: &[T], t: Target<T>, rows: Option<&[T]>, dy: &mut [T]) -> Result<T, Error> {
///         let (factor, loss) = (scalar::<T>(self.0), self.1.evaluate(n, y, t, rows, dy)?);
///         dy.iter_mut().for_each(|dy| *dy *= factor);
///         Ok(factor * loss)
///     }
///     fn reduction(&self) -> Reduction {
///         Loss::<T>::reduction(&self.1)
///     }
/// }
/// let loss = Times(0.5, MeanSquaredError::new());
/// loss_laws(Losses { single: &loss, double: &loss, dual: &loss }, 0).unwrap();
/// ```
///
/// # Required
/// `evaluate` computes the loss and its gradient. `reduction` states whether it is a mean or a sum over rows: a trainer
/// combines the parts of an accumulated update by it.
///
/// # Optional
/// | method | default | override it if |
/// | --- | --- | --- |
/// | `minimum_at_target` | `false` | the loss is lowest where `y` is the target: `loss_laws` then tests it |
/// | `target_width` | that of the output | a row of targets has another number of values than one of outputs |
/// | `total_weight` | the sum of the row weights | a mean divides by something else, such as class weights |
///
/// [`DualLoss`] makes a loss from a function of one row, without a gradient, for a prototype.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a loss",
    label = "not a loss",
    note = "a `Result` gives its value by `?`, as in `Huber::new(1.0)?`"
)]
pub trait Loss<T: Scalar>: Debug {
    /// Computes the loss of `y`, and overwrites `dy` with the gradient with respect to `y`.
    ///
    /// # Shapes
    /// `y`, `dy`: \[rows, width\]; `row_weights`, where given: \[rows\]. A row of weight 0 is masked: neither its
    /// output nor its target is read, and its gradient is exactly zero. With [`Reduction::Mean`] the sum is divided by
    /// the sum of the weights (times the width, for a loss that is computed value by value).
    ///
    /// # Errors
    /// [`Error::Empty`] for an output without rows, or a `width` of 0; [`Error::Length`] where `y`, `target`,
    /// `row_weights` and `dy` do not have the same rows. [`Error::TargetKind`] for targets of a kind the loss does not
    /// take; [`Error::ClassOutOfRange`] for a class that is not below `width`. [`Error::NonFinite`] for targets or
    /// weights that are NaN or infinite. [`Error::Parameter`] for targets outside the loss's range, for its own
    /// parameters that `T` cannot hold, and under a mean for weights whose sum is not positive. An output that is not
    /// finite is no error: the loss is then not finite either.
    fn evaluate(
        &self,
        width: usize,
        y: &[T],
        target: Target<'_, T>,
        row_weights: Option<&[T]>,
        dy: &mut [T],
    ) -> Result<T, Error>;

    /// The reduction of the losses of rows to one value.
    fn reduction(&self) -> Reduction;

    /// Whether the loss of a row is lowest, with a gradient of zero, where `y` is its target; the default is `false`.
    fn minimum_at_target(&self) -> bool {
        false
    }

    /// Returns the number of target values of a row, for output rows of `width` values.
    fn target_width(&self, width: usize) -> usize {
        width
    }

    /// The total weight of rows in a mean: the sum of their weights.
    ///
    /// The means of parts of a batch are combined into the mean of the batch with these weights. It is an `f64`, since
    /// `f16` counts no more than 65504 rows.
    fn total_weight(&self, width: usize, target: Target<'_, T>, row_weights: Option<&[T]>) -> f64 {
        let rows = match target {
            Target::Classes(classes) => classes.len(),
            Target::Values(values) => values.len() / self.target_width(width).max(1),
        };
        total_weight(rows, row_weights)
    }
}

/// Returns the sum of the weights of `rows` rows. Without `row_weights` each weight is 1.
fn total_weight<T: Scalar>(rows: usize, row_weights: Option<&[T]>) -> f64 {
    let Some(weights) = row_weights else { return rows as f64 };
    let mut sum = Sum::new();
    weights.iter().for_each(|&weight| sum.add(to_f64(weight)));
    sum.total()
}

/// A compensated sum: it keeps the rounding error of each addition (Neumaier 1974).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sum<T> {
    sum: T,
    lost: T,
}

impl<T: Scalar> Sum<T> {
    pub(crate) fn new() -> Self {
        Sum { sum: T::zero(), lost: T::zero() }
    }

    pub(crate) fn add(&mut self, value: T) {
        let next = self.sum + value;
        self.lost += if self.sum.abs() >= value.abs() { (self.sum - next) + value } else { (value - next) + self.sum };
        self.sum = next;
    }

    /// Returns the sum of all added values, corrected by the kept rounding errors; without this correction if the sum
    /// is not finite.
    pub(crate) fn total(self) -> T {
        if self.sum.is_finite() { self.sum + self.lost } else { self.sum }
    }
}

/// The arguments of [`Loss::evaluate`], whose lengths are checked, except that of the targets.
pub(crate) struct Rows<'a, T> {
    /// The number of rows.
    rows: usize,
    /// The number of values of a row of the output.
    width: usize,
    /// The output, \[rows, width\].
    y: &'a [T],
    target: Target<'a, T>,
    /// The weight of each row; `None` for weights of 1.
    weights: Option<&'a [T]>,
    /// Out: the gradient with respect to `y`.
    dy: &'a mut [T],
}

impl<'a, T: Scalar> Rows<'a, T> {
    /// Collects the arguments of [`Loss::evaluate`].
    ///
    /// # Errors
    /// [`Error::Empty`] without rows or for a `width` of 0; [`Error::Length`] unless `y`, `weights` and `dy` have the
    /// same rows; [`Error::NonFinite`] for a weight that is not finite.
    pub(crate) fn new(
        width: usize,
        y: &'a [T],
        target: Target<'a, T>,
        weights: Option<&'a [T]>,
        dy: &'a mut [T],
    ) -> Result<Self, Error> {
        let rows = y.len().checked_div(width).filter(|&rows| rows > 0).ok_or(Error::Empty { what: "the output" })?;
        require_length("output", rows * width, y.len())?;
        require_length("gradient of the output", y.len(), dy.len())?;
        if let Some(weights) = weights {
            require_length("row weights", rows, weights.len())?;
            check_finite("row weights", 0, weights)?;
        }
        Ok(Rows { rows, width, y, target, weights, dy })
    }

    /// Returns the weight of a row: 1 if no weights are given.
    fn weight(&self, row: usize) -> T {
        self.weights.map_or(T::one(), |weights| weights[row])
    }

    /// Returns the sum of the weights of all rows times `factor`, the number of losses per row.
    fn total(&self, factor: usize) -> Total<T> {
        let mut total = Total::new();
        (0..self.rows).for_each(|row| total.add(self.weight(row)));
        Total { sum: total.sum, factor }
    }

    /// Returns the target values, \[rows, `width`\]. Refuses targets that are classes, with an error that names the
    /// loss `loss`, and another number of values.
    fn values(&self, loss: &'static str, width: usize) -> Result<&'a [T], Error> {
        let Target::Values(values) = self.target else {
            return Err(Error::TargetKind { loss, expected: "values", found: "classes" });
        };
        require_length("targets", self.rows.saturating_mul(width), values.len()).map(|()| values)
    }

    /// Returns the target classes, one per row. Refuses targets that are values, with an error that names the loss
    /// `loss`, and another number of classes.
    fn classes(&self, loss: &'static str) -> Result<&'a [usize], Error> {
        let Target::Classes(classes) = self.target else {
            return Err(Error::TargetKind { loss, expected: "classes", found: "values" });
        };
        require_length("targets", self.rows, classes.len()).map(|()| classes)
    }

    /// Computes the loss of all rows, and overwrites `dy` with its gradient. `of` adds the loss of one row to the mean
    /// and writes its gradient, given the row's index, weight and output. `share` is the factor on the loss of each
    /// value. A row of weight 0 is not read, and has the gradient 0.
    fn evaluate(
        self,
        share: Share<T>,
        mut of: impl FnMut(usize, T, &[T], &mut [T], &mut Mean<T>) -> Result<(), Error>,
    ) -> Result<T, Error> {
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

/// The total weight of the values of a loss: `sum`, usually of the weights of the rows, times `factor`, the number of
/// losses per row.
struct Total<T> {
    sum: Sum<T>,
    factor: usize,
}

impl<T: Scalar> Total<T> {
    fn new() -> Self {
        Total { sum: Sum::new(), factor: 1 }
    }

    fn add(&mut self, weight: T) {
        self.sum.add(weight);
    }

    /// Returns the factor on the loss of each value: 1 over the total weight for a mean, 1 for a sum. Refuses, under a
    /// mean, a total weight that is not positive, or whose inverse is 0 or infinite.
    fn share(self, reduction: Reduction) -> Result<Share<T>, Error> {
        if reduction == Reduction::Sum {
            return Ok(Share { factor: T::one() });
        }
        let total = self.sum.total() * scalar(self.factor as f64);
        let share = Share { factor: total.recip() };
        // The inverse of a sum at the ends of the format is 0 or infinite.
        let (what, expected) =
            ("the sum of the row weights under a mean", "positive, and with an inverse in the number format");
        let valid = total > T::zero() && share.factor.is_finite() && !share.factor.is_zero();
        require(valid, what, expected, to_f64(total)).map(|()| share)
    }
}

/// The factor on the loss of each value: 1 over the total weight for a mean, 1 for a sum.
#[derive(Clone, Copy)]
struct Share<T> {
    factor: T,
}

impl<T: Scalar> Share<T> {
    /// Returns `weight · factor · x`.
    fn of(&self, weight: T, x: T) -> T {
        weight * self.factor * x
    }
}

/// A weighted sum of losses: `share · Σ weight · value`, or `Σ share · weight · value` if the first sum
/// overflows.
struct Mean<T> {
    sum: Sum<T>,
    shared: Sum<T>,
    share: Share<T>,
}

impl<T: Scalar> Mean<T> {
    fn new(share: Share<T>) -> Self {
        Mean { sum: Sum::new(), shared: Sum::new(), share }
    }

    /// Adds `weight · value`.
    fn add(&mut self, weight: T, value: T) {
        self.sum.add(weight * value);
        self.shared.add(weight * self.share.factor * value);
    }

    fn total(self) -> T {
        let sum = self.sum.total();
        if sum.is_finite() { sum * self.share.factor } else { self.shared.total() }
    }
}

/// Returns the class of the row with index `row` in `classes`. Refuses a class that is not below `width`.
fn class_of(classes: &[usize], row: usize, width: usize) -> Result<usize, Error> {
    let class = classes[row];
    if class < width { Ok(class) } else { Err(Error::ClassOutOfRange { row, label: class, classes: width }) }
}

/// Refuses values that are NaN or infinite. The error calls the first of them `what`, and gives `first` plus its index
/// in `values`.
fn check_finite<T: Scalar>(what: &'static str, first: usize, values: &[T]) -> Result<(), Error> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(Error::NonFinite { what, index: first + index, found: to_f64(values[index]) }),
        None => Ok(()),
    }
}
