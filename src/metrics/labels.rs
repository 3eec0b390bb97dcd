//! Metrics of multi-label predictions: of rows of several labels, each present or absent, the fraction of correct
//! rows or labels.

use super::{require_numbers, require_targets, rows_of};
#[cfg(doc)]
use crate::error::DataRule;
use crate::{
    error::{Error, require},
    scalar::{Scalar, to_f64},
};

/// Returns, for each label, whether it is predicted correctly. A label is predicted as present if its output `y` is
/// above `threshold`; its target is 1 if it is present and 0 if it is absent.
fn right<T: Scalar>(y: &[T], targets: &[T], threshold: f64) -> impl Iterator<Item = bool> {
    y.iter().zip(targets).map(move |(&y, target)| (to_f64(y) > threshold) == target.is_one())
}

fn check<T: Scalar>(width: usize, y: &[T], targets: &[T], threshold: f64) -> Result<usize, Error> {
    let rows = rows_of(width, y.len())?;
    require_targets(y.len(), targets.len())?;
    require_numbers("the output", y)?;
    require(!threshold.is_nan(), "the threshold of a label", "a number", threshold)?;
    let is_label = |target: &T| target.is_zero() || target.is_one();
    let wrong = targets.iter().find(|target| !is_label(target));
    wrong.map_or(Ok(rows), |&wrong| Err(Error::Parameter { what: "a label", expected: "0 or 1", found: to_f64(wrong) }))
}

/// Returns the fraction of rows of `width` labels in which every label is predicted correctly. A label is predicted
/// as present, 1, if its output `y` is above `threshold`. The threshold should be 0 for logits, ½ for probabilities.
/// This is scikit-learn's `accuracy_score` for several labels.
///
/// # Errors
/// [`Error::Empty`] for no output or a `width` of 0; [`DataRule::NotMultiple`] if `y` does not fill whole rows;
/// [`Error::Length`] if `targets` has another length; [`Error::NonFinite`] for an output that is NaN.
/// [`Error::Parameter`] for a target other than 0 and 1, or a threshold that is NaN.
pub fn subset_accuracy<T: Scalar>(width: usize, y: &[T], targets: &[T], threshold: f64) -> Result<f64, Error> {
    let rows = check(width, y, targets, threshold)?;
    let all_right = |(y, targets)| right::<T>(y, targets, threshold).all(|right| right);
    Ok(y.chunks(width).zip(targets.chunks(width)).filter(|&row| all_right(row)).count() as f64 / rows as f64)
}

/// Returns the fraction of all labels that are predicted correctly: 1 minus the Hamming loss. A label is predicted as
/// present, 1, if its output `y` is above `threshold`.
///
/// # Errors
/// The errors of [`subset_accuracy`], except those about `width` and incomplete rows.
pub fn label_accuracy<T: Scalar>(y: &[T], targets: &[T], threshold: f64) -> Result<f64, Error> {
    let labels = check(1, y, targets, threshold)?;
    Ok(right(y, targets, threshold).filter(|&right| right).count() as f64 / labels as f64)
}
