//! Uniform and normal entries of given bounds or standard deviation.

use super::{Initializer, InitializerKind, Shape, check_finite};
use crate::error::{Error, require};
use crate::random::{Normals, uniform};
use rand_core::Rng;

/// Independent entries uniform between two bounds: w = low + (high − low) u, u uniform in \[0, 1), variance (high −
/// low)²/12.
///
/// An entry is at most `high`, which it reaches only by rounding.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Uniform {
    /// The smallest value of an entry; finite.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub low: f64,
    /// The largest value of an entry; at least `low`, with a finite difference from it.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub high: f64,
}

impl Uniform {
    /// Creates the uniform distribution from `low` to `high`.
    pub const fn new(low: f64, high: f64) -> Self {
        Uniform { low, high }
    }

    /// Creates the uniform distribution between −`bound` and `bound`, which must be finite and at least 0.
    pub const fn within(bound: f64) -> Self {
        Uniform { low: -bound, high: bound }
    }

    fn check(&self) -> Result<(), Error> {
        require(self.low.is_finite(), "uniform initializer: low", "finite", self.low)?;
        require(self.high.is_finite(), "uniform initializer: high", "finite", self.high)?;
        let width = self.high - self.low;
        require(width.is_finite() && width >= 0.0, "uniform initializer: high − low", "finite and at least 0", width)
    }
}

impl Initializer for Uniform {
    fn fill(&self, shape: Shape, rng: &mut dyn Rng, values: &mut [f64]) -> Result<(), Error> {
        self.check()?;
        shape.holds(values)?;
        let width = self.high - self.low;
        for value in values {
            *value = (self.low + width * uniform(rng)).min(self.high);
        }
        Ok(())
    }

    fn variance(&self, _: Shape) -> Option<f64> {
        self.check().ok()?;
        let width = self.high - self.low;
        Some(width * width / 12.0)
    }

    fn mean(&self, _: Shape) -> Option<f64> {
        self.check().ok().map(|()| 0.5 * self.low + 0.5 * self.high)
    }

    fn range(&self, _: Shape) -> Option<[f64; 2]> {
        self.check().ok().map(|()| [self.low, self.high])
    }

    fn kind(self) -> InitializerKind {
        InitializerKind::Uniform(self)
    }
}

/// Independent normal entries: w = mean + std · z, z standard normal.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Normal {
    /// The mean of an entry; finite.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub mean: f64,
    /// The standard deviation of an entry; finite, at least 0.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub std: f64,
}

impl Normal {
    /// Creates the normal distribution of the given mean and standard deviation.
    pub const fn new(mean: f64, std: f64) -> Self {
        Normal { mean, std }
    }

    fn check(&self) -> Result<(), Error> {
        require(self.mean.is_finite(), "normal initializer: mean", "finite", self.mean)?;
        let valid = self.std.is_finite() && self.std >= 0.0;
        require(valid, "normal initializer: std", "finite and at least 0", self.std)
    }
}

impl Initializer for Normal {
    fn fill(&self, shape: Shape, rng: &mut dyn Rng, values: &mut [f64]) -> Result<(), Error> {
        self.check()?;
        shape.holds(values)?;
        let mut normals = Normals::new();
        for value in values.iter_mut() {
            *value = self.mean + self.std * normals.next(rng);
        }
        check_finite("normal initializer", values)
    }

    fn variance(&self, _: Shape) -> Option<f64> {
        self.check().ok().map(|()| self.std * self.std)
    }

    fn mean(&self, _: Shape) -> Option<f64> {
        self.check().ok().map(|()| self.mean)
    }

    fn kind(self) -> InitializerKind {
        InitializerKind::Normal(self)
    }
}
