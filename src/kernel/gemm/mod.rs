//! The matrix products of training, named as in BLAS by the factor that is transposed: `gemm_nt` is `x Wᵀ`, `gemm_nn`
//! is `d W` and `gemm_tn` is `dᵀ x`.
//!
//! Each element is summed over the inner index in increasing order, in chunks of [`KC`], for any shape of the result.
//! So a row has the same bits for any number of rows and any division of them among threads. [`sums`](super::sums)
//! defines the order of blocks of rows.

mod epilogue;
mod matrix;
mod matrix_a;
mod micro_kernel;
mod packed_b;
mod shard_tree;
mod single_row;
#[cfg(test)]
mod tests;
pub(super) mod transpose;

pub(crate) use self::{
    epilogue::Epilogue,
    matrix::Matrix,
    matrix_a::{MR, TransposedA},
    packed_b::{PackedB, pack, pack_transposed, packed_b_len},
    shard_tree::MOST_SHARDS,
};
use self::{
    matrix_a::{MatrixA, StridedA, pack_a, packed_a_len},
    micro_kernel::MacroKernel,
    packed_b::{nr, pack_panel, pack_rows, panel_count, transpose_panel},
    shard_tree::{InnerSum, OneSum, ShardTree},
    single_row::{gemv, gemv_transposed, is_tiny, rank_one},
};
use super::{
    dispatch,
    parallel::{PARTS_PER_THREAD, SharedSlice, is_short, parallel_for, parallel_ranges, part_count, part_range},
    refuse, require,
    sums::BlockSum,
    thread_pool::threads,
};
use crate::scalar::Scalar;

/// The number of inner indices that are summed in registers before the sum is added to the result.
///
/// A panel (packed columns of the right factor) with this number of rows fits into a level-1 cache: 256 × 128 bytes
/// = 32 KiB with AVX-512, 16 KiB with AVX2. Strips of 512 outputs fill half a level-2 cache.
pub(crate) const KC: usize = 256;

/// The number of multiplications per nanosecond of a product, on one thread of a fast machine.
pub(crate) const MULTIPLICATIONS_PER_NANOSECOND: usize = 50;

/// The least number of panels (packed columns of the right factor B) for which the threads of a product divide the
/// panels. With fewer panels they divide the rows of the result.
const MIN_PANELS: usize = 8;

/// The size of the right factor B in bytes from which each panel is packed just before its use: an eighth of a
/// level-2 cache of 1 MiB. The cache also holds the left factor, the result and B before packing.
const PANELWISE_BYTES: usize = 128 * 1024;

/// Whether each panel of B \[inner, columns\] is packed just before its use: with at least [`MIN_PANELS`] panels, of
/// [`PANELWISE_BYTES`] or more in all.
fn packs_panelwise<T: Scalar>(columns: usize, inner: usize) -> bool {
    panel_count::<T>(columns) >= MIN_PANELS
        && packed_b_len::<T>(columns, inner).saturating_mul(size_of::<T>()) >= PANELWISE_BYTES
}

/// Returns the length, in values, of the scratch of [`gemm_tn`]: the packed A = dᵀ, panels of B = x, and the buffer
/// of the sum over blocks of rows. The scratch holds all panels, or one for each part of a loop over threads. `size` is
/// \[outputs, inputs, rows\]. `usize::MAX` if the length overflows.
pub(crate) fn gemm_tn_scratch_len<T: Scalar>(size: [usize; 3]) -> usize {
    gemm_tn_scratch::<T>(size, MIN_PANELS.max(PARTS_PER_THREAD * threads()))
}

/// Returns the least length, in values, of the scratch of [`gemm_tn`], which panics with less. It is
/// [`gemm_tn_scratch_len`] for one thread. `size` is \[outputs, inputs, rows\].
pub(crate) fn gemm_tn_least_scratch<T: Scalar>(size: [usize; 3]) -> usize {
    gemm_tn_scratch::<T>(size, MIN_PANELS)
}

