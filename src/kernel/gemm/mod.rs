//! The three matrix products of training: `x Wᵀ`, `d W` and `dᵀ x`.
//!
//! Each element is summed over the inner index in increasing order, in blocks of [`BLOCK`], whatever
//! the shape around it: the same bits for any number of rows and any split of them. [`sums`](super::sums) defines the order of
//! blocks of rows.

mod single_row;
pub(super) mod transpose;

use self::{
    single_row::{OneRow, is_tiny, row_by_rows},
    transpose::transpose,
};
#[cfg(all(target_arch = "x86_64", feature = "std"))]
use super::{AVX2, AVX512, is};
use super::{
    Kernel, LINE, Level, dispatch, prefetch, refuse, require,
    simd::{Lanes, lanes},
    sums::Levels,
    thread_pool::{PARTS, Shared, divide, each, part, parts, threads},
};
use crate::scalar::Scalar;

/// Inner indices summed in registers before they are added to the result: a panel of that many rows fits into a level-1
/// cache (256 × 128 bytes = 32 KiB with AVX-512, 16 KiB with AVX2), and strips of 512 outputs fill half a level-2 cache.
pub(crate) const BLOCK: usize = 256;

/// Registers of columns that a tile has side by side.
const SIDE: usize = 2;

/// Columns of a packed panel: those of a tile, so that it reads line after line. Were panels wider than the tiles of a
/// level, each would skip lines, and the product takes a sixth longer.
fn panel<T: Scalar>() -> usize {
    SIDE * lanes::<T>()
}

/// Bytes of a matrix that is read where it stands: half a level-1 cache of 32 KiB.
const NEAR: usize = 16 * 1024;

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
    /// Adds so many times the product to it.
    Scaled(T),
}

impl<T: Scalar> Start<'_, T> {
    /// What becomes of the value that is there in column `j`.
    #[inline(always)]
    pub(super) fn end(&self, there: T, sum: T, j: usize) -> T {
        match self {
            Start::Zero => sum,
            Start::Bias(bias) => sum + bias[j],
            Start::Accumulate => there + sum,
            Start::Scaled(factor) => there + *factor * sum,
        }
    }
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

    /// Whether so many rows stay in a level-1 cache however they are read, so that packing them gains nothing.
    const fn is_near(&self, rows: usize) -> bool {
        rows.saturating_mul(self.stride).saturating_mul(size_of::<T>()) <= NEAR
    }
}

/// Values of memory that the right factor of a product takes when packed: panels of its columns, one after the
/// other, the last register of the last one filled up with zeros. More than any slice has where a `usize` cannot count them.
pub(crate) fn packed_len<T: Scalar>(columns: usize, inner: usize) -> usize {
    whole_panels::<T>(columns).saturating_mul(inner)
}

/// `columns`, and what fills up the last panel.
fn whole_panels<T: Scalar>(columns: usize) -> usize {
    let width = panel::<T>();
    columns.saturating_add(width - 1) & !(width - 1)
}

/// Panels for so many columns. Each is a power of two wide, and a division would take longer than the product of a tiny
/// network.
fn panels<T: Scalar>(columns: usize) -> usize {
    whole_panels::<T>(columns) >> panel::<T>().trailing_zeros()
}

/// Panels that are enough to be divided among threads.
const PANELS: usize = 8;

/// Length of the scratch of [`outer`]: all panels, or one for each part of a loop over threads, and the buffer of the sum
/// over rows. `usize::MAX` where it overflows.
pub(crate) fn outer_len<T: Scalar>([outputs, inputs, rows]: [usize; 3]) -> usize {
    let places = panels::<T>(inputs).min(PANELS.max(PARTS * threads()));
    let buffer = Levels::<T>::buffer_len(strips_len(outputs, inputs), rows.div_ceil(BLOCK));
    strips_len(outputs, 1).saturating_add(places * panel::<T>()).saturating_mul(rows.min(BLOCK)).saturating_add(buffer)
}

/// Values of memory that `inner` rows of the left factor of [`outer`] take when packed into strips.
const fn strips_len(outputs: usize, inner: usize) -> usize {
    (outputs.saturating_add(STRIP - 1) / STRIP * STRIP).saturating_mul(inner)
}

/// The first `len` values of `scratch`, and the rest.
fn split_scratch<T>(scratch: &mut [T], len: usize) -> (&mut [T], &mut [T]) {
    let found = scratch.len();
    match scratch.split_at_mut_checked(len) {
        Some(parts) => parts,
        None => refuse("the scratch of a product", [1, len], len, found),
    }
}

/// Multiplications of a product in a nanosecond, on one thread of a fast machine.
pub(crate) const PER_NANOSECOND: usize = 50;

/// The right factor of a product, read in panels: row p of panel i lies at `i · between + p · stride`.
#[derive(Clone, Copy)]
pub(crate) struct Right<'a, T> {
    data: &'a [T],
    between: usize,
    stride: usize,
    inner: usize,
    columns: usize,
}

impl<'a, T: Scalar> Right<'a, T> {
    /// What [`pack`] or [`pack_transposed`] has left there.
    pub fn packed(data: &'a [T], columns: usize, inner: usize) -> Self {
        let (width, len) = (panel::<T>(), packed_len::<T>(columns, inner));
        require("a packed factor", [1, len], len, data.len());
        Right { data: &data[..len], between: width.saturating_mul(inner), stride: width, inner, columns }
    }

