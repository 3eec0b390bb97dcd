//! Loss functions: the loss of an output against its target, and the gradient with respect to the output.

mod class_weights;
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
mod rows;

pub use cosine::CosineDistance;
pub use count::PoissonNll;
pub use cross_entropy::{BinaryCrossEntropy, CrossEntropy, log_softmax, softmax};
pub use distance::{Huber, MeanAbsoluteError, MeanSquaredError, Pinball, SmoothL1};
pub use dual_loss::{DualLoss, RowLoss};
pub use each_value::ValueWeights;
pub use focal::Focal;
pub use gaussian::GaussianNll;
pub use likelihood::{KlDivergence, NegativeLogLikelihood};
pub use margin::{Hinge, MultiMargin};
pub use rows::Rows;

use crate::{
    error::Error,
    scalar::{Scalar, to_f64},
};
use core::fmt::{self, Debug};
use own::{InBoth, in_double, own_evaluate, reduction_setter};
use rows::{Total, check_finite, class_of, require_classes, total_weight};

/// The targets of the rows of an output: classes or values. A row is one sample, or one time step of a sample.
#[derive(Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Target<'a, T> {
    /// Class labels: one class index, counted from 0, for each row.
    Classes(&'a [usize]),
    /// Values: \[rows, w\], where w is the [`target_width`](Loss::target_width) of the loss, by default the width of
    /// the output.
    Values(&'a [T]),
}

/// Writes the kind and the number of the targets: `Classes(3)`.
impl<T> fmt::Debug for Target<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Classes(classes) => f.debug_tuple("Classes").field(&classes.len()).finish(),
            Target::Values(values) => f.debug_tuple("Values").field(&values.len()).finish(),
        }
    }
}

/// How the losses of all rows are reduced to one value: their mean or their sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Reduction {
    /// The mean of the losses of all rows (or of all values, for a loss that is computed value by value), weighted by
    /// the row weights.
    #[default]
    Mean,
    /// The sum of the losses of all rows, each times its row weight.
    Sum,
}

/// A loss function: the loss of an output and its targets, and the gradient with respect to the output.
///
/// ```
/// use chainrule::{Error, Scalar, testing::{Losses, loss_laws}};
/// use chainrule::loss::{Loss, Reduction, Rows, Target};
/// /// `Σ log(2 cosh(y − t))` over the outputs of a row, and the mean over rows.
/// #[derive(Debug)]
/// struct LogCosh;
/// impl<T: Scalar> Loss<T> for LogCosh {
///     fn evaluate(&self, n: usize, y: &[T], t: Target<T>, rows: Option<&[T]>, dy: &mut [T]) -> Result<T, Error> {
///         let rows = Rows::new(n, y, t, rows, dy)?; // checks lengths and weights
///         rows.reduce_values("LogCosh", n, Reduction::Mean, |y, t, dy| {
///             let mut sum = T::zero();
///             for (i, (&y, &t)) in y.iter().zip(t).enumerate() {
///                 let (d, apart) = (y - t, (y - t).abs());
///                 sum += apart + (-(apart + apart)).exp().ln_1p();
///                 dy[i] = d.tanh();
///             }
///             Ok(sum)
///         })
///     }
///     fn reduction(&self) -> Reduction {
///         Reduction::Mean
///     }
/// }
/// loss_laws(Losses { single: &LogCosh, double: &LogCosh, dual: &LogCosh }, 0).unwrap();
/// ```
///
/// [`Rows`] makes the checks and the reduction that [`loss_laws`](crate::testing::loss_laws) tests.
///
/// # Required
/// `evaluate` computes the loss and its gradient. `reduction` states whether it is a mean or a sum over rows: a
/// trainer that accumulates one update over several passes combines their losses accordingly.
///
/// # Optional
/// | method | default | override it if |
/// | --- | --- | --- |
/// | `minimum_at_target` | `false` | the loss is lowest where `y` is the target: `loss_laws` then tests it |
/// | `target_width` | that of the output | a row of targets does not have as many values as a row of outputs |
/// | `check_width` | accepts every width | some numbers of outputs cannot be trained; `evaluate` should call it |
/// | `total_weight` | the sum of the row weights | a mean divides by something else, such as class weights |
/// | `weighs_target_values` | `true` | without row weights, the total weight of values is their number of rows |
///
/// For a prototype, [`DualLoss`] makes a loss from a function of one row without a handwritten gradient.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a loss",
    label = "not a loss",
    note = "a `Result` gives its value by `?`, as in `Huber::new(1.0)?`",
    note = "a function of one row becomes a loss by the trait `RowLoss` and `DualLoss::new`: a closure cannot be generic over the \
            number type"
)]
pub trait Loss<T: Scalar>: Debug {
    /// Computes the loss of `y`, and overwrites `dy` with the gradient with respect to `y`. On dual numbers `dy`
    /// carries its tangents, too: a [`Hessian`](crate::theory::Hessian) is computed from them.
    ///
    /// # Shapes
    /// `y`, `dy`: \[rows, width\]; `row_weights`, unless it is `None`: \[rows\]. A row of weight 0 is masked: neither
    /// its output nor its target is read, and its gradient is exactly zero. With [`Reduction::Mean`] the sum is
    /// divided by the sum of the weights (times the width, for a loss that is computed value by value).
    ///
    /// Any number of rows above 0 is valid, and so are outputs that are all 0: a trainer checks all targets before a
    /// run by a call with such outputs.
    ///
    /// # Errors
    /// [`Error::Empty`] for an output without rows, or a `width` of 0; [`Error::Length`] unless `y`, `target`,
    /// `row_weights` and `dy` have the same number of rows. [`Error::TargetKind`] for targets of a kind the loss does
    /// not take; [`Error::ClassOutOfRange`] for a class that is not below `width`; the errors of
    /// [`check_width`](Self::check_width). [`Error::NonFinite`] for targets or weights that are NaN or infinite.
    /// [`Error::Parameter`] for targets outside the loss's range, for its own parameters that `T` cannot hold, and
    /// under a mean for weights whose sum is not positive. An output that is not finite causes no error: the loss is
    /// then not finite either.
    fn evaluate(
        &self,
        width: usize,
        y: &[T],
        target: Target<'_, T>,
        row_weights: Option<&[T]>,
        dy: &mut [T],
    ) -> Result<T, Error>;

