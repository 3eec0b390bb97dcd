//! The distance from the outputs of a network to their targets.

use super::RunningMoments;

/// The root mean square distance from the outputs of a network to their targets, relative to the root mean square of
/// the outputs, over the updates of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Distance {
    moments: RunningMoments,
    first: Option<[f64; 2]>,
    /// The value of ‖∂L/∂y‖ √n at the first loss, with n values y, and the moments of its values over that
    /// first one; about the last five count.
    gradient: (f64, RunningMoments),
    /// For the last loss, until its update ends: the distance, as if the last pass had all samples of the update, and
    /// the root mean square of the outputs. The record of the update states their number; without one, the next pass
    /// ends the update.
    last: Option<[f64; 2]>,
}

impl Default for Distance {
    fn default() -> Self {
        let moments = RunningMoments::forgetting(0.8);
        Distance { moments, first: None, gradient: (0.0, moments), last: None }
    }
}

impl Distance {
    /// Receives a `loss`, the norm `gradient` of ∂L/∂y, and the root mean square `output` of the network's outputs
    /// y, `values` in number.
    pub(super) fn loss(&mut self, loss: f64, gradient: f64, output: f64, values: usize) {
        let (root, (first, moments)) = (libm::sqrt(values.max(1) as f64), &mut self.gradient);
        // A mean over n values has a gradient of the order of 1/√n.
        if *first == 0.0 {
            *first = gradient * root;
        }
        moments.push(gradient * root / *first);
        self.last = Some([2.0 * loss / (gradient * root), output]);
    }

    /// Returns the moments, over losses, of ‖∂L/∂y‖ √n over its first value, with n values y.
    pub(super) fn gradient(&self) -> RunningMoments {
        self.gradient.1
    }

    /// Ends an update, of whose samples the last pass had the fraction `part`, and adds its distance to the moments.
    /// The distance is multiplied by `part`: the loss is that of all samples, and ∂L/∂y is known for that pass
    /// alone.
    pub(super) fn end(&mut self, part: f64) {
        *self = self.ended(part);
        self.last = None;
    }

    /// Returns the distance after the end of an update with `part`, as [`end`](Self::end).
    fn ended(self, part: f64) -> Self {
        let Distance { mut moments, first, gradient, last } = self;
        let last = last.map(|[distance, output]| [part * distance, output]);
        if let Some([distance, output]) = last {
            moments.push(distance / output);
        }
        Distance { moments, first: first.or(last), gradient, last }
    }

    /// Returns the moments, over updates, of the distance relative to the outputs; an update that has not ended counts
    /// as if its last pass had all of its samples.
    pub(super) fn moments(&self) -> RunningMoments {
        self.ended(1.0).moments
    }

    /// Returns the distance at the first loss, not relative to the outputs, and the root mean square of these outputs;
    /// `None` before the first loss.
    pub(super) fn first(&self) -> Option<[f64; 2]> {
        self.ended(1.0).first
    }
}
