//! Gaussian negative log likelihood: a loss for networks that output a mean and a variance.

use super::{InBoth, Loss, Reduction, Rows, check_finite, in_double, own_evaluate, reduction_setter};
use crate::{
    error::{Error, require},
    math,
    scalar::{Scalar, is_narrow, scalar},
};

/// The constant `½ ln 2π` of the negative log likelihood of a normal distribution.
const HALF_LN_TAU: f64 = 0.918_938_533_204_672_8;

/// Negative log likelihood of a target t under a normal distribution whose mean μ and log variance s are both
/// outputs: `½ (ln v + (μ − t)²/v)` with `v = max(e^s, ε)`.
///
/// A row of outputs holds n means and then the n logarithms s of their variances, so its width is even; a row of
/// targets has n values. The logarithm of the variance needs no activation that keeps it positive, and is finite
/// where the variance is beyond the number format. The loss L is computed as `½ (s + z²)` with `z = (μ − t)
/// e^(−s/2)`, without a division, and its gradient as `∂L/∂μ = z e^(−s/2)`, `∂L/∂s = ½ (1 − z²)`. Below the floor, `s
/// < ln ε`, the loss does not depend on s, and `∂L/∂s` is 0.
///
/// With `var = exp(s)` the value and ∂L/∂μ are those of PyTorch's `GaussianNLLLoss`; where v > ε, its gradient is
/// `∂L/∂v = e^(−s) ∂L/∂s`. Below ε PyTorch returns a gradient with respect to v, although its loss does not depend on
/// v there. The reduction is over all means. Source: Nix & Weigend 1994, eq. 2.
///
/// If the targets were [standardized](crate::dataset::Standardize) with mean m and deviation d, the mean in their
/// original units is `m + d μ`, and the logarithm of the variance is `s + 2 ln d`. A model's
/// [`scale_outputs`](crate::model::Model::scale_outputs) cannot express the logarithm.
///
/// ```
/// use chainrule::loss::{GaussianNll, Loss, Target};
/// // A mean of 3 with variance 4 for the target 1: ½ (ln 4 + 4/4).
/// let (y, mut dy) = ([3.0, 4.0_f64.ln()], [0.0; 2]);
/// let loss = GaussianNll::new().evaluate(2, &y, Target::Values(&[1.0]), None, &mut dy)?;
/// assert!((loss - (2.0_f64.ln() + 0.5)).abs() < 1e-15);
/// assert!((dy[0] - 0.5).abs() < 1e-15 && dy[1].abs() < 1e-15);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct GaussianNll {
    full: bool,
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    epsilon: f64,
    reduction: Reduction,
}

impl Default for GaussianNll {
    fn default() -> Self {
        GaussianNll { full: false, epsilon: 1e-6, reduction: Reduction::Mean }
    }
}

impl GaussianNll {
    /// Creates the loss with the average over all means, the floor ε = 1e-6 of the variance, and without the constant
    /// `½ ln 2π`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the constant `½ ln 2π` to the loss of each mean.
    #[must_use]
    pub fn full(self) -> Self {
        GaussianNll { full: true, ..self }
    }

    /// Sets the floor ε of the variance; 0 means no floor.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless ε is finite and not negative.
    pub fn epsilon(self, epsilon: f64) -> Result<Self, Error> {
        let changed = GaussianNll { epsilon, ..self };
        changed.check_epsilon().map(|()| changed)
    }

    /// Returns an error if the floor ε of the variance is outside its range, like the setter.
    fn check_epsilon(&self) -> Result<(), Error> {
        let valid = self.epsilon >= 0.0 && self.epsilon.is_finite();
        require(valid, "epsilon of GaussianNll", "finite and not negative", self.epsilon)
    }
}

reduction_setter!(GaussianNll, "means");

/// Returns (loss, \[derivative with respect to the mean, derivative with respect to `s`\]) for one mean, the
/// logarithm `s` of its variance, and a target. `floor` is the lower limit of `s`: ln ε, ε being the least variance.
fn at<T: Scalar>(mean: T, s: T, target: T, floor: T) -> (T, [T; 2]) {
    let (half, below) = (scalar::<T>(0.5), s < floor);
    let s = if below { floor } else { s };
    let (off, inverse) = (mean - target, math::exp(-half * s));
    // 0 · ∞: a mean equal to its target has z = 0, however small its variance.
    let exact = off.is_zero() && inverse.is_infinite();
    let z = if exact { off } else { off * inverse };
    // Where z is infinite and s is −∞, the square dominates.
    let value = if z.is_infinite() { z * z } else { half * (s + z * z) };
    let of_mean = if exact { off } else { z * inverse };
    (value, [of_mean, if below { T::zero() } else { half * (T::one() - z * z) }])
}

impl GaussianNll {
    /// Implements [`Loss::evaluate`] for any scalar type: overwrites the gradient `dy` in `rows`, and returns the
    /// loss as (rounded to `T`, as an `f64`).
    pub(crate) fn evaluate_generic<T: Scalar>(&self, rows: Rows<'_, T>) -> Result<InBoth<T>, Error> {
        let width = rows.width;
        Loss::<T>::check_width(self, width)?;
        if is_narrow::<T>() {
            return in_double(rows, |rows| self.evaluate_generic(rows));
        }
        let n = width / 2;
        let target = rows.values("GaussianNll", n)?;
        let share = rows.total(n).share(self.reduction)?;
        let (floor, constant) = (scalar::<T>(libm::log(self.epsilon)), scalar::<T>(HALF_LN_TAU));
        rows.evaluate(share, |row, weight, y, dy, mean| {
            let t = &target[row * n..][..n];
            check_finite("targets", row * n, t)?;
            let ((means, logs), (of_means, of_logs)) = (y.split_at(n), dy.split_at_mut(n));
            for i in 0..n {
                let (value, [of_mean, of_log]) = at(means[i], logs[i], t[i], floor);
                mean.add(weight, if self.full { value + constant } else { value });
                (of_means[i], of_logs[i]) = (share.of(weight, of_mean), share.of(weight, of_log));
            }
            Ok(())
        })
    }
}

impl<T: Scalar> Loss<T> for GaussianNll {
    own_evaluate!(GaussianNll);

    fn check_width(&self, width: usize) -> Result<(), Error> {
        let (what, expected) = ("the width of an output for GaussianNll", "even: means, then logarithms of variances");
        require(width.is_multiple_of(2), what, expected, width as f64)?;
        self.check_epsilon()
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }

    fn target_width(&self, width: usize) -> usize {
        width / 2
    }
}
