//! The right factor B of a product, packed in panels of columns.

use super::{Matrix, split_scratch, transpose::transpose};
use crate::{
    kernel::{
        parallel::{SharedSlice, parallel_ranges},
        prefetch, require,
        simd::lanes,
    },
    scalar::Scalar,
};

/// The number of registers of columns in a row of a tile, a block of the result whose sums stay in registers.
pub(super) const NR_REGISTERS: usize = 2;

/// Returns the number of columns of a panel. It equals that of a tile, so that a tile reads contiguous cache lines.
/// With wider panels each tile would skip lines, and a product would be a sixth slower.
pub(super) fn nr<T: Scalar>() -> usize {
    NR_REGISTERS * lanes::<T>()
}

/// The length, in values, of a packed B \[inner, columns\]: its panels one after the other, the last one padded to its
/// full width. The length saturates at `usize::MAX`, which is longer than any slice.
pub(crate) fn packed_b_len<T: Scalar>(columns: usize, inner: usize) -> usize {
    padded_columns::<T>(columns).saturating_mul(inner)
}

/// `columns`, rounded up to whole panels.
fn padded_columns<T: Scalar>(columns: usize) -> usize {
    let width = nr::<T>();
    columns.saturating_add(width - 1) & !(width - 1)
}

/// The number of panels of a right factor with `columns` columns. It is computed by a shift, as a panel is a power of
/// two wide: a division would take longer than the product of a tiny network.
pub(super) fn panel_count<T: Scalar>(columns: usize) -> usize {
    padded_columns::<T>(columns) >> nr::<T>().trailing_zeros()
}

/// The right factor of a product, read in panels of [`nr`] columns: row p of panel i begins at index
/// `i · panel_stride + p · row_stride` of `data`.
#[derive(Clone, Copy)]
pub(crate) struct PackedB<'a, T> {
    pub(super) data: &'a [T],
    pub(super) panel_stride: usize,
    pub(super) row_stride: usize,
    pub(super) inner: usize,
    pub(super) columns: usize,
}

impl<'a, T: Scalar> PackedB<'a, T> {
    /// The right factor \[inner, columns\] that [`pack`] or [`pack_transposed`] has written to `data`. Panics if `data`
    /// has fewer values than [`packed_b_len`].
    pub fn packed(data: &'a [T], columns: usize, inner: usize) -> Self {
        let (width, len) = (nr::<T>(), packed_b_len::<T>(columns, inner));
        require("a packed factor", [1, len], len, data.len());
        PackedB { data: &data[..len], panel_stride: width.saturating_mul(inner), row_stride: width, inner, columns }
    }

    /// Returns `matrix` \[inner, columns\], not packed, as the right factor of a product. `None` unless it fits a
    /// level-1 cache and its columns fill registers, so that packing it gains nothing. Panics if its data are too
    /// short.
    pub(super) fn in_place(matrix: Matrix<'a, T>, columns: usize, inner: usize) -> Option<Self> {
        require("the right factor of a product", [inner, columns], matrix.stride, matrix.data.len());
        let b = PackedB { data: matrix.data, panel_stride: nr::<T>(), row_stride: matrix.stride, inner, columns };
        (matrix.fits_l1(inner) && columns.is_multiple_of(lanes::<T>())).then_some(b)
    }
}

/// Packs `Wᵀ` into `packed`, as the right factor of `x Wᵀ`. Panics if `packed` has fewer values than
/// [`packed_b_len`] of outputs and inputs.
///
/// # Shapes
/// w: \[outputs, inputs\].
pub(crate) fn pack_transposed<'a, T: Scalar>(
    w: &[T],
    outputs: usize,
    inputs: usize,
    packed: &'a mut [T],
) -> PackedB<'a, T> {
    let (width, len) = (nr::<T>(), packed_b_len::<T>(outputs, inputs));
    require("the weights of a product", [outputs, inputs], inputs, w.len());
    let (to, _) = split_scratch(packed, len);
    if len > 0 {
        let to = SharedSlice::new(to);
        parallel_ranges(panel_count::<T>(outputs), 1, len / 4, |own| {
            for i in own {
                // SAFETY: `parallel_ranges` gives each panel to one call. The panels, of `width · inputs` values, are
                // disjoint.
                let panel = unsafe { to.slice_mut(i * width * inputs..(i + 1) * width * inputs) };
                transpose_panel(w, i * width, outputs, inputs, panel);
            }
        });
    }
    PackedB::packed(packed, outputs, inputs)
}

