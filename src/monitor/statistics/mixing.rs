//! The correlation of the rows of a batch, compared with rows of other batches.

use super::{RunStatistics, RunningMoments};
use crate::{
    batch_shape::BatchShape,
    scalar::{Scalar, to_f64},
};
use alloc::{vec, vec::Vec};

/// The variances of ∂L/∂y, the gradient of the loss with respect to the outputs: between rows of one batch, and
/// between the means of batches.
///
/// Rows of batches drawn at random are exchangeable. Then the variance of batch means is the variance of rows divided
/// by the number B of rows. The intraclass correlation `ρ = (F − 1)/(F − 1 + B)`, F = B Var(means)/Var(rows within
/// a batch), is 0 for random batches, and 1 if all rows of a batch are equal (Fisher 1925, chapter 7).
#[derive(Clone, Debug)]
pub(super) struct Mixing {
    /// For each output column: the exponential moving average, over batches, of the mean of ∂L/∂y over a batch's
    /// rows.
    mean: Vec<f64>,
    /// For each output column: the sum of ∂L/∂y over the rows of the last batch.
    sum: Vec<f64>,
    /// The moments, over batches, of the number of rows of a batch times the squared distance of its mean of ∂L/∂y
    /// from the moving average, summed over output columns.
    between: RunningMoments,
    /// The moments, over batches, of the variance of ∂L/∂y over the rows of a batch, summed over output columns.
    within: RunningMoments,
    /// The number B of rows of the largest batch.
    rows: f64,
    /// The number of batches of the largest size.
    batches: u64,
    /// The sum of ∂L/∂y over the time steps of one sample.
    of_sample: Vec<f64>,
    /// Whether the last batch had an output at each time step.
    per_step: bool,
}

/// The number of batches whose means are averaged before the means of further batches are compared with this average.
const WARM_UP: u64 = 10;
/// The decay of the moving averages: about the last 30 batches count.
const KEEP: f64 = 0.97;

impl Default for Mixing {
    fn default() -> Self {
        let [between, within] = [RunningMoments::forgetting(KEEP); 2];
        let [mean, sum, of_sample] = [const { Vec::new() }; 3];
        Mixing { mean, sum, of_sample, per_step: false, between, within, rows: 0.0, batches: 0 }
    }
}

impl Mixing {
    /// Adds a batch of `rows` rows of ∂L/∂y, whose 2-norm is `norm`. A batch with fewer rows than the largest
    /// before it does not count: a loss that is a mean over rows gives each row of a smaller batch more weight. A
    /// batch with more rows than all earlier ones restarts both variances.
    pub fn push<T: Scalar>(&mut self, dy: &[T], rows: usize, norm: f64) {
        let width = dy.len() / rows.max(1);
        if !norm.is_finite() || !self.takes(width, rows) {
            return;
        }
        for row in dy.chunks_exact(width) {
            self.sum.iter_mut().zip(row).for_each(|(sum, &dy)| *sum += to_f64(dy));
        }
        self.add(rows as f64, norm * norm);
    }

    /// Adds a batch of rows of ∂L/∂y, whose 2-norm is `norm`. Samples of different lengths do not count.
    pub fn push_batch<T: Scalar>(&mut self, dy: &[T], shape: BatchShape<'_>, norm: f64) {
        match shape.steps {
            1 => self.push(dy, shape.rows(), norm),
            _ if shape.lengths.is_none() => self.push_sequences(dy, shape.batch, shape.steps),
            _ => {}
        }
    }

    /// Adds a batch of `samples` sequences of equal length with an output at each time step. The rows of `dy` are
    /// time-major. The steps of one sample are alike, so that each sample counts as one row, the sum over its steps.
    fn push_sequences<T: Scalar>(&mut self, dy: &[T], samples: usize, steps: usize) {
        let width = dy.len() / (samples * steps).max(1);
        if !self.takes(width, samples) {
            return;
        }
        let mut square = 0.0;
        for sample in 0..samples {
            self.of_sample.fill(0.0);
            for row in dy.chunks_exact(width).skip(sample).step_by(samples) {
                self.of_sample.iter_mut().zip(row).for_each(|(sum, &dy)| *sum += to_f64(dy));
            }
            for (sum, of_sample) in self.sum.iter_mut().zip(&self.of_sample) {
                *sum += of_sample;
                square += of_sample * of_sample;
            }
        }
        self.per_step = true;
        if square.is_finite() {
            self.add(samples as f64, square);
        }
    }

    /// Whether a batch of `rows` rows of `width` values counts. If so, clears the sum over its rows.
    fn takes(&mut self, width: usize, rows: usize) -> bool {
        if self.mean.len() != width {
            let [mean, sum, of_sample] = [(); 3].map(|()| vec![0.0; width]);
            *self = Mixing { mean, sum, of_sample, ..Mixing::default() };
        }
        let count = rows as f64;
        if rows < 2 || width == 0 || count < self.rows {
            return false;
        }
        if count > self.rows {
            let [between, within] = [RunningMoments::forgetting(KEEP); 2];
            (self.between, self.within, self.batches) = (between, within, 0);
        }
        self.sum.fill(0.0);
        true
    }

