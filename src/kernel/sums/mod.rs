//! Sums over rows, in an order that limits rounding errors.
//!
//! A sequential sum of n terms has a relative error of about `√n / 6` machine epsilons, because each addition rounds
//! the partial sum. Here a partial sum takes at most a few dozen additions before it becomes a term of the next
//! level.
//!
//! | sum | in registers | next levels |
//! | --- | --- | --- |
//! | columns, terms ([`Cascade`](cascade::Cascade)) | [`ROWS`] rows | [`FAN`] blocks, [`FAN`] groups of blocks, the rest |
//! | `dᵀ x` ([`gemm_tn`](super::gemm::gemm_tn)) | [`KC`](super::gemm::KC) rows | the same ([`BlockSum`]) |
//! | recurrent `dW`, `dU`, `db` | a block of time steps, as above | the same, from the last block ([`BlockSum`]) |
//! | parts of an update | the rows of a part, as above | [`FAN`] parts, then groups of them ([`PartSums`]) |
//!
//! Rules that callers rely on:
//! - Blocks are counted from the first row of the sum. The order depends on the rows of this sum alone, not on the
//!   number of threads or on other rows.
//! - A sum is added to a total of zero without rounding. So a shard of samples has the same sum inside any batch.
//! - [`BlockSum`] carries its state from block to block. So segments of whole blocks of steps give the bits of one
//!   pass.

mod block_sum;
mod cascade;
mod column_sums;
mod part_sums;
mod running;
mod term_sums;

pub(crate) use self::{
    block_sum::BlockSum,
    column_sums::{add_column_sums, add_matrix_sums},
    part_sums::PartSums,
    running::RunningMeans,
    term_sums::{add_sums, sum_of},
};

/// The number of rows that are added in sequence, in registers. Their sum is one term of a tree of sums, in which a
/// node adds [`FAN`] terms.
const ROWS: usize = 32;

/// The number of terms that one node of the sum tree adds.
const FAN: usize = 32;

/// A loop is divided among threads at multiples of this number of columns: several cache lines.
const GRAIN: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kernel::register_block::load_block, scalar::Scalar};
    use alloc::{vec, vec::Vec};

    fn sums_of_columns<T: Scalar>() {
        let sizes =
            [(0usize, 5), (1, 1), (3, 16), (7, 64), (5, 67), (4, 150), (32, 17), (33, 65), (1100, 20), (32_900, 3)];
        for (rows, columns) in sizes.into_iter().take(if cfg!(miri) { 8 } else { 10 }) {
            for beside in [0, 9] {
                let stride = columns + beside;
                let value = |i: usize| crate::scalar::scalar::<T>((i * 7 % 31) as f64 - 15.0);
                // The last row ends with the columns.
                let d: Vec<T> = (0..(rows * stride).saturating_sub(beside)).map(value).collect();
                let mut sums: Vec<T> = (0..columns).map(value).collect();
                let expected: Vec<T> =
                    (0..columns).map(|j| (0..rows).fold(value(j), |sum, r| sum + value(r * stride + j))).collect();
                let mut others = sums.clone();
                add_column_sums(&d, stride, &mut sums);
                assert!(sums == expected, "{rows} rows of {columns} at {stride}");
                let row = |r: usize| &d[r * stride..][..columns];
                add_sums(rows, &mut others, |j| (0..rows).map(move |r| load_block(row(r), j)));
                assert!(others == expected, "{rows} rows of {columns} at {stride}, as terms");
            }
        }
        add_column_sums::<T>(&[], 0, &mut []);
    }

    #[test]
    fn add_column_sums_any_size_equals_the_sequential_sum() {
        sums_of_columns::<f32>();
        sums_of_columns::<f64>();
    }

    #[test]
    fn add_sums_has_the_bits_of_add_column_sums() {
        let columns = 83;
        let counts = [1, 31, 32, 33, 1024, 1030, 2048, 32_768, 32_770, 70_000];
        let counts = &counts[..if cfg!(miri) { 4 } else { 10 }];
        let most = counts[counts.len() - 1];
        let d: Vec<f32> = (0..columns * most).map(|i| (i * 7919 % 10_007) as f32 / 3000.0).collect();
        for &rows in counts {
            let (mut sums, mut terms) = (vec![0f32; columns], vec![0f32; columns]);
            add_column_sums(&d[..rows * columns], columns, &mut sums);
            add_sums(rows, &mut terms, |j| d[..rows * columns].chunks(columns).map(move |row| load_block(row, j)));
            assert_eq!(sums, terms, "{rows} rows");
        }
    }
}