/// Fills the panel `to` with columns of `Wᵀ`. They are rows of W \[outputs, inputs\], from row `first` on: as many as
/// the panel is wide, or fewer if W ends before. In each row of the panel, the rest of the last register is 0;
/// registers after it are arbitrary.
pub(super) fn transpose_panel<T: Scalar>(w: &[T], first: usize, outputs: usize, inputs: usize, to: &mut [T]) {
    let width = nr::<T>();
    let rows = (outputs - first).min(width);
    // A product reads whole registers.
    if rows & (lanes::<T>() - 1) != 0 {
        to.fill(T::zero());
    }
    transpose(Matrix::new(&w[first * inputs..], inputs), [rows, inputs], to, width);
}

/// Packs `W` into `packed`, as the right factor of `d W`. Panics if `packed` has fewer values than [`packed_b_len`] of
/// inputs and outputs.
///
/// # Shapes
/// w: \[outputs, inputs\].
pub(crate) fn pack<'a, T: Scalar>(w: &[T], outputs: usize, inputs: usize, packed: &'a mut [T]) -> PackedB<'a, T> {
    require("the weights of a product", [outputs, inputs], inputs, w.len());
    pack_rows(Matrix::new(w, inputs), 0, [outputs, inputs], packed)
}

/// Packs a submatrix \[inner, columns\] of the matrix `from` into panels in `packed`. The submatrix begins at row
/// `first` and column 0. Panics if `packed` has fewer values than [`packed_b_len`].
pub(super) fn pack_rows<'a, T: Scalar>(
    from: Matrix<'_, T>,
    first: usize,
    [inner, columns]: [usize; 2],
    packed: &'a mut [T],
) -> PackedB<'a, T> {
    let (width, len) = (nr::<T>(), packed_b_len::<T>(columns, inner));
    let (to, _) = split_scratch(packed, len);
    if len > 0 {
        let to = SharedSlice::new(to);
        parallel_ranges(panel_count::<T>(columns), 1, inner * columns / 4, |own| {
            for i in own {
                // SAFETY: `parallel_ranges` gives each panel to one call. The panels, of `width · inner` values, are
                // disjoint.
                let panel = unsafe { to.slice_mut(i * width * inner..(i + 1) * width * inner) };
                pack_panel(from, i * width, (columns - i * width).min(width), first, panel);
            }
        });
    }
    PackedB::packed(packed, columns, inner)
}

/// Fills the panel `to` with a submatrix of the matrix `from` that has `columns` columns and begins at row `first`
/// and column `j`. The rest of each row of the panel is 0.
pub(super) fn pack_panel<T: Scalar>(from: Matrix<'_, T>, j: usize, columns: usize, first: usize, to: &mut [T]) {
    let width = nr::<T>();
    for (p, to) in to.chunks_exact_mut(width).enumerate() {
        let start = from.start_of(first + p) + j;
        if columns == width {
            // Arrays are copied through registers; the width of a panel is a multiple of 8.
            let from = &from.data[start..start + width];
            // The values of the next panel.
            prefetch::prefetch_lines(from.as_ptr().wrapping_add(width), width);
            for (to, from) in to.as_chunks_mut::<8>().0.iter_mut().zip(from.as_chunks::<8>().0) {
                *to = *from;
            }
        } else {
            to[..columns].copy_from_slice(&from.data[start..start + columns]);
            to[columns..].fill(T::zero());
        }
    }
}
