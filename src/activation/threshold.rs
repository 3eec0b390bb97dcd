//! The threshold activation: the identity above a threshold, a constant below.

use super::{Activation, Bounds, checked_when_read, own_kind};
use crate::{
    error::{Error, require},
    scalar::{Scalar, parameter},
};
use alloc::{vec, vec::Vec};

/// A threshold: `φ(z) = z` for `z > θ`, else `value`; φ jumps at θ unless `value` is θ, and `φ′(θ) = 0`.
///
/// With θ = 0 and `value` = 0 it is [`Relu`](super::Relu). Konda, Memisevic & Krueger, *Zero-bias autoencoders and the
/// benefits of co-adapting features* (2015).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Threshold {
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    threshold: f64,
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    value: f64,
}
checked_when_read!(Threshold { threshold, value });

impl Threshold {
    /// Creates the function that is the identity above `threshold`, and `value` elsewhere. If a number format cannot
    /// represent a parameter, the nearest number that is finite and not 0 is used.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless both parameters are finite.
    pub fn new(threshold: f64, value: f64) -> Result<Self, Error> {
        require(threshold.is_finite(), "Threshold threshold", "finite", threshold)?;
        require(value.is_finite(), "Threshold value", "finite", value)?;
        Ok(Threshold { threshold, value })
    }

    /// Returns the threshold θ, above which φ is the identity.
    pub const fn threshold(&self) -> f64 {
        self.threshold
    }

    /// Returns the value of φ for arguments up to the threshold θ.
    pub const fn replacement(&self) -> f64 {
        self.value
    }
}

impl Activation for Threshold {
    #[inline(always)]
    fn value<T: Scalar>(&self, z: T) -> T {
        if z <= parameter(self.threshold) { parameter(self.value) } else { z }
    }
    #[inline(always)]
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        let above = if z.is_nan() { z } else { T::one() };
        if z <= parameter(self.threshold) { T::zero() } else { above }
    }
    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(0.0, 1.0))
    }
    fn kinks(&self) -> Vec<f64> {
        if self.value == self.threshold { vec![self.threshold] } else { Vec::new() }
    }
    fn jumps(&self) -> Vec<f64> {
        if self.value == self.threshold { Vec::new() } else { vec![self.threshold] }
    }
    own_kind!(Threshold);
}
