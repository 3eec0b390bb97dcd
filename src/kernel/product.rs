//! The three matrix products of training: `x Wᵀ`, `d W` and `dᵀ x`.
//!
//! Each element is summed over the inner index in increasing order, in blocks of [`BLOCK`], whatever
//! the shape around it: the same bits for any number of rows and any split of them.

#[cfg(all(target_arch = "x86_64", feature = "std"))]
use super::{AVX2, AVX512, is};
use super::{Kernel, Level, dispatch, lanes::Lanes};
use crate::scalar::Scalar;

/// Inner indices summed in registers before they are added to the result: a panel of that many rows
/// stays in a level-2 cache of 256 KiB (1024 × 128 bytes = 128 KiB).
const BLOCK: usize = 1024;

/// Columns of a packed panel: two AVX-512 registers.
const fn panel<T>() -> usize {
    match size_of::<T>() {
        4 => 32,
        _ => 16,
    }
}

/// The widest panel.
const MOST: usize = 32;

/// What a product does with the result that is there.
#[derive(Clone, Copy)]
pub(crate) enum Start<'a, T> {
    /// Overwrites it.
    Zero,
    /// Overwrites it, with a bias per column added.
    Bias(&'a [T]),
    /// Adds to it.
    Accumulate,
}

/// A matrix of rows at a distance of `stride` values.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, T> {
    pub data: &'a [T],
    pub stride: usize,
}

impl<'a, T> Matrix<'a, T> {
    pub const fn new(data: &'a [T], stride: usize) -> Self {
        Matrix { data, stride }
    }

    /// Whether rows × columns lie within the data.
    const fn holds(&self, rows: usize, columns: usize) -> bool {
        rows == 0 || columns == 0 || (columns <= self.stride && (rows - 1) * self.stride + columns <= self.data.len())
    }
}

/// Values of memory that [`pack`] fills for weights of \[outputs, inputs\].
pub(crate) fn packed_len<T>(outputs: usize, inputs: usize) -> usize {
    outputs.next_multiple_of(panel::<T>()) * inputs
}

/// Values of scratch that [`times`] and [`add_outer`] need for an inner size of `inner`.
pub(crate) fn edge_len<T>(inner: usize) -> usize {
    inner.min(BLOCK) * panel::<T>()
}

/// Lays `w`, \[outputs, inputs\], out for [`times_transposed`].
pub(crate) fn pack<T: Scalar>(w: &[T], outputs: usize, inputs: usize, packed: &mut [T]) {
    let width = panel::<T>();
    for (i, panel) in packed[..packed_len::<T>(outputs, inputs)].chunks_mut((width * inputs).max(1)).enumerate() {
        let rows = (outputs - i * width).min(width);
        if rows < width {
            panel.fill(T::zero());
        }
        for (j, row) in w[i * width * inputs..].chunks(inputs).take(rows).enumerate() {
            for (p, &w) in row.iter().enumerate() {
                panel[p * width + j] = w;
            }
        }
    }
}

/// `c = x Wᵀ`, with W packed.
///
/// # Shapes
/// x: \[rows, inputs\]; W: \[outputs, inputs\]; c: \[rows, outputs\], at `stride`.
pub(crate) fn times_transposed<T: Scalar>(
    x: Matrix<'_, T>,
    packed: &[T],
    [rows, outputs, inputs]: [usize; 3],
    c: &mut [T],
    stride: usize,
    start: Start<'_, T>,
) {
    assert!(x.holds(rows, inputs) && packed.len() >= packed_len::<T>(outputs, inputs));
    run([rows, outputs, inputs], ByRow(x), Packed(packed, inputs), c, stride, start, &mut []);
}

/// `c = d W`.
///
/// # Shapes
/// d: \[rows, outputs\]; W: \[outputs, inputs\]; c: \[rows, inputs\], contiguous.
pub(crate) fn times<T: Scalar>(
    d: Matrix<'_, T>,
    w: &[T],
    [rows, inputs, outputs]: [usize; 3],
    c: &mut [T],
    start: Start<'_, T>,
    scratch: &mut [T],
) {
    let w = Matrix::new(w, inputs);
    assert!(d.holds(rows, outputs) && w.holds(outputs, inputs));
    run([rows, inputs, outputs], ByRow(d), Direct(w), c, inputs, start, scratch);
}

