//! Focal loss: binary cross-entropy that gives well classified values a small weight.

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

/// Focal loss of the sigmoid of each logit y with target t: `α_t q^γ H`. Here H is the binary cross-entropy, and `q =
/// p (1 − t) + (1 − p) t`, with `p = σ(y)`, is the probability of the wrong class.
///
/// A value that is classified well has a small q and thus little weight. The default has no factor `α_t`;
/// [`alpha`](Self::alpha) sets `α_t = α t + (1 − α)(1 − t)`. Targets lie between 0 and 1. Source: Lin et al. 2017,
/// eq. 5; it equals `sigmoid_focal_loss` of torchvision.
///
/// ```
/// use chainrule::loss::{Focal, Loss, Target};
/// // The logit 0 is the probability ½: q² H = ¼ ln 2.
/// let loss = Focal::new(2.0)?.evaluate(1, &[0.0_f64], Target::Values(&[1.0]), None, &mut [0.0])?;
/// assert!((loss - 0.25 * 2.0_f64.ln()).abs() < 1e-15);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Focal {
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    gamma: f64,
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    alpha: Option<f64>,
    reduction: Reduction,
}

impl Focal {
    /// Creates the loss with the exponent γ, `gamma`, and the mean over all values. The paper uses γ = 2; γ = 0 is
    /// binary cross-entropy.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless γ is finite and not negative.
    pub fn new(gamma: f64) -> Result<Self, Error> {
        let loss = Focal { gamma, alpha: None, reduction: Reduction::Mean };
        loss.check_settings().map(|()| loss)
    }

    /// Sets the weight α of values with target 1; values with target 0 have the weight 1 − α.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless `0 ≤ α ≤ 1`.
    pub fn alpha(self, alpha: f64) -> Result<Self, Error> {
        let changed = Focal { alpha: Some(alpha), ..self };
        changed.check_settings().map(|()| changed)
    }

    /// Returns an error if γ or α is outside its range, like the constructor and the setter.
    fn check_settings(&self) -> Result<(), Error> {
        let Focal { gamma, alpha, .. } = *self;
        require(gamma >= 0.0 && gamma.is_finite(), "the exponent of Focal", "finite and not negative", gamma)?;
        let alpha = alpha.unwrap_or(1.0);
        require((0.0..=1.0).contains(&alpha), "alpha of Focal", "between 0 and 1", alpha)
    }
}

reduction_setter!(Focal, "values");

impl<T: Scalar> EachValue<T> for Focal {
    const NAME: &'static str = "Focal";

    /// Returns the focal loss `α_t q^γ H` of a logit y with target t, and its derivative with respect to y. With `p =
    /// σ(y)`, the probability q of the wrong class and the binary cross-entropy H: `∂(q^γ H)/∂y = q^γ (p − t) − γ
    /// q^(γ−1) H (2t − 1) p (1 − p)`.
    fn of(&self, _column: usize, y: T, t: T) -> (T, T) {
        if y.is_nan() {
            return (y, y);
        }
        let (p, other, gamma) = (math::sigmoid(y), math::sigmoid(-y), scalar::<T>(self.gamma));
        let negative = T::one() - t;
        // −log σ(y) is softplus(−y). 0 · ∞ counts as 0, not as NaN.
        let term = |factor: T, z: T| if factor.is_zero() { T::zero() } else { factor * math::softplus(z) };
        let entropy = term(t, -y) + term(negative, y);
        let q = p * negative + other * t;
        let (focus, steep) = if self.gamma == 0.0 {
            (T::one(), T::zero())
        } else if q.is_zero() {
            (T::zero(), T::zero())
        } else {
            let focus = math::exp(gamma * math::ln(q));
            (focus, gamma * focus * (p * other / q))
        };
        let alpha = self.alpha.map_or(T::one(), |alpha| scalar::<T>(alpha) * t + scalar::<T>(1.0 - alpha) * negative);
        let slope = focus * (p * negative - other * t) - steep * entropy * (t - negative);
        (alpha * (focus * entropy), alpha * slope)
    }

    fn check_target(&self, t: T) -> Result<(), Error> {
        require(t >= T::zero() && t <= T::one(), "a target of Focal", "between 0 and 1", to_f64(t))
    }

    fn check(&self, _width: usize) -> Result<(), Error> {
        self.check_settings()?;
        let in_format = scalar::<T>(self.gamma).is_finite();
        require(in_format, "the exponent of Focal", "finite in the number format of the network", self.gamma)
    }
}

impl Focal {
    /// Implements [`Loss::evaluate`] for any scalar type: overwrites the gradient `dy` in `rows`, and returns the
    /// loss as (rounded to `T`, as an `f64`).
    pub(crate) fn evaluate_generic<T: Scalar>(&self, rows: Rows<'_, T>) -> Result<InBoth<T>, Error> {
        evaluate(self, self.reduction, rows)
    }
}

impl<T: Scalar> Loss<T> for Focal {
    own_evaluate!(Focal);

    fn check_width(&self, width: usize) -> Result<(), Error> {
        EachValue::<T>::check(self, width)
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }
}