/// Returns the length, in values, of the scratch of [`gemm_tn`] if it holds at most `most` packed panels of B = x at a
/// time.
fn gemm_tn_scratch<T: Scalar>([outputs, inputs, rows]: [usize; 3], most: usize) -> usize {
    let panels = panel_count::<T>(inputs).min(most);
    let buffer = BlockSum::<T>::buffer_len(packed_a_len(outputs, inputs), rows.div_ceil(KC));
    packed_a_len(outputs, 1).saturating_add(panels * nr::<T>()).saturating_mul(rows.min(KC)).saturating_add(buffer)
}

/// Splits `scratch` after its first `len` values. Panics if it has fewer.
fn split_scratch<T>(scratch: &mut [T], len: usize) -> (&mut [T], &mut [T]) {
    let found = scratch.len();
    match scratch.split_at_mut_checked(len) {
        Some(parts) => parts,
        None => refuse("the scratch of a product", [1, len], len, found),
    }
}

/// Computes the product `x B`, which `epilogue` combines with `c`. Panics if a slice is too short.
///
/// # Shapes
/// x: \[rows, inner\]; B: \[inner, columns\]; c: \[rows, columns\], in rows `stride` values apart.
pub(crate) fn gemm<T: Scalar>(
    x: Matrix<'_, T>,
    b: PackedB<'_, T>,
    rows: usize,
    c: &mut [T],
    stride: usize,
    epilogue: Epilogue<'_, T>,
) {
    if rows == 0 || b.columns == 0 {
        return;
    }
    for first in (0..b.inner.max(1)).step_by(KC) {
        let epilogue = if first == 0 { epilogue } else { Epilogue::Accumulate };
        let (size, a) = ([rows, (b.inner - first).min(KC)], StridedA::by_row(x).skip(0, first));
        gemm_kc(size, a, b, first, c, stride, epilogue, OneSum);
    }
}

/// Computes the product `x Wᵀ`, which `epilogue` combines with `c`. Panics if a slice is too short.
///
/// # Shapes
/// x: \[rows, inputs\]; w: \[outputs, inputs\]; c: \[rows, outputs\], contiguous; scratch: [`packed_b_len`] of outputs
/// and inputs.
#[inline]
pub(crate) fn gemm_nt<T: Scalar>(
    x: Matrix<'_, T>,
    w: &[T],
    [rows, outputs, inputs]: [usize; 3],
    c: &mut [T],
    epilogue: Epilogue<'_, T>,
    scratch: &mut [T],
) {
    if rows == 1 && inputs <= KC && is_tiny::<T>(outputs, inputs) {
        // The size of a tiny matrix does not overflow.
        return match (x.data.get(..inputs), w.get(..outputs * inputs), c.get_mut(..outputs)) {
            (Some(x), Some(w), Some(c)) => gemv(x, w, c, &epilogue),
            _ => refuse("each slice of a product", [outputs, inputs], inputs, w.len()),
        };
    }
    gemm_nt_rows(x, w, [rows, outputs, inputs], c, epilogue, scratch);
}

/// Computes [`gemm_nt`] with `Wᵀ` packed in panels.
#[inline(never)]
fn gemm_nt_rows<T: Scalar>(
    x: Matrix<'_, T>,
    w: &[T],
    [rows, outputs, inputs]: [usize; 3],
    c: &mut [T],
    epilogue: Epilogue<'_, T>,
    scratch: &mut [T],
) {
    if !packs_panelwise::<T>(outputs, inputs) {
        let b = pack_transposed(w, outputs, inputs, scratch);
        return gemm(x, b, rows, c, outputs, epilogue);
    }
    require("the weights of a product", [outputs, inputs], inputs, w.len());
    let fill = |first: usize, to: &mut [T]| transpose_panel(w, first, outputs, inputs, to);
    gemm_panelwise(StridedA::by_row(x), [rows, outputs, inputs], c, epilogue, scratch, fill, OneSum);
}

