//! Running means and standard deviations.

use num_traits::Float;

/// The mean and the standard deviation of a series of values, with equal or exponentially decaying weights.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct RunningMoments {
    count: u64,
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    mean: f64,
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    square: f64,
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    last: f64,
    /// The weight of the past in each update of a mean; 1 for equal weights.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    keep: f64,
}

impl Default for RunningMoments {
    fn default() -> Self {
        Self::forgetting(1.0)
    }
}

impl RunningMoments {
    /// Creates moments that multiply the weight of the past by `keep` at each push: an exponential moving average that
    /// begins as a plain mean.
    pub(super) fn forgetting(keep: f64) -> Self {
        RunningMoments { count: 0, mean: 0.0, square: 0.0, last: f64::NAN, keep }
    }

    pub(super) fn push(&mut self, value: f64) {
        self.last = value;
        if !value.is_finite() {
            return;
        }
        self.count += 1;
        let share = Float::max(1.0 / self.count as f64, 1.0 - self.keep);
        let apart = value - self.mean;
        self.mean += share * apart;
        self.square += share * (apart * (value - self.mean) - self.square);
    }

    /// The number of finite values pushed.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the mean of the pushed finite values; 0 before the first.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Returns the standard deviation of the pushed finite values; 0 before the second.
    pub fn standard_deviation(&self) -> f64 {
        Float::sqrt(self.square.max(0.0))
    }

    /// The last value pushed, finite or not; NaN before the first.
    pub fn last(&self) -> f64 {
        self.last
    }
}
