//! Piecewise linear activations with a kink at 0.

use super::{Activation, Bounds, checked_when_read, own_box, own_kind, piecewise};
use crate::{
    error::{Error, require},
    math,
    scalar::{Scalar, parameter, scalar},
};
use alloc::{vec, vec::Vec};

/// The rectified linear unit: `φ(z) = max(z, 0)`, `φ′(z)` = 1 for `z > 0`, else 0.
///
/// Nair & Hinton, *Rectified linear units improve restricted Boltzmann machines* (2010).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Relu;

impl Activation for Relu {
    #[inline(always)]
    fn value<T: Scalar>(&self, z: T) -> T {
        if z <= T::zero() { T::zero() } else { z }
    }
    #[inline(always)]
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        let right = if z.is_nan() { z } else { T::one() };
        if z <= T::zero() { T::zero() } else { right }
    }
    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(0.0, 1.0))
    }
    fn kinks(&self) -> Vec<f64> {
        vec![0.0]
    }
    own_kind!(Relu);
    own_box!(Relu, ElmanRelu);
}

/// ReLU with a slope for negative inputs: `φ(z) = z` for `z > 0`, else `slope · z`; `φ′(0) = slope`.
///
/// Maas, Hannun & Ng, *Rectifier nonlinearities improve neural network acoustic models* (2013).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct LeakyRelu {
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    slope: f64,
}
checked_when_read!(LeakyRelu { slope });

impl LeakyRelu {
    /// Creates leaky ReLU with slope `slope` for `z ≤ 0`. If a number format cannot represent the slope, the nearest
    /// number that is finite and not 0 is used.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless `slope` is finite.
    pub fn new(slope: f64) -> Result<Self, Error> {
        require(slope.is_finite(), "LeakyRelu slope", "finite", slope)?;
        Ok(LeakyRelu { slope })
    }

    /// Returns the slope for `z ≤ 0`.
    pub const fn slope(&self) -> f64 {
        self.slope
    }
}

/// Returns leaky ReLU with slope 0.01.
impl Default for LeakyRelu {
    fn default() -> Self {
        LeakyRelu { slope: 0.01 }
    }
}

impl Activation for LeakyRelu {
    #[inline(always)]
    fn value<T: Scalar>(&self, z: T) -> T {
        let left = math::vanishing(z, parameter(self.slope));
        let left = if z.is_nan() { z } else { left };
        if z > T::zero() { z } else { left }
    }
    #[inline(always)]
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        let left = if z.is_nan() { z } else { parameter(self.slope) };
        if z > T::zero() { T::one() } else { left }
    }
    /// Returns the two slopes of φ, 1 and `slope`, in increasing order.
    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(self.slope.min(1.0), self.slope.max(1.0)))
    }
    fn kinks(&self) -> Vec<f64> {
        if self.slope == 1.0 { Vec::new() } else { vec![0.0] }
    }
    fn is_odd(&self) -> bool {
        self.slope == 1.0
    }
    own_kind!(LeakyRelu);
    own_box!(LeakyRelu);
}

/// ReLU, clamped at 6: `φ(z) = min(max(z, 0), 6)`; φ′ is 0 at both kinks.
///
/// Krizhevsky, *Convolutional deep belief networks on CIFAR-10* (2010).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Relu6;

impl Activation for Relu6 {
    #[inline(always)]
    fn value<T: Scalar>(&self, z: T) -> T {
        piecewise(z, (T::zero(), T::zero()), z, (scalar(6.0), scalar(6.0)))
    }
    #[inline(always)]
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        piecewise(z, (T::zero(), T::zero()), T::one(), (scalar(6.0), T::zero()))
    }
    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(0.0, 1.0))
    }
    fn kinks(&self) -> Vec<f64> {
        vec![0.0, 6.0]
    }
    own_kind!(Relu6);
}
