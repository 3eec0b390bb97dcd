//! The last losses of a run, and their means.

use super::RunStatistics;
use core::fmt;

/// The number of passes after which outputs that are at first too large, or have a wrong mean, are assumed to have
/// reached the loss of constant outputs. Also the number of consecutive high losses that count as a relapse.
pub(super) const SETTLED: u64 = 10;

/// Two ring buffers for the last [`SETTLED`] losses of a run. The first holds, for each loss, the moving mean of
/// about five losses that end with it. The second holds the losses, except for the first loss of the run. An unset
/// entry is NaN.
#[derive(Clone)]
pub(super) struct RecentMeans([f64; SETTLED as usize], [f64; SETTLED as usize]);

impl Default for RecentMeans {
    fn default() -> Self {
        RecentMeans([f64::NAN; SETTLED as usize], [f64::NAN; SETTLED as usize])
    }
}

/// Writes the number of stored means.
impl fmt::Debug for RecentMeans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.iter().filter(|mean| !mean.is_nan()).count())
    }
}

impl RecentMeans {
    /// Stores `loss`, which is loss number `count` of the run (from 1), and `mean`, the moving mean that ends with
    /// it, in place of the oldest loss and mean. Of the first loss of the run only the mean is stored.
    pub fn push(&mut self, loss: f64, mean: f64, count: u64) {
        self.0[(count % SETTLED) as usize] = mean;
        if count > 1 {
            self.1[(count % SETTLED) as usize] = loss;
        }
    }

    /// Whether at least four fifths of the stored losses, and at least three of them, are above `line`. With fewer
    /// than three losses, all must be above `100 · |line|`. The first loss of the run does not count.
    pub fn most_are_above(&self, line: f64) -> bool {
        let above = |line: f64| self.1.iter().filter(|&&loss| loss > line).count();
        match above(f64::NEG_INFINITY) {
            0 => false,
            known @ 1..3 => above(100.0 * line.abs()) == known,
            known => above(line) >= 3 && 5 * above(line) >= 4 * known,
        }
    }

    /// Returns the standard deviation of the last [`SETTLED`] losses, without the first loss of the run; 0 for fewer
    /// than two.
    pub fn deviation(&self) -> f64 {
        let known = || self.1.iter().filter(|loss| !loss.is_nan());
        let count = known().count().max(1) as f64;
        let mean = known().sum::<f64>() / count;
        libm::sqrt(known().map(|loss| (loss - mean) * (loss - mean)).sum::<f64>() / count)
    }

    /// Returns the highest of the moving means of the loss after each of the last [`SETTLED`] losses; NaN before that
    /// many losses.
    pub fn highest(&self) -> f64 {
        self.0.iter().fold(f64::NEG_INFINITY, |most, &mean| if most > mean || most.is_nan() { most } else { mean })
    }

    /// Whether the moving means of the loss after each of the last [`SETTLED`] losses are all above `line`; false
    /// before that many losses.
    pub fn are_above(&self, line: f64) -> bool {
        self.0.iter().all(|&mean| mean > line)
    }
}

impl RunStatistics {
    /// Whether most of the last ten losses are above `line`, and the mean of about the last five exceeds `line` by
    /// more than `errors` standard deviations. The standard deviation is that of the last ten losses.
    pub(crate) fn stays_above(&self, line: f64, errors: f64) -> bool {
        let apart = self.recent_loss().mean() - line;
        self.recent_means.most_are_above(line) && apart > errors * self.recent_means.deviation()
    }
}