/// Computes `c = d W`, which overwrites `c`. Panics if a slice is too short.
///
/// # Shapes
/// d: \[rows, outputs\]; w: \[outputs, inputs\]; c: \[rows, inputs\], contiguous; scratch: [`packed_b_len`] of inputs
/// and outputs.
#[inline]
pub(crate) fn gemm_nn<T: Scalar>(
    d: Matrix<'_, T>,
    w: &[T],
    [rows, outputs, inputs]: [usize; 3],
    c: &mut [T],
    scratch: &mut [T],
) {
    if rows == 1 && outputs <= KC && is_tiny::<T>(outputs, inputs) {
        return match (d.data.get(..outputs), w.get(..outputs * inputs), c.get_mut(..inputs)) {
            (Some(d), Some(w), Some(c)) => gemv_transposed(d, w, c),
            _ => refuse("each slice of a product", [outputs, inputs], inputs, w.len()),
        };
    }
    gemm_nn_rows(d, w, [rows, outputs, inputs], c, scratch);
}

/// Computes [`gemm_nn`] with packed panels of W, or with W itself if it is small.
#[inline(never)]
fn gemm_nn_rows<T: Scalar>(
    d: Matrix<'_, T>,
    w: &[T],
    [rows, outputs, inputs]: [usize; 3],
    c: &mut [T],
    scratch: &mut [T],
) {
    let matrix = Matrix::new(w, inputs);
    let in_place = PackedB::in_place(matrix, inputs, outputs);
    if in_place.is_some() || !packs_panelwise::<T>(inputs, outputs) {
        let b = in_place.unwrap_or_else(|| pack(w, outputs, inputs, scratch));
        return gemm(d, b, rows, c, inputs, Epilogue::Overwrite);
    }
    let fill = |first: usize, to: &mut [T]| pack_panel(matrix, first, (inputs - first).min(nr::<T>()), 0, to);
    gemm_panelwise(StridedA::by_row(d), [rows, inputs, outputs], c, Epilogue::Overwrite, scratch, fill, OneSum);
}

/// Computes the product `dᵀ x`, which `epilogue`, any but a bias, combines with `c`. It is a sum over rows, in the
/// order that [`sums`](super::sums) defines. Panics if a slice is too short.
///
/// # Shapes
/// d: \[rows, outputs\]; x: \[rows, inputs\]; c: \[outputs, inputs\], contiguous; scratch: [`gemm_tn_scratch_len`].
#[inline]
pub(crate) fn gemm_tn<'a, T: Scalar>(
    d: impl Into<TransposedA<'a, T>>,
    x: Matrix<'_, T>,
    [outputs, inputs, rows]: [usize; 3],
    c: &mut [T],
    epilogue: Epilogue<'_, T>,
    scratch: &mut [T],
) {
    let d = d.into();
    if rows == 1
        && let (Some(d), Some(x)) = (d.matrix.data.get(..outputs), x.data.get(..inputs))
    {
        return rank_one(d, x, c, &epilogue);
    }
    gemm_tn_rows(d, x, [outputs, inputs, rows], c, epilogue, scratch, OneSum);
}

/// Whether [`gemm_tn_of_shards`] can sum `shards` shards (consecutive rows with a sum of their own), with `rows` rows
/// in all, in one tile (a block of the result in registers). That function also accepts a single shard with more rows.
pub(crate) const fn fits_registers(shards: usize, rows: usize) -> bool {
    shards <= MOST_SHARDS && rows <= KC
}