    /// A matrix \[inner, columns\] as it stands, where its columns fill registers and packing it would gain nothing.
    fn direct(matrix: Matrix<'a, T>, columns: usize, inner: usize) -> Option<Self> {
        require("the right factor of a product", [inner, columns], matrix.stride, matrix.data.len());
        let right = Right { data: matrix.data, between: panel::<T>(), stride: matrix.stride, inner, columns };
        (matrix.is_near(inner) && columns.is_multiple_of(lanes::<T>())).then_some(right)
    }
}

/// Packs `Wᵀ`, for `x Wᵀ`.
///
/// # Shapes
/// w: \[outputs, inputs\].
pub(crate) fn pack_transposed<'a, T: Scalar>(
    w: &[T],
    outputs: usize,
    inputs: usize,
    packed: &'a mut [T],
) -> Right<'a, T> {
    let (width, len) = (panel::<T>(), packed_len::<T>(outputs, inputs));
    require("the weights of a product", [outputs, inputs], inputs, w.len());
    let (to, _) = split_scratch(packed, len);
    if len > 0 {
        let to = Shared::new(to);
        divide(panels::<T>(outputs), 1, len / 4, |own| {
            for i in own {
                // SAFETY: `divide` gives each panel to one call. Panels of `width · inputs` values follow one another.
                let panel = unsafe { to.take(i * width * inputs..(i + 1) * width * inputs) };
                transpose_panel(w, i * width, outputs, inputs, panel);
            }
        });
    }
    Right::packed(packed, outputs, inputs)
}

/// Fills a panel with the rows of W from `first`.
fn transpose_panel<T: Scalar>(w: &[T], first: usize, outputs: usize, inputs: usize, to: &mut [T]) {
    let width = panel::<T>();
    let rows = (outputs - first).min(width);
    // A product reads whole registers.
    if rows & (lanes::<T>() - 1) != 0 {
        to.fill(T::zero());
    }
    transpose(Matrix::new(&w[first * inputs..], inputs), [rows, inputs], to, width);
}

/// Packs `W`, for `d W`.
///
/// # Shapes
/// w: \[outputs, inputs\].
pub(crate) fn pack<'a, T: Scalar>(w: &[T], outputs: usize, inputs: usize, packed: &'a mut [T]) -> Right<'a, T> {
    require("the weights of a product", [outputs, inputs], inputs, w.len());
    pack_part(Matrix::new(w, inputs), 0, [outputs, inputs], packed)
}

/// Packs `columns` columns of `inner` rows from `first`.
fn pack_part<'a, T: Scalar>(
    from: Matrix<'_, T>,
    first: usize,
    [inner, columns]: [usize; 2],
    packed: &'a mut [T],
) -> Right<'a, T> {
    let (width, len) = (panel::<T>(), packed_len::<T>(columns, inner));
    let (to, _) = split_scratch(packed, len);
    if len > 0 {
        let to = Shared::new(to);
        divide(panels::<T>(columns), 1, inner * columns / 4, |own| {
            for i in own {
                // SAFETY: `divide` gives each panel to one call. Panels of `width · inner` values follow one another.
                let panel = unsafe { to.take(i * width * inner..(i + 1) * width * inner) };
                pack_panel(from, i * width, (columns - i * width).min(width), first, panel);
            }
        });
    }
    Right::packed(packed, columns, inner)
}

/// Copies `columns` columns from `j` of the rows from `first`, as many as `panel` holds.
fn pack_panel<T: Scalar>(from: Matrix<'_, T>, j: usize, columns: usize, first: usize, to: &mut [T]) {
    let width = panel::<T>();
    for (p, to) in to.chunks_exact_mut(width).enumerate() {
        let start = (first + p) * from.stride + j;
        if columns == width {
            // As arrays the values are copied through registers; every panel is a multiple of 8 wide.
            let from = &from.data[start..start + width];
            // What the next panel is made of.
            prefetch::bring(from.as_ptr().wrapping_add(width), width);
            for (to, from) in to.as_chunks_mut::<8>().0.iter_mut().zip(from.as_chunks::<8>().0) {
                *to = *from;
            }
        } else {
            to[..columns].copy_from_slice(&from.data[start..start + columns]);
            to[columns..].fill(T::zero());
        }
    }
}

/// `c = x B`: `x Wᵀ` forward, `d W` backward.
///
/// # Shapes
/// x: \[rows, inner\]; B: \[inner, columns\]; c: \[rows, columns\], at `stride`.
pub(crate) fn multiply<T: Scalar>(
    x: Matrix<'_, T>,
    right: Right<'_, T>,
    rows: usize,
    c: &mut [T],
    stride: usize,
    start: Start<'_, T>,
) {
    if rows == 0 || right.columns == 0 {
        return;
    }
    for first in (0..right.inner.max(1)).step_by(BLOCK) {
        let start = if first == 0 { start } else { Start::Accumulate };
        run(
            [rows, (right.inner - first).min(BLOCK)],
            Standing::by_row(x).skip(0, first),
            right,
            first,
            c,
            stride,
            start,
        );
    }
}