/// `c += dᵀ x`.
///
/// # Shapes
/// d: \[rows, outputs\]; x: \[rows, inputs\]; c: \[outputs, inputs\], contiguous.
pub(crate) fn add_outer<T: Scalar>(
    d: Matrix<'_, T>,
    x: Matrix<'_, T>,
    [outputs, inputs, rows]: [usize; 3],
    c: &mut [T],
    scratch: &mut [T],
) {
    assert!(d.holds(rows, outputs) && x.holds(rows, inputs));
    run([outputs, inputs, rows], ByColumn(d), Direct(x), c, inputs, Start::Accumulate, scratch);
}

/// The left factor, one value of which meets a panel's row at each inner index.
trait Left<T>: Copy {
    /// The value of row `i` at inner index `p`.
    ///
    /// # Safety
    /// Both lie within the matrix.
    unsafe fn at(self, i: usize, p: usize) -> *const T;
}

#[derive(Clone, Copy)]
struct ByRow<'a, T>(Matrix<'a, T>);

impl<T: Scalar> Left<T> for ByRow<'_, T> {
    #[inline(always)]
    unsafe fn at(self, i: usize, p: usize) -> *const T {
        // SAFETY: the caller keeps row and inner index within what `holds` has found in the data.
        unsafe { self.0.data.as_ptr().add(i * self.0.stride + p) }
    }
}

#[derive(Clone, Copy)]
struct ByColumn<'a, T>(Matrix<'a, T>);

impl<T: Scalar> Left<T> for ByColumn<'_, T> {
    #[inline(always)]
    unsafe fn at(self, i: usize, p: usize) -> *const T {
        // SAFETY: as above, with row and inner index exchanged.
        unsafe { self.0.data.as_ptr().add(p * self.0.stride + i) }
    }
}

/// The right factor, a panel of whose columns is read at one inner index.
trait Right<T>: Copy {
    /// Where the panel at column `j` begins, and the distance of its rows; `None` where fewer than a
    /// panel's columns are left and it must be copied.
    fn panel(&self, j: usize, columns: usize, first: usize) -> Option<(&[T], usize)>;
    /// Copies the `rows` rows from `first` of the narrow panel at column `j`, with zeros for what is missing.
    fn copy(&self, j: usize, columns: usize, first: usize, rows: usize, to: &mut [T]);
}

#[derive(Clone, Copy)]
struct Packed<'a, T>(&'a [T], usize);

impl<T: Scalar> Right<T> for Packed<'_, T> {
    #[inline(always)]
    fn panel(&self, j: usize, _columns: usize, first: usize) -> Option<(&[T], usize)> {
        let width = panel::<T>();
        Some((&self.0[j * self.1 + first * width..], width))
    }
    fn copy(&self, _: usize, _: usize, _: usize, _: usize, _: &mut [T]) {}
}

#[derive(Clone, Copy)]
struct Direct<'a, T>(Matrix<'a, T>);

impl<T: Scalar> Right<T> for Direct<'_, T> {
    #[inline(always)]
    fn panel(&self, j: usize, columns: usize, first: usize) -> Option<(&[T], usize)> {
        (columns >= panel::<T>()).then(|| (&self.0.data[first * self.0.stride + j..], self.0.stride))
    }
    fn copy(&self, j: usize, columns: usize, first: usize, rows: usize, to: &mut [T]) {
        for (p, to) in to.chunks_mut(panel::<T>()).take(rows).enumerate() {
            let from = (first + p) * self.0.stride + j;
            to.fill(T::zero());
            to[..columns].copy_from_slice(&self.0.data[from..from + columns]);
        }
    }
}

struct Product<'a, T, A, B> {
    size: [usize; 3],
    a: A,
    b: B,
    c: &'a mut [T],
    stride: usize,
    start: Start<'a, T>,
    scratch: &'a mut [T],
}

fn run<'a, T: Scalar, A: Left<T>, B: Right<T>>(
    size: [usize; 3],
    a: A,
    b: B,
    c: &'a mut [T],
    stride: usize,
    start: Start<'a, T>,
    scratch: &'a mut [T],
) {
    let [m, n, _] = size;
    if m == 0 || n == 0 {
        return;
    }
    assert!(n <= stride && (m - 1) * stride + n <= c.len());
    dispatch(Product { size, a, b, c, stride, start, scratch });
}

