//! Products of a single row, which need no tiles.

use super::{STRIP, Start};
use crate::kernel::{Kernel, Level, dispatch, fused::fuses, simd::lanes};
use crate::scalar::Scalar;
use num_traits::Float;

/// Entries of a matrix that takes longer to transpose than to be met value by value, times the values of a register, which is
/// what a tile gains.
const TINY: usize = 10_000;

/// Whether one row goes through such a matrix row by row.
pub(super) fn is_tiny<T: Scalar>(outputs: usize, inputs: usize) -> bool {
    // Neither factor is large enough for the product to wrap.
    outputs <= TINY && inputs <= TINY && outputs * inputs * lanes::<T>() <= TINY
}

/// `c = x Wᵀ` of one row; a function of its own, for the products of others to be as they were.
#[inline(never)]
pub(super) fn row_by_rows<T: Scalar>(x: &[T], w: &[T], c: &mut [T], start: Start<'_, T>) {
    dispatch(RowByRows { x, w, c, start });
}

/// `c = x Wᵀ` of one row: several sums at once, each in the order and with the roundings of a tile.
struct RowByRows<'a, T> {
    x: &'a [T],
    w: &'a [T],
    c: &'a mut [T],
    start: Start<'a, T>,
}

impl<T: Scalar> Kernel for RowByRows<'_, T> {
    type Element = T;

    #[inline(always)]
    fn run<const LEVEL: Level>(mut self) {
        let whole = self.c.len() - self.c.len() % STRIP;
        for j in (0..whole).step_by(STRIP) {
            self.outputs::<LEVEL, STRIP>(j);
        }
        for j in whole..self.c.len() {
            self.outputs::<LEVEL, 1>(j);
        }
    }
}

impl<T: Scalar> RowByRows<'_, T> {
    #[inline(always)]
    fn outputs<const LEVEL: Level, const N: usize>(&mut self, j: usize) {
        let inputs = self.x.len();
        let rows: [&[T]; N] = core::array::from_fn(|q| &self.w[(j + q) * inputs..][..inputs]);
        let mut sums = [T::zero(); N];
        for (p, &x) in self.x.iter().enumerate() {
            for (sum, row) in sums.iter_mut().zip(&rows) {
                *sum = if fuses::<LEVEL, T>() { Float::mul_add(x, row[p], *sum) } else { x * row[p] + *sum };
            }
        }
        for (q, sum) in sums.into_iter().enumerate() {
            self.c[j + q] = self.start.end(self.c[j + q], sum, j + q);
        }
    }
}

/// `c = dᵀ x`, or that, or a multiple of it, added to c, of one row each, which are in the cache: nothing to pack, and a tile would be all border.
pub(super) struct OneRow<'a, T> {
    pub d: &'a [T],
    pub x: &'a [T],
    pub c: &'a mut [T],
    pub start: Start<'a, T>,
}

impl<T: Scalar> Kernel for OneRow<'_, T> {
    type Element = T;

    #[inline(always)]
    fn run<const LEVEL: Level>(self) {
        match self.start {
            Start::Zero | Start::Bias(_) => self.each(|_, d, x| d * x),
            Start::Accumulate => self.each(|c, d, x| c + d * x),
            Start::Scaled(factor) => self.each(|c, d, x| c + factor * (d * x)),
        }
    }
}

impl<T: Scalar> OneRow<'_, T> {
    #[inline(always)]
    fn each(self, f: impl Fn(T, T, T) -> T) {
        // Blocks of a fixed length: rows of a tiny network are shorter than what the compiler makes of a longer loop.
        let (blocks, rest) = self.x.as_chunks::<8>();
        for (c, &d) in self.c.chunks_exact_mut(self.x.len()).zip(self.d) {
            let (c_blocks, c_rest) = c.as_chunks_mut::<8>();
            for (c, x) in c_blocks.iter_mut().zip(blocks) {
                // Read as a whole and written as a whole: between them nothing can have changed.
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
