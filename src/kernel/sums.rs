//! Sums over rows, in an order that keeps their digits.
//!
//! A sum of n terms in sequence loses about `√n / 6` epsilons, because each addition rounds the partial sum. Here no
//! partial sum takes more than a few dozen additions before it becomes a term of the next level.
//!
//! | sum | in registers | then |
//! | --- | --- | --- |
//! | columns, products ([`Cascade`]) | [`ROWS`] rows | [`FAN`] blocks, [`FAN`] groups of blocks, the rest |
//! | `dᵀ x` ([`outer`](super::gemm::outer)) | [`BLOCK`](super::gemm::BLOCK) rows | the same ([`Levels`]) |
//! | recurrent `dW`, `dU`, `db` | a block of steps, by the above | the same, from the last block ([`Levels`]) |
//!
//! Rules that callers rely on:
//! - Blocks are counted from the first row of the sum. The order depends on the rows of this sum alone, not on the
//!   number of threads or on other rows.
//! - A sum is added to a total of zero without rounding. So a shard of samples has the same sum inside any batch.
//! - [`Levels`] carries its state from block to block. So segments of whole blocks of steps give the bits of one pass.

#[cfg(all(target_arch = "x86_64", feature = "std"))]
use super::{AVX2, AVX512, is};
use super::{Kernel, Level, dispatch, elementwise::update, require};
use super::{
    register_block::{LANES, put, take},
    simd::Lanes,
    thread_pool::{Shared, divide},
};
use crate::scalar::Scalar;

/// Rows added in sequence, in registers.
const ROWS: usize = 32;

/// Terms of one level that form a term of the next.
const FAN: usize = 32;

/// Partial sums of R registers of columns, by level: blocks of [`ROWS`] rows, groups of [`FAN`] blocks, and all
/// groups of [`FAN`] groups.
#[derive(Clone, Copy)]
struct Cascade<V, const R: usize> {
    levels: [[V; R]; 3],
    blocks: usize,
}

impl<V: Copy, const R: usize> Cascade<V, R> {
    /// # Safety
    /// The registers exist and hold values of `T`. So for all methods.
    #[inline(always)]
    unsafe fn new<T>() -> Self
    where
        V: Lanes<T>,
    {
        // SAFETY: by the contract of this function.
        Cascade { levels: [[unsafe { V::zero() }; R]; 3], blocks: 0 }
    }

    /// # Safety
    /// That of [`new`](Self::new).
    #[inline(always)]
    unsafe fn add<T>(&mut self, block: &[V; R])
    where
        V: Lanes<T>,
    {
        self.blocks += 1;
        // SAFETY: by the contract of this function.
        unsafe {
            raise::<T, V, R>(&mut self.levels[0], block);
            if self.blocks.is_multiple_of(FAN) {
                let [blocks, groups, rest] = &mut self.levels;
                raise::<T, V, R>(groups, blocks);
                *blocks = [V::zero(); R];
                if self.blocks.is_multiple_of(FAN * FAN) {
                    raise::<T, V, R>(rest, groups);
                    *groups = [V::zero(); R];
                }
            }
        }
    }

    /// # Safety
    /// That of [`new`](Self::new).
    #[inline(always)]
    unsafe fn total<T>(self) -> [V; R]
    where
        V: Lanes<T>,
    {
        let [blocks, mut groups, mut rest] = self.levels;
        // SAFETY: by the contract of this function.
        unsafe {
            raise::<T, V, R>(&mut groups, &blocks);
            raise::<T, V, R>(&mut rest, &groups);
        }
        rest
    }
}

/// Adds `from` to `to`, register by register.
///
/// # Safety
/// The registers exist and hold values of `T`.
#[inline(always)]
unsafe fn raise<T, V: Lanes<T>, const R: usize>(to: &mut [V; R], from: &[V; R]) {
    for (to, &from) in to.iter_mut().zip(from) {
        // SAFETY: by the contract of this function.
        *to = unsafe { to.add(from) };
    }
}