impl<T: Scalar, A: Left<T>, B: Right<T>> Kernel for Product<'_, T, A, B> {
    #[inline(always)]
    fn run<const LEVEL: Level>(self) {
        // Rows and registers of columns of a tile fill the registers of the level without spilling.
        #[cfg(all(target_arch = "x86_64", feature = "std"))]
        {
            use core::arch::x86_64::{__m256, __m256d, __m512, __m512d};
            match (LEVEL, is::<T, f32>(), is::<T, f64>()) {
                // SAFETY: the level is one at which these registers exist, and `T` is what they hold.
                (AVX512, true, _) => return unsafe { self.tiles::<__m512, 8, 2>() },
                (AVX512, _, true) => return unsafe { self.tiles::<__m512d, 8, 2>() },
                (AVX2, true, _) => return unsafe { self.tiles::<__m256, 4, 2>() },
                (AVX2, _, true) => return unsafe { self.tiles::<__m256d, 4, 2>() },
                _ => {}
            }
        }
        // SAFETY: arrays exist at every level and hold any scalar.
        unsafe { self.tiles::<[T; 4], 4, 2>() };
    }
}

impl<T: Scalar, A: Left<T>, B: Right<T>> Product<'_, T, A, B> {
    /// # Safety
    /// The registers `V` exist on this machine and hold values of `T`.
    #[inline(always)]
    unsafe fn tiles<V: Lanes<T>, const M: usize, const R: usize>(self) {
        let Product { size: [m, n, k], a, b, c, stride, start, scratch } = self;
        let (width, part_width) = (panel::<T>(), V::LANES * R);
        let mut first = 0;
        loop {
            let inner = (k - first).min(BLOCK);
            let start = if first == 0 { start } else { Start::Accumulate };
            for j in (0..n).step_by(width) {
                let columns = (n - j).min(width);
                let (data, distance) = match b.panel(j, columns, first) {
                    Some(panel) => panel,
                    None => {
                        b.copy(j, columns, first, inner, scratch);
                        (&*scratch, width)
                    }
                };
                // The last row need not be `distance` long, but a panel's worth of it is read.
                assert!(inner == 0 || (inner - 1) * distance + width <= data.len());
                for part in (0..columns).step_by(part_width) {
                    let data = &data[part.min(data.len())..];
                    let columns = (columns - part).min(part_width);
                    let mut i = 0;
                    while i < m {
                        let tile = Tile { i, j: j + part, first, inner, columns };
                        // SAFETY: rows i .. i + M ≤ m of `a` and inner indices first .. first + inner ≤ k lie within it;
                        // at each of them the R registers of `data` from p · distance end within the panel's
                        // `width` (part + part_width ≤ width) that the assertion above has found there.
                        i += unsafe {
                            match m - i {
                                left if left >= M => tile.run::<T, V, A, M, R>(a, data, distance, c, stride, start),
                                4.. => tile.run::<T, V, A, 4, R>(a, data, distance, c, stride, start),
                                2.. => tile.run::<T, V, A, 2, R>(a, data, distance, c, stride, start),
                                _ => tile.run::<T, V, A, 1, R>(a, data, distance, c, stride, start),
                            }
                        };
                    }
                }
            }
            first += inner;
            if first >= k {
                return;
            }
        }
    }
}

/// One tile of the result: `columns` columns from `j`, rows from `i`, summed over `inner` indices from `first`.
struct Tile {
    i: usize,
    j: usize,
    first: usize,
    inner: usize,
    columns: usize,
}

