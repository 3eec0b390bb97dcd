//! Piecewise polynomial approximations of tanh, sigmoid and swish.

use super::{Activation, Bounds, checked_when_read, own_kind, piecewise};
use crate::{
    error::{Error, require},
    scalar::{Scalar, parameter, scalar},
};
use alloc::{vec, vec::Vec};

/// The identity, clamped: `φ(z) = min(max(z, min), max)`; φ′ is 0 at both kinks.
///
/// Collobert, *Large scale machine learning* (2004).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct HardTanh {
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    min: f64,
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    max: f64,
}
checked_when_read!(HardTanh { min, max });

impl HardTanh {
    /// Creates the function that clamps its argument to the range from `min` to `max`. If a number format cannot
    /// represent a limit, the nearest number that is finite and not 0 is used.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless both limits are finite and `min < max`.
    pub fn new(min: f64, max: f64) -> Result<Self, Error> {
        require(min.is_finite(), "HardTanh min", "finite", min)?;
        require(max.is_finite() && min < max, "HardTanh max", "finite and greater than min", max)?;
        Ok(HardTanh { min, max })
    }

    /// Returns the lower limit `min` of the clamp, the smallest value of φ.
    pub const fn min(&self) -> f64 {
        self.min
    }

    /// Returns the upper limit `max` of the clamp, the largest value of φ.
    pub const fn max(&self) -> f64 {
        self.max
    }
}

/// Returns the function that clamps to the range from −1 to 1.
impl Default for HardTanh {
    fn default() -> Self {
        HardTanh { min: -1.0, max: 1.0 }
    }
}

impl Activation for HardTanh {
    #[inline(always)]
    fn value<T: Scalar>(&self, z: T) -> T {
        let (min, max) = (parameter(self.min), parameter(self.max));
        piecewise(z, (min, min), z, (max, max))
    }
    #[inline(always)]
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        piecewise(z, (parameter(self.min), T::zero()), T::one(), (parameter(self.max), T::zero()))
    }
    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(0.0, 1.0))
    }
    fn kinks(&self) -> Vec<f64> {
        vec![self.min, self.max]
    }
    fn is_odd(&self) -> bool {
        self.min == -self.max
    }
    own_kind!(HardTanh);
}

/// A piecewise linear sigmoid: `φ(z) = min(max((z + 3)/6, 0), 1)`; φ′ is 0 at both kinks.
///
/// Courbariaux, Bengio & David, *BinaryConnect* (2015), with the slope 1/6 of Howard et al.,
/// *Searching for MobileNetV3* (2019).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct HardSigmoid;

impl Activation for HardSigmoid {
    #[inline(always)]
    fn value<T: Scalar>(&self, z: T) -> T {
        let line = (z + scalar(3.0)) / scalar(6.0);
        piecewise(z, (scalar(-3.0), T::zero()), line, (scalar(3.0), T::one()))
    }
    #[inline(always)]
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        piecewise(z, (scalar(-3.0), T::zero()), scalar(1.0 / 6.0), (scalar(3.0), T::zero()))
    }
    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(0.0, 1.0 / 6.0))
    }
    fn kinks(&self) -> Vec<f64> {
        vec![-3.0, 3.0]
    }
    own_kind!(HardSigmoid);
}

/// A piecewise quadratic swish: `φ(z) = z · min(max(z + 3, 0), 6) / 6`; `φ′(−3) = 0`, `φ′(3) = 1`.
///
/// Howard et al., *Searching for MobileNetV3* (2019).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct HardSwish;

impl Activation for HardSwish {
    #[inline(always)]
    fn value<T: Scalar>(&self, z: T) -> T {
        let parabola = z * (z + scalar(3.0)) / scalar(6.0);
        piecewise(z, (scalar(-3.0), T::zero()), parabola, (scalar(3.0), z))
    }
    #[inline(always)]
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        let line = (z + z + scalar(3.0)) / scalar(6.0);
        piecewise(z, (scalar(-3.0), T::zero()), line, (scalar(3.0), T::one()))
    }
    /// Between the kinks, `φ′(z) = (2z + 3)/6` increases from −½ at z = −3 to 1½ at z = 3.
    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(-0.5, 1.5))
    }
    fn kinks(&self) -> Vec<f64> {
        vec![-3.0, 3.0]
    }
    own_kind!(HardSwish);
}
