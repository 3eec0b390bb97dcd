//! The distance from the outputs of a network to their targets.

use super::RunningMoments;

/// The root mean square distance from the outputs of a network to their targets, relative to the root mean square of
/// the outputs, over the updates of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Distance {
    moments: RunningMoments,
    first: Option<[f64; 2]>,
    /// The value of ‖∂L/∂y‖ √n at the first loss, with n values y, and the moments of its values divided by that first
    /// value; about the last five count.
    gradient: (f64, RunningMoments),
    /// Two fractions of the current pass: the total loss weight of its rows over that of all rows of the update, and
    /// the effective number of its rows over their number. Both are 1 unless the trainer states them.
    rows: [f64; 2],
}

impl Default for Distance {
    fn default() -> Self {
        let moments = RunningMoments::forgetting(0.8);
        Distance { moments, first: None, gradient: (0.0, moments), rows: [1.0; 2] }
    }
}

impl Distance {
    /// Receives two fractions: the total row weight of the pass over that of the update, and the effective number of
    /// rows over their number. A fraction that is 0 or not finite counts as 1.
    pub(super) fn rows(&mut self, fractions: [f64; 2]) {
        self.rows = fractions.map(|fraction| if fraction > 0.0 && fraction.is_finite() { fraction } else { 1.0 });
    }

    /// Receives the `loss` L of all rows of the update. `gradient` is ‖∂L/∂y‖ of the outputs y of the pass,
    /// `output` their root mean square, and `values` their number.
    pub(super) fn loss(&mut self, loss: f64, gradient: f64, output: f64, values: usize) {
        let [of_update, effective] = self.rows;
        // A mean over n values has a gradient of the order of 1/√n.
        let gradient = gradient * libm::sqrt(values.max(1) as f64 * effective) / of_update;
        let (first, moments) = &mut self.gradient;
        if *first == 0.0 {
            *first = gradient;
        }
        moments.push(gradient / *first);
        let distance = 2.0 * loss / gradient;
        self.moments.push(distance / output);
        self.first.get_or_insert([distance, output]);
    }

    /// Returns the moments, over losses, of ‖∂L/∂y‖ √n divided by its first value, with n values y.
    pub(super) fn gradient(&self) -> RunningMoments {
        self.gradient.1
    }

    /// Returns the moments, over losses, of the root mean square distance from outputs to targets, divided by the
    /// root mean square of the outputs.
    pub(super) fn moments(&self) -> RunningMoments {
        self.moments
    }

    /// Returns two numbers at the first loss: the root mean square distance from outputs to targets, and the root
    /// mean square of the outputs. `None` before the first loss.
    pub(super) fn first(&self) -> Option<[f64; 2]> {
        self.first
    }
}

/// The root mean square distance from the outputs to the targets, relative to that of the outputs, below which the
/// targets count as fitted: 0.3 by convention.
pub(crate) const FITTED: f64 = 0.3;

/// Returns the loss that is lower than `loss` by the fraction `1 − share` of the magnitude of `loss`. For a loss
/// above 0 this is `share · loss`.
///
/// A loss below 0, such as a negative log-likelihood without its constant, has no natural zero: `share · loss` would
/// be higher than `loss`.
pub(crate) fn part_of(loss: f64, share: f64) -> f64 {
    if loss < 0.0 { loss * (2.0 - share) } else { loss * share }
}