/// Columns per part of a loop over threads: several cache lines.
const GRAIN: usize = 256;

/// Sums of the first columns of rows at a stride.
struct ColumnSums<'a, T> {
    d: &'a [T],
    rows: usize,
    stride: usize,
    sums: &'a mut [T],
}

impl<T: Scalar> Kernel for ColumnSums<'_, T> {
    type Element = T;

    #[inline(always)]
    fn run<const LEVEL: Level>(self) {
        #[cfg(all(target_arch = "x86_64", feature = "std"))]
        {
            use core::arch::x86_64::{__m256, __m256d, __m512, __m512d};
            match (LEVEL, is::<T, f32>(), is::<T, f64>()) {
                // SAFETY: the level is one at which these registers exist, and `T` is what they hold.
                (AVX512, true, _) => return unsafe { self.all::<__m512>() },
                (AVX512, _, true) => return unsafe { self.all::<__m512d>() },
                (AVX2, true, _) => return unsafe { self.all::<__m256>() },
                (AVX2, _, true) => return unsafe { self.all::<__m256d>() },
                _ => {}
            }
        }
        // SAFETY: arrays exist at every level and hold any scalar.
        unsafe { self.all::<[T; 4]>() };
    }
}

impl<T: Scalar> ColumnSums<'_, T> {
    /// # Safety
    /// The registers `V` exist on this machine and hold values of `T`.
    #[inline(always)]
    unsafe fn all<V: Lanes<T>>(mut self) {
        let columns = self.sums.len();
        require("a matrix whose columns are summed", [self.rows, columns], self.stride, self.d.len());
        let mut j = 0;
        // SAFETY: the columns lie within the sums and, as required above, within each row. The registers exist; so do
        // arrays.
        unsafe {
            while j + 4 * V::LANES <= columns {
                self.registers::<V, 4>(j);
                j += 4 * V::LANES;
            }
            while j + V::LANES <= columns {
                self.registers::<V, 1>(j);
                j += V::LANES;
            }
            while j < columns {
                self.registers::<[T; 1], 1>(j);
                j += 1;
            }
        }
    }

    /// Adds R registers of columns from `j`.
    ///
    /// # Safety
    /// Those columns lie within the sums and each row; the registers exist and hold values of `T`.
    #[inline(always)]
    unsafe fn registers<V: Lanes<T>, const R: usize>(&mut self, j: usize) {
        // SAFETY: by the contract of this function.
        unsafe {
            let mut sums = self.block::<V, R>(0, self.rows.min(ROWS), j);
            if self.rows > ROWS {
                let mut cascade = Cascade::<V, R>::new::<T>();
                cascade.add::<T>(&sums);
                for first in (ROWS..self.rows).step_by(ROWS) {
                    cascade.add::<T>(&self.block::<V, R>(first, (self.rows - first).min(ROWS), j));
                }
                sums = cascade.total::<T>();
            }
            let to = self.sums.as_mut_ptr().add(j);
            for (q, sum) in sums.into_iter().enumerate() {
                V::load(to.add(q * V::LANES)).add(sum).store(to.add(q * V::LANES));
            }
        }
    }

    /// The sum of `count` rows from `first`. It stays in registers; a loop over slices would store and load it for each
    /// row.
    ///
    /// # Safety
    /// That of [`registers`](Self::registers), and the rows are among those of `d`.
    #[inline(always)]
    unsafe fn block<V: Lanes<T>, const R: usize>(&self, first: usize, count: usize, j: usize) -> [V; R] {
        // SAFETY: by the contract of this function.
        unsafe {
            let mut sums = [V::zero(); R];
            for r in first..first + count {
                let row = self.d.as_ptr().add(r * self.stride + j);
                for (q, sum) in sums.iter_mut().enumerate() {
                    *sum = sum.add(V::load(row.add(q * V::LANES)));
                }
            }
            sums
        }
    }
}

