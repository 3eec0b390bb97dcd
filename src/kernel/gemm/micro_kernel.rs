//! The loop over tiles of a product, and the micro-kernel that computes one tile in registers.

use super::{
    Epilogue, PackedB,
    matrix_a::MatrixA,
    packed_b::{NR_REGISTERS, nr},
    shard_tree::{InnerSum, Subtrees},
};
#[cfg(all(target_arch = "x86_64", feature = "std"))]
use crate::kernel::{AVX2, AVX512, is};
use crate::{
    kernel::{Kernel, LINE, Level, prefetch, require, simd::Lanes},
    scalar::Scalar,
};

/// The largest number of columns of a panel (packed columns of the right factor B), over all CPU levels and scalars.
const MAX_NR: usize = 32;

/// A product summed over consecutive inner indices, as a kernel: the loop over panels (packed columns) of B.
pub(super) struct MacroKernel<'a, T, A, S> {
    size: [usize; 2],
    a: A,
    b: PackedB<'a, T>,
    /// The inner index of the right factor `b` at which this product begins.
    first: usize,
    c: *mut T,
    stride: usize,
    epilogue: Epilogue<'a, T>,
    inner_sum: S,
}

impl<'a, T, A, S> MacroKernel<'a, T, A, S> {
    /// Creates the product of the first `size` \[rows, inner indices\] of `a` with the inner indices of `b` from
    /// `first` on. `epilogue` combines it with the rows at `c`, which are `stride` values apart. `inner_sum` divides
    /// the sum over the inner indices into parts.
    ///
    /// # Safety
    /// `a` [holds](MatrixA::holds) `size`. The result has a value at `c + row · stride + column` for each of the rows
    /// and each column of `b`. Until the product is computed, these may be written, and no other reference to them is
    /// used.
    #[allow(clippy::too_many_arguments)]
    pub(super) unsafe fn new(
        size: [usize; 2],
        a: A,
        b: PackedB<'a, T>,
        first: usize,
        c: *mut T,
        stride: usize,
        epilogue: Epilogue<'a, T>,
        inner_sum: S,
    ) -> Self {
        MacroKernel { size, a, b, first, c, stride, epilogue, inner_sum }
    }
}

impl<T: Scalar, A: MatrixA<T>, S: InnerSum> Kernel for MacroKernel<'_, T, A, S> {
    type Element = T;

    #[inline(always)]
    fn run<const LEVEL: Level>(self) {
        // The rows and registers of a tile fill the registers of the CPU level without spills.
        #[cfg(all(target_arch = "x86_64", feature = "std"))]
        {
            use core::arch::x86_64::{__m256, __m256d, __m512, __m512d};
            match (LEVEL, is::<T, f32>(), is::<T, f64>()) {
                // SAFETY: the level is one at which these registers exist, and `T` is their element.
                (AVX512, true, _) => return unsafe { self.tiles::<__m512, 8>() },
                (AVX512, _, true) => return unsafe { self.tiles::<__m512d, 8>() },
                (AVX2, true, _) => return unsafe { self.tiles::<__m256, 4>() },
                (AVX2, _, true) => return unsafe { self.tiles::<__m256d, 4>() },
                _ => {}
            }
        }
        // SAFETY: arrays exist at every level and hold any scalar.
        unsafe { self.tiles::<[T; 4], 4>() };
    }
}

