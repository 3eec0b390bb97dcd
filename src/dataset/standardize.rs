//! Standardization: shifts and scales columns to mean 0 and variance 1, and inverts the scaling.

use super::{Dataset, refuse_non_finite};
use crate::{
    error::{DataRule, Error, require, require_length, require_multiple},
    loss::{Sum, Target},
    scalar::{Scalar, scalar, to_f64},
};
use alloc::{borrow::Cow, vec, vec::Vec};

/// Whether a column with this mean and standard deviation varies, that is, is not constant. A standard deviation of
/// at most 1e-12 |mean| counts as rounding error of a constant column.
pub(crate) fn varies(mean: f64, deviation: f64) -> bool {
    deviation > 1e-12 * mean.abs()
}

/// Standardization of data, with a mean and a standard deviation for each column: x ← (x − mean) / standard
/// deviation. A constant column becomes 0. Source: LeCun et al. 1998, "Efficient BackProp", section 4.3.
///
/// Fit the standardization on the training data alone, and apply it to all data:
///
/// ```
/// use chainrule::dataset::{Dataset, Standardize};
/// let x = [10.0, 1.0, 30.0, 1.0]; // 2 rows of 2 values
/// let train = Dataset::rows(2, &x, None)?;
/// let scale = Standardize::fit(&train)?;
/// let scaled = scale.inputs(&train)?;
/// assert_eq!(scaled.inputs(), [-1.0, 0.0, 1.0, 0.0]);
/// let mut back = scaled.inputs().to_vec();
/// scale.invert(&mut back)?;
/// assert_eq!(back, x);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(try_from = "Saved"))]
pub struct Standardize {
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    columns: Vec<[f64; 2]>,
}

/// A standardization as read from a file, with numbers that are not checked yet.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
struct Saved {
    #[serde(with = "crate::number")]
    columns: Vec<[f64; 2]>,
}

#[cfg(feature = "serde")]
impl TryFrom<Saved> for Standardize {
    type Error = Error;
    fn try_from(saved: Saved) -> Result<Self, Error> {
        Self::from_columns(saved.columns)
    }
}

impl Standardize {
    /// Computes the means and standard deviations of the input columns of `data`, over all samples and time steps,
    /// and returns the standardization with them. The variance divides by the number n of rows, not by n − 1.
    ///
    /// # Errors
    /// [`Error::NonFinite`] for a mean or deviation that `f64` cannot hold.
    pub fn fit<T: Scalar>(data: &Dataset<'_, T>) -> Result<Self, Error> {
        Self::of(data.width(), data.inputs())
    }

    /// Computes the means and standard deviations of the target columns of `data`, over all target rows, each of
    /// `width` values, and returns the standardization with them. Each row is weighted by its row weight, and rows of
    /// weight 0 are not read.
    ///
    /// # Errors
    /// [`Error::TargetKind`] unless the targets are values; [`Error::Length`] unless `width` is the number of target
    /// values of a sample, or of a time step if each has a target. [`Error::Length`] also for row weights per time
    /// step with targets per sample, and the reverse. [`Error::Parameter`] if all row weights are 0; the errors of
    /// [`of`](Self::of).
    pub fn fit_targets<T: Scalar>(width: usize, data: &Dataset<'_, T>) -> Result<Self, Error> {
        let values = values_of(data)?;
        require(width > 0, "the width of rows", "at least 1", 0.0)?;
        check_target_width(width, data, values.len())?;
        let weights = data.row_weights.as_deref();
        // Training refuses others, too.
        if let Some(weights) = weights {
            require_length("row weights", values.len() / width, weights.len())?;
        }
        Self::weighted(width, values, |row| weights.map_or(1.0, |weights| to_f64(weights[row])))
    }

    /// Computes the mean and the standard deviation of each column of `rows`, where each row has `width` values, and
    /// returns the standardization with them. The variance divides by the number n of rows, not by n − 1.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a `width` of 0; [`Error::Empty`] without rows; [`DataRule::NotMultiple`] if the
    /// number of values is not a multiple of `width`. [`DataRule::RowValue`] for a value that is NaN or infinite;
    /// [`Error::NonFinite`] for a mean or deviation that `f64` cannot hold.
    pub fn of<T: Scalar>(width: usize, rows: &[T]) -> Result<Self, Error> {
        require(width > 0, "the width of rows", "at least 1", 0.0)?;
        require_multiple("the rows", rows.len(), "width", width)?;
        refuse_non_finite(width, rows)?;
        Self::weighted(width, rows, |_| 1.0)
    }

