use super::{FAN, ROWS};
use crate::{error::Error, scalar::Scalar, size::filled};
use alloc::vec::Vec;

/// Column sums to which rows are added one by one. After each row they have the same bits as
/// [`add_sums`](super::add_sums) over all rows so far.
#[derive(Debug)]
pub(crate) struct RunningSums<T> {
    rows: usize,
    /// The sums of the current block of rows, of the current group of blocks, of the current group of groups, and of
    /// all complete groups of groups.
    levels: [Vec<T>; 4],
}

impl<T: Scalar> RunningSums<T> {
    /// Creates the sums of `columns` columns, over no rows so far. [`Error::TooLarge`] if memory cannot hold them.
    pub(crate) fn new(columns: usize) -> Result<Self, Error> {
        let level = || filled("the sums of a stream", columns, T::zero());
        Ok(RunningSums { rows: 0, levels: [level()?, level()?, level()?, level()?] })
    }

    /// Adds a row, and returns the number of rows so far.
    pub(crate) fn add(&mut self, row: &[T]) -> usize {
        self.rows += 1;
        add(&mut self.levels[0], row);
        for (level, rows) in [ROWS, ROWS * FAN, ROWS * FAN * FAN].into_iter().enumerate() {
            if self.rows.is_multiple_of(rows) {
                let (full, next) = self.levels.split_at_mut(level + 1);
                add(&mut next[0], &full[level]);
                full[level].fill(T::zero());
            }
        }
        self.rows
    }

    /// Writes the sum of each column over all rows so far to `sums`.
    pub(crate) fn total(&self, sums: &mut [T]) {
        let [block, group, groups, rest] = &self.levels;
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = rest[i] + (groups[i] + (group[i] + block[i])) + T::zero();
        }
    }

    /// Starts again from no rows.
    pub(crate) fn clear(&mut self) {
        self.rows = 0;
        self.levels.iter_mut().for_each(|level| level.fill(T::zero()));
    }
}

fn add<T: Scalar>(to: &mut [T], from: &[T]) {
    to.iter_mut().zip(from).for_each(|(to, &from)| *to += from);
}
