//! The left factor A of a product, strided or packed.

use super::{KC, Matrix, split_scratch};
use crate::{
    kernel::parallel::{SharedSlice, parallel_ranges},
    scalar::Scalar,
};

/// The number of rows of the left factor A in a strip, the unit in which A is packed.
pub(crate) const MR: usize = 8;

/// The left factor A of a product `A B`, read value by value: by row and inner index, the index that is summed over.
///
/// # Safety
/// If [`holds`](Self::holds) is true, [`at`](Self::at) of every smaller row and inner index points to a value, borrowed
/// for as long as the matrix. The result of [`skip`](Self::skip) holds as many fewer rows and inner indices as it
/// skips.
pub(super) unsafe trait MatrixA<T>: Copy + Send + Sync {
    /// Whether `rows` rows and `inner` inner indices lie within the matrix.
    fn holds(&self, rows: usize, inner: usize) -> bool;

    /// Panics unless `rows` rows and `inner` inner indices lie within the matrix.
    #[inline(always)]
    fn require(&self, rows: usize, inner: usize) {
        #[cold]
        #[inline(never)]
        fn refuse(rows: usize, inner: usize) -> ! {
            panic!("the left factor of a product must hold {rows} × {inner} values, but has fewer");
        }
        if !self.holds(rows, inner) {
            refuse(rows, inner);
        }
    }

    /// The matrix without its first `rows` rows, a multiple of [`MR`], and its first `inner` inner indices.
    fn skip(self, rows: usize, inner: usize) -> Self;

    /// The address of the value in row `i` at inner index `p`.
    ///
    /// # Safety
    /// The matrix [`holds`](Self::holds) more rows than `i` and more inner indices than `p`.
    unsafe fn at(self, i: usize, p: usize) -> *const T;
}

/// A left factor A that is not packed: a matrix or its transpose.
#[derive(Clone, Copy)]
pub(super) struct StridedA<'a, T> {
    data: &'a [T],
    /// The distances, in values, between rows of A and between inner indices.
    strides: [usize; 2],
}

impl<'a, T> StridedA<'a, T> {
    /// Reads `matrix` as the left factor A of a product.
    pub(super) fn by_row(matrix: Matrix<'a, T>) -> Self {
        StridedA { data: matrix.data, strides: [matrix.stride, 1] }
    }

    /// Reads the transpose of `matrix` as the left factor A of a product.
    pub(super) fn by_column(matrix: Matrix<'a, T>) -> Self {
        StridedA { data: matrix.data, strides: [1, matrix.stride] }
    }
}

// SAFETY: `holds` is true where no product or sum overflows and the last index, hence every index, is below the length.
// `skip` subtracts the same number from the length as from each index.
unsafe impl<T: Scalar> MatrixA<T> for StridedA<'_, T> {
    #[inline(always)]
    fn holds(&self, rows: usize, inner: usize) -> bool {
        if rows == 0 || inner == 0 {
            return true;
        }
        let [row, index] = self.strides;
        match ((rows - 1).checked_mul(row), (inner - 1).checked_mul(index)) {
            (Some(row), Some(index)) => row < self.data.len() && index < self.data.len() - row,
            _ => false,
        }
    }

    #[inline(always)]
    fn skip(self, rows: usize, inner: usize) -> Self {
        let first = rows * self.strides[0] + inner * self.strides[1];
        StridedA { data: &self.data[first.min(self.data.len())..], ..self }
    }

    #[inline(always)]
    unsafe fn at(self, i: usize, p: usize) -> *const T {
        // SAFETY: by the contract of this function and that of the trait.
        unsafe { self.data.as_ptr().add(i * self.strides[0] + p * self.strides[1]) }
    }
}

/// A left factor A packed in strips of [`MR`] rows. Within a strip, the MR values of one inner index (the index that
/// is summed over) are contiguous.
#[derive(Clone, Copy)]
pub(super) struct PackedA<'a, T> {
    packed: &'a [T],
    inner: usize,
}