impl Tile {
    /// Computes M rows and says how many that were.
    ///
    /// # Safety
    /// Rows `i .. i + M` and inner indices `first .. first + inner` lie within `a`; for each p < inner,
    /// `data` holds R registers of values from `p · distance`; the registers exist and hold values of `T`.
    #[inline(always)]
    unsafe fn run<T: Scalar, V: Lanes<T>, A: Left<T>, const M: usize, const R: usize>(
        &self,
        a: A,
        data: &[T],
        distance: usize,
        c: &mut [T],
        stride: usize,
        start: Start<'_, T>,
    ) -> usize {
        // SAFETY: by the contract of this function; `out` has room for the registers of a row.
        unsafe {
            let mut sums = [[V::zero(); R]; M];
            for p in 0..self.inner {
                let row = data.as_ptr().add(p * distance);
                let b: [V; R] = core::array::from_fn(|q| V::load(row.add(q * V::LANES)));
                for (r, sums) in sums.iter_mut().enumerate() {
                    let a = V::splat(a.at(self.i + r, self.first + p));
                    for (sum, &b) in sums.iter_mut().zip(&b) {
                        *sum = a.mul_add(b, *sum);
                    }
                }
            }
            for (r, sums) in sums.iter().enumerate() {
                let mut out = [T::zero(); MOST];
                for (q, &sum) in sums.iter().enumerate() {
                    sum.store(out.as_mut_ptr().add(q * V::LANES));
                }
                let row = &mut c[(self.i + r) * stride + self.j..][..self.columns];
                match start {
                    Start::Zero => row.copy_from_slice(&out[..self.columns]),
                    Start::Bias(bias) => {
                        for ((c, &sum), &bias) in row.iter_mut().zip(&out).zip(&bias[self.j..]) {
                            *c = sum + bias;
                        }
                    }
                    Start::Accumulate => {
                        for (c, &sum) in row.iter_mut().zip(&out) {
                            *c += sum;
                        }
                    }
                }
            }
        }
        M
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{vec, vec::Vec};

    fn entries(n: usize, seed: u64) -> Vec<f64> {
        (0..n as u64)
            .map(|i| ((i + 1) * (seed + 7)).wrapping_mul(0x9E37_79B9_7F4A_7C15) as f64 / u64::MAX as f64 - 0.5)
            .collect()
    }

    fn close(found: &[f64], expected: &[f64]) {
        for (f, e) in found.iter().zip(expected) {
            assert!((f - e).abs() < 1e-12, "{f} is not {e}");
        }
    }

    /// Sizes around every tile remainder, and one beyond a block.
    const SIZES: [[usize; 3]; 10] = [
        [1, 1, 1],
        [3, 5, 7],
        [8, 16, 4],
        [9, 17, 33],
        [7, 15, 1],
        [16, 32, 64],
        [5, 33, 2],
        [2, 31, 3],
        [4, 48, 1030],
        [11, 10, 2050],
    ];

    #[test]
    fn products_agree_with_the_triple_sum() {
        for [m, n, k] in SIZES {
            let (x, w, mut scratch) = (entries(m * k, 1), entries(n * k, 2), vec![f64::NAN; edge_len::<f64>(k)]);
            let mut packed = vec![f64::NAN; packed_len::<f64>(n, k)];
            pack(&w, n, k, &mut packed);
            let mut c = vec![f64::NAN; m * n];
            let bias = entries(n, 3);
            times_transposed(Matrix::new(&x, k), &packed, [m, n, k], &mut c, n, Start::Bias(&bias));
            let expected: Vec<f64> = (0..m * n)
                .map(|e| bias[e % n] + (0..k).map(|p| x[e / n * k + p] * w[e % n * k + p]).sum::<f64>())
                .collect();
            close(&c, &expected);

            let d = entries(m * k, 4);
            let w = entries(k * n, 5);
            times(Matrix::new(&d, k), &w, [m, n, k], &mut c, Start::Zero, &mut scratch);
            let expected: Vec<f64> =
                (0..m * n).map(|e| (0..k).map(|p| d[e / n * k + p] * w[p * n + e % n]).sum::<f64>()).collect();
            close(&c, &expected);

            let (d, x) = (entries(k * m, 6), entries(k * n, 7));
            let before = c.clone();
            add_outer(Matrix::new(&d, m), Matrix::new(&x, n), [m, n, k], &mut c, &mut scratch);
            let expected: Vec<f64> = (0..m * n)
                .map(|e| before[e] + (0..k).map(|p| d[p * m + e / n] * x[p * n + e % n]).sum::<f64>())
                .collect();
            close(&c, &expected);
        }
    }

    #[test]
    fn a_row_gives_the_same_bits_in_any_batch() {
        for [m, n, k] in SIZES {
            let (x, w) = (entries(m * k, 1), entries(n * k, 2));
            let x: Vec<f32> = x.iter().map(|&v| v as f32).collect();
            let w: Vec<f32> = w.iter().map(|&v| v as f32).collect();
            let mut packed = vec![0f32; packed_len::<f32>(n, k)];
            pack(&w, n, k, &mut packed);
            let (mut all, mut one) = (vec![0f32; m * n], vec![0f32; n]);
            times_transposed(Matrix::new(&x, k), &packed, [m, n, k], &mut all, n, Start::Zero);
            for i in 0..m {
                let row = Matrix::new(&x[i * k..][..k], k);
                times_transposed(row, &packed, [1, n, k], &mut one, n, Start::Zero);
                assert_eq!(one, all[i * n..][..n], "row {i} of {m}");
            }
        }
    }
}
