//! Losses of logarithms of probabilities.

use super::{
    InBoth, Loss, Reduction, Rows, check_finite, class_of, in_double, own_evaluate, reduction_setter, require_classes,
};
use crate::{
    error::{Error, require},
    math,
    scalar::{Scalar, is_narrow, to_f64},
};

/// Kullback–Leibler divergence of each row: `Σ_k t_k (ln t_k − y_k)`, where the output y is logarithms of
/// probabilities; a term with t_k = 0 counts as 0, unless y_k is NaN.
///
/// A last layer [`LogSoftmax`](crate::layer::LogSoftmax) computes such logarithms. Targets are probabilities: not
/// negative, and they need not sum to 1. The mean is over rows, PyTorch's `batchmean`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct KlDivergence {
    reduction: Reduction,
}

impl KlDivergence {
    /// Creates the loss with the mean over rows.
    pub fn new() -> Self {
        Self::default()
    }
}

reduction_setter!(KlDivergence, "rows");

impl KlDivergence {
    /// Implements [`Loss::evaluate`] for any scalar type.
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

/// The mean of `−y_c` over rows: the output `y` holds logarithms of probabilities, and c is the class of the row.
///
/// A last layer [`LogSoftmax`](crate::layer::LogSoftmax) computes such logarithms; on other outputs the loss has no
/// lower bound. [`CrossEntropy`](super::CrossEntropy) does both from logits, and has class weights and smoothing. As
/// PyTorch's `NLLLoss`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct NegativeLogLikelihood {
    reduction: Reduction,
}

impl NegativeLogLikelihood {
    /// Creates the loss with the mean over rows.
    pub fn new() -> Self {
        Self::default()
    }
}

reduction_setter!(NegativeLogLikelihood, "rows");

impl NegativeLogLikelihood {
    /// Implements [`Loss::evaluate`] for any scalar type.
    pub(crate) fn evaluate_generic<T: Scalar>(&self, rows: Rows<'_, T>) -> Result<InBoth<T>, Error> {
        if is_narrow::<T>() {
            return in_double(rows, |rows| self.evaluate_generic(rows));
        }
        let width = rows.width;
        Loss::<T>::check_width(self, width)?;
        let classes = rows.classes("NegativeLogLikelihood")?;
        let share = rows.total(1).share(self.reduction)?;
        rows.evaluate(share, |row, weight, y, dy, mean| {
            let class = class_of(classes, row, width)?;
            mean.add(weight, -y[class]);
            dy.fill(T::zero());
            dy[class] = share.of(weight, -T::one());
            Ok(())
        })
    }
}

impl<T: Scalar> Loss<T> for NegativeLogLikelihood {
    own_evaluate!(NegativeLogLikelihood);

    fn check_width(&self, width: usize) -> Result<(), Error> {
        require_classes("NegativeLogLikelihood", width)
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }
}
