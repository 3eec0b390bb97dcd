use super::{GRAIN, ROWS, cascade::Cascade};
#[cfg(all(target_arch = "x86_64", feature = "std"))]
use crate::kernel::{AVX2, AVX512, is};
use crate::{
    kernel::{
        Kernel, Level, dispatch,
        gemm::Matrix,
        parallel::{SharedSlice, parallel_ranges},
        refuse,
        simd::Lanes,
    },
    scalar::Scalar,
};

/// The kernel of [`add_matrix_sums`].
struct ColumnSums<'a, T> {
    d: Matrix<'a, T>,
    rows: usize,
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
                // SAFETY: the level is one at which these registers exist, and `T` is their element.
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
    /// Adds the sums of all columns to `sums`. Panics if the matrix has fewer rows than `rows`.
    ///
    /// # Safety
    /// The CPU has the instructions of the register `V`, and `V` holds values of `T`.
    #[inline(always)]
    unsafe fn all<V: Lanes<T>>(mut self) {
        let columns = self.sums.len();
        if !self.d.holds([self.rows, columns]) {
            let Matrix { data, stride, .. } = self.d;
            refuse("a matrix whose columns are summed", [self.rows, columns], stride, data.len());
        }
        let mut j = 0;
        // SAFETY: the columns lie within the sums and, as required above, within each row. The registers exist, and
        // arrays always do.
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

    /// Adds the sums of R registers of columns, from column `j` on, to `sums`.
    ///
    /// # Safety
    /// The columns lie within the sums and within each row. The CPU has the instructions of `V`, and `V` holds values
    /// of `T`.
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

    /// Returns the sum of `count` rows from row `first`, in R registers of columns from `j`. The sum stays in
    /// registers: a loop over slices would store and load it for each row.
    ///
    /// # Safety
    /// The same as for [`registers`](Self::registers), and the rows must be rows of `d`.
    #[inline(always)]
    unsafe fn block<V: Lanes<T>, const R: usize>(&self, first: usize, count: usize, j: usize) -> [V; R] {
        // SAFETY: by the contract of this function.
        unsafe {
            let mut sums = [V::zero(); R];
            for r in first..first + count {
                let row = self.d.data.as_ptr().add(self.d.start_of(r) + j);
                for (q, sum) in sums.iter_mut().enumerate() {
                    *sum = sum.add(V::load(row.add(q * V::LANES)));
                }
            }
            sums
        }
    }
}

/// Adds the sum of each column of `d` to `sums`, over as many rows as fit into `d`. The last row may be shorter than
/// `stride`: `columns` values are enough.
///
/// # Shapes
/// d: \[rows, columns\], in rows `stride` values apart; sums: \[columns\].
pub(crate) fn add_column_sums<T: Scalar>(d: &[T], stride: usize, sums: &mut [T]) {
    let (len, stride) = (sums.len(), stride.max(1));
    // The last row may be shorter than the stride.
    let rows = d.len().checked_sub(len).map_or(0, |before| before / stride + 1);
    add_matrix_sums(Matrix::new(d, stride), rows, sums);
}

/// Adds the sum of column j over the first `rows` rows of `d` to `sums[j]`, for each j. Panics if `d` has fewer rows or
/// columns.
pub(crate) fn add_matrix_sums<T: Scalar>(d: Matrix<'_, T>, rows: usize, sums: &mut [T]) {
    let (len, sums) = (sums.len(), SharedSlice::new(sums));
    parallel_ranges(len, GRAIN, rows.saturating_mul(len) / 8, |own| {
        // SAFETY: `parallel_ranges` gives each column to one call.
        let sums = unsafe { sums.slice_mut(own.clone()) };
        dispatch(ColumnSums { d: d.skip_columns(own.start), rows, sums });
    });
}