    /// Adds a batch of `count` rows, whose sum is in `sum` and whose squares have the sum `square_norm`.
    fn add(&mut self, count: f64, square_norm: f64) {
        let (mut apart, mut square) = (0.0, 0.0);
        let keep = KEEP.min(self.batches as f64 / (self.batches + 1) as f64);
        for (mean, sum) in self.mean.iter_mut().zip(&self.sum) {
            let of_batch = sum / count;
            square += of_batch * of_batch;
            apart += (of_batch - *mean) * (of_batch - *mean);
            *mean = keep * *mean + (1.0 - keep) * of_batch;
        }
        self.batches += 1;
        self.rows = count;
        if self.batches > WARM_UP {
            self.between.push(count * apart);
            self.within.push((square_norm - count * square).max(0.0) / (count - 1.0));
        }
    }

    /// Returns the variance of ∂L/∂y over the rows of a batch, summed over columns, and the number of rows; `None`
    /// before 20 batches of the largest size, and for an output at each time step.
    pub fn within(&self) -> Option<[f64; 2]> {
        (!self.per_step && self.within.count() >= WARM_UP).then_some([self.within.mean(), self.rows])
    }

    /// Returns ρ, the correlation of the gradients ∂L/∂y of two rows of one batch; a negative estimate becomes 0.
    /// `None` before 20 batches of the largest size, or if the means of batches do not vary.
    pub fn correlation(&self) -> Option<f64> {
        let (between, within) = (self.between.mean(), self.within.mean());
        if self.between.count() < WARM_UP || between.is_nan() || between <= 0.0 {
            return None;
        }
        let excess = between - within;
        Some((excess / (excess + self.rows * within)).max(0.0))
    }
}

impl RunStatistics {
    /// Returns the correlation of the rows of a batch, by the gradient of the loss with respect to the outputs: 0 for
    /// batches drawn at random, 1 if all rows of a batch are equal. With an output at each time step, a row is the sum
    /// over the steps of a sample. `None` before the 20th batch of the largest size, and if the samples of a batch have
    /// different lengths. Source: the intraclass correlation of Fisher 1925.
    pub fn batch_correlation(&self) -> Option<f64> {
        self.mixing.correlation()
    }
    /// Returns the variance of ∂L/∂y over the rows of a batch, summed over the outputs, and the number of rows.
    /// `None` before the 20th batch of the largest size, and for an output at each time step.
    pub(crate) fn batch_variance(&self) -> Option<[f64; 2]> {
        self.mixing.within()
    }
}

#[cfg(test)]
mod tests {
    use super::Mixing;
    use alloc::vec::Vec;

    /// For batches of rows from two clusters the correlation is 0 if they are mixed, and 1 if they are sorted.
    #[test]
    fn intraclass_correlation_of_mixed_and_sorted_rows() {
        let row = |cluster: usize, i: usize| [cluster as f32 - 0.5, 0.01 * ((i * 7919) % 100) as f32 - 0.5];
        let (mut mixed, mut sorted, mut state) = (Mixing::default(), Mixing::default(), 1_u64);
        for batch in 0..60 {
            let (mut a, mut b) = (Vec::new(), Vec::new());
            for i in 0..16 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                a.extend(row((state >> 40) as usize % 2, batch * 16 + i));
                b.extend(row(batch / 3 % 2, batch * 16 + i));
            }
            for (mixing, dy) in [(&mut mixed, &a), (&mut sorted, &b)] {
                mixing.push(dy, 16, dy.iter().map(|&dy| f64::from(dy) * f64::from(dy)).sum::<f64>().sqrt());
            }
        }
        let [mixed, sorted] = [mixed, sorted].map(|mixing| mixing.correlation().unwrap());
        assert!(mixed < 0.1 && sorted > 0.5, "{mixed} {sorted}");
    }
    /// A loss that is a mean over rows gives each row of a smaller batch more weight. So the last, smaller batch of an
    /// epoch does not enter the correlation of the rows of a batch, which it would raise.
    #[test]
    fn smaller_batches_make_no_correlation() {
        let (mut mixing, mut state) = (Mixing::default(), 1_u64);
        for rows in [32, 32, 2].into_iter().cycle().take(90) {
            let mut row = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (-5.0 + (state >> 40) as f32 / (1 << 23) as f32 - 1.0) / rows as f32
            };
            let dy: Vec<f32> = (0..rows).map(|_| row()).collect();
            mixing.push(&dy, rows, dy.iter().map(|&dy| f64::from(dy) * f64::from(dy)).sum::<f64>().sqrt());
        }
        let correlation = mixing.correlation().unwrap();
        assert!(correlation < 0.1, "{correlation}");
    }
}