/// `c = x Wᵀ`.
///
/// # Shapes
/// x: \[rows, inputs\]; w: \[outputs, inputs\]; c: \[rows, outputs\], contiguous; scratch: [`packed_len`] of outputs and inputs.
pub(crate) fn gemm_nt<T: Scalar>(
    x: Matrix<'_, T>,
    w: &[T],
    [rows, outputs, inputs]: [usize; 3],
    c: &mut [T],
    start: Start<'_, T>,
    scratch: &mut [T],
) {
    if rows == 1 && inputs <= BLOCK && is_tiny::<T>(outputs, inputs) {
        // The size is small, and does not wrap.
        return match (x.data.get(..inputs), w.get(..outputs * inputs), c.get_mut(..outputs)) {
            (Some(x), Some(w), Some(c)) => row_by_rows(x, w, c, start),
            _ => refuse("each slice of a product", [outputs, inputs], inputs, w.len()),
        };
    }
    if !is_far::<T>(outputs, inputs) {
        let right = pack_transposed(w, outputs, inputs, scratch);
        return multiply(x, right, rows, c, outputs, start);
    }
    require("the weights of a product", [outputs, inputs], inputs, w.len());
    let fill = |first: usize, to: &mut [T]| transpose_panel(w, first, outputs, inputs, to);
    by_panels(Standing::by_row(x), [rows, outputs, inputs], c, start, scratch, fill);
}

/// `c = d W`.
///
/// # Shapes
/// d: \[rows, outputs\]; w: \[outputs, inputs\]; c: \[rows, inputs\], contiguous; scratch: [`packed_len`] of inputs and outputs.
pub(crate) fn gemm_nn<T: Scalar>(
    d: Matrix<'_, T>,
    w: &[T],
    [rows, outputs, inputs]: [usize; 3],
    c: &mut [T],
    scratch: &mut [T],
) {
    let matrix = Matrix::new(w, inputs);
    let near = Right::direct(matrix, inputs, outputs);
    if near.is_some() || !is_far::<T>(inputs, outputs) {
        let right = near.unwrap_or_else(|| pack(w, outputs, inputs, scratch));
        return multiply(d, right, rows, c, inputs, Start::Zero);
    }
    let fill = |first: usize, to: &mut [T]| pack_panel(matrix, first, (inputs - first).min(panel::<T>()), 0, to);
    by_panels(Standing::by_row(d), [rows, inputs, outputs], c, Start::Zero, scratch, fill);
}

/// Bytes from which a right factor is packed panel by panel: an eighth of a level-2 cache of 1 MiB, which x and c and the
/// matrix itself go through too.
const FAR: usize = 128 * 1024;

/// Whether a right factor is packed panel by panel: a large one, of enough panels.
fn is_far<T: Scalar>(columns: usize, inner: usize) -> bool {
    panels::<T>(columns) >= PANELS && packed_len::<T>(columns, inner).saturating_mul(size_of::<T>()) >= FAR
}

/// The product of `left` with a matrix of which `fill(j, panel)` packs the columns from j: each thread has some of the columns.
fn by_panels<T: Scalar, A: Left<T>>(
    left: A,
    [rows, columns, inner]: [usize; 3],
    c: &mut [T],
    start: Start<'_, T>,
    scratch: &mut [T],
    fill: impl Fn(usize, &mut [T]) + Sync,
) {
    if rows == 0 || columns == 0 {
        return;
    }
    left.require(rows, inner);
    require("the result of a product", [rows, columns], columns, c.len());
    let (width, all) = (panel::<T>(), panels::<T>(columns));
    let len = width.saturating_mul(inner);
    require("the scratch of a product", [1, len], len, scratch.len());
    let multiplications = rows.saturating_mul(columns).saturating_mul(inner);
    // No more than there are places for: whoever made the scratch may not have known of the threads.
    let count = parts(all, multiplications / PER_NANOSECOND, PARTS).min(scratch.len() / len.max(1)).max(1);
    let (c, scratch) = (Shared::new(c), Shared::new(scratch));
    each(count, &|i| {
        // SAFETY: places of `len` values follow one another, and `each` gives each i to one call.
        let panel = unsafe { scratch.take(i * len..(i + 1) * len) };
        for j in part(i, count, all, 1).map(|i| i * width) {
            fill(j, panel);
            let b = Right { data: panel, between: len, stride: width, inner, columns: (columns - j).min(width) };
            for first in (0..inner.max(1)).step_by(BLOCK) {
                let start = match start {
                    _ if first > 0 => Start::Accumulate,
                    Start::Bias(bias) => Start::Bias(&bias[j..]),
                    start => start,
                };
                let (size, a) = ([rows, (inner - first).min(BLOCK)], left.skip(0, first));
                // SAFETY: rows and inner indices lie within `left`, and rows × columns within c, as required above. Columns
                // from j, at most `width`, belong to panel j / width, which `part` gives to one call.
                dispatch(unsafe { Product::new(size, a, b, first, c.at(j), columns, start) });
            }
        }
    });
}

