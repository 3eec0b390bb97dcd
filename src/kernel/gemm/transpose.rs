//! Matrix transposition, in squares that fit into registers.

use super::Matrix;
#[cfg(all(target_arch = "x86_64", feature = "std"))]
use crate::kernel::{AVX512, PLAIN, is};
use crate::kernel::{Kernel, Level, dispatch, require};
use crate::scalar::Scalar;

/// Writes the transpose of `from`, whose `size` is \[rows, columns\], to `to`, in rows `stride` values apart. `from`
/// must have no groups. Panics if a slice is too short.
pub(in crate::kernel) fn transpose<T: Scalar>(from: Matrix<'_, T>, size: [usize; 2], to: &mut [T], stride: usize) {
    let [rows, columns] = size;
    if rows == 0 || columns == 0 {
        return;
    }
    require("a matrix to transpose", size, from.stride, from.data.len());
    require("a transposed matrix", [columns, rows], stride, to.len());
    dispatch(Transpose { from, size, to, stride });
}

/// The number of columns that are transposed together. The rows that they become, in a panel of up to 128 bytes each,
/// stay in a level-1 cache until they are full.
const COLUMN_BLOCK: usize = 64;

struct Transpose<'a, T> {
    from: Matrix<'a, T>,
    size: [usize; 2],
    to: &'a mut [T],
    stride: usize,
}

impl<T: Scalar> Kernel for Transpose<'_, T> {
    type Element = T;

    #[inline(always)]
    fn run<const LEVEL: Level>(mut self) {
        #[cfg(all(target_arch = "x86_64", feature = "std"))]
        if LEVEL == AVX512 && is::<T, f64>() {
            // SAFETY: at this level AVX-512 exists, `T` is `f64`, and `squares` gives slices of 8 rows of 8 values.
            return self.squares::<8>(|from, to| unsafe { machine::of_f64_512(from, to) });
        }
        #[cfg(all(target_arch = "x86_64", feature = "std"))]
        if LEVEL != PLAIN {
            // SAFETY: at these levels AVX2 exists, `T` is the element of the square, and `squares` gives slices of SIDE
            // rows of SIDE values.
            match (is::<T, f32>(), is::<T, f64>()) {
                (true, _) => return self.squares::<8>(|from, to| unsafe { machine::of_f32(from, to) }),
                (_, true) => return self.squares::<4>(|from, to| unsafe { machine::of_f64(from, to) }),
                _ => {}
            }
        }
        let [rows, columns] = self.size;
        self.rest(0..rows, 0..columns);
    }
}

impl<T: Scalar> Transpose<'_, T> {
    /// Transposes whole squares of side `SIDE` by `square`, and the remaining values one by one.
    ///
    /// `square` receives the address of the first value and the distance of rows, for source and result. SIDE rows of
    /// SIDE values lie within the slices of these addresses.
    #[cfg(all(target_arch = "x86_64", feature = "std"))]
    #[inline(always)]
    fn squares<const SIDE: usize>(&mut self, square: impl Fn((*const T, usize), (*mut T, usize))) {
        let [rows, columns] = self.size;
        let [whole_rows, whole_columns] = [rows, columns].map(|all| all - all % SIDE);
        for first in (0..whole_columns).step_by(COLUMN_BLOCK) {
            for i in (0..whole_rows).step_by(SIDE) {
                for p in (first..whole_columns.min(first + COLUMN_BLOCK)).step_by(SIDE) {
                    let from = &self.from.data[i * self.from.stride + p..][..(SIDE - 1) * self.from.stride + SIDE];
                    let to = &mut self.to[p * self.stride + i..][..(SIDE - 1) * self.stride + SIDE];
                    square((from.as_ptr(), self.from.stride), (to.as_mut_ptr(), self.stride));
                }
            }
        }
        self.rest(0..whole_rows, whole_columns..columns);
        self.rest(whole_rows..rows, 0..columns);
    }

    /// Transposes the values in `rows` × `columns` one by one.
    #[inline(always)]
    fn rest(&mut self, rows: core::ops::Range<usize>, columns: core::ops::Range<usize>) {
        for first in columns.clone().step_by(COLUMN_BLOCK) {
            for i in rows.clone() {
                for p in first..columns.end.min(first + COLUMN_BLOCK) {
                    self.to[p * self.stride + i] = self.from.data[i * self.from.stride + p];
                }
            }
        }
    }
}

#[cfg(all(target_arch = "x86_64", feature = "std"))]
mod machine {
    use core::arch::x86_64::{
        _mm256_loadu_pd, _mm256_loadu_ps, _mm256_permute2f128_pd, _mm256_permute2f128_ps, _mm256_shuffle_ps,
        _mm256_storeu_pd, _mm256_storeu_ps, _mm256_unpackhi_pd, _mm256_unpackhi_ps, _mm256_unpacklo_pd,
        _mm256_unpacklo_ps, _mm512_loadu_pd, _mm512_shuffle_f64x2, _mm512_storeu_pd, _mm512_unpackhi_pd,
        _mm512_unpacklo_pd,
    };