// SAFETY: `holds` is true where (last + inner) · MR does not overflow and is at most the length. Row i lies in strip i
// / MR ≤ last / self.inner, hence (i / MR · self.inner + p) · MR + i % MR is below the length for p < inner. `skip`
// subtracts the same number from the length as from each index: whole strips, and groups of MR.
unsafe impl<T: Scalar> MatrixA<T> for PackedA<'_, T> {
    #[inline(always)]
    fn holds(&self, rows: usize, inner: usize) -> bool {
        let last = rows.div_ceil(MR).saturating_sub(1).checked_mul(self.inner);
        let end = last.and_then(|last| last.checked_add(inner));
        rows == 0 || inner <= self.inner && end.is_some_and(|end| end <= self.packed.len() / MR)
    }

    #[inline(always)]
    fn skip(self, rows: usize, inner: usize) -> Self {
        debug_assert!(rows.is_multiple_of(MR));
        PackedA { packed: &self.packed[rows * self.inner + inner * MR..], ..self }
    }

    #[inline(always)]
    unsafe fn at(self, i: usize, p: usize) -> *const T {
        // SAFETY: by the contract of this function and that of the trait.
        unsafe { self.packed.as_ptr().add((i / MR * self.inner + p) * MR + i % MR) }
    }
}

/// The length, in values, of a packed A with `outputs` rows, padded to whole strips, and `inner` inner indices.
pub(super) const fn packed_a_len(outputs: usize, inner: usize) -> usize {
    (outputs.saturating_add(MR - 1) / MR * MR).saturating_mul(inner)
}

/// Packs the transpose of the `inner` rows of `d` from row `first` on, the first `outputs` columns of each, into the
/// beginning of `packed`. Panics if `packed` has fewer values than [`packed_a_len`].
///
/// The loop processes [`MR`] rows at a time, so that their cache lines stay in the cache from strip to strip. Rows at a
/// distance of a power of two share a cache set, which holds few lines.
pub(super) fn pack_a<'a, T: Scalar>(
    d: Matrix<'_, T>,
    first: usize,
    [outputs, inner]: [usize; 2],
    packed: &'a mut [T],
) -> PackedA<'a, T> {
    let all = outputs.div_ceil(MR);
    let strips = SharedSlice::new(&mut *packed);
    parallel_ranges(all, 1, outputs * inner / 2, |own| {
        for group in (0..inner).step_by(MR) {
            for i in own.clone() {
                // SAFETY: `parallel_ranges` gives each strip to one call, which holds one strip at a time. The strips,
                // of `MR · inner` values, are disjoint.
                let strip = unsafe { strips.slice_mut(i * MR * inner..(i + 1) * MR * inner) };
                let width = (outputs - i * MR).min(MR);
                for (p, to) in strip.as_chunks_mut().0.iter_mut().enumerate().skip(group).take(MR) {
                    let from = &d.data[d.start_of(first + p) + i * MR..];
                    match from.first_chunk::<MR>() {
                        // An array is copied through a register.
                        Some(whole) if width == MR => *to = *whole,
                        _ => to[..width].copy_from_slice(&from[..width]),
                    }
                }
            }
        }
    });
    PackedA { packed, inner }
}

/// The matrix `d` in the product `dᵀ x` of [`gemm_tn`](super::gemm_tn), with its transpose packed or not. If several
/// products have the same `d`, it is packed once.
#[derive(Clone, Copy)]
pub(crate) struct TransposedA<'a, T> {
    pub(super) matrix: Matrix<'a, T>,
    pub(super) packed: Option<PackedA<'a, T>>,
}

impl<'a, T> From<Matrix<'a, T>> for TransposedA<'a, T> {
    fn from(matrix: Matrix<'a, T>) -> Self {
        TransposedA { matrix, packed: None }
    }
}

impl<'a, T: Scalar> TransposedA<'a, T> {
    /// Packs `d` \[rows, outputs\] into the beginning of `scratch` if packing is worth its time: for 2 to [`KC`]
    /// rows that are not small enough for a level-1 cache. Returns `dᵀ` as the left factor, packed or not, and the
    /// rest of the scratch.
    pub fn pack(d: Matrix<'a, T>, [rows, outputs]: [usize; 2], scratch: &'a mut [T]) -> (Self, &'a mut [T]) {
        if !(2..=KC).contains(&rows) || d.fits_l1(rows) {
            return (d.into(), scratch);
        }
        let (strips, rest) = split_scratch(scratch, packed_a_len(outputs, rows));
        (TransposedA { matrix: d, packed: Some(pack_a(d, 0, [outputs, rows], strips)) }, rest)
    }

    /// Returns the factor without the first `row` rows and `column` columns of the matrix that [`pack`](Self::pack) was
    /// given. For a packed factor `column` must be a multiple of [`MR`].
    pub fn part(self, row: usize, column: usize) -> Self {
        TransposedA {
            matrix: self.matrix.skip(row, column),
            packed: self.packed.map(|packed| packed.skip(column, row)),
        }
    }
}