/// Adds the sum of each column of `d` to `sums`.
///
/// # Shapes
/// d: \[rows, columns\], rows at `stride`; sums: \[columns\].
pub(crate) fn add_column_sums<T: Scalar>(d: &[T], stride: usize, sums: &mut [T]) {
    let (len, stride) = (sums.len(), stride.max(1));
    // The last row may end with the columns.
    let rows = d.len().checked_sub(len).map_or(0, |before| before / stride + 1);
    let sums = Shared::new(sums);
    divide(len, GRAIN, rows.saturating_mul(len) / 8, |own| {
        // SAFETY: `divide` gives each column to one call.
        let sums = unsafe { sums.take(own.clone()) };
        dispatch(ColumnSums { d: &d[own.start.min(d.len())..], rows, stride, sums });
    });
}

/// Adds the sum of each column of a matrix of terms to `sums`. `terms(j)` iterates over the rows of columns
/// `j..j + LANES`; values past the last column are ignored.
///
/// # Shapes
/// terms: \[rows, columns\]; sums: \[columns\].
pub(crate) fn add_sums<T, F, I>(rows: usize, sums: &mut [T], terms: F)
where
    T: Scalar,
    F: Fn(usize) -> I + Sync,
    I: Iterator<Item = [T; LANES]>,
{
    struct Sums<'a, T, F>(usize, &'a mut [T], &'a F);
    impl<T: Scalar, F: Fn(usize) -> I, I: Iterator<Item = [T; LANES]>> Kernel for Sums<'_, T, F> {
        type Element = T;

        #[inline(always)]
        fn run<const LEVEL: Level>(self) {
            let Sums(start, sums, terms) = self;
            for j in (0..sums.len()).step_by(LANES) {
                let mut terms = terms(start + j);
                // SAFETY: arrays exist at every level and hold any scalar.
                let sum = unsafe {
                    let (mut cascade, mut count) = (Cascade::<[T; LANES], 1>::new::<T>(), ROWS);
                    while count == ROWS {
                        let mut block = [T::zero(); LANES];
                        count = 0;
                        for term in terms.by_ref().take(ROWS) {
                            block = block.add(term);
                            count += 1;
                        }
                        cascade.add::<T>(&[block]);
                    }
                    cascade.total::<T>()[0].add(take(sums, j))
                };
                put(sums, j, sum);
            }
        }
    }
    let (len, sums) = (sums.len(), Shared::new(sums));
    divide(len, GRAIN, rows.saturating_mul(len) / 2, |own| {
        // SAFETY: `divide` gives each sum to one call.
        dispatch(Sums(own.start, unsafe { sums.take(own) }, &terms));
    });
}

/// `Σ f(a, b)` over two slices of equal length; `f(0, 0)` must be 0.
pub(crate) fn sum_of<T: Scalar>(a: &[T], b: &[T], f: impl Fn(T, T) -> T + Sync) -> T {
    let mut sums = [T::zero(); LANES];
    let rows = a.len().div_ceil(LANES);
    add_sums(rows, &mut sums, |_| {
        (0..rows).map(|row| {
            let (a, b) = (take::<_, LANES>(a, row * LANES), take::<_, LANES>(b, row * LANES));
            core::array::from_fn(|i| f(a[i], b[i]))
        })
    });
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            let upper = sums[i + half];
            sums[i] += upper;
        }
        half /= 2;
    }
    sums[0]
}

/// A sum of blocks that are matrices, in levels of [`FAN`]. The first group of each level is added to the total
/// directly, so a sum of at most [`FAN`] blocks needs no further buffer.
pub(crate) struct Levels<'a, T> {
    total: &'a mut [T],
    buffer: &'a mut [T],
    blocks: usize,
}

impl<'a, T: Scalar> Levels<'a, T> {
    /// Length of the buffer for a sum of `blocks` blocks of `len` values.
    pub fn buffer_len(len: usize, blocks: usize) -> usize {
        len.saturating_mul(usize::from(blocks > FAN) + usize::from(blocks > FAN * FAN))
    }

