//! Entries with a standard deviation given by the fan (number of connections) of the block: Glorot, He, LeCun.

use super::{Initializer, InitializerKind, Normal, Shape, TruncatedNormal, Uniform};
use crate::error::{Error, require};
use core::f64::consts::SQRT_2;
use rand_core::Rng;

/// The number of connections that sets the standard deviation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Fan {
    /// Inputs of a unit (columns): keeps the variance of the signal in the forward pass.
    In,
    /// Units that an input reaches (rows): keeps the variance of the gradient in the backward pass.
    Out,
    /// The mean of fan in and fan out: a compromise.
    Average,
}

/// The form of the distribution of an entry. All have mean 0 and the same standard deviation `std`, the gain over
/// √fan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Distribution {
    /// Uniform between −√3 std and √3 std, with std the standard deviation gain/√fan.
    Uniform,
    /// Normal with mean 0 and standard deviation gain/√fan.
    Normal,
    /// Normal with mean 0, truncated at two of its standard deviations. After truncation the standard deviation is
    /// gain/√fan.
    Truncated,
}

/// Independent entries w of mean 0 and standard deviation gain/√fan. A sum of `fan` terms w·x then has the variance
/// gain² E\[x²\].
///
/// [`Glorot`], [`He`] and [`LeCun`] construct it with different gains and fans.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct VarianceScaling {
    /// The gain: the standard deviation of an entry is gain/√fan. It is finite and at least 0.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub gain: f64,
    /// The number of connections, fan, in the standard deviation gain/√fan of an entry: inputs, outputs or their
    /// mean.
    pub fan: Fan,
    /// The form of the distribution of an entry: uniform, normal or truncated normal.
    pub distribution: Distribution,
}

impl VarianceScaling {
    /// Sets the gain in the standard deviation gain/√fan of an entry; finite, at least 0.
    #[must_use]
    pub const fn gain(mut self, gain: f64) -> Self {
        self.gain = gain;
        self
    }

    /// Sets the number of connections, fan, in the standard deviation gain/√fan of an entry: inputs, outputs or their
    /// mean.
    #[must_use]
    pub const fn fan(mut self, fan: Fan) -> Self {
        self.fan = fan;
        self
    }

    /// Draws the entries from a normal distribution truncated at two of its standard deviations. The entries have the
    /// standard deviation gain/√fan after truncation.
    #[must_use]
    pub const fn truncated(mut self) -> Self {
        self.distribution = Distribution::Truncated;
        self
    }

    /// Returns the fan of a block of `shape`: the number of its inputs, the number of its outputs, or their mean, as
    /// the field `fan` selects.
    fn count(&self, shape: Shape) -> f64 {
        match self.fan {
            Fan::In => shape.fan_in() as f64,
            Fan::Out => shape.fan_out() as f64,
            Fan::Average => 0.5 * (shape.fan_in() as f64 + shape.fan_out() as f64),
        }
    }

    fn uniform(&self, fan: f64) -> Uniform {
        Uniform::within(self.gain * libm::sqrt(3.0 / fan))
    }

    fn truncated_normal(&self, fan: f64) -> TruncatedNormal {
        TruncatedNormal::new(0.0, self.gain / libm::sqrt(fan) / CUT_AT_TWO)
    }

    fn check(&self) -> Result<(), Error> {
        let valid = self.gain.is_finite() && self.gain >= 0.0;
        require(valid, "variance scaling initializer: gain", "finite and at least 0", self.gain)
    }
}

impl Initializer for VarianceScaling {
    fn fill(&self, shape: Shape, rng: &mut dyn Rng, values: &mut [f64]) -> Result<(), Error> {
        self.check()?;
        shape.holds(values)?;
        if values.is_empty() {
            return Ok(()); // a fan of 0 has no standard deviation, and no values
        }
        let fan = self.count(shape);
        match self.distribution {
            Distribution::Uniform => self.uniform(fan).fill(shape, rng, values),
            Distribution::Normal => Normal { mean: 0.0, std: self.gain / libm::sqrt(fan) }.fill(shape, rng, values),
            Distribution::Truncated => self.truncated_normal(fan).fill(shape, rng, values),
        }
    }

