//! The distance to an interval about 0, with the sign of the argument.

use super::{Activation, Bounds, checked_when_read, own_kind};
use crate::{
    error::{Error, require},
    math::magnitude,
    scalar::{Scalar, parameter},
};
use alloc::{vec, vec::Vec};

/// Soft shrinkage: `φ(z) = z − λ` for `z > λ`, `z + λ` for `z < −λ`, else 0; φ′ is 0 at both kinks.
///
/// With λ = 0 it is the identity. Donoho & Johnstone, *Ideal spatial adaptation by wavelet shrinkage* (1994).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct SoftShrink {
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    lambda: f64,
}
checked_when_read!(SoftShrink { lambda });

impl SoftShrink {
    /// Creates the function that is 0 from −`lambda` to `lambda`. If a number format cannot represent λ, the nearest
    /// number that is finite and not 0 is used.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless `lambda` is finite and at least 0.
    pub fn new(lambda: f64) -> Result<Self, Error> {
        require(lambda.is_finite() && lambda >= 0.0, "SoftShrink lambda", "finite and at least 0", lambda)?;
        Ok(SoftShrink { lambda })
    }

    /// Returns λ.
    pub const fn lambda(&self) -> f64 {
        self.lambda
    }

    /// Whether z lies in the interval where φ is 0.
    #[inline(always)]
    fn inside<T: Scalar>(&self, z: T) -> bool {
        self.lambda > 0.0 && magnitude(z) <= parameter(self.lambda)
    }
}

/// Returns the function with λ = 0.5.
impl Default for SoftShrink {
    fn default() -> Self {
        SoftShrink { lambda: 0.5 }
    }
}

impl Activation for SoftShrink {
    #[inline(always)]
    fn value<T: Scalar>(&self, z: T) -> T {
        let lambda = parameter::<T>(self.lambda);
        let outside = z - if z < T::zero() { -lambda } else { lambda };
        // A zero of the sign of z, so that φ is odd to the bit.
        if self.inside(z) { z * T::zero() } else { outside }
    }
    #[inline(always)]
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        let outside = if z.is_nan() { z } else { T::one() };
        if self.inside(z) { T::zero() } else { outside }
    }
    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(if self.lambda > 0.0 { 0.0 } else { 1.0 }, 1.0))
    }
    fn kinks(&self) -> Vec<f64> {
        if self.lambda > 0.0 { vec![-self.lambda, self.lambda] } else { Vec::new() }
    }
    fn is_odd(&self) -> bool {
        true
    }
    own_kind!(SoftShrink);
}