    /// Transposes a square of 8 × 8 `f32` at `from` to `to`. The rows of the source are `from_stride` values apart,
    /// those of the result `to_stride`.
    ///
    /// # Safety
    /// AVX2 exists; `T` is `f32`; 8 rows of 8 values can be read and written at these distances.
    #[inline(always)]
    pub(super) unsafe fn of_f32<T>((from, from_stride): (*const T, usize), (to, to_stride): (*mut T, usize)) {
        // SAFETY: by the contract of this function.
        unsafe {
            let r: [_; 8] = core::array::from_fn(|i| _mm256_loadu_ps(from.add(i * from_stride).cast()));
            // Interleave pairs of rows, then pairs of pairs, then exchange halves.
            let low: [_; 4] = core::array::from_fn(|i| _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]));
            let high: [_; 4] = core::array::from_fn(|i| _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]));
            let fours = |i: usize| {
                [
                    _mm256_shuffle_ps::<0x44>(low[i], low[i + 1]),
                    _mm256_shuffle_ps::<0xEE>(low[i], low[i + 1]),
                    _mm256_shuffle_ps::<0x44>(high[i], high[i + 1]),
                    _mm256_shuffle_ps::<0xEE>(high[i], high[i + 1]),
                ]
            };
            for (i, (a, b)) in fours(0).into_iter().zip(fours(2)).enumerate() {
                _mm256_storeu_ps(to.add(i * to_stride).cast(), _mm256_permute2f128_ps::<0x20>(a, b));
                _mm256_storeu_ps(to.add((i + 4) * to_stride).cast(), _mm256_permute2f128_ps::<0x31>(a, b));
            }
        }
    }

    /// Transposes a square of 8 × 8 `f64` at `from` to `to`. The rows of the source are `from_stride` values apart,
    /// those of the result `to_stride`.
    ///
    /// # Safety
    /// AVX-512 F exists; `T` is `f64`; 8 rows of 8 values can be read and written at these distances.
    #[inline(always)]
    pub(super) unsafe fn of_f64_512<T>((from, from_stride): (*const T, usize), (to, to_stride): (*mut T, usize)) {
        // SAFETY: by the contract of this function.
        unsafe {
            let r: [_; 8] = core::array::from_fn(|i| _mm512_loadu_pd(from.add(i * from_stride).cast()));
            // Interleave pairs of rows, then exchange quarters: each holds a column of a pair.
            let even: [_; 4] = core::array::from_fn(|i| _mm512_unpacklo_pd(r[2 * i], r[2 * i + 1]));
            let odd: [_; 4] = core::array::from_fn(|i| _mm512_unpackhi_pd(r[2 * i], r[2 * i + 1]));
            for (j, pairs) in [even, odd].into_iter().enumerate() {
                let halves = |i: usize| {
                    let (a, b) = (pairs[i], pairs[i + 1]);
                    [_mm512_shuffle_f64x2::<0x88>(a, b), _mm512_shuffle_f64x2::<0xDD>(a, b)]
                };
                for (i, (a, b)) in halves(0).into_iter().zip(halves(2)).enumerate() {
                    let row = |k: usize| to.add((2 * (i + 2 * k) + j) * to_stride).cast();
                    _mm512_storeu_pd(row(0), _mm512_shuffle_f64x2::<0x88>(a, b));
                    _mm512_storeu_pd(row(1), _mm512_shuffle_f64x2::<0xDD>(a, b));
                }
            }
        }
    }

    /// Transposes a square of 4 × 4 `f64` at `from` to `to`. The rows of the source are `from_stride` values apart,
    /// those of the result `to_stride`.
    ///
    /// # Safety
    /// AVX2 exists; `T` is `f64`; 4 rows of 4 values can be read and written at these distances.
    #[inline(always)]
    pub(super) unsafe fn of_f64<T>((from, from_stride): (*const T, usize), (to, to_stride): (*mut T, usize)) {
        // SAFETY: by the contract of this function.
        unsafe {
            let r: [_; 4] = core::array::from_fn(|i| _mm256_loadu_pd(from.add(i * from_stride).cast()));
            let [even, odd] = [0, 2].map(|i| [_mm256_unpacklo_pd(r[i], r[i + 1]), _mm256_unpackhi_pd(r[i], r[i + 1])]);
            for (i, (a, b)) in even.into_iter().zip(odd).enumerate() {
                _mm256_storeu_pd(to.add(i * to_stride).cast(), _mm256_permute2f128_pd::<0x20>(a, b));
                _mm256_storeu_pd(to.add((i + 2) * to_stride).cast(), _mm256_permute2f128_pd::<0x31>(a, b));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{vec, vec::Vec};

    fn transposes<T: Scalar>(value: impl Fn(usize) -> T) {
        for rows in (1..20).step_by(if cfg!(miri) { 6 } else { 1 }) {
            for columns in (1..20).chain([64, 65, 130]) {
                let (from_stride, to_stride) = (columns + rows % 3, rows + columns % 4);
                let from: Vec<T> = (0..rows * from_stride).map(&value).collect();
                let mut to = vec![T::nan(); columns * to_stride];
                transpose(Matrix::new(&from, from_stride), [rows, columns], &mut to, to_stride);
                for (i, p) in (0..rows).flat_map(|i| (0..columns).map(move |p| (i, p))) {
                    assert_eq!(to[p * to_stride + i], from[i * from_stride + p], "{rows} x {columns}: {i}, {p}");
                }
                let written = to.iter().filter(|v| !v.is_nan()).count();
                assert_eq!(written, rows * columns, "{rows} x {columns}");
            }
        }
    }

    #[test]
    fn transpose_any_size_writes_each_value_and_no_other() {
        transposes(|i| i as f32);
        transposes(|i| i as f64);
    }
}
