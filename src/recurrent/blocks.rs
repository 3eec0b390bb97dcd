//! The blocks of consecutive time steps of a recurrent layer that run as one matrix product each.

use super::plan::Unrolled;

/// The two possible numbers of rows (samples at single time steps) whose input projections `W x` are one matrix
/// product; a single time step may have more rows. The larger is a multiple of the smaller, so that a block of steps
/// for the larger number consists of whole blocks for the smaller one.
const TOGETHER: [usize; 2] = [128, 256];

/// The size, in bytes, that the pre-activations of one product of input projections should not exceed: a quarter of
/// a level-2 cache of 1 MiB.
const NEAR: usize = 256 * 1024;

/// Returns the number of time steps, at least 1, in a block of at most `rows` rows (samples at single time steps) for
/// `batch` samples. `rows` is one of the two numbers in [`TOGETHER`]. For any `batch`, the result for the larger one
/// is a multiple of the result for the smaller one.
pub(super) fn steps_of_block(rows: usize, batch: usize) -> usize {
    let [least, _] = TOGETHER;
    (least / batch.max(1) * (rows / least)).max(1)
}

impl Unrolled {
    /// Returns the number of time steps, at least 1, whose input projections `W x` are one matrix product for `batch`
    /// samples. Their terms of the gradients dW and dU are one product each, too. The product has enough rows to be
    /// efficient, and few enough that its result is still in the cache when the time steps read it. If the parameters
    /// exceed the cache, each product reads them from memory, and should have as many rows as possible.
    pub(super) fn steps_together<T>(&self, batch: usize) -> usize {
        steps_of_block(self.rows_together::<T>(), batch)
    }

    /// Returns the number of rows (samples at single time steps) whose input projections `W x` are one matrix
    /// product. A single time step may have more rows.
    pub(super) fn rows_together<T>(&self) -> usize {
        let ([least, most], row) = (TOGETHER, self.sizes().z.saturating_mul(size_of::<T>()));
        let far = row.saturating_mul(self.inputs.saturating_add(self.hidden)) > 4 * NEAR;
        if far || row.saturating_mul(most) <= NEAR { most } else { least }
    }
}
