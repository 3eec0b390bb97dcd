//! Metrics of predicted values: root mean square error, mean absolute error, and the fraction of explained variance.

use super::{require_finite, require_targets, rows_of};
#[cfg(doc)]
use crate::error::DataRule;
use crate::{
    error::Error,
    loss::Sum,
    scalar::{Scalar, to_f64},
};
use alloc::format;

fn check<T: Scalar>(width: usize, y: &[T], targets: &[T]) -> Result<usize, Error> {
    let rows = rows_of(width, y.len())?;
    require_targets(y.len(), targets.len())?;
    require_finite("the output", y)?;
    require_finite("targets", targets)?;
    Ok(rows)
}

/// Returns the values in column `column` of `values`, \[rows, `width`\], converted to `f64`.
fn column<T: Scalar>(width: usize, values: &[T], column: usize) -> impl Iterator<Item = f64> + Clone {
    values.iter().skip(column).step_by(width).map(|&value| to_f64(value))
}

/// Returns the errors, output minus target, in column `k` of `y` and `targets`, both \[rows, `width`\].
fn errors<T: Scalar>(width: usize, y: &[T], targets: &[T], k: usize) -> impl Iterator<Item = f64> + Clone {
    column(width, y, k).zip(column(width, targets, k)).map(|(y, target)| y - target)
}

fn sum(values: impl Iterator<Item = f64>) -> f64 {
    let mut sum = Sum::new();
    values.for_each(|value| sum.add(value));
    sum.total()
}

/// Returns (m, s): the largest magnitude m of the values, and the sum s of the squares of value/m, which does not
/// overflow. Both are 0 if all values are 0.
fn squares(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let most = values.clone().fold(0.0, |most: f64, value| most.max(value.abs()));
    (most, if most > 0.0 { sum(values.map(|value| (value / most) * (value / most))) } else { 0.0 })
}

/// Returns the mean of `of_column`, the measure of one column, over the columns 0 to `width − 1`.
/// [`Error::NonFinite`] if the mean is NaN or +∞. A mean of −∞ is returned: it is an R² that overflowed.
fn over_columns(width: usize, of_column: impl Fn(usize) -> Result<f64, Error>) -> Result<f64, Error> {
    let mut sum = Sum::new();
    for column in 0..width {
        sum.add(of_column(column)? / width as f64);
    }
    let mean: f64 = sum.total();
    if mean.is_nan() || mean == f64::INFINITY {
        return Err(Error::NonFinite { what: "the difference of output and targets", index: 0, found: mean });
    }
    Ok(mean)
}

/// Returns the root mean square error of outputs `y` against `targets` t, both \[n rows, `width`\]: `√(1/n Σ (y −
/// t)²)` of each column, averaged over the columns.
///
/// # Errors
/// [`Error::Empty`] for no output or a `width` of 0; [`DataRule::NotMultiple`] if `y` does not fill whole rows;
/// [`Error::Length`] if `targets` has another length. [`Error::NonFinite`] for a value or a difference that is NaN or
/// infinite.
pub fn rmse<T: Scalar>(width: usize, y: &[T], targets: &[T]) -> Result<f64, Error> {
    let rows = check(width, y, targets)? as f64;
    over_columns(width, |k| {
        let (most, squares) = squares(errors(width, y, targets, k));
        Ok(most * libm::sqrt(squares / rows))
    })
}

/// Returns the mean absolute error of outputs `y` against `targets` t, both \[n rows, `width`\]: `1/n Σ |y − t|` of
/// each column, averaged over the columns.
///
/// # Errors
/// The errors of [`rmse`].
pub fn mae<T: Scalar>(width: usize, y: &[T], targets: &[T]) -> Result<f64, Error> {
    let rows = check(width, y, targets)? as f64;
    over_columns(width, |k| Ok(sum(errors(width, y, targets, k).map(|error| error.abs() / rows))))
}

/// Returns the fraction of explained variance (R²) of outputs `y` against `targets` t, both \[rows, `width`\],
/// averaged over the columns. For each column it is `R² = 1 − Σ (y − t)² / Σ (t − t̄)²`, with t̄ the mean of the
/// targets. It is 1 for outputs equal to the targets, 0 for outputs equal to their mean, and negative for worse
/// outputs.
///
/// ```
/// use chainrule::metrics::r2;
/// let targets = [1.0, 2.0, 3.0];
/// assert_eq!(r2(1, &targets, &targets)?, 1.0);
/// assert!(r2(1, &[2.0, 2.0, 2.0], &targets)?.abs() < 1e-12); // the mean explains nothing
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// # Errors
/// The errors of [`rmse`]; [`Error::UndefinedMetric`] for a column whose targets are all equal.
pub fn r2<T: Scalar>(width: usize, y: &[T], targets: &[T]) -> Result<f64, Error> {
    let rows = check(width, y, targets)? as f64;
    over_columns(width, |k| {
        let target = || column(width, targets, k);
        let first = target().next().unwrap_or(0.0);
        if target().all(|target| target == first) {
            let reason = format!("all targets of column {k} are {first}; leave this column out");
            return Err(Error::UndefinedMetric { metric: "R²", reason });
        }
        let mean = sum(target().map(|target| target / rows));
        let (most, residual) = squares(errors(width, y, targets, k));
        let (widest, total) = squares(target().map(|target| target - mean));
        Ok(1.0 - (most / widest) * (most / widest) * (residual / total))
    })
}
