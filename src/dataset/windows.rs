//! Windows of a time series: ranges of consecutive rows, each of which becomes a sample.

use super::{Dataset, first_non_finite, targets::Targets};
use crate::{
    error::{DataRule, Error, require, require_multiple},
    scalar::{Scalar, to_f64},
    size::{product, reserve},
};
use alloc::{borrow::Cow, vec::Vec};
use core::ops::Range;

/// Returns the error about the value `found`, which is NaN or infinite, in row `row` and column `column` of a series.
fn not_finite<T: Scalar>(row: usize, column: usize, found: T) -> Error {
    DataRule::RowValue { row, column, found: to_f64(found) }.into()
}

/// The division of a time series into windows, which become the samples of a data set. Sample i has the rows `i ·
/// stride .. i · stride + steps` of the series. Its target is the row that is `ahead` rows after the last row of the
/// sample.
///
/// ```
/// use chainrule::{dataset::Windows, loss::Target};
/// let series = [0.0, 1.0, 2.0, 3.0, 4.0];
/// let data = Windows::new(3).of(1, &series)?; // the next value from three
/// assert_eq!(data.inputs(), [0.0, 1.0, 2.0, 1.0, 2.0, 3.0]);
/// assert_eq!(data.targets(), Some(Target::Values(&[3.0, 4.0])));
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    steps: usize,
    stride: usize,
    ahead: usize,
    every_step: bool,
    columns: Option<Range<usize>>,
}

impl Windows {
    /// Creates windows of `steps` rows, one window starting at each row of the series. The target of a window is the
    /// next row after it, with all columns.
    pub fn new(steps: usize) -> Self {
        Windows { steps, stride: 1, ahead: 1, every_step: false, columns: None }
    }

    /// Sets the number of rows from the start of one window to the start of the next. The default is 1.
    #[must_use]
    pub fn stride(self, stride: usize) -> Self {
        Windows { stride, ..self }
    }

    /// Sets the distance, in rows of the series, from a row to its target; with 0 the target is the row itself.
    /// The default is 1.
    #[must_use]
    pub fn ahead(self, ahead: usize) -> Self {
        Windows { ahead, ..self }
    }

    /// Gives each row of a window its own target, the row that is [`ahead`](Self::ahead) rows after it, instead of
    /// one target for the last row.
    #[must_use]
    pub fn every_step(self) -> Self {
        Windows { every_step: true, ..self }
    }

    /// Sets which columns of the target row are the target. The default is all columns.
    #[must_use]
    pub fn target_columns(self, columns: Range<usize>) -> Self {
        Windows { columns: Some(columns), ..self }
    }

    /// Creates the data set of the windows of `series`, whose rows have `width` values each.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a `width`, `steps` or stride of 0, or target columns that are empty or beyond the
    /// row. [`Error::Empty`] for an empty series; [`DataRule::NotMultiple`] if its number of values is not a multiple
    /// of `width`; [`DataRule::SeriesTooShort`] if it is shorter than one window with its target.
    /// [`DataRule::RowValue`], with the row of the series, for a value in a window or target that is NaN or infinite.
    /// The errors of [`Dataset::sequences`].
    pub fn of<T: Scalar>(&self, width: usize, series: &[T]) -> Result<Dataset<'static, T>, Error> {
        require(width > 0, "the width of a series", "at least 1", 0.0)?;
        require(self.steps > 0, "the steps of a window", "at least 1", 0.0)?;
        require(self.stride > 0, "the stride of windows", "at least 1", 0.0)?;
        require_multiple("the series", series.len(), "width", width)?;
        let columns = self.columns.clone().unwrap_or(0..width);
        let within = columns.start < columns.end && columns.end <= width;
        require(
            within,
            "the end of the target columns",
            "above their start, and at most the width",
            columns.end as f64,
        )?;
        let (rows, needed) = (series.len() / width, self.steps.saturating_add(self.ahead));
        if rows < needed {
            return Err(DataRule::SeriesTooShort { rows, needed }.into());
        }
        let windows = (rows - needed) / self.stride + 1;
        let first_target = if self.every_step { 0 } else { self.steps - 1 };
        let targets_each = self.steps - first_target;
        let values = product("the windows (windows × steps × width)", &[windows, self.steps, width])?;
        let wanted = product("the targets of windows", &[windows, targets_each, columns.len()])?;
        let (mut inputs, mut targets): (Vec<T>, Vec<T>) =
            (reserve("the windows", values)?, reserve("the targets of windows", wanted)?);
        for window in 0..windows {
            let start = window * self.stride;
            inputs.extend_from_slice(&series[start * width..][..self.steps * width]);
            for step in first_target..self.steps {
                let row = &series[(start + step + self.ahead) * width..][..width];
                targets.extend_from_slice(&row[columns.clone()]);
            }
        }
        if let Some(at) = first_non_finite(&inputs) {
            let (window, step) = (at / (self.steps * width), at / width % self.steps);
            return Err(not_finite(window * self.stride + step, at % width, inputs[at]));
        }
        if let Some(at) = first_non_finite(&targets) {
            let (of_step, column) = (at / columns.len(), columns.start + at % columns.len());
            let (window, step) = (of_step / targets_each, first_target + of_step % targets_each);
            return Err(not_finite(window * self.stride + step + self.ahead, column, targets[at]));
        }
        let targets = Targets::Values(Cow::Owned(targets));
        Dataset::equal(width, self.steps, Cow::Owned(inputs), targets, Some(!self.every_step))
    }
}
