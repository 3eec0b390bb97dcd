//! Standardization of the inputs: mean 0 and variance 1.

use super::{Cause, Change, Effort, Fix, FixContext, FixStrategy};
use crate::{
    error::{Error, require, require_length},
    scalar::{Scalar, scalar, to_f64},
};
use alloc::{string::String, vec, vec::Vec};

/// Standardization of each column of the data: x ← (x − mean)/standard deviation. A constant column becomes 0.
///
/// Source: LeCun et al. 1998, "Efficient BackProp", section 4.3.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Standardise {
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    columns: Vec<[f64; 2]>,
}

/// Requires that `found` values are whole rows of `width`.
fn require_rows(width: usize, found: usize) -> Result<(), Error> {
    require_length("rows", found.div_ceil(width.max(1)) * width, found)
}

impl Standardise {
    /// The standardization by the means and standard deviations of the columns of `rows`, which have `width` values
    /// each.
    ///
    /// # Errors
    /// [`Error::Parameter`] if `width` is 0. [`Error::Length`] if `rows` is empty or not a whole number of rows.
    /// [`Error::NonFinite`] if a value is NaN or infinite.
    pub fn of<T: Scalar>(width: usize, rows: &[T]) -> Result<Self, Error> {
        require(width > 0, "the width of rows", "at least 1", 0.0)?;
        if rows.is_empty() {
            require_length("rows", width, 0)?;
        }
        require_rows(width, rows.len())?;
        if let Some(index) = rows.iter().position(|x| !x.is_finite()) {
            return Err(Error::NonFinite { what: "rows", index, found: to_f64(rows[index]) });
        }
        let count = (rows.len() / width) as f64;
        let mut columns = vec![[0.0; 2]; width];
        for row in rows.chunks(width) {
            columns.iter_mut().zip(row).for_each(|([mean, _], &x)| *mean += to_f64(x) / count);
        }
        for row in rows.chunks(width) {
            columns
                .iter_mut()
                .zip(row)
                .for_each(|([mean, square], &x)| *square += (to_f64(x) - *mean) * (to_f64(x) - *mean) / count);
        }
        columns.iter_mut().for_each(|[_, square]| *square = libm::sqrt(*square));
        Ok(Standardise { columns })
    }

    /// Whether every column that changes is near mean 0 and variance 1: it leaves nothing to bring there.
    pub(in crate::diagnosis) fn is_unit(&self) -> bool {
        let near = |&[mean, deviation]: &[f64; 2]| mean.abs() <= 1.0 && (0.5..2.0).contains(&deviation);
        self.columns.iter().filter(|[_, deviation]| *deviation > 0.0).all(near)
    }

    /// Standardizes `rows` in place, by the means and standard deviations of the data given to [`of`](Self::of).
    ///
    /// # Errors
    /// [`Error::Length`] if `rows` is not a whole number of rows of the same width.
    pub fn apply<T: Scalar>(&self, rows: &mut [T]) -> Result<(), Error> {
        require_rows(self.columns.len(), rows.len())?;
        for row in rows.chunks_mut(self.columns.len().max(1)) {
            for (x, &[mean, deviation]) in row.iter_mut().zip(&self.columns) {
                let apart = to_f64(*x) - mean;
                *x = scalar(if deviation > 1e-12 * mean.abs() { apart / deviation } else { 0.0 });
            }
        }
        Ok(())
    }
}

impl Standardise {
    /// Brings rows back from mean 0 and variance 1 to the scale of the data, in place: the reverse of
    /// [`apply`](Self::apply), but for columns that never change, which become their mean.
    ///
    /// # Errors
    /// Those of [`apply`](Self::apply).
    pub fn undo<T: Scalar>(&self, rows: &mut [T]) -> Result<(), Error> {
        require_rows(self.columns.len(), rows.len())?;
        for row in rows.chunks_mut(self.columns.len().max(1)) {
            for (x, &[mean, deviation]) in row.iter_mut().zip(&self.columns) {
                let changes = deviation > 1e-12 * mean.abs();
                *x = scalar(mean + if changes { deviation * to_f64(*x) } else { 0.0 });
            }
        }
        Ok(())
    }
}

impl FixStrategy for Standardise {
    fn name(&self) -> &'static str {
        "standardised inputs"
    }

    fn applies_to(&self, cause: Cause) -> bool {
        matches!(cause, Cause::UnscaledInput | Cause::Overflow)
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        let Some(columns) = context.columns.clone() else { return Ok(None) };
        let why = String::from("inputs of mean 0 and variance 1 in every column");
        let fix = context.fix(self.name(), Effort::Training, Change::Standardise(columns), why);
        let removes = context.finding.cause == Cause::UnscaledInput;
        Ok(Some(if removes { fix.preferred() } else { fix }))
    }
}
