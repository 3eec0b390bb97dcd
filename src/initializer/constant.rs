//! Initializers without random numbers: zeros, a constant, the identity.

use super::{Initializer, InitializerKind, Shape};
use crate::error::{Error, require};
use rand_core::Rng;

/// All zeros: w = 0, the usual initial value of a bias.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Zeros;

impl Initializer for Zeros {
    fn fill(&self, shape: Shape, _: &mut dyn Rng, values: &mut [f64]) -> Result<(), Error> {
        shape.holds(values)?;
        values.fill(0.0);
        Ok(())
    }

    fn variance(&self, _: Shape) -> Option<f64> {
        Some(0.0)
    }

    fn mean(&self, _: Shape) -> Option<f64> {
        Some(0.0)
    }

    fn range(&self, _: Shape) -> Option<[f64; 2]> {
        Some([0.0, 0.0])
    }

    fn kind(self) -> InitializerKind {
        InitializerKind::Zeros(self)
    }
}

/// The same value for all entries: w = value.
///
/// A forget-gate bias of 1 keeps the forget gate of an LSTM open at the start.
/// Gers, Schmidhuber and Cummins 2000; Jozefowicz, Zaremba and Sutskever 2015.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Constant(
    /// The value of all entries; finite.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub f64,
);

impl Initializer for Constant {
    fn fill(&self, shape: Shape, _: &mut dyn Rng, values: &mut [f64]) -> Result<(), Error> {
        require(self.0.is_finite(), "constant initializer: value", "finite", self.0)?;
        shape.holds(values)?;
        values.fill(self.0);
        Ok(())
    }

    fn variance(&self, _: Shape) -> Option<f64> {
        self.0.is_finite().then_some(0.0)
    }

    fn mean(&self, _: Shape) -> Option<f64> {
        Some(self.0).filter(|value| value.is_finite())
    }

    fn range(&self, shape: Shape) -> Option<[f64; 2]> {
        self.mean(shape).map(|value| [value, value])
    }

    fn kind(self) -> InitializerKind {
        InitializerKind::Constant(self)
    }
}

/// A multiple of the identity: wᵢⱼ = scale for i = j, otherwise 0. The matrix may be rectangular.
///
/// As recurrent weights with ReLU, at a scale of 1 or slightly less, it gives the IRNN (Le, Jaitly and Hinton 2015).
/// The entries are not identically distributed, so they have no common variance. The activation of this name is
/// [`activation::Identity`](crate::activation::Identity): where both are needed, write `initializer::Identity`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Identity {
    /// The value on the diagonal; finite.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub scale: f64,
}

impl Identity {
    /// Creates the initializer with `scale` on the diagonal.
    pub const fn new(scale: f64) -> Self {
        Identity { scale }
    }
}

impl Default for Identity {
    /// Returns the identity: scale 1.
    fn default() -> Self {
        Identity { scale: 1.0 }
    }
}

impl Initializer for Identity {
    fn fill(&self, shape: Shape, _: &mut dyn Rng, values: &mut [f64]) -> Result<(), Error> {
        require(self.scale.is_finite(), "identity initializer: scale", "finite", self.scale)?;
        shape.holds(values)?;
        values.fill(0.0);
        for (i, row) in values.chunks_exact_mut(shape.columns.max(1)).take(shape.columns).enumerate() {
            row[i] = self.scale;
        }
        Ok(())
    }

    fn range(&self, _: Shape) -> Option<[f64; 2]> {
        self.scale.is_finite().then_some([self.scale.min(0.0), self.scale.max(0.0)])
    }

    fn orthogonal_gain(&self, shape: Shape) -> Option<f64> {
        (self.scale.is_finite() && shape.rows.min(shape.columns) > 0).then(|| libm::fabs(self.scale))
    }

    fn kind(self) -> InitializerKind {
        InitializerKind::Identity(self)
    }
}
