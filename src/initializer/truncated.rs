//! The initializer of normal entries that are truncated on both sides.

use super::{Initializer, InitializerKind, Shape, check_finite};
use crate::error::{Error, require};
use crate::random::{Normals, uniform};
use rand_core::Rng;

/// Independent entries of a normal distribution truncated on both sides: w = mean + std · z, z standard normal given
/// low ≤ z ≤ high.
///
/// `std` is the standard deviation of the normal before truncation; [`variance`](Initializer::variance) returns the
/// variance of the entries. The cost of a draw is bounded for every interval, also far in the tail (Robert 1995,
/// "Simulation of truncated normal variables").
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TruncatedNormal {
    /// Mean of the normal before truncation; finite.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub mean: f64,
    /// Standard deviation of the normal before truncation; finite, at least 0.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub std: f64,
    /// The lower bound, in units of `std` from the mean; finite.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub low: f64,
    /// The upper bound, in units of `std` from the mean; finite, above `low`.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub high: f64,
}

impl TruncatedNormal {
    /// Creates the normal distribution of the given mean and standard deviation, truncated at two standard deviations
    /// on both sides of the mean.
    pub const fn new(mean: f64, std: f64) -> Self {
        TruncatedNormal { mean, std, low: -2.0, high: 2.0 }
    }

    /// Sets the bounds to `low` and `high` standard deviations from the mean.
    #[must_use]
    pub const fn between(mut self, low: f64, high: f64) -> Self {
        self.low = low;
        self.high = high;
        self
    }

    fn check(&self) -> Result<(), Error> {
        require(self.mean.is_finite(), "truncated normal initializer: mean", "finite", self.mean)?;
        let valid = self.std.is_finite() && self.std >= 0.0;
        require(valid, "truncated normal initializer: std", "finite and at least 0", self.std)?;
        require(self.low.is_finite(), "truncated normal initializer: low", "finite", self.low)?;
        let valid = self.high.is_finite() && self.high > self.low;
        require(valid, "truncated normal initializer: high", "finite and above low", self.high)
    }
}

impl Initializer for TruncatedNormal {
    fn fill(&self, shape: Shape, rng: &mut dyn Rng, values: &mut [f64]) -> Result<(), Error> {
        self.check()?;
        shape.holds(values)?;
        let mut normals = Normals::new();
        for value in values.iter_mut() {
            *value = self.mean + self.std * draw(self.low, self.high, &mut normals, rng);
        }
        check_finite("truncated normal initializer", values)
    }

    fn variance(&self, _: Shape) -> Option<f64> {
        self.check().ok().map(|()| self.std * self.std * variance(self.low, self.high))
    }

    /// Returns the mean of the normal before truncation if the bounds are symmetric around it, otherwise `None`.
    fn mean(&self, _: Shape) -> Option<f64> {
        let symmetric = self.check().is_ok() && self.low == -self.high;
        symmetric.then_some(self.mean)
    }

    fn range(&self, _: Shape) -> Option<[f64; 2]> {
        self.check().ok().map(|()| [self.low, self.high].map(|cut| self.mean + self.std * cut))
    }

    fn kind(self) -> InitializerKind {
        InitializerKind::TruncatedNormal(self)
    }
}

/// Draws a standard normal number z, given that it lies in \[`low`, `high`\]; `low` is below `high`. `normals` gives
/// the proposals for z if this interval is wide and contains 0.
fn draw(low: f64, high: f64, normals: &mut Normals, rng: &mut dyn Rng) -> f64 {
    /// √(2π), a width of the interval from `low` to `high`. For a wider interval, normal proposals are rejected less
    /// often than uniform ones.
    const WIDE: f64 = 2.506_628_274_631_000_5;
    if high < 0.0 {
        return -tail(-high, -low, rng);
    }
    if low > 0.0 {
        return tail(low, high, rng);
    }
    loop {
        if high - low > WIDE {
            let z = normals.next(rng);
            if low <= z && z <= high {
                return z;
            }
        } else {
            let z = (low + (high - low) * uniform(rng)).min(high);
            if uniform(rng) < libm::exp(-0.5 * z * z) {
                return z;
            }
        }
    }
}

/// Draws a standard normal number z, given that it lies in \[`low`, `high`\], 0 < `low` < `high`.
///
/// Proposals are exponential of rate λ = (low + √(low² + 4))/2 on the interval. They are accepted with probability
/// exp((z − c)(λ − (z + c)/2)), with c = min(λ, high), where the ratio of the densities is largest.
fn tail(low: f64, high: f64, rng: &mut dyn Rng) -> f64 {
    let rate = 0.5 * low + 0.5 * libm::hypot(low, 2.0);
    let mass = libm::expm1(-rate * (high - low));
    let peak = rate.min(high);
    loop {
        let z = (low - libm::log1p(uniform(rng) * mass) / rate).min(high);
        let rejected = uniform(rng) >= libm::exp((z - peak) * (rate - 0.5 * z - 0.5 * peak));
        if !rejected {
            return z;
        }
    }
}

/// The variance of a standard normal number given that it lies in \[low, high\]. It is computed by quadrature: the
/// closed form cancels in the tails.
pub(super) fn variance(low: f64, high: f64) -> f64 {
    /// Abscissae and weights of the five-point Gauss–Legendre rule on \[−1, 1\].
    const RULE: [(f64, f64); 5] = [
        (-0.906_179_845_938_664, 0.236_926_885_056_189_08),
        (-0.538_469_310_105_683_1, 0.478_628_670_499_366_47),
        (0.0, 0.568_888_888_888_888_9),
        (0.538_469_310_105_683_1, 0.478_628_670_499_366_47),
        (0.906_179_845_938_664, 0.236_926_885_056_189_08),
    ];
    const PANELS: usize = 128;
    let (low, high) = if high < 0.0 { (-high, -low) } else { (low, high) };
    // The point of highest density. At distances beyond 40/max(1, peak), the density is below e^-40 of its value there.
    let peak = low.max(0.0);
    let reach = 40.0 / peak.max(1.0);
    let (from, to) = ((low - peak).max(-reach), (high - peak).min(reach));
    let half = 0.5 * (to - from) / PANELS as f64;
    // In t = z − peak: density exp(−t(t + 2 peak)/2).
    let moment = |power: i32, centre: f64| {
        let mut sum = 0.0;
        for panel in 0..PANELS {
            let middle = from + half * (2 * panel + 1) as f64;
            for (x, weight) in RULE {
                let t = middle + half * x;
                let away = t - centre;
                let factor = match power {
                    0 => 1.0,
                    1 => away,
                    _ => away * away,
                };
                sum += weight * factor * libm::exp(-0.5 * t * (t + 2.0 * peak));
            }
        }
        sum
    };
    let mass = moment(0, 0.0);
    let mean = moment(1, 0.0) / mass;
    moment(2, mean) / mass
}
