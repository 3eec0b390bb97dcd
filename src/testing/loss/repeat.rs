//! The law that a loss is a function of its arguments.

use super::Case;
use crate::{
    loss::Loss,
    testing::{
        Law,
        law::{Trial, number},
    },
};
use alloc::{format, string::String, vec, vec::Vec};

/// The least number of repeated calls: enough to find a loss whose result differs in every fiftieth call.
const LEAST: usize = 256;

/// A call of a loss in `f64`, with its results.
pub(super) struct Call {
    /// The place that a violation reports, such as the scalar and the size.
    pub place: String,
    pub case: Case,
    pub value: f64,
    pub dy: Vec<f64>,
}

/// Repeats the calls in reverse order, in rounds, and returns whether each gives the bits of its first results. A
/// difference is noted as a violation.
#[inline]
pub(super) fn repeat(loss: &dyn Loss<f64>, calls: &[Call], trial: &mut Trial) -> bool {
    let rounds = LEAST.div_ceil(calls.len().max(1));
    for _ in 0..rounds {
        let mut first = None;
        for Call { place, case, value, dy } in calls.iter().rev() {
            let mut other = vec![0.0; dy.len()];
            // An error counts as a different result.
            let again = case.of(loss, &mut other).ok().and_then(Result::ok).unwrap_or(f64::NAN);
            let same = |a: f64, b: f64| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
            let off = (0..dy.len()).find(|&i| !same(dy[i], other[i])).map(|i| (format!("dy[{i}]"), dy[i], other[i]));
            let value = (!same(*value, again)).then(|| (String::from("the loss"), *value, again));
            // The smallest case comes last.
            first = value.or(off).map(|found| (place, case, found)).or(first);
        }
        if let Some((place, case, (what, expected, found))) = first {
            let place = format!("{place}: {what}, again after other calls");
            trial.breaks(Law::Repeatable, place, number(expected), number(found), case.described());
            return false;
        }
    }
    true
}
