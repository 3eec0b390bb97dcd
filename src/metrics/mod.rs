//! Metrics: measures of predictions against the truth, as scikit-learn defines them.
//!
//! | targets | measures |
//! | --- | --- |
//! | one class a row | [`accuracy`], [`ConfusionMatrix`]: precision, recall, F1 and their averages |
//! | labels, several a row | [`label_accuracy`], [`subset_accuracy`] |
//! | two classes, by score | [`roc_auc`] |
//! | values | [`rmse`], [`mae`], [`r2`] |
//!
//! Outputs and targets are rows in the same order, as [`Trainer::predict`](crate::trainer::Trainer::predict) and
//! [`Dataset::targets`](crate::dataset::Dataset::targets) return them. The measures take no row weights: [`unmasked`]
//! leaves out the rows of weight 0.
//!
//! ```
//! use chainrule::metrics::{Average, ConfusionMatrix, predicted_classes};
//! let outputs = [0.9, 0.1, 0.2, 0.8, 0.6, 0.4]; // 3 rows of 2 classes
//! let matrix = ConfusionMatrix::new(2, &[0, 1, 1], &predicted_classes(2, &outputs)?)?;
//! assert_eq!((matrix.accuracy(), matrix.recall(1)), (2.0 / 3.0, Some(0.5)));
//! assert_eq!(matrix.mean_precision(Average::Macro), 0.75);
//! # Ok::<(), chainrule::Error>(())
//! ```

mod classes;
mod labels;
mod scores;
mod values;

pub use classes::{Average, ConfusionMatrix, accuracy, predicted_classes};
pub use labels::{label_accuracy, subset_accuracy};
pub use scores::roc_auc;
pub use values::{mae, r2, rmse};

use crate::{
    error::{Error, require_length, require_multiple},
    scalar::{Scalar, to_f64},
    size::reserve,
};
use alloc::vec::Vec;

/// Returns the rows of `values`, each of `width` values, whose weight is not 0, in their order. Before a metric is
/// computed, remove the masked rows of both outputs and targets:
///
/// ```
/// use chainrule::metrics::{rmse, unmasked};
/// let (y, targets, weights) = ([1.0, 2.0, 9.0], [1.0, 3.0, 0.0], [1.0, 1.0, 0.0]); // the last row is masked
/// let error = rmse(1, &unmasked(1, &y, &weights)?, &unmasked(1, &targets, &weights)?)?;
/// assert_eq!(error, 0.5_f64.sqrt());
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// # Errors
/// [`Error::Empty`] for no values or a `width` of 0; [`DataRule::NotMultiple`](crate::error::DataRule::NotMultiple)
/// if `values` do not fill whole rows; [`Error::Length`] unless there is one weight per row.
pub fn unmasked<X: Copy, T: Scalar>(width: usize, values: &[X], row_weights: &[T]) -> Result<Vec<X>, Error> {
    let rows = rows_of(width, values.len())?;
    require_length("row weights", rows, row_weights.len())?;
    let mut kept = reserve("the rows that count", values.len())?;
    let counted = values.chunks(width).zip(row_weights).filter(|(_, weight)| !weight.is_zero());
    counted.for_each(|(row, _)| kept.extend_from_slice(row));
    Ok(kept)
}

/// Returns the number of rows, each of `width` values, in an output of `values` values in total. [`Error::Empty`] for
/// no rows or a `width` of 0; [`DataRule::NotMultiple`](crate::error::DataRule::NotMultiple) for an incomplete row.
fn rows_of(width: usize, values: usize) -> Result<usize, Error> {
    if width == 0 {
        return Err(Error::Empty { what: "a row of the output" });
    }
    require_multiple("the output", values, "width", width)?;
    Ok(values / width)
}

/// Returns [`Error::Length`] unless `targets`, the number of target values, equals `outputs`, the number of output
/// values.
fn require_targets(outputs: usize, targets: usize) -> Result<(), Error> {
    require_length("targets of a metric", outputs, targets)
}

/// Returns [`Error::NonFinite`] if a value is NaN. The error has the name `what` of the values and the index of the
/// first NaN.
fn require_numbers<T: Scalar>(what: &'static str, values: &[T]) -> Result<(), Error> {
    match values.iter().position(|value| value.is_nan()) {
        Some(index) => Err(Error::NonFinite { what, index, found: f64::NAN }),
        None => Ok(()),
    }
}

/// Returns [`Error::NonFinite`] if a value is NaN or infinite. The error has the name `what` of the values and the
/// index of the first such value.
fn require_finite<T: Scalar>(what: &'static str, values: &[T]) -> Result<(), Error> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(Error::NonFinite { what, index, found: to_f64(values[index]) }),
        None => Ok(()),
    }
}
