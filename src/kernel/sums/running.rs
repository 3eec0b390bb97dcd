use super::{FAN, ROWS};
use crate::{
    error::Error,
    scalar::{Scalar, is_narrow, scalar, to_f64},
    size::filled,
};
use alloc::vec::Vec;

/// The mean of each column over rows that are added one by one. After each row it has the same bits as a
/// [`MeanOverSteps`](crate::layer::MeanOverSteps) over all rows so far.
#[derive(Debug)]
pub(crate) struct RunningMeans<T> {
    rows: usize,
    /// Four sums of rows: of the current block of 32 rows, of the complete blocks of the current group of 32 blocks,
    /// of the complete groups among the current 32 groups, and of all rows before. Each row is in one of them.
    levels: [Vec<T>; 4],
    /// The sums of all rows in a format narrower than `f32`, where the sums in `levels` would overflow; otherwise
    /// empty.
    wide: Vec<f64>,
}

impl<T: Scalar> RunningMeans<T> {
    /// Creates the sums of `columns` columns, over no rows so far. [`Error::TooLarge`] if memory cannot hold them.
    pub(crate) fn new(columns: usize) -> Result<Self, Error> {
        let level = || filled("the sums of a stream", if is_narrow::<T>() { 0 } else { columns }, T::zero());
        let wide = filled("the sums of a stream", if is_narrow::<T>() { columns } else { 0 }, 0.0)?;
        Ok(RunningMeans { rows: 0, levels: [level()?, level()?, level()?, level()?], wide })
    }

    /// Adds a row of one value for each column.
    pub(crate) fn add(&mut self, row: &[T]) {
        self.rows += 1;
        if is_narrow::<T>() {
            self.wide.iter_mut().zip(row).for_each(|(sum, &x)| *sum += to_f64(x));
            return;
        }
        add(&mut self.levels[0], row);
        for (level, rows) in [ROWS, ROWS * FAN, ROWS * FAN * FAN].into_iter().enumerate() {
            if self.rows.is_multiple_of(rows) {
                let (full, next) = self.levels.split_at_mut(level + 1);
                add(&mut next[0], &full[level]);
                full[level].fill(T::zero());
            }
        }
    }

    /// Writes the mean of each column over all rows so far and `row`, which is not added, to `means`.
    pub(crate) fn means_with(&self, row: &[T], means: &mut [T]) {
        let rows = (self.rows + 1) as f64;
        if is_narrow::<T>() {
            let sums = self.wide.iter().zip(row).map(|(sum, &x)| sum + to_f64(x));
            means.iter_mut().zip(sums).for_each(|(mean, sum)| *mean = scalar(sum / rows));
            return;
        }
        // A block that the row completes would move to the next level, where the sum is the same.
        let ([block, group, groups, rest], rows) = (&self.levels, scalar::<T>(rows));
        for (i, (mean, &x)) in means.iter_mut().zip(row).enumerate() {
            *mean = (rest[i] + (groups[i] + (group[i] + (block[i] + x))) + T::zero()) / rows;
        }
    }

    /// Removes all rows: the next added row is the first.
    pub(crate) fn clear(&mut self) {
        self.rows = 0;
        self.levels.iter_mut().for_each(|level| level.fill(T::zero()));
        self.wide.fill(0.0);
    }
}

fn add<T: Scalar>(to: &mut [T], from: &[T]) {
    to.iter_mut().zip(from).for_each(|(to, &from)| *to += from);
}
