//! Activations that are linear for `z > 0` and approach a negative limit like `eᶻ`.

use super::{Activation, Bounds, checked_when_read, own_box, own_kind};
use crate::{
    error::{Error, require},
    math,
    scalar::{Scalar, parameter, scalar},
};
use alloc::{vec, vec::Vec};

/// The exponential linear unit: `φ(z) = z` for `z > 0`, else `α (eᶻ − 1)`; `φ′(0) = α`.
///
/// Clevert, Unterthiner & Hochreiter, *Fast and accurate deep network learning by exponential
/// linear units* (2016).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Elu {
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    alpha: f64,
}
checked_when_read!(Elu { alpha });

impl Elu {
    /// Creates ELU with the parameter α; its limit at −∞ is −α. If a number format cannot represent α, the
    /// nearest number that is finite and not 0 is used.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless `alpha` is finite and not negative.
    pub fn new(alpha: f64) -> Result<Self, Error> {
        require(alpha.is_finite() && alpha >= 0.0, "Elu alpha", "finite and at least 0", alpha)?;
        Ok(Elu { alpha })
    }

    /// Returns α: `φ(z) = α (eᶻ − 1)` for `z ≤ 0`.
    pub const fn alpha(&self) -> f64 {
        self.alpha
    }
}

/// Returns ELU with α = 1.
impl Default for Elu {
    fn default() -> Self {
        Elu { alpha: 1.0 }
    }
}

impl Activation for Elu {
    #[inline(always)]
    fn value<T: Scalar>(&self, z: T) -> T {
        exponential(z, T::one(), parameter(self.alpha), z)
    }
    #[inline(always)]
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        exponential_derivative((z, T::zero()), T::one(), parameter(self.alpha))
    }
    /// The infimum of φ′ is the limit 0 at −∞. The supremum is the larger of 1, for z > 0, and α, at 0.
    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(0.0, self.alpha.max(1.0)))
    }
    fn kinks(&self) -> Vec<f64> {
        if self.alpha == 1.0 { Vec::new() } else { vec![0.0] }
    }
    own_kind!(Elu);
    own_box!(Elu);
}

/// The continuously differentiable ELU: `φ(z) = z` for `z > 0`, else `α (e^(z/α) − 1)`.
///
/// Barron, *Continuously differentiable exponential linear units* (2017).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Celu {
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    alpha: f64,
}
checked_when_read!(Celu { alpha });

impl Celu {
    /// Creates CELU with the parameter α; its limit at −∞ is −α. If a number format cannot represent α, the
    /// nearest number that is finite and not 0 is used.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless `alpha` is finite and greater than 0.
    pub fn new(alpha: f64) -> Result<Self, Error> {
        require(alpha.is_finite() && alpha > 0.0, "Celu alpha", "finite and greater than 0", alpha)?;
        Ok(Celu { alpha })
    }

    /// Returns α: `φ(z) = α (e^(z/α) − 1)` for `z ≤ 0`.
    pub const fn alpha(&self) -> f64 {
        self.alpha
    }
}

/// Returns CELU with α = 1, which equals ELU.
impl Default for Celu {
    fn default() -> Self {
        Celu { alpha: 1.0 }
    }
}

impl Activation for Celu {
    #[inline(always)]
    fn value<T: Scalar>(&self, z: T) -> T {
        let alpha = parameter::<T>(self.alpha);
        exponential(z, T::one(), alpha, z / alpha)
    }
    #[inline(always)]
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        exponential_derivative(math::quotient(z, parameter(self.alpha)), T::one(), T::one())
    }
    /// The infimum of φ′ is the limit 0 at −∞. The supremum is 1, for z > 0.
    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(0.0, 1.0))
    }
    own_kind!(Celu);
}

/// The scaled ELU, whose values have mean 0 and variance 1 if z is standard normal: `φ(z) = λ z` for `z > 0`, else
/// `λ α (eᶻ − 1)`; `φ′(0) = λ α`.
///
/// Klambauer, Unterthiner, Mayr & Hochreiter, *Self-normalizing neural networks* (2017).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Selu;

impl Selu {
    /// `λ`, the slope of φ for `z > 0`: equation 14 of Klambauer et al. (2017).
    pub const LAMBDA: f64 = 1.050_700_987_355_480_5;
    /// `α`, with `−λ α` the limit of φ at −∞: equation 14 of Klambauer et al. (2017).
    pub const ALPHA: f64 = 1.673_263_242_354_377_2;
}

impl Activation for Selu {
    #[inline(always)]
    fn value<T: Scalar>(&self, z: T) -> T {
        exponential(z, scalar(Selu::LAMBDA), scalar(Selu::LAMBDA * Selu::ALPHA), z)
    }
    #[inline(always)]
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        exponential_derivative((z, T::zero()), scalar(Selu::LAMBDA), scalar(Selu::LAMBDA * Selu::ALPHA))
    }
    /// The infimum of φ′ is the limit 0 at −∞. The supremum is `λ α` = 1.7581, at 0.
    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(0.0, Selu::LAMBDA * Selu::ALPHA))
    }
    fn kinks(&self) -> Vec<f64> {
        vec![0.0]
    }
    own_kind!(Selu);
}

/// Returns `right · z` for `z > 0`, else `left · (e^exponent − 1)`.
#[inline(always)]
fn exponential<T: Scalar>(z: T, right: T, left: T, exponent: T) -> T {
    let negative = left * math::exp_m1(if exponent > T::zero() { T::zero() } else { exponent });
    let positive = right * z;
    if z > T::zero() { positive } else { negative }
}

/// Returns `right` for `z > 0`, else `left · e^(z + low)`, where `z + low` is the exact argument, `z` the rounded one
/// and `low` the difference.
#[inline(always)]
fn exponential_derivative<T: Scalar>((z, low): (T, T), right: T, left: T) -> T {
    let negative = left * math::exp_of_sum(z, low);
    if z > T::zero() { right } else { negative }
}
