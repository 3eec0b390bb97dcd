//! The Poisson negative log likelihood: a loss for targets that are counts.

use super::{
    InBoth, Loss, Reduction, Rows,
    each_value::{EachValue, evaluate},
    own_evaluate, reduction_setter,
};
use crate::{
    error::{Error, require},
    math,
    scalar::{Scalar, scalar, to_f64},
};

/// Poisson negative log likelihood of counts t with rate `e^y`: `e^y − t y`, y being the output.
///
/// The output is the logarithm of the rate of a Poisson distribution. With [`full`](Self::full) the constant `ln t!`
/// is added for `t > 1`, by Stirling's formula `t ln t − t + ½ ln(2πt)`, as in PyTorch. Targets are not negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PoissonNll {
    full: bool,
    reduction: Reduction,
}

impl PoissonNll {
    /// Creates the loss, reduced to the mean over all values, without the constant `ln t!`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the constant `ln t!`, by Stirling's formula, to the loss of each target t above 1.
    #[must_use]
    pub fn full(self) -> Self {
        PoissonNll { full: true, ..self }
    }
}

reduction_setter!(PoissonNll, "values");

impl<T: Scalar> EachValue<T> for PoissonNll {
    const NAME: &'static str = "PoissonNll";

    fn of(&self, _column: usize, y: T, t: T) -> (T, T) {
        let rate = math::exp(y);
        // 0 · ∞ counts as 0, not as NaN.
        let linear = if t.is_zero() && !y.is_nan() { T::zero() } else { t * y };
        let constant = if self.full && t > T::one() {
            let [half, tau] = [0.5, core::f64::consts::TAU].map(scalar::<T>);
            t * math::ln(t) - t + half * math::ln(tau * t)
        } else {
            T::zero()
        };
        (rate - linear + constant, rate - t)
    }

    fn check_target(&self, t: T) -> Result<(), Error> {
        require(t >= T::zero(), "a target of PoissonNll", "not negative", to_f64(t))
    }
}

impl PoissonNll {
    /// Implements [`Loss::evaluate`] for any scalar type: overwrites the gradient `dy` in `rows`, and returns the
    /// loss as (rounded to `T`, as an `f64`).
    pub(crate) fn evaluate_generic<T: Scalar>(&self, rows: Rows<'_, T>) -> Result<InBoth<T>, Error> {
        evaluate(self, self.reduction, rows)
    }
}

impl<T: Scalar> Loss<T> for PoissonNll {
    own_evaluate!(PoissonNll);

    fn reduction(&self) -> Reduction {
        self.reduction
    }
}