    /// Creates a standardization with the weighted mean and standard deviation of each column of `rows`, where each
    /// row has `width` values. The row with index i has the weight `weight(i)`; rows of weight 0 are not read. The
    /// variance divides by the sum of the weights, which must be above 0.
    fn weighted<T: Scalar>(width: usize, rows: &[T], weight: impl Fn(usize) -> f64) -> Result<Self, Error> {
        let counted = || {
            let rows = rows.chunks(width).enumerate();
            rows.map(|(i, row)| (weight(i), row)).filter(|&(weight, _)| weight > 0.0)
        };
        let mut total = Sum::new();
        counted().for_each(|(weight, _)| total.add(weight));
        let total = total.total();
        require(total > 0.0, "the sum of the row weights", "above 0", total)?;
        // Columns with values above a quarter of the largest `f64` are divided by 4, so that no difference overflows.
        let mut units = vec![1.0f64; width];
        for (_, row) in counted() {
            let columns = units.iter_mut().zip(row).filter(|(_, x)| to_f64(**x).abs() > f64::MAX / 4.0);
            columns.for_each(|(unit, _)| *unit = 0.25);
        }
        let value = |(&x, unit): (&T, &f64)| to_f64(x) * unit;
        // Values are computed as distances to the first value, divided by the largest distance: neither cancels nor
        // underflows.
        let first: Vec<f64> =
            counted().next().map_or_else(Vec::new, |(_, row)| row.iter().zip(&units).map(value).collect());
        let mut scales = vec![0.0f64; width];
        for (_, row) in counted() {
            let columns = scales.iter_mut().zip(&first).zip(row.iter().zip(&units));
            columns.for_each(|((scale, first), x)| *scale = scale.max((value(x) - first).abs()));
        }
        let apart = |x: T, column: usize| match scales[column] {
            0.0 => 0.0,
            scale => (value((&x, &units[column])) - first[column]) / scale,
        };
        let (mut means, mut squares) = (vec![Sum::new(); width], vec![Sum::new(); width]);
        for (weight, row) in counted() {
            let columns = means.iter_mut().zip(row).enumerate();
            columns.for_each(|(column, (mean, &x))| mean.add(weight / total * apart(x, column)));
        }
        let means: Vec<f64> = means.into_iter().map(Sum::total).collect();
        for (weight, row) in counted() {
            for (column, (square, &x)) in squares.iter_mut().zip(row).enumerate() {
                let distance = apart(x, column) - means[column];
                square.add(weight / total * distance * distance);
            }
        }
        let of = |column: usize| {
            let (scale, unit) = (scales[column], units[column]);
            let deviation = libm::sqrt(squares[column].total());
            [(first[column] + scale * means[column]) / unit, scale * deviation / unit]
        };
        Self::from_columns((0..width).map(of).collect())
    }

    /// Creates the standardization from \[mean, standard deviation\] of each column.
    ///
    /// # Errors
    /// [`Error::Empty`] without columns; [`Error::NonFinite`] for a number that is NaN or infinite;
    /// [`Error::Parameter`] for a negative deviation.
    pub fn from_columns(columns: Vec<[f64; 2]>) -> Result<Self, Error> {
        if columns.is_empty() {
            return Err(Error::Empty { what: "a scale of columns" });
        }
        for (index, &[mean, deviation]) in columns.iter().enumerate() {
            if let Some(&found) = [mean, deviation].iter().find(|x| !x.is_finite()) {
                return Err(Error::NonFinite { what: "the means and deviations of columns", index, found });
            }
            require(deviation >= 0.0, "the standard deviation of a column", "at least 0", deviation)?;
        }
        Ok(Standardize { columns })
    }

    /// Returns \[mean, standard deviation\] of each column.
    pub fn columns(&self) -> &[[f64; 2]] {
        &self.columns
    }

    /// Returns the number of columns that the standardization scales.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// Whether the columns are already almost standardized: each column is constant, or has a mean from −1 to 1 and a
    /// standard deviation of at least 0.5 and below 2.
    pub(crate) fn is_unit(&self) -> bool {
        let near = |&[mean, deviation]: &[f64; 2]| mean.abs() <= 1.0 && (0.5..2.0).contains(&deviation);
        self.columns.iter().filter(|&&[mean, deviation]| varies(mean, deviation)).all(near)
    }

    /// Standardizes rows in place: `(x − mean) / deviation`, with the mean and the deviation of each column. A
    /// constant column (deviation at most 1e-12 |mean|) becomes 0.
    ///
    /// # Errors
    /// [`DataRule::NotMultiple`] if the number of values is not a multiple of [`width`](Self::width);
    /// [`DataRule::ScaledValue`] for a result that overflows the number format.
    pub fn apply<T: Scalar>(&self, rows: &mut [T]) -> Result<(), Error> {
        self.each(rows, |x, mean, deviation| {
            let apart = |unit: f64| (unit * x - unit * mean) / deviation / unit;
            if varies(mean, deviation) { finite_or_by_quarters(apart) } else { 0.0 }
        })
    }

