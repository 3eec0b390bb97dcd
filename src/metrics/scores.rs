//! Metrics of the ranking of samples by score: the area under the ROC curve.

use super::require_numbers;
use crate::{
    error::{Error, require_length},
    scalar::{Scalar, to_f64},
    size::reserve,
};

/// Returns the area under the ROC curve of two classes: the probability that a random positive sample has a higher
/// score than a random negative one, ties counted half (Hanley and McNeil 1982).
///
/// `AUC = (#{s⁺ > s⁻} + ½ #{s⁺ = s⁻}) / (P N)`, counted exactly. Here # is the number of pairs of a positive sample
/// with score s⁺ and a negative one with score s⁻, among P positive and N negative samples.
///
/// ```
/// use chainrule::metrics::roc_auc;
/// // Of the 4 pairs of a positive and a negative sample, 3 are in order.
/// assert_eq!(roc_auc(&[0.1, 0.4, 0.35, 0.8], &[false, false, true, true])?, 0.75);
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// # Errors
/// [`Error::Empty`] without scores; [`Error::Length`] unless `positive` has one value per score; [`Error::NonFinite`]
/// for a score that is NaN; [`Error::UndefinedMetric`] if all samples have the same class.
pub fn roc_auc<T: Scalar>(scores: &[T], positive: &[bool]) -> Result<f64, Error> {
    if scores.is_empty() {
        return Err(Error::Empty { what: "the scores" });
    }
    require_length("classes (one a row)", scores.len(), positive.len())?;
    require_numbers("the scores", scores)?;
    let mut sorted = reserve("the order of the scores", scores.len())?;
    sorted.extend(scores.iter().map(|&score| to_f64(score) + 0.0).zip(positive.iter().copied()));
    // No score is NaN, and −0 was replaced by 0, so the total order is the order of numbers.
    sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    // `pairs` is twice the number of pairs in which the positive sample has the higher score; a tie adds 1.
    let (mut below, mut pairs) = (0_u128, 0_u128);
    for tied in sorted.chunk_by(|a, b| a.0 == b.0) {
        let positives = tied.iter().filter(|(_, positive)| *positive).count() as u128;
        let negatives = tied.len() as u128 - positives;
        pairs += positives * (2 * below + negatives);
        below += negatives;
    }
    let positives = sorted.len() as u128 - below;
    if positives == 0 || below == 0 {
        let reason = if below == 0 {
            "all samples are positive; give samples of both classes"
        } else {
            "all samples are negative; give samples of both classes"
        };
        return Err(Error::UndefinedMetric { metric: "the area under the ROC curve", reason: reason.into() });
    }
    Ok(pairs as f64 / (2 * positives * below) as f64)
}
