use crate::kernel::fits;

/// A row-major matrix whose rows begin `stride` values apart, or groups of such rows.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, T> {
    pub data: &'a [T],
    pub stride: usize,
    /// The number of rows of a group; `usize::MAX` for a matrix without groups.
    group: usize,
    /// The distance, in values, between the starts of two consecutive groups of rows.
    group_stride: usize,
}

/// The largest size in bytes of a matrix that a level-1 cache holds beside other data: half of 32 KiB.
const L1_BYTES: usize = 16 * 1024;

impl<'a, T> Matrix<'a, T> {
    pub const fn new(data: &'a [T], stride: usize) -> Self {
        Matrix { data, stride, group: usize::MAX, group_stride: 0 }
    }

    /// A matrix of groups of `group` rows. Rows begin `stride` values apart within a group, and groups `group_stride`
    /// values apart. In a time-major batch, the rows of a range of samples are such a matrix, with a group for each
    /// time step.
    pub const fn grouped(data: &'a [T], stride: usize, group: usize, group_stride: usize) -> Self {
        Matrix { data, stride, group, group_stride }
    }

    /// The position of the first value of row `r` in `data`.
    #[inline(always)]
    pub const fn start_of(&self, r: usize) -> usize {
        match r < self.group {
            true => r * self.stride,
            false => r / self.group * self.group_stride + r % self.group * self.stride,
        }
    }

    /// The matrix without its first `rows` rows and its first `columns` columns. Of a matrix of groups, only whole
    /// groups can be skipped. Panics if the data are shorter than these rows and columns.
    pub fn skip(self, rows: usize, columns: usize) -> Self {
        let (groups, rest) = if self.group == usize::MAX { (0, rows) } else { (rows / self.group, rows % self.group) };
        let first = groups.saturating_mul(self.group_stride).saturating_add(rest.saturating_mul(self.stride));
        Matrix { data: &self.data[first.saturating_add(columns)..], ..self }
    }

    /// The matrix without its first `columns` columns, or without values if its data are shorter.
    pub fn skip_columns(self, columns: usize) -> Self {
        Matrix { data: &self.data[columns.min(self.data.len())..], ..self }
    }

    /// Whether the matrix has data for rows × columns values. Then `start_of(row) + column` is below the length of
    /// the data for every row and column.
    #[inline(always)]
    pub const fn holds(&self, [rows, columns]: [usize; 2]) -> bool {
        if rows <= self.group {
            return fits([rows, columns], self.stride, self.data.len());
        }
        if self.group == 0 {
            return false;
        }
        match ((rows - 1) / self.group).checked_mul(self.group_stride) {
            Some(last) if last <= self.data.len() => fits([self.group, columns], self.stride, self.data.len() - last),
            _ => false,
        }
    }

    /// Whether the first `rows` rows are evenly spaced and stay in a level-1 cache in any order of access, so that
    /// packing them gains nothing.
    pub(super) const fn fits_l1(&self, rows: usize) -> bool {
        rows <= self.group && rows.saturating_mul(self.stride).saturating_mul(size_of::<T>()) <= L1_BYTES
    }
}
