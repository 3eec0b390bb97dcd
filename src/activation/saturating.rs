//! Activations that saturate on both sides: the classical cause of vanishing gradients.
//!
//! Derivatives are computed from `z`. Computed from `y`, they would be 0 as soon as `y` rounds to its limit.

use super::{Activation, Bounds, own_box, own_kind};
use crate::{
    math::{self, magnitude},
    scalar::Scalar,
};
use core::f64::consts::FRAC_2_SQRT_PI;

/// The logistic function: `φ(z) = 1 / (1 + e⁻ᶻ)`, `φ′(z) = φ(z) φ(−z)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Sigmoid;

impl Activation for Sigmoid {
    #[inline(always)]
    fn value<T: Scalar>(&self, z: T) -> T {
        math::sigmoid(z)
    }
    #[inline(always)]
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        math::sigmoid_slope_of_sum(z, T::zero())
    }
    /// The supremum of φ′ is ¼, at 0; the infimum 0 is the limit at ±∞.
    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(0.0, 0.25))
    }
    own_kind!(Sigmoid);
    own_box!(Sigmoid);
}

/// The hyperbolic tangent: `φ(z) = tanh z`, `φ′(z) = 1 / cosh² z`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Tanh;

impl Activation for Tanh {
    #[inline(always)]
    fn value<T: Scalar>(&self, z: T) -> T {
        math::tanh(z)
    }
    #[inline(always)]
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        math::tanh_slope(z)
    }
    /// The supremum of φ′ is 1, at 0; the infimum 0 is the limit at ±∞.
    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(0.0, 1.0))
    }
    fn is_odd(&self) -> bool {
        true
    }
    own_kind!(Tanh);
    own_box!(Tanh, ElmanTanh);
}

/// Softsign, which approaches its limits like `1/z`: `φ(z) = z / (1 + |z|)`, `φ′(z) = 1 / (1 + |z|)²`.
///
/// Bergstra, Desjardins, Lamblin & Bengio, *Quadratic polynomials learn better image features*
/// (2009).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Softsign;

impl Activation for Softsign {
    #[inline(always)]
    fn value<T: Scalar>(&self, z: T) -> T {
        // ∞/∞ is NaN; the largest finite number gives the limit.
        let z = if z > T::max_value() { T::max_value() } else { z };
        let z = if z < T::min_value() { T::min_value() } else { z };
        z / (T::one() + magnitude(z))
    }
    #[inline(always)]
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        math::softsign_slope(z)
    }
    /// The supremum of φ′ is 1, at 0; the infimum 0 is the limit at ±∞.
    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(0.0, 1.0))
    }
    fn is_odd(&self) -> bool {
        true
    }
    own_kind!(Softsign);
}

/// The error function: `φ(z) = erf z`, `φ′(z) = 2/√π e^(−z²)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Erf;

impl Activation for Erf {
    #[inline(always)]
    fn value<T: Scalar>(&self, z: T) -> T {
        math::erf(z)
    }
    #[inline(always)]
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        math::erf_slope(z)
    }
    /// The supremum of φ′ is `2/√π`, at 0; the infimum 0 is the limit at ±∞.
    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(0.0, FRAC_2_SQRT_PI))
    }
    fn is_odd(&self) -> bool {
        true
    }
    own_kind!(Erf);
}
