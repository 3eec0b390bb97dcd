//! Products of a single row, computed without tiles.

use super::{Epilogue, MR};
use crate::kernel::{Kernel, Level, dispatch, fused::fuses, require, simd::lanes};
use crate::scalar::Scalar;
use num_traits::Float;

/// A matrix is tiny if its number of entries times the number of lanes of a register is at most this. Packing such a
/// matrix takes longer than its product row by row.
const TINY: usize = 10_000;

/// Whether a matrix \[outputs, inputs\] is so small that [`gemv`] or [`gemv_transposed`] computes its product with one
/// row.
pub(super) fn is_tiny<T: Scalar>(outputs: usize, inputs: usize) -> bool {
    // The factors are too small for the product to overflow.
    outputs <= TINY && inputs <= TINY && outputs * inputs * lanes::<T>() <= TINY
}

/// Computes the product `x Wᵀ` for one row x, which `epilogue` combines with `c`. The function is not inlined, so
/// that it does not change the code of other products.
///
/// # Shapes
/// x: \[inputs\]; w: \[outputs, inputs\]; c: \[outputs\].
#[inline(never)]
pub(super) fn gemv<T: Scalar>(x: &[T], w: &[T], c: &mut [T], epilogue: &Epilogue<'_, T>) {
    dispatch(Gemv { x, w, c, epilogue });
}

/// The kernel of [`gemv`]: several sums at once, each in the order and with the roundings of a product of many rows.
struct Gemv<'a, T> {
    x: &'a [T],
    w: &'a [T],
    c: &'a mut [T],
    /// How the product is combined with the result. It is a reference, since a copy would load the value in wider
    /// words than those in which it was stored, which is slow.
    epilogue: &'a Epilogue<'a, T>,
}

impl<T: Scalar> Kernel for Gemv<'_, T> {
    type Element = T;

    #[inline(always)]
    fn run<const LEVEL: Level>(mut self) {
        let (whole, epilogue) = (self.c.len() - self.c.len() % MR, *self.epilogue);
        for j in (0..whole).step_by(MR) {
            self.outputs::<LEVEL, MR>(j, epilogue);
        }
        for j in whole..self.c.len() {
            self.outputs::<LEVEL, 1>(j, epilogue);
        }
    }
}

impl<T: Scalar> Gemv<'_, T> {
    /// Computes N outputs, from output `j` on.
    #[inline(always)]
    fn outputs<const LEVEL: Level, const N: usize>(&mut self, j: usize, epilogue: Epilogue<'_, T>) {
        let inputs = self.x.len();
        let rows: [&[T]; N] = core::array::from_fn(|q| &self.w[(j + q) * inputs..][..inputs]);
        let mut sums = [T::zero(); N];
        for (p, &x) in self.x.iter().enumerate() {
            for (sum, row) in sums.iter_mut().zip(&rows) {
                *sum = if fuses::<LEVEL, T>() { Float::mul_add(x, row[p], *sum) } else { x * row[p] + *sum };
            }
        }
        for (q, sum) in sums.into_iter().enumerate() {
            self.c[j + q] = epilogue.apply(self.c[j + q], sum, j + q);
        }
    }
}

/// Computes the product `d W` for one row d, which overwrites `c`. The sum over the rows of W has the order and the
/// roundings of a product of many rows. Like [`gemv`], the function is not inlined.
///
/// # Shapes
/// d: \[outputs\]; w: \[outputs, inputs\]; c: \[inputs\].
#[inline(never)]
pub(super) fn gemv_transposed<T: Scalar>(d: &[T], w: &[T], c: &mut [T]) {
    dispatch(GemvTransposed { d, w, c });
}

/// The kernel of [`gemv_transposed`]: several columns of W at once.
struct GemvTransposed<'a, T> {
    d: &'a [T],
    w: &'a [T],
    c: &'a mut [T],
}

impl<T: Scalar> Kernel for GemvTransposed<'_, T> {
    type Element = T;

    #[inline(always)]
    fn run<const LEVEL: Level>(mut self) {
        let columns = self.c.len();
        let (wide, whole) = (columns - columns % 16, columns - columns % 4);
        for j in (0..wide).step_by(16) {
            self.columns::<LEVEL, 16>(j);
        }
        for j in (wide..whole).step_by(4) {
            self.columns::<LEVEL, 4>(j);
        }
        for j in whole..columns {
            self.columns::<LEVEL, 1>(j);
        }
    }
}

impl<T: Scalar> GemvTransposed<'_, T> {
    /// Computes N values of the result, from column `j` of W on.
    #[inline(always)]
    fn columns<const LEVEL: Level, const N: usize>(&mut self, j: usize) {
        let mut sums = [T::zero(); N];
        for (&d, row) in self.d.iter().zip(self.w.chunks_exact(self.c.len())) {
            for (sum, &w) in sums.iter_mut().zip(&row[j..][..N]) {
                *sum = if fuses::<LEVEL, T>() { Float::mul_add(d, w, *sum) } else { d * w + *sum };
            }
        }
        self.c[j..][..N].copy_from_slice(&sums);
    }
}

/// Computes the rank-one product `dᵀ x` of the rows d and x, which `epilogue` combines with `c`; a bias is ignored.
/// Like [`gemv`], the function is not inlined.
///
/// # Shapes
/// d: \[outputs\]; x: \[inputs\]; c: \[outputs, inputs\].
#[inline(never)]
pub(super) fn rank_one<T: Scalar>(d: &[T], x: &[T], c: &mut [T], epilogue: &Epilogue<'_, T>) {
    require("the result of an outer product", [d.len(), x.len()], x.len(), c.len());
    if !x.is_empty() {
        dispatch(RankOne { d, x, c, epilogue });
    }
}

/// The kernel of [`rank_one`]. Both rows are in the cache, so packing gains nothing.
struct RankOne<'a, T> {
    d: &'a [T],
    x: &'a [T],
    c: &'a mut [T],
    epilogue: &'a Epilogue<'a, T>,
}

impl<T: Scalar> Kernel for RankOne<'_, T> {
    type Element = T;

    #[inline(always)]
    fn run<const LEVEL: Level>(self) {
        match *self.epilogue {
            Epilogue::Overwrite | Epilogue::Bias(_) => self.each(|_, d, x| d * x),
            Epilogue::Accumulate => self.each(|c, d, x| c + d * x),
            Epilogue::AddScaled(factor) => self.each(|c, d, x| c + factor * (d * x)),
        }
    }
}

impl<T: Scalar> RankOne<'_, T> {
    /// Computes `c[i][j] = f(c[i][j], d[i], x[j])`.
    #[inline(always)]
    fn each(self, f: impl Fn(T, T, T) -> T) {
        // Chunks have a fixed length: rows of a tiny network are shorter than the unrolled body of a longer loop.
        let (blocks, rest) = self.x.as_chunks::<8>();
        for (c, &d) in self.c.chunks_exact_mut(self.x.len()).zip(self.d) {
            let (c_blocks, c_rest) = c.as_chunks_mut::<8>();
            for (c, x) in c_blocks.iter_mut().zip(blocks) {
                // The chunk is copied to locals, so that the compiler need not assume that a write changes a later
                // read.
                let (mut block, x) = (*c, *x);
                for (c, x) in block.iter_mut().zip(x) {
                    *c = f(*c, d, x);
                }
                *c = block;
            }
            for (c, &x) in c_rest.iter_mut().zip(rest) {
                *c = f(*c, d, x);
            }
        }
    }
}