    fn variance(&self, shape: Shape) -> Option<f64> {
        self.check().ok()?;
        let fan = self.count(shape);
        (fan > 0.0).then(|| self.gain * self.gain / fan)
    }

    fn mean(&self, shape: Shape) -> Option<f64> {
        self.variance(shape).map(|_| 0.0)
    }

    fn range(&self, shape: Shape) -> Option<[f64; 2]> {
        // The bounds of the distributions that `fill` draws from.
        let fan = self.variance(shape).map(|_| self.count(shape))?;
        match self.distribution {
            Distribution::Uniform => self.uniform(fan).range(shape),
            Distribution::Truncated => self.truncated_normal(fan).range(shape),
            Distribution::Normal => None,
        }
    }

    fn kind(self) -> InitializerKind {
        InitializerKind::VarianceScaling(self)
    }
}

/// Standard deviation of a standard normal number z given |z| ≤ 2: √(1 − 4φ(2)/(2Φ(2) − 1)), with φ and Φ
/// the normal density and distribution function.
const CUT_AT_TWO: f64 = 0.879_625_661_034_239_8;

const fn scaling(gain: f64, fan: Fan, distribution: Distribution) -> VarianceScaling {
    VarianceScaling { gain, fan, distribution }
}

/// Entries of mean 0 and standard deviation gain · √(2/(fan in + fan out)), with gain 1.
///
/// A compromise that roughly keeps the variance of activations and of gradients in a linear or tanh network (Glorot and
/// Bengio 2010; Xavier in PyTorch).
///
/// ```
/// use chainrule::initializer::{Distribution, Fan, Glorot};
/// let weights = Glorot::uniform().gain(5.0 / 3.0); // the gain of PyTorch for tanh
/// assert_eq!((weights.fan, weights.distribution), (Fan::Average, Distribution::Uniform));
/// ```
#[derive(Clone, Copy, Debug)]
pub enum Glorot {}

impl Glorot {
    /// Creates entries uniform within ±gain · √(6/(fan in + fan out)), with gain 1.
    pub const fn uniform() -> VarianceScaling {
        scaling(1.0, Fan::Average, Distribution::Uniform)
    }

    /// Creates normal entries of standard deviation gain · √(2/(fan in + fan out)), with gain 1.
    pub const fn normal() -> VarianceScaling {
        scaling(1.0, Fan::Average, Distribution::Normal)
    }
}

/// Entries of mean 0 and standard deviation gain/√(fan in), with gain √2.
///
/// `He` keeps the second moment of the signal through ReLU, which zeroes half of it (He, Zhang, Ren and Sun 2015;
/// Kaiming in PyTorch).
///
/// [`gain`](VarianceScaling::gain) replaces the √2.
#[derive(Clone, Copy, Debug)]
pub enum He {}

impl He {
    /// Creates entries uniform within ±gain · √(3/fan in), with gain √2.
    pub const fn uniform() -> VarianceScaling {
        scaling(SQRT_2, Fan::In, Distribution::Uniform)
    }

    /// Creates normal entries of standard deviation gain/√(fan in), with gain √2.
    pub const fn normal() -> VarianceScaling {
        scaling(SQRT_2, Fan::In, Distribution::Normal)
    }
}

/// Entries of mean 0 and standard deviation gain/√(fan in), with gain 1.
///
/// With `LeCun`, a weighted sum of inputs has the mean square of the inputs (LeCun, Bottou, Orr and Müller 1998).
/// `LeCun::uniform().gain(1.0 / 3f64.sqrt())` is within ±1/√(fan in), the default of PyTorch for a linear layer.
#[derive(Clone, Copy, Debug)]
pub enum LeCun {}

impl LeCun {
    /// Creates entries uniform within ±gain · √(3/fan in), with gain 1.
    pub const fn uniform() -> VarianceScaling {
        scaling(1.0, Fan::In, Distribution::Uniform)
    }

    /// Creates normal entries of standard deviation gain/√(fan in), with gain 1.
    pub const fn normal() -> VarianceScaling {
        scaling(1.0, Fan::In, Distribution::Normal)
    }
}
