//! A tenth of the learning rate.

use super::{Cause, Change, Effort, Fix, FixContext, FixStrategy};
use crate::error::Error;
use alloc::string::String;

/// The learning rate brought down until a step is a thirtieth of the parameters, by the ratio that was measured where
/// there is one, else to a tenth. A tenth of the parameters is long, a hundredth learns slowly: between them, on a
/// scale of decades.
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
        // Of a finding of long steps the decades are log10 of update over parameter.
        let measured = context.finding.decades.filter(|_| context.finding.cause == Cause::LearningRateTooHigh);
        let factor = measured.map_or(0.1, |ratio| libm::exp10(-1.5 - ratio).clamp(1e-4, 0.1));
        let why = String::from("steps that the weights can follow, a thirtieth of their size");
        let fix = context.fix(self.name(), Effort::Training, Change::LearningRate(factor), why);
        // Units that were dead before the first step were not killed by one.
        let killed = context.finding.cause == Cause::DeadUnits && context.finding.came_with_training();
        let removes = context.finding.cause == Cause::LearningRateTooHigh || killed;
        Ok(Some(if removes { fix.preferred() } else { fix }))
    }
}
