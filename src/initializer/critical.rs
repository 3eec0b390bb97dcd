//! Weights and biases at the critical point (the edge of chaos), for any activation.

use super::{He, Initializer, InitializerKind, Normal, Orthogonal, Shape};
use crate::{
    activation::AnyActivation,
    block::Role,
    error::{Error, require},
    mean_field::{CriticalPoint, backward_gain, forward_gain},
};
use rand_core::Rng;

/// Weight and bias variances that keep the norm of a gradient at every depth, for one activation, which may be custom.
///
/// Weights have variance σw²/fan in with σw² = 1/E φ′(z)², φ the activation and z standard normal. σw is the
/// backward gain: it makes χ₁ = σw² E φ′², by which a layer multiplies the squared norm of a gradient, equal
/// to 1. The forward gain 1/√E φ² would keep the variance of the signal instead. Where the two differ, biases of
/// variance σb² = 1 − σw² E φ² raise the variance of pre-activations to 1.
///
/// Gradient norm and variance are kept at every depth: this is the critical point with q* = 1 ([`CriticalPoint::at`]).
/// For ReLU it is [`He`] without biases. Use it for weights and biases. If biases are 0, the variance departs from 1
/// and the weights are not critical, except for piecewise linear activations with a kink at 0.
///
/// ```
/// use chainrule::{activation::Gelu, initializer::CriticalGain, layer::{Linear, Sequential}};
/// let gelu = CriticalGain::new(&Gelu)?;
/// assert!((gelu.weight_variance - 2.1937).abs() < 5e-6 && (gelu.bias_variance - 0.06719).abs() < 5e-6);
/// let linear = Linear::new(64, 64).weights(gelu).bias(gelu);
/// # let _ = linear;
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct CriticalGain {
    /// σw²: fan in times the variance of a weight; finite, at least 0.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub weight_variance: f64,
    /// σb²: the variance of a bias; finite, at least 0.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub bias_variance: f64,
    /// Whether weights are a multiple of an orthogonal matrix, not independent normal numbers. The singular values of a
    /// product of many layers then stay equal; with independent weights they spread (Pennington, Schoenholz & Ganguli
    /// 2017).
    pub orthogonal: bool,
}

impl CriticalGain {
    /// Creates the initializer for layers followed by `activation`, with independent normal weights.
    ///
    /// # Errors
    /// [`Error::Parameter`] for an activation without a critical point at q* = 1, such as sigmoid and softplus. With
    /// the weights that keep the gradient norm, the mean of such an activation alone gives pre-activations a
    /// variance above 1. Use an activation of mean 0.
    pub fn new(activation: &dyn AnyActivation) -> Result<Self, Error> {
        match CriticalPoint::at(activation, 1.0)? {
            Some(CriticalPoint { weight_variance, bias_variance, .. }) => {
                Ok(CriticalGain { weight_variance, bias_variance, orthogonal: false })
            }
            None => Err(Error::Parameter {
                what: "critical gain: backward over forward gain of the activation",
                expected: "finite and at most 1",
                found: backward_gain(activation, 1.0)? / forward_gain(activation, 1.0)?,
            }),
        }
    }

    /// Makes the weights a multiple of an orthogonal matrix, instead of independent normal numbers.
    #[must_use]
    pub const fn orthogonal(mut self) -> Self {
        self.orthogonal = true;
        self
    }

    fn check(&self) -> Result<(), Error> {
        let valid = |variance: f64| variance.is_finite() && variance >= 0.0;
        let expected = "finite and at least 0";
        require(valid(self.weight_variance), "critical gain: weight variance", expected, self.weight_variance)?;
        require(valid(self.bias_variance), "critical gain: bias variance", expected, self.bias_variance)
    }

    /// Returns the initializer for a block of `shape`: normal for a bias; for other blocks orthogonal if `orthogonal`
    /// is set, otherwise normal. [`Error::Parameter`] for a variance that is negative or not finite.
    fn chosen(&self, shape: Shape) -> Result<InitializerKind, Error> {
        self.check()?;
        let gain = libm::sqrt(self.weight_variance);
        Ok(match shape.role {
            Role::Bias => Normal { mean: 0.0, std: libm::sqrt(self.bias_variance) }.kind(),
            _ if self.orthogonal => {
                // With more rows than columns, the variance of the entries of an orthogonal matrix is below 1/fan in.
                let tall = shape.rows.max(shape.columns) as f64 / shape.columns.max(1) as f64;
                Orthogonal { gain: gain * libm::sqrt(tall) }.kind()
            }
            _ => He::normal().gain(gain).kind(),
        })
    }
}

impl Initializer for CriticalGain {
    fn fill(&self, shape: Shape, rng: &mut dyn Rng, values: &mut [f64]) -> Result<(), Error> {
        self.chosen(shape)?.fill(shape, rng, values)
    }

    fn variance(&self, shape: Shape) -> Option<f64> {
        self.chosen(shape).ok()?.variance(shape)
    }

    fn mean(&self, shape: Shape) -> Option<f64> {
        self.chosen(shape).ok()?.mean(shape)
    }

    fn range(&self, shape: Shape) -> Option<[f64; 2]> {
        self.chosen(shape).ok()?.range(shape)
    }

    fn orthogonal_gain(&self, shape: Shape) -> Option<f64> {
        self.chosen(shape).ok()?.orthogonal_gain(shape)
    }

    fn kind(self) -> InitializerKind {
        InitializerKind::CriticalGain(self)
    }
}
