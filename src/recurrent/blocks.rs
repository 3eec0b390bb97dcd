//! The blocks of steps of a recurrent layer that run as one product each.

use super::plan::Unrolled;

/// The two numbers of rows whose input projections `W x` may be computed as one product; one step may have more. The
/// larger is a multiple of the smaller, so that blocks of steps of one nest in those of the other.
const TOGETHER: [usize; 2] = [128, 256];

/// The size, in bytes, that the pre-activations of input projections computed together should not exceed: a quarter of
/// a level-2 cache of 1 MiB.
const NEAR: usize = 256 * 1024;

/// Returns the number of steps, at least 1, of a block of at most `rows` rows, one of [`TOGETHER`], for `batch`
/// samples. For any number of samples the steps of the larger block are a multiple of those of the smaller.
pub(super) fn steps_of_block(rows: usize, batch: usize) -> usize {
    let [least, _] = TOGETHER;
    (least / batch.max(1) * (rows / least)).max(1)
}

impl Unrolled {
    /// Returns the number of steps, at least 1, whose input projections `W x` are one product, for `batch` samples;
    /// their parts of dW and dU are one product, too. The rows are enough for an efficient product, and few enough that
    /// its result is still in the cache when the steps read it. If the parameters exceed the cache, each product reads
    /// them from memory, and should be as large as possible.
    pub(super) fn steps_together<T>(&self, batch: usize) -> usize {
        steps_of_block(self.rows_together::<T>(), batch)
    }

    /// Returns the number of rows whose input projections `W x` are one product. A single step may have more rows.
    pub(super) fn rows_together<T>(&self) -> usize {
        let ([least, most], row) = (TOGETHER, self.sizes().z.saturating_mul(size_of::<T>()));
        let far = row.saturating_mul(self.inputs.saturating_add(self.hidden)) > 4 * NEAR;
        if far || row.saturating_mul(most) <= NEAR { most } else { least }
    }
}
