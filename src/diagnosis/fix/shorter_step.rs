//! A lower learning rate.

use super::{Cause, Change, Effort, Fix, FixContext, FixStrategy};
use crate::error::Error;

/// Multiplies the learning rate so that the norm of an update becomes 10^−1.5, a thirtieth, of that of its
/// parameters, by a factor from 10⁻⁴ to 0.1. Without a measured ratio of update to parameters the factor is 0.1.
///
/// A tenth of the parameters is too large, and a hundredth learns slowly; 10^−1.5 is their geometric mean.
#[derive(Clone, Copy, Debug, Default)]
pub struct ShorterStep;

impl FixStrategy for ShorterStep {
    fn name(&self) -> &'static str {
        "shorter steps"
    }

    fn applies_to(&self, cause: Cause) -> bool {
        matches!(cause, Cause::LearningRateTooHigh | Cause::DeadUnits | Cause::Cliff | Cause::Overflow)
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        // For this cause, `decades` is log10 of the ratio of update to parameters.
        let measured = context.finding.decades.filter(|_| context.finding.cause == Cause::LearningRateTooHigh);
        let factor = measured.map_or(0.1, |ratio| libm::exp10(-1.5 - ratio).clamp(1e-4, 0.1));
        let why = if measured.is_some() { "updates of a thirtieth of the weights" } else { "a tenth of the rate" };
        let fix = context.fix(self.name(), Effort::Training, Change::LearningRate(factor), why.into());
        // Units that were dead before the first update did not die because of an update.
        let killed = context.finding.cause == Cause::DeadUnits && context.finding.came_with_training();
        let removes = context.finding.cause == Cause::LearningRateTooHigh || killed;
        Ok(Some(if removes { fix.preferred() } else { fix }))
    }
}
