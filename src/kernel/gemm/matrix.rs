/// A row-major matrix whose rows begin `stride` values apart.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, T> {
    pub data: &'a [T],
    pub stride: usize,
}

/// Half the bytes of a level-1 cache of 32 KiB.
const L1_BYTES: usize = 16 * 1024;

impl<'a, T> Matrix<'a, T> {
    pub const fn new(data: &'a [T], stride: usize) -> Self {
        Matrix { data, stride }
    }

    /// Whether the first `rows` rows stay in a level-1 cache in any order of access, so that packing them gains
    /// nothing.
    pub(super) const fn fits_l1(&self, rows: usize) -> bool {
        rows.saturating_mul(self.stride).saturating_mul(size_of::<T>()) <= L1_BYTES
    }
}
