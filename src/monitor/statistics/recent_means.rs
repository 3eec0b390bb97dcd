//! The last losses of a run, and their means.

use super::RunStatistics;
use core::fmt;

/// The number of passes after which outputs that began too large, or with a wrong mean, are assumed to have reached
/// the loss of constant outputs. Also the number of consecutive high losses that count as a relapse.
pub(super) const SETTLED: u64 = 10;

/// The moving mean (of about five losses) after each of the last [`SETTLED`] losses; NaN where the run has fewer
/// losses. The second array has these losses themselves, but for the first of the run.
#[derive(Clone)]
pub(super) struct RecentMeans([f64; SETTLED as usize], [f64; SETTLED as usize]);

impl Default for RecentMeans {
    fn default() -> Self {
        RecentMeans([f64::NAN; SETTLED as usize], [f64::NAN; SETTLED as usize])
    }
}

/// Writes the number of means.
impl fmt::Debug for RecentMeans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.iter().filter(|mean| !mean.is_nan()).count())
    }
}

impl RecentMeans {
    /// Adds the loss number `count` and the mean after it, in place of the oldest ones.
    pub fn push(&mut self, loss: f64, mean: f64, count: u64) {
        self.0[(count % SETTLED) as usize] = mean;
        if count > 1 {
            self.1[(count % SETTLED) as usize] = loss;
        }
    }

    /// Whether most of the last losses, the first of the run not counted, are above `line`: four fifths of them. Of
    /// fewer than three, all must be a hundred times that high.
    pub fn most_are_above(&self, line: f64) -> bool {
        let above = |line: f64| self.1.iter().filter(|&&loss| loss > line).count();
        match above(f64::NEG_INFINITY) {
            0 => false,
            known @ 1..3 => above(100.0 * line.abs()) == known,
            known => above(line) >= 3 && 5 * above(line) >= 4 * known,
        }
    }

    /// Returns the standard deviation of the last losses, the first of the run not counted; 0 for fewer than two.
    pub fn deviation(&self) -> f64 {
        let known = || self.1.iter().filter(|loss| !loss.is_nan());
        let count = known().count().max(1) as f64;
        let mean = known().sum::<f64>() / count;
        libm::sqrt(known().map(|loss| (loss - mean) * (loss - mean)).sum::<f64>() / count)
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

impl RunStatistics {
    /// Whether most of the last ten losses are above `line`, and so is the mean of about five, by more than `errors`
    /// standard deviations of the ten.
    pub(crate) fn stays_above(&self, line: f64, errors: f64) -> bool {
        let apart = self.recent_loss().mean() - line;
        self.recent_means.most_are_above(line) && apart > errors * self.recent_means.deviation()
    }
}
