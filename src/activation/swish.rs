//! The input times a smooth gate: swish and mish.

use super::{Activation, Bounds, checked_when_read, own_box, own_kind};
use crate::{
    error::{Error, require},
    math::{self, product},
    scalar::{Scalar, parameter},
};

/// The input times its own sigmoid: `φ(z) = z σ(βz)`, `φ′(z) = σ(βz) + βz σ′(βz)`.
///
/// Ramachandran, Zoph & Le, *Searching for activation functions* (2017). With β = 1 it is the SiLU
/// of Elfwing, Uchibe & Doya, *Sigmoid-weighted linear units* (2018); with β = 0 it is `z/2`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Swish {
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    beta: f64,
}
checked_when_read!(Swish { beta });

impl Swish {
    /// Swish with β = 1.
    pub const SILU: Swish = Swish { beta: 1.0 };

    /// Creates swish with the parameter β. A larger β gives a sharper bend; a negative β reflects the function. If a
    /// number format cannot represent β, the nearest number that is finite and not 0 is used.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless `beta` is finite.
    pub fn new(beta: f64) -> Result<Self, Error> {
        require(beta.is_finite(), "Swish beta", "finite", beta)?;
        Ok(Swish { beta })
    }

    /// Returns β of `φ(z) = z σ(βz)`.
    pub const fn beta(&self) -> f64 {
        self.beta
    }

    /// Returns `βz` rounded to `T`, and the exact product minus the rounded one. For β = 0, `βz` is 0 even if `z` is
    /// infinite.
    #[inline(always)]
    fn gate<T: Scalar>(&self, z: T) -> (T, T) {
        let beta = parameter::<T>(self.beta);
        let (gate, lost) = product(z, beta);
        let gate = if beta == T::zero() { beta } else { gate };
        (if z.is_nan() { z } else { gate }, lost)
    }
}

/// Returns [`Swish::SILU`].
impl Default for Swish {
    fn default() -> Self {
        Swish::SILU
    }
}

impl Activation for Swish {
    #[inline(always)]
    fn value<T: Scalar>(&self, z: T) -> T {
        let (v, lost) = self.gate(z);
        math::gated(z, v, lost)
    }
    #[inline(always)]
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        let (v, lost) = self.gate(z);
        math::gated_slope(v, v, lost)
    }
    /// φ′ is a function of `βz` alone, so its bounds are the same for every β ≠ 0. Since
    /// `φ′(z) + φ′(−z) = 1`, inf = 1 − sup. The supremum is at `βz tanh(βz/2) = 2`, βz = 2.39935728052…
    /// (mpmath, 40 digits).
    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(match self.beta {
            0.0 => Bounds::new(0.5, 0.5),
            _ => Bounds::new(-0.099_839_320_128_866_92, 1.099_839_320_128_867),
        })
    }
    fn is_odd(&self) -> bool {
        self.beta == 0.0
    }
    own_kind!(Swish);
    own_box!(Swish);
}

/// The input gated by softplus: `φ(z) = z tanh(ln(1 + eᶻ))`.
///
/// Misra, *Mish: a self regularized non-monotonic activation function* (2019).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Mish;

impl Activation for Mish {
    #[inline(always)]
    fn value<T: Scalar>(&self, z: T) -> T {
        math::mish(z)
    }
    #[inline(always)]
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        math::mish_slope(z)
    }
    /// The extremes of φ′ are where φ″ = 0, at z = −2.25637639636… and 1.49057117948… (mpmath, 40 digits).
    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(-0.112_526_122_389_462_56, 1.088_498_161_251_728))
    }
    own_kind!(Mish);
}