impl<T: Scalar, A: MatrixA<T>, S: InnerSum> MacroKernel<'_, T, A, S> {
    /// Computes all tiles (blocks of the result whose sums stay in registers), of at most M rows.
    ///
    /// # Safety
    /// The CPU has the instructions of the register `V`, and `V` holds values of `T`.
    #[inline(always)]
    unsafe fn tiles<V: Lanes<T>, const M: usize>(self) {
        let MacroKernel { size: [rows, inner], a, b, first, c, stride, epilogue, inner_sum } = self;
        let width = NR_REGISTERS * V::LANES;
        debug_assert_eq!(width, nr::<T>());
        for j in (0..b.columns).step_by(width) {
            let panel = &b.data[(j / width * b.panel_stride + first * b.row_stride).min(b.data.len())..];
            let columns = (b.columns - j).min(width);
            let whole = columns.next_multiple_of(V::LANES);
            require("the right factor of a product", [inner, whole], b.row_stride, panel.len());
            let tile = Tile { i: 0, j, inner, columns, row_stride: b.row_stride };
            // SAFETY: at each of `inner` indices p, the registers with `columns` values from p · row_stride lie within
            // `panel`, as required above. Rows, inner indices and `c` are as the contract of `new` says.
            unsafe {
                if columns > V::LANES {
                    tile.all_rows::<T, V, A, S, M, NR_REGISTERS>(rows, a, panel, c, stride, epilogue, inner_sum);
                } else {
                    tile.all_rows::<T, V, A, S, M, 1>(rows, a, panel, c, stride, epilogue, inner_sum);
                }
            }
        }
    }
}

/// One tile of the result: rows from `i` and `columns` columns from `j`, summed over `inner` indices.
struct Tile {
    i: usize,
    j: usize,
    inner: usize,
    columns: usize,
    /// The distance, in values, between rows of the panel of B.
    row_stride: usize,
}

