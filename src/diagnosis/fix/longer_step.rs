//! A larger learning rate.

use super::{Cause, Change, Effort, Fix, FixContext, FixStrategy};
use crate::error::Error;
use alloc::format;

/// The learning rate raised until the largest step is a three-hundredth of its parameters, by the ratio that was
/// measured.
#[derive(Clone, Copy, Debug, Default)]
pub struct LongerStep;

impl FixStrategy for LongerStep {
    fn name(&self) -> &'static str {
        "longer steps"
    }

    fn applies_to(&self, cause: Cause) -> bool {
        cause == Cause::LearningRateTooLow
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        // Of this finding the decades are log10 of update over parameter.
        let Some(ratio) = context.finding.decades else { return Ok(None) };
        let factor = libm::exp10(-2.5 - ratio).clamp(1.0, 1e8);
        let why = format!("{factor:.0} times the rate: steps of about a three-hundredth of the parameters");
        let fix = context.fix(self.name(), Effort::Training, Change::LearningRate(factor), why);
        Ok(Some(fix.preferred()))
    }
}
