//! The statistics of a network's inputs.

use super::sample::Spread;
use crate::{
    dataset::refuse_non_finite,
    error::{Error, require, require_length},
    scalar::{Scalar, to_f64},
};
use alloc::{vec, vec::Vec};

/// Mean and mean square of a network's inputs, and the number of time steps of an input sequence.
///
/// ```
/// use chainrule::theory::InputStatistics;
/// let rows = [1.0f32, -1.0, 3.0, 1.0];
/// assert_eq!(InputStatistics::of_rows(&rows)?.second_moment(), 3.0);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InputStatistics {
    pub(super) spread: Spread,
    pub(super) steps: usize,
    /// The mean squares of 32 rows, evenly spaced among all rows in increasing order of their mean squares; `None`
    /// unless the statistics were created from single rows.
    pub(super) rows: Option<[f64; POINTS]>,
    /// The mean product of a column's values in two different rows; `None` unless the statistics were created from at
    /// least two rows.
    pub(super) common: Option<f64>,
}

/// The number of rows whose mean squares represent those of all rows of the inputs.
pub(super) const POINTS: usize = 32;

impl InputStatistics {
    /// Creates statistics of inputs without a time axis (one time step), with mean 0 and mean square `second_moment`,
    /// which is 1 for standardized data.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless `second_moment` is finite and at least 0.
    pub fn new(second_moment: f64) -> Result<Self, Error> {
        let valid = second_moment.is_finite() && second_moment >= 0.0;
        require(valid, "the mean square of inputs", "finite and at least 0", second_moment)?;
        Ok(InputStatistics { spread: Spread { mean: 0.0, square: second_moment }, steps: 1, rows: None, common: None })
    }

    /// Creates statistics with the mean and mean square of `values`: the rows of a batch, or of all data.
    ///
    /// # Errors
    /// [`Error::Empty`] without values. [`Error::NonFinite`] if a value is NaN or infinite. [`Error::Parameter`] if the
    /// mean square overflows `f64`.
    pub fn of_rows<T: Scalar>(values: &[T]) -> Result<Self, Error> {
        if values.is_empty() {
            return Err(Error::Empty { what: "the inputs of a prediction" });
        }
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            return Err(Error::NonFinite { what: "the inputs of a prediction", index, found: to_f64(values[index]) });
        }
        let spread = Spread::of(values);
        Ok(InputStatistics { spread, ..Self::new(spread.square)? })
    }

    /// Creates statistics with the mean and mean square of the rows `values`, the mean square of each row, and the
    /// means of columns.
    ///
    /// If one column has a large range, the norms of rows differ by powers of ten, and so do their gradients. Batch
    /// normalization subtracts the column means.
    ///
    /// # Shapes
    /// values: \[rows, width\]
    ///
    /// # Errors
    /// [`Error::Empty`] without values. [`DataRule::RowValue`](crate::DataRule::RowValue) if a value is NaN or
    /// infinite. [`Error::Parameter`] if `width` is 0, or the mean square overflows `f64`. [`Error::Length`] unless
    /// `values` fill whole rows of `width` values.
    pub fn of_samples<T: Scalar>(width: usize, values: &[T]) -> Result<Self, Error> {
        require(width > 0, "the width of rows", "at least 1", 0.0)?;
        refuse_non_finite(width, values)?;
        let all = Self::of_rows(values)?;
        let count = values.len() / width;
        require_length("the inputs of a prediction", count.max(1) * width, values.len())?;
        let mut squares: Vec<f64> = values.chunks(width).map(|row| Spread::of(row).square).collect();
        squares.sort_unstable_by(f64::total_cmp);
        // The middle rows of `POINTS` equal parts of the sorted rows.
        let rows = core::array::from_fn(|point| squares[(2 * point + 1) * count / (2 * POINTS)]);
        let mut means = vec![0.0; width];
        for row in values.chunks(width) {
            means.iter_mut().zip(row).for_each(|(mean, &x)| *mean += to_f64(x) / count as f64);
        }
        // The mean is over pairs of different rows, so the squares of each row with itself are subtracted.
        let others = count as f64 - 1.0;
        let product = (count as f64 * Spread::of(&means).square - all.spread.square) / others;
        Ok(InputStatistics { rows: Some(rows), common: Some(product).filter(|_| count > 1), ..all })
    }

    /// Sets the number of time steps of the input sequences. The default is 1.
    ///
    /// # Errors
    /// [`Error::Parameter`] if `steps` is 0.
    pub fn steps(self, steps: usize) -> Result<Self, Error> {
        require(steps > 0, "the steps of inputs", "at least 1", steps as f64)?;
        Ok(InputStatistics { steps, ..self })
    }

    pub(super) fn spread(&self) -> Spread {
        self.spread
    }

    /// Returns the fraction of the mean square that is due to column means: the mean product of a column's values in
    /// two different rows, divided by the mean square. Without [rows](Self::of_samples), or with one row, the squared
    /// mean of all values replaces that product. NaN if all values are 0.
    pub(crate) fn share_of_means(&self) -> f64 {
        self.common.unwrap_or(self.spread.mean * self.spread.mean) / self.spread.square
    }

    /// Returns the number of time steps of an input sequence.
    pub fn sequence_steps(&self) -> usize {
        self.steps
    }

    /// Returns the mean square that seven eighths of the rows do not exceed; `None` unless the statistics are those
    /// of [rows](Self::of_samples).
    pub(crate) fn most_rows(&self) -> Option<f64> {
        self.rows.map(|rows| rows[POINTS - POINTS / 8 - 1])
    }

    /// Returns the mean square of the inputs' values.
    pub fn second_moment(&self) -> f64 {
        self.spread.square
    }
}
