//! Several labels a row, each present or not.

use super::{require_numbers, require_targets, rows_of};
#[cfg(doc)]
use crate::error::DataRule;
use crate::{
    error::{Error, require},
    scalar::{Scalar, to_f64},
};

/// Whether each label of a row is predicted, `y > threshold`, where its target is 1.
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

/// The share of rows all of whose labels are right: present, 1, where `y > threshold`. For logits the threshold is 0,
/// for probabilities ½. It is scikit-learn's `accuracy_score` of several labels.
///
/// # Errors
/// [`Error::Empty`] for no output or a `width` of 0; [`DataRule::NotMultiple`] where `y` is no whole number of rows;
/// [`Error::Length`] where `targets` are not as many; [`Error::NonFinite`] for an output that is NaN.
/// [`Error::Parameter`] for a target other than 0 and 1, or a threshold that is NaN.
pub fn subset_accuracy<T: Scalar>(width: usize, y: &[T], targets: &[T], threshold: f64) -> Result<f64, Error> {
    let rows = check(width, y, targets, threshold)?;
    let all_right = |(y, targets)| right::<T>(y, targets, threshold).all(|right| right);
    Ok(y.chunks(width).zip(targets.chunks(width)).filter(|&row| all_right(row)).count() as f64 / rows as f64)
}

/// The share of labels that are right: present, 1, where `y > threshold`. It is 1 − the Hamming loss.
///
/// # Errors
/// Those of [`subset_accuracy`], rows apart.
pub fn label_accuracy<T: Scalar>(y: &[T], targets: &[T], threshold: f64) -> Result<f64, Error> {
    let labels = check(1, y, targets, threshold)?;
    Ok(right(y, targets, threshold).filter(|&right| right).count() as f64 / labels as f64)
}
