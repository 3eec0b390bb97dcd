//! Losses of outputs that are logarithms of probabilities.

use super::{
    InBoth, Loss, Reduction, Rows, Target, check_finite, class_of, class_weights::class_weight_setters, in_double,
    own_evaluate, reduction_setter, require_classes,
};
use crate::{
    error::{Error, require},
    math,
    scalar::{Scalar, is_narrow, to_f64},
};
use alloc::vec::Vec;

/// Kullback–Leibler divergence of each row: `Σ_k t_k (ln t_k − y_k)`, with targets t and outputs y that are
/// logarithms of probabilities. A term with t_k = 0 counts as 0, unless y_k is NaN.
///
/// The layer [`LogSoftmax`](crate::layer::LogSoftmax), as the last of the network, computes such outputs. Targets are
/// probabilities: not negative, and they need not sum to 1. The mean is over rows, PyTorch's `batchmean`.
///
/// ```
/// use chainrule::loss::{KlDivergence, Loss, Target};
/// let (logs, mut gradient) = ([0.25_f64.ln(), 0.75_f64.ln()], [0.0; 2]); // log-probabilities of 2 classes
/// let loss = KlDivergence::new().evaluate(2, &logs, Target::Values(&[0.5, 0.5]), None, &mut gradient)?;
/// assert!((loss - 0.5 * (2.0_f64.ln() + (2.0_f64 / 3.0).ln())).abs() < 1e-15);
/// assert_eq!(gradient, [-0.5, -0.5]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct KlDivergence {
    reduction: Reduction,
}

impl KlDivergence {
    /// Creates the loss, reduced to the mean over rows.
    pub fn new() -> Self {
        Self::default()
    }
}

reduction_setter!(KlDivergence, "rows");

impl KlDivergence {
    /// Implements [`Loss::evaluate`] for any scalar type: overwrites the gradient `dy` in `rows`, and returns the
    /// loss as (rounded to `T`, as an `f64`).
    pub(crate) fn evaluate_generic<T: Scalar>(&self, rows: Rows<'_, T>) -> Result<InBoth<T>, Error> {
        if is_narrow::<T>() {
            return in_double(rows, |rows| self.evaluate_generic(rows));
        }
        let width = rows.width;
        Loss::<T>::check_width(self, width)?;
        let target = rows.values("KlDivergence", width)?;
        let share = rows.total(1).share(self.reduction)?;
        rows.evaluate(share, |row, weight, y, dy, mean| {
            let t = &target[row * width..][..width];
            check_finite("targets", row * width, t)?;
            for ((&y, &t), dy) in y.iter().zip(t).zip(dy) {
                require(t >= T::zero(), "a target probability", "finite and not negative", to_f64(t))?;
                // 0 · ∞ counts as 0, not as NaN.
                if !t.is_zero() || y.is_nan() {
                    mean.add(weight, t * (math::ln(t) - y));
                }
                *dy = share.of(weight, if y.is_nan() { y } else { -t });
            }
            Ok(())
        })
    }
}

impl<T: Scalar> Loss<T> for KlDivergence {
    own_evaluate!(KlDivergence);

    fn check_width(&self, width: usize) -> Result<(), Error> {
        require_classes("KlDivergence", width)
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }
}

/// Negative log likelihood: the mean of `−w_c y_c` over rows, where the output `y` holds logarithms of probabilities,
/// and c is the class of the row with its weight w_c, by default 1. The mean divides by the sum over rows of row
/// weight times class weight.
///
/// The layer [`LogSoftmax`](crate::layer::LogSoftmax), as the last of the network, computes such outputs; on other
/// outputs the loss has no lower bound. [`CrossEntropy`](super::CrossEntropy) combines that layer and this loss, from
/// logits, and has label smoothing. It equals PyTorch's `NLLLoss`.
///
/// ```
/// use chainrule::loss::{Loss, NegativeLogLikelihood, Target};
/// let logs = [0.25_f64.ln(), 0.75_f64.ln(), 0.5_f64.ln(), 0.5_f64.ln()]; // 2 rows of 2 classes
/// let (loss, mut gradient) = (NegativeLogLikelihood::new().class_weights(&[1.0, 3.0])?, [0.0; 4]);
/// let value = loss.evaluate(2, &logs, Target::Classes(&[1, 0]), None, &mut gradient)?;
/// assert!((value + (3.0 * logs[1] + logs[2]) / 4.0).abs() < 1e-15);
/// assert_eq!(gradient, [0.0, -0.75, -0.25, 0.0]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct NegativeLogLikelihood {
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    weights: Vec<f64>,
    #[cfg_attr(feature = "serde", serde(default))]
    ignored: Option<usize>,
    reduction: Reduction,
}

impl NegativeLogLikelihood {
    /// Creates the loss, reduced to the mean over rows, without class weights or an ignored class.
    pub fn new() -> Self {
        Self::default()
    }
}

class_weight_setters!(NegativeLogLikelihood, ignored);
reduction_setter!(NegativeLogLikelihood, "rows");

impl NegativeLogLikelihood {
    /// Implements [`Loss::evaluate`] for any scalar type: overwrites the gradient `dy` in `rows`, and returns the
    /// loss as (rounded to `T`, as an `f64`).
    pub(crate) fn evaluate_generic<T: Scalar>(&self, rows: Rows<'_, T>) -> Result<InBoth<T>, Error> {
        let width = rows.width;
        Loss::<T>::check_width(self, width)?;
        self.classes().check::<T>()?;
        if is_narrow::<T>() {
            return in_double(rows, |rows| self.evaluate_generic(rows));
        }
        let classes = rows.classes("NegativeLogLikelihood")?;
        let share = self.classes().total(&rows, classes)?.share(self.reduction)?;
        rows.evaluate(share, |row, weight, y, dy, mean| {
            dy.fill(T::zero());
            if self.ignored == Some(classes[row]) {
                return Ok(());
            }
            let class = class_of(classes, row, width)?;
            let of_class = self.classes().of::<T>(class);
            // 0 · ∞ counts as 0, not as NaN.
            if !of_class.is_zero() || y[class].is_nan() {
                mean.add(weight * of_class, -y[class]);
            }
            dy[class] = share.of(weight, -of_class);
            Ok(())
        })
    }
}

impl<T: Scalar> Loss<T> for NegativeLogLikelihood {
    own_evaluate!(NegativeLogLikelihood);

    fn check_width(&self, width: usize) -> Result<(), Error> {
        require_classes("NegativeLogLikelihood", width)?;
        self.classes().check_width(width)
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }

    /// Returns the divisor of a mean: the sum over rows of row weight times class weight. Rows of the ignored class
    /// have weight 0. For targets that are values, for which `evaluate` returns an error, it is the sum of the row
    /// weights.
    fn total_weight(&self, width: usize, target: Target<'_, T>, row_weights: Option<&[T]>) -> f64 {
        self.classes().total_weight(width, target, row_weights)
    }
}