    /// Inverts [`apply`](Self::apply) on rows, in place: `x · deviation + mean`, with the mean and the standard
    /// deviation of each column. A constant column becomes its mean.
    ///
    /// # Errors
    /// The errors of [`apply`](Self::apply).
    pub fn invert<T: Scalar>(&self, rows: &mut [T]) -> Result<(), Error> {
        self.each(rows, |x, mean, deviation| {
            let whole = |unit: f64| (unit * mean + x * (unit * deviation)) / unit;
            if varies(mean, deviation) { finite_or_by_quarters(whole) } else { mean }
        })
    }

    /// Replaces each value x of `rows` by `change(x, mean, deviation)`, with the mean and the standard deviation of
    /// its column. If a result overflows, an error is returned after all values are replaced.
    fn each<T: Scalar>(&self, rows: &mut [T], change: impl Fn(f64, f64, f64) -> f64) -> Result<(), Error> {
        let (width, mut overflow) = (self.columns.len(), None);
        if !rows.len().is_multiple_of(width) {
            return require_multiple("the rows", rows.len(), "width", width);
        }
        for (row, values) in rows.chunks_mut(width).enumerate() {
            for (column, (x, &[mean, deviation])) in values.iter_mut().zip(&self.columns).enumerate() {
                let found = change(to_f64(*x), mean, deviation);
                let scaled = scalar::<T>(found);
                if x.is_finite() && !scaled.is_finite() && overflow.is_none() {
                    overflow = Some(DataRule::ScaledValue { row, column, found });
                }
                *x = scaled;
            }
        }
        overflow.map_or(Ok(()), |rule| Err(rule.into()))
    }

    /// Returns a data set with the standardized inputs of `data`, and with its targets and row weights.
    ///
    /// # Errors
    /// [`Error::Length`] if the width of the data is not that of this scale; [`DataRule::ScaledValue`] for a value
    /// that overflows the number format.
    pub fn inputs<'a, T: Scalar>(&self, data: &Dataset<'a, T>) -> Result<Dataset<'a, T>, Error> {
        require_length("columns of the data for this scale", self.width(), data.width())?;
        let mut scaled = data.clone();
        self.apply(scaled.inputs.to_mut())?;
        Ok(scaled)
    }

    /// Returns a data set with the standardized targets of `data`, and with its inputs and row weights.
    ///
    /// # Errors
    /// [`Error::TargetKind`] unless the targets are values; [`Error::Length`] if the width of the target rows is not
    /// that of this scale; [`DataRule::ScaledValue`] for a value that overflows the number format.
    pub fn targets<'a, T: Scalar>(&self, data: &Dataset<'a, T>) -> Result<Dataset<'a, T>, Error> {
        let mut values = values_of(data)?.to_vec();
        check_target_width(self.width(), data, values.len())?;
        self.apply(&mut values)?;
        let mut scaled = data.clone();
        scaled.targets = super::targets::Targets::Values(Cow::Owned(values));
        Ok(scaled)
    }
}

/// Returns `of(1)`, or `of(¼)` if `of(1)` overflows. The function `of` multiplies its numbers by its argument before
/// it subtracts or adds them, and divides the result by the argument, so both calls compute the same value. Only
/// numbers near the largest `f64` overflow.
fn finite_or_by_quarters(of: impl Fn(f64) -> f64) -> f64 {
    let plain = of(1.0);
    if plain.is_finite() { plain } else { of(0.25) }
}

/// Returns an error unless `width` is the number of values of a target row, where targets have one row per sample or
/// one per time step. `count` is the number of target values of `data`.
fn check_target_width<T: Scalar>(width: usize, data: &Dataset<'_, T>, count: usize) -> Result<(), Error> {
    let (layout, samples) = (data.layout(), data.samples());
    let (of_step, of_sample) = (count / layout.rows, count / samples);
    let declared = layout.lengths.is_some() || layout.per_sample.is_some();
    if layout.targets_per_step() && (width == of_step || declared) {
        return require_length("columns of the targets of a step", of_step, width);
    }
    // With samples of equal length, targets of one row per time step can also be read as one row per sample.
    require_length("columns of the targets of a sample", of_sample, width)
}

/// Returns the target values of `data`, or [`Error::TargetKind`] if the targets are classes or there are none.
fn values_of<'d, T: Scalar>(data: &'d Dataset<'_, T>) -> Result<&'d [T], Error> {
    let found = match data.targets() {
        Some(Target::Values(values)) => return Ok(values),
        Some(_) => "classes",
        None => "no targets",
    };
    Err(Error::TargetKind { loss: "a scale of targets", expected: "values", found })
}