/// Computes [`gemm_tn`] over the rows of consecutive shards: the first begins at row `first` of d and x, and shard s
/// ends before row `ends[s]`. The sums of several shards are added along their binary tree within each tile of c.
/// Panics unless the number of shards is a power of two, and several shards [fit](fits_registers). `scratch` has the
/// length that [`gemm_tn`] needs for all these rows.
pub(crate) fn gemm_tn_of_shards<T: Scalar>(
    [d, x]: [Matrix<'_, T>; 2],
    [outputs, inputs]: [usize; 2],
    (first, ends): (usize, &[usize]),
    c: &mut [T],
    epilogue: Epilogue<'_, T>,
    scratch: &mut [T],
) {
    let rows = ends.last().map_or(0, |end| end - first);
    let ([d, x], size) = ([d, x].map(|matrix| matrix.skip(first, 0)), [outputs, inputs, rows]);
    match ShardTree::new(first, ends, rows) {
        Some(tree) if rows <= KC => gemm_tn_rows(d.into(), x, size, c, epilogue, scratch, tree),
        Some(_) if ends.len() == 1 => gemm_tn(d, x, size, c, epilogue, scratch),
        _ => refuse("the rows of the shards of a product", [rows, outputs], KC, MOST_SHARDS),
    }
}

/// Computes [`gemm_tn`] with both factors packed, unless they fit a level-1 cache. `inner_sum` decides whether the rows
/// are one sum, or one sum for each shard.
#[inline(never)]
fn gemm_tn_rows<T: Scalar, S: InnerSum>(
    TransposedA { matrix: d, packed }: TransposedA<'_, T>,
    x: Matrix<'_, T>,
    [outputs, inputs, rows]: [usize; 3],
    c: &mut [T],
    epilogue: Epilogue<'_, T>,
    scratch: &mut [T],
    inner_sum: S,
) {
    for (what, matrix, columns) in
        [("the left factor of an outer product", d, outputs), ("the right factor of an outer product", x, inputs)]
    {
        if !matrix.holds([rows, columns]) {
            refuse(what, [rows, columns], matrix.stride, matrix.data.len());
        }
    }
    if outputs == 0 || inputs == 0 {
        return;
    }
    let width = nr::<T>();
    require("the result of an outer product", [outputs, inputs], inputs, c.len());
    if let Some(b) = PackedB::in_place(x, inputs, rows).filter(|_| rows <= KC && d.fits_l1(rows)) {
        return gemm_kc([outputs, rows], StridedA::by_column(d), b, 0, c, inputs, epilogue, inner_sum);
    }
    let buffer = BlockSum::<T>::buffer_len(outputs * inputs, rows.div_ceil(KC));
    let (scratch, buffer) = scratch.split_at_mut(scratch.len().saturating_sub(buffer));
    let mut sum = BlockSum::new(&mut c[..outputs * inputs], buffer);
    // A sum over no rows runs one iteration, and is zero.
    for first in (0..rows.max(1)).step_by(KC) {
        let epilogue = match epilogue {
            Epilogue::AddScaled(_) => epilogue,
            _ if first > 0 => Epilogue::Accumulate,
            _ => epilogue,
        };
        let inner = (rows - first).min(KC);
        let (a, panels) = match packed {
            Some(a) => (a, &mut *scratch),
            None => {
                let (strips, panels) = split_scratch(scratch, packed_a_len(outputs, inner));
                (pack_a(d, first, [outputs, inner], strips), panels)
            }
        };
        sum.add(|c| {
            if panel_count::<T>(inputs) < MIN_PANELS {
                let b = pack_rows(x, first, [inner, inputs], panels);
                return gemm_kc([outputs, inner], a, b, 0, c, inputs, epilogue, inner_sum);
            }
            let fill = |j: usize, to: &mut [T]| pack_panel(x, j, (inputs - j).min(width), first, to);
            gemm_panelwise(a, [outputs, inputs, inner], c, epilogue, panels, fill, inner_sum);
        });
    }
    sum.finish();
}

/// Computes the product of `a` with a factor B that is packed panel by panel: `fill(j, panel)` packs the columns from j
/// just before their use. `epilogue` combines the product with `c` \[rows, columns\]. `scratch` must hold at least one
/// panel, and the work has at most as many parts as it holds panels. Each thread computes some columns.
fn gemm_panelwise<T: Scalar, A: MatrixA<T>, S: InnerSum>(
    a: A,
    [rows, columns, inner]: [usize; 3],
    c: &mut [T],
    epilogue: Epilogue<'_, T>,
    scratch: &mut [T],
    fill: impl Fn(usize, &mut [T]) + Sync,
    inner_sum: S,
) {
    if rows == 0 || columns == 0 {
        return;
    }
    a.require(rows, inner);
    require("the result of a product", [rows, columns], columns, c.len());
    let (width, all) = (nr::<T>(), panel_count::<T>(columns));
    let len = width.saturating_mul(inner);
    require("the scratch of a product", [1, len], len, scratch.len());
    let nanoseconds = rows.saturating_mul(columns).saturating_mul(inner) / MULTIPLICATIONS_PER_NANOSECOND;
    // There are at most as many parts as panels in the scratch: its length may have been computed for fewer threads.
    let count = part_count(all, nanoseconds, PARTS_PER_THREAD).min(scratch.len() / len.max(1)).max(1);
    let (c, scratch) = (SharedSlice::new(c), SharedSlice::new(scratch));
    parallel_for(count, &|i| {
        // SAFETY: the panels, of `len` values, are disjoint, and `parallel_for` gives each i to one call.
        let panel = unsafe { scratch.slice_mut(i * len..(i + 1) * len) };
        for j in part_range(i, count, all, 1).map(|i| i * width) {
            fill(j, panel);
            let columns_of_panel = (columns - j).min(width);
            let b = PackedB { data: panel, panel_stride: len, row_stride: width, inner, columns: columns_of_panel };
            for first in (0..inner.max(1)).step_by(KC) {
                let epilogue = match epilogue {
                    _ if first > 0 => Epilogue::Accumulate,
                    Epilogue::Bias(bias) => Epilogue::Bias(&bias[j..]),
                    epilogue => epilogue,
                };
                let (size, a) = ([rows, (inner - first).min(KC)], a.skip(0, first));
                // SAFETY: rows and inner indices lie within `a`, and rows × columns within c, as required above. The
                // columns from j, at most `width`, belong to panel j / width, which `part_range` gives to one call.
                dispatch(unsafe { MacroKernel::new(size, a, b, first, c.at(j), columns, epilogue, inner_sum) });
            }
        }
    });
}

/// Computes a product over `inner` ≤ [`KC`] inner indices: the first ones of `a`, and those of `b` from `first` on.
/// `epilogue` combines it with the rows of `c`, which are `stride` values apart. Each thread computes some rows.
#[allow(clippy::too_many_arguments)]
fn gemm_kc<'a, T: Scalar, A: MatrixA<T>, S: InnerSum>(
    [rows, inner]: [usize; 2],
    a: A,
    b: PackedB<'a, T>,
    first: usize,
    c: &'a mut [T],
    stride: usize,
    epilogue: Epilogue<'a, T>,
    inner_sum: S,
) {
    if rows == 0 || b.columns == 0 {
        return;
    }
    a.require(rows, inner);
    require("the result of a product", [rows, b.columns], stride, c.len());
    let nanoseconds = rows.saturating_mul(b.columns).saturating_mul(inner) / MULTIPLICATIONS_PER_NANOSECOND;
    if is_short(nanoseconds) {
        // This path avoids the closure for threads, which costs a tiny network 40 instructions.
        //
        // SAFETY: `a` holds all rows and inner indices, and `c` all rows × columns, as required above.
        // `c` is borrowed.
        let (size, c) = ([rows, inner], c.as_mut_ptr());
        return dispatch(unsafe { MacroKernel::new(size, a, b, first, c, stride, epilogue, inner_sum) });
    }
    let c = SharedSlice::new(c);
    parallel_ranges(rows, MR, nanoseconds, |own| {
        // SAFETY: `parallel_ranges` gives each row to one call, and rows do not overlap: columns ≤ stride, as
        // required above.
        let c = unsafe { c.slice_mut(own.start * stride..(own.end - 1) * stride + b.columns) };
        let (size, a) = ([own.len(), inner], a.skip(own.start, 0));
        // SAFETY: `a` holds all rows and inner indices, as required above. Those of `own` × columns lie within this
        // `c`, which is not used elsewhere.
        dispatch(unsafe { MacroKernel::new(size, a, b, first, c.as_mut_ptr(), stride, epilogue, inner_sum) });
    });
}
