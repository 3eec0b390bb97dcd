//! The result of one update of the parameters: loss, weight, and whether it was applied.

use super::Step;
use crate::transform::Outcome;

/// The result of one update of the parameters: its loss, the weight of its rows, and whether it was applied or
/// skipped.
#[derive(Clone, Copy)]
pub(super) struct Updated {
    /// The loss over all samples of the update; NaN if the total weight of their rows is 0.
    pub loss: f64,
    /// The total loss weight of the target rows of the update, by which a mean loss divides.
    pub weight: f64,
    pub outcome: Outcome,
}

/// A callback that receives the result of each update: loss, total row weight, outcome (applied or skipped), and the
/// [`Step`] record if there is one. They are separate arguments, so that they stay in registers.
pub(super) type EachUpdate<'a> = dyn FnMut(f64, f64, Outcome, Option<&Step>) + 'a;

impl Updated {
    /// Combines the results of this update and of the update `next`. The combined outcome is [`Outcome::Apply`] if
    /// either update was applied. The combined loss is over the rows of the applied updates, or of both if both were
    /// skipped. `mean` states whether the loss is a mean over rows.
    pub fn and(self, next: Updated, mean: bool) -> Updated {
        let weight = self.weight + next.weight;
        let loss = match (self.weight > 0.0, next.weight > 0.0) {
            (true, true) if mean => (self.loss * self.weight + next.loss * next.weight) / weight,
            (true, true) => self.loss + next.loss,
            (true, false) => self.loss,
            (false, _) => next.loss,
        };
        match [self.outcome, next.outcome] {
            [Outcome::Apply, Outcome::Skip] => self,
            [Outcome::Skip, Outcome::Apply] => next,
            [outcome, _] => Updated { loss, weight, outcome },
        }
    }
}
