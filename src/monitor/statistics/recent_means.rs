//! The means of the last losses of a run.

use core::fmt;

/// The number of passes after which outputs that began too large, or with a wrong mean, are assumed to have reached
/// the loss of constant outputs. Also the number of consecutive high losses that count as a relapse.
pub(super) const SETTLED: u64 = 10;

/// The moving mean (of about five losses) after each of the last [`SETTLED`] losses; NaN where the run has fewer
/// losses.
#[derive(Clone)]
pub(super) struct RecentMeans([f64; SETTLED as usize]);

impl Default for RecentMeans {
    fn default() -> Self {
        RecentMeans([f64::NAN; SETTLED as usize])
    }
}

/// Writes the number of means.
impl fmt::Debug for RecentMeans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.iter().filter(|mean| !mean.is_nan()).count())
    }
}

impl RecentMeans {
    /// Stores the mean after loss number `count` (from 1) in place of the oldest mean.
    pub fn push(&mut self, mean: f64, count: u64) {
        self.0[(count % SETTLED) as usize] = mean;
    }

    /// Returns the highest mean; NaN before [`SETTLED`] losses.
    pub fn highest(&self) -> f64 {
        self.0.iter().fold(f64::NEG_INFINITY, |most, &mean| if most > mean || most.is_nan() { most } else { mean })
    }

    /// Whether all means are above `line`; false before [`SETTLED`] losses.
    pub fn are_above(&self, line: f64) -> bool {
        self.0.iter().all(|&mean| mean > line)
    }
}