    /// Begins a sum that is added to `total`; `buffer` has [`buffer_len`](Self::buffer_len) values.
    pub fn new(total: &'a mut [T], buffer: &'a mut [T]) -> Self {
        Levels { total, buffer, blocks: 0 }
    }

    /// Adds the next block: `add` must add it to its argument.
    pub fn add(&mut self, add: impl FnOnce(&mut [T])) {
        if self.blocks < FAN {
            add(self.total);
        } else {
            let group = &mut self.buffer[..self.total.len()];
            if self.blocks.is_multiple_of(FAN) {
                group.fill(T::zero());
            }
            add(group);
        }
        self.blocks += 1;
        if self.blocks.is_multiple_of(FAN) {
            self.end_group();
        }
    }

    /// Adds the groups that are not complete to the total.
    pub fn finish(mut self) {
        if !self.blocks.is_multiple_of(FAN) {
            self.end_group();
        }
        if self.blocks > FAN * FAN && !self.blocks.is_multiple_of(FAN * FAN) {
            let groups = &self.buffer[self.total.len()..];
            update(self.total, &groups[..self.total.len()], |total, groups| total + groups);
        }
    }

    /// Adds the group of the last block to the level above.
    fn end_group(&mut self) {
        let (len, group) = (self.total.len(), self.blocks.saturating_sub(1) / FAN);
        if group == 0 {
            return;
        }
        if group < FAN {
            return update(self.total, &self.buffer[..len], |total, group| total + group);
        }
        let (group_sum, groups) = self.buffer.split_at_mut(len);
        let groups = &mut groups[..len];
        if group.is_multiple_of(FAN) {
            groups.copy_from_slice(group_sum);
        } else {
            update(groups, group_sum, |groups, group| groups + group);
        }
        if (group + 1).is_multiple_of(FAN) && self.blocks.is_multiple_of(FAN) {
            update(self.total, groups, |total, groups| total + groups);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{vec, vec::Vec};

    fn sums_of_columns<T: Scalar>() {
        for (rows, columns) in
            [(0usize, 5), (1, 1), (3, 16), (7, 64), (5, 67), (4, 150), (32, 17), (33, 65), (1100, 20), (32_900, 3)]
        {
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
                add_sums(rows, &mut others, |j| (0..rows).map(move |r| take(row(r), j)));
                assert!(others == expected, "{rows} rows of {columns} at {stride}, as terms");
            }
        }
        add_column_sums::<T>(&[], 0, &mut []);
    }

    #[test]
    fn columns_of_any_number_of_rows_are_summed() {
        sums_of_columns::<f32>();
        sums_of_columns::<f64>();
    }

    #[test]
    fn column_sums_and_sums_of_terms_are_the_same_bits() {
        let columns = 83;
        let d: Vec<f32> = (0..columns * 70_000).map(|i| (i * 7919 % 10_007) as f32 / 3000.0).collect();
        for rows in [1, 31, 32, 33, 1024, 1030, 2048, 32_768, 32_770, 70_000] {
            let (mut sums, mut terms) = (vec![0f32; columns], vec![0f32; columns]);
            add_column_sums(&d[..rows * columns], columns, &mut sums);
            add_sums(rows, &mut terms, |j| d[..rows * columns].chunks(columns).map(move |row| take(row, j)));
            assert_eq!(sums, terms, "{rows} rows");
        }
    }

    #[test]
    fn levels_sum_every_block_once() {
        for blocks in [0, 1, 31, 32, 33, 64, 65, 1023, 1024, 1025, 1056, 1057, 2048, 2049, 5000] {
            let (mut total, mut buffer) = (vec![3.0; 2], vec![f64::NAN; Levels::<f64>::buffer_len(2, blocks)]);
            let mut levels = Levels::new(&mut total, &mut buffer);
            for block in 0..blocks {
                levels.add(|sums| sums.iter_mut().for_each(|sum| *sum += block as f64));
            }
            levels.finish();
            let expected = 3.0 + (blocks * blocks.saturating_sub(1) / 2) as f64;
            assert_eq!(total, [expected; 2], "{blocks} blocks");
        }
    }
}