/// The left factor of [`outer`], whose columns lie far apart: for several products with it they are packed once.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'a, T> {
    matrix: Matrix<'a, T>,
    strips: Option<Strips<'a, T>>,
}

impl<'a, T> From<Matrix<'a, T>> for Columns<'a, T> {
    fn from(matrix: Matrix<'a, T>) -> Self {
        Columns { matrix, strips: None }
    }
}

impl<'a, T: Scalar> Columns<'a, T> {
    /// Packs \[rows, outputs\] of `d` into the beginning of `scratch`, where that pays; and what is left of it.
    pub fn pack(d: Matrix<'a, T>, [rows, outputs]: [usize; 2], scratch: &'a mut [T]) -> (Self, &'a mut [T]) {
        if !(2..=BLOCK).contains(&rows) || d.is_near(rows) {
            return (d.into(), scratch);
        }
        let (strips, rest) = split_scratch(scratch, strips_len(outputs, rows));
        (Columns { matrix: d, strips: Some(pack_strips(d, 0, [outputs, rows], strips)) }, rest)
    }

    /// Without its first rows and columns, of the latter a multiple of [`STRIP`] where they are packed.
    pub fn part(self, row: usize, column: usize) -> Self {
        let Matrix { data, stride } = self.matrix;
        let matrix = Matrix::new(&data[row.saturating_mul(stride).saturating_add(column)..], stride);
        Columns { matrix, strips: self.strips.map(|strips| strips.skip(column, row)) }
    }
}

/// `c = dᵀ x`, or that, or a multiple of it, added to c: a sum over rows, in the order that [`sums`](super::sums) defines.
///
/// # Shapes
/// d: \[rows, outputs\]; x: \[rows, inputs\]; c: \[outputs, inputs\], contiguous; scratch: [`outer_len`].
pub(crate) fn outer<'a, T: Scalar>(
    d: impl Into<Columns<'a, T>>,
    x: Matrix<'_, T>,
    [outputs, inputs, rows]: [usize; 3],
    c: &mut [T],
    start: Start<'_, T>,
    scratch: &mut [T],
) {
    let Columns { matrix: d, strips } = d.into();
    require("the left factor of an outer product", [rows, outputs], d.stride, d.data.len());
    require("the right factor of an outer product", [rows, inputs], x.stride, x.data.len());
    if outputs == 0 || inputs == 0 {
        return;
    }
    let width = panel::<T>();
    require("the result of an outer product", [outputs, inputs], inputs, c.len());
    if rows == 1 {
        return dispatch(OneRow { d: &d.data[..outputs], x: &x.data[..inputs], c, start });
    }
    if let Some(right) = Right::direct(x, inputs, rows).filter(|_| rows <= BLOCK && d.is_near(rows)) {
        return run([outputs, rows], Standing::by_column(d), right, 0, c, inputs, start);
    }
    let buffer = Levels::<T>::buffer_len(outputs * inputs, rows.div_ceil(BLOCK));
    let (scratch, buffer) = scratch.split_at_mut(scratch.len().saturating_sub(buffer));
    let mut levels = Levels::new(&mut c[..outputs * inputs], buffer);
    // Of no rows the sum is zero, too.
    for first in (0..rows.max(1)).step_by(BLOCK) {
        let start = match start {
            Start::Scaled(_) => start,
            _ if first > 0 => Start::Accumulate,
            _ => start,
        };
        let inner = (rows - first).min(BLOCK);
        let (strips, panels) = match strips {
            Some(strips) => (strips, &mut *scratch),
            None => {
                let (strips, panels) = split_scratch(scratch, strips_len(outputs, inner));
                (pack_strips(d, first, [outputs, inner], strips), panels)
            }
        };
        levels.add(|c| {
            if self::panels::<T>(inputs) < PANELS {
                let right = pack_part(x, first, [inner, inputs], panels);
                return run([outputs, inner], strips, right, 0, c, inputs, start);
            }
            let fill = |j: usize, to: &mut [T]| pack_panel(x, j, (inputs - j).min(width), first, to);
            by_panels(strips, [outputs, inputs, inner], c, start, panels, fill);
        });
    }
    levels.finish();
}

/// Packs `inner` rows of `d` from row `first` into strips of their columns, which the tiles then read in order. A few rows
/// at a time, for their lines to stay in the cache from strip to strip: rows at a power of two share a set of it.
fn pack_strips<'a, T: Scalar>(
    d: Matrix<'_, T>,
    first: usize,
    [outputs, inner]: [usize; 2],
    packed: &'a mut [T],
) -> Strips<'a, T> {
    let all = outputs.div_ceil(STRIP);
    let strips = Shared::new(&mut *packed);
    divide(all, 1, outputs * inner / 2, |own| {
        for group in (0..inner).step_by(STRIP) {
            for i in own.clone() {
                // SAFETY: `divide` gives each strip to one call, which has one strip at a time. Strips of `STRIP · inner`
                // values follow one another.
                let strip = unsafe { strips.take(i * STRIP * inner..(i + 1) * STRIP * inner) };
                let width = (outputs - i * STRIP).min(STRIP);
                for (p, to) in strip.as_chunks_mut().0.iter_mut().enumerate().skip(group).take(STRIP) {
                    let from = &d.data[(first + p) * d.stride + i * STRIP..];
                    match from.first_chunk::<STRIP>() {
                        // As an array it is copied through a register.
                        Some(whole) if width == STRIP => *to = *whole,
                        _ => to[..width].copy_from_slice(&from[..width]),
                    }
                }
            }
        }
    });
    Strips { packed, inner }
}