impl Tile {
    /// Computes the tile's columns of the rows from `self.i` to before `rows`, M rows at a time, the last ones 4, 2 or
    /// 1 at a time. The other arguments are those of [`micro_kernel`](Self::micro_kernel).
    ///
    /// # Safety
    /// The conditions of [`micro_kernel`](Self::micro_kernel), for all rows.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    unsafe fn all_rows<T: Scalar, V: Lanes<T>, A: MatrixA<T>, S: InnerSum, const M: usize, const R: usize>(
        mut self,
        rows: usize,
        a: A,
        panel: &[T],
        c: *mut T,
        stride: usize,
        epilogue: Epilogue<'_, T>,
        inner_sum: S,
    ) {
        while self.i < rows {
            // SAFETY: by the contract of this function, as i + M ≤ rows.
            self.i += unsafe {
                match rows - self.i {
                    left if left >= M => {
                        self.micro_kernel::<T, V, A, S, M, R>(a, panel, c, stride, epilogue, inner_sum)
                    }
                    4.. => self.micro_kernel::<T, V, A, S, 4, R>(a, panel, c, stride, epilogue, inner_sum),
                    2.. => self.micro_kernel::<T, V, A, S, 2, R>(a, panel, c, stride, epilogue, inner_sum),
                    _ => self.micro_kernel::<T, V, A, S, 1, R>(a, panel, c, stride, epilogue, inner_sum),
                }
            };
        }
    }

    /// Computes M rows of the tile, each of R registers of columns, and returns M. `inner_sum` divides the sums over
    /// the inner indices; `epilogue` combines them with the rows at `c`, which are `stride` values apart.
    ///
    /// # Safety
    /// `a` [holds](MatrixA::holds) rows below `i + M` and inner indices below `inner`. The tile's columns of those rows
    /// of `c` may be written, and no other reference to them is used. For each p < inner, `panel` holds R registers of
    /// values from `p · row_stride`. The CPU has the instructions of `V`, and `V` holds values of `T`.
    #[inline(always)]
    unsafe fn micro_kernel<T: Scalar, V: Lanes<T>, A: MatrixA<T>, S: InnerSum, const M: usize, const R: usize>(
        &self,
        a: A,
        panel: &[T],
        c: *mut T,
        stride: usize,
        epilogue: Epilogue<'_, T>,
        inner_sum: S,
    ) -> usize {
        const {
            assert!(R <= NR_REGISTERS && NR_REGISTERS * V::LANES <= MAX_NR, "a row of `out` has room for R registers");
        }
        // SAFETY: by the contract of this function. A tile of V::LANES · R columns has room for R registers in each
        // row of `c`; a row of `out` has, as asserted above.
        unsafe {
            for r in 0..M {
                // Prefetches the cache lines of the result, which arrive during the sums.
                for q in 0..R {
                    V::prefetch(c.wrapping_add((self.i + r) * stride + self.j + q * V::LANES));
                }
            }
            // A tile of few rows has no time for requested prefetches. Without a request, the prefetched line is one
            // that is in the cache.
            let has_time = M >= 4;
            let requested = if has_time { prefetch::next(self.inner) } else { None };
            let step = if requested.is_some() { LINE } else { 0 };
            let mut line = requested.unwrap_or(panel.as_ptr().addr());
            let (mut sums, mut subtrees, mut first) = ([[V::zero(); R]; M], Subtrees::<V, M, R>::new(), 0);
            for part in 0..inner_sum.count() {
                sums = [[V::zero(); R]; M];
                let end = inner_sum.end(part, self.inner);
                for p in first..end {
                    if has_time {
                        V::prefetch_far(core::ptr::without_provenance(line));
                        line = line.wrapping_add(step);
                    }
                    let row = panel.as_ptr().add(p * self.row_stride);
                    let mut b = [V::zero(); R];
                    for (q, b) in b.iter_mut().enumerate() {
                        *b = V::load(row.add(q * V::LANES));
                    }
                    for (r, sums) in sums.iter_mut().enumerate() {
                        let a = V::splat(a.at(self.i + r, p));
                        for (sum, &b) in sums.iter_mut().zip(&b) {
                            *sum = a.mul_add(b, *sum);
                        }
                    }
                }
                first = end;
                subtrees.add::<T>(part, inner_sum.count(), &mut sums);
            }
            if self.columns == V::LANES * R {
                let first = c.add(self.i * stride + self.j);
                let bias = match epilogue {
                    Epilogue::Bias(bias) => bias[self.j..][..V::LANES * R].as_ptr(),
                    _ => first,
                };
                let factor = match epilogue {
                    Epilogue::AddScaled(factor) => V::splat(&factor),
                    _ => V::zero(),
                };
                // The loop is by index: with an iterator the compiler keeps the sums in memory, also in the loop above,
                // at half the speed.
                #[expect(clippy::needless_range_loop)]
                for r in 0..M {
                    for q in 0..R {
                        let (to, sum) = (first.add(r * stride + q * V::LANES), sums[r][q]);
                        match epilogue {
                            Epilogue::Overwrite => sum.store(to),
                            Epilogue::Bias(_) => sum.add(V::load(bias.add(q * V::LANES))).store(to),
                            Epilogue::Accumulate => V::load(to).add(sum).store(to),
                            Epilogue::AddScaled(_) => V::load(to).add(factor.mul_add(sum, V::zero())).store(to),
                        }
                    }
                }
                return M;
            }
            // The sums are copied by index: a read of `sums` at a computed index would keep the sums in memory.
            let mut out = [[T::zero(); MAX_NR]; M];
            #[expect(clippy::needless_range_loop)]
            for r in 0..M {
                for q in 0..R {
                    sums[r][q].store(out[r].as_mut_ptr().add(q * V::LANES));
                }
            }
            store_border(&out, c.add(self.i * stride + self.j), [stride, self.columns], self.j, epilogue);
        }
        M
    }
}

/// Applies `epilogue` to the first `columns` values of each row of `sums`, and writes them to the rows at `c`, which
/// are `stride` values apart. `j` is the first column in the result.
///
/// The function is not inlined. Inlined, its loops are unrolled for each tile size, which slows down tiles that are not
/// at an edge.
///
/// # Safety
/// `columns` values at `c + r · stride` may be written for each row r of `sums`, and no other reference to them is
/// used.
#[inline(never)]
unsafe fn store_border<T: Scalar>(
    sums: &[[T; MAX_NR]],
    c: *mut T,
    [stride, columns]: [usize; 2],
    j: usize,
    epilogue: Epilogue<'_, T>,
) {
    for (r, sums) in sums.iter().enumerate() {
        // SAFETY: by the contract of this function.
        let row = unsafe { core::slice::from_raw_parts_mut(c.add(r * stride), columns) };
        for (q, (c, &sum)) in row.iter_mut().zip(sums).enumerate() {
            *c = epilogue.apply(*c, sum, j + q);
        }
    }
}
