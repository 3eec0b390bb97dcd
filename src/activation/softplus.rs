//! Softplus, `ln(1 + eᶻ)`, and the logarithm of the sigmoid, its reflection.

use super::{Activation, Bounds, checked_when_read, own_kind};
use crate::{
    error::{Error, require},
    math::{self, magnitude, product},
    scalar::{Scalar, parameter},
};

/// A smooth ReLU: `φ(z) = ln(1 + e^(βz)) / β`, `φ′(z) = σ(βz)`.
///
/// Dugas, Bengio, Bélisle, Nadeau & Garcia, *Incorporating second-order functional knowledge for
/// better option pricing* (2001). It is accurate for every `z`; PyTorch returns `z` itself for `βz > 20`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Softplus {
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    beta: f64,
}
checked_when_read!(Softplus { beta });

impl Softplus {
    /// Creates softplus with the parameter β; a larger β gives a sharper bend. If a number format cannot represent
    /// β, the nearest number that is finite and not 0 is used.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless `beta` is finite and greater than 0.
    pub fn new(beta: f64) -> Result<Self, Error> {
        require(beta.is_finite() && beta > 0.0, "Softplus beta", "finite and greater than 0", beta)?;
        Ok(Softplus { beta })
    }

    /// Returns β of `φ(z) = ln(1 + e^(βz)) / β`.
    pub const fn beta(&self) -> f64 {
        self.beta
    }
}

/// Returns softplus with β = 1.
impl Default for Softplus {
    fn default() -> Self {
        Softplus { beta: 1.0 }
    }
}

impl Activation for Softplus {
    #[inline(always)]
    fn value<T: Scalar>(&self, z: T) -> T {
        let beta = parameter::<T>(self.beta);
        let positive = if z < T::zero() { T::zero() } else { z };
        let (v, lost) = product(-magnitude(z), beta);
        positive + math::ln_1p(math::exp_of_sum(v, lost)) / beta
    }
    #[inline(always)]
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        let (v, lost) = product(z, parameter(self.beta));
        math::sigmoid_of_sum(v, lost)
    }
    /// Returns the limits of φ′, 0 at −∞ and 1 at ∞.
    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(0.0, 1.0))
    }
    own_kind!(Softplus);
}

/// The logarithm of the sigmoid: `φ(z) = −ln(1 + e⁻ᶻ)`, `φ′(z) = σ(−z)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LogSigmoid;

impl Activation for LogSigmoid {
    #[inline(always)]
    fn value<T: Scalar>(&self, z: T) -> T {
        -math::softplus(-z)
    }
    #[inline(always)]
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        math::sigmoid(-z)
    }
    /// Returns the limits of φ′, 0 at ∞ and 1 at −∞.
    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(0.0, 1.0))
    }
    own_kind!(LogSigmoid);
}