/// Rows of a strip of the left factor of [`outer`].
pub(crate) const STRIP: usize = 8;

/// The left factor, one value of which meets a panel's row at each inner index.
///
/// # Safety
/// Where [`holds`](Self::holds) is true, [`at`](Self::at) of every row and inner index below those is a value that is borrowed
/// for as long as the matrix. What [`skip`](Self::skip) leaves of it holds as many fewer as were skipped.
unsafe trait Left<T>: Copy + Send + Sync {
    /// Whether so many rows and inner indices lie within the matrix.
    fn holds(&self, rows: usize, inner: usize) -> bool;

    /// Panics unless so many rows and inner indices lie within the matrix.
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

    /// The matrix without its first rows, a multiple of [`STRIP`], and without the first inner indices.
    fn skip(self, rows: usize, inner: usize) -> Self;

    /// The value of row `i` at inner index `p`.
    ///
    /// # Safety
    /// The matrix [`holds`](Self::holds) more rows than `i` and more inner indices than `p`.
    unsafe fn at(self, i: usize, p: usize) -> *const T;
}

/// A matrix read where it stands, along its rows or along its columns.
#[derive(Clone, Copy)]
struct Standing<'a, T> {
    data: &'a [T],
    /// From one row of the left factor to the next, and from one inner index to the next.
    strides: [usize; 2],
}

impl<'a, T> Standing<'a, T> {
    /// Its rows.
    fn by_row(matrix: Matrix<'a, T>) -> Self {
        Standing { data: matrix.data, strides: [matrix.stride, 1] }
    }

    /// Its columns.
    fn by_column(matrix: Matrix<'a, T>) -> Self {
        Standing { data: matrix.data, strides: [1, matrix.stride] }
    }
}

// SAFETY: `holds` is true where no product or sum wraps and the last index, hence every index, is below the length. `skip`
// takes as many values from the length as from each index.
unsafe impl<T: Scalar> Left<T> for Standing<'_, T> {
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
        Standing { data: &self.data[first.min(self.data.len())..], ..self }
    }

    #[inline(always)]
    unsafe fn at(self, i: usize, p: usize) -> *const T {
        // SAFETY: by the contract of this function and that of the trait.
        unsafe { self.data.as_ptr().add(i * self.strides[0] + p * self.strides[1]) }
    }
}

/// A matrix packed in strips of [`STRIP`] rows, each with the rows of one inner index side by side.
#[derive(Clone, Copy)]
struct Strips<'a, T> {
    packed: &'a [T],
    inner: usize,
}

// SAFETY: `holds` is true where (last + inner) · STRIP does not wrap and is at most the length. Row i lies in strip
// i / STRIP ≤ last / self.inner, hence (i / STRIP · self.inner + p) · STRIP + i % STRIP is below the length for p < inner.
// `skip` takes as many values from the length as from each index: whole strips, and groups of STRIP.
unsafe impl<T: Scalar> Left<T> for Strips<'_, T> {
    #[inline(always)]
    fn holds(&self, rows: usize, inner: usize) -> bool {
        let last = rows.div_ceil(STRIP).saturating_sub(1).checked_mul(self.inner);
        let end = last.and_then(|last| last.checked_add(inner));
        rows == 0 || inner <= self.inner && end.is_some_and(|end| end <= self.packed.len() / STRIP)
    }

    #[inline(always)]
    fn skip(self, rows: usize, inner: usize) -> Self {
        debug_assert!(rows.is_multiple_of(STRIP));
        Strips { packed: &self.packed[rows * self.inner + inner * STRIP..], ..self }
    }

    #[inline(always)]
    unsafe fn at(self, i: usize, p: usize) -> *const T {
        // SAFETY: by the contract of this function and that of the trait.
        unsafe { self.packed.as_ptr().add((i / STRIP * self.inner + p) * STRIP + i % STRIP) }
    }
}

struct Product<'a, T, A> {
    size: [usize; 2],
    a: A,
    b: Right<'a, T>,
    /// The inner index of `b` to begin at.
    first: usize,
    c: *mut T,
    stride: usize,
    start: Start<'a, T>,
}

impl<'a, T, A> Product<'a, T, A> {
    /// The product of `size` rows and inner indices of `a` with `b`, written to rows at `c` that lie at `stride`.
    ///
    /// # Safety
    /// `a` [holds](Left::holds) `size`. Until the product is computed, the values at `c + row · stride + column`, for each of
    /// the rows and each column of `b`, may be written, and no other reference to them is used.
    unsafe fn new(
        size: [usize; 2],
        a: A,
        b: Right<'a, T>,
        first: usize,
        c: *mut T,
        stride: usize,
        start: Start<'a, T>,
    ) -> Self {
        Product { size, a, b, first, c, stride, start }
    }
}