    /// Computes the loss as an `f64`, and its gradient as [`evaluate`](Self::evaluate) does. Trainers report the
    /// `f64`: for a `T` narrower than `f32`, the losses of this crate do not round it to `T`. A custom loss keeps the
    /// default.
    #[doc(hidden)]
    fn evaluate_wide(
        &self,
        width: usize,
        y: &[T],
        target: Target<'_, T>,
        row_weights: Option<&[T]>,
        dy: &mut [T],
    ) -> Result<f64, Error> {
        self.evaluate(width, y, target, row_weights, dy).map(to_f64)
    }

    /// Returns how the losses of all rows are reduced to one value: by their mean or their sum.
    fn reduction(&self) -> Reduction;

    /// Whether the loss of a row is lowest, with a gradient of zero, where `y` is its target; the default is `false`.
    fn minimum_at_target(&self) -> bool {
        false
    }

    /// Returns the number of target values of a row, for output rows of `width` values; the default is `width`.
    fn target_width(&self, width: usize) -> usize {
        width
    }

    /// Returns an error for outputs of `width` values, if the loss cannot train as many, and for settings of the loss
    /// outside their range, as a file may hold them. The default accepts every width. A trainer calls it when it is
    /// created.
    ///
    /// # Errors
    /// [`Error::IncompatibleLayer`] for a `width` of 1, if the loss compares the outputs of a row with each other.
    /// For settings outside their range, or made for a different number of outputs, the error that
    /// [`evaluate`](Self::evaluate) returns.
    fn check_width(&self, _width: usize) -> Result<(), Error> {
        Ok(())
    }

    /// Returns the total weight by which a mean over the rows divides: by default the sum of their row weights, 1 for
    /// each row without `row_weights`.
    ///
    /// The means of parts of a batch are combined into the mean of the batch with these weights. It is an `f64`,
    /// since `f16` counts no more than 65504 rows.
    fn total_weight(&self, width: usize, target: Target<'_, T>, row_weights: Option<&[T]>) -> f64 {
        let rows = match target {
            Target::Classes(classes) => classes.len(),
            Target::Values(values) => values.len() / self.target_width(width).max(1),
        };
        total_weight(rows, row_weights)
    }

    /// Whether the [`total_weight`](Self::total_weight) of rows without row weights, whose targets are values, may
    /// differ from their number; the default is `true`. If `false`, a trainer on several ranks, or one that
    /// accumulates gradients, counts the rows of such data without reading their targets ahead of the pass.
    fn weighs_target_values(&self) -> bool {
        true
    }
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