/// Computes rows × columns of a product over `inner` ≤ [`BLOCK`] indices.
fn run<'a, T: Scalar, A: Left<T>>(
    size: [usize; 2],
    a: A,
    b: Right<'a, T>,
    first: usize,
    c: &'a mut [T],
    stride: usize,
    start: Start<'a, T>,
) {
    let rows = size[0];
    if rows == 0 || b.columns == 0 {
        return;
    }
    let inner = size[1];
    a.require(rows, inner);
    require("the result of a product", [rows, b.columns], stride, c.len());
    let c = Shared::new(c);
    divide(rows, STRIP, rows * b.columns * inner / PER_NANOSECOND, |own| {
        // SAFETY: `divide` gives each row to one call, and rows do not overlap: columns ≤ stride, as required above.
        let c = unsafe { c.take(own.start * stride..(own.end - 1) * stride + b.columns) };
        // SAFETY: `a` holds all rows and inner indices, as required above; those of `own` × columns lie within this `c`, which
        // is not used elsewhere.
        dispatch(unsafe {
            Product::new([own.len(), inner], a.skip(own.start, 0), b, first, c.as_mut_ptr(), stride, start)
        });
    });
}

impl<T: Scalar, A: Left<T>> Kernel for Product<'_, T, A> {
    type Element = T;

    #[inline(always)]
    fn run<const LEVEL: Level>(self) {
        // Rows and registers of columns of a tile fill the registers of the level without spilling.
        #[cfg(all(target_arch = "x86_64", feature = "std"))]
        {
            use core::arch::x86_64::{__m256, __m256d, __m512, __m512d};
            match (LEVEL, is::<T, f32>(), is::<T, f64>()) {
                // SAFETY: the level is one at which these registers exist, and `T` is what they hold.
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

impl<T: Scalar, A: Left<T>> Product<'_, T, A> {
    /// # Safety
    /// The registers `V` exist on this machine and hold values of `T`.
    #[inline(always)]
    unsafe fn tiles<V: Lanes<T>, const M: usize>(self) {
        let Product { size: [rows, inner], a, b, first, c, stride, start } = self;
        let width = SIDE * V::LANES;
        debug_assert_eq!(width, panel::<T>());
        for j in (0..b.columns).step_by(width) {
            let panel = &b.data[(j / width * b.between + first * b.stride).min(b.data.len())..];
            let columns = (b.columns - j).min(width);
            let whole = columns.next_multiple_of(V::LANES);
            require("the right factor of a product", [inner, whole], b.stride, panel.len());
            let tile = Tile { i: 0, j, inner, columns, between: b.stride };
            // SAFETY: at each of `inner` indices p the registers of `panel` that hold `columns` values from p · stride lie
            // within it, as required above. Rows, inner indices and `c` are as the contract of `new` says.
            unsafe {
                if columns > V::LANES {
                    tile.all::<T, V, A, M, SIDE>(rows, a, panel, c, stride, start);
                } else {
                    tile.all::<T, V, A, M, 1>(rows, a, panel, c, stride, start);
                }
            }
        }
    }
}

/// One tile of the result: `columns` columns from `j`, rows from `i`, summed over `inner` indices.
struct Tile {
    i: usize,
    j: usize,
    inner: usize,
    columns: usize,
    /// From one row of the panel to the next.
    between: usize,
}

impl Tile {
    /// Computes `rows` rows, M at a time.
    ///
    /// # Safety
    /// That of [`run`](Self::run), for all rows.
    #[inline(always)]
    unsafe fn all<T: Scalar, V: Lanes<T>, A: Left<T>, const M: usize, const R: usize>(
        mut self,
        rows: usize,
        a: A,
        data: &[T],
        c: *mut T,
        stride: usize,
        start: Start<'_, T>,
    ) {
        while self.i < rows {
            // SAFETY: by the contract of this function, as i + M ≤ rows.
            self.i += unsafe {
                match rows - self.i {
                    left if left >= M => self.run::<T, V, A, M, R>(a, data, c, stride, start),
                    4.. => self.run::<T, V, A, 4, R>(a, data, c, stride, start),
                    2.. => self.run::<T, V, A, 2, R>(a, data, c, stride, start),
                    _ => self.run::<T, V, A, 1, R>(a, data, c, stride, start),
                }
            };
        }
    }

    /// Computes M rows and says how many that were.
    ///
    /// # Safety
    /// `a` [holds](Left::holds) rows below `i + M` and inner indices below `inner`. The tile's columns of those rows of `c` may
    /// be written, and no other reference to them is used. For each p < inner, `data` holds R registers of values from
    /// `p · between`. The registers exist and hold values of `T`.
    #[inline(always)]
    unsafe fn run<T: Scalar, V: Lanes<T>, A: Left<T>, const M: usize, const R: usize>(
        &self,
        a: A,
        data: &[T],
        c: *mut T,
        stride: usize,
        start: Start<'_, T>,
    ) -> usize {
        const { assert!(R <= SIDE && SIDE * V::LANES <= MOST, "a row of `out` has room for R registers") };
        // SAFETY: by the contract of this function. A tile of V::LANES · R columns has room for R registers in each row of
        // `c`; a row of `out` has, as asserted above.
        unsafe {
            for r in 0..M {
                // What the result is written to comes while the sums are made.
                for q in 0..R {
                    V::prefetch(c.wrapping_add((self.i + r) * stride + self.j + q * V::LANES));
                }
            }
            let mut sums = [[V::zero(); R]; M];
            // A tile of few rows has no time for what others asked for; what nobody asks for is a line that is there.
            let has_time = M >= 4;
            let asked = if has_time { prefetch::take(self.inner) } else { None };
            let step = if asked.is_some() { LINE } else { 0 };
            let mut line = asked.unwrap_or(data.as_ptr().addr());
            for p in 0..self.inner {
                if has_time {
                    V::prefetch_far(core::ptr::without_provenance(line));
                    line = line.wrapping_add(step);
                }
                let row = data.as_ptr().add(p * self.between);
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
            if self.columns == V::LANES * R {
                let first = c.add(self.i * stride + self.j);
                let bias = match start {
                    Start::Bias(bias) => bias[self.j..][..V::LANES * R].as_ptr(),
                    _ => first,
                };
                let factor = match start {
                    Start::Scaled(factor) => V::splat(&factor),
                    _ => V::zero(),
                };
                // By index: through an iterator the sums would live in memory, in the loop above too, at half the speed.
                #[expect(clippy::needless_range_loop)]
                for r in 0..M {
                    for q in 0..R {
                        let (to, sum) = (first.add(r * stride + q * V::LANES), sums[r][q]);
                        match start {
                            Start::Zero => sum.store(to),
                            Start::Bias(_) => sum.add(V::load(bias.add(q * V::LANES))).store(to),
                            Start::Accumulate => V::load(to).add(sum).store(to),
                            Start::Scaled(_) => V::load(to).add(factor.mul_add(sum, V::zero())).store(to),
                        }
                    }
                }
                return M;
            }
            // A copy, and by index: were the sums themselves read at a place that is computed, they would live in memory.
            let mut out = [[T::zero(); MOST]; M];
            #[expect(clippy::needless_range_loop)]
            for r in 0..M {
                for q in 0..R {
                    sums[r][q].store(out[r].as_mut_ptr().add(q * V::LANES));
                }
            }
            border(&out, c.add(self.i * stride + self.j), [stride, self.columns], self.j, start);
        }
        M
    }
}

/// Writes `columns` values of each row of `sums` to the rows at `c`, which are columns from `j` of the result.
///
/// One function for tiles of all sizes: within them the compiler would unroll its loops for each, and make ready for them
/// where no tile is a border.
///
/// # Safety
/// `columns` values at `c + r · stride` may be written for each row r of `sums`, and no other reference to them is used.
#[inline(never)]
unsafe fn border<T: Scalar>(
    sums: &[[T; MOST]],
    c: *mut T,
    [stride, columns]: [usize; 2],
    j: usize,
    start: Start<'_, T>,
) {
    for (r, sums) in sums.iter().enumerate() {
        // SAFETY: by the contract of this function.
        let row = unsafe { core::slice::from_raw_parts_mut(c.add(r * stride), columns) };
        for (q, (c, &sum)) in row.iter_mut().zip(sums).enumerate() {
            *c = start.end(*c, sum, j + q);
        }
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
            let (x, w, mut scratch) =
                (entries(m * k, 1), entries(n * k, 2), vec![f64::NAN; outer_len::<f64>([m, n, k])]);
            let mut packed = vec![f64::NAN; packed_len::<f64>(n, k)];
            pack_transposed(&w, n, k, &mut packed);
            let mut c = vec![f64::NAN; m * n];
            let bias = entries(n, 3);
            multiply(Matrix::new(&x, k), Right::packed(&packed, n, k), m, &mut c, n, Start::Bias(&bias));
            let expected: Vec<f64> = (0..m * n)
                .map(|e| bias[e % n] + (0..k).map(|p| x[e / n * k + p] * w[e % n * k + p]).sum::<f64>())
                .collect();
            close(&c, &expected);

            let d = entries(m * k, 4);
            let w = entries(k * n, 5);
            gemm_nn(Matrix::new(&d, k), &w, [m, k, n], &mut c, &mut packed);
            let expected: Vec<f64> =
                (0..m * n).map(|e| (0..k).map(|p| d[e / n * k + p] * w[p * n + e % n]).sum::<f64>()).collect();
            close(&c, &expected);

            let (d, x) = (entries(k * m, 6), entries(k * n, 7));
            let before = c.clone();
            outer(Matrix::new(&d, m), Matrix::new(&x, n), [m, n, k], &mut c, Start::Accumulate, &mut scratch);
            let expected: Vec<f64> = (0..m * n)
                .map(|e| before[e] + (0..k).map(|p| d[p * m + e / n] * x[p * n + e % n]).sum::<f64>())
                .collect();
            close(&c, &expected);
        }
    }

    fn panels_one_by_one<T: Scalar>() {
        let entries = |n, seed| entries(n, seed).into_iter().map(crate::scalar::scalar::<T>).collect::<Vec<T>>();
        for [rows, outputs, inputs] in [[1, 264, 300], [37, 301, 263], [9, 31, 2050]] {
            let (x, w, bias) = (entries(rows * inputs, 1), entries(outputs * inputs, 2), entries(outputs, 3));
            let d = entries(rows * outputs, 4);
            let mut packed = vec![T::nan(); packed_len::<T>(outputs, inputs).max(packed_len::<T>(inputs, outputs))];
            let (mut whole, mut d_whole) = (vec![T::nan(); rows * outputs], vec![T::nan(); rows * inputs]);
            let right = pack_transposed(&w, outputs, inputs, &mut packed);
            multiply(Matrix::new(&x, inputs), right, rows, &mut whole, outputs, Start::Bias(&bias));
            let right = pack(&w, outputs, inputs, &mut packed);
            multiply(Matrix::new(&d, outputs), right, rows, &mut d_whole, inputs, Start::Zero);
            assert!(is_far::<T>(outputs, inputs) || outputs < 100);
            assert!(is_far::<T>(inputs, outputs));
            let mut by_panel = || {
                let (mut c, mut dx) = (vec![T::nan(); rows * outputs], vec![T::nan(); rows * inputs]);
                let (size, bias) = ([rows, outputs, inputs], Start::Bias(&bias));
                packed.fill(T::nan());
                gemm_nt(Matrix::new(&x, inputs), &w, size, &mut c, bias, &mut packed);
                packed.fill(T::nan());
                gemm_nn(Matrix::new(&d, outputs), &w, size, &mut dx, &mut packed);
                assert!(c == whole && dx == d_whole, "{size:?}");
            };
            by_panel();
            #[cfg(feature = "std")]
            for threads in 2..4 {
                super::super::thread_pool::Team::new(threads).unwrap().during(&mut by_panel);
            }
        }
    }

    #[test]
    fn panels_packed_one_by_one_give_the_same_bits() {
        panels_one_by_one::<f32>();
        panels_one_by_one::<f64>();
    }

    #[test]
    fn columns_packed_once_give_the_same_bits_in_parts() {
        let (all, width, inputs) = (70, 90, 37);
        let (d, x) = (entries(all * width, 1), entries(all * inputs, 2));
        let mut scratch = vec![f64::NAN; 2 * outer_len::<f64>([width, inputs, all])];
        let mut product = |row: usize, column: usize, packs: bool| {
            let [rows, outputs] = [all - row, width - column];
            let (matrix, mut c) = (Matrix::new(&d[..], width), vec![f64::NAN; outputs * inputs]);
            let (columns, spare) = match packs {
                true => Columns::pack(matrix, [all, width], &mut scratch),
                false => (matrix.into(), &mut scratch[..]),
            };
            assert_eq!(columns.strips.is_some(), packs);
            let x = Matrix::new(&x[row * inputs..], inputs);
            outer(columns.part(row, column), x, [outputs, inputs, rows], &mut c, Start::Zero, spare);
            c
        };
        for (row, column) in [(0, 0), (1, 0), (0, 8), (13, 16), (40, 88), (69, 80)] {
            assert_eq!(product(row, column, true), product(row, column, false), "from {row}, {column}");
        }
    }

    #[test]
    fn a_row_gives_the_same_bits_in_any_batch() {
        for [m, n, k] in SIZES {
            let (x, w) = (entries(m * k, 1), entries(n * k, 2));
            let x: Vec<f32> = x.iter().map(|&v| v as f32).collect();
            let w: Vec<f32> = w.iter().map(|&v| v as f32).collect();
            let mut packed = vec![0f32; packed_len::<f32>(n, k)];
            pack_transposed(&w, n, k, &mut packed);
            let (mut all, mut one) = (vec![0f32; m * n], vec![0f32; n]);
            multiply(Matrix::new(&x, k), Right::packed(&packed, n, k), m, &mut all, n, Start::Zero);
            for i in 0..m {
                let row = Matrix::new(&x[i * k..][..k], k);
                multiply(row, Right::packed(&packed, n, k), 1, &mut one, n, Start::Zero);
                assert_eq!(one, all[i * n..][..n], "row {i} of {m}");
            }
        }
    }

    fn row_by_row<T: Scalar>() {
        let entries = |n, seed| entries(n, seed).into_iter().map(crate::scalar::scalar::<T>).collect::<Vec<T>>();
        // Up to what is met value by value, around it, and of more than a block of inputs.
        for [n, k] in [[1, 1], [7, 3], [16, 16], [9, 40], [25, 25], [27, 30], [2, 256], [1, 300], [40, 60]] {
            let (rows, x, w, bias) = (3, entries(3 * k, 1), entries(n * k, 2), entries(n, 3));
            let mut scratch = vec![T::nan(); packed_len::<T>(n, k)];
            for start in [Start::Zero, Start::Bias(&bias)] {
                let (mut all, mut one) = (vec![T::nan(); rows * n], vec![T::nan(); n]);
                gemm_nt(Matrix::new(&x, k), &w, [rows, n, k], &mut all, start, &mut scratch);
                for i in 0..rows {
                    let row = Matrix::new(&x[i * k..], k);
                    gemm_nt(row, &w, [1, n, k], &mut one, start, &mut scratch);
                    assert!(one == all[i * n..][..n], "row {i} of {n} × {k}");
                }
            }
        }
    }

    #[test]
    fn a_row_alone_gives_the_same_bits() {
        row_by_row::<f32>();
        row_by_row::<f64>();
    }
}
